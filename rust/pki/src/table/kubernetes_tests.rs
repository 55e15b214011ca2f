#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;

use expect_test::{Expect, expect};
use machinist_model::{Cluster, NodeName, fixtures};

use super::table;
use crate::{Authority, CertificateSpec, Holder, San, spec::join};

/// Checks a node's rows in short form: name, CN, O, usages and authority, with the SANs below.
#[track_caller]
fn check(cluster: &Cluster, node: &str, expect: Expect) {
    let table = table(cluster);
    let node = Holder::Node(NodeName::parse(node).unwrap());
    let line = |spec: &CertificateSpec| {
        let subject = spec.organization.iter().map(|name| format!("O={name}/")).collect::<String>();
        let sans = if spec.sans.is_empty() { String::new() } else { format!("\n  {}", join(&spec.sans)) };
        let (leaf, name, usages) = (&spec.leaf, &spec.common_name, join(&spec.extended_usages));
        format!("{leaf}: {subject}CN={name} {usages} by {}{sans}\n", spec.authority)
    };
    let rows = table.certificates.iter().filter(|spec| spec.holder == node && !spec.leaf.starts_with("etcd"));
    expect.assert_eq(&rows.map(line).collect::<String>());
}

fn row(cluster: &Cluster, name: &str) -> CertificateSpec {
    table(cluster).certificates.into_iter().find(|spec| spec.name == name).unwrap()
}

#[test]
fn a_control_plane_has_every_identity_of_its_components_and_no_other() {
    check(
        &fixtures::ha_kubernetes(),
        "cp1",
        expect![[r#"
        flannel-client: CN=flannel-client clientAuth by kubernetes
        front-proxy-client: CN=front-proxy-client clientAuth by front-proxy
        kube-apiserver: CN=kube-apiserver serverAuth by kubernetes
          cp1, cp1.magi.internal, kubernetes, kubernetes.default, kubernetes.default.svc, kubernetes.default.svc.cluster.local, kubernetes.magi.internal, localhost, 10.13.13.2, 10.13.100.1, 10.96.0.1, 127.0.0.1, ::1
        kube-apiserver-etcd-client: CN=kube-apiserver-etcd-client clientAuth by etcd
        kube-apiserver-kubelet-client: CN=kube-apiserver-kubelet-client clientAuth by kubernetes
        kube-controller-manager-client: CN=system:kube-controller-manager clientAuth by kubernetes
        kube-controller-manager: CN=kube-controller-manager serverAuth by kubernetes
          cp1, cp1.magi.internal, localhost, 10.13.13.2, 127.0.0.1, ::1
        kube-proxy-client: CN=system:kube-proxy clientAuth by kubernetes
        kube-scheduler-client: CN=system:kube-scheduler clientAuth by kubernetes
        kube-vip-client: CN=kube-vip clientAuth by kubernetes
        kubelet-client: O=system:nodes/CN=system:node:cp1 clientAuth by kubernetes
        kubelet: O=system:nodes/CN=system:node:cp1 serverAuth by kubernetes
          cp1, cp1.magi.internal, 10.13.13.2
    "#]],
    );
}

#[test]
fn behind_a_load_balancer_no_control_plane_has_an_identity_of_kube_vip() {
    let mut cluster = fixtures::ha_kubernetes();
    cluster.kube_master.as_mut().unwrap().vip = machinist_model::Vip::External;
    let rows = table(&cluster).certificates;
    assert!(rows.iter().all(|spec| spec.leaf != "kube-vip-client"));
    // The load balancer forwards TCP: clients verify its address with the API servers' certificates.
    let address = cluster.kube_master.as_ref().unwrap().ip.to_string();
    let api: Vec<_> = rows.iter().filter(|spec| spec.leaf == "kube-apiserver").collect();
    assert_eq!(api.len(), 3);
    assert!(api.iter().all(|spec| format!("{:?}", spec.sans).contains(&address)));
}

#[test]
fn a_worker_has_its_own_kubelet_and_the_clients_of_the_network() {
    check(
        &fixtures::ha_kubernetes(),
        "w1",
        expect![[r#"
        flannel-client: CN=flannel-client clientAuth by kubernetes
        kube-proxy-client: CN=system:kube-proxy clientAuth by kubernetes
        kubelet-client: O=system:nodes/CN=system:node:w1 clientAuth by kubernetes
        kubelet: O=system:nodes/CN=system:node:w1 serverAuth by kubernetes
          w1, w1.magi.internal, 10.13.13.5
    "#]],
    );
}

#[test]
fn there_are_three_authorities_and_two_keys_that_all_control_planes_share() {
    let table = table(&fixtures::ha_kubernetes());
    let authorities: Vec<_> = table.authorities.iter().map(|spec| (&*spec.name, &*spec.common_name)).collect();
    assert_eq!(
        authorities,
        [("etcd-ca", "etcd-ca"), ("front-proxy-ca", "kubernetes-front-proxy-ca"), ("kubernetes-ca", "kubernetes-ca"),]
    );
    let pairs: Vec<(&str, String)> = table.key_pairs.iter().map(|pair| (&*pair.name, join(&pair.holders))).collect();
    let planes = || "cp1, cp2, cp3".to_owned();
    assert_eq!(pairs, [("secrets-encryption", planes()), ("service-account", planes())]);
    assert!(!table.is_token("secrets-encryption"), "nodes get the configuration of API servers");
}

#[test]
fn kubernetes_signs_nothing_that_etcd_or_the_aggregation_layer_would_admit() {
    let by = |authority| {
        let rows = table(&fixtures::ha_kubernetes()).certificates.into_iter();
        rows.filter(|spec| spec.authority == authority).map(|spec| spec.leaf).collect::<BTreeSet<_>>()
    };
    expect!["etcd-healthcheck-client, etcd-operator, etcd-peer, etcd-server, kube-apiserver-etcd-client"]
        .assert_eq(&join(by(Authority::Etcd)));
    expect!["front-proxy-client"].assert_eq(&join(by(Authority::FrontProxy)));
}

#[test]
fn no_certificate_of_a_node_is_an_administrators() {
    for spec in table(&fixtures::ha_kubernetes()).certificates {
        assert_ne!(spec.organization.as_deref(), Some("system:masters"), "{}", spec.name);
    }
}

#[test]
fn the_first_service_address_is_computed_from_the_range() {
    let check = |ranges: &[&str], expect: &[&str]| {
        let mut cluster = fixtures::ha_kubernetes();
        cluster.network.services = ranges.iter().map(|range| range.parse().unwrap()).collect();
        let sans = row(&cluster, "kube-apiserver-cp1").sans;
        for address in expect {
            assert!(sans.contains(&San::Ip(address.parse().unwrap())), "{address} of {ranges:?}");
        }
    };
    check(&["10.96.0.0/16"], &["10.96.0.1"]);
    // Not the first three numbers and `.1`.
    check(&["10.33.7.64/26"], &["10.33.7.65"]);
    check(&["10.0.255.255/31"], &["10.0.255.255"]);
    check(&["10.96.0.0/16", "fd00:96::/112"], &["10.96.0.1", "fd00:96::1"]);
}

#[test]
fn the_api_servers_answer_to_the_virtual_address_and_its_name() {
    let mut cluster = fixtures::ha_kubernetes();
    let endpoint = cluster.kube_master.as_mut().unwrap();
    endpoint.ip = "10.13.100.7".parse().unwrap();
    endpoint.name = "kube.example.org".to_owned();
    let before = row(&fixtures::ha_kubernetes(), "kube-apiserver-cp2").sans;
    let sans = row(&cluster, "kube-apiserver-cp2").sans;
    let texts = |sans: BTreeSet<San>| sans.iter().map(ToString::to_string).collect::<BTreeSet<_>>();
    let (before, sans) = (texts(before), texts(sans));
    assert_eq!(join(&sans - &before), "10.13.100.7, kube.example.org");
    assert_eq!(join(&before - &sans), "10.13.100.1, kubernetes.magi.internal");
}

#[test]
fn a_disabled_control_plane_has_nothing() {
    let mut cluster = fixtures::ha_kubernetes();
    let name = NodeName::parse("cp3").unwrap();
    cluster.nodes.get_mut(&name).unwrap().enable = false;
    let table = table(&cluster);
    assert!(table.certificates.iter().all(|spec| spec.holder != Holder::Node(name.clone())));
    assert_eq!(join(&table.key_pairs[0].holders), "cp1, cp2");
}

#[test]
fn without_kubernetes_there_is_none_of_it() {
    for cluster in [fixtures::three_member_etcd(), fixtures::single_k3s()] {
        let table = table(&cluster);
        assert!(table.authorities.iter().all(|spec| spec.authority == Authority::Etcd));
        assert!(table.key_pairs.iter().all(|spec| !["secrets-encryption", "service-account"].contains(&&*spec.name)));
    }
}

#[test]
fn an_etcd_member_that_runs_no_pods_has_no_identity_in_kubernetes() {
    let mut cluster = fixtures::ha_kubernetes();
    cluster.nodes.get_mut("w1").unwrap().roles = [machinist_model::Role::Etcd].into();
    check(&cluster, "w1", expect![""]);
}
