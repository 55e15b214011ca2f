//! Read-only operations: status, locks, certificates, and their refusals.

use std::{collections::BTreeMap, sync::Mutex};

use expect_test::expect;
use machinist_model::NodeName;
use machinist_operations::{
    certs::issue,
    context::Context,
    failure::Kind,
    node::{
        membership::{self, Request},
        without_vote::What,
    },
    rollout::options::Options,
    status::{self, Answer},
    unlock,
};
use machinist_pki::report::State;
use machinist_remote::{FakeRemote, Fault, Remote, RemoteError};
use machinist_rollout::step::Connect;
use time::{Duration, OffsetDateTime};

use super::stage::{FLEET, NOW, Stage};

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

/// Fake hosts with one connection each. A missing host refuses connections.
struct Hosts(Mutex<BTreeMap<String, FakeRemote>>);

impl Connect for Hosts {
    fn connect(&self, node: &NodeName) -> Result<Box<dyn Remote>, RemoteError> {
        let host = self.0.lock().unwrap().remove(node.as_str());
        let gone = || FakeRemote::new(node.as_str()).fail_call(1, Fault::ConnectionLost);
        Ok(Box::new(host.unwrap_or_else(gone)))
    }
}

fn context<const N: usize>(stage: &Stage, now: OffsetDateTime, hosts: [(&str, FakeRemote); N]) -> Context {
    let hosts = hosts.map(|(name, host)| (name.to_owned(), host)).into();
    stage.context(now, Hosts(Mutex::new(hosts)))
}

fn host(name: &str, more: &str) -> FakeRemote {
    FakeRemote::new(name).answer("gather", 0, &format!("{FACTS}{more}"), "")
}

#[test]
fn status_has_every_node_with_its_answer() {
    let stage = Stage::new(FLEET);
    let hosts = [("w1", host("w1", "")), ("w2", host("w2", "failed=web.service\n"))];
    let status = status::run(&context(&stage, NOW, hosts), &status::Request::default()).unwrap();
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
    let status = status::run(&context(&stage, NOW, [("w1", host("w1", ""))]), &status::Request { targets }).unwrap();
    assert!(status.healthy, "{status:?}");
    assert_eq!(status.nodes.len(), 1);
}

#[test]
fn a_node_that_gives_no_answer_is_a_warning_of_unlock() {
    let stage = Stage::new(FLEET);
    let context = context(&stage, NOW, [("w1", host("w1", "")), ("w2", host("w2", ""))]);
    let found = unlock::find(&context, &unlock::Request::default()).unwrap();
    assert_eq!((found.asked, found.silent, found.locks.len()), (3, 1, 0));
    expect![[r#"{"event":"warning","text":"w3: connection to root@192.0.2.1:22 lost during `gather facts` after 0.0 s: injected fault"}"#]].assert_eq(&stage.events());
}

#[test]
fn certificates_are_issued_and_fall_due_by_the_clock_of_the_context() {
    let stage = Stage::new(ETCD);
    let plan = issue::run(&context(&stage, NOW, []), &issue::Request::default()).unwrap();
    assert!(plan.actions.iter().all(|action| action.step.makes_one()), "{:?}", plan.actions);
    let states = |later: Duration| -> Vec<State> {
        let rows = issue::list(&context(&stage, NOW + later, [])).unwrap();
        rows.into_iter().filter(|row| row.node.is_some()).map(|row| row.state).collect()
    };
    assert!(states(Duration::days(1)).iter().all(|state| *state == State::Ok));
    assert!(states(Duration::days(300)).iter().all(|state| *state == State::Renew));
}

#[test]
fn an_error_in_machines_nix_is_a_failure_with_its_place() {
    let stage = Stage::new(&FLEET.replace("10.13.13.4", "10.14.0.4"));
    let failure = status::run(&context(&stage, NOW, []), &status::Request::default()).unwrap_err();
    assert_eq!(failure.kind, Kind::Input);
    assert_eq!(failure.diagnostics.len(), 1);
    assert_eq!(failure.diagnostics[0].path.to_string(), "machines.w3.ip");
}

#[test]
fn a_change_of_members_of_no_cluster_is_refused_before_any_host_is_contacted() {
    let stage = Stage::new(ETCD);
    let node = NodeName::parse("a").unwrap();
    let request = Request { what: What::Replace, node, no_snapshot: false, options: Options::default() };
    let failure = membership::run(&context(&stage, NOW, []), &request).unwrap_err();
    assert_eq!((failure.kind, failure.message.as_str()), (Kind::Input, "there is no running etcd cluster yet"));
}
