//! Deploy of this computer's own system, on the node itself: for machines that are only reachable from themselves. Gates,
//! record, lock and rollback are those of any deploy.

mod connector;

use std::{fs, path::Path, time::Instant};

use machinist_model::{Cluster, NodeName, RecordedState, moving::Command};
use machinist_nix::StorePath;
use machinist_rollout::deploy::{Outcome, Report};

use self::connector::connector;
use crate::{
    connect,
    context::Context,
    failure::{Failure, Kind, OrFail as _},
    locks::Locks,
    rollout::{
        job::Job,
        membership::{refuse_changed_membership, refuse_unrecorded_move},
        options::Options,
        run::Run,
        target::{targets, voters},
    },
    run_id::run_id,
    systems::{self, BuildOn, Building},
};

/// Request to change this computer.
#[derive(Clone, Debug)]
pub struct Request {
    /// Expected node; by default the one with this computer's host name.
    pub node: Option<NodeName>,
    /// This computer, as its kernel reports it.
    pub machine: Machine,
    /// Rollout options. Reboots are not possible: they would end this process.
    pub options: Options,
    /// Options for evaluation and build.
    pub building: Building,
}

/// This computer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Machine {
    /// Host name.
    pub host_name: String,
    /// True if this process may change the system.
    pub is_root: bool,
}

impl Machine {
    /// Queries the kernel.
    #[must_use]
    pub fn this() -> Self {
        let host_name = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default().trim().to_owned();
        Self { host_name, is_root: rustix::process::geteuid().is_root() }
    }
}

/// Changes this computer to its system. Of the directory, only `.machinist` is written: the recorded state is the
/// operator's.
///
/// # Errors
/// This computer is not the node, the cluster's files are invalid, or its system cannot be built. Nothing was changed
/// then. A failed or refused activation is part of the report.
pub fn run(context: &Context, request: &Request) -> Result<Report, Failure> {
    let begun = Instant::now();
    let project = &context.project;
    let cluster = project.load()?.cluster;
    let node = this_node(&cluster, request)?;
    project.refuse_conflicts(&cluster, Command::Deploy)?;
    let state = project.state()?;
    refuse_to_found(&cluster, &state, &node)?;
    refuse_changed_membership(&cluster, &state)?;
    let nodes = vec![node.clone()];
    context.require_certificates(&cluster, &nodes)?;
    let generated = project.generated(&cluster)?;
    generated.refuse_foreign()?;
    let systems = systems::build_planned(context, &request.building, &cluster, &nodes, &generated)?;
    systems.values().try_for_each(|system| refuse_system_of_other(&node, system))?;
    context.stop_here()?;
    let connector = connector(context, &cluster, &node)?;
    let voters = voters(&cluster);
    refuse_unrecorded_move(&connector, &voters, &state)?;
    let locks = Locks::new(context, run_id(context), &connector);
    let targets = targets(project, &cluster, &systems)?;
    let run = Run {
        context,
        build_on: &BuildOn::Local,
        building: &request.building,
        options: &request.options,
        cluster: &cluster,
        nodes,
        voters,
        connector,
        locks: &locks,
    };
    let report = run.roll_out(&state, Job::new(context, &locks, targets, false)?)?;
    run.report(&report, begun.elapsed());
    if let Some(hint) = without_locks(&node, &report, request) {
        context.events.note(&node, hint);
    }
    Ok(report)
}

/// Returns the way out of a refusal for the other voters' locks.
fn without_locks(node: &NodeName, report: &Report, request: &Request) -> Option<String> {
    let Outcome::Refused { why } = report.nodes.get(node)? else { return None };
    (why.contains("voters can be locked") && !request.options.policy.unlocked_voters).then(|| {
        "the other voters can be locked over SSH from here (`--ssh-key`); if that is impossible, make sure that no other \
         run changes one of them, and add `--unlocked-voters`: the quorum is still checked"
            .to_owned()
    })
}

/// Returns the node that this computer is. Its host name decides, so that no node ever gets another one's system.
fn this_node(cluster: &Cluster, request: &Request) -> Result<NodeName, Failure> {
    let Machine { host_name, is_root } = &request.machine;
    let short = host_name.split('.').next().unwrap_or_default();
    if let Some(wanted) = request.node.as_ref().filter(|wanted| wanted.as_str() != short) {
        let message = format!("this computer is `{host_name}` by its host name, and not {wanted}");
        return Err(Failure::new(Kind::Refused, message).hint(format!(
            "run it on {wanted} itself; for another machine: `machinist deploy {wanted}` from an operator's computer"
        )));
    }
    let found = connect::select(cluster, Some(&[short.to_owned()])).ok().filter(|nodes| nodes.len() == 1);
    let Some([node]) = found.as_deref() else {
        let message =
            format!("this computer is `{host_name}` by its host name, and machines.nix deploys no such machine");
        return Err(Failure::new(Kind::Refused, message).hint("run it on a machine of the cluster"));
    };
    if !is_root {
        let message = format!("only root can change the system of {node}");
        return Err(Failure::new(Kind::Refused, message).hint("`sudo machinist apply-local`"));
    }
    Ok(node.clone())
}

/// Refuses a voter of a cluster without a recorded quorum: its members are founded together, and this records nothing.
fn refuse_to_found(cluster: &Cluster, state: &RecordedState, node: &NodeName) -> Result<(), Failure> {
    let votes = cluster.voters().any(|voter| voter.name == *node);
    if !votes || state.etcd.bootstrapped {
        return Ok(());
    }
    let message = format!("{node} votes in etcd, and state/cluster.json does not record that the cluster was founded");
    Err(Failure::new(Kind::Refused, message).hint(
        "found it with `machinist deploy --all` from an operator's computer; if it runs already, take its recorded \
         state/cluster.json",
    ))
}

/// Refuses a built system that has the name of another node.
fn refuse_system_of_other(node: &NodeName, system: &StorePath) -> Result<(), Failure> {
    let name = fs::read_to_string(Path::new(system.as_str()).join("etc/hostname")).failed()?;
    if name.trim() == node.as_str() {
        return Ok(());
    }
    let message = format!("{node}: {system} is the system of {:?}, as its /etc/hostname says", name.trim());
    Err(Failure::new(Kind::Refused, message))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use machinist_model::{Cluster, NodeName, RecordedState, fixtures};

    use super::{Machine, Request, refuse_to_found, this_node};
    use crate::{failure::Kind, rollout::options::Options, systems::Building};

    fn request(node: Option<&str>, host_name: &str, is_root: bool) -> Request {
        Request {
            node: node.map(|node| NodeName::parse(node).unwrap()),
            machine: Machine { host_name: host_name.to_owned(), is_root },
            options: Options::default(),
            building: Building::default(),
        }
    }

    fn cluster() -> Cluster {
        fixtures::three_member_etcd()
    }

    #[test]
    fn a_machine_is_the_node_of_its_host_name_and_no_other() {
        let cluster = cluster();
        let node = |wanted, name, root| this_node(&cluster, &request(wanted, name, root));
        assert_eq!(node(None, "casper", true).unwrap().as_str(), "casper");
        assert_eq!(node(Some("casper"), "casper.example.org", true).unwrap().as_str(), "casper");
        for (wanted, name, root, words) in [
            (Some("melchior"), "casper", true, "and not melchior"),
            (None, "laptop", true, "no such machine"),
            (None, "*", true, "no such machine"),
            (None, "@etcd", true, "no such machine"),
            (None, "", true, "no such machine"),
            (None, "router", true, "no such machine"),
            (None, "casper", false, "only root"),
        ] {
            let failure = node(wanted, name, root).unwrap_err();
            assert!(failure.kind == Kind::Refused && failure.message.contains(words), "{failure:?}");
        }
    }

    #[test]
    fn a_voter_of_a_cluster_that_was_never_founded_is_refused() {
        let mut state = RecordedState::default();
        let casper = NodeName::parse("casper").unwrap();
        assert!(refuse_to_found(&cluster(), &state, &casper).is_err());
        state.etcd.bootstrapped = true;
        assert!(refuse_to_found(&cluster(), &state, &casper).is_ok());
    }
}
