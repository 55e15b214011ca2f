//! Gates that must open before a new system is confirmed.

use std::{
    collections::BTreeMap,
    net::IpAddr,
    thread,
    time::{Duration, Instant},
};

use machinist_etcd::etcd::{self, Health};
use machinist_model::NodeName;
use machinist_remote::{Remote, Request};

use super::StepError;
use crate::Interrupt;

/// Queries etcd on one node for the health of the cluster.
///
/// # Errors
/// The node cannot be reached or etcd does not respond.
pub fn etcd(remote: &dyn Remote, members: &BTreeMap<NodeName, IpAddr>) -> Result<Health, StepError> {
    let output = remote.run(Request::new("ask etcd", etcd::PROBE).timeout(Duration::from_secs(20)))?;
    etcd::assess(&output.stdout_text(), &output.stderr_text(), members)
        .map_err(|error| StepError::Gate(error.to_string()))
}

/// State of etcd that the gate requires, besides a healthy member.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Demand {
    /// Requires every member to be healthy.
    pub whole: bool,
    /// Requires that no quota alarm is raised: none was raised before the activation, so a new one is its effect.
    pub writable: bool,
}

/// Gate that opens when a member is healthy and etcd meets a demand.
#[derive(Debug)]
pub struct EtcdGate<'a> {
    /// All members with their addresses.
    pub members: &'a BTreeMap<NodeName, IpAddr>,
    /// The member that must be healthy.
    pub node: &'a NodeName,
    /// Further requirements on etcd.
    pub demand: Demand,
    /// Time limit of the wait.
    pub bound: Duration,
    /// Cancels the wait.
    pub interrupt: &'a Interrupt,
}

impl EtcdGate<'_> {
    /// Waits until the gate is open.
    ///
    /// # Errors
    /// The gate did not open within the time limit, or the run was interrupted; the error says what is wrong.
    pub fn wait(&self, remote: &dyn Remote) -> Result<Health, StepError> {
        let deadline = Instant::now() + self.bound;
        loop {
            if self.interrupt.is_set() {
                return Err(StepError::Gate("the operator stopped the run".to_owned()));
            }
            let closed = match etcd(remote, self.members) {
                Ok(health) => match closed(&health, self.node, self.demand) {
                    None => return Ok(health),
                    Some(why) => StepError::Gate(why),
                },
                Err(error @ StepError::Gate(_)) => error,
                Err(error) => return Err(error),
            };
            if Instant::now() >= deadline {
                return Err(closed);
            }
            thread::sleep(Duration::from_millis(100));
        }
    }
}

fn closed(health: &Health, node: &NodeName, demand: Demand) -> Option<String> {
    let broken = health
        .broken()
        .filter(|(name, _)| demand.whole || *name == node)
        .map(|(name, problems)| format!("etcd member {name} {problems}"));
    let alarm = health.quota_notice().filter(|_| demand.writable);
    let reasons: Vec<String> = broken.chain(alarm).collect();
    (!reasons.is_empty()).then(|| reasons.join("; "))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::collections::{BTreeMap, BTreeSet};

    use machinist_etcd::etcd::{Health, Member};
    use machinist_model::NodeName;

    use super::{Demand, closed};

    #[test]
    fn a_quota_alarm_from_before_the_activation_does_not_close_the_gate() {
        let node = NodeName::parse("a").unwrap();
        let members: BTreeMap<_, _> = [(node.clone(), Member::default())].into();
        let health =
            Health { members, unmanaged: Vec::new(), leader: None, over_quota: BTreeSet::from(["a".to_owned()]) };
        assert_eq!(closed(&health, &node, Demand::default()), None);
        let why = closed(&health, &node, Demand { writable: true, ..Demand::default() }).unwrap();
        assert!(why.starts_with("etcd refuses writes"), "{why}");
    }
}
