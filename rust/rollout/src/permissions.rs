//! Makes the rules of a service mesh hold in its etcd.

use std::time::Duration;

use machinist_control_plane::permissions::{Found, PROBE, Rules};

use crate::{
    membership::Voice,
    script,
    step::{StepError, run},
};

/// How long etcd may take to tell its users and roles, and to change them.
const WITHIN: Duration = Duration::from_secs(300);

/// Changes what differs and nothing else. Returns whether anything did.
///
/// # Errors
/// The connection fails, or etcd refuses.
pub fn apply(voice: &Voice, rules: &Rules) -> Result<bool, StepError> {
    let variables = rules.variables();
    let variables: Vec<(&str, &str)> = variables.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let answer = run(&*voice.remote, "ask etcd for its users and roles", &script::with(&variables, PROBE), WITHIN)?;
    let found = Found::read(&answer.stdout_text()).map_err(|error| StepError::Gate(error.to_string()))?;
    let Some(script) = rules.script(&found) else { return Ok(false) };
    run(&*voice.remote, "give the agents their rights in etcd", &script, WITHIN)?;
    Ok(true)
}
