//! Text from elsewhere (a host, etcd, a certificate, nix), made safe for a terminal, a log and a journal.
//!
//! No character is removed: one that a terminal would interpret, or that a reader would not see, is written as its
//! escape, such as `\u{1b}`. So no text can move the cursor, set the clipboard or the title (OSC 52, OSC 0), erase a
//! line or reverse its order ("Trojan Source", CVE-2021-42574), and none can hide the text after it.

use std::borrow::Cow;

/// Returns true if a terminal interprets the character or a reader does not see it: C0 (except newline and tab), DEL,
/// C1, bidirectional controls, line separators, invisible formatting and tags.
#[must_use]
pub fn is_active(character: char) -> bool {
    match character {
        '\n' | '\t' => false,
        '\u{00ad}'
        | '\u{061c}'
        | '\u{180e}'
        | '\u{200b}'
        | '\u{200e}'..='\u{200f}'
        | '\u{2028}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}'
        | '\u{feff}'
        | '\u{fff9}'..='\u{fffb}'
        | '\u{e0000}'..='\u{e007f}' => true,
        other => other.is_control(),
    }
}

/// Returns the text with its lines, active characters escaped. A carriage return before a newline is omitted.
#[must_use]
pub fn visible(text: &str) -> Cow<'_, str> {
    if !text.contains(is_active) {
        return Cow::Borrowed(text);
    }
    Cow::Owned(escaped(&text.replace("\r\n", "\n"), is_active))
}

/// Returns the text as one line: newlines and tabs are escaped, too.
#[must_use]
pub fn one_line(text: &str) -> Cow<'_, str> {
    let breaks = |character: char| matches!(character, '\n' | '\t') || is_active(character);
    if text.contains(breaks) { Cow::Owned(escaped(text, breaks)) } else { Cow::Borrowed(text) }
}

/// Returns at most `limit` bytes of the text, and the number of bytes omitted.
#[must_use]
pub fn bounded(text: &str, limit: usize) -> Cow<'_, str> {
    if text.len() <= limit {
        return Cow::Borrowed(text);
    }
    let end = (0..=limit).rev().find(|&end| text.is_char_boundary(end)).unwrap_or(0);
    let kept = &text[..end];
    Cow::Owned(format!("{kept}... ({} more bytes)", text.len() - kept.len()))
}

/// Returns JSON with active characters as `\uXXXX`: the same value, safe to show on a terminal. Serializers do not
/// escape DEL, C1 and bidirectional controls; in JSON these can only be inside strings.
#[must_use]
pub fn json(serialized: &str) -> Cow<'_, str> {
    if !serialized.contains(is_active) {
        return Cow::Borrowed(serialized);
    }
    let mut text = String::with_capacity(serialized.len() + 16);
    for character in serialized.chars() {
        if is_active(character) {
            let mut units = [0; 2];
            text.extend(character.encode_utf16(&mut units).iter().map(|unit| format!("\\u{unit:04x}")));
        } else {
            text.push(character);
        }
    }
    Cow::Owned(text)
}

fn escaped(text: &str, active: impl Fn(char) -> bool) -> String {
    let mut safe = String::with_capacity(text.len() + 16);
    for character in text.chars() {
        if active(character) {
            safe.extend(character.escape_default());
        } else {
            safe.push(character);
        }
    }
    safe
}

#[cfg(test)]
mod tests {
    use super::{bounded, is_active, json, one_line, visible};

    #[test]
    fn a_host_cannot_write_to_the_operators_terminal() {
        let cases = [
            ("\u{1b}]52;c;ZXZpbA==\u{7}", "\\u{1b}]52;c;ZXZpbA==\\u{7}"),
            ("\u{1b}[1A\u{1b}[2Kc1 runs the new system", "\\u{1b}[1A\\u{1b}[2Kc1 runs the new system"),
            ("failed\rdone  ", "failed\\rdone  "),
            ("\u{9b}2J\u{9d}0;x\u{9c}", "\\u{9b}2J\\u{9d}0;x\\u{9c}"),
            ("a\u{202e}cod\u{2066}b", "a\\u{202e}cod\\u{2066}b"),
            ("x\u{8}\u{7f}\0", "x\\u{8}\\u{7f}\\u{0}"),
            ("in\u{200b}visible\u{e0041}", "in\\u{200b}visible\\u{e0041}"),
        ];
        for (text, wanted) in cases {
            assert_eq!(visible(text), wanted);
            assert!(!visible(text).contains(is_active) && !one_line(text).contains(is_active));
        }
    }

    #[test]
    fn text_of_all_languages_and_its_lines_stay_as_they_are() {
        for text in ["größe\n\t漢字 עברית 👩‍👩‍👧", ""] {
            assert_eq!(visible(text), text);
        }
        assert_eq!(visible("a\r\nb\r\n"), "a\nb\n");
        assert_eq!(one_line("a\nb"), "a\\nb");
    }

    #[test]
    fn text_without_an_end_is_cut_between_characters() {
        assert_eq!(bounded("größe", 3), "gr... (5 more bytes)");
        assert_eq!(bounded("size", 4), "size");
    }

    #[test]
    fn json_keeps_its_value() {
        let text = "\"\u{7f}\u{9b}\u{202e}\u{e0041}\"";
        assert_eq!(json(text), "\"\\u007f\\u009b\\u202e\\udb40\\udc41\"");
        assert_eq!(json("{\n  \"a\": \"ö\"\n}"), "{\n  \"a\": \"ö\"\n}");
    }
}
