//! Keys of a control mesh: a pair for each node, in the form of the backend, and their rotation.

#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use std::{collections::BTreeMap, fs};

use common::{Lab, NOW, name};
use machinist_model::{Control, ControlBackend, fixtures};
use machinist_pki::{
    Policy,
    rotation::{self, Found, Stage, Subject, behind},
    survey, table,
};

fn lab(backend: ControlBackend) -> Lab {
    let mut cluster = fixtures::three_member_etcd();
    cluster.network.control = Some(Control { backend, port: backend.default_port() });
    let lab = Lab::of(cluster);
    lab.update().unwrap();
    lab
}

fn pair(backend: ControlBackend, node: &str) -> String {
    machinist_pki::control::pair_name(backend, &name(node))
}

/// Returns the file that the node gets, and its path there.
fn delivered(lab: &Lab, backend: ControlBackend, node: &str) -> (String, String) {
    let (table, inventory) = (table(&lab.cluster), lab.inventory());
    let leaf = pair(backend, node);
    let own = inventory.of_node(&table, &name(node));
    assert_eq!(own.keys().filter(|name| name.starts_with("control-")).count(), 1, "only its own");
    let entry = own[leaf.as_str()];
    let text = inventory.content(&table, &leaf, entry, &lab.identities(), &lab.cluster.operators).unwrap();
    (String::from_utf8(text.to_vec()).unwrap(), entry.key_on_node(&leaf))
}

fn public(lab: &Lab, backend: ControlBackend, node: &str) -> Vec<String> {
    let keys = lab.inventory().control_keys(&table(&lab.cluster), backend).unwrap();
    assert_eq!(keys.len(), 3);
    keys[&name(node)].public.iter().map(|key| key.text.clone()).collect()
}

#[test]
fn each_node_gets_the_private_half_of_its_own_pair_alone() {
    let lab = lab(ControlBackend::Tinc);
    let (text, path) = delivered(&lab, ControlBackend::Tinc, "casper");
    assert!(text.starts_with("-----BEGIN ED25519 PRIVATE KEY-----\n"), "tinc's own format");
    assert!(path.starts_with("/var/lib/machinist/keys/control-tinc-casper-"), "{path}");
    assert_ne!(text, delivered(&lab, ControlBackend::Tinc, "melchior").0);
    assert_eq!(public(&lab, ControlBackend::Tinc, "casper")[0].len(), 43);
}

#[test]
fn another_backend_has_other_keys() {
    let lab = lab(ControlBackend::Wireguard);
    let (text, path) = delivered(&lab, ControlBackend::Wireguard, "casper");
    assert_eq!(text.len(), 45, "a line of base64");
    assert!(path.contains("control-wireguard-casper-"), "{path}");
    assert_eq!(public(&lab, ControlBackend::Wireguard, "casper")[0].len(), 44);
}

#[test]
fn a_rotation_publishes_a_key_before_its_node_uses_it() {
    let backend = ControlBackend::Tinc;
    let lab = lab(backend);
    let casper = pair(backend, "casper");
    let apply = |stage| {
        rotation::apply(&lab.certs(), &lab.cluster, &casper, stage, &Policy::default(), NOW, || Ok(lab.identities()))
            .unwrap();
        (public(&lab, backend, "casper"), delivered(&lab, backend, "casper"))
    };
    let (old, in_use) = (public(&lab, backend, "casper"), delivered(&lab, backend, "casper"));
    let (both, still) = apply(Stage::TrustBoth);
    assert_eq!((both.len(), &both[0]), (2, &old[0]));
    assert_eq!(still, in_use, "the node has the old one");
    let (swapped, new) = apply(Stage::SignNew);
    assert_eq!(swapped, [both[1].clone(), both[0].clone()]);
    assert_ne!(new, in_use, "another key, at another path: a generation that is rolled back finds its own");
    let (only, _) = apply(Stage::DropOld);
    assert_eq!(only, both[1..]);
}

#[test]
fn a_stage_waits_for_every_node_and_not_only_for_the_key_s_holder() {
    let backend = ControlBackend::Tinc;
    let lab = lab(backend);
    let casper = pair(backend, "casper");
    let file = lab.certs().join(format!("shared/{casper}.pub"));
    let before = fs::read_to_string(&file).unwrap();
    rotation::apply(&lab.certs(), &lab.cluster, &casper, Stage::TrustBoth, &Policy::default(), NOW, || {
        Ok(lab.identities())
    })
    .unwrap();
    let survey = survey(&lab.certs(), &lab.cluster, &Policy::default(), NOW).unwrap();
    let subject = Subject::all(&survey.table).find(|subject| subject.name() == casper).unwrap();
    assert_eq!(subject.command(), "machinist certs rotate-control");
    let has = |text: &str| -> Found { Ok(BTreeMap::from([(format!("{casper}.pub"), text.to_owned())])) };
    let after = fs::read_to_string(&file).unwrap();
    let found = BTreeMap::from([
        (name("balthazar"), has(&before)),
        (name("casper"), has(&after)),
        (name("melchior"), has(&after)),
    ]);
    let late = behind(&survey.table, &survey.tree, subject, Stage::TrustBoth, &found);
    assert_eq!(late.keys().map(ToString::to_string).collect::<Vec<_>>(), ["balthazar"]);
}

#[test]
fn a_damaged_public_half_is_named() {
    let lab = lab(ControlBackend::Tinc);
    let other = machinist_pki::PrivateKey::generate(machinist_pki::KeyAlgorithm::EcdsaP256).unwrap();
    let file = lab.certs().join(format!("shared/{}.pub", pair(ControlBackend::Tinc, "casper")));
    // Of a kind that the mesh cannot use, with its private half lost in the same way.
    fs::write(&file, other.public_pem()).unwrap();
    let survey = survey(&lab.certs(), &lab.cluster, &Policy::default(), NOW).unwrap();
    let text = survey.plan.refusal().unwrap();
    assert!(text.contains("control-tinc-casper"), "{text}");
}
