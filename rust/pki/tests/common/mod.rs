//! Test directory of a cluster with three etcd members, and an operator who can decrypt its keys.

#![allow(clippy::unwrap_used, clippy::panic, missing_docs, dead_code)]

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use machinist_model::{Cluster, NodeName, fixtures};
use machinist_pki::{Inventory, Plan, Policy, Survey, UpdateError, table, update};
use machinist_secrets::{Identities, generate_identity, no_prompt, write_private};
use tempfile::TempDir;
use time::{OffsetDateTime, macros::datetime};

pub const NOW: OffsetDateTime = datetime!(2026-11-21 12:00 UTC);

pub struct Lab {
    directory: TempDir,
    pub cluster: Cluster,
    pub now: OffsetDateTime,
    pub policy: Policy,
}

impl Lab {
    /// An empty directory, and an identity outside of it.
    pub fn new() -> Self {
        Self::of(fixtures::three_member_etcd())
    }

    /// An empty directory for another cluster.
    pub fn of(mut cluster: Cluster) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let identity = generate_identity();
        write_private(&directory.path().join("identity.txt"), identity.secret().as_bytes()).unwrap();
        cluster.operators[0].age = Some(identity.recipient().to_owned());
        Self { directory, cluster, now: NOW, policy: Policy::default() }
    }

    /// The same with all certificates issued.
    pub fn made() -> Self {
        let lab = Self::new();
        lab.update().unwrap();
        lab
    }

    /// Three Kubernetes control planes with stacked etcd and a worker, with all certificates issued.
    pub fn kubernetes() -> Self {
        let lab = Self::of(fixtures::ha_kubernetes());
        lab.update().unwrap();
        lab
    }

    /// The cluster's directory.
    pub fn root(&self) -> PathBuf {
        self.directory.path().join("cluster")
    }

    pub fn certs(&self) -> PathBuf {
        self.root().join("certs")
    }

    pub fn identity_file(&self) -> PathBuf {
        self.directory.path().join("identity.txt")
    }

    pub fn scratch(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub fn identities(&self) -> Identities {
        Identities::load(&[self.identity_file()], &no_prompt()).unwrap()
    }

    pub fn update(&self) -> Result<Survey, UpdateError> {
        update(&self.certs(), &self.cluster, &self.policy, self.now, || Ok(self.identities()))
    }

    pub fn inventory(&self) -> Inventory {
        Inventory::read(&self.root()).unwrap()
    }

    /// All files below the certificates' directory with their content.
    pub fn files(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        let mut found = BTreeMap::new();
        collect(&self.certs(), &self.certs(), &mut found);
        found
    }

    /// Writes the decrypted key of a node's leaf to a file for other programs.
    pub fn plaintext_key(&self, node: &str, leaf: &str) -> PathBuf {
        let keys = self
            .inventory()
            .node_keys(&table(&self.cluster), &name(node), &self.identities(), &self.cluster.operators)
            .unwrap();
        let key = keys.into_iter().find(|key| key.leaf == leaf).unwrap();
        let path = self.scratch(&format!("{node}-{leaf}.key"));
        fs::write(&path, &*key.pem).unwrap();
        path
    }
}

fn collect(root: &Path, directory: &Path, found: &mut BTreeMap<PathBuf, Vec<u8>>) {
    let Ok(entries) = fs::read_dir(directory) else { return };
    for entry in entries {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(root, &path, found);
        } else {
            found.insert(path.strip_prefix(root).unwrap().to_owned(), fs::read(&path).unwrap());
        }
    }
}

pub fn name(node: &str) -> NodeName {
    NodeName::parse(node).unwrap()
}

pub fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

/// Returns the certificates that a plan issues, with its reasons.
pub fn made(plan: &Plan) -> Vec<String> {
    let made = plan.actions.iter().filter(|action| action.step.makes_one());
    made.map(|action| format!("{}: {}", action.name, action.step.because())).collect()
}

/// Runs a program that serves as an independent check, and must be installed.
pub fn run(program: &str, arguments: &[&str]) -> Output {
    match Command::new(program).args(arguments).output() {
        Ok(output) => output,
        Err(error) => panic!("this test needs `{program}` (a Debian package): {error}"),
    }
}

pub fn stdout(output: &Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}
