//! Kept output of one stream, and its unfinished line.

use crate::request::{OnLine, Stream};

/// Maximum length of a line in bytes; longer ones are delivered in parts.
const LINE_LIMIT: usize = 64 << 10;

/// Kept output of one stream, and its unfinished line.
#[derive(Default)]
pub(crate) struct Text {
    bytes: Vec<u8>,
    line: Vec<u8>,
}

impl Text {
    /// Keeps bytes, and delivers the lines that they complete.
    pub fn push(&mut self, stream: Stream, bytes: &[u8], on_line: &mut Option<OnLine<'_>>) {
        self.lines(stream, bytes, on_line);
        self.bytes.extend_from_slice(bytes);
    }

    /// Returns the number of kept bytes.
    pub const fn len(&self) -> usize {
        self.bytes.len()
    }

    fn lines(&mut self, stream: Stream, bytes: &[u8], on_line: &mut Option<OnLine<'_>>) {
        let Some(on_line) = on_line else { return };
        for piece in bytes.split_inclusive(|&byte| byte == b'\n') {
            self.line.extend_from_slice(piece);
            if self.line.ends_with(b"\n") || self.line.len() >= LINE_LIMIT {
                emit(stream, &mut self.line, on_line);
            }
        }
    }

    /// Delivers the unfinished line at the end of the stream.
    pub fn last_line(&mut self, stream: Stream, on_line: &mut Option<OnLine<'_>>) {
        if let (Some(on_line), false) = (on_line, self.line.is_empty()) {
            emit(stream, &mut self.line, on_line);
        }
    }

    /// Drops excess bytes at the beginning, but not for every few bytes.
    pub fn trim(&mut self, limit: usize) {
        if self.bytes.len() > limit.saturating_mul(2).saturating_add(LINE_LIMIT) {
            self.bytes.drain(..self.bytes.len() - limit);
        }
    }

    /// Returns the last bytes, at most `limit`.
    pub fn finish(mut self, limit: usize) -> Vec<u8> {
        self.bytes.drain(..self.bytes.len().saturating_sub(limit));
        self.bytes
    }
}

fn emit(stream: Stream, line: &mut Vec<u8>, on_line: &mut OnLine<'_>) {
    let text = String::from_utf8_lossy(line);
    on_line(stream, text.trim_end_matches(['\n', '\r']));
    line.clear();
}

#[cfg(test)]
mod tests {
    use super::{OnLine, Stream, Text};

    #[test]
    fn lines_come_whole_although_bytes_come_in_pieces() {
        let mut seen = Vec::new();
        {
            let mut on_line: Option<OnLine<'_>> = Some(Box::new(|_, line: &str| seen.push(line.to_owned())));
            let mut text = Text::default();
            for piece in ["on", "e\r\ntw", "o\n\nthr", "ee"] {
                text.push(Stream::Stdout, piece.as_bytes(), &mut on_line);
            }
            text.last_line(Stream::Stdout, &mut on_line);
        }
        assert_eq!(seen, ["one", "two", "", "three"]);
    }
}
