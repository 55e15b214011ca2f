//! Rows of a control mesh: a key pair for each node.

use machinist_model::{Cluster, ControlBackend};

use crate::{Files, KeyPairSpec, KeyUse, Table, control::pair_name};

pub(super) fn add(cluster: &Cluster, table: &mut Table) {
    let Some(control) = cluster.network.control else { return };
    let (used_as, consumer) = match control.backend {
        ControlBackend::Tinc => (KeyUse::Tinc, "services.tinc.networks.control"),
        ControlBackend::Wireguard => (KeyUse::Wireguard, "machinist-control.service"),
    };
    table.key_pairs.extend(cluster.control_nodes().map(|node| {
        let name = pair_name(control.backend, &node.name);
        KeyPairSpec {
            holders: [node.name.clone()].into(),
            files: Files::key_pair(&name),
            consumer: consumer.to_owned(),
            name,
            used_as,
        }
    }));
}
