//! Key that encrypts Kubernetes' Secrets: a new cluster has one, an older one gets it in stages, and at every moment
//! each API server can read the data written by every other one.

#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use std::{collections::BTreeSet, fs};

use common::{Lab, NOW, made, name};
use machinist_pki::{
    Policy, Survey,
    encryption::SECRETS_ENCRYPTION,
    report::{self, State},
    rotation::{self, RotateError, Stage},
    survey, table,
};
use serde_json::Value;

const STAGES: [Stage; 3] = [Stage::TrustBoth, Stage::SignNew, Stage::DropOld];

fn apply(lab: &Lab, stage: Stage) -> Result<Survey, RotateError> {
    let identities = || Ok(lab.identities());
    rotation::apply(&lab.certs(), &lab.cluster, SECRETS_ENCRYPTION, stage, &Policy::default(), NOW, identities)
}

fn now(lab: &Lab) -> Survey {
    survey(&lab.certs(), &lab.cluster, &Policy::default(), NOW).unwrap()
}

/// Returns a cluster from before Secrets were encrypted.
fn older() -> Lab {
    let lab = Lab::kubernetes();
    for file in ["secrets-encryption.pub", "secrets-encryption.key.age"] {
        fs::remove_file(lab.certs().join("shared").join(file)).unwrap();
    }
    lab
}

/// Returns the file that a node gets: its name on the node and its content.
fn delivered(lab: &Lab, node: &str) -> Option<(String, Value)> {
    let table = table(&lab.cluster);
    let inventory = lab.inventory();
    let entry = *inventory.of_node(&table, &name(node)).get(SECRETS_ENCRYPTION)?;
    let operators = &lab.cluster.operators;
    let text = inventory.content(&table, SECRETS_ENCRYPTION, entry, &lab.identities(), operators).unwrap();
    Some((entry.key_on_node(SECRETS_ENCRYPTION), serde_json::from_slice(&text).unwrap()))
}

/// Returns the providers of an API server's configuration, with the encrypting one first: `plain` or a key's secret.
fn providers(configuration: &Value) -> Vec<String> {
    let providers = configuration["resources"][0]["providers"].as_array().unwrap().iter();
    let secrets = |provider: &Value| match provider.pointer("/secretbox/keys") {
        Some(keys) => keys.as_array().unwrap().iter().map(|key| key["secret"].as_str().unwrap().to_owned()).collect(),
        None => vec!["plain".to_owned()],
    };
    providers.flat_map(secrets).collect()
}

#[test]
fn a_new_cluster_encrypts_secrets_and_only_control_planes_get_the_key() {
    let lab = Lab::kubernetes();
    let (file, configuration) = delivered(&lab, "cp1").unwrap();
    assert!(file.starts_with("/var/lib/machinist/keys/secrets-encryption-"), "{file}");
    assert_eq!(configuration["kind"], "EncryptionConfiguration");
    assert_eq!(configuration["resources"][0]["resources"], serde_json::json!(["secrets"]));
    let keys = providers(&configuration);
    assert_eq!((keys.len(), keys[0].len()), (1, 44), "one key of 32 octets, and nothing that is plain text");
    assert_eq!(delivered(&lab, "cp2").unwrap(), (file, configuration));
    assert_eq!(delivered(&lab, "w1"), None);
    assert!(made(&lab.update().unwrap().plan).is_empty());
}

#[test]
fn a_cluster_that_runs_is_not_encrypted_by_itself_and_says_so() {
    let lab = older();
    assert!(
        made(&lab.update().unwrap().plan).is_empty(),
        "API servers without the key could not read what one with it writes"
    );
    assert_eq!(delivered(&lab, "cp1"), None);
    let survey = now(&lab);
    let rows = report::list(&survey);
    let row = rows.iter().find(|row| row.name == SECRETS_ENCRYPTION).unwrap();
    assert_eq!(row.state, State::Ok);
    assert!(row.because.contains("unencrypted in etcd: `machinist certs rotate-encryption`"), "{}", row.because);
    assert!(survey.plan.notices.iter().any(|notice| notice.subject == SECRETS_ENCRYPTION));
}

#[test]
fn the_first_run_of_a_new_cluster_writes_this_key_before_the_one_by_which_an_older_cluster_is_known() {
    let lab = Lab::of(machinist_model::fixtures::ha_kubernetes());
    let actions = now(&lab).plan.actions;
    let place = |name: &str| actions.iter().position(|action| action.name == name).unwrap();
    assert!(place(SECRETS_ENCRYPTION) < place("service-account"));
    // The leftovers of a run that was interrupted between the two.
    lab.update().unwrap();
    for file in ["service-account.pub", "service-account.key.age"] {
        fs::remove_file(lab.certs().join("shared").join(file)).unwrap();
    }
    let before = delivered(&lab, "cp1").unwrap();
    assert_eq!(made(&lab.update().unwrap().plan), ["service-account: missing"]);
    assert_eq!(delivered(&lab, "cp1").unwrap(), before);
}

/// Checks that in each stage, a server of this stage and one of the previous stage can read each other's data.
#[track_caller]
fn check_stages(lab: &Lab, first: &[String]) -> Vec<Vec<String>> {
    let mut before = first.to_vec();
    let mut all = Vec::new();
    let mut files = BTreeSet::new();
    for stage in STAGES {
        apply(lab, stage).unwrap();
        let (file, configuration) = delivered(lab, "cp1").unwrap();
        let after = providers(&configuration);
        assert!(after.contains(&before[0]) && before.contains(&after[0]), "{stage}: {before:?} and {after:?}");
        assert!(files.insert(file), "{stage}: a generation that is rolled back finds the file that it was built for");
        let survey = now(lab);
        assert!(survey.plan.problems.is_empty() && !survey.plan.makes_any(), "{stage}: {:?}", survey.plan);
        assert!(survey.plan.orphans.is_empty(), "{stage}: {:?}", survey.plan.orphans);
        all.push(after.clone());
        before = after;
    }
    all
}

#[test]
fn plain_text_is_encrypted_in_stages() {
    let lab = older();
    let stages = check_stages(&lab, &["plain".to_owned()]);
    let key = &stages[2][0];
    assert_eq!(
        stages,
        [vec!["plain".to_owned(), key.clone()], vec![key.clone(), "plain".to_owned()], vec![key.clone()]]
    );
    assert_eq!(lab.files().keys().collect::<Vec<_>>(), Lab::kubernetes().files().keys().collect::<Vec<_>>());
}

#[test]
fn a_key_is_replaced_by_the_next_one_in_stages() {
    let lab = Lab::kubernetes();
    let before = lab.files();
    let old = providers(&delivered(&lab, "cp1").unwrap().1);
    let stages = check_stages(&lab, &old);
    let new = stages[2][0].clone();
    assert_ne!(new, old[0]);
    assert_eq!(stages, [vec![old[0].clone(), new.clone()], vec![new.clone(), old[0].clone()], vec![new]]);
    assert_eq!(lab.files().keys().collect::<Vec<_>>(), before.keys().collect::<Vec<_>>(), "no file is left over");
}

#[test]
fn a_key_that_is_missing_is_not_made_again() {
    let lab = Lab::kubernetes();
    fs::remove_file(lab.certs().join("shared/secrets-encryption.key.age")).unwrap();
    let error = lab.update().unwrap_err();
    assert!(error.to_string().contains("the private half of "), "{error}");
    assert!(error.hint().unwrap().contains("cannot be read without it"), "{error}");
    assert!(lab.inventory().incomplete.contains(&"certs/shared/secrets-encryption.pub".to_owned()));
    // Also in the middle of a rotation: data encrypted by the old key still exists.
    let lab = Lab::kubernetes();
    apply(&lab, Stage::TrustBoth).unwrap();
    apply(&lab, Stage::SignNew).unwrap();
    fs::remove_file(lab.certs().join("shared/secrets-encryption.previous.key.age")).unwrap();
    assert!(lab.update().is_err());
}
