//! Conversion of YAML parser events to JSON values with their lines.

use std::{
    borrow::Cow,
    collections::{BTreeMap, HashMap},
};

use saphyr_parser::{Event, Parser, ScalarStyle, ScanError, Span, StrInput, Tag};
use serde_json::{Map, Value};

use super::{pointer, scalar};

/// Lines by JSON pointer.
type Lines = BTreeMap<String, usize>;

/// A document: its line, its value, the lines of its parts.
type Composed = (usize, Value, Lines);

/// An error message, and its line.
type Wrong = (usize, String);

/// Maximum depth of mappings and lists. The API server's own limit for JSON is 10000; no real object comes near this
/// one.
const DEPTH: usize = 100;

/// Maximum number of values that a file's aliases expand to. Otherwise a few lines of nested aliases would exhaust the
/// memory.
const COPIES: usize = 100_000;

/// Returns the documents of the text that are not empty.
pub fn documents(text: &str) -> Result<Vec<Composed>, Wrong> {
    let mut composer =
        Composer { events: Parser::new_from_str(text), anchors: HashMap::new(), lines: Lines::new(), n_copies: 0 };
    let mut documents = Vec::new();
    loop {
        let (event, span) = composer.next()?;
        match event {
            Event::StreamEnd => return Ok(documents),
            Event::DocumentStart(_) => {
                let (event, span) = composer.next()?;
                let line = span.start.line();
                let value = composer.node(event, span, String::new(), 0)?;
                let lines = std::mem::take(&mut composer.lines);
                composer.anchors.clear();
                if value != Value::Null {
                    documents.push((line, value, lines));
                }
            }
            Event::StreamStart | Event::DocumentEnd | Event::Nothing => {}
            _ => return Err((span.start.line(), "content outside a document".to_owned())),
        }
    }
}

struct Composer<'a> {
    events: Parser<'a, StrInput<'a>>,
    anchors: HashMap<usize, Value>,
    lines: Lines,
    n_copies: usize,
}

impl<'a> Composer<'a> {
    fn next(&mut self) -> Result<(Event<'a>, Span), Wrong> {
        match self.events.next_event() {
            Some(Ok(event)) => Ok(event),
            Some(Err(error)) => Err(no_yaml(&error)),
            None => Err((1, "invalid YAML: unexpected end".to_owned())),
        }
    }

    /// Builds the value that starts with the event.
    fn node(&mut self, event: Event<'a>, span: Span, at: String, depth: usize) -> Result<Value, Wrong> {
        let line = span.start.line();
        if depth > DEPTH {
            return Err((line, format!("nested more than {DEPTH} deep")));
        }
        // An entry of a mapping already has the line of its key.
        self.lines.entry(at.clone()).or_insert(line);
        let (anchor, value) = match event {
            Event::Scalar(text, style, anchor, tag) => {
                (anchor, scalar_value(&text, style, tag.as_deref()).map_err(|why| (line, why))?)
            }
            Event::SequenceStart(anchor, tag) => {
                refuse_tag(tag, "seq", line)?;
                (anchor, self.sequence(&at, depth)?)
            }
            Event::MappingStart(anchor, tag) => {
                refuse_tag(tag, "map", line)?;
                (anchor, self.mapping(&at, depth)?)
            }
            Event::Alias(anchor) => (0, self.copy(anchor, line)?),
            _ => return Err((line, "invalid YAML: missing value".to_owned())),
        };
        if anchor > 0 {
            self.anchors.insert(anchor, value.clone());
        }
        Ok(value)
    }

    fn sequence(&mut self, at: &str, depth: usize) -> Result<Value, Wrong> {
        let mut items = Vec::new();
        loop {
            let (event, span) = self.next()?;
            if event == Event::SequenceEnd {
                return Ok(Value::Array(items));
            }
            let at = pointer(at, &items.len().to_string());
            items.push(self.node(event, span, at, depth + 1)?);
        }
    }

    fn mapping(&mut self, at: &str, depth: usize) -> Result<Value, Wrong> {
        let mut entries = Map::new();
        let mut merged = Vec::new();
        loop {
            let (event, span) = self.next()?;
            if event == Event::MappingEnd {
                break;
            }
            let line = span.start.line();
            let merges = matches!(&event, Event::Scalar(text, ScalarStyle::Plain, ..) if text == "<<");
            let key = self.key(event, line)?;
            let at = pointer(at, &key);
            let (event, span) = self.next()?;
            if merges {
                let value = self.node(event, span, at, depth + 1)?;
                merged.push((line, value));
                continue;
            }
            if entries.contains_key(&key) {
                return Err((line, format!("duplicate key {key:?}, first on line {}", self.lines[&at])));
            }
            self.lines.insert(at.clone(), line);
            let value = self.node(event, span, at, depth + 1)?;
            entries.insert(key, value);
        }
        for (line, value) in merged {
            merge(&mut entries, value).map_err(|why| (line, why))?;
        }
        Ok(Value::Object(entries))
    }

    /// Converts a key to a string, as Kubernetes' own parser does.
    fn key(&self, event: Event<'a>, line: usize) -> Result<String, Wrong> {
        let value = match event {
            Event::Scalar(text, style, _, tag) => {
                scalar_value(&text, style, tag.as_deref()).map_err(|why| (line, why))?
            }
            Event::Alias(anchor) => self.anchors.get(&anchor).cloned().unwrap_or_default(),
            _ => return Err((line, "a key must be a string".to_owned())),
        };
        match value {
            Value::String(text) => Ok(text),
            Value::Number(number) => Ok(number.to_string()),
            Value::Bool(value) => Ok(value.to_string()),
            Value::Null | Value::Array(_) | Value::Object(_) => Err((line, "a key must be a string".to_owned())),
        }
    }

    fn copy(&mut self, anchor: usize, line: usize) -> Result<Value, Wrong> {
        let Some(value) = self.anchors.get(&anchor) else {
            return Err((line, "an alias inside its own anchor".to_owned()));
        };
        self.n_copies = self.n_copies.saturating_add(size(value));
        if self.n_copies > COPIES {
            return Err((line, format!("the aliases up to here expand to more than {COPIES} values")));
        }
        Ok(value.clone())
    }
}

fn size(value: &Value) -> usize {
    match value {
        Value::Array(items) => 1 + items.iter().map(size).sum::<usize>(),
        Value::Object(entries) => 1 + entries.values().map(size).sum::<usize>(),
        _ => 1,
    }
}

/// `<<`: entries that the mapping does not have itself; of several sources, the first one with the key counts.
fn merge(entries: &mut Map<String, Value>, value: Value) -> Result<(), String> {
    match value {
        Value::Object(other) => {
            for (key, value) in other {
                entries.entry(key).or_insert(value);
            }
            Ok(())
        }
        Value::Array(items) => items.into_iter().try_for_each(|item| match item {
            Value::Object(_) => merge(entries, item),
            _ => Err("`<<` takes mappings only".to_owned()),
        }),
        _ => Err("`<<` takes mappings only".to_owned()),
    }
}

fn scalar_value(text: &str, style: ScalarStyle, tag: Option<&Tag>) -> Result<Value, String> {
    let plain = match tag {
        None => style == ScalarStyle::Plain,
        Some(tag) if tag.is_yaml_core_schema() && tag.suffix == "str" => false,
        Some(tag) if tag.is_yaml_core_schema() && ["bool", "float", "int", "null"].contains(&tag.suffix.as_str()) => {
            true
        }
        Some(tag) => return Err(format!("the tag {}{} has no equivalent in JSON", tag.handle, tag.suffix)),
    };
    let value = if plain { scalar::resolve(text)? } else { Value::String(text.to_owned()) };
    let fits = match tag.map(|tag| tag.suffix.as_str()) {
        Some("bool") => value.is_boolean(),
        Some("int") => value.is_i64() || value.is_u64(),
        Some("float") => value.is_number(),
        Some("null") => value.is_null(),
        _ => true,
    };
    if fits { Ok(value) } else { Err(format!("{text:?} does not match its tag")) }
}

fn refuse_tag(tag: Option<Cow<'_, Tag>>, expected: &str, line: usize) -> Result<(), Wrong> {
    match tag {
        Some(tag) if !(tag.is_yaml_core_schema() && tag.suffix == expected) => {
            Err((line, format!("the tag {}{} has no equivalent in JSON", tag.handle, tag.suffix)))
        }
        _ => Ok(()),
    }
}

fn no_yaml(error: &ScanError) -> Wrong {
    (error.marker().line().max(1), format!("invalid YAML: {}", error.info()))
}
