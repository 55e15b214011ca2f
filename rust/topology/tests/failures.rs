//! What a failure takes, on small clusters.
#![allow(clippy::unwrap_used, missing_docs)]

use std::collections::BTreeSet;

use expect_test::expect;
use machinist_model::{Cluster, NodeName, fixtures};
use machinist_topology::{
    Topology,
    domain::Division,
    failure::tolerance,
    service::{Kind, Need, Service},
};
use proptest::prelude::*;
use serde_json::json;

/// Returns a line for each service, with what it tolerates, and one for each failure.
fn lines(topology: &Topology) -> String {
    let kinds: Vec<&str> = topology.divisions.iter().map(|division| division.kind.as_str()).collect();
    let services = topology.services.iter().map(|service| {
        let counts: Vec<String> =
            service.tolerates.iter().zip(&kinds).map(|(count, kind)| format!("{count} {kind}")).collect();
        format!("{}: {}\n", service.service.name, counts.join(", "))
    });
    let failures = topology.failures.iter().map(|failure| {
        let (lost, last) = (failure.lost.join(", "), failure.without_reserve.join(", "));
        format!("{} {} takes [{lost}], no reserve in [{last}]\n", failure.kind, failure.domain)
    });
    services.chain(failures).collect()
}

fn mesh() -> Cluster {
    let machine = |ip: &str, zone: &str, roles: &[&str], apps: &[&str]| json!({ "ip": ip, "roles": roles, "apps": apps, "labels": { "zone": zone } });
    fixtures::cluster(&json!({
        "cluster": {
            "name": "shop", "orchestrator": "mesh", "operators": [{ "name": "ops", "ssh": fixtures::SSH_KEY }],
        },
        "network": { "nodes": "10.0.0.0/24", "overlay": { "backend": "wireguard", "network": "10.10.0.0/16" } },
        "machines": {
            "a1": machine("10.0.0.1", "a", &["etcd", "ingress"], &[]),
            "a2": machine("10.0.0.2", "a", &["etcd", "worker"], &["web"]),
            "b1": machine("10.0.0.3", "b", &["etcd", "worker"], &["web", "jobs"]),
        },
    }))
}

#[test]
fn one_of_three_members_may_fail_and_the_last_zone_has_no_reserve() {
    expect![[r#"
        etcd: 1 machine, 1 zone
        gateway 10.13.13.1: 0 machine, 0 zone
        machine balthazar takes [], no reserve in [etcd]
        machine casper takes [], no reserve in [etcd]
        machine melchior takes [], no reserve in [etcd]
        machine router takes [gateway 10.13.13.1], no reserve in []
        zone a takes [], no reserve in [etcd]
        zone b takes [], no reserve in [etcd]
        zone c takes [], no reserve in [etcd]
    "#]]
    .assert_eq(&lines(&Topology::new(&fixtures::three_member_etcd(), None)));
}

#[test]
fn the_router_takes_the_virtual_address_and_nothing_else() {
    expect![[r#"
        etcd: 1 machine
        Kubernetes API: 1 machine
        API at 10.13.100.1: 0 machine
        pods: 3 machine
        machine cp1 takes [], no reserve in [etcd, Kubernetes API, API at 10.13.100.1]
        machine cp2 takes [], no reserve in [etcd, Kubernetes API, API at 10.13.100.1]
        machine cp3 takes [], no reserve in [etcd, Kubernetes API, API at 10.13.100.1]
        machine router takes [API at 10.13.100.1], no reserve in []
    "#]]
    .assert_eq(&lines(&Topology::new(&fixtures::ha_kubernetes(), None)));
}

#[test]
fn a_zone_with_two_of_three_members_takes_the_quorum() {
    expect![[r#"
        etcd: 1 machine, 0 zone
        ingress: 0 machine, 0 zone
        app jobs: 0 machine, 0 zone
        app web: 1 machine, 1 zone
        machine a1 takes [ingress], no reserve in [etcd]
        machine a2 takes [], no reserve in [etcd, app web]
        machine b1 takes [app jobs], no reserve in [etcd, app web]
        zone a takes [etcd, ingress], no reserve in [app web]
        zone b takes [app jobs], no reserve in [etcd, app web]
    "#]]
    .assert_eq(&lines(&Topology::new(&mesh(), None)));
}

#[test]
fn a_label_of_ones_own_divides_too() {
    let mut cluster = mesh();
    for (node, room) in cluster.nodes.values_mut().zip(["cellar", "attic", "attic"]) {
        node.labels.insert("room".to_owned(), room.to_owned());
    }
    let topology = Topology::new(&cluster, Some("room"));
    let kinds: Vec<&str> = topology.divisions.iter().map(|division| division.kind.as_str()).collect();
    assert_eq!(kinds, ["machine", "room", "zone"]);
    assert!(
        topology.failures.iter().any(|failure| failure.domain == "attic" && failure.lost.contains(&"etcd".to_owned()))
    );
}

#[test]
fn a_disabled_machine_is_in_no_service() {
    let mut cluster = mesh();
    cluster.nodes.values_mut().next().unwrap().enable = false;
    let topology = Topology::new(&cluster, None);
    assert_eq!(topology.machines.len(), 2);
    assert!(topology.services.iter().all(|service| service.service.kind != Kind::Ingress));
    let etcd = topology.services.iter().find(|service| service.service.kind == Kind::Etcd).unwrap();
    assert_eq!(etcd.tolerates[0], 0, "two members tolerate nothing");
}

/// Returns how many domains may fail, by trying all sets of them.
fn tried(service: &Service, groups: &[BTreeSet<NodeName>]) -> usize {
    let survives_any = |count: usize| {
        (0_u32..1 << groups.len()).filter(|set| set.count_ones() as usize == count).all(|set| {
            let chosen = groups.iter().enumerate().filter(|(index, _)| set >> index & 1 == 1);
            let failed: BTreeSet<NodeName> = chosen.flat_map(|(_, group)| group.iter().cloned()).collect();
            !service.is_lost(&failed)
        })
    };
    (0..=groups.len()).take_while(|&count| survives_any(count)).last().unwrap_or(0)
}

proptest! {
    #[test]
    fn the_tolerance_is_what_trying_every_set_of_domains_finds(
        zones in proptest::collection::vec(0_usize..4, 1..8),
        needs in proptest::collection::vec((1_usize..6, 1_u8..=255), 1..3),
    ) {
        let name = |index: usize| NodeName::parse(&format!("m{index}")).unwrap();
        let domains = (0..zones.len()).filter(|&index| zones[index] < 3);
        let mut division = Division { kind: "zone".to_owned(), domains: Default::default() };
        domains.for_each(|index| {
            division.domains.entry(format!("z{}", zones[index])).or_default().insert(name(index));
        });
        let need = |(least, mask): (usize, u8)| {
            let of: BTreeSet<NodeName> = (0..zones.len()).filter(|index| mask >> index & 1 == 1).map(name).collect();
            Need { what: "machines", least: least.min(of.len()), of }
        };
        let service = Service { kind: Kind::App, name: "app".to_owned(), needs: needs.into_iter().map(need).collect() };
        let all: BTreeSet<NodeName> = (0..zones.len()).map(name).collect();
        let groups: Vec<BTreeSet<NodeName>> = division.groups(&all).collect();
        // A need of no machine holds without any; more domains than its own cannot matter.
        prop_assume!(service.needs.iter().all(|need| need.least > 0));
        prop_assert_eq!(tolerance(&service, &division), tried(&service, &groups));
    }
}
