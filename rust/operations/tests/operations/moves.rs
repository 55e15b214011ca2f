//! Commands during the unfinished move of a member of etcd to a new address, on fake hosts.

use std::{fs, process::Command};

use machinist_model::{NodeName, RecordedState, moving::Step};
use machinist_nix::StorePath;
use machinist_operations::{
    certs,
    consent::Consent,
    context::Context,
    etcd::{restore, upkeep, verify},
    failure::{Failure, Kind},
    node::{membership, without_vote::What},
    rollback,
    rollout::options::Options,
};
use machinist_pki::KeyAlgorithm;
use machinist_testkit::cluster::FakeCluster;

use super::{
    deploy::name,
    stage::{FLEET, NOW, Stage},
};

const STEPS: [Step; 3] = [Step::Admit, Step::Switch, Step::Close];

/// Returns a cluster of these members at 10.0.0.1, 10.0.0.2, ... in the order of their names.
pub fn machines(members: &str) -> String {
    let machine = |(n, name): (usize, char)| {
        format!("  machines.{name} = {{ ip = \"10.0.0.{}\"; roles = [ \"etcd\" ]; disk = \"/dev/vda\"; }};\n", n + 1)
    };
    let machines: String = ('a'..='c').enumerate().filter(|(_, name)| members.contains(*name)).map(machine).collect();
    format!(
        r#"{{
  cluster.name = "three";
  cluster.allowEvenQuorum = true;
  cluster.operators = [
    {{
      name = "ops";
      age = "age1lqk39lsxe6gvstlz0z4t4sglfh0rkpjar5e3tl22zkqpkqh4d0mq2yqpvu";
      ssh = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl ops";
    }}
  ];
  network.nodes = "10.0.0.0/24";
{machines}}}
"#
    )
}

/// Returns a directory in which `a`, which etcd has at 10.0.0.1, moves and is in this step.
fn moving(step: Step, members: &str) -> Stage {
    let stage = Stage::new(&machines(members));
    stage.write("flake.nix", "{ outputs = _: { }; }\n");
    let made = Command::new("git").arg("-C").arg(stage.directory()).args(["init", "--quiet"]).status().unwrap();
    assert!(made.success());
    let (from, to) = if step == Step::Admit { ("10.0.0.1", "10.0.0.9") } else { ("10.0.0.9", "10.0.0.1") };
    let step = format!("{step:?}").to_lowercase();
    fs::create_dir(stage.directory().join("state")).unwrap();
    stage.write(
        "state/cluster.json",
        &format!(
            r#"{{ "version": 1, "etcd": {{ "bootstrapped": true, "members": [ "a", "b", "c" ] }},
            "machines": {{ "a": {{ "machineId": "id-of-a", "address": "10.0.0.1" }} }},
            "moving": {{ "node": "a", "from": "{from}", "to": "{to}", "step": "{step}" }} }}"#
        ),
    );
    stage
}

pub fn hosts() -> FakeCluster {
    let names = ["a", "b", "c"].map(name);
    let old =
        |node: &NodeName| StorePath::parse(&format!("/nix/store/{}-nixos-system-{node}", "0".repeat(32))).unwrap();
    FakeCluster::new(&names.iter().map(|node| (node.clone(), old(node))).collect()).with_members(&names)
}

/// Stops the etcd of a member for good: its machine was reinstalled.
pub fn lose(hosts: &FakeCluster, node: &str) {
    let mut world = hosts.world();
    let member = world.hosts.get_mut(&name(node)).unwrap().member.as_mut().unwrap();
    (member.runs, member.has_data) = (false, false);
}

pub fn state(stage: &Stage) -> RecordedState {
    RecordedState::parse(&fs::read_to_string(stage.directory().join("state/cluster.json")).unwrap()).unwrap()
}

pub fn change(context: &Context, what: What, node: &str) -> Failure {
    let request = membership::Request { what, node: name(node), no_snapshot: true, options: Options::default() };
    membership::run(context, &request).unwrap_err()
}

#[track_caller]
fn is_refused(failure: &Failure) {
    assert_eq!(failure.kind, Kind::Refused, "{failure:?}");
    let hints = format!("{failure:?}");
    assert!(hints.contains("`machinist node readdress a` continues"), "{hints}");
    assert!(hints.contains("`machinist node replace a`"), "{hints}");
}

#[test]
fn what_would_undo_an_admitted_address_is_refused_with_the_commands_that_end_the_move() {
    for step in STEPS {
        let stage = moving(step, "abc");
        let context = stage.context(NOW, hosts());
        let options = Options::default;
        let back = rollback::Request { targets: None, to: None, options: options() };
        is_refused(&rollback::run(&context, &back).unwrap_err());
        is_refused(&verify::run(&context, true).unwrap_err());
        let snapshot = restore::Request { snapshot: "x".to_owned(), discard_running_data: true, options: options() };
        is_refused(&restore::run(&context, &snapshot).unwrap_err());
        is_refused(&certs::issue::run(&context, &certs::issue::Request::default()).unwrap_err());
        let algorithm = KeyAlgorithm::default();
        let rotation = certs::rotate::Request::Authority { name: "etcd".to_owned(), algorithm };
        is_refused(&certs::rotate::run(&context, &rotation).unwrap_err());
        is_refused(&change(&context, What::Join, "a"));
        assert!(hosts().requested("take the lock").is_empty());
    }
}

#[test]
fn what_uses_no_address_works_during_a_move() {
    let stage = moving(Step::Switch, "abc");
    let moved = upkeep::move_leader(&stage.context(NOW, hosts()), Some("a")).unwrap();
    assert!(matches!(moved, upkeep::Moved::LeadsAlready { .. }), "{moved:?}");
}

#[test]
fn a_member_that_is_lost_while_another_one_moves_is_replaced() {
    for step in STEPS {
        let stage = moving(step, "abc");
        let hosts = hosts();
        lose(&hosts, "b");
        let failure = change(&stage.context(NOW, hosts.clone()), What::Replace, "b");
        assert_eq!(failure.message, "b would be removed from the running etcd cluster", "{failure:?}");
        let after = state(&stage);
        let widened = if step == Step::Close { Step::Switch } else { step };
        assert_eq!(after.moving.unwrap().step, widened, "both addresses of a are admitted meanwhile");
        assert_eq!(hosts.requested("remove a member"), []);
    }
}

#[test]
fn a_member_is_not_replaced_while_the_one_that_moves_is_down() {
    let stage = moving(Step::Switch, "abc");
    let hosts = hosts();
    lose(&hosts, "a");
    let failure = change(&stage.context(NOW, hosts), What::Replace, "b");
    assert!(failure.message.contains("cannot be replaced now: a does not answer"), "{failure:?}");
}

#[test]
fn the_member_that_moves_and_is_lost_leaves_and_its_move_ends() {
    for step in STEPS {
        let stage = moving(step, "bc");
        let hosts = hosts();
        lose(&hosts, "a");
        let mut context = stage.context(NOW, hosts.clone());
        assert_eq!(change(&context, What::Remove, "a").message, "a would be removed from the running etcd cluster");
        assert!(state(&stage).moving.is_some(), "consent was refused");
        context.consent = Consent::given();
        // The flake of the fixture has no systems, so the deploy after the removal fails.
        change(&context, What::Remove, "a");
        assert_eq!(hosts.requested("remove a member").len(), 1);
        let after = state(&stage);
        assert_eq!((after.moving, after.machines.len(), after.etcd.members.len()), (None, 0, 2));
    }
}

#[test]
fn a_machine_of_a_fleet_that_moves_and_is_lost_is_removed_and_its_move_ends() {
    let stage = Stage::new(&FLEET.replace("machines.w1", "machines.w4"));
    fs::create_dir(stage.directory().join("state")).unwrap();
    stage.write(
        "state/cluster.json",
        r#"{ "version": 1, "etcd": { "bootstrapped": false }, "machines": { "w1": { "machineId": "x" } },
        "moving": { "node": "w1", "from": "10.13.13.9", "to": "10.13.13.10", "step": "switch" } }"#,
    );
    let context = stage.context(NOW, FakeCluster::default());
    let node = name("w1");
    let request = membership::Request { what: What::Remove, node, no_snapshot: true, options: Options::default() };
    let removed = membership::run(&context, &request).unwrap();
    assert!(matches!(removed, membership::Changed::Forgotten), "{removed:?}");
    let after = state(&stage);
    assert_eq!((after.moving, after.machines.len()), (None, 0));
}

#[test]
fn the_member_that_moves_and_is_lost_is_replaced_at_the_address_of_machines_nix() {
    for step in STEPS {
        let stage = moving(step, "abc");
        stage.write("machines.nix", &machines("abc").replace("10.0.0.1\"", "10.0.0.7\""));
        let hosts = hosts();
        lose(&hosts, "a");
        let mut context = stage.context(NOW, hosts.clone());
        context.consent = Consent::given();
        change(&context, What::Replace, "a");
        assert_eq!(hosts.requested("remove a member").len(), 1, "etcd knows it at the address of the step");
        let after = state(&stage);
        assert!(!after.etcd.members.contains(&name("a")));
        let rest = after.moving.unwrap();
        let addresses = [rest.from, rest.to].map(|ip| ip.to_string());
        assert_eq!((addresses, rest.step), (["10.0.0.1", "10.0.0.7"].map(str::to_owned), Step::Switch));
        let facts = fs::read_to_string(stage.directory().join("generated/b.nix")).unwrap();
        assert!(facts.contains("a = \"10.0.0.7\";") && facts.contains("moving = [ \"10.0.0.1\" ];"), "{facts}");
    }
}
