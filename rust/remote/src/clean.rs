//! Sanitized text of other programs and hosts for error messages: without control characters, and bounded.

/// Upper bound of one line, in characters.
const LINE_LIMIT: usize = 400;

/// Returns the last `n_lines` lines that are not blank. Control characters, which could affect the operator's terminal,
/// and characters that reverse the direction of the text are replaced.
pub(crate) fn last_lines(bytes: &[u8], n_lines: usize) -> String {
    let text = String::from_utf8_lossy(bytes);
    let lines: Vec<String> = text.split(['\n', '\r']).map(clean).filter(|line| !line.trim().is_empty()).collect();
    lines[lines.len().saturating_sub(n_lines)..].join("\n")
}

fn clean(line: &str) -> String {
    let visible = |c: char| match c {
        '\t' => ' ',
        c if c.is_control() || is_directional(c) => '\u{fffd}',
        c => c,
    };
    line.trim_end().chars().take(LINE_LIMIT).map(visible).collect()
}

fn is_directional(c: char) -> bool {
    matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::last_lines;

    #[test]
    fn control_characters_do_not_pass() {
        assert_eq!(
            last_lines(b"one\r\n\x1b]52;c;x\x07two\n\n  \nthree\t4\n", 3),
            "one\n\u{fffd}]52;c;x\u{fffd}two\nthree 4"
        );
        assert_eq!(last_lines("a\u{202e}b\u{9b}c".as_bytes(), 1), "a\u{fffd}b\u{fffd}c");
        assert_eq!(last_lines(b"1\n2\n3", 2), "2\n3");
        assert_eq!(last_lines(&[b'x'; 5000], 1).len(), 400);
    }
}
