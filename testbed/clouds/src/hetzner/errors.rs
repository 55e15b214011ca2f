//! Hetzner's refusals.

use std::collections::BTreeMap;

use serde_json::json;

use crate::contract::Violation;
use crate::labels::{self, Labels};
use crate::message::{Call, Problem};

/// 422 `invalid_input` with the field.
pub fn invalid(field: &str, message: &str) -> Problem {
    let violation = Violation { field: field.to_owned(), message: message.to_owned() };
    violated(&[violation])
}

/// 422 `invalid_input` with every field that violates the contract.
pub fn violated(violations: &[Violation]) -> Problem {
    let mut fields: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for violation in violations {
        fields.entry(&violation.field).or_default().push(&violation.message);
    }
    let names: Vec<String> = fields.keys().map(|name| format!("'{name}'")).collect();
    let list: Vec<_> = fields.iter().map(|(name, messages)| json!({"name": name, "messages": messages})).collect();
    let mut problem = Problem::new(422, "invalid_input", format!("invalid input in field {}", names.join(", ")));
    problem.details = Some(json!({"fields": list}));
    problem
}

/// 409 `uniqueness_error` with the field.
pub fn taken(field: &str) -> Problem {
    let mut problem = Problem::new(409, "uniqueness_error", format!("another resource has this {field}"));
    problem.details = Some(json!({"fields": [{"name": field}]}));
    problem
}

/// 404 `not_found`.
pub fn missing(kind: &str, id: impl std::fmt::Display) -> Problem {
    Problem::new(404, "not_found", format!("{kind} {id} does not exist"))
}

/// 422 with the given code.
pub fn refused(code: &str, message: &str) -> Problem {
    Problem::new(422, code, message)
}

/// 423 `locked`.
pub fn locked(what: &str) -> Problem {
    Problem::new(423, "locked", format!("an action changes this {what}"))
}

/// The id in the path.
///
/// # Errors
///
/// 404 if it is not a number.
pub fn id_of(call: &Call, kind: &str) -> Result<u64, Problem> {
    call.parameter(0).parse().map_err(|_| missing(kind, call.parameter(0)))
}

/// The resource of a map.
///
/// # Errors
///
/// 404 `not_found`.
pub fn find<'a, T>(map: &'a BTreeMap<u64, T>, id: u64, kind: &str) -> Result<&'a T, Problem> {
    map.get(&id).ok_or_else(|| missing(kind, id))
}

/// The resource of a map, to change it.
///
/// # Errors
///
/// 404 `not_found`.
pub fn find_mut<'a, T>(map: &'a mut BTreeMap<u64, T>, id: u64, kind: &str) -> Result<&'a mut T, Problem> {
    map.get_mut(&id).ok_or_else(|| missing(kind, id))
}

/// The labels of the body, if it has any.
///
/// # Errors
///
/// 422 `invalid_input`.
pub fn labels_of(call: &Call) -> Result<Option<Labels>, Problem> {
    let Some(value) = call.body.get("labels") else { return Ok(None) };
    let labels = labels::of(Some(value));
    match labels::problem(&labels) {
        Some(message) => Err(invalid("labels", &message)),
        None => Ok(Some(labels)),
    }
}

/// A new name if no other resource of the kind has it.
///
/// # Errors
///
/// 409 `uniqueness_error`.
pub fn unique_name<'a>(
    name: Option<&str>,
    mut others: impl Iterator<Item = (u64, &'a String)>,
    own: u64,
) -> Result<Option<String>, Problem> {
    let Some(name) = name else { return Ok(None) };
    if name.is_empty() {
        return Err(invalid("name", "empty"));
    }
    if others.any(|(id, other)| id != own && other == name) {
        return Err(taken("name"));
    }
    Ok(Some(name.to_owned()))
}
