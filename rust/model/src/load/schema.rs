//! Queries of the JSON schema of the shape: the attributes and values allowed at a path.

use std::sync::LazyLock;

use serde_json::Value;

use crate::path::Segment;

/// JSON schema of machines.nix, built once.
static SCHEMA: LazyLock<Value> = LazyLock::new(|| crate::shape::schema().to_value());

/// Returns the schema of the value at the path, or `None` for an unknown path.
pub fn at(path: &[Segment]) -> Option<&'static Value> {
    let mut schema: &Value = &SCHEMA;
    for segment in path {
        schema = match segment {
            Segment::Name(name) => {
                let schema = object(schema)?;
                schema.get("properties").and_then(|properties| properties.get(name)).or_else(|| map_value(schema))?
            }
            Segment::Index(_) => schema.get("items")?,
        };
    }
    Some(schema)
}

/// Returns the schema of a map's values; `additionalProperties` is `false` for sets with fixed names.
fn map_value(schema: &Value) -> Option<&Value> {
    schema.get("additionalProperties").filter(|values| values.is_object())
}

/// Returns the schema itself, or the branch of an optional set that is not null.
fn object(schema: &'static Value) -> Option<&'static Value> {
    let is_set = |schema: &&Value| schema.get("properties").is_some() || map_value(schema).is_some();
    let branches = schema.get("anyOf").and_then(Value::as_array);
    std::iter::once(schema).chain(branches.into_iter().flatten()).find(is_set)
}

/// Returns the attributes that the set described by the schema may have; none for maps with free names.
pub fn attributes(schema: &'static Value) -> impl Iterator<Item = &'static str> {
    let properties = object(schema).and_then(|schema| schema.get("properties")).and_then(Value::as_object);
    properties.into_iter().flat_map(|properties| properties.keys().map(String::as_str))
}

/// Returns true if the schema describes a set.
pub fn is_set(schema: &'static Value) -> bool {
    object(schema).is_some()
}

/// Returns the allowed words; none unless the schema is an enumeration.
pub fn words(schema: &Value) -> Vec<&str> {
    let branches = schema.get("anyOf").and_then(Value::as_array);
    let mut words = Vec::new();
    for schema in std::iter::once(schema).chain(branches.into_iter().flatten()) {
        words.extend(schema.get("enum").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str));
        let constants = schema.get("oneOf").and_then(Value::as_array).into_iter().flatten();
        words.extend(constants.filter_map(|constant| constant.get("const").and_then(Value::as_str)));
    }
    words
}

/// Returns the schema's `format`: `ip`, `network`, `uint16`, `uint32`.
pub fn format(schema: &Value) -> Option<&str> {
    schema.get("format").and_then(Value::as_str)
}

/// Returns true if the schema allows the JSON type.
pub fn allows(schema: &Value, json_type: &str) -> bool {
    match schema.get("type") {
        Some(Value::String(name)) => name == json_type,
        Some(Value::Array(names)) => names.iter().any(|name| name == json_type),
        _ => false,
    }
}

/// Describes the expected value, as in "expected ...".
pub fn wanted(schema: &'static Value) -> String {
    let words = words(schema);
    let alone = match format(schema) {
        _ if !words.is_empty() => format!("one of {}", list(&words)),
        _ if is_set(schema) => "an attribute set".to_owned(),
        Some("ip") => "an IP address in a string".to_owned(),
        Some("network") => "a network such as \"10.0.0.0/24\" in a string".to_owned(),
        Some("uint16") => "a whole number from 1 to 65535".to_owned(),
        Some("uint32") => "a whole number from 1 to 4294967295".to_owned(),
        _ if allows(schema, "string") => "a string".to_owned(),
        _ if allows(schema, "boolean") => "true or false".to_owned(),
        _ if allows(schema, "array") => return wanted_list(schema),
        _ => "another value".to_owned(),
    };
    if allows(schema, "array") { format!("{alone}, or a list of two for dual stack") } else { alone }
}

fn wanted_list(schema: &'static Value) -> String {
    match schema.get("items") {
        Some(items) if is_set(items) => "a list of attribute sets".to_owned(),
        Some(items) if !words(items).is_empty() => format!("a list of {}", list(&words(items))),
        Some(items) if format(items) == Some("ip") => "a list of IP addresses in strings".to_owned(),
        _ => "a list of strings".to_owned(),
    }
}

/// Joins words as in prose: `a`, `b` or `c`.
pub fn list(words: &[&str]) -> String {
    let quoted: Vec<String> = words.iter().map(|word| format!("`{word}`")).collect();
    match quoted.split_last() {
        None => String::new(),
        Some((only, [])) => only.clone(),
        Some((last, front)) => format!("{} or {last}", front.join(", ")),
    }
}
