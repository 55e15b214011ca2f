//! Which certificates a cluster needs. One file a consumer; each adds rows and nothing else.

mod etcd;
#[cfg(test)]
mod tests;

use machinist_model::Cluster;

use crate::Table;

/// Returns the certificates that the cluster needs, sorted by name.
///
/// Only machines that are enabled and deployed by machinist count, by value: a disabled machine has no row.
#[must_use]
pub fn table(cluster: &Cluster) -> Table {
    let mut table = Table::default();
    etcd::add(cluster, &mut table);
    table.authorities.sort_by(|left, right| left.name.cmp(&right.name));
    table.certificates.sort_by(|left, right| left.name.cmp(&right.name));
    table
}
