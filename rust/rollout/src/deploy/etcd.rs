//! The health of etcd during a run and at its end.

use std::{
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use machinist_etcd::etcd::Health;
use machinist_model::NodeName;
use machinist_remote::Remote;

use super::{
    host::{Host, Hosts},
    request::Topology,
    run::Deploy,
};
use crate::{
    outcome::{EtcdEnd, Outcome, Report},
    step::{StepError, gate},
    text::chain,
};

/// Time limit for etcd to have a quorum at the end of a run: an election takes a second or two.
const SETTLING: Duration = Duration::from_secs(15);

impl Deploy {
    /// Queries etcd through any connected member, through `away` only as a last resort. A k3s server without data
    /// cannot query it: then the members that are not targets are tried.
    pub(super) fn health(&self, hosts: &Hosts, away: Option<&NodeName>) -> Result<Health, StepError> {
        let mut askable: Vec<&Arc<Host>> =
            self.topology().members.keys().filter_map(|member| hosts.get(member)).collect();
        askable.sort_by_key(|host| Some(&host.target.node) == away);
        let mut last = StepError::Gate("no etcd member can be asked".to_owned());
        for host in askable {
            match self.query_etcd(&*host.remote) {
                Ok(health) => return Ok(health),
                Err(error) => last = error,
            }
        }
        if self.topology().datastore.founder().is_none() {
            return Err(last);
        }
        self.health_from(self.topology().members.keys().filter(|member| !hosts.contains_key(*member))).ok_or(last)
    }

    /// Reports etcd's health after the run. Right after a reset of a host its connection is dead and an election may be
    /// in progress: all members are tried, over fresh connections where necessary, until a quorum responds.
    pub(super) async fn etcd_at_the_end(self: &Arc<Self>, hosts: &Hosts, report: &Report) -> Option<EtcdEnd> {
        if !self.topology().members.keys().any(|member| hosts.contains_key(member)) {
            return None;
        }
        let (this, hosts) = (Arc::clone(self), hosts.clone());
        // Without a change on any node, etcd is queried once.
        let is_untouched = |outcome: &Outcome| {
            matches!(outcome, Outcome::Unchanged | Outcome::NotStarted { .. } | Outcome::Refused { .. })
        };
        let settling = SETTLING.min(self.policy.bounds.etcd);
        let settling = if report.nodes.values().all(is_untouched) { Duration::ZERO } else { settling };
        let asked = tokio::task::spawn_blocking(move || {
            let deadline = Instant::now() + settling;
            loop {
                let end = match this
                    .health(&hosts, None)
                    .or_else(|error| this.health_from(this.topology().members.keys()).ok_or(error))
                {
                    Ok(health) => EtcdEnd::from(&health),
                    Err(error) => EtcdEnd::unknown(this.topology().members.len(), chain(&error)),
                };
                if end.has_quorum() || this.interrupt().is_set() || Instant::now() >= deadline {
                    return end;
                }
                thread::sleep(Duration::from_millis(200));
            }
        });
        asked.await.ok()
    }

    /// Queries etcd over a fresh connection to the first of these members that answers.
    fn health_from<'a>(&self, members: impl Iterator<Item = &'a NodeName>) -> Option<Health> {
        let mut connected = members.filter_map(|member| self.context.connector.connect(member).ok());
        connected.find_map(|remote| self.query_etcd(&*remote).ok())
    }

    fn query_etcd(&self, remote: &dyn Remote) -> Result<Health, StepError> {
        let Topology { members, datastore, .. } = self.topology();
        gate::etcd(remote, members).map(|health| datastore.expected(health))
    }
}
