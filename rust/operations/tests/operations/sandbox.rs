//! Removal of a sandbox whose machines.nix is of no use any more. The sandboxes named here do not exist.

use machinist_operations::{event::Event, failure::Kind, sandbox::machines};
use machinist_testkit::{cluster::FakeCluster, skip::is_root_or_skipped};

use super::stage::{FLEET, NOW, Stage};

const NAME: &str = "no-sandbox-of-this-name";

/// Returns a directory with the record of a sandbox, started in it or in another directory, and of a running cluster.
fn recorded(machines: &str, cluster: &str, elsewhere: Option<&str>) -> Stage {
    let stage = Stage::new(machines);
    let own = stage.directory().canonicalize().unwrap().display().to_string();
    let directory = elsewhere.unwrap_or(&own);
    let record = format!(r#"{{ "cluster": "{cluster}", "directory": "{directory}", "whole": true }}"#);
    for directory in ["state", ".machinist"] {
        std::fs::create_dir(stage.directory().join(directory)).unwrap();
    }
    stage.write("state/cluster.json", r#"{ "version": 1, "etcd": { "bootstrapped": true } }"#);
    stage.write(".machinist/sandbox.json", &record);
    stage
}

#[test]
fn a_sandbox_whose_machines_nix_does_not_load_is_removed_all_the_same() {
    if !is_root_or_skipped() {
        return;
    }
    let stage = recorded("{ broken", NAME, None);
    machines::down(&stage.context(NOW, FakeCluster::default()), false).unwrap();
    let said = |event: Event| matches!(event, Event::Warning { text } if text.contains("no-sandbox-of-this-name"));
    assert!(stage.heard().into_iter().any(said), "{}", stage.events());
    for file in ["state/cluster.json", ".machinist/sandbox.json"] {
        assert!(!stage.directory().join(file).exists(), "{file}");
    }
}

#[test]
fn a_sandbox_of_a_cluster_that_was_renamed_is_removed_and_real_machines_keep_their_record() {
    if !is_root_or_skipped() {
        return;
    }
    let stage = recorded(FLEET, NAME, None);
    machines::down(&stage.context(NOW, FakeCluster::default()), false).unwrap();
    assert!(stage.directory().join("state/cluster.json").exists());
    assert!(!stage.directory().join(".machinist/sandbox.json").exists());
}

#[test]
fn a_record_that_leads_elsewhere_is_refused() {
    let stage = recorded("{ broken", "../../etc", None);
    let failure = machines::down(&stage.context(NOW, FakeCluster::default()), false).unwrap_err();
    assert!(failure.message.contains("it names no cluster"), "{failure:?}");
}

#[test]
fn a_copy_of_a_directory_does_not_remove_the_sandbox_of_the_original() {
    let stage = recorded("{ broken", NAME, Some("/elsewhere"));
    let failure = machines::down(&stage.context(NOW, FakeCluster::default()), false).unwrap_err();
    assert_eq!(failure.kind, Kind::Input);
}

#[test]
fn without_a_record_the_failure_of_machines_nix_is_reported() {
    let stage = Stage::new("{ broken");
    let failure = machines::down(&stage.context(NOW, FakeCluster::default()), false).unwrap_err();
    assert_eq!(failure.kind, Kind::Input);
}
