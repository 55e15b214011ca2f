//! Places in YAML. What cannot be kept as it is, or means something else to sops, is refused: several documents, anchors,
//! aliases, tags, merge keys, keys that are not text, numbers that are not in decimal, and dates without quotes.

use std::{borrow::Cow, collections::BTreeSet, ops::Range};

use saphyr_parser::{Event, Parser, ScalarStyle, Span};

use crate::{
    comments::{self, Container},
    layout::{Content, Entry, Gap, Layout, LayoutError, Leaf, MAX_DEPTH, METADATA, Map, Step, Style},
    value::{Kind, Plain, float},
};

/// Reads the places of a YAML text, whose top is a map.
pub fn read(text: &str) -> Result<Layout, LayoutError> {
    if let Some(at) = text.find(['\r', '\u{feff}', '\u{85}', '\u{2028}', '\u{2029}']) {
        return Err(LayoutError::at(text, at, "a line end or mark other than a line feed; convert it (`dos2unix`)"));
    }
    if let Some(at) = first_of_line(text, '%') {
        return Err(LayoutError::at(text, at, "directives are not supported"));
    }
    let mut reader = Reader::new(text);
    reader.document()?;
    let Reader { mut layout, scalars, containers, .. } = reader;
    comments::add(text, &mut layout, &scalars, &containers);
    layout.leaves.sort_by_key(|leaf| leaf.span.start);
    Ok(layout)
}

fn first_of_line(text: &str, char: char) -> Option<usize> {
    if text.starts_with(char) { Some(0) } else { text.find(&format!("\n{char}")).map(|at| at + 1) }
}

struct Reader<'a> {
    text: &'a str,
    /// Bytes of the characters, if they are not the same.
    bytes: Option<Vec<usize>>,
    parser: Parser<'a, saphyr_parser::StrInput<'a>>,
    layout: Layout,
    scalars: Vec<Range<usize>>,
    containers: Vec<Container>,
}

/// A scalar: its value, its style and its bytes.
struct Scalar<'a> {
    value: Cow<'a, str>,
    style: ScalarStyle,
    span: Range<usize>,
}

impl<'a> Reader<'a> {
    fn new(text: &'a str) -> Self {
        let starts = || text.char_indices().map(|(at, _)| at).chain([text.len()]).collect();
        Self {
            text,
            bytes: (!text.is_ascii()).then(starts),
            parser: Parser::new_from_str(text),
            layout: Layout::default(),
            scalars: Vec::new(),
            containers: Vec::new(),
        }
    }

    fn byte(&self, char: usize) -> usize {
        match &self.bytes {
            None => char.min(self.text.len()),
            Some(bytes) => bytes.get(char).copied().unwrap_or(self.text.len()),
        }
    }

    fn error(&self, span: &Span, why: impl Into<String>) -> LayoutError {
        LayoutError::at(self.text, self.byte(span.start.index()), why)
    }

    fn next(&mut self) -> Result<(Event<'a>, Span), LayoutError> {
        match self.parser.next_event() {
            Some(Ok(event)) => Ok(event),
            // The parser's own words may quote the text.
            Some(Err(error)) => {
                Err(LayoutError { line: error.marker().line().max(1), why: "this is not valid YAML".to_owned() })
            }
            None => Err(LayoutError::at(self.text, self.text.len(), "the file ends too early")),
        }
    }

    fn document(&mut self) -> Result<(), LayoutError> {
        self.next()?;
        let (event, span) = self.next()?;
        match event {
            Event::StreamEnd => self.empty(),
            Event::DocumentStart(_) => self.top()?,
            _ => return Err(self.error(&span, "a document is expected")),
        }
        Ok(())
    }

    /// A file without a document, such as one of comments alone.
    fn empty(&mut self) {
        let newline = if self.text.is_empty() || self.text.ends_with('\n') { "" } else { "\n" };
        let gap = Gap { at: self.text.len(), before: newline.to_owned(), after: "\n".to_owned(), column: 0 };
        self.layout.maps.push(Map { path: Vec::new(), gap: Ok(gap) });
    }

    fn top(&mut self) -> Result<(), LayoutError> {
        let (event, span) = self.next()?;
        match event {
            Event::MappingStart(0, None) => self.map(&[], &span)?,
            Event::MappingStart(..) => return Err(self.error(&span, MARKED)),
            Event::Scalar(value, ScalarStyle::Plain, 0, None) if value.is_empty() => self.empty(),
            _ => return Err(self.error(&span, "the top must be a map: `key: value`")),
        }
        self.next()?;
        let (event, span) = self.next()?;
        match event {
            Event::StreamEnd => Ok(()),
            _ => Err(self.error(&span, "several documents in one file are not supported")),
        }
    }

    fn scalar(&self, value: Cow<'a, str>, style: ScalarStyle, span: &Span) -> Result<Scalar<'a>, LayoutError> {
        let start = self.byte(span.start.index());
        let raw = self.text.get(start..self.byte(span.end.index()).max(start)).unwrap_or_default();
        let raw = raw.trim_end();
        let rest = self.text.get(start..).unwrap_or_default();
        // The parser's own end of a quoted scalar is after a comment that follows it.
        let length = match style {
            ScalarStyle::Plain => Some(plain_length(raw)),
            ScalarStyle::SingleQuoted => quoted_length(rest, '\'', '\''),
            ScalarStyle::DoubleQuoted => quoted_length(rest, '"', '\\'),
            ScalarStyle::Literal | ScalarStyle::Folded => {
                let end = start + raw.len();
                let header = self.block_header(start).filter(|header| *header < end);
                let header =
                    header.ok_or_else(|| self.error(span, "a block (`|`, `>`) that is empty or has a comment"))?;
                return Ok(Scalar { value, style, span: header..end });
            }
        };
        match length {
            Some(length) => Ok(Scalar { value, style, span: start..start + length }),
            None => Err(self.error(span, "a scalar whose place is not clear; write it in double quotes")),
        }
    }

    fn node(&mut self, event: Event<'a>, span: &Span, path: &[Step], style: Style) -> Result<(), LayoutError> {
        if path.len() >= MAX_DEPTH {
            return Err(self.error(span, "nested too deeply"));
        }
        match event {
            Event::Scalar(value, how, 0, None) => {
                let scalar = self.scalar(value, how, span)?;
                let content = content(&scalar).map_err(|why| self.error(span, why))?;
                self.leaf(scalar, content, path, style);
                Ok(())
            }
            Event::MappingStart(0, None) => self.map(path, span),
            Event::SequenceStart(0, None) => self.list(path, span),
            Event::Alias(_) => Err(self.error(span, "an alias (`*name`) is not supported: write the value")),
            _ => Err(self.error(span, MARKED)),
        }
    }

    /// Returns the place of the `|` or `>` of a block whose first line starts here.
    fn block_header(&self, start: usize) -> Option<usize> {
        let before = self.text.get(..start)?;
        if before.ends_with(['|', '>']) {
            return Some(start - 1);
        }
        let before = if self.text.get(start..)?.starts_with(['|', '>']) { self.text.get(..=start)? } else { before };
        let line = before.trim_end();
        let at = line.rfind(['|', '>'])?;
        let is_header = line.get(at + 1..)?.bytes().all(|byte| b"+-0123456789".contains(&byte));
        is_header.then_some(at)
    }

    fn leaf(&mut self, scalar: Scalar<'a>, content: Content, path: &[Step], style: Style) {
        let is_missing = scalar.span.is_empty();
        let (span, style) = match (style, is_missing) {
            (Style::Block { column }, true) => {
                // Right after the colon or dash.
                let before = self.text.get(..scalar.span.start).unwrap_or_default();
                let after = before.rfind([':', '-']).map_or(scalar.span.start, |at| at + 1);
                let after = self.scalars.last().map_or(after, |key| {
                    let rest = self.text.get(key.end..).unwrap_or_default();
                    rest.find(':').map_or(after, |colon| key.end + colon + 1)
                });
                (after..after, Style::Missing { column })
            }
            _ => (scalar.span, style),
        };
        if !is_missing {
            self.scalars.push(span.clone());
        }
        self.layout.leaves.push(Leaf { path: path.to_vec(), content, span, style });
    }

    fn is_flow(&self, span: &Span) -> bool {
        self.text.as_bytes().get(self.byte(span.start.index())).is_some_and(|byte| b"{[".contains(byte))
            && span.end.index() > span.start.index()
    }

    fn column(&self, at: usize) -> usize {
        let before = self.text.get(..at).unwrap_or_default();
        before.chars().rev().take_while(|char| *char != '\n').count()
    }

    fn last_scalar(&self, from: usize) -> usize {
        self.scalars.last().map_or(from, |span| span.end).max(from)
    }

    fn list(&mut self, path: &[Step], span: &Span) -> Result<(), LayoutError> {
        let start = self.byte(span.start.index());
        let is_flow = self.is_flow(span);
        let column = self.column(start);
        let mut count = 0;
        loop {
            let (event, span) = self.next()?;
            if matches!(event, Event::SequenceEnd) {
                let end = if is_flow { self.byte(span.end.index()) } else { self.last_scalar(start) };
                if is_flow {
                    // Text of a comment cannot begin in front of its end.
                    self.scalars.push(end.saturating_sub(1)..end);
                }
                self.containers.push(Container { path: path.to_vec(), column, span: start..end });
                return Ok(());
            }
            let path = [path, &[Step::Index(count)]].concat();
            let style = if is_flow { Style::Flow } else { Style::Block { column } };
            self.node(event, &span, &path, style)?;
            count += 1;
        }
    }

    fn map(&mut self, path: &[Step], span: &Span) -> Result<(), LayoutError> {
        let start = self.byte(span.start.index());
        let is_flow = self.is_flow(span);
        let column = self.column(start);
        let style = if is_flow { Style::Flow } else { Style::Block { column } };
        let mut keys: Vec<(String, Range<usize>)> = Vec::new();
        let mut names = BTreeSet::new();
        let end = loop {
            let (event, span) = self.next()?;
            if matches!(event, Event::MappingEnd) {
                break if is_flow { self.byte(span.end.index()) } else { self.last_scalar(start) };
            }
            let name = self.key(event, &span)?;
            if !names.insert(name.clone()) {
                return Err(self.error(&span, "a key is there twice"));
            }
            let from = self.byte(span.start.index());
            let key_end = self.last_scalar(from);
            let path = [path, &[Step::Key(name.clone())]].concat();
            let (event, span) = self.next()?;
            self.node(event, &span, &path, style)?;
            keys.push((name, from..self.last_scalar(key_end)));
        };
        if is_flow {
            self.scalars.push(end.saturating_sub(1)..end);
        }
        self.containers.push(Container { path: path.to_vec(), column, span: start..end });
        self.end_map(path, is_flow, column, &keys);
        Ok(())
    }

    fn key(&mut self, event: Event<'a>, span: &Span) -> Result<String, LayoutError> {
        let Event::Scalar(value, style, 0, None) = event else {
            return Err(self.error(span, "a key must be text, without anchor or tag"));
        };
        let scalar = self.scalar(value, style, span)?;
        let is_text = matches!(content(&scalar), Ok(Content::Value(Plain { kind: Kind::Str, .. })));
        if !is_text {
            return Err(self.error(span, "a key must be text: write it in quotes"));
        }
        if scalar.value == "<<" {
            return Err(self.error(span, "a merge key (`<<`) is not supported"));
        }
        if self.text.get(..scalar.span.start).unwrap_or_default().trim_end_matches(' ').ends_with('?') {
            return Err(self.error(span, "a key after `?` is not supported"));
        }
        self.scalars.push(scalar.span);
        Ok(scalar.value.into_owned())
    }

    /// Notes the lines that a removal removes, and where a new key goes: before the metadata, otherwise after the last one.
    fn end_map(&mut self, path: &[Step], is_flow: bool, column: usize, keys: &[(String, Range<usize>)]) {
        for (name, span) in keys {
            let span = if is_flow { Err(FLOW) } else { self.lines(span) };
            self.layout.entries.push(Entry { path: [path, &[Step::Key(name.clone())]].concat(), span });
        }
        let metadata = keys.iter().find(|(name, _)| path.is_empty() && name == METADATA);
        if let Some((_, span)) = metadata {
            self.layout.metadata = self.lines(span).ok();
        }
        let gap = match (metadata, keys.last()) {
            _ if is_flow => Err(FLOW),
            (Some((_, span)), _) => Ok(self.gap(span.start, column)),
            (None, Some((_, span))) => Ok(self.gap(self.line_after(span.end), column)),
            (None, None) => Err(FLOW),
        };
        self.layout.maps.push(Map { path: path.to_vec(), gap });
    }

    fn gap(&self, at: usize, column: usize) -> Gap {
        let newline =
            if self.text.get(..at).is_some_and(|text| text.is_empty() || text.ends_with('\n')) { "" } else { "\n" };
        Gap { at, before: format!("{newline}{}", " ".repeat(column)), after: "\n".to_owned(), column }
    }

    fn line_after(&self, at: usize) -> usize {
        let rest = self.text.get(at..).unwrap_or_default();
        rest.find('\n').map_or(self.text.len(), |end| at + end + 1)
    }

    fn lines(&self, span: &Range<usize>) -> Result<Range<usize>, &'static str> {
        let before = self.text.get(..span.start).unwrap_or_default();
        let start = before.rfind('\n').map_or(0, |end| end + 1);
        let is_alone = before.get(start..).is_some_and(|text| text.trim().is_empty());
        if is_alone { Ok(start..self.line_after(span.end)) } else { Err(FLOW) }
    }
}

fn plain_length(raw: &str) -> usize {
    raw.find(" #").map_or(raw, |end| raw.get(..end).unwrap_or_default()).trim_end().len()
}

/// Returns the length of a quoted scalar with its quotes. The escape of a single quote is another one.
fn quoted_length(text: &str, quote: char, escape: char) -> Option<usize> {
    let mut chars = text.char_indices().peekable();
    chars.next_if(|(_, char)| *char == quote)?;
    while let Some((at, char)) = chars.next() {
        let is_escape = char == escape && (escape != quote || chars.peek().is_some_and(|(_, next)| *next == quote));
        if is_escape {
            chars.next();
        } else if char == quote {
            return Some(at + 1);
        }
    }
    None
}

const MARKED: &str = "an anchor (`&name`) or a tag (`!name`) is not supported: write the value";
const FLOW: &str = "it is in a map within brackets or a list, whose text only `machinist secrets edit` changes";

/// Returns the value of a scalar, as sops reads it.
fn content(scalar: &Scalar<'_>) -> Result<Content, &'static str> {
    if scalar.style != ScalarStyle::Plain {
        return Ok(Content::Value(Plain::text(scalar.value.as_bytes())));
    }
    resolve(&scalar.value)
}

/// Resolves a scalar without quotes.
fn resolve(text: &str) -> Result<Content, &'static str> {
    let value = match text {
        "" | "~" | "null" | "Null" | "NULL" => return Ok(Content::Null),
        "true" | "True" | "TRUE" => Plain::new(Kind::Bool, "True"),
        "false" | "False" | "FALSE" => Plain::new(Kind::Bool, "False"),
        _ if !text.starts_with(|char: char| char.is_ascii_digit() || "+-.".contains(char)) => Plain::text(text),
        _ => numeric(text)?,
    };
    Ok(Content::Value(value))
}

fn numeric(text: &str) -> Result<Plain, &'static str> {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let is_decimal = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    let is_canonical = is_decimal && (digits == "0" || !digits.starts_with('0')) && text != "-0";
    if is_canonical {
        let number = text.parse::<i64>().map_err(|_| "a number beyond 64 bits: write it in quotes")?;
        return Ok(Plain::new(Kind::Int, number.to_string()));
    }
    if is_float(text) && !is_decimal {
        return float(text)
            .map(|text| Plain::new(Kind::Float, text))
            .ok_or("a number beyond 64 bits: write it in quotes");
    }
    let special = [".inf", ".nan", "+.inf", "-.inf"].contains(&text.to_ascii_lowercase().as_str());
    let is_ambiguous = text.len() > 1 && looks_numeric(&text.replace('_', "")) || is_date(text) || special;
    if is_ambiguous {
        Err("a number that is not in decimal, or a date: write it in decimal, or in quotes if it is text")
    } else {
        Ok(Plain::text(text))
    }
}

/// The floating-point numbers of yaml.v3: `[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?`.
fn is_float(text: &str) -> bool {
    let text = text.strip_prefix(['-', '+']).unwrap_or(text);
    let (mantissa, exponent) = text.split_once(['e', 'E']).map_or((text, None), |(a, b)| (a, Some(b)));
    let (whole, part) = mantissa.split_once('.').map_or((mantissa, None), |(a, b)| (a, Some(b)));
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let exponent = exponent.is_none_or(|text| {
        let text = text.strip_prefix(['-', '+']).unwrap_or(text);
        !text.is_empty() && digits(text)
    });
    let has_digits = !whole.is_empty() || part.is_some_and(|part| !part.is_empty());
    has_digits && digits(whole) && part.is_none_or(digits) && exponent
}

fn looks_numeric(text: &str) -> bool {
    let text = text.strip_prefix(['-', '+']).unwrap_or(text);
    let lower = text.to_ascii_lowercase();
    let based = [("0x", 16), ("0o", 8), ("0b", 2)].iter().any(|(prefix, base)| {
        lower
            .strip_prefix(prefix)
            .is_some_and(|digits| digits.chars().all(|char| char.is_digit(*base) || "+-".contains(char)))
    });
    based || is_float(text)
}

/// Returns true for what yaml.v3 may take as a time: four digits and a dash.
fn is_date(text: &str) -> bool {
    let bytes = text.as_bytes();
    bytes.len() > 4 && bytes[..4].iter().all(u8::is_ascii_digit) && bytes[4] == b'-'
}

/// Returns the text of a value at this place.
pub fn render(plain: &Plain, style: Style) -> Option<String> {
    let text = plain.as_str()?;
    let rendered = match plain.kind {
        Kind::Int => text.to_owned(),
        Kind::Float if text.contains('.') => text.to_owned(),
        Kind::Float => format!("{text}.0"),
        Kind::Bool => text.to_ascii_lowercase(),
        Kind::Comment => text.to_owned(),
        Kind::Str | Kind::Time | Kind::Bytes => string(text, style),
    };
    let space = if matches!(style, Style::Missing { .. }) { " " } else { "" };
    Some(format!("{space}{rendered}"))
}

/// Returns a text: as it is where nothing in it has a meaning, as a block if it has lines, otherwise in quotes.
fn string(text: &str, style: Style) -> String {
    if crate::value::is_encrypted(text) && style != Style::Flow {
        return text.to_owned();
    }
    let is_plain = text.starts_with(|char: char| char.is_ascii_alphabetic() || char == '_' || char == '/')
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_./@+=-".contains(&byte))
        && !["y", "n", "yes", "no", "on", "off"].contains(&text.to_ascii_lowercase().as_str())
        && resolve(text) == Ok(Content::Value(Plain::text(text)));
    if is_plain {
        return text.to_owned();
    }
    match style {
        Style::Block { column } | Style::Missing { column } if is_block(text) => block(text, column + 2),
        _ => crate::json::quoted(text),
    }
}

fn is_block(text: &str) -> bool {
    let body = text.strip_suffix('\n').unwrap_or(text);
    body.contains('\n')
        && !body.starts_with([' ', '\n', '\t'])
        && !body.ends_with([' ', '\n', '\t'])
        && !body.chars().any(|char| {
            (char.is_control() && char != '\n')
                || ['\u{2028}', '\u{2029}', '\u{feff}', '\u{fffe}', '\u{ffff}'].contains(&char)
        })
        && body.lines().all(|line| line.is_empty() || !line.trim().is_empty())
}

fn block(text: &str, indentation: usize) -> String {
    let (mark, body) = text.strip_suffix('\n').map_or(("|-", text), |body| ("|", body));
    let indentation = " ".repeat(indentation);
    let lines: Vec<String> = body
        .split('\n')
        .map(|line| if line.is_empty() { String::new() } else { format!("{indentation}{line}") })
        .collect();
    format!("{mark}\n{}", lines.join("\n"))
}
