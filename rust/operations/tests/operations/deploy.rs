//! Deploys on a cluster of fake hosts, with systems built elsewhere.

use std::{fs, process::Command};

use expect_test::expect;
use machinist_model::NodeName;
use machinist_nix::StorePath;
use machinist_operations::{
    deploy::{self, Deployed, Request, What},
    event::Event,
    failure::Kind,
    history,
    rollout::options::Options,
    status,
    systems::{BuildOn, Building, Given},
};
use machinist_testkit::cluster::{Behaviour, FakeCluster};

use super::stage::{FLEET, NOW, Stage};

const NODES: [&str; 3] = ["w1", "w2", "w3"];

pub fn name(text: &str) -> NodeName {
    NodeName::parse(text).unwrap()
}

/// Adds a store path that resembles the system of a node.
pub fn system(node: &str) -> StorePath {
    let directory = tempfile::tempdir().unwrap();
    let system = directory.path().join(format!("nixos-system-{node}"));
    fs::create_dir_all(system.join("bin")).unwrap();
    fs::create_dir_all(system.join("etc")).unwrap();
    fs::write(system.join("bin/switch-to-configuration"), "").unwrap();
    fs::write(system.join("etc/hostname"), format!("{node}\n")).unwrap();
    let added = Command::new("nix-store").arg("--add").arg(&system).output().unwrap();
    assert!(added.status.success(), "{}", String::from_utf8_lossy(&added.stderr));
    StorePath::parse(String::from_utf8(added.stdout).unwrap().trim()).unwrap()
}

/// Machines that already run an earlier system.
pub fn cluster() -> FakeCluster {
    let old = |node: &str| StorePath::parse(&format!("/nix/store/{}-nixos-system-{node}", "0".repeat(32))).unwrap();
    FakeCluster::new(&NODES.map(|node| (name(node), old(node))).into())
}

/// Creates a fleet's directory under git, as required for a flake.
pub fn stage() -> Stage {
    let stage = Stage::new(FLEET);
    stage.write("flake.nix", "{ outputs = _: { }; }\n");
    let made = Command::new("git").arg("-C").arg(stage.directory()).args(["init", "--quiet"]).status().unwrap();
    assert!(made.success());
    stage
}

fn request(nodes: &[&str]) -> Request {
    let given = |node: &&str| Given::parse(&format!("{node}={}", system(node))).unwrap();
    Request {
        what: What::Machines(nodes.iter().map(|node| (*node).to_owned()).collect()),
        options: Options::default(),
        building: Building { store_path: nodes.iter().map(given).collect(), ..Building::default() },
        build_on: BuildOn::Local,
        objects: true,
    }
}

/// Returns the kinds of the events, in order; progress on machines is grouped by node.
fn kinds(stage: &Stage) -> Vec<String> {
    let kind = |event: &Event| match event {
        Event::RolloutStarted { nodes, .. } => Some(format!("started with {} nodes", nodes.len())),
        Event::RolloutEnded => Some("ended".to_owned()),
        Event::Report { report, .. } => Some(format!("report of {} nodes", report.nodes.len())),
        Event::Rollout(event) => match &event.kind {
            machinist_rollout::EventKind::Done { text } => {
                // The duration varies.
                let text = text.split(" (").next().unwrap();
                Some(format!("{}: {text}", event.node.as_ref().unwrap()))
            }

            _ => None,
        },
        _ => None,
    };
    let mut kinds: Vec<String> = stage.heard().iter().filter_map(kind).collect();
    // Nodes of a wave end in any order.
    kinds[1..].sort_by_key(|kind| (!kind.contains(':'), kind.starts_with("report"), kind.clone()));
    kinds
}

#[test]
fn a_deploy_changes_its_nodes_once_and_is_history() {
    let stage = stage();
    let cluster = cluster();
    let first = deploy::run(&stage.context(NOW, cluster.clone()), &request(&["w1", "w2"])).unwrap();
    assert_eq!(first.verdict(), None, "{first:?}");
    expect![[r#"
        started with 2 nodes
        w1: runs the new system
        w2: runs the new system
        ended
        report of 2 nodes"#]]
    .assert_eq(&kinds(&stage).join("\n"));
    assert_eq!(cluster.host(&name("w1")).running, Some(system("w1")));
    let later = stage.context(NOW + time::Duration::hours(1), cluster.clone());
    let Deployed::Ended { report, .. } = deploy::run(&later, &request(&["w1", "w2"])).unwrap() else { panic!() };
    let unchanged = report.nodes.values().filter(|outcome| **outcome == machinist_rollout::deploy::Outcome::Unchanged);
    assert_eq!(unchanged.count(), 2);
    let runs: Vec<String> = history::run(&later).unwrap().runs.into_iter().map(|record| record.run).collect();
    let begun: Vec<&str> = runs.iter().map(|run| &run[..run.len() - "-01234567".len()]).collect();
    assert_eq!(begun, ["20261130t100000-000", "20261130t110000-000"]);
}

#[test]
fn a_node_that_goes_back_fails_the_deploy() {
    let stage = stage();
    let cluster = cluster();
    cluster
        .world()
        .hosts
        .get_mut(&name("w1"))
        .unwrap()
        .behaviours
        .insert(system("w1"), Behaviour::FailsUnit("web.service".to_owned()));
    let ended = deploy::run(&stage.context(NOW, cluster), &request(&["w1"])).unwrap();
    assert_eq!(ended.verdict(), Some(Kind::Failed));
    let reported = stage.heard().into_iter().any(|event| matches!(event, Event::Report { .. }));
    assert!(reported, "{}", stage.events());
}

#[test]
fn an_interrupt_before_the_rollout_leaves_every_machine_alone() {
    let stage = stage();
    let cluster = cluster();
    let context = stage.context(NOW, cluster.clone());
    context.interrupt.set();
    let failure = deploy::run(&context, &request(&["w1"])).unwrap_err();
    assert_eq!(failure.message, "interrupted; nothing is under way on any machine");
    assert!(cluster.requested("take the lock").is_empty());
}

#[test]
fn status_of_a_fleet_is_that_of_its_hosts() {
    let stage = stage();
    let cluster = cluster();
    let status = status::run(&stage.context(NOW, cluster), &status::Request::default()).unwrap();
    assert!(status.healthy, "{status:?}");
    assert_eq!(status.nodes.len(), NODES.len());
}
