#![allow(clippy::unwrap_used, clippy::panic)]

use std::fmt::Write as _;

use expect_test::{Expect, expect};
use machinist_model::{Cluster, NodeName, fixtures};

use super::table;
use crate::spec::join;

#[track_caller]
fn check(cluster: &Cluster, expect: Expect) {
    let table = table(cluster);
    let mut text = String::new();
    for spec in &table.authorities {
        writeln!(text, "{} CN={} {}", spec.name, spec.common_name, spec.files.certificate.display()).unwrap();
    }
    for spec in &table.certificates {
        let owner =
            spec.owner.as_ref().map_or("operators".to_owned(), |owner| format!("{}:{}", owner.user, owner.group));
        let (sans, usages) = (join(&spec.sans), join(&spec.extended_usages));
        writeln!(text, "{} by {} CN={} {usages} {owner}", spec.name, spec.authority, spec.common_name).unwrap();
        writeln!(text, "  {} -> {}", spec.files.certificate.display(), spec.consumer).unwrap();
        if !sans.is_empty() {
            writeln!(text, "  {sans}").unwrap();
        }
    }
    expect.assert_eq(&text);
}

/// Returns the fixture with only the named nodes.
fn only(names: &[&str]) -> Cluster {
    let mut cluster = fixtures::three_member_etcd();
    cluster.nodes.retain(|name, _| names.contains(&name.as_str()));
    cluster
}

#[test]
fn a_member_has_a_server_a_peer_and_a_health_check_certificate() {
    check(
        &only(&["balthazar", "router"]),
        expect![[r#"
        etcd-ca CN=etcd-ca authorities/etcd.pem
        etcd-healthcheck-client-balthazar by etcd CN=kube-etcd-healthcheck-client clientAuth root:root
          nodes/balthazar/etcd-healthcheck-client.pem -> etcdctl on the node
        etcd-operator by etcd CN=etcd-operator clientAuth operators
          operators/etcd-operator.pem -> machinist and etcdctl of the operators
        etcd-peer-balthazar by etcd CN=kube-etcd-peer serverAuth, clientAuth root:root
          nodes/balthazar/etcd-peer.pem -> services.etcd.peerCertFile, peerKeyFile
          balthazar, balthazar.magi.internal, localhost, 10.13.13.2, 127.0.0.1, ::1
        etcd-server-balthazar by etcd CN=kube-etcd serverAuth, clientAuth root:root
          nodes/balthazar/etcd-server.pem -> services.etcd.certFile, keyFile
          balthazar, balthazar.magi.internal, localhost, 10.13.13.2, 127.0.0.1, ::1
    "#]],
    );
}

#[test]
fn both_addresses_of_a_dual_stack_member_are_sans() {
    let mut cluster = only(&["casper"]);
    let node = cluster.nodes.values_mut().next().unwrap();
    node.ip6 = Some("fd00::4".parse().unwrap());
    let peer = table(&cluster).certificates.into_iter().find(|spec| spec.leaf == "etcd-peer").unwrap();
    expect!["casper, casper.magi.internal, localhost, 10.13.13.4, 127.0.0.1, ::1, fd00::4"]
        .assert_eq(&join(&peer.sans));
}

#[test]
fn a_disabled_member_has_no_certificate() {
    let mut cluster = only(&["balthazar", "casper"]);
    cluster.nodes.get_mut(&NodeName::parse("casper").unwrap()).unwrap().enable = false;
    assert_eq!(table(&cluster), table(&only(&["balthazar"])));
}

#[test]
fn a_member_that_machinist_does_not_deploy_has_no_certificate() {
    let mut cluster = only(&["balthazar", "casper"]);
    cluster.nodes.get_mut(&NodeName::parse("casper").unwrap()).unwrap().nixos = false;
    assert_eq!(table(&cluster), table(&only(&["balthazar"])));
}

#[test]
fn without_a_member_there_is_no_authority() {
    check(&only(&["router"]), expect![""]);
}

#[test]
fn names_are_unique_and_sorted() {
    let table = table(&fixtures::three_member_etcd());
    let names: Vec<_> = table.certificates.iter().map(|spec| spec.name.as_str()).collect();
    let mut sorted = names.clone();
    sorted.sort_unstable();
    sorted.dedup();
    assert_eq!(names, sorted);
    assert_eq!(names.len(), 3 * 3 + 1);
}
