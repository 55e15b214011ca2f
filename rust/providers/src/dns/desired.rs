//! What a cluster publishes: names and their addresses.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use machinist_model::{
    Cluster, Dns, NodeName, RecordedState, Role, SelectError, Selection,
    dns::{is_public, public_addresses},
};
use serde::Serialize;

use super::zone::{Key, Kind, Set};

/// Records of a cluster in a zone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Desired {
    /// The cluster's name.
    pub cluster: String,
    /// The zone, without a final dot.
    pub zone: String,
    /// Seconds.
    pub ttl: u32,
    /// Addresses by name and type.
    pub sets: BTreeMap<Key, BTreeSet<String>>,
    /// Names that have no address, and why.
    pub notes: Vec<Note>,
}

/// A name without an address.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Note {
    /// Relative to the zone.
    pub name: String,
    /// The reason.
    pub reason: String,
}

impl Desired {
    /// Returns the records of a cluster that publishes nothing.
    #[must_use]
    pub fn none(cluster: &Cluster, dns: &Dns) -> Self {
        let (cluster, zone) = (cluster.name.clone(), dns.zone.clone());
        Self { cluster, zone, ttl: dns.ttl, sets: BTreeMap::new(), notes: Vec::new() }
    }

    /// Returns the sets of records, sorted by name and type.
    pub fn sets(&self) -> impl Iterator<Item = Set> {
        self.sets.iter().map(|(key, values)| Set { key: key.clone(), ttl: self.ttl, values: values.clone() })
    }

    fn publish(&mut self, name: &str, addresses: impl IntoIterator<Item = IpAddr>) -> bool {
        let mut any = false;
        for address in addresses {
            any = true;
            let kind = if address.is_ipv4() { Kind::A } else { Kind::Aaaa };
            let key = Key { name: name.to_owned(), kind };
            self.sets.entry(key).or_default().insert(address.to_string());
        }
        any
    }

    fn note(&mut self, name: &str, reason: impl Into<String>) {
        self.notes.push(Note { name: name.to_owned(), reason: reason.into() });
    }
}

/// Returns the records of the cluster.
///
/// # Errors
/// A target of `dns.records` matches no node.
pub fn desired(cluster: &Cluster, dns: &Dns, state: &RecordedState) -> Result<Desired, SelectError> {
    let mut desired = Desired::none(cluster, dns);
    let of = |name: &NodeName| {
        let recorded = state.servers.get(name).map(|server| server.address);
        cluster.nodes.get(name).map(|node| public_addresses(node, recorded)).unwrap_or_default()
    };
    if dns.nodes {
        for node in cluster.deployable() {
            let name = dns.node_name(cluster, &node.name);
            if !desired.publish(&name, of(&node.name)) {
                desired.note(&name, format!("no public address of {} is known", node.name));
            }
        }
    }
    let ingress: Vec<IpAddr> = cluster.with_role(Role::Ingress).flat_map(|node| of(&node.name)).collect();
    for name in &dns.ingress {
        if !desired.publish(name, ingress.iter().copied()) {
            desired.note(name, "no public address of an ingress node is known");
        }
    }
    for (name, targets) in &dns.records {
        let mut any = false;
        for target in targets {
            any |= match target.parse::<IpAddr>() {
                Ok(address) => desired.publish(name, [address]),
                Err(_) => {
                    let nodes = Selection::resolve(cluster, std::slice::from_ref(target))?;
                    desired.publish(name, nodes.iter().flat_map(of))
                }
            };
        }
        if !any {
            desired.note(name, "no public address of its machines is known");
        }
    }
    endpoint(cluster, dns, &mut desired);
    Ok(desired)
}

/// The API endpoint has a record if its name is in the zone, nothing else has the name, and its address is public.
fn endpoint(cluster: &Cluster, dns: &Dns, desired: &mut Desired) {
    let (Some(endpoint), Some(name)) = (&cluster.kube_master, dns.endpoint_name(cluster)) else { return };
    if desired.sets.keys().any(|key| key.name == name) {
        return;
    }
    if is_public(endpoint.ip) {
        desired.publish(&name, [endpoint.ip]);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use expect_test::{Expect, expect};
    use machinist_model::{Cluster, DnsProvider, RecordedState, fixtures};
    use serde_json::json;

    use super::desired;
    use crate::dns::zone::full;

    fn cluster(change: impl FnOnce(&mut serde_json::Value)) -> Cluster {
        let mut json = json!({
            "cluster": { "name": "magi", "domain": "magi.example.com", "orchestrator": "kubernetes" },
            "network": { "nodes": "10.0.0.0/24" },
            "kubeMaster": { "ip": "203.0.113.1", "name": "api", "mode": "external" },
            "dns": { "provider": "hetzner", "zone": "example.com", "ingress": ["@", "*.apps"],
                "records": { "git": ["w1", "2001:db8::9"] } },
            "machines": {
                "router": { "ip": "10.0.0.1", "nixos": false },
                "cp1": { "ip": "10.0.0.2", "roles": ["etcd", "control-plane"], "provider": "hetzner",
                    "hetzner": { "serverType": "cx23", "location": "nbg1" } },
                "w1": { "ip": "10.0.0.5", "roles": ["worker", "ingress"], "public": ["203.0.113.7", "2001:db8::7"] },
                "w2": { "ip": "10.0.0.6", "roles": ["worker", "ingress"], "ssh": { "host": "203.0.113.8" } },
                "off": { "ip": "10.0.0.7", "enable": false, "public": ["203.0.113.10"] },
            },
        });
        change(&mut json);
        fixtures::cluster(&json)
    }

    #[track_caller]
    fn check(cluster: &Cluster, state: &RecordedState, expect: &Expect) {
        let dns = cluster.dns.as_ref().unwrap();
        let found = desired(cluster, dns, state).unwrap();
        let sets = found.sets().map(|set| {
            let values: Vec<String> = set.values.into_iter().collect();
            format!("{} {} {}\n", full(&set.key.name, &found.zone), set.key.kind, values.join(" "))
        });
        let notes = found.notes.iter().map(|note| format!("note {}: {}\n", note.name, note.reason));
        expect.assert_eq(&sets.chain(notes).collect::<String>());
    }

    #[test]
    fn nodes_the_ingress_and_the_api_have_their_names() {
        let cluster = cluster(|_| {});
        assert_eq!(cluster.dns.as_ref().unwrap().provider, Some(DnsProvider::Hetzner));
        let state = json!({ "version": 1, "servers": { "cp1": { "id": "7", "address": "198.51.100.3" } } });
        let state = RecordedState::parse(&state.to_string()).unwrap();
        check(
            &cluster,
            &state,
            &expect![[r#"
            *.apps.example.com A 203.0.113.7 203.0.113.8
            *.apps.example.com AAAA 2001:db8::7
            example.com A 203.0.113.7 203.0.113.8
            example.com AAAA 2001:db8::7
            api.magi.example.com A 203.0.113.1
            cp1.magi.example.com A 198.51.100.3
            git.example.com A 203.0.113.7
            git.example.com AAAA 2001:db8::7 2001:db8::9
            w1.magi.example.com A 203.0.113.7
            w1.magi.example.com AAAA 2001:db8::7
            w2.magi.example.com A 203.0.113.8
        "#]],
        );
    }

    #[test]
    fn what_has_no_public_address_has_no_record_and_a_note() {
        let cluster = cluster(|json| {
            json["machines"]["w1"]["public"] = json!([]);
            json["machines"]["w2"]["ssh"] = json!({});
            json["dns"]["records"] = json!({ "git": ["w1"] });
            json["kubeMaster"]["ip"] = json!("10.13.100.1");
        });
        check(
            &cluster,
            &RecordedState::default(),
            &expect![[r#"
            note cp1.magi: no public address of cp1 is known
            note w1.magi: no public address of w1 is known
            note w2.magi: no public address of w2 is known
            note @: no public address of an ingress node is known
            note *.apps: no public address of an ingress node is known
            note git: no public address of its machines is known
        "#]],
        );
    }

    #[test]
    fn a_domain_outside_of_the_zone_leaves_the_nodes_directly_in_the_zone() {
        let cluster = cluster(|json| {
            json["cluster"]["domain"] = json!("magi.internal");
            json["dns"]["ingress"] = json!([]);
            json["dns"]["records"] = json!({});
        });
        check(
            &cluster,
            &RecordedState::default(),
            &expect![[r#"
            w1.example.com A 203.0.113.7
            w1.example.com AAAA 2001:db8::7
            w2.example.com A 203.0.113.8
            note cp1: no public address of cp1 is known
        "#]],
        );
    }
}
