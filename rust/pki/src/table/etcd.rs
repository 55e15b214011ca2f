//! The rows of etcd.
//!
//! etcd admits every client that its authority signed (`--client-cert-auth` looks at the authority, not at names), so the
//! rows are as few as can be. Sources: etcd, "Transport security model"; Kubernetes, "PKI certificates and requirements".

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

/// Serves clients. It is a client certificate too: etcd's own gRPC gateway dials itself with it.
fn server(cluster: &Cluster, node: &Node) -> CertificateSpec {
    CertificateSpec {
        common_name: "kube-etcd".to_owned(),
        sans: addresses(cluster, node),
        extended_usages: [ExtendedUsage::Server, ExtendedUsage::Client].into(),
        consumer: "services.etcd.certFile, keyFile".to_owned(),
        ..leaf("etcd-server", Holder::Node(node.name.clone()))
    }
}

/// Serves and dials the other members, which know it by its CN (`--peer-cert-allowed-cn`, modules/etcd.nix). The address is the one that `initialAdvertisePeerUrls` names.
fn peer(cluster: &Cluster, node: &Node) -> CertificateSpec {
    CertificateSpec {
        common_name: "kube-etcd-peer".to_owned(),
        sans: addresses(cluster, node),
        extended_usages: [ExtendedUsage::Server, ExtendedUsage::Client].into(),
        consumer: "services.etcd.peerCertFile, peerKeyFile".to_owned(),
        ..leaf("etcd-peer", Holder::Node(node.name.clone()))
    }
}

/// Asks the member for its health, and takes snapshots, on the node itself.
fn health_check(node: &Node) -> CertificateSpec {
    CertificateSpec {
        common_name: "kube-etcd-healthcheck-client".to_owned(),
        consumer: "etcdctl on the node".to_owned(),
        ..leaf("etcd-healthcheck-client", Holder::Node(node.name.clone()))
    }
}

/// Lets the operators' own computer speak to etcd.
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

/// Everything that a member is called by the others and by itself.
fn addresses(cluster: &Cluster, node: &Node) -> BTreeSet<San> {
    super::names_of(cluster, node).into_iter().chain(super::loopback()).collect()
}
