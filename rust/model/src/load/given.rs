//! Addresses that a provider chooses: those that `provision` has recorded stand for the ones that machines.nix leaves out.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, Ipv4Addr},
};

use ipnet::IpNet;

use crate::{
    Cluster, Directory, Provider,
    shape::{OneOrTwo, Shape},
};

/// Origin of a server's address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Origin {
    /// machines.nix has it.
    Declared,
    /// Recorded state has it.
    Recorded,
    /// Nobody knows it yet; a placeholder stands for it.
    Unknown,
}

/// Servers whose provider chooses their addresses, by machine.
pub struct Given(BTreeMap<String, Origin>);

impl Given {
    /// Fills in the addresses that machines.nix leaves out: the recorded one, or a free one as a placeholder, so that
    /// the other checks have something to check.
    pub fn fill(shape: &mut Shape, directory: &Directory) -> Self {
        let mut free = Free::of(shape, directory);
        let mut origins = BTreeMap::new();
        for (name, machine) in &mut shape.machines {
            if machine.digitalocean.is_none() || machine.provider != Provider::Digitalocean {
                continue;
            }
            let origin = match (&machine.ip, directory.addresses.get(name)) {
                (Some(_), _) => Origin::Declared,
                (None, Some(address)) => {
                    machine.ip = Some(OneOrTwo(vec![*address]));
                    Origin::Recorded
                }
                (None, None) => {
                    machine.ip = free.take().map(|address| OneOrTwo(vec![address]));
                    Origin::Unknown
                }
            };
            origins.insert(name.clone(), origin);
        }
        Self(origins)
    }

    /// Tells the servers which addresses are real.
    pub fn mark(&self, cluster: &mut Cluster) {
        for node in cluster.nodes.values_mut() {
            let origin = self.0.get(node.name.as_str()).copied().unwrap_or(Origin::Unknown);
            let Some(server) = &mut node.digitalocean else { continue };
            server.is_declared = origin == Origin::Declared;
            server.address = (origin != Origin::Unknown).then_some(node.ip);
        }
    }
}

/// Addresses of the node network that nothing has, from its end.
struct Free {
    range: Option<(u32, u32)>,
    taken: BTreeSet<IpAddr>,
}

impl Free {
    fn of(shape: &Shape, directory: &Directory) -> Self {
        let networks = shape.network.nodes.iter().flat_map(|nodes| &nodes.0);
        let mut range = networks.filter_map(|network| match network {
            IpNet::V4(network) => Some((u32::from(network.network()), u32::from(network.broadcast()))),
            IpNet::V6(_) => None,
        });
        let machines = shape.machines.values().filter_map(|machine| machine.ip.as_ref()).flat_map(|ip| ip.0.clone());
        let endpoint = shape.kube_master.as_ref().and_then(|endpoint| endpoint.ip);
        let taken = machines.chain(endpoint).chain(shape.network.gateway).chain(directory.addresses.values().copied());
        Self { range: range.next(), taken: taken.collect() }
    }

    fn take(&mut self) -> Option<IpAddr> {
        let (first, last) = self.range?;
        let candidates = (first.saturating_add(1)..last).rev().map(|number| IpAddr::V4(Ipv4Addr::from(number)));
        let address = candidates.into_iter().find(|address| !self.taken.contains(address))?;
        self.taken.insert(address);
        Some(address)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde_json::json;

    use crate::{
        Cluster, Code, Diagnostic, Directory, NodeName,
        load::{Loaded, load},
    };

    fn cluster(ip: Option<&str>, recorded: Option<&str>) -> Cluster {
        loaded(ip, recorded).unwrap().cluster
    }

    fn loaded(ip: Option<&str>, recorded: Option<&str>) -> Result<Loaded, Vec<Diagnostic>> {
        let mut machine = json!({
            "provider": "digitalocean", "digitalocean": { "size": "s-1vcpu-1gb", "region": "fra1" },
        });
        if let Some(ip) = ip {
            machine["ip"] = json!(ip);
        }
        let json = json!({
            "cluster": { "name": "magi" },
            "network": { "nodes": "10.0.0.0/24" },
            "machines": { "cp1": machine, "cp2": { "ip": "10.0.0.254" } },
        });
        let addresses = recorded.map(|address| ("cp1".to_owned(), address.parse().unwrap()));
        let node_modules = ["cp1", "cp2"].map(str::to_owned).into();
        let directory = Directory { addresses: addresses.into_iter().collect(), node_modules, ..Directory::default() };
        load(&json, "", "machines.nix", &directory)
    }

    #[track_caller]
    fn check(cluster: &Cluster, ip: &str, real: bool) {
        let node = &cluster.nodes[&NodeName::parse("cp1").unwrap()];
        let server = node.digitalocean.as_ref().unwrap();
        assert_eq!((node.ip.to_string().as_str(), server.address.is_some()), (ip, real));
        assert_eq!(node.awaits_address(), !real);
    }

    #[test]
    fn a_recorded_address_stands_for_one_that_is_left_out() {
        check(&cluster(None, Some("10.0.0.2")), "10.0.0.2", true);
        check(&cluster(Some("10.0.0.2"), None), "10.0.0.2", true);
        check(&cluster(Some("10.0.0.2"), Some("10.0.0.2")), "10.0.0.2", true);
    }

    #[test]
    fn without_a_record_a_free_address_is_only_a_placeholder() {
        check(&cluster(None, None), "10.0.0.253", false);
    }

    #[test]
    fn an_address_that_the_provider_did_not_give_is_refused_with_the_one_to_write() {
        let diagnostics = loaded(Some("10.0.0.7"), Some("10.0.0.2")).unwrap_err();
        let only = diagnostics.iter().find(|diagnostic| diagnostic.code == Code::BadServer).unwrap();
        assert_eq!(only.message, "10.0.0.7 is not the server's address, which is 10.0.0.2");
        assert_eq!(only.help.as_deref(), Some("write ip = \"10.0.0.2\", or leave it out"));
    }
}
