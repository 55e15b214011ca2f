//! What is recorded at the end of a pass, and whether another one follows.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex},
};

use machinist_model::{Cluster, NodeName, RecordedState, fixtures};
use machinist_nix::Nix;
use machinist_remote::{FakeRemote, Remote, RemoteError};
use machinist_rollout::{
    Interrupt,
    deploy::{EtcdEnd, Outcome, Report},
    step::{Connect, Connector},
};
use time::macros::datetime;

use super::{End, both};
use crate::{
    consent::Consent,
    context::{Clock, Connections, Context},
    event::{Event, Events},
    failure::{Failure, Kind},
    keyring::Keyring,
    locks::Locks,
    project::Project,
    rollout::{options::Options, run::Run, target::voters},
    systems::{BuildOn, Building, Given},
};

/// Hosts that know no answers: the end of a pass contacts none.
struct Silent;

impl Connect for Silent {
    fn connect(&self, node: &NodeName) -> Result<Box<dyn Remote>, RemoteError> {
        Ok(Box::new(FakeRemote::new(node.as_str())))
    }
}

/// The end of a pass: whether another one follows, the members on record, and what was said.
struct Ended {
    again: bool,
    members: Vec<String>,
    said: Vec<String>,
}

/// Ends a pass with this report, of a deploy with these systems given.
fn ended(cluster: &Cluster, before: &RecordedState, report: &Report, given: Vec<Given>) -> Ended {
    let directory = tempfile::tempdir().unwrap();
    let said = Arc::new(Mutex::new(Vec::new()));
    let events = Events::new({
        let said = Arc::clone(&said);
        move |event| match event {
            Event::Progress { text } | Event::Warning { text } => said.lock().unwrap().push(text),
            _ => {}
        }
    });
    let connector: Connector = Arc::new(Silent);
    let context = Context {
        project: Project {
            directory: directory.path().to_owned(),
            nix: Nix::default(),
            events: events.clone(),
            stage: None,
        },
        keyring: Keyring { identity: None, prompt: machinist_secrets::no_prompt() },
        connections: Connections::Given(Arc::clone(&connector)),
        consent: Consent::new(|question| Err(Failure::new(Kind::Refused, &question.consequence))),
        who: "ann@desk".to_owned(),
        clock: Clock::fixed(datetime!(2026-11-30 10:00 UTC)),
        events,
        interrupt: Interrupt::default(),
    };
    let run = Run {
        context: &context,
        build_on: &BuildOn::Local,
        building: &Building { store_path: given, ..Building::default() },
        options: &Options::default(),
        cluster,
        nodes: Vec::new(),
        voters: voters(cluster),
        connector: Arc::clone(&connector),
        locks: &Locks::new(&context, "r1".to_owned(), &connector),
    };
    context.project.record(before).unwrap();
    let end = End::of(&context.project, cluster, false).unwrap();
    let mut state = before.clone();
    let again = end.record_members(&run, &mut state, report).unwrap();
    let recorded = context.project.state().unwrap();
    assert_eq!(recorded.etcd.bootstrapped, state.etcd.bootstrapped, "the next pass goes by what is recorded");
    let members = recorded.etcd.members.iter().map(ToString::to_string).collect();
    let said = said.lock().unwrap().clone();
    Ended { again, members, said }
}

fn name(text: &str) -> NodeName {
    NodeName::parse(text).unwrap()
}

/// A report of a run after which so many of three members are healthy, all of which etcd knows.
fn healthy(healthy: usize, cluster: &Cluster) -> Report {
    let known: BTreeSet<NodeName> = cluster.voters().map(|node| node.name.clone()).collect();
    let etcd = EtcdEnd { members: 3, healthy: Some(healthy), problems: Vec::new(), alarm: None, known };
    Report { etcd: Some(etcd), ..Report::default() }
}

fn bootstrapped(members: &[&str]) -> RecordedState {
    let mut state = RecordedState::default();
    state.etcd.bootstrapped = true;
    state.etcd.members = members.iter().map(|member| name(member)).collect();
    state
}

const MAGI: [&str; 3] = ["balthazar", "casper", "melchior"];

#[test]
fn the_first_quorum_is_recorded_and_another_pass_follows() {
    let cluster = fixtures::three_member_etcd();
    let end = ended(&cluster, &RecordedState::default(), &healthy(2, &cluster), Vec::new());
    assert_eq!((end.again, end.members), (true, MAGI.map(str::to_owned).to_vec()));
    assert!(end.said[0].starts_with("etcd has formed its quorum"), "{:?}", end.said);
}

#[test]
fn nothing_is_recorded_without_a_quorum_or_without_an_answer() {
    let cluster = fixtures::three_member_etcd();
    for report in [healthy(1, &cluster), Report::default()] {
        let end = ended(&cluster, &RecordedState::default(), &report, Vec::new());
        assert_eq!((end.again, end.members, end.said), (false, Vec::new(), Vec::new()));
    }
}

#[test]
fn a_recorded_cluster_gets_no_second_pass() {
    let cluster = fixtures::three_member_etcd();
    let end = ended(&cluster, &bootstrapped(&MAGI), &healthy(3, &cluster), Vec::new());
    assert_eq!((end.again, end.members), (false, MAGI.map(str::to_owned).to_vec()));
}

#[test]
fn the_quorum_of_a_run_that_was_stopped_is_recorded_and_no_pass_follows() {
    let cluster = fixtures::three_member_etcd();
    let stopped = Report { interrupted: true, ..healthy(3, &cluster) };
    let lost = Report { lost: Some("the lock is gone".to_owned()), ..healthy(3, &cluster) };
    for report in [stopped, lost] {
        let end = ended(&cluster, &RecordedState::default(), &report, Vec::new());
        assert_eq!((end.again, end.members), (false, MAGI.map(str::to_owned).to_vec()));
    }
}

#[test]
fn systems_that_were_given_are_not_deployed_a_second_time() {
    let cluster = fixtures::three_member_etcd();
    let given = Given::parse(&format!("casper=/nix/store/{}-nixos-system", "0".repeat(32))).unwrap();
    let end = ended(&cluster, &RecordedState::default(), &healthy(3, &cluster), vec![given]);
    assert_eq!((end.again, end.members), (false, MAGI.map(str::to_owned).to_vec()));
    assert!(end.said[0].contains("build them again"), "{:?}", end.said);
}

#[test]
fn servers_of_k3s_are_recorded_as_they_join() {
    let cluster = fixtures::ha_k3s();
    let mut report = healthy(3, &cluster);
    let servers: Vec<String> = cluster.voters().map(|node| node.name.to_string()).collect();
    let first = name(&servers[0]);
    report.etcd.as_mut().unwrap().known = BTreeSet::from([first.clone()]);
    report.etcd.as_mut().unwrap().members = 1;
    report.etcd.as_mut().unwrap().healthy = Some(1);
    let end = ended(&cluster, &RecordedState::default(), &report, Vec::new());
    assert_eq!((end.again, end.members), (true, vec![first.to_string()]), "the others have not joined");
    let why = "it does not answer".to_owned();
    report.nodes.insert(name(&servers[1]), Outcome::NotStarted { why });
    let end = ended(&cluster, &RecordedState::default(), &report, Vec::new());
    assert!(!end.again, "the rest is for the next deploy");
    let end = ended(&cluster, &bootstrapped(&[first.as_str()]), &healthy(3, &cluster), Vec::new());
    assert_eq!((end.again, end.members), (false, servers));
}

fn report(nodes: &[(&str, Outcome)], rebooted: &[&str]) -> Report {
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
