//! Specification of a sandbox: its machines, network and directories.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    path::{Component, Path, PathBuf},
};

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::error::Error;

/// Default directory of the Debian root.
pub const DEFAULT_CACHE_DIR: &str = "/var/cache/machinist";

/// Returns the default state directory of a cluster's sandbox.
#[must_use]
pub fn default_state_dir(cluster: &str) -> PathBuf {
    Path::new("/var/lib/machinist/sandbox").join(cluster)
}

/// The requested state of a sandbox.
#[derive(Debug, Clone)]
pub struct SandboxSpec {
    /// The cluster's name, an RFC 1123 label; part of the names of its namespaces.
    pub cluster: String,
    /// The node network.
    pub network: IpNet,
    /// Addresses of the node network, besides those of the machines, that the operator must not use: a virtual IP, a
    /// router.
    pub reserved: Vec<IpAddr>,
    /// The machines, in any order.
    pub machines: Vec<MachineSpec>,
    /// State of this sandbox; absolute, and on a disk (not every file system can hold an overlay's upper directory).
    pub state_dir: PathBuf,
    /// Cache shared by all sandboxes of this computer, absolute.
    pub cache_dir: PathBuf,
}

/// The requested state of a machine.
#[derive(Debug, Clone)]
pub struct MachineSpec {
    /// Host name, an RFC 1123 label.
    pub name: String,
    /// Its address in the node network.
    pub ip: IpAddr,
    /// Its network interface, usually `eth0`.
    pub interface: String,
    /// The port of its sshd, usually 22.
    pub ssh_port: u16,
    /// OpenSSH public key lines that may log in as root.
    pub authorized_keys: Vec<String>,
    /// Files of its root that are written only when the machine is created.
    pub files: Vec<SystemFile>,
    /// The file system that it starts from.
    pub root: MachineRoot,
    /// Whether a kubelet may run pods on it.
    pub pods: bool,
}

/// The file system that a machine starts from; its own files lie above it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum MachineRoot {
    /// The shared Debian root with an empty `/nix`: the first deploy makes it a NixOS.
    #[default]
    Debian,
    /// A NixOS system of this computer, whose `init` is the machine's first process.
    System(SystemRoot),
}

/// A machine that boots a NixOS system of this computer's store.
///
/// The machine's `/nix/store` is this computer's, beneath a layer of its own; its system profile begins with this
/// system. Its Nix database is empty: the caller registers the closure.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SystemRoot {
    /// The system, a directory of `/nix/store`.
    pub system: PathBuf,
    /// Read-only trees beneath the machine's files, topmost first, absolute. Empty for a NixOS that is complete in the
    /// store.
    pub beneath: Vec<PathBuf>,
}

impl MachineSpec {
    /// Returns a machine with `eth0`, sshd on port 22 and no further files.
    #[must_use]
    pub fn new(name: &str, ip: IpAddr, authorized_keys: &[String]) -> Self {
        Self {
            name: name.to_owned(),
            ip,
            interface: "eth0".to_owned(),
            ssh_port: 22,
            authorized_keys: authorized_keys.to_vec(),
            files: Vec::new(),
            root: MachineRoot::Debian,
            pods: false,
        }
    }
}

/// A file in a machine's root, owned by root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SystemFile {
    /// Absolute path in the machine.
    pub path: PathBuf,
    /// The file's content, any bytes.
    pub contents: Vec<u8>,
    /// Permission bits such as 0o644.
    pub mode: u32,
}

impl SandboxSpec {
    /// Checks everything that does not depend on the computer's state.
    ///
    /// # Errors
    /// [`Error::Spec`] with the first invalid field.
    pub fn validate(&self) -> Result<(), Error> {
        check_label("cluster", &self.cluster)?;
        check_directory("state directory", &self.state_dir)?;
        check_directory("cache directory", &self.cache_dir)?;
        let mut names = BTreeSet::new();
        let mut owners: BTreeMap<IpAddr, &str> = BTreeMap::new();
        for machine in &self.machines {
            machine.validate(&self.network)?;
            if !names.insert(&machine.name) {
                return refuse(format!("machine {}: duplicate name", machine.name));
            }
            if let Some(other) = owners.insert(machine.ip, &machine.name) {
                return refuse(format!("machine {}: the address {} is also used by {other}", machine.name, machine.ip));
            }
        }
        Ok(())
    }
}

impl MachineSpec {
    fn validate(&self, network: &IpNet) -> Result<(), Error> {
        let name = &self.name;
        check_label("machine", name)?;
        if !is_interface_name(&self.interface) {
            return refuse(format!("machine {name}: `{}` is not a valid name of a network interface", self.interface));
        }
        let (first, last) = usable(network);
        let ip = number(self.ip);
        if self.ip.is_ipv4() != network.addr().is_ipv4() || ip < first || ip > last {
            return refuse(format!("machine {name}: {} is not a usable address of the network {network}", self.ip));
        }
        if self.ssh_port == 0 {
            return refuse(format!("machine {name}: 0 is not a valid port"));
        }
        if let Some(key) = self.authorized_keys.iter().find(|key| key.contains('\n')) {
            return refuse(format!("machine {name}: an authorized key has several lines: {key:?}"));
        }
        self.root.validate(name)?;
        match self.files.iter().find(|file| !is_plain(&file.path)) {
            Some(file) => {
                refuse(format!("machine {name}: `{}` is not a plain absolute path of a file", file.path.display()))
            }
            None => Ok(()),
        }
    }
}

impl MachineRoot {
    /// Refuses paths that an overlay's options or the supervisor cannot express.
    fn validate(&self, machine: &str) -> Result<(), Error> {
        let Self::System(SystemRoot { system, beneath }) = self else { return Ok(()) };
        if !is_plain(system) || system.parent() != Some(Path::new("/nix/store")) {
            return refuse(format!("machine {machine}: {} is not a system in /nix/store", system.display()));
        }
        let is_layer =
            |path: &PathBuf| is_plain(path) && !path.as_os_str().as_encoded_bytes().iter().any(|b| b":,\\".contains(b));
        match beneath.iter().find(|path| !is_layer(path)) {
            Some(path) => refuse(format!("machine {machine}: {} cannot be the layer of a root", path.display())),
            None => Ok(()),
        }
    }
}

/// Returns the last usable address of `network` that is not in `used`: the operator's.
pub(super) fn operator_address(network: &IpNet, used: &BTreeSet<IpAddr>) -> Option<IpAddr> {
    let (first, last) = usable(network);
    let mut candidate = last;
    loop {
        let ip = address(network, candidate);
        if !used.contains(&ip) {
            return Some(ip);
        }
        if candidate == first {
            return None;
        }
        candidate -= 1;
    }
}

/// Returns the first and last address that a machine may have, as numbers.
///
/// IPv4 networks wider than /31 keep their first and last address (RFC 922, RFC 3021); an IPv6 network wider than /127
/// keeps its first (the subnet-router anycast address, RFC 4291).
fn usable(network: &IpNet) -> (u128, u128) {
    let (first, last) = (number(network.network()), number(network.broadcast()));
    match network {
        IpNet::V4(net) if net.prefix_len() < 31 => (first + 1, last - 1),
        IpNet::V6(net) if net.prefix_len() < 127 => (first + 1, last),
        _ => (first, last),
    }
}

fn number(ip: IpAddr) -> u128 {
    match ip {
        IpAddr::V4(ip) => u128::from(u32::from(ip)),
        IpAddr::V6(ip) => u128::from(ip),
    }
}

fn address(network: &IpNet, number: u128) -> IpAddr {
    match network {
        // The number is in the `usable` range of an IPv4 network and fits; saturating keeps the conversion total.
        IpNet::V4(_) => IpAddr::V4(Ipv4Addr::from(u32::try_from(number).unwrap_or(u32::MAX))),
        IpNet::V6(_) => IpAddr::V6(Ipv6Addr::from(number)),
    }
}

fn refuse<T>(reason: String) -> Result<T, Error> {
    Err(Error::Spec { reason })
}

/// Accepts RFC 1123 labels in lower case: they become file, host and namespace names.
pub(super) fn check_label(what: &str, text: &str) -> Result<(), Error> {
    let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    let is_label =
        (1..=63).contains(&text.len()) && text.bytes().all(allowed) && !text.starts_with('-') && !text.ends_with('-');
    if is_label {
        return Ok(());
    }
    refuse(format!("{what} `{text}`: only a-z, 0-9 and - are allowed, at most 63, with a letter or digit at both ends"))
}

/// The kernel allows 15 bytes without `/`, space or `:` (`dev_valid_name`); `ip -batch` interprets quotes and comments.
fn is_interface_name(text: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    (1..=15).contains(&text.len())
        && text.bytes().all(allowed)
        && !matches!(text, "." | ".." | "lo")
        && !text.starts_with('-')
}

fn is_plain(path: &Path) -> bool {
    let mut components = path.components();
    components.next() == Some(Component::RootDir)
        && components.clone().count() > 0
        && components.all(|component| matches!(component, Component::Normal(_)))
}

/// Overlay options are separated by `,` and `:`, nspawn's bind option by `:`; a path containing them could be parsed as
/// several.
fn check_directory(what: &str, path: &Path) -> Result<(), Error> {
    let Some(text) = path.to_str() else {
        return refuse(format!("{what} {}: not UTF-8", path.display()));
    };
    if !is_plain(path) {
        return refuse(format!("{what} {text}: not a plain absolute path"));
    }
    match text.find([',', ':', '\\', '"', '\'', '\n', ' ']) {
        Some(_) => refuse(format!("{what} {text:?}: commas, colons, quotes, backslashes and spaces are not allowed")),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use super::*;

    #[track_caller]
    fn check_operator(network: &str, used: &[&str], expected: Option<&str>) {
        let used = used.iter().map(|ip| ip.parse().unwrap()).collect();
        let found = operator_address(&network.parse().unwrap(), &used);
        assert_eq!(found, expected.map(|ip| ip.parse().unwrap()));
    }

    #[test]
    fn the_operator_has_the_last_usable_address_that_is_free() {
        check_operator("10.13.13.0/24", &[], Some("10.13.13.254"));
        check_operator("10.13.13.7/24", &["10.13.13.254"], Some("10.13.13.253"));
        check_operator("10.0.0.0/30", &["10.0.0.1", "10.0.0.2"], None);
        check_operator("10.0.0.0/30", &["10.0.0.2"], Some("10.0.0.1"));
        check_operator("10.0.0.0/31", &["10.0.0.1"], Some("10.0.0.0"));
        check_operator("10.0.0.4/32", &["10.0.0.4"], None);
        check_operator("0.0.0.0/0", &[], Some("255.255.255.254"));
        check_operator("fd00::/64", &[], Some("fd00::ffff:ffff:ffff:ffff"));
        check_operator("fd00::/127", &["fd00::1", "fd00::"], None);
        check_operator("::/0", &[], Some("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"));
    }

    fn spec() -> SandboxSpec {
        let machine = |name: &str, ip: &str| MachineSpec::new(name, ip.parse().unwrap(), &[]);
        SandboxSpec {
            cluster: "magi".into(),
            network: "10.13.13.0/24".parse().unwrap(),
            reserved: Vec::new(),
            machines: vec![machine("casper", "10.13.13.4"), machine("melchior", "10.13.13.3")],
            state_dir: default_state_dir("magi"),
            cache_dir: DEFAULT_CACHE_DIR.into(),
        }
    }

    #[track_caller]
    fn check_refused(change: impl FnOnce(&mut SandboxSpec), expected: &str) {
        let mut spec = spec();
        assert!(spec.validate().is_ok());
        change(&mut spec);
        let error = spec.validate().unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }

    #[test]
    fn invalid_specifications_are_refused() {
        check_refused(|spec| spec.cluster = "../etc".into(), "cluster `../etc`");
        check_refused(|spec| spec.machines[0].name = "a b".into(), "machine `a b`");
        check_refused(|spec| spec.machines[0].name = "melchior".into(), "duplicate name");
        check_refused(
            |spec| spec.machines[0].ip = spec.machines[1].ip,
            "melchior: the address 10.13.13.3 is also used by casper",
        );
        for ip in ["10.13.14.1", "10.13.13.0", "10.13.13.255", "fd00::1"] {
            check_refused(|spec| spec.machines[0].ip = ip.parse().unwrap(), "not a usable address");
        }
        for interface in ["lo", "", "abcdefghijklmnop", "a b", "a/b", "-x", "#"] {
            check_refused(|spec| spec.machines[0].interface = interface.into(), "not a valid name of a network");
        }
        for path in ["etc/x", "/", "/etc/../x"] {
            let file = SystemFile { path: path.into(), contents: Vec::new(), mode: 0o644 };
            check_refused(|spec| spec.machines[0].files = vec![file], "not a plain absolute path");
        }
        check_refused(|spec| spec.machines[0].authorized_keys = vec!["a\nb".into()], "several lines");
        check_refused(|spec| spec.state_dir = "state".into(), "not a plain absolute path");
        check_refused(|spec| spec.cache_dir = "/a:b".into(), "colon");
    }

    #[test]
    fn a_machine_boots_only_a_system_of_the_store_and_layers_that_an_overlay_can_name() {
        let root = |system: &str, beneath: &[&str]| {
            MachineRoot::System(SystemRoot {
                system: system.into(),
                beneath: beneath.iter().map(|path| PathBuf::from(*path)).collect(),
            })
        };
        let system = "/nix/store/0123456789abcdfghijklmnpqrsvwxyz-nixos-system-a";
        assert!(MachineRoot::Debian.validate("a").is_ok());
        assert!(root(system, &["/var/cache/root", "/usr"]).validate("a").is_ok());
        for wrong in ["/etc", "/nix/store", "/nix/store/../../etc", "nix/store/a", "/nix/store/a/b"] {
            assert!(root(wrong, &[]).validate("a").is_err(), "{wrong}");
        }
        for wrong in ["/a:/b", "/a,upperdir=/b", "/a/../b", "a", "/a\\b"] {
            assert!(root(system, &[wrong]).validate("a").is_err(), "{wrong}");
        }
    }
}
