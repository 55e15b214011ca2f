//! Replacement of a machine that is gone, on fake hosts.

use std::{fs, process::Command};

use machinist_model::replacing::Step;
use machinist_operations::{
    consent::Consent,
    failure::Kind,
    node::{
        membership::{self, Changed},
        replacement,
        without_vote::What,
    },
    rollout::options::Options,
};
use machinist_testkit::cluster::FakeCluster;

use super::{
    deploy::name,
    moves::{change, hosts, lose, machines, state},
    stage::{NOW, Stage},
};

/// Returns a directory of the members `a`, `b`, `c` with this addition to the record.
fn running(members: &str, addition: &str) -> Stage {
    let stage = Stage::new(&machines(members));
    stage.write("flake.nix", "{ outputs = _: { }; }\n");
    let made = Command::new("git").arg("-C").arg(stage.directory()).args(["init", "--quiet"]).status().unwrap();
    assert!(made.success());
    fs::create_dir(stage.directory().join("state")).unwrap();
    stage.write(
        "state/cluster.json",
        &format!(
            r#"{{ "version": 1, "etcd": {{ "bootstrapped": true, "members": [ "a", "b", "c" ] }},
            "machines": {{ "b": {{ "machineId": "id-of-b", "address": "10.0.0.2" }} }}{addition} }}"#
        ),
    );
    stage
}

fn request(node: &str) -> replacement::Request {
    replacement::Request {
        node: name(node),
        new_machine: true,
        server_type: None,
        location: None,
        installation: machinist_operations::install::Request::default(),
        no_snapshot: true,
        options: Options::default(),
    }
}

const UNDER_WAY: &str = r#", "replacing": { "node": "b", "step": "install" }"#;

#[test]
fn a_lost_member_leaves_once_and_the_step_can_be_repeated() {
    let stage = running("abc", "");
    let hosts = hosts();
    lose(&hosts, "b");
    let mut context = stage.context(NOW, hosts.clone());
    context.consent = Consent::given();
    let leave =
        membership::Request { what: What::Leave, node: name("b"), no_snapshot: true, options: Options::default() };
    for _ in 0..2 {
        assert!(matches!(membership::run(&context, &leave).unwrap(), Changed::Left));
        let after = state(&stage);
        assert_eq!((after.etcd.members.len(), after.machines.len()), (2, 0));
    }
    assert_eq!(hosts.requested("remove a member").len(), 1);
}

#[test]
fn nothing_is_replaced_while_another_member_is_down() {
    let stage = running("abc", "");
    let hosts = hosts();
    lose(&hosts, "a");
    lose(&hosts, "b");
    let failure = replacement::plan(&stage.context(NOW, hosts.clone()), &request("b")).unwrap_err();
    assert_eq!(failure.kind, Kind::Refused, "{failure:?}");
    assert!(failure.message.contains("b cannot be replaced now"), "{failure:?}");
    assert!(failure.hints.iter().any(|hint| hint.contains("docs/guides/etcd.md")), "{failure:?}");
    assert!(hosts.requested("take the lock").is_empty());
}

#[test]
fn a_plan_of_a_machine_that_is_no_server_has_no_price_and_begins_where_it_stands() {
    let stage = running("abc", "");
    let hosts = hosts();
    lose(&hosts, "b");
    let plan = replacement::plan(&stage.context(NOW, hosts), &request("b")).unwrap();
    let steps: Vec<&str> = plan.steps.iter().map(|planned| planned.step).collect();
    assert_eq!((steps, plan.price), (vec!["leave", "discard", "install", "join"], None));
    let stage = running("abc", UNDER_WAY);
    let plan = replacement::plan(&stage.context(NOW, FakeCluster::default()), &request("b")).unwrap();
    let steps: Vec<&str> = plan.steps.iter().map(|planned| planned.step).collect();
    assert_eq!(steps, ["install", "join"]);
}

#[test]
fn other_changes_of_members_wait_for_the_replacement() {
    let stage = running("abc", UNDER_WAY);
    let context = stage.context(NOW, hosts());
    for (what, node) in [(What::Replace, "a"), (What::Join, "b"), (What::Remove, "a")] {
        let failure = change(&context, what, node);
        assert_eq!(failure.kind, Kind::Refused, "{failure:?}");
        assert!(failure.message.contains("the machine of b is being replaced (step install)"), "{failure:?}");
        assert!(failure.hints[0].contains("`machinist node replace b` continues"), "{failure:?}");
    }
    let failure = replacement::run(&context, &request("a")).unwrap_err();
    assert!(failure.message.contains("the machine of b is being replaced"), "{failure:?}");
    assert!(hosts().requested("take the lock").is_empty());
    assert_eq!(state(&stage).replacing.unwrap().step, Step::Install);
}

#[test]
fn a_node_that_is_removed_meanwhile_is_replaced_no_more() {
    let stage = running("ac", UNDER_WAY);
    let mut left = state(&stage);
    left.forget_member(&name("b"));
    stage.write("state/cluster.json", &left.to_text());
    let request =
        membership::Request { what: What::Remove, node: name("b"), no_snapshot: true, options: Options::default() };
    let removed = membership::run(&stage.context(NOW, hosts()), &request).unwrap();
    assert!(matches!(removed, Changed::Forgotten), "{removed:?}");
    assert_eq!(state(&stage).replacing, None);
}
