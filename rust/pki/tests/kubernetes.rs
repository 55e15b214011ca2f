//! Kubernetes' certificates as OpenSSL sees them, and the key pair of service accounts.

#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use std::{collections::BTreeSet, fs};

use common::{Lab, made, mode, name, run, stdout};
use machinist_pki::{
    BGP_PASSWORD, ExtendedUsage, Policy, table,
    user::{Credentials, User, UserError, credentials},
};
use time::Duration;

fn accepts(lab: &Lab, authority: &str, purpose: &str, certificate: &str) -> bool {
    let (authority, certificate) = (lab.certs().join(authority), lab.certs().join(certificate));
    let at = lab.now.unix_timestamp().to_string();
    let strict = ["verify", "-x509_strict", "-check_ss_sig", "-attime", &at, "-purpose", purpose];
    let files = ["-CAfile", authority.to_str().unwrap(), certificate.to_str().unwrap()];
    run("openssl", &[&strict[..], &files[..]].concat()).status.success()
}

#[test]
fn openssl_accepts_every_certificate_under_its_own_authority_for_its_own_purpose_only() {
    let lab = Lab::kubernetes();
    let table = table(&lab.cluster);
    // 3 etcd rows a member, the operator's, 7 + 5 a control plane, 4 a worker.
    assert_eq!(table.certificates.len(), 3 * 3 + 1 + 3 * (7 + 5) + 4);
    for spec in &table.certificates {
        let certificate = spec.files.certificate.to_str().unwrap();
        for authority in &table.authorities {
            let file = authority.files.certificate.to_str().unwrap();
            for (purpose, usage) in [("sslclient", ExtendedUsage::Client), ("sslserver", ExtendedUsage::Server)] {
                let expect = authority.authority == spec.authority && spec.extended_usages.contains(&usage);
                assert_eq!(accepts(&lab, file, purpose, certificate), expect, "{certificate} {file} {purpose}");
            }
        }
    }
}

#[test]
fn openssl_finds_every_name_of_an_api_server() {
    let lab = Lab::kubernetes();
    let file = lab.certs().join("nodes/cp2/kube-apiserver.pem");
    let matches = |option: &str, value: &str| {
        stdout(&run("openssl", &["x509", "-noout", "-in", file.to_str().unwrap(), option, value]))
            .contains("does match")
    };
    for host in [
        "cp2",
        "cp2.magi.internal",
        "localhost",
        "kubernetes",
        "kubernetes.magi.internal",
        "kubernetes.default",
        "kubernetes.default.svc",
        "kubernetes.default.svc.cluster.local",
    ] {
        assert!(matches("-checkhost", host), "{host}");
    }
    for address in ["10.13.13.3", "10.13.100.1", "10.96.0.1", "127.0.0.1", "::1"] {
        assert!(matches("-checkip", address), "{address}");
    }
    assert!(!matches("-checkhost", "cp1"));
    assert!(!matches("-checkip", "10.13.13.2"));
}

#[test]
fn openssl_reads_the_subject_of_a_kubelet_as_user_and_group() {
    let lab = Lab::kubernetes();
    let file = lab.certs().join("nodes/w1/kubelet-client.pem");
    let subject = stdout(&run("openssl", &["x509", "-noout", "-in", file.to_str().unwrap(), "-subject"]));
    assert_eq!(subject, "subject=O = system:nodes, CN = system:node:w1\n");
}

#[test]
fn all_control_planes_have_the_same_service_account_key_and_workers_have_none() {
    let lab = Lab::kubernetes();
    let key = lab.plaintext_key("cp1", "service-account");
    let public = lab.certs().join("shared/service-account.pub");
    let of_key = stdout(&run("openssl", &["pkey", "-in", key.to_str().unwrap(), "-pubout"]));
    assert_eq!(of_key, fs::read_to_string(&public).unwrap());
    for other in ["cp2", "cp3"] {
        assert_eq!(fs::read(lab.plaintext_key(other, "service-account")).unwrap(), fs::read(&key).unwrap(), "{other}");
    }
    let keys = lab.inventory();
    let keys = keys.node_keys(&table(&lab.cluster), &name("w1"), &lab.identities(), &lab.cluster.operators).unwrap();
    let leaves: BTreeSet<_> = keys.iter().map(|key| key.leaf.as_str()).collect();
    assert_eq!(leaves, ["flannel-client", "kube-proxy-client", "kubelet", "kubelet-client"].into());
    assert_eq!(mode(&lab.certs().join("shared/service-account.key.age")), 0o600);
}

#[test]
fn the_service_account_key_pair_is_made_once_and_never_replaced() {
    let mut lab = Lab::kubernetes();
    let file = |lab: &Lab, name: &str| fs::read(lab.certs().join("shared").join(name)).unwrap();
    let before = (file(&lab, "service-account.pub"), file(&lab, "service-account.key.age"));
    lab.policy = Policy { renewal: machinist_pki::Renewal::All, prune: true, ..Policy::default() };
    assert!(!made(&lab.update().unwrap().plan).is_empty());
    assert_eq!(before, (file(&lab, "service-account.pub"), file(&lab, "service-account.key.age")));
    // Not even when the cluster no longer needs it.
    lab.cluster.orchestrator = None;
    lab.update().unwrap();
    assert_eq!(before, (file(&lab, "service-account.pub"), file(&lab, "service-account.key.age")));
}

#[test]
fn a_public_half_that_was_lost_follows_from_the_private_one() {
    let lab = Lab::kubernetes();
    let public = lab.certs().join("shared/service-account.pub");
    let before = fs::read(&public).unwrap();
    fs::remove_file(&public).unwrap();
    assert_eq!(made(&lab.update().unwrap().plan), ["service-account: the public half is missing"]);
    assert_eq!(fs::read(&public).unwrap(), before);
}

#[test]
fn a_private_half_that_was_lost_or_is_anothers_is_not_made_again_in_silence() {
    let check = |spoil: &dyn Fn(&Lab), expect: &str| {
        let lab = Lab::kubernetes();
        spoil(&lab);
        let files = lab.files();
        let error = lab.update().unwrap_err();
        assert!(error.to_string().contains(expect), "{error}");
        assert!(error.hint().unwrap().contains("version control"), "{error}");
        assert_eq!(lab.files(), files);
    };
    let key = |lab: &Lab| lab.certs().join("shared/service-account.key.age");
    let public = |lab: &Lab| lab.certs().join("shared/service-account.pub");
    check(&|lab| fs::remove_file(key(lab)).unwrap(), "the private half of the key pair is missing");
    let another = Lab::kubernetes();
    check(&|lab| assert!(fs::copy(public(&another), public(lab)).is_ok()), "the private key is that of ");
    check(&|lab| fs::write(public(lab), "-----BEGIN nothing").unwrap(), "not a public key in PEM");
}

/// Returns the same with a password for BGP, and the password as `cp1` has it.
fn with_password() -> (Lab, impl Fn(&Lab) -> String) {
    let mut cluster = machinist_model::fixtures::ha_kubernetes();
    if let Some(machinist_model::Vip::Bgp { password, .. }) = cluster.kube_master.as_mut().map(|api| &mut api.vip) {
        *password = true;
    }
    let lab = Lab::of(cluster);
    lab.update().unwrap();
    let password = |lab: &Lab| fs::read_to_string(lab.plaintext_key("cp1", BGP_PASSWORD)).unwrap();
    (lab, password)
}

#[test]
fn a_password_is_replaced_when_a_person_names_it_and_not_with_all_the_others() {
    let (mut lab, password) = with_password();
    let first = password(&lab);
    assert!(
        first.len() == 64 && first.bytes().all(|byte| byte.is_ascii_hexdigit()),
        "fit for TCP MD5: 80 bytes at most"
    );
    lab.policy = Policy { renewal: machinist_pki::Renewal::All, ..Policy::default() };
    lab.update().unwrap();
    assert_eq!(password(&lab), first);
    lab.policy =
        Policy { renewal: machinist_pki::Renewal::Named([BGP_PASSWORD.to_owned()].into()), ..Policy::default() };
    assert_eq!(made(&lab.update().unwrap().plan), ["bgp-password: requested"]);
    assert_ne!(password(&lab), first);
}

#[test]
fn a_password_whose_replacement_was_interrupted_is_generated_again() {
    let (lab, password) = with_password();
    let (first, (other, _)) = (password(&lab), with_password());
    let key = |lab: &Lab| lab.certs().join("shared/bgp-password.key.age");
    fs::copy(key(&other), key(&lab)).unwrap();
    let plan = lab.update().unwrap().plan;
    assert!(made(&plan)[0].starts_with("bgp-password: the private key is that of "), "{plan:?}");
    assert_ne!(password(&lab), first);
    assert!(!lab.update().unwrap().plan.makes_any());
}

fn user(lab: &Lab, group: Option<&str>, life: Duration) -> Result<Credentials, UserError> {
    let user = User { name: "jane".to_owned(), group: group.map(str::to_owned), life };
    credentials(&lab.certs(), &user, lab.now, &lab.identities(), &lab.cluster.operators)
}

#[test]
fn a_persons_certificate_is_a_client_of_kubernetes_for_its_hours_and_is_kept_nowhere() {
    let lab = Lab::kubernetes();
    let files = lab.files();
    let made = user(&lab, Some("system:masters"), Duration::hours(8)).unwrap();
    assert_eq!(lab.files(), files);
    assert_eq!(made.authority, fs::read_to_string(lab.certs().join("authorities/kubernetes.pem")).unwrap());
    assert_eq!(made.not_after, lab.now + Duration::hours(8));
    let (certificate, key) = (lab.scratch("jane.pem"), lab.scratch("jane.key"));
    fs::write(&certificate, &made.certificate).unwrap();
    fs::write(&key, made.key.as_bytes()).unwrap();
    let path = certificate.to_str().unwrap();
    assert!(accepts(&lab, "authorities/kubernetes.pem", "sslclient", path));
    assert!(!accepts(&lab, "authorities/kubernetes.pem", "sslserver", path));
    assert!(!accepts(&lab, "authorities/etcd.pem", "sslclient", path));
    assert!(!accepts(&lab, "authorities/front-proxy.pem", "sslclient", path));
    let shown = stdout(&run("openssl", &["x509", "-noout", "-in", path, "-subject", "-enddate", "-pubkey"]));
    let of_key = stdout(&run("openssl", &["pkey", "-in", key.to_str().unwrap(), "-pubout"]));
    let expect = "subject=O = system:masters, CN = jane\nnotAfter=Nov 21 20:00:00 2026 GMT\n";
    assert_eq!(shown, format!("{expect}{of_key}"));
}

#[test]
fn a_person_without_a_group_has_none_and_a_life_ends_with_the_authoritys() {
    let lab = Lab::kubernetes();
    let made = user(&lab, None, Duration::days(365 * 20)).unwrap();
    assert_eq!(made.not_after, lab.now + lab.policy.authority_life);
    let certificate = lab.scratch("jane.pem");
    fs::write(&certificate, &made.certificate).unwrap();
    let shown = stdout(&run("openssl", &["x509", "-noout", "-in", certificate.to_str().unwrap(), "-subject"]));
    assert_eq!(shown, "subject=CN = jane\n");
}

#[test]
fn without_an_authority_there_is_no_persons_certificate() {
    let error = user(&Lab::made(), None, Duration::hours(1)).err().unwrap();
    assert!(error.to_string().contains("authorities/kubernetes.pem is missing"), "{error}");
    assert_eq!(error.hint().unwrap(), "`machinist certs gen` creates it");
}
