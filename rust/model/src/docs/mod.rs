//! Reference pages generated from the types and the table of checks: `docs/reference/machines-nix.md` and
//! `docs/reference/checks.md`.

use std::fmt::Write;

use serde_json::{Map, Value};

use crate::{
    codes::{CODES, Severity},
    shape,
};

/// Returns the text of `docs/reference/machines-nix.md`: every attribute with its type, default, example and meaning.
#[must_use]
pub fn machines_nix() -> String {
    let schema = shape::schema().to_value();
    let mut page = include_str!("machines-nix.md").to_owned();
    for (name, section) in properties(&schema) {
        write_section(&mut page, name, section);
    }
    page.push('\n');
    page.push_str(include_str!("flat-shape.md"));
    page
}

/// Returns the text of `docs/reference/checks.md`: every check with its explanation.
#[must_use]
pub fn checks() -> String {
    let mut page = include_str!("checks.md").to_owned();
    for info in CODES {
        let severity = match info.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
        };
        page.push_str(&format!("\n## {} {} ({severity})\n\n{}", info.code, info.title, info.explanation));
    }
    page
}

/// Returns the attributes of a set, in alphabetical order.
fn properties(schema: &Value) -> impl Iterator<Item = (&String, &Value)> {
    let set = set_of(schema).and_then(|schema| schema.get("properties")).and_then(Value::as_object);
    set.into_iter().flat_map(Map::iter)
}

/// Returns the schema that describes a set: itself, the branch that is not null, a list's elements or a map's values.
fn set_of(schema: &Value) -> Option<&Value> {
    if schema.get("properties").is_some() {
        return Some(schema);
    }
    let branches = schema.get("anyOf").and_then(Value::as_array);
    let below = [schema.get("items"), schema.get("additionalProperties")].into_iter().flatten();
    branches.into_iter().flatten().chain(below).find_map(set_of)
}

fn write_section(page: &mut String, path: &str, schema: &Value) {
    // Writing to a String cannot fail.
    let _ = write!(page, "\n## `{path}`\n\n{}\n", description(schema));
    if let Some(default) = schema.get("x-default").and_then(Value::as_str) {
        let _ = write!(page, "\nDefault: `{default}`.\n");
    }
    let path = if schema.get("additionalProperties").is_some_and(Value::is_object) {
        format!("{path}.<name>")
    } else {
        path.to_owned()
    };
    write_attributes(page, &path, schema);
}

fn write_attributes(page: &mut String, path: &str, schema: &Value) {
    for (name, attribute) in properties(schema) {
        let path = format!("{path}.{name}");
        let _ = write!(page, "\n### `{path}`\n\n{}\n\n- Type: {}\n", description(attribute), type_of(attribute));
        match attribute.get("x-default").and_then(Value::as_str) {
            Some(default) => drop(writeln!(page, "- Default: {}", quoted(default))),
            None if attribute.get("x-required").is_some() => page.push_str("- Required\n"),
            None => {}
        }
        if let Some(example) = attribute.get("x-example").and_then(Value::as_str) {
            let _ = writeln!(page, "- Example: `{name} = {example};`");
        }
        let below = if attribute.get("items").is_some() { format!("{path}.*") } else { path };
        write_attributes(page, &below, attribute);
    }
}

/// Puts a Nix value in code quotes, and leaves prose such as "the machine's ip" unchanged.
fn quoted(default: &str) -> String {
    let is_nix = default.starts_with(['"', '[', '{']) && !default.contains(';')
        || ["null", "true", "false"].contains(&default)
        || default.bytes().all(|byte| byte.is_ascii_digit());
    if is_nix { format!("`{default}`") } else { default.to_owned() }
}

/// Returns the doc comment as one line.
fn description(schema: &Value) -> &str {
    schema.get("description").and_then(Value::as_str).unwrap_or_default()
}

fn type_of(schema: &Value) -> String {
    let types = schema.get("type");
    let is = |name: &str| match types {
        Some(Value::String(only)) => only == name,
        Some(Value::Array(any)) => any.iter().any(|found| found == name),
        _ => false,
    };
    let words = words(schema);
    let format = schema.get("format").and_then(Value::as_str);
    let text = match format {
        _ if !words.is_empty() => format!("one of {}", words.join(", ")),
        Some("ip") if is("array") => "an IP address as a string, or a list of two".to_owned(),
        Some("network") if is("array") => "a network as a string, or a list of two".to_owned(),
        Some("ip") => "an IP address as a string".to_owned(),
        Some("network") => "a network as a string".to_owned(),
        Some("uint16") => "a whole number, 1 to 65535".to_owned(),
        Some("uint32") => "a whole number, 1 to 4294967295".to_owned(),
        _ if is("array") => match schema.get("items") {
            Some(items) if set_of(items).is_some() => "a list of attribute sets".to_owned(),
            Some(items) => format!("a list of {}", plural(items)),
            None => "a list".to_owned(),
        },
        _ if set_of(schema).is_some() => "an attribute set".to_owned(),
        _ if schema.get("additionalProperties").is_some_and(Value::is_object) => {
            "an attribute set of strings".to_owned()
        }
        _ if is("boolean") => "true or false".to_owned(),
        _ => "a string".to_owned(),
    };
    // An attribute with another default may be null too, which equals leaving it out; the page does not mention that.
    let is_optional = schema.get("x-default").and_then(Value::as_str) == Some("null");
    if is_optional { format!("{text}, or null") } else { text }
}

fn plural(items: &Value) -> String {
    match words(items) {
        words if !words.is_empty() => words.join(", "),
        _ if items.get("format").and_then(Value::as_str) == Some("ip") => "IP addresses as strings".to_owned(),
        _ => "strings".to_owned(),
    }
}

/// Returns the words of an enumeration, as Nix writes them.
fn words(schema: &Value) -> Vec<String> {
    let branches = schema.get("anyOf").and_then(Value::as_array);
    let mut words = Vec::new();
    for schema in std::iter::once(schema).chain(branches.into_iter().flatten()) {
        let constants = schema.get("oneOf").and_then(Value::as_array).into_iter().flatten();
        let listed = schema.get("enum").and_then(Value::as_array).into_iter().flatten();
        words.extend(constants.filter_map(|constant| constant.get("const")).chain(listed).filter_map(Value::as_str));
    }
    words.iter().map(|word| format!("`\"{word}\"`")).collect()
}
