//! Recorded state of the running cluster: `state/cluster.json`, written by `deploy`, committed by operators.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::{Cluster, FixedNetwork, Move, NodeName, Provider, Replacement, Running, moving::Step};

/// The recorded state of the cluster. An absent file means that nothing was bootstrapped yet.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RecordedState {
    /// The format's version: 1.
    pub version: u32,
    /// The recorded state of etcd.
    #[serde(default)]
    pub etcd: EtcdState,
    /// The settings that the cluster was bootstrapped with. Missing in older files; the next deploy fills it in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub running: Option<Running>,
    /// The machine of each node, recorded by its last successful deploy.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub machines: BTreeMap<NodeName, RecordedMachine>,
    /// The server of each node that `provision` has created.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub servers: BTreeMap<NodeName, RecordedServer>,
    /// True from the consent to destroy the whole cluster until its last server is gone.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub destroying: bool,
    /// The move of a node to a new address that is under way. All later commands see the addresses of its step.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub moving: Option<Move>,
    /// The replacement of a node's machine that is under way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replacing: Option<Replacement>,
}

/// Recorded identity of a node's machine.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct RecordedMachine {
    /// systemd's machine-id(5), which a machine keeps until it is reinstalled.
    pub machine_id: String,
    /// The address at which it was deployed. Missing in older files; the next deploy fills it in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<IpAddr>,
}

/// Recorded server of a provider.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct RecordedServer {
    /// Its identifier at the provider.
    pub id: String,
    /// The public address at which an operator reaches it.
    pub address: IpAddr,
    /// MAC address of its interface in the private network, if it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub private_mac: Option<String>,
    /// Its provider. Missing in older files: Hetzner.
    #[serde(default = "first_provider", skip_serializing_if = "is_first_provider")]
    pub provider: Provider,
    /// Addresses that its own configuration has to have, at a provider without DHCP.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fixed: Option<FixedNetwork>,
}

const fn first_provider() -> Provider {
    Provider::Hetzner
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde passes references")]
fn is_first_provider(provider: &Provider) -> bool {
    *provider == Provider::Hetzner
}

/// Recorded state of etcd.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EtcdState {
    /// True once the members have formed a quorum. Never reset to `false`: a member that returns with an empty disk
    /// must join the existing cluster (etcd issue 19307).
    pub bootstrapped: bool,
    /// The voting members as last seen, sorted by name.
    #[serde(default)]
    pub members: BTreeSet<NodeName>,
    /// Name of etcd's package in nixpkgs, such as `etcd_3_5`, while an upgrade holds the members at a version between two
    /// others. None: that of NixOS.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub package: Option<String>,
}

/// Reason why the recorded state cannot be used.
#[derive(Debug, Error)]
pub enum StateError {
    /// The text is not of the format.
    #[error("state/cluster.json is invalid")]
    Format(#[source] serde_json::Error),
    /// A newer machinist wrote it.
    #[error("state/cluster.json has version {0}, this machinist reads version 1")]
    Version(u32),
}

impl RecordedState {
    /// The version that this machinist reads and writes.
    pub const VERSION: u32 = 1;

    /// Parses the text of `state/cluster.json`.
    ///
    /// # Errors
    /// The text is not of the format, or has another version.
    pub fn parse(text: &str) -> Result<Self, StateError> {
        let state: Self = serde_json::from_str(text).map_err(StateError::Format)?;
        if state.version == Self::VERSION { Ok(state) } else { Err(StateError::Version(state.version)) }
    }

    /// Returns the private addresses that providers chose, by machine.
    #[must_use]
    pub fn given_addresses(&self) -> BTreeMap<String, IpAddr> {
        let private = |server: &RecordedServer| Some(server.fixed.as_ref()?.private.as_ref()?.address);
        self.servers.iter().filter_map(|(name, server)| Some((name.to_string(), private(server)?))).collect()
    }

    /// Sets the SSH host of servers, and their endpoint in a control mesh, to their recorded public addresses, unless
    /// machines.nix names others.
    pub fn reach_servers(&self, cluster: &mut Cluster) {
        let has_control = cluster.network.control.is_some();
        for (name, server) in &self.servers {
            let Some(node) = cluster.nodes.get_mut(name).filter(|node| node.is_server()) else { continue };
            if node.ssh.host == node.ip.to_string() {
                node.ssh.host = server.address.to_string();
            }
            if has_control {
                node.endpoint.get_or_insert_with(|| server.address.to_string());
            }
        }
    }

    /// Records a step of a move, and the address that the cluster uses in it.
    pub fn record_move(&mut self, moving: &Move) {
        self.record_address(&moving.node, moving.address());
        self.moving = Some(moving.clone());
    }

    /// Records that the move has arrived.
    pub fn record_arrival(&mut self, moving: &Move) {
        self.record_address(&moving.node, Move { step: Step::Close, ..moving.clone() }.address());
        self.moving = None;
    }

    /// Records that the move ended because its machine has left the cluster: nothing is known of the machine any more,
    /// and the next one of that name is at the address of machines.nix.
    pub fn drop_move(&mut self) {
        let Some(Move { node, .. }) = self.moving.take() else { return };
        self.etcd.members.remove(&node);
        self.machines.remove(&node);
        if let Some(running) = &mut self.running {
            running.addresses.remove(&node);
        }
    }

    /// Records that the machine of a node is lost: it has no vote, no identity and no address in the record.
    pub fn forget_member(&mut self, node: &NodeName) {
        self.etcd.members.remove(node);
        self.machines.remove(node);
    }

    fn record_address(&mut self, node: &NodeName, address: IpAddr) {
        let members = &self.etcd.members;
        if let Some(running) = self.running.as_mut().filter(|_| members.contains(node)) {
            running.addresses.insert(node.clone(), address);
        }
        if let Some(machine) = self.machines.get_mut(node) {
            machine.address = Some(address);
        }
    }

    /// Records the settings of the running cluster. `seen` are the voters that etcd has at their addresses in
    /// machines.nix; recorded addresses of members that were not seen are kept.
    pub fn record_running(&mut self, cluster: &Cluster, seen: &BTreeSet<NodeName>) {
        let members: BTreeSet<NodeName> = self.etcd.members.intersection(seen).cloned().collect();
        let mut running = Running::of(cluster, &members);
        for (name, address) in self.running.take().into_iter().flat_map(|before| before.addresses) {
            if self.etcd.members.contains(&name) {
                running.addresses.entry(name).or_insert(address);
            }
        }
        self.running = Some(running);
    }

    /// Returns the text of `state/cluster.json`: two spaces, sorted, final newline.
    #[must_use]
    pub fn to_text(&self) -> String {
        let current = Self { version: Self::VERSION, ..self.clone() };
        let mut text = serde_json::to_string_pretty(&current).unwrap_or_default();
        text.push('\n');
        text
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::collections::BTreeMap;

    use super::{EtcdState, RecordedMachine, RecordedServer, RecordedState, StateError};
    use crate::{HetznerServer, NodeName, Provider, fixtures};

    #[test]
    fn what_is_written_is_read_back() {
        let state = RecordedState {
            version: 1,
            etcd: EtcdState { bootstrapped: true, members: [NodeName::parse("a").unwrap()].into(), package: None },
            running: None,
            machines: [(
                NodeName::parse("a").unwrap(),
                RecordedMachine { machine_id: "0f".to_owned(), address: Some([10, 13, 13, 2].into()) },
            )]
            .into(),
            servers: BTreeMap::new(),
            destroying: false,
            moving: None,
            replacing: None,
        };
        assert_eq!(RecordedState::parse(&state.to_text()).unwrap(), state);
    }

    #[test]
    fn a_state_file_from_before_addresses_were_recorded_is_filled_in() {
        let old = r#"{"version":1,"etcd":{"bootstrapped":true,"members":["balthazar","casper","melchior"]}}"#;
        let mut state = RecordedState::parse(old).unwrap();
        let mut cluster = fixtures::three_member_etcd();
        assert_eq!(state.conflicts(&cluster), [], "nothing is recorded that could be contradicted");
        let seen = ["balthazar", "casper"].map(|name| NodeName::parse(name).unwrap()).into();
        state.record_running(&cluster, &seen);
        let state = RecordedState::parse(&state.to_text()).unwrap();
        let addresses = &state.running.as_ref().unwrap().addresses;
        assert_eq!(addresses.keys().map(NodeName::as_str).collect::<Vec<_>>(), ["balthazar", "casper"]);
        for node in cluster.nodes.values_mut() {
            node.ip = "10.13.13.99".parse().unwrap();
        }
        let paths: Vec<String> = state.conflicts(&cluster).into_iter().map(|conflict| conflict.path).collect();
        assert_eq!(paths, ["machines.balthazar.ip", "machines.casper.ip"]);
    }

    #[test]
    fn a_server_is_reached_at_its_recorded_address_unless_machines_nix_names_a_host() {
        let mut cluster = fixtures::three_member_etcd();
        let server = HetznerServer {
            server_type: "cx23".to_owned(),
            location: "nbg1".to_owned(),
            image: "debian-13".to_owned(),
            ipv4: true,
            ipv6: true,
        };
        let names: Vec<NodeName> = cluster.nodes.keys().cloned().collect();
        let mut state = RecordedState { version: 1, ..RecordedState::default() };
        for (number, name) in names.iter().enumerate() {
            let address = [203, 0, 113, number as u8].into();
            let id = "1".to_owned();
            let server = RecordedServer { id, address, private_mac: None, provider: Provider::Hetzner, fixed: None };
            state.servers.insert(name.clone(), server);
        }
        // The second one is reached through a VPN, the third one is not a cloud's.
        cluster.nodes.get_mut(&names[0]).unwrap().hetzner = Some(server.clone());
        let second = cluster.nodes.get_mut(&names[1]).unwrap();
        second.hetzner = Some(server);
        second.ssh.host = "vpn.example.org".to_owned();
        let third = cluster.nodes[&names[2]].ssh.host.clone();
        let state = RecordedState::parse(&state.to_text()).unwrap();
        state.reach_servers(&mut cluster);
        let hosts: Vec<&str> = names.iter().map(|name| cluster.nodes[name].ssh.host.as_str()).collect();
        assert_eq!(hosts[..3], ["203.0.113.0", "vpn.example.org", third.as_str()]);
    }

    #[test]
    fn another_version_is_refused_by_number() {
        let error = RecordedState::parse(r#"{"version":2}"#).unwrap_err();
        assert!(matches!(error, StateError::Version(2)), "{error}");
    }
}
