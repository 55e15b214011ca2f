#![allow(clippy::unwrap_used)]
use machinist_model::{Cluster, Move, NodeName, RecordedMachine, RecordedState, Running, fixtures, moving::Step};

use super::{changes, wanted};
use crate::failure::Kind;

fn casper() -> NodeName {
    NodeName::parse("casper").unwrap()
}

/// Returns a cluster whose machines.nix moves casper to the address, and the record of the running one.
fn moved_to(ip: &str) -> (Cluster, RecordedState) {
    let mut cluster = fixtures::three_member_etcd();
    let mut state = RecordedState::default();
    state.etcd.bootstrapped = true;
    state.etcd.members = cluster.voters().map(|node| node.name.clone()).collect();
    state.running = Some(Running::of(&cluster, &state.etcd.members));
    let machine = |ip| RecordedMachine { machine_id: "0f".to_owned(), address: Some(ip) };
    state.machines = cluster.deployable().map(|node| (node.name.clone(), machine(node.ip))).collect();
    cluster.nodes.get_mut("casper").unwrap().ip = ip.parse().unwrap();
    (cluster, state)
}

fn moving(step: Step) -> Move {
    Move { node: casper(), from: "10.13.13.4".parse().unwrap(), to: "10.13.13.9".parse().unwrap(), step }
}

#[test]
fn a_move_begins_at_the_recorded_address() {
    let (cluster, state) = moved_to("10.13.13.9");
    assert_eq!(wanted(&cluster, &state, &casper()).unwrap(), Some(moving(Step::Admit)));
    let (cluster, state) = moved_to("10.13.13.4");
    assert_eq!(wanted(&cluster, &state, &casper()).unwrap(), None);
}

#[test]
fn a_recorded_move_continues_or_goes_back_as_machines_nix_says() {
    let (cluster, mut state) = moved_to("10.13.13.9");
    state.record_move(&moving(Step::Switch));
    assert_eq!(wanted(&cluster, &state, &casper()).unwrap(), Some(moving(Step::Switch)));
    let (cluster, _) = moved_to("10.13.13.4");
    assert_eq!(wanted(&cluster, &state, &casper()).unwrap(), Some(moving(Step::Switch).reversed()));
    let (cluster, _) = moved_to("10.13.13.44");
    let third = wanted(&cluster, &state, &casper()).unwrap_err();
    assert!(third.kind == Kind::Refused && third.message.contains("third address"), "{third:?}");
    let other = wanted(&cluster, &state, &NodeName::parse("melchior").unwrap()).unwrap_err();
    assert!(other.message.contains("one node moves at a time"), "{other:?}");
}

#[test]
fn a_node_without_a_recorded_address_is_deployed_first() {
    let (cluster, mut state) = moved_to("10.13.13.9");
    (state.running, state.machines) = (None, std::collections::BTreeMap::new());
    assert_eq!(wanted(&cluster, &state, &casper()).unwrap_err().kind, Kind::Input);
}

#[test]
fn etcd_is_changed_for_members_only() {
    let of = |is_member| changes(&moving(Step::Admit), Step::Admit, is_member).len();
    assert_eq!((of(true), of(false)), (3, 2));
}
