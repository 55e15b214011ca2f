//! `sandbox.json` in the state directory: everything that the sandbox created or is about to create.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    net::IpAddr,
    path::{Path, PathBuf},
};

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::{
    error::Error,
    file::write,
    names,
    spec::{MachineRoot, MachineSpec, SandboxSpec, SystemRoot, operator_address},
};

/// Version of the format, the only one so far.
const VERSION: u32 = 1;

/// The record of a sandbox.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Record {
    version: u32,
    pub cluster: String,
    pub network: IpNet,
    /// The operator's address in the node network.
    pub operator_ip: IpAddr,
    /// True once the switch's and the operator's namespace were completed, false while they are being created.
    pub switch_made: bool,
    /// Mount point of the unified control group hierarchy.
    pub cgroups: PathBuf,
    pub machines: BTreeMap<String, MachineRecord>,
}

/// The record of one machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct MachineRecord {
    pub ip: IpAddr,
    pub interface: String,
    pub ssh_port: u16,
    /// The root below its overlay, which stays the same while newer ones are built for other machines.
    pub root: RootRecord,
    /// Whether a kubelet may run pods on it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub pods: bool,
}

/// The root of a machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub(super) enum RootRecord {
    /// A Debian root.
    Debian(PathBuf),
    /// A system of this computer.
    System(SystemRoot),
}

impl RootRecord {
    /// Returns the lower directories of the machine's overlay, topmost first.
    pub fn lower(&self, directory: &Path) -> Vec<PathBuf> {
        match self {
            Self::Debian(tree) => vec![tree.clone()],
            Self::System(root) if root.beneath.is_empty() => vec![directory.join("empty")],
            Self::System(root) => root.beneath.clone(),
        }
    }

    /// Returns the system that the machine boots first, if it is one of this computer.
    pub fn system(&self) -> Option<&Path> {
        match self {
            Self::Debian(_) => None,
            Self::System(root) => Some(&root.system),
        }
    }
}

impl Record {
    /// Reads the record of a state directory; `None` if it has none.
    pub fn load(state_dir: &Path) -> Result<Option<Self>, Error> {
        let path = file(state_dir);
        let text = match fs::read_to_string(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            other => other.map_err(Error::io("read", &path))?,
        };
        serde_json::from_str(&text).map(Some).map_err(|source| Error::Record { path, source })
    }

    /// Reads the record of a state directory that must have one.
    pub fn existing(state_dir: &Path) -> Result<Self, Error> {
        Self::load(state_dir)?.ok_or_else(|| Error::NoSandbox { state_dir: state_dir.to_owned() })
    }

    /// Returns the record for `spec`: known machines keep their Debian root, new ones get `root`, without which no
    /// machine of `spec` starts from Debian.
    pub fn plan(old: Option<&Self>, spec: &SandboxSpec, cgroups: &Path, root: Option<&Path>) -> Result<Self, Error> {
        if let Some(old) = old
            && (&old.cluster, old.network.trunc()) != (&spec.cluster, spec.network.trunc())
        {
            return Err(Error::OtherSandbox {
                state_dir: spec.state_dir.clone(),
                found: format!("{} ({})", old.cluster, old.network),
                wanted: format!("{} ({})", spec.cluster, spec.network),
            });
        }
        let mut machines = old.map(|old| old.machines.clone()).unwrap_or_default();
        for machine in &spec.machines {
            let root = root_of(machine, machines.get(&machine.name), root);
            machines.insert(machine.name.clone(), MachineRecord::new(machine, root));
        }
        check_addresses(&machines, spec)?;
        let used: BTreeSet<IpAddr> =
            machines.values().map(|machine| machine.ip).chain(spec.reserved.iter().copied()).collect();
        let operator_ip = match old {
            Some(old) if !used.contains(&old.operator_ip) => old.operator_ip,
            _ => operator_address(&spec.network, &used).ok_or(Error::NetworkFull { network: spec.network })?,
        };
        Ok(Self {
            version: VERSION,
            cluster: spec.cluster.clone(),
            network: spec.network.trunc(),
            operator_ip,
            switch_made: old.is_some_and(|old| old.switch_made && old.operator_ip == operator_ip),
            cgroups: cgroups.to_owned(),
            machines,
        })
    }

    /// Replaces the record atomically.
    pub fn save(&self, state_dir: &Path) -> Result<(), Error> {
        let path = file(state_dir);
        let text = serde_json::to_string_pretty(self);
        let text = text.map_err(|error| Error::io("write", &path)(error.into()))?;
        write(&path, format!("{text}\n").as_bytes(), 0o644)
    }

    /// Returns the record of a machine.
    pub fn machine(&self, name: &str) -> Result<&MachineRecord, Error> {
        self.machines.get(name).ok_or_else(|| Error::UnknownMachine {
            machine: name.to_owned(),
            known: self.machines.keys().cloned().collect(),
        })
    }

    /// Gives a machine another address, which no other machine has.
    pub fn readdress(&mut self, name: &str, ip: IpAddr) -> Result<(), Error> {
        self.machine(name)?;
        if let Some((other, _)) = self.machines.iter().find(|(other, machine)| *other != name && machine.ip == ip) {
            return Err(Error::AddressTaken { machine: name.to_owned(), other: other.clone(), ip });
        }
        if let Some(machine) = self.machines.get_mut(name) {
            machine.ip = ip;
        }
        Ok(())
    }

    /// Returns the control group of a machine.
    pub fn group(&self, machine: &str) -> PathBuf {
        self.cgroups.join(names::machine(&self.cluster, machine))
    }
}

impl MachineRecord {
    fn new(spec: &MachineSpec, root: RootRecord) -> Self {
        Self { ip: spec.ip, interface: spec.interface.clone(), ssh_port: spec.ssh_port, root, pods: spec.pods }
    }
}

fn root_of(spec: &MachineSpec, known: Option<&MachineRecord>, debian: Option<&Path>) -> RootRecord {
    match (&spec.root, known.map(|known| &known.root)) {
        (MachineRoot::System(root), _) => RootRecord::System(root.clone()),
        // A missing root was deleted together with the cache: the new one replaces it.
        (MachineRoot::Debian, Some(RootRecord::Debian(kept))) if kept.is_dir() => RootRecord::Debian(kept.clone()),
        (MachineRoot::Debian, _) => RootRecord::Debian(debian.unwrap_or(Path::new("/nonexistent")).to_owned()),
    }
}

fn check_addresses(machines: &BTreeMap<String, MachineRecord>, spec: &SandboxSpec) -> Result<(), Error> {
    for machine in &spec.machines {
        let other = machines.iter().find(|(name, other)| **name != machine.name && other.ip == machine.ip);
        if let Some((other, _)) = other {
            return Err(Error::AddressTaken { machine: machine.name.clone(), other: other.clone(), ip: machine.ip });
        }
    }
    Ok(())
}

fn file(state_dir: &Path) -> PathBuf {
    state_dir.join("sandbox.json")
}

/// Returns the directory of a machine.
pub(super) fn machine_dir(state_dir: &Path, machine: &str) -> PathBuf {
    state_dir.join("machines").join(machine)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use super::*;

    fn spec(machines: &[(&str, &str)]) -> SandboxSpec {
        let machine = |(name, ip): &(&str, &str)| MachineSpec::new(name, ip.parse().unwrap(), &[]);
        SandboxSpec {
            cluster: "magi".into(),
            network: "10.13.13.0/24".parse().unwrap(),
            reserved: vec!["10.13.13.254".parse().unwrap()],
            machines: machines.iter().map(machine).collect(),
            state_dir: "/state".into(),
            cache_dir: "/cache".into(),
        }
    }

    fn plan(old: Option<&Record>, machines: &[(&str, &str)]) -> Result<Record, Error> {
        Record::plan(old, &spec(machines), Path::new("/cg"), Some(Path::new("/cache/root-1")))
    }

    #[test]
    fn a_record_is_read_as_it_was_written() {
        let dir = tempfile::tempdir().unwrap();
        assert!(matches!(Record::existing(dir.path()), Err(Error::NoSandbox { .. })));
        let record = plan(None, &[("casper", "10.13.13.4")]).unwrap();
        record.save(dir.path()).unwrap();
        assert_eq!(Record::existing(dir.path()).unwrap(), record);
        assert_eq!(record.group("casper"), Path::new("/cg/mch-magi.casper"));
    }

    #[test]
    fn a_damaged_record_is_named() {
        let dir = tempfile::tempdir().unwrap();
        for text in ["", "{", "[]", "{\"version\":1}", "{\"version\":1,\"new\":2}"] {
            fs::write(file(dir.path()), text).unwrap();
            let error = Record::load(dir.path()).unwrap_err();
            assert!(error.to_string().contains("sandbox.json"), "{error}");
        }
    }

    #[test]
    fn a_machine_that_is_no_longer_asked_for_stays_and_keeps_its_address() {
        let old = plan(None, &[("casper", "10.13.13.4"), ("melchior", "10.13.13.3")]).unwrap();
        let new = plan(Some(&old), &[("melchior", "10.13.13.3")]).unwrap();
        assert_eq!(new.machines.keys().collect::<Vec<_>>(), ["casper", "melchior"]);
        let error = plan(Some(&old), &[("balthazar", "10.13.13.4")]).unwrap_err();
        assert!(error.to_string().contains("the address 10.13.13.4 is in use by machine casper"), "{error}");
    }

    #[test]
    fn a_machine_gets_an_address_that_is_free() {
        let mut record = plan(None, &[("casper", "10.13.13.4"), ("melchior", "10.13.13.3")]).unwrap();
        record.readdress("casper", "10.13.13.9".parse().unwrap()).unwrap();
        let same = plan(Some(&record), &[("casper", "10.13.13.9"), ("melchior", "10.13.13.3")]).unwrap();
        assert_eq!(same, record);
        let error = record.readdress("casper", "10.13.13.3".parse().unwrap()).unwrap_err();
        assert!(error.to_string().contains("in use by machine melchior"), "{error}");
    }

    #[test]
    fn the_operator_moves_only_when_a_machine_takes_its_address() {
        let mut old = plan(None, &[("casper", "10.13.13.4")]).unwrap();
        assert_eq!(old.operator_ip.to_string(), "10.13.13.253", "254 is reserved");
        old.switch_made = true;
        let same = plan(Some(&old), &[("casper", "10.13.13.4"), ("melchior", "10.13.13.3")]).unwrap();
        assert_eq!((same.operator_ip, same.switch_made), (old.operator_ip, true));
        let moved = plan(Some(&old), &[("melchior", "10.13.13.253")]).unwrap();
        assert_eq!((moved.operator_ip.to_string().as_str(), moved.switch_made), ("10.13.13.252", false));
    }

    #[test]
    fn the_sandbox_of_another_network_is_not_taken_over() {
        let old = plan(None, &[]).unwrap();
        let mut other = spec(&[]);
        other.network = "10.14.0.0/24".parse().unwrap();
        let error = Record::plan(Some(&old), &other, Path::new("/cg"), Some(Path::new("/r"))).unwrap_err();
        assert!(error.to_string().contains("magi (10.13.13.0/24), not to magi (10.14.0.0/24)"), "{error}");
    }

    #[test]
    fn the_root_of_a_machine_is_read_in_both_forms() {
        let debian: RootRecord = serde_json::from_str("\"/cache/root-1/tree\"").unwrap();
        assert_eq!((debian.lower(Path::new("/m")), debian.system()), (vec!["/cache/root-1/tree".into()], None));
        let root = |beneath: &[&str]| SystemRoot {
            system: "/nix/store/s".into(),
            beneath: beneath.iter().map(|path| PathBuf::from(*path)).collect(),
        };
        for (root, lower) in [(root(&[]), vec!["/m/empty"]), (root(&["/a", "/b"]), vec!["/a", "/b"])] {
            let record = RootRecord::System(root);
            let text = serde_json::to_string(&record).unwrap();
            assert_eq!(serde_json::from_str::<RootRecord>(&text).unwrap(), record);
            let lower: Vec<PathBuf> = lower.into_iter().map(PathBuf::from).collect();
            assert_eq!(record.lower(Path::new("/m")), lower);
            assert_eq!(record.system(), Some(Path::new("/nix/store/s")));
        }
    }
}
