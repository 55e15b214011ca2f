#![allow(clippy::unwrap_used)]
use std::collections::BTreeSet;

use serde_json::json;

use crate::{
    Cluster, Control, ControlBackend, Move, NodeName, Orchestrator, OverlayBackend, RecordedMachine, RecordedState,
    Running, fixtures, moving::Step,
};

fn name(text: &str) -> NodeName {
    NodeName::parse(text).unwrap()
}

/// Returns the record of the cluster after a deploy of all its nodes.
fn recorded(cluster: &Cluster) -> RecordedState {
    let members: BTreeSet<NodeName> = cluster.voters().map(|node| node.name.clone()).collect();
    let mut state = RecordedState { running: Some(Running::of(cluster, &members)), ..RecordedState::default() };
    state.etcd.bootstrapped = true;
    state.etcd.members = members;
    let machine = |ip| RecordedMachine { machine_id: "0f".to_owned(), address: Some(ip) };
    state.machines = cluster.deployable().map(|node| (node.name.clone(), machine(node.ip))).collect();
    state
}

/// Checks the conflicts of a running cluster after the change in its machines.nix.
#[track_caller]
fn check_of(mut cluster: Cluster, change: impl FnOnce(&mut Cluster), expect: &[&str]) {
    let state = recorded(&cluster);
    change(&mut cluster);
    let found: Vec<String> = state.conflicts(&cluster).iter().map(ToString::to_string).collect();
    assert_eq!(found, expect);
}

#[track_caller]
fn check(change: impl FnOnce(&mut Cluster), expect: &[&str]) {
    check_of(fixtures::ha_kubernetes(), change, expect);
}

fn mesh() -> Cluster {
    let machine = |host: u8, role: &str| json!({ "ip": format!("10.13.13.{host}"), "roles": [role] });
    fixtures::cluster(&json!({
        "cluster": { "name": "mesh", "orchestrator": "mesh", "operators": [{ "name": "ops", "ssh": fixtures::SSH_KEY }] },
        "network": { "nodes": "10.13.13.0/24", "overlay": { "backend": "wireguard", "network": "10.10.0.0/16" } },
        "machines": { "etcd1": machine(2, "etcd"), "w1": machine(5, "worker") },
    }))
}

fn set(cluster: &mut Cluster, node: &str, ip: &str) {
    cluster.nodes.get_mut(&name(node)).unwrap().ip = ip.parse().unwrap();
}

fn rename(cluster: &mut Cluster, from: &str, to: &str) {
    let mut node = cluster.nodes.remove(&name(from)).unwrap();
    node.name = name(to);
    cluster.nodes.insert(name(to), node);
}

#[test]
fn what_runs_and_what_is_new_beside_it_is_no_conflict() {
    check(|_| {}, &[]);
    check(|cluster| drop(cluster.nodes.remove(&name("w1"))), &[]);
    check(|cluster| cluster.network.pods = vec!["10.42.77.1/16".parse().unwrap()], &[]);
    check_of(mesh(), |cluster| cluster.domain = "example.org".to_owned(), &[]);
}

#[test]
fn a_new_address_is_a_conflict_of_a_voter_and_of_any_other_node() {
    check(|cluster| set(cluster, "cp2", "10.13.13.9"), &["machines.cp2.ip: 10.13.13.3 -> 10.13.13.9"]);
    check(|cluster| set(cluster, "w1", "10.13.13.9"), &["machines.w1.ip: 10.13.13.5 -> 10.13.13.9"]);
}

#[test]
fn a_voter_of_a_mesh_moves_by_readdress_and_one_of_kubernetes_by_removal() {
    let remedy = |mut cluster: Cluster, node: &str| {
        let state = recorded(&cluster);
        set(&mut cluster, node, "10.13.13.9");
        state.conflicts(&cluster).pop().unwrap().remedy
    };
    assert!(remedy(mesh(), "etcd1").starts_with("`machinist node readdress etcd1`"));
    assert!(remedy(fixtures::ha_kubernetes(), "w1").starts_with("`machinist node readdress w1`"));
    assert!(remedy(fixtures::ha_kubernetes(), "cp1").contains("`machinist node remove cp1`"));
    assert!(remedy(fixtures::ha_k3s(), "s1").contains("k3s kubectl delete node s1"));
}

#[test]
fn a_member_that_left_comes_back_at_any_address() {
    let mut cluster = fixtures::three_member_etcd();
    let mut state = recorded(&cluster);
    state.etcd.members.remove("casper");
    state.machines.remove("casper");
    set(&mut cluster, "casper", "10.13.13.9");
    assert_eq!(state.conflicts(&cluster), []);
}

#[test]
fn a_machine_under_a_new_name_is_a_conflict_and_a_new_machine_is_none() {
    check(|cluster| rename(cluster, "w1", "w9"), &["machines.w9: w1 -> w9"]);
    check(|cluster| rename(cluster, "cp1", "cp9"), &["machines.cp9: cp1 -> cp9"]);
    let moved_too = |cluster: &mut Cluster| {
        rename(cluster, "w1", "w9");
        set(cluster, "w9", "10.13.13.99");
    };
    check(moved_too, &[]);
}

#[test]
fn new_pod_and_service_ranges_and_dns_are_conflicts() {
    check(
        |cluster| {
            cluster.network.pods = vec!["10.43.0.0/16".parse().unwrap()];
            cluster.network.services = vec!["10.97.0.0/16".parse().unwrap()];
            cluster.network.dns = Some("10.97.0.10".parse().unwrap());
        },
        &[
            "network.pods: 10.42.0.0/16 -> 10.43.0.0/16",
            "network.services: 10.96.0.0/16 -> 10.97.0.0/16",
            "network.dns: 10.96.0.10 -> 10.97.0.10",
        ],
    );
}

#[test]
fn kubernetes_takes_a_second_family_behind_the_first() {
    check(|cluster| cluster.network.services.push("fd00:96::/112".parse().unwrap()), &[]);
    check(
        |cluster| cluster.network.services.insert(0, "fd00:96::/112".parse().unwrap()),
        &["network.services: 10.96.0.0/16 -> fd00:96::/112, 10.96.0.0/16"],
    );
}

#[test]
fn another_name_or_orchestrator_is_a_conflict() {
    check(|cluster| cluster.name = "other".to_owned(), &["cluster.name: magi -> other"]);
    check(
        |cluster| {
            cluster.orchestrator = Some(Orchestrator::K3s);
            cluster.network.overlay = None;
        },
        &["cluster.orchestrator: kubernetes -> k3s", "network.overlay: vxlan -> wireguard"],
    );
}

#[test]
fn the_endpoint_and_the_domain_in_its_name_are_conflicts() {
    check(
        |cluster| cluster.kube_master.as_mut().unwrap().ip = "10.13.100.2".parse().unwrap(),
        &["kubeMaster: kubernetes at 10.13.100.1 port 6443 -> kubernetes at 10.13.100.2 port 6443"],
    );
    check(|cluster| cluster.kube_master = None, &["kubeMaster: kubernetes at 10.13.100.1 port 6443 -> none"]);
    let mut cluster = fixtures::ha_kubernetes();
    let before = cluster.domain.clone();
    check(|cluster| cluster.domain = "example.org".to_owned(), &[&format!("cluster.domain: {before} -> example.org")]);
    let endpoint = cluster.kube_master.take();
    check_of(cluster, |cluster| cluster.kube_master = endpoint, &[]);
}

#[test]
fn an_overlay_is_added_and_removed_but_not_changed() {
    let overlay = |cluster: &mut Cluster, range: &str, backend: OverlayBackend| {
        let overlay = cluster.network.overlay.as_mut().unwrap();
        (overlay.network, overlay.backend) = (Some(range.parse().unwrap()), backend);
    };
    let running = "wireguard 10.10.0.0/16 for nodes in 10.13.13.0/24";
    check_of(
        mesh(),
        |cluster| overlay(cluster, "10.20.0.0/16", OverlayBackend::Wireguard),
        &[&format!("network.overlay: {running} -> wireguard 10.20.0.0/16 for nodes in 10.13.13.0/24")],
    );
    check_of(
        mesh(),
        |cluster| overlay(cluster, "10.10.0.0/16", OverlayBackend::Vxlan),
        &[&format!("network.overlay: {running} -> vxlan 10.10.0.0/16 for nodes in 10.13.13.0/24")],
    );
    check_of(
        mesh(),
        |cluster| cluster.network.nodes = "10.13.0.0/16".parse().unwrap(),
        &[&format!("network.overlay: {running} -> wireguard 10.10.0.0/16 for nodes in 10.13.0.0/16")],
    );
    check_of(mesh(), |cluster| cluster.network.overlay = None, &[]);
    let mut without = mesh();
    let overlay = without.network.overlay.take();
    check_of(without, |cluster| cluster.network.overlay = overlay, &[]);
}

#[test]
fn a_control_mesh_is_neither_added_nor_removed_nor_carried_by_another_program() {
    let control = |backend: ControlBackend| Some(Control { backend, port: backend.default_port() });
    let mut of_tinc = mesh();
    of_tinc.network.control = control(ControlBackend::Tinc);
    let check = |cluster: &Cluster, wanted: Option<Control>, expect: &[&str]| {
        check_of(cluster.clone(), |cluster| cluster.network.control = wanted, expect);
    };
    check(&mesh(), control(ControlBackend::Tinc), &["network.control: none -> tinc port 655"]);
    check(&of_tinc, control(ControlBackend::Wireguard), &["network.control: tinc port 655 -> wireguard port 51821"]);
    check(&of_tinc, None, &["network.control: tinc port 655 -> none"]);
    check(
        &of_tinc,
        Some(Control { backend: ControlBackend::Tinc, port: 656 }),
        &["network.control: tinc port 655 -> tinc port 656"],
    );
}

#[test]
fn an_unfinished_move_is_a_conflict_with_the_command_that_continues_it() {
    let mut cluster = mesh();
    let mut state = recorded(&cluster);
    let [from, to] = ["10.13.13.2", "10.13.13.9"].map(|ip| ip.parse().unwrap());
    let moving = Move { node: name("etcd1"), from, to, step: Step::Admit };
    set(&mut cluster, "etcd1", "10.13.13.9");
    moving.apply(&mut cluster);
    state.moving = Some(moving);
    let [conflict] = &*state.conflicts(&cluster) else { unreachable!("one conflict") };
    assert_eq!(conflict.to_string(), "moving etcd1: 10.13.13.2 -> 10.13.13.9");
    assert!(conflict.remedy.contains("`machinist node readdress etcd1`"), "{}", conflict.remedy);
}
