//! Facts of Kubernetes nodes.

use machinist_model::{Cluster, Node, OverlayBackend, Role, Vip, defaults};

use crate::nix::{Attributes, Value, set};

/// Returns `machinist.kubernetes` of the node.
pub(super) fn facts(cluster: &Cluster, node: &Node) -> Attributes {
    let network = &cluster.network;
    let planes = cluster.with_role(Role::ControlPlane).map(|node| (node.name.to_string(), node.ip.to_string().into()));
    let mut facts = set([
        ("clusterDomain", defaults::CLUSTER_DOMAIN.into()),
        ("controlPlane", node.roles.contains(&Role::ControlPlane).into()),
        ("controlPlanes", Value::Set(planes.collect())),
        ("enable", true.into()),
        ("overlay", backend(network.overlay.as_ref().map(|overlay| overlay.backend)).into()),
        ("pods", texts(&network.pods)),
        ("services", texts(&network.services)),
    ]);
    if let Some(versions) = defaults::kubernetes_of(&cluster.release) {
        facts.insert("versions".to_owned(), versions.iter().map(ToString::to_string).collect());
    }
    if let Some(dns) = network.dns {
        facts.insert("dns".to_owned(), dns.to_string().into());
    }
    let taints = node.kubernetes_taints();
    if !taints.is_empty() {
        facts.insert("taints".to_owned(), taints.into_iter().collect());
    }
    if node.roles.contains(&Role::ControlPlane) {
        let members = cluster.etcd_members().map(|node| node.ip.to_string());
        facts.insert("etcdMembers".to_owned(), members.collect());
    }
    if node.roles.contains(&Role::ControlPlane) && cluster.objects.load_balancer.is_some() {
        facts.insert("kubeVip".to_owned(), set([("services", true.into())]).into());
    }
    if let Some(text) = endpoint(cluster, node) {
        facts.insert("endpoint".to_owned(), text.into());
    }
    facts
}

/// The external endpoint of the API; control planes also get the settings that announce its address.
pub(super) fn endpoint(cluster: &Cluster, node: &Node) -> Option<Attributes> {
    let endpoint = cluster.kube_master.as_ref()?;
    let mut text = set([
        ("address", endpoint.ip.to_string().into()),
        ("name", endpoint.name.as_str().into()),
        ("port", endpoint.port.into()),
    ]);
    if node.roles.contains(&Role::ControlPlane)
        && let Some(vip) = vip(cluster, &endpoint.vip)
    {
        text.insert("vip".to_owned(), vip.into());
    }
    Some(text)
}

/// `None` if nodes do not announce the address.
fn vip(cluster: &Cluster, vip: &Vip) -> Option<Attributes> {
    match vip {
        Vip::External => None,
        Vip::Arp => Some(set([("mode", "arp".into())])),
        Vip::Bgp { gateway, node_as, router_as, password } => {
            let mut facts = set([
                ("mode", "bgp".into()),
                ("nodeAs", Value::Int((*node_as).into())),
                ("routerAs", Value::Int((*router_as).into())),
            ]);
            if *password {
                facts.insert("password".to_owned(), true.into());
            }
            if let Some(router) = cluster.nodes.get(gateway) {
                facts.insert("router".to_owned(), router.ip.to_string().into());
            }
            Some(facts)
        }
    }
}

const fn backend(backend: Option<OverlayBackend>) -> &'static str {
    match backend {
        None | Some(OverlayBackend::Vxlan) => "vxlan",
        Some(OverlayBackend::Wireguard) => "wireguard",
        Some(OverlayBackend::HostGw) => "host-gw",
    }
}

pub(super) fn texts<T: ToString>(items: &[T]) -> Value {
    items.iter().map(ToString::to_string).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use expect_test::{Expect, expect};
    use machinist_model::{Cluster, LoadBalancer, NodeName, Role, Vip, fixtures};

    use super::facts;
    use crate::nix;

    #[track_caller]
    fn check(cluster: &Cluster, node: &str, expect: Expect) {
        let node = &cluster.nodes[&NodeName::parse(node).unwrap()];
        expect.assert_eq(&nix::file("", &facts(cluster, node).into()).unwrap());
    }

    #[test]
    fn a_control_plane_behind_a_load_balancer_knows_the_address_and_announces_nothing() {
        let mut cluster = fixtures::ha_kubernetes();
        cluster.kube_master.as_mut().unwrap().vip = Vip::External;
        let endpoint = |node: &str| {
            let node = &cluster.nodes[&NodeName::parse(node).unwrap()];
            nix::file("", &super::endpoint(&cluster, node).unwrap().into()).unwrap()
        };
        expect![[r#"
            {
              address = "10.13.100.1";
              name = "kubernetes";
              port = 6443;
            }
        "#]]
        .assert_eq(&endpoint("cp1"));
        assert_eq!(endpoint("cp1"), endpoint("w1"));
    }

    #[test]
    fn a_control_plane_knows_etcd_and_the_router() {
        check(
            &fixtures::ha_kubernetes(),
            "cp1",
            expect![[r#"
                {
                  clusterDomain = "cluster.local";
                  controlPlane = true;
                  controlPlanes = {
                    cp1 = "10.13.13.2";
                    cp2 = "10.13.13.3";
                    cp3 = "10.13.13.4";
                  };
                  dns = "10.96.0.10";
                  enable = true;
                  endpoint = {
                    address = "10.13.100.1";
                    name = "kubernetes";
                    port = 6443;
                    vip = {
                      mode = "bgp";
                      nodeAs = 64512;
                      router = "10.13.13.1";
                      routerAs = 64513;
                    };
                  };
                  etcdMembers = [
                    "10.13.13.2"
                    "10.13.13.3"
                    "10.13.13.4"
                  ];
                  overlay = "vxlan";
                  pods = [ "10.42.0.0/16" ];
                  services = [ "10.96.0.0/16" ];
                  versions = [
                    "1.34"
                    "1.35"
                    "1.36"
                  ];
                }
            "#]],
        );
    }

    #[test]
    fn a_worker_knows_neither() {
        check(
            &fixtures::ha_kubernetes(),
            "w1",
            expect![[r#"
                {
                  clusterDomain = "cluster.local";
                  controlPlane = false;
                  controlPlanes = {
                    cp1 = "10.13.13.2";
                    cp2 = "10.13.13.3";
                    cp3 = "10.13.13.4";
                  };
                  dns = "10.96.0.10";
                  enable = true;
                  endpoint = {
                    address = "10.13.100.1";
                    name = "kubernetes";
                    port = 6443;
                  };
                  overlay = "vxlan";
                  pods = [ "10.42.0.0/16" ];
                  services = [ "10.96.0.0/16" ];
                  versions = [
                    "1.34"
                    "1.35"
                    "1.36"
                  ];
                }
            "#]],
        );
    }

    #[test]
    fn a_control_plane_that_runs_no_pods_is_tainted_once() {
        let mut cluster = fixtures::ha_kubernetes();
        let node = cluster.nodes.get_mut("cp1").unwrap();
        node.roles.remove(&Role::Worker);
        assert_eq!(node.kubernetes_taints(), ["node-role.kubernetes.io/control-plane=:NoSchedule"]);
        node.taints = vec!["node-role.kubernetes.io/control-plane=:NoSchedule".to_owned()];
        assert_eq!(node.kubernetes_taints().len(), 1);
        node.roles.insert(Role::Ingress);
        node.taints.clear();
        assert!(node.kubernetes_taints().is_empty());
    }

    #[test]
    fn control_planes_announce_addresses_of_services_if_there_is_a_pool() {
        let mut cluster = fixtures::ha_kubernetes();
        let kube_vip = |cluster: &Cluster, node: &str| facts(cluster, &cluster.nodes[node]).get("kubeVip").cloned();
        assert_eq!(kube_vip(&cluster, "cp1"), None);
        let pool = vec!["10.13.101.0/24".parse().unwrap()];
        cluster.objects.load_balancer = Some(LoadBalancer { pool, image: "kube-vip-cloud-provider:1".to_owned() });
        assert_eq!(kube_vip(&cluster, "cp1"), Some(nix::set([("services", true.into())]).into()));
        assert_eq!(kube_vip(&cluster, "w1"), None);
    }
}
