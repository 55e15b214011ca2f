//! Change of etcd's version by a deploy: refused where etcd would refuse to start, before anything is changed.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use machinist_etcd::{etcd::Health, stored::differences, upgrade::enters_series, version::Version};
use machinist_model::NodeName;
use machinist_remote::RemoteError;

use super::{
    host::{Host, Hosts},
    preflight::Deltas,
    run::Deploy,
};
use crate::{
    etcd_version::{Change, etcd_of, etcd_on, only_follows, problems, refusal, stored_problem, unknown_problems},
    problem::Problem,
    step::StepError,
    stored::stored_members,
    text::chain,
};

/// Path of the running system.
const RUNNING: &str = "/run/current-system";

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
        let mut changes = BTreeMap::new();
        let mut refused = Vec::new();
        for (member, host) in members.filter_map(|member| Some((member, hosts.get(member)?))) {
            match self.change_of_etcd(host) {
                Ok(Some(change)) => drop(changes.insert(member.clone(), change)),
                Ok(None) => {}
                Err(error) => {
                    let text = format!("the version of its new etcd cannot be read: {}", chain(&error));
                    refused.push(refusal(member, text, "nothing was changed; run the same command again".to_owned()));
                }
            }
        }
        if changes.is_empty() {
            return refused;
        }
        let health = self.health(hosts, None).ok();
        let running = self.running_etcd(hosts, health.as_ref());
        let after = changes.iter().filter_map(|(node, change)| Some((node.clone(), change.after.version?))).collect();
        refused.extend(problems(&running, &after));
        refused.extend(unknown_problems(&changes, &running, &self.silent(hosts, &running)));
        match health {
            Some(health) if refused.is_empty() && enters_series(&running, &after) => {
                self.stored_problems(&health, &running, &after)
            }
            _ => refused,
        }
    }

    /// Returns the change of a member's etcd. None if its new system starts none.
    fn change_of_etcd(&self, host: &Host) -> Result<Option<Change>, RemoteError> {
        let system = &host.target.system;
        let after = if self.request.from_host {
            etcd_on(&*host.remote, system.as_str())?
        } else {
            etcd_of(system, &self.context.nix)
        };
        let Some(after) = after else { return Ok(None) };
        // Without an answer it counts as another program.
        let before = etcd_on(&*host.remote, RUNNING).ok().flatten();
        Ok(Some(Change { before: before.map(|started| started.program), after }))
    }

    /// Returns the members with data whose version is not known.
    fn silent(&self, hosts: &Hosts, running: &BTreeMap<NodeName, Version>) -> BTreeSet<NodeName> {
        let has_data = |member: &NodeName| hosts.get(member).is_none_or(|host| host.facts.etcd_data);
        let members = self.topology().members.keys();
        members.filter(|member| !running.contains_key(*member) && has_data(member)).cloned().collect()
    }

    /// Returns the members' versions as etcd reports them, or else those of the running systems.
    fn running_etcd(&self, hosts: &Hosts, health: Option<&Health>) -> BTreeMap<NodeName, Version> {
        let version = |member: &NodeName| {
            let reported = health.and_then(|health| Version::parse(health.members.get(member)?.version.as_deref()?));
            let version = reported.or_else(|| {
                let host = hosts.get(member).filter(|host| host.facts.etcd_data)?;
                etcd_on(&*host.remote, RUNNING).ok()??.version
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
