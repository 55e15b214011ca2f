//! Facts of k3s nodes. Settings that must agree on all servers are derived from the cluster, never from the node.

use machinist_model::{Cluster, Node, OverlayBackend, RecordedState, Role, defaults};

use super::kubernetes::{endpoint, texts};
use crate::nix::{Attributes, Value, set};

/// Returns `machinist.k3s` of the node.
pub(super) fn facts(cluster: &Cluster, state: &RecordedState, node: &Node) -> Attributes {
    let is_server = node.roles.contains(&Role::ControlPlane);
    let servers = cluster.voters().map(|node| (node.name.to_string(), node.ip.to_string().into()));
    let overlay = cluster.network.overlay.as_ref().map(|overlay| overlay.backend);
    let mut facts = set([
        ("clusterDomain", defaults::CLUSTER_DOMAIN.into()),
        ("enable", true.into()),
        ("overlay", backend(overlay).into()),
        ("pods", texts(&cluster.network.pods)),
        ("role", if is_server { "server" } else { "agent" }.into()),
        ("servers", Value::Set(servers.collect())),
        ("services", texts(&cluster.network.services)),
    ]);
    if let Some(dns) = cluster.network.dns {
        facts.insert("dns".to_owned(), dns.to_string().into());
    }
    if let Some(text) = endpoint(cluster, node) {
        facts.insert("endpoint".to_owned(), text.into());
    }
    let taints = node.kubernetes_taints();
    if !taints.is_empty() {
        facts.insert("taints".to_owned(), taints.into_iter().collect());
    }
    if is_server {
        facts.insert("founded".to_owned(), state.etcd.bootstrapped.into());
        if let Some(acme) = &cluster.objects.acme {
            let issuers = set([
                ("email", acme.email.as_str().into()),
                ("enable", true.into()),
                ("ingressClass", acme.ingress_class.as_str().into()),
            ]);
            facts.insert("certManager".to_owned(), issuers.into());
        }
        if let Some(founder) = cluster.k3s_founder() {
            facts.insert("founder".to_owned(), founder.name.as_str().into());
        }
    }
    facts
}

/// WireGuard by default: k3s' own default sends traffic unencrypted.
const fn backend(backend: Option<OverlayBackend>) -> &'static str {
    match backend {
        None | Some(OverlayBackend::Wireguard) => "wireguard",
        Some(OverlayBackend::Vxlan) => "vxlan",
        Some(OverlayBackend::HostGw) => "host-gw",
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use expect_test::{Expect, expect};
    use machinist_model::{Cluster, NodeName, RecordedState, fixtures};

    use super::facts;
    use crate::nix;

    #[track_caller]
    fn check(cluster: &Cluster, state: &RecordedState, node: &str, expect: Expect) {
        let node = &cluster.nodes[&NodeName::parse(node).unwrap()];
        expect.assert_eq(&nix::file("", &facts(cluster, state, node).into()).unwrap());
    }

    fn founded() -> RecordedState {
        let mut state = RecordedState::default();
        state.etcd.bootstrapped = true;
        state
    }

    #[test]
    fn a_server_knows_the_servers_and_the_bootstrap_node() {
        check(
            &fixtures::ha_k3s(),
            &RecordedState::default(),
            "s1",
            expect![[r#"
            {
              clusterDomain = "cluster.local";
              dns = "10.96.0.10";
              enable = true;
              endpoint = {
                address = "10.13.13.10";
                name = "kubernetes";
                port = 6443;
                vip.mode = "arp";
              };
              founded = false;
              founder = "s2";
              overlay = "wireguard";
              pods = [ "10.42.0.0/16" ];
              role = "server";
              servers = {
                s1 = "10.13.13.2";
                s2 = "10.13.13.3";
                s3 = "10.13.13.4";
              };
              services = [ "10.96.0.0/16" ];
            }
        "#]],
        );
    }

    #[test]
    fn an_agent_knows_nothing_of_the_bootstrap() {
        check(
            &fixtures::ha_k3s(),
            &founded(),
            "a1",
            expect![[r#"
            {
              clusterDomain = "cluster.local";
              dns = "10.96.0.10";
              enable = true;
              endpoint = {
                address = "10.13.13.10";
                name = "kubernetes";
                port = 6443;
              };
              overlay = "wireguard";
              pods = [ "10.42.0.0/16" ];
              role = "agent";
              servers = {
                s1 = "10.13.13.2";
                s2 = "10.13.13.3";
                s3 = "10.13.13.4";
              };
              services = [ "10.96.0.0/16" ];
            }
        "#]],
        );
    }

    #[test]
    fn recorded_state_outlives_the_bootstrap() {
        let cluster = fixtures::single_k3s();
        let solo = &cluster.nodes["solo"];
        assert_eq!(facts(&cluster, &RecordedState::default(), solo)["founded"], false.into());
        assert_eq!(facts(&cluster, &founded(), solo)["founded"], true.into());
    }
}
