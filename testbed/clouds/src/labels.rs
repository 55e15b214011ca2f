//! Hetzner's labels: their syntax, and selectors over them.

use std::collections::BTreeMap;

use serde_json::Value;

/// Labels of a resource.
pub type Labels = BTreeMap<String, String>;

/// The labels of a body's field; empty if it is missing.
pub fn of(value: Option<&Value>) -> Labels {
    let object = value.and_then(Value::as_object);
    let entries = object.into_iter().flatten();
    entries.map(|(key, value)| (key.clone(), value.as_str().unwrap_or_default().to_owned())).collect()
}

/// The first label that is invalid, as a sentence.
pub fn problem(labels: &Labels) -> Option<String> {
    labels.iter().find_map(|(key, value)| {
        if !is_key(key) {
            Some(format!("label key {key:?} is invalid"))
        } else if !value.is_empty() && !is_word(value) {
            Some(format!("value {value:?} of label {key:?} is invalid"))
        } else {
            None
        }
    })
}

/// `[prefix/]name`: a name of up to 63 characters, a prefix that is a DNS name of up to 253 and not the provider's own.
fn is_key(key: &str) -> bool {
    let Some((prefix, name)) = key.split_once('/') else { return is_word(key) };
    let domain = prefix.len() <= 253 && prefix.split('.').all(|part| is_word(part) && !part.contains('_'));
    domain && prefix != "hetzner.cloud" && is_word(name)
}

/// 1 to 63 of `[A-Za-z0-9._-]`, with a letter or digit at both ends.
fn is_word(text: &str) -> bool {
    let end = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
    let bytes = text.as_bytes();
    let inner = |byte: &u8| byte.is_ascii_alphanumeric() || b"._-".contains(byte);
    bytes.len() <= 63 && end(bytes.first()) && end(bytes.last()) && bytes.iter().all(inner)
}

/// A requirement of a selector.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Requirement {
    Has(String),
    Not(String),
    In(String, Vec<String>),
    NotIn(String, Vec<String>),
}

/// Requirements that must all hold: `k=v,k!=v,k,!k,k in (a,b),k notin (a)`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Selector(Vec<Requirement>);

impl Selector {
    /// Reads a selector; `None` if it is invalid.
    pub fn parse(text: &str) -> Option<Selector> {
        split(text).iter().map(|part| requirement(part.trim())).collect::<Option<Vec<_>>>().map(Selector)
    }

    /// True if the labels meet every requirement.
    pub fn selects(&self, labels: &Labels) -> bool {
        self.0.iter().all(|requirement| match requirement {
            Requirement::Has(key) => labels.contains_key(key),
            Requirement::Not(key) => !labels.contains_key(key),
            Requirement::In(key, values) => labels.get(key).is_some_and(|value| values.contains(value)),
            Requirement::NotIn(key, values) => labels.get(key).is_none_or(|value| !values.contains(value)),
        })
    }
}

/// Splits at the commas outside of parentheses.
fn split(text: &str) -> Vec<String> {
    let mut parts = vec![String::new()];
    let mut depth = 0;
    for character in text.chars() {
        match character {
            '(' => depth += 1,
            ')' => depth -= 1,
            _ => {}
        }
        match parts.last_mut() {
            Some(last) if character != ',' || depth > 0 => last.push(character),
            _ => parts.push(String::new()),
        }
    }
    parts
}

fn requirement(text: &str) -> Option<Requirement> {
    let key = |text: &str| Some(text.trim().to_owned()).filter(|key| is_key(key));
    let value = |text: &str| Some(text.trim().to_owned()).filter(|value| value.is_empty() || is_word(value));
    if let Some((name, list)) = text.split_once(" notin ") {
        return Some(Requirement::NotIn(key(name)?, values(list)?));
    }
    if let Some((name, list)) = text.split_once(" in ") {
        return Some(Requirement::In(key(name)?, values(list)?));
    }
    if let Some((name, one)) = text.split_once("!=") {
        return Some(Requirement::NotIn(key(name)?, vec![value(one)?]));
    }
    if let Some((name, one)) = text.split_once("==").or_else(|| text.split_once('=')) {
        return Some(Requirement::In(key(name)?, vec![value(one)?]));
    }
    match text.strip_prefix('!') {
        Some(name) => Some(Requirement::Not(key(name)?)),
        None => Some(Requirement::Has(key(text)?)),
    }
}

fn values(list: &str) -> Option<Vec<String>> {
    let inner = list.trim().strip_prefix('(')?.strip_suffix(')')?;
    inner.split(',').map(|value| Some(value.trim().to_owned()).filter(|value| is_word(value))).collect()
}

#[cfg(test)]
mod tests {
    use super::{Labels, Selector, problem};

    fn labels(pairs: &[(&str, &str)]) -> Labels {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn keys_and_values_have_a_syntax() {
        let long = "a".repeat(64);
        let cases = [
            ("cluster", "prod", true),
            ("machinist/cluster", "prod", true),
            ("example.com/role", "", true),
            ("a_b.c-d", "1.2_3-4", true),
            ("hetzner.cloud/x", "y", false),
            ("-a", "b", false),
            ("a", "-b", false),
            ("a b", "c", false),
            ("a/b/c", "d", false),
            ("", "d", false),
            (long.as_str(), "d", false),
            ("a", long.as_str(), false),
        ];
        for (key, value, valid) in cases {
            assert_eq!(problem(&labels(&[(key, value)])).is_none(), valid, "{key}={value}");
        }
    }

    #[test]
    fn a_selector_has_every_documented_form() {
        let cluster = labels(&[("env", "prod"), ("role", "db")]);
        let cases = [
            ("env=prod", Some(true)),
            ("env==prod", Some(true)),
            ("env!=prod", Some(false)),
            ("env", Some(true)),
            ("!env", Some(false)),
            ("!zone", Some(true)),
            ("env in (prod,test)", Some(true)),
            ("env notin (prod,test)", Some(false)),
            ("role=db,env in (prod, test)", Some(true)),
            ("role=web,env", Some(false)),
            ("env=(", None),
            ("", None),
            ("env in prod", None),
        ];
        for (text, selects) in cases {
            assert_eq!(Selector::parse(text).map(|selector| selector.selects(&cluster)), selects, "{text}");
        }
    }
}
