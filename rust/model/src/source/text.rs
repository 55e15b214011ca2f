//! Text of machines.nix with an index of its lines.

use miette::{MietteError, MietteSpanContents, SourceCode, SourceSpan, SpanContents};

/// The text of a file and the offsets of its lines.
#[derive(Clone, Debug)]
pub struct SourceText {
    name: String,
    text: String,
    /// Byte offsets, ascending; the first is 0.
    line_starts: Vec<usize>,
}

/// Position in a file as editors count it: both from 1, columns in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// The line, from 1.
    pub line: usize,
    /// The column in characters, from 1.
    pub column: usize,
}

impl SourceText {
    /// Wraps a text and the file's name for messages. Private keys in the text are masked, since it is shown to users.
    #[must_use]
    pub fn new(name: &str, text: &str) -> Self {
        let breaks = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n').map(|(offset, _)| offset + 1);
        Self {
            name: name.to_owned(),
            text: mask_private_keys(text),
            line_starts: std::iter::once(0).chain(breaks).collect(),
        }
    }

    /// Returns the file's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the text.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Returns the line and column of a byte offset; offsets beyond the end are clamped to it.
    #[must_use]
    pub fn position(&self, offset: usize) -> Position {
        let line = self.line_of(offset);
        let before = self.text.get(self.line_starts[line]..offset.min(self.text.len())).unwrap_or_default();
        Position { line: line + 1, column: before.chars().count() + 1 }
    }

    /// Returns the line of a byte offset, from 0.
    fn line_of(&self, offset: usize) -> usize {
        self.line_starts.partition_point(|start| *start <= offset).saturating_sub(1)
    }
}

/// Replaces the secret part of private keys of age and in PEM by asterisks, byte by byte, so that offsets stay valid.
fn mask_private_keys(text: &str) -> String {
    let mut bytes = text.as_bytes().to_vec();
    let upper = text.to_ascii_uppercase();
    for (position, marker) in upper.match_indices("AGE-SECRET-KEY-") {
        let secret = bytes.iter_mut().skip(position + marker.len());
        secret.take_while(|byte| byte.is_ascii_alphanumeric()).for_each(|byte| *byte = b'*');
    }
    for (position, marker) in upper.match_indices("PRIVATE KEY-----") {
        let start = position + marker.len();
        let end = upper[start..].find("-----").map_or(upper.len(), |length| start + length);
        let secret = bytes.iter_mut().take(end).skip(start);
        let is_base64 = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'=');
        secret.filter(|byte| is_base64(byte)).for_each(|byte| *byte = b'*');
    }
    // Only ASCII bytes were replaced, by ASCII bytes.
    String::from_utf8(bytes).unwrap_or_default()
}

/// Reads around a span using the line index; miette's own implementation for strings scans the file from its beginning.
impl SourceCode for SourceText {
    fn read_span<'a>(
        &'a self,
        span: &SourceSpan,
        lines_before: usize,
        lines_after: usize,
    ) -> Result<Box<dyn SpanContents<'a> + 'a>, MietteError> {
        let end = span.offset().checked_add(span.len()).ok_or(MietteError::OutOfBounds)?;
        if end > self.text.len() {
            return Err(MietteError::OutOfBounds);
        }
        let (first_of_span, last_of_span) = (self.line_of(span.offset()), self.line_of(end));
        let first = first_of_span.saturating_sub(lines_before);
        let next = (last_of_span + 1).saturating_add(lines_after).min(self.line_starts.len());
        let from = self.line_starts[first];
        let to = self.line_starts.get(next).copied().unwrap_or(self.text.len());
        let column = if lines_before == 0 { self.position(span.offset()).column - 1 } else { 0 };
        let from = if lines_before == 0 { span.offset() } else { from };
        let data = &self.text.as_bytes()[from..to];
        Ok(Box::new(MietteSpanContents::new_named(
            self.name.clone(),
            data,
            (from, to - from).into(),
            first,
            column,
            next - first,
        )))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use miette::SourceCode;

    use super::{Position, SourceText};

    const TEXT: &str = "{\n  ä = 1;\n  b = 2;\n}\n";

    #[test]
    fn columns_count_characters_and_offsets_beyond_the_end_mean_the_end() {
        let source = SourceText::new("machines.nix", TEXT);
        assert_eq!(source.position(0), Position { line: 1, column: 1 });
        assert_eq!(source.position(TEXT.find("= 1").unwrap()), Position { line: 2, column: 5 });
        assert_eq!(source.position(1000), Position { line: 5, column: 1 });
    }

    #[test]
    fn private_keys_are_masked_and_nothing_moves() {
        let check = |text: &str, expect: &str| assert_eq!(SourceText::new("f", text).text(), expect);
        check("age = \"AGE-SECRET-KEY-1QQ\"; ä", "age = \"AGE-SECRET-KEY-***\"; ä");
        check("age-secret-key-1q age-secret-key-", "age-secret-key-** age-secret-key-");
        check(
            "-----BEGIN X PRIVATE KEY-----\na+/=\n-----END X PRIVATE KEY-----\nb",
            "-----BEGIN X PRIVATE KEY-----\n****\n-----END X PRIVATE KEY-----\n*",
        );
        check("ssh-ed25519 AAAA", "ssh-ed25519 AAAA");
    }

    #[test]
    fn the_lines_around_a_span_are_those_that_miette_would_read() {
        let source = SourceText::new("machines.nix", TEXT);
        for (offset, length) in [(0, 1), (4, 2), (13, 1), (TEXT.len(), 0)] {
            let span = (offset, length).into();
            let (ours, theirs) = (source.read_span(&span, 1, 1).unwrap(), TEXT.read_span(&span, 1, 1).unwrap());
            let text = |data: &[u8]| String::from_utf8_lossy(data).trim_end().to_owned();
            assert_eq!((text(ours.data()), ours.line()), (text(theirs.data()), theirs.line()), "{offset}");
        }
    }
}
