//! Certificates of SSH host keys: issue, renewal with its reasons, revocation and rotation, compared with `ssh-keygen`.

#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

use common::{Lab, NOW, made, mode, name, run, stdout};
use machinist_pki::{
    Plan, Policy, Renewal, Tree, UpdateError,
    host_key::{self, System},
    report::State,
    rotation::{Position, Stage},
    ssh::{self, Host, HostCertificate, SshPublicKey, Verified},
    store, survey,
};
use machinist_secrets::Recipients;
use time::{Duration, OffsetDateTime};

fn key(lab: &Lab, node: &str) -> SshPublicKey {
    let recipients = Recipients::from_operators(&lab.cluster.operators).unwrap();
    let line = host_key::ensure(&lab.certs(), &name(node), System::Installed, &recipients).unwrap();
    SshPublicKey::parse(&line).unwrap()
}

fn host(lab: &Lab, node: &str, names: &[&str]) -> Host {
    let names = [node].iter().chain(names).map(|name| (*name).to_owned()).collect();
    Host { node: name(node), key: Some(key(lab, node)), names }
}

fn sign_with(lab: &Lab, hosts: &[Host], policy: &Policy, now: OffsetDateTime) -> Result<Plan, UpdateError> {
    ssh::update(&lab.certs(), hosts, &lab.cluster.operators, policy, now, || Ok(lab.identities()))
}

fn sign(lab: &Lab, hosts: &[Host]) -> Vec<String> {
    made(&sign_with(lab, hosts, &Policy::default(), NOW).unwrap())
}

fn tree(lab: &Lab) -> Tree {
    store::read(&lab.certs()).unwrap()
}

fn certificate(lab: &Lab, node: &str) -> HostCertificate {
    tree(lab).host_certificate(&name(node)).unwrap().clone()
}

fn refusal(lab: &Lab, hosts: &[Host]) -> String {
    match sign_with(lab, hosts, &Policy::default(), NOW) {
        Err(error @ UpdateError::Refused { .. }) => format!("{error}; {}", error.hint().unwrap()),
        other => panic!("{other:?}"),
    }
}

#[test]
fn ssh_keygen_reads_a_certificate_of_the_host_key_for_its_names_only() {
    let lab = Lab::new();
    let hosts = [host(&lab, "casper", &["casper.example.com", "10.0.0.2", "fd00::2"])];
    assert_eq!(sign(&lab, &hosts), ["ssh-ca: missing", "ssh-host-casper: missing"]);
    let file = lab.certs().join("nodes/casper").join(ssh::CERTIFICATE);
    let shown = stdout(&run("ssh-keygen", &["-L", "-f", file.to_str().unwrap()]));
    let key = &hosts[0].key.clone().unwrap();
    for words in ["ssh-ed25519-cert-v01@openssh.com host certificate", &key.fingerprint(), "Critical Options: (none)"] {
        assert!(shown.contains(words), "{words}: {shown}");
    }
    let principals = shown.split("Principals:").nth(1).unwrap().split("Critical").next().unwrap();
    assert_eq!(
        principals.split_whitespace().collect::<Vec<_>>(),
        ["10.0.0.2", "casper", "casper.example.com", "fd00::2"]
    );
    let authority =
        stdout(&run("ssh-keygen", &["-l", "-f", lab.certs().join("authorities/ssh.pub").to_str().unwrap()]));
    assert!(shown.contains(authority.split_whitespace().nth(1).unwrap()), "{shown}");
    let found = certificate(&lab, "casper");
    assert_eq!(found.not_after() - NOW, Policy::default().leaf_life);
    assert!(found.is_valid_at(NOW - Duration::minutes(4)) && !found.is_valid_at(found.not_after()));
    assert_eq!(mode(&lab.certs().join("authorities/ssh.key.age")), 0o600);
    assert_eq!(sign(&lab, &hosts), [""; 0], "a second run changes nothing");
}

#[test]
fn the_other_certificates_are_not_concerned() {
    let lab = Lab::made();
    sign(&lab, &[host(&lab, "casper", &[])]);
    let survey = survey(&lab.certs(), &lab.cluster, &lab.policy, NOW).unwrap();
    assert!(survey.plan.problems.is_empty() && survey.plan.orphans.is_empty(), "{:?}", survey.plan);
    assert_eq!(lab.inventory().hosts[&name("casper")], "certs/nodes/casper/ssh_host_ed25519_key-cert.pub");
    assert!(!lab.inventory().authorities.contains_key("ssh"));
}

#[test]
fn without_a_host_key_there_is_no_authority() {
    let lab = Lab::new();
    let unknown = Host { node: name("casper"), key: None, names: BTreeSet::from(["casper".to_owned()]) };
    assert!(sign_with(&lab, &[unknown], &Policy::default(), NOW).unwrap().actions.is_empty());
    assert!(!lab.certs().exists());
}

#[test]
fn a_certificate_is_renewed_for_other_names_for_its_age_and_on_request() {
    let lab = Lab::new();
    let mut hosts = [host(&lab, "casper", &["10.0.0.2"])];
    sign(&lab, &hosts);
    hosts[0].names.remove("10.0.0.2");
    hosts[0].names.insert("10.0.0.9".to_owned());
    assert_eq!(sign(&lab, &hosts), ["ssh-host-casper: names differ: +10.0.0.9 -10.0.0.2"]);
    let late = |days| made(&sign_with(&lab, &hosts, &Policy::default(), NOW + Duration::days(days)).unwrap());
    assert_eq!(late(240), [""; 0]);
    assert_eq!(late(250), ["ssh-host-casper: 115 days left of 365, less than a third"]);
    assert_eq!(late(620), ["ssh-host-casper: expired 5 days ago"]);
    let policy = Policy { renewal: Renewal::Named(["ssh-host-casper".to_owned()].into()), ..Policy::default() };
    let now = NOW + Duration::days(621);
    assert_eq!(made(&sign_with(&lab, &hosts, &policy, now).unwrap()), ["ssh-host-casper: requested"]);
    assert_eq!(certificate(&lab, "casper").key(), hosts[0].key, "the key stays");
}

#[test]
fn a_new_host_key_gets_a_certificate_and_the_old_one_is_revoked() {
    let lab = Lab::new();
    let mut hosts = [host(&lab, "casper", &[]), host(&lab, "melchior", &[])];
    sign(&lab, &hosts);
    assert_eq!(ssh::revoked(&hosts, &tree(&lab)), []);
    let old = hosts[0].key.clone().unwrap();
    host_key::remove(&lab.certs(), &name("casper"), System::Installed).unwrap();
    let unknown = Host { key: None, ..hosts[0].clone() };
    let [_, other] = hosts.clone();
    assert_eq!(ssh::revoked(&[unknown, other], &tree(&lab)), [], "it may be in use still");
    hosts[0] = host(&lab, "casper", &[]);
    let new = hosts[0].key.clone().unwrap();
    assert_eq!(ssh::verified(&hosts[0], &tree(&lab), NOW), Verified::ByKey, "the certificate is of another key");
    assert_eq!(ssh::revoked(&hosts, &tree(&lab)), std::slice::from_ref(&old), "before it is signed, too");
    assert_eq!(sign(&lab, &hosts), [format!("ssh-host-casper: the host key is {}", new.fingerprint())]);
    assert_eq!(certificate(&lab, "casper").key(), Some(new));
    assert_eq!(ssh::revoked(&hosts, &tree(&lab)), std::slice::from_ref(&old));
    assert!(matches!(ssh::verified(&hosts[0], &tree(&lab), NOW), Verified::ByAuthority(keys) if keys.len() == 1));
    hosts[0].key = Some(old);
    sign(&lab, &hosts);
    assert_eq!(
        ssh::revoked(&hosts, &tree(&lab)).len(),
        1,
        "a key that is in use again is taken off, the other one is on"
    );
}

#[test]
fn the_certificate_of_a_node_that_left_is_revoked_and_removed_on_request() {
    let lab = Lab::new();
    let hosts = [host(&lab, "casper", &[]), host(&lab, "melchior", &[])];
    sign(&lab, &hosts);
    let [gone, stays] = hosts;
    let left = [stays];
    let plan = sign_with(&lab, &left, &Policy::default(), NOW).unwrap();
    assert_eq!(plan.orphans, [Path::new("nodes/casper/ssh_host_ed25519_key-cert.pub")]);
    let policy = Policy { prune: true, ..Policy::default() };
    sign_with(&lab, &left, &policy, NOW).unwrap();
    assert!(tree(&lab).host_certificate(&name("casper")).is_none());
    assert_eq!(ssh::revoked(&left, &tree(&lab)), [gone.key.unwrap()]);
}

#[test]
fn only_a_present_certificate_of_the_authority_vouches_for_all_names() {
    let lab = Lab::new();
    let mut hosts = [host(&lab, "casper", &["10.0.0.2"])];
    sign(&lab, &hosts);
    let by_key = |host: &Host, now| ssh::verified(host, &tree(&lab), now) == Verified::ByKey;
    assert!(!by_key(&hosts[0], NOW));
    assert!(by_key(&hosts[0], NOW + Duration::days(366)), "expired");
    hosts[0].names.insert("10.0.0.3".to_owned());
    assert!(by_key(&hosts[0], NOW), "a name that it has not");
    hosts[0].names.remove("10.0.0.3");
    let other = Lab::new();
    sign(&other, &[host(&other, "casper", &[])]);
    fs::copy(other.certs().join("authorities/ssh.pub"), lab.certs().join("authorities/ssh.pub")).unwrap();
    assert!(by_key(&hosts[0], NOW), "another authority");
}

#[test]
fn files_that_do_not_belong_together_are_refused_with_the_way() {
    let lab = Lab::new();
    let hosts = [host(&lab, "casper", &[])];
    sign(&lab, &hosts);
    let authority = |name: &str| lab.certs().join("authorities").join(name);
    let (public, private) = (fs::read(authority("ssh.pub")).unwrap(), fs::read(authority("ssh.key.age")).unwrap());

    fs::remove_file(authority("ssh.key.age")).unwrap();
    let plan = sign_with(&lab, &hosts, &Policy::default(), NOW).unwrap();
    assert!(plan.notices[0].what.contains("is not here"), "{plan:?}");
    let more = [hosts[0].clone(), host(&lab, "melchior", &[])];
    let text = refusal(&lab, &more);
    assert!(text.contains("host keys have to be signed (1)") && text.contains("version control"), "{text}");
    let rows = ssh::rows(&more, &tree(&lab), &Policy::default(), NOW);
    assert_eq!(rows.iter().map(|row| row.state).collect::<Vec<_>>(), [State::Ok, State::Ok, State::Missing]);
    fs::write(authority("ssh.key.age"), &private).unwrap();

    fs::remove_file(authority("ssh.pub")).unwrap();
    let text = refusal(&lab, &hosts);
    assert!(text.contains("host certificates signed by it exist (1)"), "{text}");
    fs::write(authority("ssh.pub"), [&public[..], &public[..]].concat()).unwrap();
    assert!(refusal(&lab, &hosts).contains("2 SSH authorities are trusted where 1 is expected"));
    fs::write(authority("ssh.pub"), "* ssh-ed25519 AAAA\n").unwrap();
    let survey = survey(&lab.certs(), &lab.cluster, &lab.policy, NOW).unwrap();
    assert!(survey.plan.refusal().unwrap().contains("authorities/ssh.pub: not ed25519 public keys"));

    let other = Lab::new();
    sign(&other, &[host(&other, "casper", &[])]);
    fs::copy(other.certs().join("authorities/ssh.pub"), authority("ssh.pub")).unwrap();
    let text = refusal(&lab, &hosts);
    assert!(text.contains("the SSH authority's private key is that of") && text.contains("same commit"), "{text}");
}

#[test]
fn a_certificate_for_every_name_or_for_a_user_is_none() {
    let lab = Lab::new();
    let file = |name: &str| lab.scratch(name).to_str().unwrap().to_owned();
    for name in ["ca", "key"] {
        stdout(&run("ssh-keygen", &["-q", "-t", "ed25519", "-N", "", "-f", &file(name)]));
    }
    let signed = |options: &[&str]| {
        let (ca, key) = (file("ca"), file("key.pub"));
        let common = ["-q", "-s", &ca, "-I", "x", "-V", "+52w"];
        stdout(&run("ssh-keygen", &[&common[..], options, &[key.as_str()]].concat()));
        HostCertificate::parse(&fs::read(file("key-cert.pub")).unwrap()).map(|found| found.names().len())
    };
    assert_eq!(signed(&["-h", "-n", "a,b"]), Ok(2));
    assert!(signed(&["-h"]).unwrap_err().to_string().contains("every host name"));
    assert!(signed(&["-n", "a"]).unwrap_err().to_string().contains("host key"));
    HostCertificate::parse(b"hello").unwrap_err();
}

#[test]
fn a_rotation_trusts_both_then_signs_by_the_new_one_then_drops_the_old_one() {
    let lab = Lab::new();
    let hosts = [host(&lab, "casper", &[]), host(&lab, "melchior", &[])];
    let apply =
        |stage| {
            ssh::apply(&lab.certs(), &hosts, &lab.cluster.operators, stage, &Policy::default(), NOW, || {
                Ok(lab.identities())
            })
        };
    assert!(apply(Stage::TrustBoth).unwrap_err().to_string().contains("ssh.pub does not exist yet"));
    sign(&lab, &hosts);
    let old = tree(&lab).ssh_authority()[0].clone();
    let at = || ssh::position(&tree(&lab), &hosts);
    let before = fs::read_to_string(lab.certs().join("nodes/casper").join(ssh::CERTIFICATE)).unwrap();
    assert_eq!(at(), Position::Idle);

    assert_eq!(made(&apply(Stage::TrustBoth).unwrap()), [""; 0]);
    let [first, new] = <[SshPublicKey; 2]>::try_from(tree(&lab).ssh_authority().to_vec()).unwrap();
    assert_eq!(first, old);
    assert!(certificate(&lab, "casper").is_signed_by(&old));
    assert!(matches!(at(), Position::At(rotation) if rotation.stage == Stage::TrustBoth));
    apply(Stage::TrustBoth).unwrap();
    assert_eq!(tree(&lab).ssh_authority(), [old.clone(), new.clone()], "once more changes nothing");

    let issued = made(&apply(Stage::SignNew).unwrap());
    assert_eq!(
        issued,
        ["ssh-host-casper", "ssh-host-melchior"]
            .map(|name| format!("{name}: signed by a key other than the ssh authority's"))
    );
    assert_eq!(tree(&lab).ssh_authority(), [new.clone(), old.clone()]);
    assert!(certificate(&lab, "casper").is_signed_by(&new));
    assert!(
        matches!(ssh::verified(&hosts[0], &tree(&lab), NOW), Verified::ByAuthority(keys) if keys == [new.clone(), old.clone()])
    );

    let now_there = fs::read_to_string(lab.certs().join("nodes/casper").join(ssh::CERTIFICATE)).unwrap();
    let found = |text: &str| Ok(BTreeMap::from([(ssh::CERTIFICATE.to_owned(), format!("{text}\n"))]));
    let answers = BTreeMap::from([(name("casper"), found(&now_there)), (name("melchior"), found(&before))]);
    let behind = ssh::behind(&hosts, &tree(&lab), &answers);
    assert_eq!(behind.keys().map(|node| node.as_str()).collect::<Vec<_>>(), ["melchior"]);
    let unreachable = BTreeMap::from([(name("casper"), Err("no route".to_owned()))]);
    assert_eq!(ssh::behind(&hosts, &tree(&lab), &unreachable).len(), 2);

    apply(Stage::DropOld).unwrap();
    assert_eq!((at(), tree(&lab).ssh_authority()), (Position::Idle, &[new][..]));
    assert!(!lab.certs().join("rotations.json").exists());
}

#[test]
fn a_rotation_that_was_cut_off_is_finished_by_the_next_run() {
    let lab = Lab::new();
    let hosts = [host(&lab, "casper", &[])];
    sign(&lab, &hosts);
    let apply =
        |stage| {
            ssh::apply(&lab.certs(), &hosts, &lab.cluster.operators, stage, &Policy::default(), NOW, || {
                Ok(lab.identities())
            })
        };
    let old_certificate = fs::read(lab.certs().join("nodes/casper").join(ssh::CERTIFICATE)).unwrap();
    apply(Stage::TrustBoth).unwrap();
    let both = fs::read(lab.certs().join("authorities/ssh.pub")).unwrap();
    let next = fs::read(lab.certs().join("authorities/ssh.next.key.age")).unwrap();
    apply(Stage::SignNew).unwrap();
    // After the key was renamed, before its public half.
    fs::write(lab.certs().join("authorities/ssh.pub"), &both).unwrap();
    fs::write(lab.certs().join("authorities/ssh.next.key.age"), next).unwrap();
    fs::write(lab.certs().join("nodes/casper").join(ssh::CERTIFICATE), old_certificate).unwrap();
    assert_eq!(ssh::position(&tree(&lab), &hosts), Position::Unfinished(Stage::SignNew));
    assert!(refusal(&lab, &[host(&lab, "casper", &["x"])]).contains("rotate-ca ssh` continues"));
    apply(Stage::SignNew).unwrap();
    assert!(matches!(ssh::position(&tree(&lab), &hosts), Position::At(rotation) if rotation.stage == Stage::SignNew));
    assert!(certificate(&lab, "casper").is_signed_by(&tree(&lab).ssh_authority()[0]));
}
