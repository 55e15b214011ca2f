//! End of a deploy: what is recorded of the cluster, and what its orchestrator needs once the machines have changed.

use std::{collections::BTreeSet, time::Instant};

use machinist_kubernetes::desired::Desired;
use machinist_model::{Cluster, NodeName, Orchestrator, RecordedState};
use machinist_rollout::deploy::{EtcdEnd, Outcome, Report};

use super::{run::Run, verdict::verdict};
use crate::{failure::Failure, kubernetes::objects, locks, mesh, project::Project};

/// The end of a deploy, by orchestrator.
pub enum End {
    /// Machines with etcd or without: only records.
    Machines,
    /// The objects in Kubernetes are applied. `None` leaves them as they are.
    Kubernetes(Option<Desired>),
    /// Servers of k3s that have joined are recorded as members of etcd.
    K3s,
    /// Permissions in etcd that no node needs any more are revoked.
    Mesh,
}

impl End {
    /// Returns the end that a deploy of this cluster will have. Manifests are read now, before anything is changed anywhere.
    ///
    /// # Errors
    /// A manifest cannot be read.
    pub fn of(project: &Project, cluster: &Cluster, with_objects: bool) -> Result<Self, Failure> {
        Ok(match cluster.orchestrator {
            None => Self::Machines,
            Some(Orchestrator::Kubernetes) if with_objects => Self::Kubernetes(objects::desired(project, cluster)?),
            Some(Orchestrator::Kubernetes) => Self::Kubernetes(None),
            Some(Orchestrator::K3s) => Self::K3s,
            Some(Orchestrator::Mesh) => Self::Mesh,
        })
    }

    /// Finishes a deploy whose first pass had this report. Returns the report of all passes, and whether no object was left out
    /// because of an error.
    ///
    /// # Errors
    /// A record cannot be written, or etcd refuses the permissions of a mesh.
    pub fn finish(
        &self,
        run: &Run<'_>,
        state: &RecordedState,
        report: Report,
        begun: Instant,
    ) -> Result<(Report, bool), Failure> {
        let report = self.record_members(run, state, report)?;
        record_running(run, &report)?;
        locks::record_machines(&run.context.project, run.locks, &report)?;
        let objects_applied = match self {
            Self::Kubernetes(Some(desired)) => apply_objects(run, &report, desired),
            Self::Kubernetes(None) | Self::Machines | Self::K3s | Self::Mesh => true,
        };
        run.report(&report, begun.elapsed());
        if matches!(self, Self::Mesh) {
            apply_permissions(run, state, &report)?;
        }
        Ok((report, objects_applied))
    }

    /// Records the members of etcd that the pass has founded or, with k3s, found.
    fn record_members(&self, run: &Run<'_>, state: &RecordedState, report: Report) -> Result<Report, Failure> {
        if !state.etcd.bootstrapped && report.etcd.as_ref().is_some_and(EtcdEnd::has_quorum) {
            return self.record_bootstrap(run, report);
        }
        if let (Self::K3s, true, Some(etcd)) = (self, state.etcd.bootstrapped, &report.etcd) {
            record_servers(run, &etcd.known)?;
        }
        Ok(report)
    }

    /// After the first quorum: records it, so that no node is ever again told to form a new cluster, and deploys that to the
    /// nodes. It changes a file in /etc and restarts nothing.
    fn record_bootstrap(&self, run: &Run<'_>, first: Report) -> Result<Report, Failure> {
        let mut state = run.context.project.state()?;
        state.etcd.bootstrapped = true;
        state.etcd.members = match (self, &first.etcd) {
            (Self::K3s, Some(etcd)) => etcd.known.clone(),
            _ => run.cluster.voters().map(|node| node.name.clone()).collect(),
        };
        state.record_running(run.cluster, &state.etcd.members.clone());
        run.context.project.record(&state)?;
        // Servers of k3s join one by one: if one failed, the rest is for the next deploy.
        let is_partial = matches!(self, Self::K3s) && verdict(&first).is_some();
        if first.interrupted || first.lost.is_some() || is_partial {
            return Ok(first);
        }
        if run.building.is_given() {
            let now = "etcd has formed its quorum; recorded in state/cluster.json. The systems that were given still say \
                       that the cluster is new: build them again from the directory as it is now, and deploy those";
            run.context.events.warn(now);
            return Ok(first);
        }
        let text = "etcd has formed its quorum; recorded in state/cluster.json, bringing that to the members";
        run.context.events.progress(text);
        let second = run.pass(&state, None, None, first.rebooted.clone())?;
        Ok(both(first, second))
    }
}

/// Returns the report of two passes. A node that the second one left alone has the outcome of the first.
fn both(first: Report, second: Report) -> Report {
    let mut report = second;
    report.rebooted.extend(first.rebooted);
    for (node, outcome) in first.nodes {
        let now = report.nodes.entry(node).or_insert_with(|| outcome.clone());
        if *now == Outcome::Unchanged {
            *now = outcome;
        }
    }
    report
}

/// Records the servers of k3s that have joined since.
fn record_servers(run: &Run<'_>, joined: &BTreeSet<NodeName>) -> Result<(), Failure> {
    let mut state = run.context.project.state()?;
    let before = state.etcd.members.len();
    state.etcd.members.extend(joined.iter().cloned());
    if state.etcd.members.len() > before { run.context.project.record(&state) } else { Ok(()) }
}

/// After a run without failures: records what the cluster runs with, by what etcd itself reports of its members. State files from
/// before that was recorded are filled in.
fn record_running(run: &Run<'_>, report: &Report) -> Result<(), Failure> {
    match &report.etcd {
        Some(etcd) if verdict(report).is_none() => run.context.project.record_running(run.cluster, &etcd.known),
        _ => Ok(()),
    }
}

/// Applies the objects to a cluster whose machines are healthy. Returns whether none was left out because of an error.
fn apply_objects(run: &Run<'_>, report: &Report, desired: &Desired) -> bool {
    let went_wrong = |outcome: &Outcome| matches!(outcome, Outcome::Failed { .. } | Outcome::Reverted { .. });
    let has_quorum = report.etcd.as_ref().is_none_or(EtcdEnd::has_quorum);
    let is_founded = run.context.project.state().is_ok_and(|state| state.etcd.bootstrapped);
    let is_cut = report.interrupted || report.lost.is_some();
    if is_cut || !has_quorum || !is_founded || report.nodes.values().any(went_wrong) {
        let text = "the objects in Kubernetes were left as they are: first the machines must be well";
        run.context.events.progress(text);
        return true;
    }
    objects::after_deploy(run.context, run.cluster, &run.connector, desired)
}

/// Applies the permissions of a mesh to etcd, now that no node uses those that are revoked.
fn apply_permissions(run: &Run<'_>, state: &RecordedState, report: &Report) -> Result<(), Failure> {
    if report.lost.is_some() {
        return Ok(());
    }
    let events = &run.context.events;
    let permitted = || mesh::permit(&run.connector, run.cluster, &run.voters, events);
    match &report.etcd {
        Some(end) if end.has_quorum() => permitted(),
        Some(_) => Ok(()),
        // No member was among the targets, and none was asked. A new node has no rights until one is.
        None if state.etcd.bootstrapped => {
            if let Err(failure) = permitted() {
                events.warn(format!("who may do what in etcd was not looked at: {}", failure.message));
            }
            Ok(())
        }
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use machinist_model::NodeName;
    use machinist_rollout::deploy::{Outcome, Report};

    use super::both;

    fn report(nodes: &[(&str, Outcome)], rebooted: &[&str]) -> Report {
        let name = |text: &str| NodeName::parse(text).unwrap();
        Report {
            nodes: nodes.iter().map(|(node, outcome)| (name(node), outcome.clone())).collect(),
            rebooted: rebooted.iter().map(|node| name(node)).collect(),
            ..Report::default()
        }
    }

    #[test]
    fn what_the_second_pass_leaves_alone_has_the_outcome_of_the_first() {
        let failed = Outcome::Refused { why: "locked".to_owned() };
        let first = report(&[("a", Outcome::Changed), ("b", Outcome::Changed), ("c", failed.clone())], &["a"]);
        let second = report(&[("a", Outcome::Unchanged), ("b", failed.clone())], &["b"]);
        let both = both(first, second);
        let expect = report(&[("a", Outcome::Changed), ("b", failed.clone()), ("c", failed)], &["a", "b"]);
        assert_eq!((both.nodes, both.rebooted), (expect.nodes, expect.rebooted));
    }
}
