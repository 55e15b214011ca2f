//! Colours that only this process can produce. Output of hosts may contain escape sequences too, so a style is marked
//! by a random number drawn at each start, and all other control sequences are escaped.

use std::{
    borrow::Cow,
    hash::{BuildHasher as _, Hasher as _, RandomState},
    sync::OnceLock,
};

use machinist_text::visible;

const ESCAPE: char = '\u{1b}';

/// Style of a piece of text.
#[derive(Clone, Copy)]
pub enum Tone {
    /// Error.
    Bad,
    /// Warning.
    Careful,
    /// Success.
    Good,
    /// De-emphasised text.
    Faint,
    /// Emphasised text.
    Strong,
}

impl Tone {
    const fn code(self) -> &'static str {
        match self {
            Self::Bad => "1;31",
            Self::Careful => "1;33",
            Self::Good => "32",
            Self::Faint => "2",
            Self::Strong => "1",
        }
    }
}

/// Returns the text in the tone, with the style marked: [`render`] turns the marks into escape sequences.
pub fn paint(tone: Tone, text: &str) -> String {
    let mark = mark();
    format!("{ESCAPE}[{}{mark}{text}{ESCAPE}[0{mark}", tone.code())
}

/// Returns text coloured by a library, with its styles marked. Colours are dropped if the plain text contains control
/// sequences, since those of the library could not be distinguished from them.
pub fn adopt(plain: &str, coloured: &str) -> String {
    if visible(plain) != plain {
        return plain.to_owned();
    }
    let mark = mark();
    let mut text = String::with_capacity(coloured.len() * 2);
    let mut in_sequence = false;
    for character in coloured.chars() {
        match character {
            ESCAPE => in_sequence = true,
            'm' if in_sequence => {
                text.push_str(mark);
                in_sequence = false;
                continue;
            }
            _ => {}
        }
        text.push(character);
    }
    text
}

/// Renders text for a terminal: marked styles become escape sequences, and other control characters are made visible.
pub fn render(text: &str) -> Cow<'_, str> {
    let mut pieces = text.split(ESCAPE);
    let first = visible(pieces.next().unwrap_or_default());
    if first.len() == text.len() {
        return first;
    }
    let mut rendered = first.into_owned();
    for piece in pieces {
        match style(piece) {
            Some((code, rest)) => {
                rendered.push_str(&format!("{ESCAPE}[{code}m"));
                rendered.push_str(&visible(rest));
            }
            None => rendered.push_str(&visible(&format!("{ESCAPE}{piece}"))),
        }
    }
    Cow::Owned(rendered)
}

/// Returns the text without styles.
pub fn plain(text: &str) -> String {
    let mut pieces = text.split(ESCAPE);
    let mut plain = visible(pieces.next().unwrap_or_default()).into_owned();
    for piece in pieces {
        match style(piece) {
            Some((_, rest)) => plain.push_str(&visible(rest)),
            None => plain.push_str(&visible(&format!("{ESCAPE}{piece}"))),
        }
    }
    plain
}

/// Splits the text after an escape character into the code of a marked style and the rest.
fn style(piece: &str) -> Option<(&str, &str)> {
    let (code, rest) = piece.strip_prefix('[')?.split_once(mark())?;
    code.bytes().all(|byte| byte.is_ascii_digit() || byte == b';').then_some((code, rest))
}

/// Returns the end of a marked style's sequence. Programs that measure text parse it as a parameter.
fn mark() -> &'static str {
    static MARK: OnceLock<String> = OnceLock::new();
    MARK.get_or_init(|| format!(";{:020}m", RandomState::new().build_hasher().finish()))
}

#[cfg(test)]
mod tests {
    use super::{Tone, adopt, paint, render};

    #[test]
    fn a_style_of_ours_is_shown_and_one_of_a_host_is_escaped() {
        let text = format!("{} \u{1b}[32mdone\u{1b}[0m", paint(Tone::Bad, "failed\u{1b}]0;x\u{7}"));
        assert_eq!(render(&text), "\u{1b}[1;31mfailed\\u{1b}]0;x\\u{7}\u{1b}[0m \\u{1b}[32mdone\\u{1b}[0m");
    }

    #[test]
    fn a_style_inside_of_a_style_and_text_without_any_are_kept() {
        let text = paint(Tone::Strong, &format!("a{}", paint(Tone::Good, "b")));
        assert_eq!(render(&text), "\u{1b}[1ma\u{1b}[32mb\u{1b}[0m\u{1b}[0m");
        assert_eq!(render("größe\n"), "größe\n");
        assert_eq!(render("\u{1b}"), "\\u{1b}");
    }

    #[test]
    fn the_colours_of_a_library_are_kept_only_around_harmless_text() {
        assert_eq!(render(&adopt("a m", "\u{1b}[31ma m\u{1b}[0m")), "\u{1b}[31ma m\u{1b}[0m");
        assert_eq!(render(&adopt("a\u{1b}[2J", "\u{1b}[31ma\u{1b}[2J\u{1b}[0m")), "a\\u{1b}[2J");
    }
}
