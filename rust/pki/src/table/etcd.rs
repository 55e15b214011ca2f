//! Rows of etcd.
//!
//! etcd admits every client whose certificate its authority signed (`--client-cert-auth` checks the authority, not
//! names), so the number of rows is minimal. Sources: etcd, "Transport security model"; Kubernetes, "PKI certificates
//! and requirements".

use std::collections::BTreeSet;

use machinist_model::{Cluster, Node};

use crate::{Authority, AuthoritySpec, CertificateSpec, ExtendedUsage, Files, Holder, San, Table};

pub(super) fn add(cluster: &Cluster, table: &mut Table) {
    let mut members = cluster.etcd_members().peekable();
    if members.peek().is_none() {
        return;
    }
    table.authorities.push(authority());
    for node in members {
        table.certificates.extend([server(cluster, node), peer(cluster, node), health_check(node)]);
    }
    table.certificates.push(operator());
}

fn authority() -> AuthoritySpec {
    AuthoritySpec {
        name: "etcd-ca".to_owned(),
        authority: Authority::Etcd,
        common_name: "etcd-ca".to_owned(),
        files: Files::authority(Authority::Etcd),
        consumer: "services.etcd.trustedCaFile, peerTrustedCaFile".to_owned(),
    }
}

/// Server certificate for clients. Also a client certificate: etcd's own gRPC gateway connects to the server with it.
fn server(cluster: &Cluster, node: &Node) -> CertificateSpec {
    CertificateSpec {
        common_name: "kube-etcd".to_owned(),
        sans: addresses(cluster, node),
        extended_usages: [ExtendedUsage::Server, ExtendedUsage::Client].into(),
        consumer: "services.etcd.certFile, keyFile".to_owned(),
        ..leaf("etcd-server", Holder::Node(node.name.clone()))
    }
}

/// Peer certificate for both directions. Other members verify its CN (`--peer-cert-allowed-cn`, modules/etcd.nix). The
/// address is the one in `initialAdvertisePeerUrls`.
fn peer(cluster: &Cluster, node: &Node) -> CertificateSpec {
    CertificateSpec {
        common_name: "kube-etcd-peer".to_owned(),
        sans: addresses(cluster, node),
        extended_usages: [ExtendedUsage::Server, ExtendedUsage::Client].into(),
        consumer: "services.etcd.peerCertFile, peerKeyFile".to_owned(),
        ..leaf("etcd-peer", Holder::Node(node.name.clone()))
    }
}

/// Client certificate for health checks and snapshots on the node itself.
fn health_check(node: &Node) -> CertificateSpec {
    CertificateSpec {
        common_name: "kube-etcd-healthcheck-client".to_owned(),
        consumer: "etcdctl on the node".to_owned(),
        ..leaf("etcd-healthcheck-client", Holder::Node(node.name.clone()))
    }
}

/// Client certificate for the operators' own computers.
fn operator() -> CertificateSpec {
    CertificateSpec {
        common_name: "etcd-operator".to_owned(),
        consumer: "machinist and etcdctl of the operators".to_owned(),
        ..leaf("etcd-operator", Holder::Operators)
    }
}

fn leaf(leaf: &str, holder: Holder) -> CertificateSpec {
    super::leaf(Authority::Etcd, leaf, holder)
}

/// Returns all names and addresses under which other members and the member itself reach it.
fn addresses(cluster: &Cluster, node: &Node) -> BTreeSet<San> {
    super::names_of(cluster, node).into_iter().chain(super::loopback()).collect()
}
