//! SSH host keys, compared with `ssh-keygen`.

#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use std::{fs, os::unix::fs::PermissionsExt};

use common::{Lab, name, run, stdout};
use machinist_pki::host_key::{self, System};
use machinist_secrets::Recipients;

#[test]
fn ssh_keygen_reads_the_key_pair() {
    let lab = Lab::new();
    let recipients = Recipients::from_operators(&lab.cluster.operators).unwrap();
    let node = name("casper");
    let public = host_key::ensure(&lab.certs(), &node, System::Installed, &recipients).unwrap();
    let private = host_key::open(&lab.certs(), &node, System::Installed, &lab.identities(), &lab.cluster.operators)
        .unwrap()
        .unwrap();
    let file = lab.scratch("ssh_host_ed25519_key");
    fs::write(&file, &*private).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    assert_eq!(stdout(&run("ssh-keygen", &["-y", "-f", file.to_str().unwrap()])).trim_end(), public);
    assert!(public.ends_with(" casper"));
}

#[test]
fn a_host_key_is_made_once() {
    let lab = Lab::made();
    let recipients = Recipients::from_operators(&lab.cluster.operators).unwrap();
    let node = name("casper");
    assert_eq!(host_key::public(&lab.certs(), &node, System::Installed).unwrap(), None);
    let first = host_key::ensure(&lab.certs(), &node, System::Installed, &recipients).unwrap();
    let files = lab.files();
    assert_eq!(host_key::ensure(&lab.certs(), &node, System::Installed, &recipients).unwrap(), first);
    assert_eq!(host_key::public(&lab.certs(), &node, System::Installed).unwrap(), Some(first));
    assert_eq!(lab.files(), files);
    // Certificates and host keys do not interfere with each other.
    lab.update().unwrap();
    assert_eq!(lab.files(), files);
}

#[test]
fn a_lost_private_half_is_named_and_not_replaced() {
    let lab = Lab::new();
    let recipients = Recipients::from_operators(&lab.cluster.operators).unwrap();
    let node = name("casper");
    host_key::ensure(&lab.certs(), &node, System::Installed, &recipients).unwrap();
    let file = lab.certs().join("nodes/casper/ssh_host_ed25519_key.age");
    fs::write(&file, "garbage").unwrap();
    let error = host_key::ensure(&lab.certs(), &node, System::Installed, &recipients).unwrap_err();
    assert_eq!(error.to_string(), format!("{} is not an encrypted SSH host key", file.display()));
    fs::remove_file(&file).unwrap();
    let error = host_key::ensure(&lab.certs(), &node, System::Installed, &recipients).unwrap_err();
    assert_eq!(error.to_string(), format!("{} is missing, but its public half exists", file.display()));
}

#[test]
fn two_runs_at_once_get_one_host_key() {
    let lab = Lab::new();
    let recipients = Recipients::from_operators(&lab.cluster.operators).unwrap();
    let node = name("casper");
    let keys: Vec<_> = std::thread::scope(|scope| {
        let runs: Vec<_> = (0..4)
            .map(|_| scope.spawn(|| host_key::ensure(&lab.certs(), &node, System::Installed, &recipients).unwrap()))
            .collect();
        runs.into_iter().map(|run| run.join().unwrap()).collect()
    });
    assert!(keys.iter().all(|key| *key == keys[0]));
}

#[test]
fn a_server_has_another_key_until_it_is_installed() {
    let lab = Lab::new();
    let recipients = Recipients::from_operators(&lab.cluster.operators).unwrap();
    let node = name("casper");
    let first = host_key::ensure(&lab.certs(), &node, System::FirstBoot, &recipients).unwrap();
    let installed = host_key::ensure(&lab.certs(), &node, System::Installed, &recipients).unwrap();
    assert_ne!(first, installed);
    assert_eq!(host_key::ensure(&lab.certs(), &node, System::FirstBoot, &recipients).unwrap(), first);
    // The next server of the same node has a key of its own.
    host_key::remove_first_boot(&lab.certs(), &node).unwrap();
    host_key::remove_first_boot(&lab.certs(), &node).unwrap();
    assert_ne!(host_key::ensure(&lab.certs(), &node, System::FirstBoot, &recipients).unwrap(), first);
    assert_eq!(host_key::public(&lab.certs(), &node, System::Installed).unwrap(), Some(installed));
}
