//! Acceptance test of a running cluster, by its behaviour: each check requests something from the nodes, and what it writes
//! is removed again. A check that depends on another leaves out the nodes where that one failed, so a cause is reported once.

mod databases;
mod description;
mod etcd;
mod ingress;
mod kubernetes;
mod machines;
mod mesh;
mod overlay;
mod probe;
mod report;
mod routing;
mod run;
mod site;

use std::{path::PathBuf, time::Instant};

pub use self::report::{Check, Outcome, Problem, Report, Verdict};
use self::{
    report::{Earlier, Finding},
    site::Site,
};
use crate::{context::Context, failure::Failure};

/// Request for a test.
#[derive(Clone, Debug, Default)]
pub struct Request {
    /// Names, globs, `@role` or `label=value`; all machines if empty.
    pub targets: Vec<String>,
    /// Compares systems only with the last deploy; builds nothing.
    pub recorded: bool,
    /// Leaves out the checks that write.
    pub read_only: bool,
    /// File with certificates (PEM) that the ingress may have besides those that this computer trusts.
    pub trust: Option<PathBuf>,
}

/// A check: its name, the behaviour that it proves, and how.
struct Spec {
    name: &'static str,
    proves: &'static str,
    writes: bool,
    look: fn(&Site<'_>, &Earlier) -> Finding,
}

const fn reads(name: &'static str, proves: &'static str, look: fn(&Site<'_>, &Earlier) -> Finding) -> Spec {
    Spec { name, proves, writes: false, look }
}

const fn writes(name: &'static str, proves: &'static str, look: fn(&Site<'_>, &Earlier) -> Finding) -> Spec {
    Spec { name, proves, writes: true, look }
}

/// The checks, each after those that it depends on.
const CHECKS: &[Spec] = &[
    reads("reachable", "every node answers over SSH, with its pinned host key", machines::reachable),
    reads("system", "every node runs its own NixOS system of the expected generation, and boots it", machines::system),
    reads("units", "no unit has failed, and none keeps failing and restarting", machines::units),
    reads("certificates", "no certificate has expired, or expires within a month", machines::certificates),
    reads("gates", "the gates of machines.nix are open", machines::gates),
    reads("etcd-members", "every member of etcd is healthy, there is a leader, and no alarm", etcd::members),
    writes("etcd-data", "a key written through each member of etcd is read back through every member", etcd::data),
    reads("overlay", "every node answers pings of the others at its address in the overlay", overlay::pings),
    reads("mesh-agent", "every node's agent watches etcd, keeps its lease, and haproxy runs its routing", mesh::agents),
    writes(
        "mesh-routing",
        "a key written to etcd is routed by every node, and no longer when it is deleted",
        routing::round_trip,
    ),
    reads("apps", "every instance of an application answers at its own address, and is in the mesh", mesh::apps),
    reads("mesh-routes", "every node reaches every application that it routes, at its port on 127.0.0.1", mesh::routes),
    writes(
        "databases",
        "a row inserted through one member of a database is read through every member",
        databases::rows,
    ),
    reads("ingress", "every host answers on every ingress node, by HTTPS with a valid certificate", ingress::hosts),
    reads(
        "api-server",
        "every API server is ready, and every node reaches the API at the cluster's address",
        kubernetes::servers,
    ),
    reads("nodes-ready", "every node is Ready in Kubernetes", kubernetes::nodes),
];

/// Runs the test. After an interrupt no further check begins; what was written is removed.
///
/// # Errors
/// The cluster's files are invalid, or a target matches no machine. A failed check is part of the report.
pub fn run(context: &Context, request: &Request) -> Result<Report, Failure> {
    let site = Site::open(context, request)?;
    let begun = Instant::now();
    let mut earlier = Earlier::default();
    let mut checks = Vec::new();
    for spec in CHECKS {
        let check = run_one(spec, &site, &earlier);
        if let Outcome::Failed { problems, .. } = &check.outcome {
            earlier.note(spec.name, problems);
        }
        checks.push(check);
    }
    let cluster = site.cluster.name.clone();
    let interrupted = context.interrupt.is_set();
    Ok(Report { cluster, checks, seconds: begun.elapsed().as_secs_f64(), interrupted })
}

fn run_one(spec: &Spec, site: &Site<'_>, earlier: &Earlier) -> Check {
    let begun = Instant::now();
    let finding = if site.context.interrupt.is_set() {
        Finding::skipped("interrupted")
    } else if spec.writes && site.request.read_only {
        Finding::skipped("it writes, and --read-only was given")
    } else {
        site.context.events.progress(format!("{}: {}", spec.name, spec.proves));
        (spec.look)(site, earlier)
    };
    let (nodes, outcome) = finding.end();
    Check { name: spec.name, proves: spec.proves, nodes, seconds: begun.elapsed().as_secs_f64(), outcome }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::CHECKS;

    #[test]
    fn names_of_checks_are_words_of_a_script_and_unique() {
        let names: BTreeSet<&str> = CHECKS.iter().map(|check| check.name).collect();
        assert_eq!(names.len(), CHECKS.len());
        assert!(names.iter().all(|name| name.chars().all(|c| c.is_ascii_lowercase() || c == '-')));
    }
}
