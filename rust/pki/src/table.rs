//! Table of the certificates that a cluster needs. One file per consumer, which only adds rows.

mod bgp;
mod control;
mod etcd;
mod k3s;
mod kubernetes;
#[cfg(test)]
mod kubernetes_tests;
mod mesh;
#[cfg(test)]
mod tests;

use std::{collections::BTreeSet, net::IpAddr};

use machinist_model::{Cluster, Node};

pub use self::bgp::BGP_PASSWORD;
pub(crate) use self::kubernetes::SERVICE_ACCOUNT;
use crate::{Authority, CertificateSpec, ExtendedUsage, Files, Holder, KeyUsage, Owner, San, Table};

/// Returns the certificates that the cluster needs, sorted by name.
///
/// Only machines that are enabled and deployed by machinist count: a disabled machine has no row.
#[must_use]
pub fn table(cluster: &Cluster) -> Table {
    let mut table = Table::default();
    etcd::add(cluster, &mut table);
    kubernetes::add(cluster, &mut table);
    k3s::add(cluster, &mut table);
    mesh::add(cluster, &mut table);
    bgp::add(cluster, &mut table);
    control::add(cluster, &mut table);
    table.authorities.sort_by(|left, right| left.name.cmp(&right.name));
    table.certificates.sort_by(|left, right| left.name.cmp(&right.name));
    table.key_pairs.sort_by(|left, right| left.name.cmp(&right.name));
    table
}

/// Returns a client certificate without SANs, as the base of a row.
pub(crate) fn leaf(authority: Authority, leaf: &str, holder: Holder) -> CertificateSpec {
    // Keys are owned by root on the node: the service gets them by systemd's LoadCredential.
    let root = || Owner { user: "root".to_owned(), group: "root".to_owned() };
    let (name, owner) = match &holder {
        Holder::Node(node) => (format!("{leaf}-{node}"), Some(root())),
        Holder::Operators => (leaf.to_owned(), None),
    };
    CertificateSpec {
        name,
        leaf: leaf.to_owned(),
        authority,
        files: Files::leaf(&holder, leaf),
        holder,
        common_name: String::new(),
        organization: None,
        sans: BTreeSet::new(),
        extended_usages: [ExtendedUsage::Client].into(),
        usages: [KeyUsage::DigitalSignature].into(),
        owner,
        consumer: String::new(),
    }
}

/// Returns the names under which other nodes reach the node.
fn names_of(cluster: &Cluster, node: &Node) -> BTreeSet<San> {
    let names = [node.name.to_string(), cluster.fqdn(&node.name)].map(San::Dns);
    names.into_iter().chain(node.addresses().chain(node.ip6).map(San::Ip)).collect()
}

/// Returns the names under which the node reaches itself.
fn loopback() -> BTreeSet<San> {
    let addresses = [IpAddr::from([127, 0, 0, 1]), IpAddr::from([0, 0, 0, 0, 0, 0, 0, 1])];
    [San::Dns("localhost".to_owned())].into_iter().chain(addresses.map(San::Ip)).collect()
}
