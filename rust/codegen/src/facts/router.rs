//! Facts of a Router that machinist deploys.

use machinist_model::{Cluster, Node, Vip};

use super::kubernetes::texts;
use crate::{
    nix::{Attributes, Value, set},
    router::prefix,
};

/// Returns `machinist.router` of the node, if it is the Router.
pub(super) fn facts(cluster: &Cluster, node: &Node) -> Option<Attributes> {
    let endpoint = cluster.kube_master.as_ref().filter(|_| cluster.is_router(node))?;
    let Vip::Bgp { node_as, router_as, password, .. } = &endpoint.vip else { return None };
    let neighbors = cluster.bgp_speakers().map(|node| (node.name.to_string(), node.ip.to_string().into()));
    let mut facts = set([
        ("apiPort", endpoint.port.into()),
        ("as", Value::Int((*router_as).into())),
        ("enable", true.into()),
        ("neighbors", Value::Set(neighbors.collect())),
        ("nodeAs", Value::Int((*node_as).into())),
        ("prefix", prefix(endpoint.ip).into()),
    ]);
    if let Some(balancer) = &cluster.objects.load_balancer {
        facts.insert("servicePrefixes".to_owned(), texts(&balancer.networks()));
    }
    if *password {
        facts.insert("password".to_owned(), true.into());
    }
    Some(facts)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use expect_test::expect;
    use machinist_model::{LoadBalancer, fixtures};

    use super::facts;
    use crate::nix;

    #[test]
    fn a_managed_router_knows_the_nodes_that_may_announce_the_address() {
        let mut cluster = fixtures::ha_kubernetes();
        assert_eq!(facts(&cluster, &cluster.nodes["router"]), None, "an external one has no facts");
        cluster.nodes.get_mut("router").unwrap().nixos = true;
        assert_eq!(facts(&cluster, &cluster.nodes["cp1"]), None);
        let facts = facts(&cluster, &cluster.nodes["router"]).unwrap();
        expect![[r#"
            {
              apiPort = 6443;
              as = 64513;
              enable = true;
              neighbors = {
                cp1 = "10.13.13.2";
                cp2 = "10.13.13.3";
                cp3 = "10.13.13.4";
              };
              nodeAs = 64512;
              prefix = "10.13.100.1/32";
            }
        "#]]
        .assert_eq(&nix::file("", &facts.into()).unwrap());
    }

    #[test]
    fn a_managed_router_accepts_addresses_of_services() {
        let mut cluster = fixtures::ha_kubernetes();
        cluster.nodes.get_mut("router").unwrap().nixos = true;
        let pool = vec!["10.13.101.6-10.13.101.8".parse().unwrap()];
        cluster.objects.load_balancer = Some(LoadBalancer { pool, image: "kube-vip-cloud-provider:1".to_owned() });
        let facts = facts(&cluster, &cluster.nodes["router"]).unwrap();
        let prefixes = ["10.13.101.6/31", "10.13.101.8/32"].map(ToOwned::to_owned);
        assert_eq!(facts["servicePrefixes"], prefixes.into_iter().collect());
    }
}
