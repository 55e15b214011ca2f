//! Nix expressions as a value tree, and the one place that prints and escapes them.
//!
//! The layout is nixfmt's (RFC 166): attributes sorted and one a line, nested sets expanded, a set with a single
//! attribute as a dotted path, lists of several items one a line. Functions, `let` and the like are deliberately
//! missing: generated files contain facts only.

use std::collections::BTreeMap;

use thiserror::Error;

/// A Nix value of plain data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// `null`
    Null,
    /// `true` or `false`
    Bool(bool),
    /// An integer.
    Int(i64),
    /// A string; any text without NUL.
    String(String),
    /// A path literal relative to the file, such as `../certs/a.pem`. Evaluation copies the file to the store, so it
    /// must never name anything secret.
    Path(RelativePath),
    /// A list.
    List(Vec<Value>),
    /// An attribute set.
    Set(Attributes),
}

/// The attributes of a set, sorted by name.
pub type Attributes = BTreeMap<String, Value>;

/// A path literal that begins with `./` or `../` and needs no escapes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RelativePath(String);

/// Error writing a value as Nix text.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum WriteError {
    /// Nix strings cannot hold NUL.
    #[error("the string {0:?} holds a NUL character, which Nix strings cannot")]
    Nul(String),
    /// The path cannot be a path literal.
    #[error(
        "`{0}` cannot be written as a Nix path: it must begin with ./ or ../ and hold only letters, digits and . _ - + /"
    )]
    Path(String),
}

impl RelativePath {
    /// Checks that the text is valid as a path literal.
    ///
    /// # Errors
    /// The text does not begin with `./` or `../`, ends in `/`, or contains a character that is invalid in a Nix path.
    pub fn parse(text: &str) -> Result<Self, WriteError> {
        let allowed = |c: char| c.is_ascii_alphanumeric() || "._-+/".contains(c);
        let anchored = text.starts_with("./") || text.starts_with("../");
        if anchored && !text.ends_with('/') && !text.contains("//") && text.chars().all(allowed) {
            Ok(Self(text.to_owned()))
        } else {
            Err(WriteError::Path(text.to_owned()))
        }
    }
}

impl From<bool> for Value {
    fn from(value: bool) -> Self {
        Self::Bool(value)
    }
}

impl From<u8> for Value {
    fn from(value: u8) -> Self {
        Self::Int(value.into())
    }
}

impl From<u16> for Value {
    fn from(value: u16) -> Self {
        Self::Int(value.into())
    }
}

impl From<&str> for Value {
    fn from(value: &str) -> Self {
        Self::String(value.to_owned())
    }
}

impl From<String> for Value {
    fn from(value: String) -> Self {
        Self::String(value)
    }
}

impl From<Attributes> for Value {
    fn from(value: Attributes) -> Self {
        Self::Set(value)
    }
}

/// Numbers that are not integers become strings: no fact is a fraction.
impl From<&serde_json::Value> for Value {
    fn from(json: &serde_json::Value) -> Self {
        match json {
            serde_json::Value::Null => Self::Null,
            serde_json::Value::Bool(value) => Self::Bool(*value),
            serde_json::Value::Number(number) => {
                number.as_i64().map_or_else(|| Self::String(number.to_string()), Self::Int)
            }
            serde_json::Value::String(text) => Self::String(text.clone()),
            serde_json::Value::Array(items) => Self::List(items.iter().map(Self::from).collect()),
            serde_json::Value::Object(entries) => {
                Self::Set(entries.iter().map(|(name, value)| (name.clone(), Self::from(value))).collect())
            }
        }
    }
}

/// A path becomes its text, relative to the file.
impl From<&Value> for serde_json::Value {
    fn from(value: &Value) -> Self {
        match value {
            Value::Null => Self::Null,
            Value::Bool(value) => (*value).into(),
            Value::Int(value) => (*value).into(),
            Value::String(text) => text.as_str().into(),
            Value::Path(path) => path.0.as_str().into(),
            Value::List(items) => items.iter().map(Self::from).collect(),
            Value::Set(entries) => entries.iter().map(|(name, value)| (name.clone(), Self::from(value))).collect(),
        }
    }
}

impl<T: Into<Value>> FromIterator<T> for Value {
    fn from_iter<I: IntoIterator<Item = T>>(items: I) -> Self {
        Self::List(items.into_iter().map(Into::into).collect())
    }
}

/// Builds a set from names and values.
pub fn set<const N: usize>(attributes: [(&str, Value); N]) -> Attributes {
    attributes.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

/// Returns the text of a file: `header` as comment lines, then the value, with a final newline.
///
/// # Errors
/// The value holds a string with NUL.
pub fn file(header: &str, value: &Value) -> Result<String, WriteError> {
    let mut text: String = header.lines().map(|line| format!("# {line}\n")).collect();
    write_value(&mut text, value, 0)?;
    text.push('\n');
    Ok(text)
}

fn write_value(out: &mut String, value: &Value, depth: usize) -> Result<(), WriteError> {
    match value {
        Value::Null => out.push_str("null"),
        Value::Bool(value) => out.push_str(if *value { "true" } else { "false" }),
        Value::Int(value) => out.push_str(&value.to_string()),
        Value::String(text) => write_string(out, text)?,
        Value::Path(path) => out.push_str(&path.0),
        Value::List(items) => write_list(out, items, depth)?,
        Value::Set(attributes) => write_set(out, attributes, depth)?,
    }
    Ok(())
}

fn write_set(out: &mut String, attributes: &Attributes, depth: usize) -> Result<(), WriteError> {
    if attributes.is_empty() {
        out.push_str("{ }");
        return Ok(());
    }
    out.push_str("{\n");
    for (name, value) in attributes {
        indent(out, depth + 1);
        write_name(out, name)?;
        let mut value = value;
        // A set with one attribute in its short form: `a.b = 1;`.
        while let Value::Set(inner) = value
            && let Some((name, only)) = inner.first_key_value()
            && inner.len() == 1
        {
            out.push('.');
            write_name(out, name)?;
            value = only;
        }
        out.push_str(" = ");
        write_value(out, value, depth + 1)?;
        out.push_str(";\n");
    }
    indent(out, depth);
    out.push('}');
    Ok(())
}

fn write_list(out: &mut String, items: &[Value], depth: usize) -> Result<(), WriteError> {
    match items {
        [] => out.push_str("[ ]"),
        [only] if !matches!(only, Value::Set(_) | Value::List(_)) => {
            out.push_str("[ ");
            write_item(out, only, depth)?;
            out.push_str(" ]");
        }
        _ => {
            out.push_str("[\n");
            for item in items {
                indent(out, depth + 1);
                write_item(out, item, depth + 1)?;
                out.push('\n');
            }
            indent(out, depth);
            out.push(']');
        }
    }
    Ok(())
}

/// In a list `-1` would parse as a subtraction, so negative integers get parentheses.
fn write_item(out: &mut String, item: &Value, depth: usize) -> Result<(), WriteError> {
    match item {
        Value::Int(value) if *value < 0 => out.push_str(&format!("({value})")),
        _ => write_value(out, item, depth)?,
    }
    Ok(())
}

/// Words that need quotes as an attribute's name (Nix manual, "Identifiers").
const KEYWORDS: [&str; 9] = ["assert", "else", "if", "in", "inherit", "let", "rec", "then", "with"];

fn write_name(out: &mut String, name: &str) -> Result<(), WriteError> {
    let mut characters = name.chars();
    let starts = characters.next().is_some_and(|c| c.is_ascii_alphabetic() || c == '_');
    let plain = starts && characters.all(|c| c.is_ascii_alphanumeric() || "_-'".contains(c));
    // `or` is not a keyword of the grammar, but old versions parse `a.or` as an operator.
    if plain && !KEYWORDS.contains(&name) && name != "or" {
        out.push_str(name);
        return Ok(());
    }
    write_string(out, name)
}

fn write_string(out: &mut String, text: &str) -> Result<(), WriteError> {
    if text.contains('\0') {
        return Err(WriteError::Nul(text.to_owned()));
    }
    out.push('"');
    let mut characters = text.chars().peekable();
    while let Some(character) = characters.next() {
        match character {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '$' if characters.peek() == Some(&'{') => out.push_str("\\$"),
            other => out.push(other),
        }
    }
    out.push('"');
    Ok(())
}

fn indent(out: &mut String, depth: usize) {
    out.extend(std::iter::repeat_n("  ", depth));
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use expect_test::{Expect, expect};

    use super::{RelativePath, Value, WriteError, file, set};

    #[track_caller]
    fn check(value: impl Into<Value>, expect: &Expect) {
        expect.assert_eq(&file("", &value.into()).unwrap());
    }

    #[test]
    fn sets_are_sorted_and_a_single_attribute_is_a_dotted_path() {
        let hosts = set([("10.0.0.1", Value::from_iter(["a"]))]);
        let network = set([("prefixLength", 24_u8.into()), ("address", "10.0.0.1".into())]);
        let empty = set([]);
        check(
            set([("hosts", hosts.into()), ("network", network.into()), ("empty", empty.into())]),
            &expect![[r#"
                {
                  empty = { };
                  hosts."10.0.0.1" = [ "a" ];
                  network = {
                    address = "10.0.0.1";
                    prefixLength = 24;
                  };
                }
            "#]],
        );
    }

    #[test]
    fn lists_of_several_items_stand_one_a_line() {
        let nested = Value::List(vec![Value::Int(-1), set([("x", Value::Null)]).into(), Value::List(vec![])]);
        check(
            set([("list", nested), ("none", Value::List(vec![])), ("one", Value::from_iter([true]))]),
            &expect![[r"
                {
                  list = [
                    (-1)
                    {
                      x = null;
                    }
                    [ ]
                  ];
                  none = [ ];
                  one = [ true ];
                }
            "]],
        );
    }

    #[test]
    fn syntax_characters_are_escaped() {
        check(
            set([("rec", "a\"b\\c${d}$e\n\t\r".into()), ("a b", "$${x}".into()), ("a'-_1", 1_u16.into())]),
            &expect![[r#"
                {
                  "a b" = "$\${x}";
                  a'-_1 = 1;
                  "rec" = "a\"b\\c\${d}$e\n\t\r";
                }
            "#]],
        );
    }

    #[test]
    fn a_value_as_json_is_the_value_that_nix_reads() {
        let list = Value::List(vec![Value::Int(-1), Value::Null, true.into(), "x".into()]);
        let path = Value::Path(RelativePath::parse("../certs/a.pem").unwrap());
        let value = Value::from(set([("list", list), ("path", path), ("set", set([]).into())]));
        let json = serde_json::json!({ "list": [-1, null, true, "x"], "path": "../certs/a.pem", "set": {} });
        assert_eq!(serde_json::Value::from(&value), json);
    }

    #[test]
    fn a_string_with_nul_is_refused() {
        assert!(matches!(file("", &"a\0b".into()), Err(WriteError::Nul(_))));
    }

    #[test]
    fn a_path_must_be_relative_and_plain() {
        for good in ["../certs/a.pem", "./x"] {
            assert!(RelativePath::parse(good).is_ok(), "{good}");
        }
        for bad in ["/etc/x", "x", "../a b", "../", "../${x}", "..//x", ""] {
            assert!(RelativePath::parse(bad).is_err(), "{bad}");
        }
    }
}
