//! Decoding that finds every invalid attribute of a section instead of only the first.
//!
//! serde decodes a section; on failure the failing attribute is reported by its path and removed, and the rest is
//! decoded again.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, de::DeserializeOwned};
use serde_json::Value;

use super::schema;
use crate::{
    check::values,
    codes::Code,
    near,
    path::{AttrPath, Segment},
    report::{Finding, Report},
};

/// Decodes the section at `base`. Attributes that cannot be read are reported and keep their defaults.
pub fn lenient<T: DeserializeOwned + Default>(value: &Value, base: &AttrPath, report: &mut Report) -> T {
    let mut misplaced = Vec::new();
    misplaced_lists(value, base, &mut misplaced);
    let mut failure = match misplaced.is_empty().then(|| decode(value)) {
        Some(Ok(decoded)) => return decoded,
        Some(Err(failure)) => failure,
        None => misplaced.remove(0),
    };
    let mut rest = value.clone();
    let mut lists = RemovedElements::default();
    loop {
        let Some(found) = lookup(&rest, &failure).cloned().filter(|_| !failure.is_empty()) else {
            // The section itself is of the wrong type.
            describe(base, &rest, report);
            return T::default();
        };
        describe(&base.extend(lists.original(&failure)), &found, report);
        take_out(&mut rest, &failure, base, &mut lists);
        failure = match misplaced.pop().map_or_else(|| decode(&rest), Err) {
            Ok(decoded) => return decoded,
            Err(failure) => failure,
        };
    }
}

/// Finds lists in place of sets: serde would read such a list as the set's values in order. Paths are below `base`.
fn misplaced_lists(value: &Value, base: &AttrPath, found: &mut Vec<Vec<Segment>>) {
    walk(value, base, &mut Vec::new(), found);
}

fn walk(value: &Value, base: &AttrPath, path: &mut Vec<Segment>, found: &mut Vec<Vec<Segment>>) {
    let is_set =
        |path: &[Segment]| schema::at(base.extend(path.iter().cloned()).segments()).is_some_and(schema::is_set);
    let below: Vec<(Segment, &Value)> = match value {
        Value::Object(set) => set.iter().map(|(name, value)| (name.into(), value)).collect(),
        Value::Array(_) if is_set(path) => return found.push(path.clone()),
        Value::Array(list) => list.iter().enumerate().map(|(index, value)| (index.into(), value)).collect(),
        _ => return,
    };
    for (segment, value) in below.into_iter().filter(|(_, value)| value.is_object() || value.is_array()) {
        path.push(segment);
        walk(value, base, path, found);
        path.pop();
    }
}

/// Decodes the value, or returns the path of the attribute that failed.
fn decode<'de, T: Deserialize<'de>>(value: &'de Value) -> Result<T, Vec<Segment>> {
    serde_path_to_error::deserialize(value).map_err(|error| {
        let segments = error.path().iter().filter_map(|segment| match segment {
            serde_path_to_error::Segment::Seq { index } => Some(Segment::Index(*index)),
            serde_path_to_error::Segment::Map { key } => Some(Segment::Name(key.clone())),
            _ => None,
        });
        segments.collect()
    })
}

fn lookup<'a>(value: &'a Value, path: &[Segment]) -> Option<&'a Value> {
    path.iter().try_fold(value, |value, segment| match segment {
        Segment::Name(name) => value.get(name),
        Segment::Index(index) => value.get(index),
    })
}

/// Removes the failing attribute. Each call shrinks the value or substitutes a harmless element, so that decoding
/// terminates.
fn take_out(value: &mut Value, path: &[Segment], base: &AttrPath, lists: &mut RemovedElements) {
    let Some((last, front)) = path.split_last() else { return };
    let mut parent = &mut *value;
    for segment in front {
        let below = match segment {
            Segment::Name(name) => parent.get_mut(name),
            Segment::Index(index) => parent.get_mut(index),
        };
        match below {
            Some(below) => parent = below,
            None => return,
        }
    }
    match (last, parent) {
        (Segment::Name(name), Value::Object(set)) => {
            set.remove(name);
        }
        (Segment::Index(index), Value::Array(list)) if *index < list.len() => {
            match harmless(&base.extend(path.iter().cloned())) {
                Some(element) if list[*index] != element => list[*index] = element,
                _ => {
                    list.remove(*index);
                    lists.note(front, *index);
                }
            }
        }
        _ => {}
    }
}

/// Returns an element that decodes, so that the positions of the elements after it stay the same.
fn harmless(path: &AttrPath) -> Option<Value> {
    let schema = schema::at(path.segments())?;
    if schema::is_set(schema) {
        Some(Value::Object(serde_json::Map::new()))
    } else if schema::words(schema).is_empty() && schema::format(schema).is_none() {
        Some(Value::String(String::new()))
    } else {
        None
    }
}

/// Elements removed from lists, which map the positions of later elements back to those in the file.
#[derive(Default)]
struct RemovedElements(BTreeMap<Vec<Segment>, BTreeSet<usize>>);

impl RemovedElements {
    fn note(&mut self, list: &[Segment], index: usize) {
        let list = self.original(list);
        let removed = self.0.entry(list).or_default();
        let original = original_index(removed, index);
        removed.insert(original);
    }

    /// Returns the path with positions as in the file.
    fn original(&self, path: &[Segment]) -> Vec<Segment> {
        let mut original: Vec<Segment> = Vec::with_capacity(path.len());
        for segment in path {
            let counted = match (segment, self.0.get(&original)) {
                (Segment::Index(index), Some(removed)) => Segment::Index(original_index(removed, *index)),
                _ => segment.clone(),
            };
            original.push(counted);
        }
        original
    }
}

fn original_index(removed: &BTreeSet<usize>, index: usize) -> usize {
    removed.iter().fold(index, |index, removed| if *removed <= index { index + 1 } else { index })
}

/// Reports what is wrong with the attribute: an unknown path, or a value of the wrong type.
pub fn describe(path: &AttrPath, found: &Value, report: &mut Report) {
    report.mark_broken(path.clone());
    let finding = match schema::at(path.segments()) {
        None => unknown_attribute(path, found, report),
        Some(schema) => wrong_value(path, schema, found),
    };
    report.push(finding);
}

fn unknown_attribute(path: &AttrPath, found: &Value, report: &mut Report) -> Finding {
    let name = path.attribute().unwrap_or_default().to_owned();
    let parent = path.parent().unwrap_or_default();
    let known: Vec<&str> = schema::at(parent.segments()).into_iter().flat_map(schema::attributes).collect();
    let help = match near::nearest(&name, known.iter().copied()) {
        Some(near) => {
            // The intended attribute is misspelt, not missing.
            report.mark_broken(parent.join(near));
            format!("did you mean `{near}`?")
        }
        None if parent.segments().is_empty() && found.get("ip").is_some() => {
            format!("if this is a machine, write machines.{name} = {{ ... }}")
        }
        None => format!("known here: {}", known.join(", ")),
    };
    let why = "it would have no effect";
    Finding::new(Code::UnknownAttribute, path.clone(), format!("unknown attribute `{name}`"), why).help(help)
}

fn wrong_value(path: &AttrPath, schema: &'static Value, found: &Value) -> Finding {
    let words = schema::words(schema);
    match found {
        Value::String(text) if !words.is_empty() => unknown_word(path, text, &words),
        Value::String(text) if schema::format(schema) == Some("ip") => values::bad_address(path, text),
        Value::String(text) if schema::format(schema) == Some("network") => values::bad_network(path, text),
        Value::Number(number) if schema::format(schema) == Some("uint16") => values::bad_port(path, number),
        Value::Number(number) if schema::format(schema) == Some("uint32") => values::bad_as(path, number),
        _ => {
            let message = format!("expected {}, found {}", schema::wanted(schema), found_text(found));
            Finding::new(Code::WrongType, path.clone(), message, "a value of another type cannot be used here")
                .help(quotes_help(schema, found).unwrap_or_else(|| example(path, schema)))
        }
    }
}

/// Returns the help for a value that only has its quotes wrong: a number or boolean in place of a string, or the
/// reverse.
fn quotes_help(schema: &Value, found: &Value) -> Option<String> {
    match found {
        Value::Number(_) | Value::Bool(_) if schema::allows(schema, "string") => Some(format!("write \"{found}\"")),
        Value::String(text) if text == "true" || text == "false" => Some(format!("write {text} without quotes")),
        Value::String(text) if schema::allows(schema, "array") => Some(format!("write [ \"{text}\" ]")),
        Value::String(text) if text.parse::<u32>().is_ok() => Some(format!("write {text} without quotes")),
        _ => None,
    }
}

/// Returns the help with an example of a valid attribute.
fn example(path: &AttrPath, schema: &Value) -> String {
    let name = path.attribute().unwrap_or_default();
    match (schema.get("x-example").and_then(Value::as_str), path.segments().last()) {
        (Some(example), _) => format!("write for example {name} = {example}"),
        (None, Some(Segment::Name(_))) => format!("write {name} = {{ ... }}"),
        (None, Some(Segment::Index(_))) => format!("see {name} in docs/reference/machines-nix.md"),
        (None, None) => "write { cluster = { ... }; network = { ... }; machines = { ... }; }".to_owned(),
    }
}

fn unknown_word(path: &AttrPath, text: &str, words: &[&str]) -> Finding {
    let (code, noun) = match path.attribute() {
        Some("roles") => (Code::UnknownRole, "role"),
        Some("provider") => (Code::UnknownProvider, "provider"),
        Some("orchestrator") => (Code::UnknownOrchestrator, "orchestrator"),
        Some("backend") if path.to_string() == "network.control.backend" => {
            (Code::UnknownBackend, "backend of the control mesh")
        }
        Some("backend") => (Code::UnknownBackend, "overlay backend"),
        Some("fileSystem") => (Code::BadDisk, "file system"),
        Some("firmware") => (Code::BadDisk, "firmware"),
        _ => (Code::UnknownVipMode, "mode"),
    };
    let help =
        match alias(text).or_else(|| near::nearest(text, words.iter().copied())).filter(|near| words.contains(near)) {
            Some(near) => format!("did you mean \"{near}\"?"),
            None => format!("write one of {}", schema::list(words)),
        };
    let why = format!("machinist supports {}", schema::list(words).replace(" or ", " and "));
    Finding::new(code, path.clone(), format!("unknown {noun} \"{text}\""), why).help(help)
}

/// Returns the word that machinist uses for a common synonym.
fn alias(text: &str) -> Option<&'static str> {
    const ALIASES: [(&str, &str); 10] = [
        ("agent", "worker"),
        ("control", "control-plane"),
        ("do", "digitalocean"),
        ("hcloud", "hetzner"),
        ("hetzner-cloud", "hetzner"),
        ("k8s", "kubernetes"),
        ("l2", "arp"),
        ("layer2", "arp"),
        ("master", "control-plane"),
        ("wg", "wireguard"),
    ];
    ALIASES.iter().find(|(word, _)| *word == text).map(|(_, meant)| *meant)
}

fn found_text(found: &Value) -> String {
    match found {
        Value::Null => "null".to_owned(),
        Value::Bool(_) => format!("the boolean {found}"),
        Value::Number(_) => format!("the number {found}"),
        Value::String(text) if text.chars().count() <= 40 => format!("the string \"{text}\""),
        Value::String(_) => "a string".to_owned(),
        Value::Array(list) => format!("a list of {}", list.len()),
        Value::Object(_) => "an attribute set".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::lenient;
    use crate::{
        path::AttrPath,
        report::Report,
        shape::{ClusterShape, MachineShape},
    };

    #[track_caller]
    fn check(value: &serde_json::Value, expect: &[&str]) -> MachineShape {
        let mut report = Report::default();
        let machine = lenient(value, &AttrPath::of("machines.a"), &mut report);
        let found: Vec<String> =
            report.findings.iter().map(|finding| format!("{} {}", finding.code, finding.path)).collect();
        assert_eq!(found, expect);
        machine
    }

    #[test]
    fn every_wrong_attribute_of_a_section_is_found_and_the_rest_is_read() {
        let value = json!({
            "ip": "10.0.0.1", "nixos": 1, "rolse": [], "roles": ["etcd", "x", "worker", "y"], "ssh": {"port": 70000},
            "labels": {"a": 1, "b": "2"},
        });
        let machine = check(
            &value,
            &[
                "M001 machines.a.labels.a",
                "M001 machines.a.nixos",
                "M025 machines.a.roles.1",
                "M025 machines.a.roles.3",
                "M002 machines.a.rolse",
                "M031 machines.a.ssh.port",
            ],
        );
        assert_eq!((machine.roles.len(), machine.labels.len()), (2, 1));
    }

    #[test]
    fn a_section_of_the_wrong_type_is_one_finding() {
        for value in [json!(3), json!([]), json!("x"), json!(null)] {
            check(&value, &["M001 machines.a"]);
        }
    }

    #[test]
    fn elements_behind_a_wrong_one_keep_their_position() {
        let mut report = Report::default();
        let value = json!({"operators": [3, {"name": "a", "sssh": ""}, [], {"age": 1}]});
        let _: ClusterShape = lenient(&value, &AttrPath::of("cluster"), &mut report);
        let paths: Vec<String> = report.findings.iter().map(|finding| finding.path.to_string()).collect();
        assert_eq!(
            paths,
            ["cluster.operators.2", "cluster.operators.0", "cluster.operators.1.sssh", "cluster.operators.3.age"]
        );
    }
}
