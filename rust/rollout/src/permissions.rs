//! Enforcement of a service mesh's access rules in its etcd.

use std::time::Duration;

use machinist_etcd::permissions::{Found, PROBE, Rules};
use machinist_remote::Remote;

use crate::{
    script,
    step::{StepError, run},
};

/// Time limit for etcd to list its users and roles, and to change them.
const WITHIN: Duration = Duration::from_secs(300);

/// Changes only what differs; `member` is the connection to a member of etcd. Returns true if anything did.
///
/// # Errors
/// The connection fails, or etcd refuses.
pub fn apply(member: &dyn Remote, rules: &Rules) -> Result<bool, StepError> {
    change(member, rules.script(&ask(member, rules)?))
}

/// Grants their rights to nodes that etcd does not have yet, and writes the overlay's initial configuration; revokes
/// nothing. Returns the nodes that are new to etcd.
///
/// # Errors
/// The connection fails, or etcd refuses.
pub fn welcome(member: &dyn Remote, rules: &Rules) -> Result<Vec<String>, StepError> {
    let found = ask(member, rules)?;
    change(member, rules.welcome(&found))?;
    Ok(rules.newcomers(&found))
}

fn ask(member: &dyn Remote, rules: &Rules) -> Result<Found, StepError> {
    let variables = rules.variables();
    let variables: Vec<(&str, &str)> = variables.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let answer = run(member, "ask etcd for its users and roles", &script::with(&variables, PROBE), WITHIN)?;
    Found::read(&answer.stdout_text()).map_err(|error| StepError::Gate(error.to_string()))
}

fn change(member: &dyn Remote, script: Option<String>) -> Result<bool, StepError> {
    let Some(script) = script else { return Ok(false) };
    run(member, "give the agents their rights in etcd", &script, WITHIN)?;
    Ok(true)
}
