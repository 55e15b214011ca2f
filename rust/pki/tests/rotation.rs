//! Rotation of authorities and the service accounts' key pair in stages: systems from before and after a stage accept
//! each other, and a run interrupted at any point is finished by the next.

#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use common::{Lab, NOW, name, run};
use machinist_model::NodeName;
use machinist_pki::{
    Certificate, Files, Holder, KeyId, Policy, Survey,
    rotation::{self, Found, Position, RECORD, RotateError, Stage, Subject, behind},
    survey, table,
    user::{self, User},
};
use time::Duration;

const STAGES: [Stage; 3] = [Stage::TrustBoth, Stage::SignNew, Stage::DropOld];

fn apply(lab: &Lab, what: &str, stage: Stage) -> Result<Survey, RotateError> {
    rotation::apply(&lab.certs(), &lab.cluster, what, stage, &Policy::default(), NOW, || Ok(lab.identities()))
}

fn now(lab: &Lab) -> Survey {
    survey(&lab.certs(), &lab.cluster, &Policy::default(), NOW).unwrap()
}

fn at(lab: &Lab, what: &str) -> Position {
    let survey = now(lab);
    let subject = Subject::all(&survey.table).find(|subject| subject.name() == what).unwrap();
    rotation::position(&survey.table, &survey.tree, subject)
}

/// Returns the ids of the trusted keys, in the order of the file.
fn trusted(lab: &Lab, files: &Files) -> Vec<KeyId> {
    let tree = now(lab).tree;
    let ids = tree.trusted(&files.certificate).iter().map(|certificate| certificate.key_id.clone());
    ids.chain(tree.public_keys(&files.certificate).iter().cloned()).collect()
}

fn files_of(lab: &Lab, what: &str) -> Files {
    let table = table(&lab.cluster);
    Subject::all(&table).find(|subject| subject.name() == what).unwrap().files().clone()
}

/// Returns true if openssl accepts all certificates of that authority, as they were in `leaves`, with the trust of
/// `bundle`.
fn believed(lab: &Lab, what: &str, bundle: &[u8], leaves: &BTreeMap<PathBuf, Vec<u8>>) -> bool {
    let file = lab.scratch("bundle.pem");
    fs::write(&file, bundle).unwrap();
    let table = table(&lab.cluster);
    let own = table.certificates.iter().filter(|spec| spec.authority.as_str() == what);
    let mut arguments = ["verify", "-attime", &NOW.unix_timestamp().to_string(), "-CAfile"].map(str::to_owned).to_vec();
    arguments.push(file.display().to_string());
    for (number, spec) in own.enumerate() {
        let leaf = lab.scratch(&format!("leaf-{number}.pem"));
        fs::write(&leaf, &leaves[&spec.files.certificate]).unwrap();
        arguments.push(leaf.display().to_string());
    }
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    run("openssl", &words).status.success()
}

#[test]
fn machines_before_and_after_each_stage_believe_each_other() {
    for what in ["etcd", "kubernetes", "front-proxy"] {
        let lab = Lab::kubernetes();
        let file = files_of(&lab, what).certificate;
        let mut before = lab.files();
        let first = before.clone();
        for stage in STAGES {
            apply(&lab, what, stage).unwrap();
            let after = lab.files();
            for (bundle, leaves) in [(&before, &before), (&before, &after), (&after, &before), (&after, &after)] {
                assert!(believed(&lab, what, &bundle[&file], leaves), "{what}: {stage}");
            }
            assert!(now(&lab).plan.problems.is_empty(), "{what}: {stage}");
            assert!(!now(&lab).plan.makes_any(), "{what}: {stage}");
            before = after;
        }
        assert!(!believed(&lab, what, &before[&file], &first), "{what}: the old authority's certificates are no good");
        assert!(
            !believed(&lab, what, &first[&file], &before),
            "{what}: nor are the new ones to who knows the old one only"
        );
        assert_eq!(first.keys().collect::<Vec<_>>(), before.keys().collect::<Vec<_>>(), "no file is left over");
        let other = |path: &&PathBuf| first[*path] != before[*path];
        let table = table(&lab.cluster);
        let own = table.certificates.iter().filter(|spec| spec.authority.as_str() == what).map(|spec| &spec.files);
        let own: BTreeSet<PathBuf> =
            own.chain([&files_of(&lab, what)]).flat_map(|f| [f.certificate.clone(), f.key.clone()]).collect();
        assert_eq!(first.keys().filter(other).cloned().collect::<BTreeSet<_>>(), own, "nothing else changes");
    }
}

#[test]
fn the_service_accounts_keys_verify_before_they_sign_and_after() {
    let lab = Lab::kubernetes();
    let files = files_of(&lab, "service-account");
    let [old] = <[KeyId; 1]>::try_from(trusted(&lab, &files)).unwrap();
    apply(&lab, "service-account", Stage::TrustBoth).unwrap();
    let [first, new] = <[KeyId; 2]>::try_from(trusted(&lab, &files)).unwrap();
    assert_eq!(first, old);
    let signing = || lab.inventory().shared["service-account"].key_id.clone();
    assert_eq!(signing(), old, "the old one signs until all verify with both");
    apply(&lab, "service-account", Stage::SignNew).unwrap();
    assert_eq!(trusted(&lab, &files), [new.clone(), old]);
    assert_eq!(signing(), new);
    let keys = lab.inventory().node_keys(&table(&lab.cluster), &name("cp1"), &lab.identities(), &lab.cluster.operators);
    assert!(keys.unwrap().iter().any(|key| key.leaf == "service-account" && key.key_id == new));
    rotation::note_in_use(&lab.certs(), "service-account", NOW).unwrap();
    let Position::At(rotation) = at(&lab, "service-account") else { panic!("{:?}", at(&lab, "service-account")) };
    assert_eq!(rotation.in_use_since, Some(NOW));
    apply(&lab, "service-account", Stage::DropOld).unwrap();
    assert_eq!(trusted(&lab, &files), [new]);
    assert_eq!(at(&lab, "service-account"), Position::Idle);
}

#[test]
fn a_stage_that_is_there_is_not_made_again() {
    for what in ["etcd", "secrets-encryption", "service-account"] {
        let lab = Lab::kubernetes();
        for stage in [Stage::TrustBoth, Stage::SignNew] {
            apply(&lab, what, stage).unwrap();
            let files = lab.files();
            apply(&lab, what, stage).unwrap();
            assert_eq!(lab.files(), files, "{what}: {stage}");
        }
    }
}

/// Undoes part of a stage, as if it had been interrupted, and applies it again.
#[track_caller]
fn cut_off(what: &str, stage: Stage, undo: impl Fn(&Path, &BTreeMap<PathBuf, Vec<u8>>)) {
    let lab = if what == "etcd" { Lab::made() } else { Lab::kubernetes() };
    for before in STAGES.into_iter().take_while(|before| *before < stage) {
        apply(&lab, what, before).unwrap();
    }
    let before = lab.files();
    apply(&lab, what, stage).unwrap();
    let wanted = (trusted(&lab, &files_of(&lab, what)), lab.files().into_keys().collect::<Vec<_>>());
    undo(&lab.certs(), &before);
    assert_eq!(at(&lab, what), Position::Unfinished(stage));
    apply(&lab, what, stage).unwrap();
    let position = at(&lab, what);
    assert!(matches!(position, Position::At(_) | Position::Idle), "{position:?}");
    let ids = trusted(&lab, &files_of(&lab, what));
    // A new authority that is not deployed yet may be issued again.
    let same = if stage == Stage::TrustBoth { ids.len() == 2 && ids[0] == wanted.0[0] } else { ids == wanted.0 };
    assert!(same, "{ids:?}, wanted {wanted:?}");
    assert_eq!(lab.files().into_keys().collect::<Vec<_>>(), wanted.1);
    let survey = now(&lab);
    assert!(survey.plan.problems.is_empty() && !survey.plan.makes_any(), "{:?}", survey.plan);
}

#[test]
fn a_run_that_was_cut_off_anywhere_is_finished_by_the_next() {
    for (what, file, stem) in [
        ("etcd", "authorities/etcd.pem", "authorities/etcd"),
        ("secrets-encryption", "shared/secrets-encryption.pub", "shared/secrets-encryption"),
        ("service-account", "shared/service-account.pub", "shared/service-account"),
    ] {
        let (key, next) = (format!("{stem}.key.age"), format!("{stem}.next.key.age"));
        let put = |certs: &Path, path: &str, from: &BTreeMap<PathBuf, Vec<u8>>| {
            fs::write(certs.join(path), &from[Path::new(path)]).unwrap();
        };
        // Only recorded; then the new key too.
        cut_off(what, Stage::TrustBoth, |certs, before| {
            put(certs, file, before);
            fs::remove_file(certs.join(&next)).unwrap();
        });
        cut_off(what, Stage::TrustBoth, |certs, before| put(certs, file, before));
        // Recorded, with the key in its place; then also the order, with the spare copy of the key still present.
        cut_off(what, Stage::SignNew, |certs, before| {
            for path in [file, &key, &next] {
                put(certs, path, before);
            }
        });
        cut_off(what, Stage::SignNew, |certs, before| {
            put(certs, file, before);
            put(certs, &next, before);
        });
        cut_off(what, Stage::SignNew, |certs, before| put(certs, &next, before));
        let dropping = |certs: &Path| {
            let text = format!(r#"{{"{what}": {{"stage": "drop-old", "since": "2026-11-21T12:00:00Z"}}}}"#);
            fs::write(certs.join(RECORD), text).unwrap();
        };
        cut_off(what, Stage::DropOld, |certs, before| {
            put(certs, file, before);
            dropping(certs);
        });
        cut_off(what, Stage::DropOld, |certs, _| dropping(certs));
    }
    // Before the copy of the old key, which decrypts existing data.
    cut_off("secrets-encryption", Stage::SignNew, |certs, before| {
        for path in ["", ".next"].map(|stage| format!("shared/secrets-encryption{stage}.key.age")) {
            fs::write(certs.join(&path), &before[Path::new(&path)]).unwrap();
        }
        let file = "shared/secrets-encryption.pub";
        fs::write(certs.join(file), &before[Path::new(file)]).unwrap();
        fs::remove_file(certs.join("shared/secrets-encryption.previous.key.age")).unwrap();
    });
    // Leaves that were still to be issued.
    cut_off("etcd", Stage::SignNew, |certs, before| {
        let leaf = "nodes/casper/etcd-server";
        for path in [format!("{leaf}.pem"), format!("{leaf}.key.age")] {
            fs::write(certs.join(&path), &before[Path::new(&path)]).unwrap();
        }
    });
}

#[test]
fn a_damaged_new_key_is_found_before_the_old_one_is_gone() {
    let lab = Lab::kubernetes();
    apply(&lab, "etcd", Stage::TrustBoth).unwrap();
    let next = lab.certs().join("authorities/etcd.next.key.age");
    fs::copy(lab.certs().join("authorities/kubernetes.key.age"), &next).unwrap();
    let old = lab.files();
    let error = apply(&lab, "etcd", Stage::SignNew).unwrap_err();
    assert!(error.to_string().contains("its key is not the new trusted one"), "{error}");
    assert_eq!(lab.files()[Path::new("authorities/etcd.key.age")], old[Path::new("authorities/etcd.key.age")]);
}

/// Returns the files of each machine that runs the directory's current state.
fn deployed(lab: &Lab) -> BTreeMap<NodeName, Found> {
    let table = table(&lab.cluster);
    let read = |path: &Path| fs::read_to_string(lab.certs().join(path)).unwrap();
    let mut found: BTreeMap<NodeName, Found> = BTreeMap::new();
    let mut put = |node: &NodeName, name: String, path: &Path| {
        let files = found.entry(node.clone()).or_insert_with(|| Ok(BTreeMap::new()));
        files.as_mut().unwrap().insert(name, read(path));
    };
    for leaf in &table.certificates {
        let Holder::Node(node) = &leaf.holder else { continue };
        put(node, format!("{}.pem", leaf.leaf), &leaf.files.certificate);
        put(node, format!("{}-ca.pem", leaf.authority), &Files::authority(leaf.authority).certificate);
    }
    for pair in &table.key_pairs {
        pair.holders.iter().for_each(|node| put(node, format!("{}.pub", pair.name), &pair.files.certificate));
    }
    found
}

fn lagging(lab: &Lab, what: &str, stage: Stage, found: &BTreeMap<NodeName, Found>) -> Vec<String> {
    let survey = now(lab);
    let subject = Subject::all(&survey.table).find(|subject| subject.name() == what).unwrap();
    let behind = behind(&survey.table, &survey.tree, subject, stage, found);
    let without_ids =
        |why: &String| why.split(' ').filter(|word| KeyId::parse(word).is_none()).collect::<Vec<_>>().join(" ");
    behind.iter().map(|(node, why)| format!("{node}: {}", without_ids(why))).collect()
}

#[test]
fn a_machine_that_runs_what_was_before_or_does_not_answer_holds_the_next_stage_back() {
    let lab = Lab::kubernetes();
    let mut old = deployed(&lab);
    apply(&lab, "etcd", Stage::TrustBoth).unwrap();
    assert_eq!(
        lagging(&lab, "etcd", Stage::TrustBoth, &old),
        ["cp1: it does not trust yet", "cp2: it does not trust yet", "cp3: it does not trust yet"]
    );
    old = deployed(&lab);
    assert!(lagging(&lab, "etcd", Stage::TrustBoth, &old).is_empty());
    old.insert(name("cp2"), Err("cp2: no answer".to_owned()));
    old.insert(name("cp3"), Ok(BTreeMap::new()));
    assert_eq!(
        lagging(&lab, "etcd", Stage::TrustBoth, &old),
        ["cp2: cp2: no answer", "cp3: it has no certificates yet"]
    );
    old = deployed(&lab);
    old.remove(&name("cp1"));
    assert_eq!(lagging(&lab, "etcd", Stage::TrustBoth, &old), ["cp1: it was not queried"]);
    old = deployed(&lab);
    apply(&lab, "etcd", Stage::SignNew).unwrap();
    let mut new = deployed(&lab);
    assert_eq!(lagging(&lab, "etcd", Stage::SignNew, &old).len(), 3);
    let leaf = old[&name("cp1")].as_ref().unwrap()["kube-apiserver-etcd-client.pem"].clone();
    new.get_mut(&name("cp1")).unwrap().as_mut().unwrap().insert("kube-apiserver-etcd-client.pem".to_owned(), leaf);
    assert_eq!(
        lagging(&lab, "etcd", Stage::SignNew, &new),
        ["cp1: its kube-apiserver-etcd-client is not yet signed by"]
    );
    assert!(lagging(&lab, "etcd", Stage::SignNew, &deployed(&lab)).is_empty());
}

#[test]
fn an_api_server_that_still_signs_with_the_old_key_holds_the_last_stage_back() {
    let lab = Lab::kubernetes();
    apply(&lab, "service-account", Stage::TrustBoth).unwrap();
    let both = deployed(&lab);
    assert!(lagging(&lab, "service-account", Stage::TrustBoth, &both).is_empty());
    apply(&lab, "service-account", Stage::SignNew).unwrap();
    let behind = lagging(&lab, "service-account", Stage::SignNew, &both);
    assert_eq!(behind[0], "cp1: it does not sign with yet");
    assert_eq!(behind.len(), 3);
    assert!(lagging(&lab, "service-account", Stage::SignNew, &deployed(&lab)).is_empty());
}

#[test]
fn an_api_server_that_cannot_read_what_the_new_key_encrypts_holds_it_back() {
    let lab = Lab::kubernetes();
    let old = deployed(&lab);
    apply(&lab, "secrets-encryption", Stage::TrustBoth).unwrap();
    assert_eq!(lagging(&lab, "secrets-encryption", Stage::TrustBoth, &old)[0], "cp1: it does not decrypt with yet");
    let both = deployed(&lab);
    assert!(lagging(&lab, "secrets-encryption", Stage::TrustBoth, &both).is_empty());
    apply(&lab, "secrets-encryption", Stage::SignNew).unwrap();
    let behind = lagging(&lab, "secrets-encryption", Stage::SignNew, &both);
    assert_eq!(behind[0], "cp1: it does not encrypt with yet");
    assert_eq!(behind.len(), 3);
}

#[test]
fn a_kubeconfig_made_in_a_rotation_trusts_both_and_is_signed_by_the_one_that_signs() {
    let lab = Lab::kubernetes();
    let user = User { name: "jane".to_owned(), group: None, life: Duration::hours(8) };
    for stage in STAGES {
        apply(&lab, "kubernetes", stage).unwrap();
        let made = user::credentials(&lab.certs(), &user, NOW, &lab.identities(), &lab.cluster.operators).unwrap();
        let trusted = Certificate::parse_all(made.authority.as_bytes()).unwrap();
        assert_eq!(trusted.len(), if stage == Stage::DropOld { 1 } else { 2 }, "{stage}");
        assert!(Certificate::parse(made.certificate.as_bytes()).unwrap().is_signed_by(&trusted[0]), "{stage}");
    }
}

#[test]
fn what_is_not_there_is_not_rotated() {
    let lab = Lab::new();
    for what in ["etcd", "kubernetes", "nonsense"] {
        let error = apply(&lab, what, Stage::TrustBoth).unwrap_err();
        assert!(error.to_string().ends_with("does not exist yet"), "{error}");
        assert!(!lab.certs().join(RECORD).exists());
    }
}
