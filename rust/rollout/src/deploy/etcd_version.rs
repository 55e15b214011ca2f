//! Change of etcd's version by a deploy: refused where etcd would refuse to start, before anything is changed.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use machinist_etcd::{etcd::Health, stored::differences, upgrade::enters_series, version::Version};
use machinist_model::NodeName;
use machinist_remote::{Remote, quote};

use super::{
    host::{Host, Hosts},
    preflight::Deltas,
    run::Deploy,
};
use crate::{
    etcd_version::{UNIT, etcd_of, of_unit, only_follows, problems, refusal, stored_problem},
    problem::Problem,
    step::{self, StepError},
    stored::stored_members,
    text::chain,
};

/// Time limit of reading a unit.
const UNIT_BOUND: Duration = Duration::from_secs(30);

impl Deploy {
    /// Returns the problems of the members' new versions of etcd. When a member enters a series that not all members
    /// run, the data of each member is read, too.
    pub(super) async fn etcd_version_problems(self: &Arc<Self>, hosts: &Hosts, deltas: &Deltas) -> Vec<Problem> {
        if !self.topology().bootstrapped {
            return Vec::new();
        }
        let changing: BTreeSet<NodeName> = deltas.keys().cloned().collect();
        let (this, hosts, judged) = (Arc::clone(self), hosts.clone(), changing.clone());
        let found = tokio::task::spawn_blocking(move || this.judge_etcd_versions(&hosts, &judged));
        let unknown = |error| {
            let text = format!("the check of etcd's version ended: {error}");
            let hint = "report it; nothing was changed".to_owned();
            changing.iter().map(|node| refusal(node, text.clone(), hint.clone())).collect()
        };
        found.await.unwrap_or_else(unknown)
    }

    fn judge_etcd_versions(&self, hosts: &Hosts, changing: &BTreeSet<NodeName>) -> Vec<Problem> {
        let members = self.topology().members.keys().filter(|member| changing.contains(*member));
        let new = |member: &NodeName| Some((member.clone(), self.new_etcd(hosts.get(member)?)?));
        let after: BTreeMap<NodeName, Version> = members.filter_map(new).collect();
        if after.is_empty() {
            return Vec::new();
        }
        let health = self.health(hosts, None).ok();
        let running = self.running_etcd(hosts, health.as_ref());
        let refused = problems(&running, &after);
        match health {
            Some(health) if refused.is_empty() && enters_series(&running, &after) => {
                self.stored_problems(&health, &running, &after)
            }
            _ => refused,
        }
    }

    fn new_etcd(&self, host: &Host) -> Option<Version> {
        let system = &host.target.system;
        if self.request.from_host { unit_of(&*host.remote, system.as_str()) } else { etcd_of(system) }
    }

    /// Returns the members' versions as etcd reports them, or else those of the running systems.
    fn running_etcd(&self, hosts: &Hosts, health: Option<&Health>) -> BTreeMap<NodeName, Version> {
        let version = |member: &NodeName| {
            let reported = health.and_then(|health| Version::parse(health.members.get(member)?.version.as_deref()?));
            let version = reported.or_else(|| {
                let host = hosts.get(member).filter(|host| host.facts.etcd_data)?;
                unit_of(&*host.remote, "/run/current-system")
            });
            Some((member.clone(), version?))
        };
        self.topology().members.keys().filter_map(version).collect()
    }

    fn stored_problems(
        &self,
        health: &Health,
        running: &BTreeMap<NodeName, Version>,
        after: &BTreeMap<NodeName, Version>,
    ) -> Vec<Problem> {
        let members = &self.topology().members;
        let problem = |(member, ip): (&NodeName, &std::net::IpAddr)| {
            let stored = self.context.connector.connect(member).map_err(StepError::from);
            match stored.and_then(|remote| stored_members(&*remote, *ip)) {
                Ok(stored) => stored_problem(member, &differences(&stored, health)),
                Err(_) if only_follows(member, running, after) => None,
                Err(error) => {
                    let text = format!("the members in the data of its etcd cannot be read: {}", chain(&error));
                    let hint = "all members must be healthy before a new minor version: `machinist etcd status`";
                    Some(refusal(member, text, hint.to_owned()))
                }
            }
        };
        members.iter().filter_map(problem).collect()
    }
}

fn unit_of(remote: &dyn Remote, system: &str) -> Option<Version> {
    let script = format!("cat {} 2>/dev/null || true", quote(&format!("{system}/{UNIT}")));
    of_unit(&step::run(remote, "read the version of etcd", &script, UNIT_BOUND).ok()?.stdout_text())
}
