//! The gates that open before a new system is confirmed.

use std::{
    collections::BTreeMap,
    net::IpAddr,
    thread,
    time::{Duration, Instant},
};

use machinist_control_plane::etcd::{self, Health};
use machinist_model::NodeName;
use machinist_remote::{Remote, Request};

use super::StepError;
use crate::Interrupt;

/// How long etcd may take to be healthy after an activation. An election takes a second or two, reading a large
/// database some ten.
pub const ETCD_BOUND: Duration = Duration::from_secs(60);

/// Asks etcd on one node about the whole cluster.
///
/// # Errors
/// The node cannot be reached or etcd gives no answer.
pub fn etcd(remote: &dyn Remote, members: &BTreeMap<NodeName, IpAddr>) -> Result<Health, StepError> {
    let output = remote.run(Request::new("ask etcd", etcd::PROBE).timeout(Duration::from_secs(20)))?;
    etcd::assess(&output.stdout_text(), &output.stderr_text(), members)
        .map_err(|error| StepError::Gate(error.to_string()))
}

/// Waits until the member is healthy, and with `whole` every member.
///
/// # Errors
/// It is not within [`ETCD_BOUND`], or the run is interrupted; the error says what is wrong.
pub fn await_etcd(
    remote: &dyn Remote,
    members: &BTreeMap<NodeName, IpAddr>,
    node: &NodeName,
    whole: bool,
    interrupt: &Interrupt,
) -> Result<Health, StepError> {
    let deadline = Instant::now() + ETCD_BOUND;
    loop {
        if interrupt.is_set() {
            return Err(StepError::Gate("the operator stopped the run".to_owned()));
        }
        let closed = match etcd(remote, members) {
            Ok(health) => match closed(&health, node, whole) {
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

fn closed(health: &Health, node: &NodeName, whole: bool) -> Option<String> {
    let broken: Vec<String> = health
        .broken()
        .filter(|(name, _)| whole || *name == node)
        .map(|(name, problems)| format!("etcd member {name} {problems}"))
        .collect();
    (!broken.is_empty()).then(|| broken.join("; "))
}
