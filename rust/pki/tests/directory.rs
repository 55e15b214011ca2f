//! Certificates' directory on disk.

#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use std::{
    fs,
    os::unix::fs::symlink,
    path::Path,
    process::{Command, Stdio},
    time::Duration as StdDuration,
};

use common::{Lab, made, mode, name};
use machinist_pki::{
    Policy, Renewal, UpdateError,
    report::{State, list, show},
    survey, table, update,
};
use machinist_secrets::{IdentityError, generate_identity};
use time::Duration;

fn no_identity() -> Result<machinist_secrets::Identities, IdentityError> {
    panic!("no identity is needed")
}

#[test]
fn a_second_run_changes_no_byte_and_needs_no_identity() {
    let lab = Lab::made();
    let before = lab.files();
    assert_eq!(before.len(), 2 * (1 + 3 * 3 + 1));
    let survey = update(&lab.certs(), &lab.cluster, &lab.policy, lab.now, no_identity).unwrap();
    assert!(made(&survey.plan).is_empty());
    assert_eq!(lab.files(), before);
}

#[test]
fn the_first_run_needs_no_identity() {
    let lab = Lab::new();
    update(&lab.certs(), &lab.cluster, &lab.policy, lab.now, no_identity).unwrap();
}

#[test]
fn only_what_drifted_is_renewed() {
    let mut lab = Lab::made();
    let before = lab.files();
    lab.cluster.nodes.get_mut("casper").unwrap().ip = "10.13.13.9".parse().unwrap();
    assert_eq!(
        made(&lab.update().unwrap().plan),
        [
            "etcd-peer-casper: SANs differ: +10.13.13.9 -10.13.13.4",
            "etcd-server-casper: SANs differ: +10.13.13.9 -10.13.13.4",
        ]
    );
    let changed: Vec<_> = lab.files().into_iter().filter(|(path, content)| before.get(path) != Some(content)).collect();
    let changed: Vec<_> = changed.iter().map(|(path, _)| path.to_str().unwrap()).collect();
    assert_eq!(
        changed,
        [
            "nodes/casper/etcd-peer.key.age",
            "nodes/casper/etcd-peer.pem",
            "nodes/casper/etcd-server.key.age",
            "nodes/casper/etcd-server.pem",
        ]
    );
    assert!(made(&lab.update().unwrap().plan).is_empty());
}

#[test]
fn no_private_key_is_in_the_clear_and_no_key_file_is_for_others() {
    let lab = Lab::made();
    for (path, content) in lab.files() {
        let text = String::from_utf8(content).unwrap();
        assert!(!text.contains("PRIVATE KEY"), "{}", path.display());
        let file = lab.certs().join(&path);
        if path.to_str().unwrap().ends_with(".key.age") {
            assert!(text.starts_with("-----BEGIN AGE ENCRYPTED FILE-----\n"));
            assert_eq!(mode(&file), 0o600);
        } else {
            assert!(text.starts_with("-----BEGIN CERTIFICATE-----\n"));
            assert_eq!(mode(&file), 0o644);
        }
    }
}

#[test]
fn a_node_gets_its_own_keys_only() {
    let lab = Lab::made();
    let inventory = lab.inventory();
    let node = name("casper");
    let keys = inventory.node_keys(&table(&lab.cluster), &node, &lab.identities(), &lab.cluster.operators).unwrap();
    let leaves: Vec<_> = keys.iter().map(|key| key.leaf.as_str()).collect();
    assert_eq!(leaves, ["etcd-healthcheck-client", "etcd-peer", "etcd-server"]);
    for key in &keys {
        assert_eq!(key.key_id, inventory.nodes[&node][&key.leaf].key_id);
        assert!(key.pem.starts_with(b"-----BEGIN PRIVATE KEY-----\n"));
        assert!(!format!("{key:?}").contains("PRIVATE"));
    }
    // The keys of the other nodes may even be missing.
    fs::remove_dir_all(lab.certs().join("nodes/balthazar")).unwrap();
    fs::write(lab.certs().join("nodes/melchior/etcd-peer.key.age"), "not a key").unwrap();
    assert_eq!(
        inventory.node_keys(&table(&lab.cluster), &node, &lab.identities(), &lab.cluster.operators).unwrap().len(),
        3
    );
}

#[test]
fn the_inventory_names_files_from_the_clusters_directory() {
    let lab = Lab::made();
    let inventory = lab.inventory();
    let server = &inventory.nodes[&name("casper")]["etcd-server"];
    assert_eq!(server.certificate, "certs/nodes/casper/etcd-server.pem");
    assert_eq!(server.key_on_node("etcd-server"), format!("/var/lib/machinist/keys/etcd-server-{}.key", server.key_id));
    assert_eq!(inventory.authorities["etcd"], "certs/authorities/etcd.pem");
    assert_eq!(inventory.operators["etcd-operator"].certificate, "certs/operators/etcd-operator.pem");
    assert!(inventory.incomplete.is_empty());
}

#[test]
fn the_inventory_leaves_out_a_certificate_without_its_key() {
    let lab = Lab::made();
    fs::remove_file(lab.certs().join("nodes/casper/etcd-peer.key.age")).unwrap();
    let other = lab.certs().join("nodes/balthazar/etcd-server.key.age");
    fs::copy(other, lab.certs().join("nodes/casper/etcd-server.key.age")).unwrap();
    let inventory = lab.inventory();
    assert_eq!(inventory.incomplete, ["certs/nodes/casper/etcd-peer.pem", "certs/nodes/casper/etcd-server.pem"]);
    assert_eq!(inventory.nodes[&name("casper")].len(), 1);
    assert_eq!(
        made(&lab.update().unwrap().plan).iter().map(|line| line.split(':').next().unwrap()).collect::<Vec<_>>(),
        ["etcd-peer-casper", "etcd-server-casper"]
    );
    assert!(lab.inventory().incomplete.is_empty());
}

#[track_caller]
fn check_refused(spoil: impl FnOnce(&Lab), expect: &str) {
    let mut lab = Lab::made();
    spoil(&lab);
    // There is work, so that something could be overwritten.
    lab.policy.renewal = Renewal::All;
    let before = lab.files();
    let error = lab.update().unwrap_err();
    assert!(matches!(error, UpdateError::Refused { .. }));
    let certs = lab.certs().display().to_string();
    assert_eq!(error.to_string().replace(&certs, "CERTS"), expect);
    assert!(error.hint().is_some());
    assert_eq!(lab.files(), before);
}

#[test]
fn a_file_that_is_not_what_it_should_be_is_named_and_nothing_is_overwritten() {
    let write =
        |path: &'static str, text: &'static str| move |lab: &Lab| fs::write(lab.certs().join(path), text).unwrap();
    check_refused(
        write("authorities/etcd.pem", "hello"),
        "nothing was changed in CERTS, because of a problem: authorities/etcd.pem: not a certificate: it contains no PEM block",
    );
    check_refused(
        write("nodes/casper/etcd-server.pem", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"),
        "nothing was changed in CERTS, because of a problem: nodes/casper/etcd-server.pem: not a certificate: the certificate \
         in it is invalid: its DER cannot be parsed",
    );
    check_refused(
        |lab| {
            let path = lab.certs().join("nodes/casper/etcd-server.key.age");
            let text = fs::read(&path).unwrap();
            fs::write(path, &text[..text.len() / 2]).unwrap();
        },
        "nothing was changed in CERTS, because of a problem: nodes/casper/etcd-server.key.age: not an encrypted private key: \
         its ASCII armor is malformed or truncated",
    );
    check_refused(
        |lab| {
            let path = lab.certs().join("nodes/casper/etcd-peer.pem");
            fs::remove_file(&path).unwrap();
            symlink("/etc/passwd", path).unwrap();
        },
        "nothing was changed in CERTS, because of a problem: nodes/casper/etcd-peer.pem: it is a symbolic link",
    );
    check_refused(
        |lab| {
            let path = lab.certs().join("operators");
            fs::remove_dir_all(&path).unwrap();
            fs::write(path, "").unwrap();
        },
        "nothing was changed in CERTS, because of a problem: operators: a file in the place of a directory",
    );
}

#[test]
fn a_private_key_in_the_clear_is_named() {
    check_refused(
        |lab| fs::write(lab.certs().join("server-key.pem"), "-----BEGIN EC PRIVATE KEY-----\n").unwrap(),
        "nothing was changed in CERTS, because of a problem: server-key.pem: it contains an unencrypted private key",
    );
}

#[test]
fn files_of_others_are_left_alone() {
    let mut lab = Lab::made();
    for path in ["README.md", "nodes/casper/notes.txt", "old/nodes/x.pem", "nodes/casper/.gitkeep"] {
        let path = lab.certs().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, "mine").unwrap();
    }
    lab.policy.renewal = Renewal::All;
    lab.policy.prune = true;
    lab.update().unwrap();
    let mine = lab.files().into_iter().filter(|(_, content)| content == b"mine").count();
    assert_eq!(mine, 4);
}

#[test]
fn an_identity_that_cannot_open_the_authority_is_named_with_those_that_can() {
    let mut lab = Lab::made();
    lab.policy.renewal = Renewal::All;
    let before = lab.files();
    let recipient = lab.cluster.operators[0].age.clone().unwrap();
    fs::write(lab.identity_file(), generate_identity().secret()).unwrap();
    let error = lab.update().unwrap_err();
    let UpdateError::Decrypt { name, source } = &error else { panic!("{error:?}") };
    assert_eq!(name, "etcd-ca");
    assert_eq!(
        source.to_string(),
        format!(
            "cannot decrypt {}: tried {}; it is encrypted for ops ({recipient})",
            lab.certs().join("authorities/etcd.key.age").display(),
            lab.identity_file().display()
        )
    );
    assert_eq!(lab.files(), before);
}

#[test]
fn certificates_of_a_machine_that_is_gone_stay_until_pruning_is_requested() {
    let mut lab = Lab::made();
    lab.cluster.nodes.remove("casper");
    let survey = lab.update().unwrap();
    assert_eq!(survey.plan.orphans.len(), 6);
    assert_eq!(lab.files().len(), 22);
    lab.policy.prune = true;
    lab.update().unwrap();
    assert_eq!(lab.files().len(), 16);
    assert!(!lab.certs().join("nodes/casper").exists());
    // An authority is not pruned, even when nothing uses it.
    lab.cluster.nodes.clear();
    lab.update().unwrap();
    let left: Vec<_> = lab.files().into_keys().collect();
    assert_eq!(left, [Path::new("authorities/etcd.key.age"), Path::new("authorities/etcd.pem")]);
}

#[test]
fn a_key_without_its_certificate_is_made_again() {
    let lab = Lab::made();
    fs::remove_file(lab.certs().join("nodes/casper/etcd-peer.pem")).unwrap();
    assert_eq!(made(&lab.update().unwrap().plan), ["etcd-peer-casper: the certificate is missing"]);
    lab.inventory()
        .node_keys(&table(&lab.cluster), &name("casper"), &lab.identities(), &lab.cluster.operators)
        .unwrap();
}

/// Helper of the next test: the child process that it kills.
#[test]
#[ignore = "the child process of another test"]
fn child_that_renews_for_ever() {
    let root = std::env::var_os("MACHINIST_TEST_LAB").unwrap();
    let root = Path::new(&root);
    let mut cluster = machinist_model::fixtures::three_member_etcd();
    cluster.operators[0].age = Some(machinist_secrets::recipient_of_file(&root.join("identity.txt")).unwrap());
    let policy = Policy { renewal: Renewal::All, ..Policy::default() };
    loop {
        update(&root.join("cluster/certs"), &cluster, &policy, common::NOW, || {
            machinist_secrets::Identities::load(&[root.join("identity.txt")], &machinist_secrets::no_prompt())
        })
        .unwrap();
    }
}

#[test]
fn a_run_that_is_killed_at_any_moment_is_finished_by_the_next() {
    let lab = Lab::new();
    let root = lab.root().parent().unwrap().to_owned();
    for milliseconds in [0, 40, 55, 70, 90, 130, 170, 230] {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "child_that_renews_for_ever", "--ignored"])
            .env("MACHINIST_TEST_LAB", &root)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        std::thread::sleep(StdDuration::from_millis(milliseconds));
        child.kill().unwrap();
        child.wait().unwrap();
        let survey = lab.update().unwrap_or_else(|error| panic!("after {milliseconds} ms: {error}"));
        assert!(survey.plan.problems.is_empty());
        assert!(made(&lab.update().unwrap().plan).is_empty());
        assert_eq!(lab.files().len(), 22, "no temporary file is left");
        for node in lab.cluster.nodes.keys() {
            lab.inventory().node_keys(&table(&lab.cluster), node, &lab.identities(), &lab.cluster.operators).unwrap();
        }
    }
}

/// Helper of the next test: it runs on a small file system.
#[test]
#[ignore = "the child process of another test"]
fn child_on_a_full_disk() {
    let certs = std::env::var_os("MACHINIST_TEST_CERTS").unwrap();
    let mut cluster = machinist_model::fixtures::three_member_etcd();
    cluster.operators[0].age = Some(generate_identity().recipient().to_owned());
    let error = update(Path::new(&certs), &cluster, &Policy::default(), common::NOW, no_identity).unwrap_err();
    let cause = std::error::Error::source(&error).map(ToString::to_string).unwrap_or_default();
    assert!(cause.contains("No space left on device"), "{error}: {cause}");
    assert!(error.to_string().contains("cannot write"), "{error}");
    let left: Vec<_> = fs::read_dir(&certs).unwrap().collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn a_full_disk_is_named_and_nothing_is_left_half_written() {
    let directory = tempfile::tempdir().unwrap();
    let script = r#"mount -t tmpfs -o size=48k none "$MACHINIST_TEST_CERTS" && exec "$0" --exact child_on_a_full_disk --ignored"#;
    let output = Command::new("unshare")
        .args(["--mount", "--map-root-user", "sh", "-c", script])
        .arg(std::env::current_exe().unwrap())
        .env("MACHINIST_TEST_CERTS", directory.path())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}");
    assert!(text.contains("1 passed"), "{text}");
}

#[test]
fn a_second_writer_waits_for_nothing_and_says_so() {
    let lab = Lab::new();
    fs::create_dir_all(lab.certs()).unwrap();
    let directory = fs::File::open(lab.certs()).unwrap();
    rustix::fs::flock(&directory, rustix::fs::FlockOperation::LockExclusive).unwrap();
    let error = lab.update().unwrap_err();
    assert_eq!(error.to_string(), format!("another machinist is writing to {}", lab.certs().display()));
    drop(directory);
    lab.update().unwrap();
}

#[test]
fn the_list_says_how_each_certificate_is() {
    let mut lab = Lab::made();
    fs::remove_file(lab.certs().join("nodes/casper/etcd-peer.pem")).unwrap();
    lab.cluster.nodes.get_mut("melchior").unwrap().ip = "10.13.13.9".parse().unwrap();
    lab.cluster.nodes.remove("balthazar");
    let later = lab.now + Duration::days(250);
    let survey = survey(&lab.certs(), &lab.cluster, &lab.policy, later).unwrap();
    let rows = list(&survey);
    let lines: Vec<_> =
        rows.iter().map(|row| format!("{} {} {:?} {}", row.name, row.state, row.days_left, row.because)).collect();
    expect_test::expect![[r#"
        etcd-ca ok Some(3400) 
        etcd-healthcheck-client-casper renew Some(115) 115 days left of 365, less than a third
        etcd-healthcheck-client-melchior renew Some(115) 115 days left of 365, less than a third
        etcd-operator renew Some(115) 115 days left of 365, less than a third
        etcd-peer-casper missing None the certificate is missing
        etcd-peer-melchior drifted Some(115) SANs differ: +10.13.13.9 -10.13.13.3; 115 days left of 365, less than a third
        etcd-server-casper renew Some(115) 115 days left of 365, less than a third
        etcd-server-melchior drifted Some(115) SANs differ: +10.13.13.9 -10.13.13.3; 115 days left of 365, less than a third
        nodes/balthazar/etcd-healthcheck-client orphan Some(115) no machine of the cluster needs it
        nodes/balthazar/etcd-peer orphan Some(115) no machine of the cluster needs it
        nodes/balthazar/etcd-server orphan Some(115) no machine of the cluster needs it"#]].assert_eq(&lines.join("\n"));
    assert!(rows.iter().all(|row| row.state != State::Refused));
    let json = serde_json::to_value(&rows[0]).unwrap();
    assert_eq!(json["not_after"], "2036-11-18T12:00:00Z");
    assert_eq!(json["state"], "ok");
}

#[test]
fn a_certificate_is_shown_whole() {
    let lab = Lab::made();
    let survey = survey(&lab.certs(), &lab.cluster, &lab.policy, lab.now).unwrap();
    let details = show(&survey, "etcd-peer-casper").unwrap();
    let text = details.to_string();
    let stable: Vec<_> = text
        .lines()
        .filter(|line| {
            !["serial", "key", "file", "private key"].iter().any(|label| line.starts_with(&format!("{label:<12} ")))
        })
        .collect();
    expect_test::expect![[r#"
        name         etcd-peer-casper
        state        ok
        node         casper
        used by      services.etcd.peerCertFile, peerKeyFile
        subject      CN=kube-etcd-peer
        issuer       CN=etcd-ca
        names        casper, casper.magi.internal, localhost, 10.13.13.4, 127.0.0.1, ::1
        ext. usage   serverAuth, clientAuth
        usage        digitalSignature
        authority    no
        valid from   2026-11-21 11:55:00 UTC
        valid until  2027-11-21 12:00:00 UTC (365 days left)"#]]
    .assert_eq(&stable.join("\n"));
    assert_eq!(show(&survey, "nobody").unwrap_err().to_string(), "no certificate named `nobody`");
}
