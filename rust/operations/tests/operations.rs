//! Operations as a caller sees them: a context with fakes in, typed results and events out. No host takes part.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

use std::{
    collections::BTreeMap,
    fs,
    sync::{Arc, Mutex},
};

use expect_test::expect;
use machinist_model::NodeName;
use machinist_nix::Nix;
use machinist_operations::{
    certs::issue,
    consent::Consent,
    context::{Clock, Connections, Context},
    event::{Event, Events},
    failure::{Failure, Kind},
    keyring::Keyring,
    node::membership::{self, Request},
    node::without_vote::What,
    project::Project,
    rollout::options::Options,
    status::{self, Answer},
    unlock,
};
use machinist_pki::report::State;
use machinist_remote::{FakeRemote, Fault, Remote, RemoteError};
use machinist_rollout::{
    Interrupt,
    step::{Connect, Connector},
};
use time::{Duration, OffsetDateTime, macros::datetime};

const NOW: OffsetDateTime = datetime!(2026-11-30 10:00 UTC);

const FLEET: &str = r#"{
  cluster.name = "fleet";
  cluster.operators = [
    {
      name = "ops";
      age = "age1lqk39lsxe6gvstlz0z4t4sglfh0rkpjar5e3tl22zkqpkqh4d0mq2yqpvu";
      ssh = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl ops";
    }
  ];
  network.nodes = "10.13.13.0/24";
  machines.w1 = { ip = "10.13.13.2"; disk = "/dev/vda"; };
  machines.w2 = { ip = "10.13.13.3"; disk = "/dev/vda"; };
  machines.w3 = { ip = "10.13.13.4"; disk = "/dev/vda"; };
}
"#;

const ETCD: &str = r#"{
  cluster.name = "magi";
  cluster.operators = [
    {
      name = "ops";
      age = "age1lqk39lsxe6gvstlz0z4t4sglfh0rkpjar5e3tl22zkqpkqh4d0mq2yqpvu";
      ssh = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl ops";
    }
  ];
  network.nodes = "10.13.13.0/24";
  machines.a = { ip = "10.13.13.2"; roles = [ "etcd" ]; disk = "/dev/vda"; };
}
"#;

const FACTS: &str = "time=1\nboot=b1\nuptime=60\narch=x86_64\n\
                     running=/nix/store/0123456789abcdfghijklmnpqrsvwxyz-nixos-system\n\
                     profile=/nix/store/0123456789abcdfghijklmnpqrsvwxyz-nixos-system\n";

/// Hosts that give out their connection once each. One that is missing refuses connections.
struct Hosts(Mutex<BTreeMap<String, FakeRemote>>);

impl Connect for Hosts {
    fn connect(&self, node: &NodeName) -> Result<Box<dyn Remote>, RemoteError> {
        let host = self.0.lock().unwrap().remove(node.as_str());
        let gone = || FakeRemote::new(node.as_str()).fail_call(1, Fault::ConnectionLost);
        Ok(Box::new(host.unwrap_or_else(gone)))
    }
}

/// A directory with a cluster, and the events that operations send.
struct Stage {
    directory: tempfile::TempDir,
    heard: Arc<Mutex<Vec<Event>>>,
}

impl Stage {
    fn new(machines: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("machines.nix"), machines).unwrap();
        Self { directory, heard: Arc::default() }
    }

    fn context<const N: usize>(&self, now: OffsetDateTime, hosts: [(&str, FakeRemote); N]) -> Context {
        let heard = Arc::clone(&self.heard);
        let events = Events::new(move |event| heard.lock().unwrap().push(event));
        let hosts = hosts.map(|(name, host)| (name.to_owned(), host)).into();
        let connector: Connector = Arc::new(Hosts(Mutex::new(hosts)));
        let directory = self.directory.path().to_owned();
        Context {
            project: Project { directory, nix: Nix::find(Vec::new()).unwrap(), events: events.clone() },
            keyring: Keyring { identity: None, prompt: machinist_secrets::no_prompt() },
            connections: Connections::Given(connector),
            consent: Consent::new(|question| Err(Failure::new(Kind::Refused, &question.consequence))),
            who: "ann@desk".to_owned(),
            clock: Clock::fixed(now),
            events,
            interrupt: Interrupt::default(),
        }
    }

    /// The events so far, as JSON lines.
    fn events(&self) -> String {
        let lines: Vec<String> =
            self.heard.lock().unwrap().iter().map(|event| serde_json::to_string(event).unwrap()).collect();
        lines.join("\n")
    }
}

fn host(name: &str, more: &str) -> FakeRemote {
    FakeRemote::new(name).answer("gather", 0, &format!("{FACTS}{more}"), "")
}

#[test]
fn status_has_every_node_with_its_answer() {
    let stage = Stage::new(FLEET);
    let hosts = [("w1", host("w1", "")), ("w2", host("w2", "failed=web.service\n"))];
    let status = status::run(&stage.context(NOW, hosts), &status::Request::default()).unwrap();
    let shown: Vec<String> = status
        .nodes
        .iter()
        .map(|node| match &node.answer {
            Answer::Answers { facts } => format!("{}: {:?}, healthy {}", node.node, facts.failed, node.is_healthy()),
            Answer::Silent { why, .. } => format!("{}: {why}", node.node),
        })
        .collect();
    expect![[r#"
        w1: {}, healthy true
        w2: {"web.service"}, healthy false
        w3: connection to root@192.0.2.1:22 lost during `gather facts` after 0.0 s: injected fault"#]]
    .assert_eq(&shown.join("\n"));
    assert!(!status.healthy);
}

#[test]
fn status_of_nodes_that_are_well_is_healthy() {
    let stage = Stage::new(FLEET);
    let targets = vec!["w1".to_owned()];
    let status = status::run(&stage.context(NOW, [("w1", host("w1", ""))]), &status::Request { targets }).unwrap();
    assert!(status.healthy, "{status:?}");
    assert_eq!(status.nodes.len(), 1);
}

#[test]
fn a_node_that_gives_no_answer_is_a_warning_of_unlock() {
    let stage = Stage::new(FLEET);
    let context = stage.context(NOW, [("w1", host("w1", "")), ("w2", host("w2", ""))]);
    let found = unlock::find(&context, &unlock::Request::default()).unwrap();
    assert_eq!((found.asked, found.silent, found.locks.len()), (3, 1, 0));
    expect![[r#"{"event":"warning","text":"w3: connection to root@192.0.2.1:22 lost during `gather facts` after 0.0 s: injected fault"}"#]].assert_eq(&stage.events());
}

#[test]
fn certificates_are_issued_and_fall_due_by_the_clock_of_the_context() {
    let stage = Stage::new(ETCD);
    let plan = issue::run(&stage.context(NOW, []), &issue::Request::default()).unwrap();
    assert!(plan.actions.iter().all(|action| action.step.makes_one()), "{:?}", plan.actions);
    let states = |later: Duration| -> Vec<State> {
        let rows = issue::list(&stage.context(NOW + later, [])).unwrap();
        rows.into_iter().filter(|row| row.node.is_some()).map(|row| row.state).collect()
    };
    assert!(states(Duration::days(1)).iter().all(|state| *state == State::Ok));
    assert!(states(Duration::days(300)).iter().all(|state| *state == State::Renew));
}

#[test]
fn an_error_in_machines_nix_is_a_failure_with_its_place() {
    let stage = Stage::new(&FLEET.replace("10.13.13.4", "10.14.0.4"));
    let failure = status::run(&stage.context(NOW, []), &status::Request::default()).unwrap_err();
    assert_eq!(failure.kind, Kind::Input);
    assert_eq!(failure.diagnostics.len(), 1);
    assert_eq!(failure.diagnostics[0].path.to_string(), "machines.w3.ip");
}

#[test]
fn a_change_of_members_of_no_cluster_is_refused_before_any_host_is_contacted() {
    let stage = Stage::new(ETCD);
    let node = NodeName::parse("a").unwrap();
    let request = Request { what: What::Replace, node, no_snapshot: false, options: Options::default() };
    let failure = membership::run(&stage.context(NOW, []), &request).unwrap_err();
    assert_eq!((failure.kind, failure.message.as_str()), (Kind::Input, "there is no running etcd cluster yet"));
}
