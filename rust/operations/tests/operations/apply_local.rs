//! Deploys of a node by itself, on a cluster of fake hosts.

use machinist_operations::{
    apply_local::{self, Machine, Request},
    failure::Kind,
    rollout::{options::Options, verdict::verdict},
    systems::{Building, Given},
};
use machinist_testkit::cluster::Behaviour;

use super::{
    deploy::{cluster, name, stage, system},
    stage::{NOW, Stage},
};

fn request(host_name: &str, node: &str) -> Request {
    let given = Given::parse(&format!("{node}={}", system(node))).unwrap();
    Request {
        node: None,
        machine: Machine { host_name: host_name.to_owned(), is_root: true },
        options: Options::default(),
        building: Building { store_path: vec![given], ..Building::default() },
    }
}

fn files(stage: &Stage) -> Vec<String> {
    let entries = std::fs::read_dir(stage.directory()).unwrap();
    let mut names: Vec<String> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.retain(|name| name != ".machinist");
    names.sort();
    names
}

#[test]
fn a_node_changes_itself_and_neither_another_one_nor_the_directory() {
    let (stage, cluster) = (stage(), cluster());
    let before = files(&stage);
    let report = apply_local::run(&stage.context(NOW, cluster.clone()), &request("w1.example.org", "w1")).unwrap();
    assert_eq!(verdict(&report), None, "{report:?}");
    let host = cluster.host(&name("w1"));
    assert_eq!(
        (host.running, host.profile, host.confirmed),
        (Some(system("w1")), Some(system("w1")), Some(system("w1")))
    );
    assert_ne!(cluster.host(&name("w2")).running, Some(system("w2")));
    assert_eq!(files(&stage), before, "no facts and no record are written");
    let again = apply_local::run(&stage.context(NOW, cluster), &request("w1", "w1")).unwrap();
    assert!(again.nodes.values().all(|outcome| *outcome == machinist_rollout::deploy::Outcome::Unchanged), "{again:?}");
}

#[test]
fn a_node_whose_new_system_does_not_work_goes_back() {
    let (stage, cluster) = (stage(), cluster());
    let before = cluster.host(&name("w1")).running;
    let fails = Behaviour::FailsUnit("web.service".to_owned());
    cluster.world().hosts.get_mut(&name("w1")).unwrap().behaviours.insert(system("w1"), fails);
    let report = apply_local::run(&stage.context(NOW, cluster.clone()), &request("w1", "w1")).unwrap();
    assert_eq!(verdict(&report), Some(Kind::Failed));
    assert_eq!(cluster.host(&name("w1")).running, before);
}

#[test]
fn a_machine_gets_no_system_of_another_node() {
    let (stage, cluster) = (stage(), cluster());
    for (host_name, node, kind) in [("w2", "w1", Kind::Input), ("laptop", "w1", Kind::Refused)] {
        let failure = apply_local::run(&stage.context(NOW, cluster.clone()), &request(host_name, node)).unwrap_err();
        assert_eq!(failure.kind, kind, "{failure:?}");
    }
    let mut other = request("w2", "w2");
    other.building.store_path = vec![Given::parse(&format!("w2={}", system("w1"))).unwrap()];
    let failure = apply_local::run(&stage.context(NOW, cluster.clone()), &other).unwrap_err();
    assert!(failure.kind == Kind::Refused && failure.message.contains("is the system of \"w1\""), "{failure:?}");
    assert!(cluster.requested("take the lock").is_empty());
}
