//! DigitalOcean's refusals.

use crate::contract::Violation;
use crate::message::{Call, Problem};

/// 422 `unprocessable_entity`.
pub fn refused(message: &str) -> Problem {
    Problem::new(422, "unprocessable_entity", message)
}

/// 404 `not_found`.
pub fn missing(kind: &str) -> Problem {
    Problem::new(404, "not_found", format!("the {kind} does not exist"))
}

/// 422 with every field that violates the contract.
pub fn violated(violations: &[Violation]) -> Problem {
    let list: Vec<String> = violations.iter().map(|one| format!("{}: {}", one.field, one.message)).collect();
    refused(&list.join("; "))
}

/// A number in the path.
///
/// # Errors
///
/// 404 if it is not one.
pub fn id_of(call: &Call, index: usize, kind: &str) -> Result<u64, Problem> {
    call.parameter(index).parse().map_err(|_| missing(kind))
}
