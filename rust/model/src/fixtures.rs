//! Small named clusters for the tests of other crates, built by [`load`] like any other.
//!
//! Behind the feature `fixtures`. They panic if they do not load, so that the test fails at once.

#![allow(clippy::panic)]

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::{Cluster, Directory, load};

/// A valid SSH public key, also usable as an age recipient, whose private key was discarded.
pub const SSH_KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIL+Ei1DgdJ0PK2RG3FAKYtGL7OQjrssbvvgem59iU7ci ops";

/// Loads a cluster from the JSON of a machines.nix in the sectioned shape. Applications named in it are known.
#[must_use]
pub fn cluster(json: &Value) -> Cluster {
    let machines = json.get("machines").and_then(Value::as_object).into_iter().flat_map(|machines| machines.values());
    let apps = machines.filter_map(|machine| machine.get("apps")?.as_array()).flatten();
    let apps: BTreeSet<String> = apps.filter_map(|app| app.as_str().map(str::to_owned)).collect();
    match load(json, "", "machines.nix", &Directory { apps, ..Directory::default() }) {
        Ok(loaded) => loaded.cluster,
        Err(diagnostics) => panic!("the fixture does not load: {diagnostics:#?}"),
    }
}

/// Three etcd members `balthazar`, `casper` and `melchior` in 10.13.13.0/24, and a Router that machinist does not
/// deploy; no orchestrator.
#[must_use]
pub fn three_member_etcd() -> Cluster {
    cluster(&json!({
        "cluster": { "name": "magi", "operators": [{ "name": "ops", "ssh": SSH_KEY }] },
        "network": { "nodes": "10.13.13.0/24", "gateway": "10.13.13.1", "nameservers": ["10.13.13.1"] },
        "machines": {
            "router": { "ip": "10.13.13.1", "nixos": false },
            "balthazar": { "ip": "10.13.13.2", "roles": ["etcd"], "interface": "enp2s0", "labels": { "zone": "a" } },
            "melchior": { "ip": "10.13.13.3", "roles": ["etcd"], "interface": "enp2s0", "labels": { "zone": "b" } },
            "casper": { "ip": "10.13.13.4", "roles": ["etcd"], "interface": "enp2s0", "labels": { "zone": "c" } },
        },
    }))
}

/// Kubernetes with three control planes `cp1` to `cp3`, stacked etcd, a worker `w1`, and a VIP announced to `router` by
/// BGP.
#[must_use]
pub fn ha_kubernetes() -> Cluster {
    let control_plane = |ip: &str| json!({ "ip": ip, "roles": ["etcd", "control-plane", "worker"] });
    cluster(&json!({
        "cluster": { "name": "magi", "orchestrator": "kubernetes", "operators": [{ "name": "ops", "ssh": SSH_KEY }] },
        "network": { "nodes": "10.13.13.0/24" },
        "kubeMaster": { "ip": "10.13.100.1", "mode": "bgp", "gateway": "router", "as": 64512 },
        "machines": {
            "router": { "ip": "10.13.13.1", "nixos": false, "bgp": { "as": 64513 } },
            "cp1": control_plane("10.13.13.2"),
            "cp2": control_plane("10.13.13.3"),
            "cp3": control_plane("10.13.13.4"),
            "w1": { "ip": "10.13.13.5", "roles": ["worker"] },
        },
    }))
}

/// One k3s server, `solo`.
#[must_use]
pub fn single_k3s() -> Cluster {
    cluster(&json!({
        "cluster": { "name": "solo", "orchestrator": "k3s", "operators": [{ "name": "ops", "ssh": SSH_KEY }] },
        "network": { "nodes": "10.13.13.0/24" },
        "machines": { "solo": { "ip": "10.13.13.2", "roles": ["control-plane", "worker"], "clusterInit": true } },
    }))
}

/// Three k3s servers `s1` to `s3` behind a virtual IP, and an agent `a1`. `s2` forms the cluster.
#[must_use]
pub fn ha_k3s() -> Cluster {
    let server =
        |ip: &str, is_first: bool| json!({ "ip": ip, "roles": ["control-plane", "worker"], "clusterInit": is_first });
    cluster(&json!({
        "cluster": { "name": "ha", "orchestrator": "k3s", "operators": [{ "name": "ops", "ssh": SSH_KEY }] },
        "network": { "nodes": "10.13.13.0/24" },
        "kubeMaster": { "ip": "10.13.13.10", "mode": "arp" },
        "machines": {
            "s1": server("10.13.13.2", false),
            "s2": server("10.13.13.3", true),
            "s3": server("10.13.13.4", false),
            "a1": { "ip": "10.13.13.5", "roles": ["worker", "ingress"] },
        },
    }))
}

/// The JSON of a fleet of `n` machines `node-00001` and so on in 10.0.0.0/8, three of them etcd members.
#[must_use]
pub fn fleet_json(n: usize) -> Value {
    let machine = |number: usize| {
        let roles = if number < 3 { json!(["etcd"]) } else { json!(["worker"]) };
        // The first host is 10.0.0.1; blocks of 200 avoid addresses that could be a network's or broadcast address.
        let ip = format!("10.{}.{}.{}", number / 40_000, number / 200 % 200, number % 200 + 1);
        (format!("node-{:05}", number + 1), json!({ "ip": ip, "roles": roles, "labels": { "zone": "a" } }))
    };
    json!({
        "cluster": { "name": "fleet", "operators": [{ "name": "ops", "ssh": SSH_KEY }] },
        "network": { "nodes": "10.0.0.0/8" },
        "machines": (0..n).map(machine).collect::<serde_json::Map<_, _>>(),
    })
}

#[cfg(test)]
mod tests {
    use super::{cluster, fleet_json, ha_k3s, ha_kubernetes, single_k3s, three_member_etcd};

    #[test]
    fn every_fixture_loads() {
        assert_eq!(three_member_etcd().etcd_members().count(), 3);
        assert_eq!(ha_kubernetes().deployable().count(), 4);
        assert_eq!(single_k3s().deployable().count(), 1);
        let k3s = ha_k3s();
        assert_eq!((k3s.voters().count(), k3s.k3s_founder().map(|node| node.name.as_str())), (3, Some("s2")));
        assert_eq!(cluster(&fleet_json(1000)).deployable().count(), 1000);
    }
}
