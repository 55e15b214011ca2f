//! Places in JSON.

use std::{collections::BTreeSet, fmt::Write as _, ops::Range};

use crate::{
    layout::{Content, Entry, Gap, Layout, LayoutError, Leaf, MAX_DEPTH, METADATA, Map, Step, Style},
    value::{Kind, Plain, float},
};

/// Reads the places of a JSON text, whose top is an object.
pub fn read(text: &str) -> Result<Layout, LayoutError> {
    let mut reader = Reader { text, at: 0, layout: Layout::default() };
    reader.space();
    if reader.peek() != Some(b'{') {
        return Err(reader.error("a JSON object is expected"));
    }
    reader.value(&[])?;
    reader.space();
    if reader.at < text.len() { Err(reader.error("text after the end of the object")) } else { Ok(reader.layout) }
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
    layout: Layout,
}

impl Reader<'_> {
    fn error(&self, why: &str) -> LayoutError {
        LayoutError::at(self.text, self.at, why)
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\r' | b'\n')) {
            self.at += 1;
        }
    }

    fn take(&mut self, byte: u8) -> bool {
        let is_there = self.peek() == Some(byte);
        self.at += usize::from(is_there);
        is_there
    }

    fn expect(&mut self, byte: u8, why: &str) -> Result<(), LayoutError> {
        if self.take(byte) { Ok(()) } else { Err(self.error(why)) }
    }

    fn value(&mut self, path: &[Step]) -> Result<(), LayoutError> {
        if path.len() >= MAX_DEPTH {
            return Err(self.error("nested too deeply"));
        }
        match self.peek() {
            Some(b'{') => self.object(path),
            Some(b'[') => self.list(path),
            _ => self.scalar(path),
        }
    }

    fn scalar(&mut self, path: &[Step]) -> Result<(), LayoutError> {
        let start = self.at;
        let content = match self.peek() {
            Some(b'"') => Content::Value(Plain::text(self.string()?)),
            _ => self.word()?,
        };
        self.layout.leaves.push(Leaf { path: path.to_vec(), content, span: start..self.at, style: Style::Json });
        Ok(())
    }

    fn word(&mut self) -> Result<Content, LayoutError> {
        let rest = self.text.get(self.at..).unwrap_or_default();
        let end = rest.find(|char: char| !(char.is_ascii_alphanumeric() || "+-.".contains(char))).unwrap_or(rest.len());
        let word = rest.get(..end).unwrap_or_default();
        let content = match word {
            "null" => Content::Null,
            "true" => Content::Value(Plain::new(Kind::Bool, "True")),
            "false" => Content::Value(Plain::new(Kind::Bool, "False")),
            _ => Content::Value(number(word).ok_or_else(|| self.error("neither a value nor the end of one"))?),
        };
        self.at += end;
        Ok(content)
    }

    fn object(&mut self, path: &[Step]) -> Result<(), LayoutError> {
        let open = self.at;
        self.at += 1;
        let mut members: Vec<(String, Range<usize>)> = Vec::new();
        let mut names = BTreeSet::new();
        self.space();
        while !self.take(b'}') {
            if !members.is_empty() {
                self.expect(b',', "a comma or the end of the object is expected")?;
                self.space();
            }
            let start = self.at;
            let name = self.string()?;
            if !names.insert(name.clone()) {
                return Err(self.error("a key is there twice"));
            }
            self.space();
            self.expect(b':', "a colon is expected after a key")?;
            self.space();
            let path = [path, &[Step::Key(name.clone())]].concat();
            self.value(&path)?;
            members.push((name, start..self.at));
            self.space();
        }
        self.end_object(path, open, &members);
        Ok(())
    }

    /// Notes what a removal removes, with the comma before or after it, and where a new member goes: before the metadata,
    /// otherwise at the end.
    fn end_object(&mut self, path: &[Step], open: usize, members: &[(String, Range<usize>)]) {
        for (at, (name, span)) in members.iter().enumerate() {
            let before = at.checked_sub(1).and_then(|at| members.get(at));
            let span = match (members.get(at + 1), before) {
                (Some((_, next)), _) => span.start..next.start,
                (None, Some((_, before))) => before.end..span.end,
                (None, None) => span.clone(),
            };
            self.layout.entries.push(Entry { path: [path, &[Step::Key(name.clone())]].concat(), span: Ok(span) });
        }
        let metadata = members.iter().find(|(name, _)| path.is_empty() && name == METADATA);
        if let Some((_, span)) = metadata {
            self.layout.metadata = Some(span.clone());
        }
        let gap = match (metadata, members.last()) {
            (Some((_, span)), _) => {
                let separator = format!(",{}", self.space_before(span.start));
                Gap { at: span.start, before: String::new(), after: separator, column: 0 }
            }
            (None, Some((_, last))) => {
                let before = format!(",{}", self.space_before(members.first().map_or(0, |(_, first)| first.start)));
                Gap { at: last.end, before, after: String::new(), column: 0 }
            }
            (None, None) => Gap { at: open + 1, before: String::new(), after: String::new(), column: 0 },
        };
        self.layout.maps.push(Map { path: path.to_vec(), gap: Ok(gap) });
    }

    fn space_before(&self, at: usize) -> &str {
        let before = self.text.get(..at).unwrap_or_default();
        before.get(before.trim_end_matches([' ', '\t', '\r', '\n']).len()..).unwrap_or_default()
    }

    fn list(&mut self, path: &[Step]) -> Result<(), LayoutError> {
        self.at += 1;
        self.space();
        let mut count = 0;
        while !self.take(b']') {
            if count > 0 {
                self.expect(b',', "a comma or the end of the list is expected")?;
                self.space();
            }
            self.value(&[path, &[Step::Index(count)]].concat())?;
            count += 1;
            self.space();
        }
        Ok(())
    }

    fn string(&mut self) -> Result<String, LayoutError> {
        self.expect(b'"', "a text in quotes is expected")?;
        let mut value = String::new();
        loop {
            let rest = self.text.get(self.at..).unwrap_or_default();
            let plain = rest.find(|char: char| char == '"' || char == '\\' || char < ' ').unwrap_or(rest.len());
            value.push_str(rest.get(..plain).unwrap_or_default());
            self.at += plain;
            match self.peek() {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(value);
                }
                Some(b'\\') => value.push(self.escape()?),
                Some(_) => return Err(self.error("a control character in a text")),
                None => return Err(self.error("the file ends in a text")),
            }
        }
    }

    fn escape(&mut self) -> Result<char, LayoutError> {
        self.at += 1;
        let code = self.peek();
        self.at += 1;
        Ok(match code {
            Some(b'n') => '\n',
            Some(b't') => '\t',
            Some(b'r') => '\r',
            Some(b'b') => '\u{8}',
            Some(b'f') => '\u{c}',
            Some(byte @ (b'"' | b'\\' | b'/')) => char::from(byte),
            Some(b'u') => return self.unicode(),
            _ => return Err(self.error("an unknown escape in a text")),
        })
    }

    fn unicode(&mut self) -> Result<char, LayoutError> {
        let high = self.hex()?;
        if !(0xd800..0xdc00).contains(&high) {
            return char::from_u32(high).ok_or_else(|| self.error("half of a surrogate pair"));
        }
        let is_pair = self.take(b'\\') && self.take(b'u');
        let low = if is_pair { self.hex()? } else { 0 };
        if !(0xdc00..0xe000).contains(&low) {
            return Err(self.error("half of a surrogate pair"));
        }
        char::from_u32(0x10000 + ((high - 0xd800) << 10) + (low - 0xdc00))
            .ok_or_else(|| self.error("half of a surrogate pair"))
    }

    fn hex(&mut self) -> Result<u32, LayoutError> {
        let digits =
            self.text.get(self.at..self.at + 4).filter(|text| text.bytes().all(|byte| byte.is_ascii_hexdigit()));
        let number = digits.and_then(|digits| u32::from_str_radix(digits, 16).ok());
        self.at += 4;
        number.ok_or_else(|| self.error("an escape needs four digits"))
    }
}

/// Returns a number of JSON: an integer if it fits 64 bits, as sops 3.13 has it.
fn number(word: &str) -> Option<Plain> {
    let digits = word.strip_prefix('-').unwrap_or(word);
    let whole = digits.find(|char: char| !char.is_ascii_digit()).unwrap_or(digits.len());
    let is_well_formed = digits.starts_with(|char: char| char.is_ascii_digit())
        && !(digits.starts_with('0') && whole > 1)
        && digits.ends_with(|char: char| char.is_ascii_digit());
    if !is_well_formed {
        return None;
    }
    match word.parse::<i64>() {
        Ok(number) => Some(Plain::new(Kind::Int, number.to_string())),
        Err(_) => Some(Plain::new(Kind::Float, float(word)?)),
    }
}

/// Returns a text in quotes. Valid in JSON, and in YAML.
pub fn quoted(text: &str) -> String {
    let mut result = String::with_capacity(text.len() + 2);
    result.push('"');
    for char in text.chars() {
        match char {
            '"' => result.push_str("\\\""),
            '\\' => result.push_str("\\\\"),
            '\n' => result.push_str("\\n"),
            '\t' => result.push_str("\\t"),
            '\r' => result.push_str("\\r"),
            // Control characters, line separators, and what YAML does not take as it is.
            '\0'..' ' | '\u{7f}'..='\u{9f}' | '\u{2028}' | '\u{2029}' | '\u{feff}' | '\u{fffe}' | '\u{ffff}' => {
                // Writing to a text cannot fail.
                let _written = write!(result, "\\u{:04x}", u32::from(char));
            }
            char => result.push(char),
        }
    }
    result.push('"');
    result
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn quotes_and_surrogates_are_read_back() {
        for text in ["", "a\"b\\c", "\n\t\u{1}\u{7f}\u{2028}", "é𝄞"] {
            let file = format!("{{\"k\": {}}}", quoted(text));
            let layout = read(&file).unwrap();
            assert_eq!(layout.leaves[0].content, Content::Value(Plain::text(text)));
        }
        let layout = read(r#"{"k": "\ud834\udd1e\/"}"#).unwrap();
        assert_eq!(layout.leaves[0].content, Content::Value(Plain::text("𝄞/")));
    }

    #[test]
    fn malformed_texts_are_refused() {
        for text in [
            "",
            "[]",
            "{",
            "{\"a\"",
            "{\"a\":}",
            "{\"a\":1,}",
            "{\"a\":1 \"b\":2}",
            "{\"a\":01}",
            "{\"a\":+1}",
            "{\"a\":.5}",
            "{\"a\":1}x",
            "{\"a\":1,\"a\":2}",
            "{\"a\":\"\\ud834\"}",
            "{\"a\":\"\\q\"}",
            "{\"a\":\"\n\"}",
            "{\"a\":nul}",
            "{\"a\":1e999}",
            "{\"a\":inf}",
        ] {
            assert!(read(text).is_err(), "{text}");
        }
        assert!(read(&format!("{{\"a\":{}", "[".repeat(1 << 20))).is_err());
    }
}
