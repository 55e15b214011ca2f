//! Row of BGP: the password shared by Router and control planes, if machines.nix enables it.

use machinist_model::{Cluster, Vip};

use crate::{Files, KeyPairSpec, KeyUse, Table};

/// The password's name in the table, in `certs/` and in facts.
pub const BGP_PASSWORD: &str = "bgp-password";

pub(super) fn add(cluster: &Cluster, table: &mut Table) {
    let Some(Vip::Bgp { password: true, .. }) = cluster.kube_master.as_ref().map(|endpoint| &endpoint.vip) else {
        return;
    };
    if cluster.bgp_speakers().next().is_none() {
        return;
    }
    let (speakers, router) = (cluster.bgp_speakers(), cluster.deployable().filter(|node| cluster.is_router(node)));
    table.key_pairs.push(KeyPairSpec {
        name: BGP_PASSWORD.to_owned(),
        holders: speakers.chain(router).map(|node| node.name.clone()).collect(),
        files: Files::key_pair(BGP_PASSWORD),
        consumer: "machinist-bgp-password.service for kube-vip, bird.service of the Router".to_owned(),
        used_as: KeyUse::Password,
    });
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use machinist_model::{Cluster, Vip, fixtures};

    use super::BGP_PASSWORD;
    use crate::table;

    fn holders(cluster: &Cluster) -> Vec<String> {
        let table = table(cluster);
        let row = table.key_pairs.iter().find(|spec| spec.name == BGP_PASSWORD);
        row.into_iter().flat_map(|spec| &spec.holders).map(ToString::to_string).collect()
    }

    #[test]
    fn only_those_who_speak_bgp_get_the_password_and_only_if_there_is_one() {
        let mut cluster = fixtures::ha_kubernetes();
        assert_eq!(holders(&cluster), [""; 0]);
        if let Vip::Bgp { password, .. } = &mut cluster.kube_master.as_mut().unwrap().vip {
            *password = true;
        }
        assert_eq!(holders(&cluster), ["cp1", "cp2", "cp3"]);
        cluster.nodes.get_mut("router").unwrap().nixos = true;
        assert_eq!(holders(&cluster), ["cp1", "cp2", "cp3", "router"], "a deployed Router gets it too");
        assert!(table(&cluster).is_token(BGP_PASSWORD), "nodes get the password, not the key that it follows from");
        cluster.orchestrator = None;
        assert_eq!(holders(&cluster), [""; 0]);
    }
}
