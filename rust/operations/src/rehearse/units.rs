//! Units that fail on rehearsal machines: their state before the change, and after it.

use std::{collections::BTreeMap, time::Duration};

use machinist_model::NodeName;
use machinist_remote::{Remote, Request, quote};
use machinist_rollout::step::{Connector, StepError};
use machinist_text::{bounded, one_line};
use serde::Serialize;

/// Maximum length of a unit's reason, in bytes.
const LONGEST: usize = 400;

/// Time limit of a query.
const WITHIN: Duration = Duration::from_secs(30);

/// Prints all units, in blocks.
const LIST: &str = "export PATH=/run/current-system/sw/bin:$PATH\n\
                    systemctl show --property=Id,ActiveState,SubState,Result,NRestarts '*'\n";

/// State of a unit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Unit {
    active: String,
    sub: String,
    result: String,
    restarts: u64,
}

/// All units of a machine, by name.
pub type Units = BTreeMap<String, Unit>;

/// A unit that fails in the new state and did not before.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FailedUnit {
    /// Machine that it is on.
    pub node: NodeName,
    /// Its name.
    pub unit: String,
    /// The failure, and the last line of its log.
    pub why: String,
}

/// Queries the units of a machine.
///
/// # Errors
/// The machine does not answer.
pub fn query(connector: &Connector, node: &NodeName) -> Result<Units, StepError> {
    let remote = connector.connect(node)?;
    let output = remote.run_checked(Request::new("list units", LIST).timeout(WITHIN))?;
    Ok(parse(&output.stdout_text()))
}

/// Returns the units that fail at the end and did not before the change. `since` is their state when the change was
/// complete: a unit that systemd has restarted since then does not stay up.
#[must_use]
pub fn failed(before: &Units, since: &Units, now: &Units) -> BTreeMap<String, String> {
    let failure = |(name, unit): (&String, &Unit)| {
        if before.get(name).is_some_and(Unit::fails) {
            return None;
        }
        let restarts = since.get(name).map_or(0, |then| unit.restarts.saturating_sub(then.restarts));
        let why = match (unit.fails(), restarts) {
            (true, _) => format!("failed ({})", unit.result),
            (false, 0) => return None,
            (false, restarts) => format!("does not stay up: {restarts} restarts while it was watched"),
        };
        Some((name.clone(), why))
    };
    now.iter().filter_map(failure).collect()
}

/// Adds the last line of each unit's log.
///
/// # Errors
/// The machine does not answer.
pub fn explained(
    connector: &Connector,
    node: &NodeName,
    failed: BTreeMap<String, String>,
) -> Result<Vec<FailedUnit>, StepError> {
    if failed.is_empty() {
        return Ok(Vec::new());
    }
    let remote = connector.connect(node)?;
    failed
        .into_iter()
        .map(|(unit, why)| {
            let said = last_words(&*remote, &unit)?;
            let why = if said.is_empty() { why } else { format!("{why}: {said}") };
            Ok(FailedUnit { node: node.clone(), unit: one_line(&unit).into_owned(), why })
        })
        .collect()
}

/// Returns the last line that the unit's processes printed; messages of systemd about the unit are left out.
fn last_words(remote: &dyn Remote, unit: &str) -> Result<String, StepError> {
    let script = format!(
        "export PATH=/run/current-system/sw/bin:$PATH\n\
         journalctl --quiet --no-pager --output=cat --lines=1 _SYSTEMD_UNIT={} || true\n",
        quote(unit)
    );
    let output = remote.run_checked(Request::new("read the log of a unit", script).timeout(WITHIN))?;
    Ok(one_line(&bounded(output.stdout_text().trim(), LONGEST)).into_owned())
}

impl Unit {
    fn fails(&self) -> bool {
        self.active == "failed" || (self.sub.starts_with("auto-restart") && self.result != "success")
    }
}

/// Parses blocks of `Property=value` lines.
fn parse(text: &str) -> Units {
    let mut units = Units::new();
    for block in text.split("\n\n") {
        let mut unit = Unit::default();
        let mut name = None;
        for (property, value) in block.lines().filter_map(|line| line.split_once('=')) {
            match property {
                "Id" => name = Some(value.to_owned()),
                "ActiveState" => value.clone_into(&mut unit.active),
                "SubState" => value.clone_into(&mut unit.sub),
                "Result" => value.clone_into(&mut unit.result),
                "NRestarts" => unit.restarts = value.parse().unwrap_or(0),
                _ => {}
            }
        }
        if let Some(name) = name {
            units.insert(name, unit);
        }
    }
    units
}

#[cfg(test)]
mod tests {
    use super::{Units, failed, parse};

    const BEFORE: &str = "Id=old.service\nActiveState=failed\nSubState=failed\nResult=exit-code\nNRestarts=0\n\n\
                          Id=etcd.service\nActiveState=active\nSubState=running\nResult=success\nNRestarts=2\n\n\
                          Id=boot.mount\nActiveState=active\nSubState=mounted\nResult=success\n";

    fn failures(since: &Units, now: &str) -> Vec<String> {
        failed(&parse(BEFORE), since, &parse(now)).into_iter().map(|(unit, why)| format!("{unit} {why}")).collect()
    }

    #[test]
    fn what_failed_before_is_not_the_changes_fault() {
        assert!(failures(&parse(BEFORE), BEFORE).is_empty());
        assert!(failures(&Units::new(), "Id=old.service\nActiveState=failed\nResult=exit-code").is_empty());
    }

    #[test]
    fn a_unit_that_fails_or_waits_for_its_restart_is_found() {
        let now = "Id=web.service\nActiveState=failed\nSubState=failed\nResult=exit-code\n\n\
                   Id=new.service\nActiveState=activating\nSubState=auto-restart\nResult=signal\nNRestarts=3\n\n\
                   Id=once.service\nActiveState=activating\nSubState=auto-restart\nResult=success\n";
        let found = failures(&parse(now), now);
        assert_eq!(found, ["new.service failed (signal)", "web.service failed (exit-code)"]);
    }

    #[test]
    fn a_unit_that_is_restarted_while_it_is_watched_does_not_stay_up() {
        let now = "Id=etcd.service\nActiveState=active\nSubState=running\nResult=success\nNRestarts=5\n";
        assert_eq!(failures(&parse(BEFORE), now), ["etcd.service does not stay up: 3 restarts while it was watched"]);
        // Restarts before it was watched, as by the change itself, do not count.
        assert!(failures(&parse(now), now).is_empty());
    }
}
