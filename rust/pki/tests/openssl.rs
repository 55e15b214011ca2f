//! Certificates as parsed by OpenSSL, an independent implementation.

#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use std::{fs, path::Path};

use common::{Lab, mode, run, stdout};
use machinist_pki::{KeyAlgorithm, Renewal, table};
use time::Duration;

fn verify(lab: &Lab, purpose: &str, certificate: &str) -> bool {
    let (authority, certificate) = (lab.certs().join("authorities/etcd.pem"), lab.certs().join(certificate));
    let at = lab.now.unix_timestamp().to_string();
    let output = run(
        "openssl",
        &[
            "verify",
            "-x509_strict",
            "-check_ss_sig",
            "-attime",
            &at,
            "-purpose",
            purpose,
            "-CAfile",
            authority.to_str().unwrap(),
            certificate.to_str().unwrap(),
        ],
    );
    output.status.success()
}

/// Returns a few parts of `openssl x509 -text`, each on one line.
fn text(path: &Path, options: &[&str]) -> String {
    let arguments = [&["x509", "-noout", "-in", path.to_str().unwrap()], options].concat();
    let output = stdout(&run("openssl", &arguments));
    output.lines().map(str::trim_end).filter(|line| !line.is_empty()).collect::<Vec<_>>().join("\n")
}

#[test]
fn openssl_accepts_every_certificate_for_its_purpose_and_for_no_other() {
    let lab = Lab::made();
    let table = table(&lab.cluster);
    assert_eq!(table.certificates.len(), 10);
    for spec in &table.certificates {
        let certificate = spec.files.certificate.to_str().unwrap();
        let is_server = spec.leaf == "etcd-server" || spec.leaf == "etcd-peer";
        assert!(verify(&lab, "sslclient", certificate), "{certificate}");
        assert_eq!(verify(&lab, "sslserver", certificate), is_server, "{certificate}");
        assert!(!verify(&lab, "smimesign", certificate), "{certificate}");
    }
}

#[test]
fn openssl_reads_what_the_table_says() {
    let lab = Lab::made();
    let parts = [
        "-subject",
        "-issuer",
        "-ext",
        "basicConstraints,keyUsage,extendedKeyUsage,subjectAltName",
        "-startdate",
        "-enddate",
    ];
    let shown = |path: &str| text(&lab.certs().join(path), &parts);
    expect_test::expect![[r#"
        subject=CN = etcd-ca
        issuer=CN = etcd-ca
        X509v3 Key Usage: critical
            Digital Signature, Certificate Sign, CRL Sign
        X509v3 Basic Constraints: critical
            CA:TRUE, pathlen:0
        notBefore=Nov 21 11:55:00 2026 GMT
        notAfter=Nov 18 12:00:00 2036 GMT"#]]
    .assert_eq(&shown("authorities/etcd.pem"));
    expect_test::expect![[r#"
        subject=CN = kube-etcd
        issuer=CN = etcd-ca
        X509v3 Subject Alternative Name:
            DNS:casper, DNS:casper.magi.internal, DNS:localhost, IP Address:10.13.13.4, IP Address:127.0.0.1, IP Address:0:0:0:0:0:0:0:1
        X509v3 Key Usage: critical
            Digital Signature
        X509v3 Extended Key Usage:
            TLS Web Server Authentication, TLS Web Client Authentication
        X509v3 Basic Constraints: critical
            CA:FALSE
        notBefore=Nov 21 11:55:00 2026 GMT
        notAfter=Nov 21 12:00:00 2027 GMT"#]].assert_eq(&shown("nodes/casper/etcd-server.pem"));
    expect_test::expect![[r#"
        subject=CN = kube-etcd-peer
        issuer=CN = etcd-ca
        X509v3 Subject Alternative Name:
            DNS:casper, DNS:casper.magi.internal, DNS:localhost, IP Address:10.13.13.4, IP Address:127.0.0.1, IP Address:0:0:0:0:0:0:0:1
        X509v3 Key Usage: critical
            Digital Signature
        X509v3 Extended Key Usage:
            TLS Web Server Authentication, TLS Web Client Authentication
        X509v3 Basic Constraints: critical
            CA:FALSE
        notBefore=Nov 21 11:55:00 2026 GMT
        notAfter=Nov 21 12:00:00 2027 GMT"#]].assert_eq(&shown("nodes/casper/etcd-peer.pem"));
    expect_test::expect![[r#"
        subject=CN = kube-etcd-healthcheck-client
        issuer=CN = etcd-ca
        X509v3 Key Usage: critical
            Digital Signature
        X509v3 Extended Key Usage:
            TLS Web Client Authentication
        X509v3 Basic Constraints: critical
            CA:FALSE
        notBefore=Nov 21 11:55:00 2026 GMT
        notAfter=Nov 21 12:00:00 2027 GMT"#]]
    .assert_eq(&shown("nodes/casper/etcd-healthcheck-client.pem"));
    expect_test::expect![[r#"
        subject=CN = etcd-operator
        issuer=CN = etcd-ca
        X509v3 Key Usage: critical
            Digital Signature
        X509v3 Extended Key Usage:
            TLS Web Client Authentication
        X509v3 Basic Constraints: critical
            CA:FALSE
        notBefore=Nov 21 11:55:00 2026 GMT
        notAfter=Nov 21 12:00:00 2027 GMT"#]]
    .assert_eq(&shown("operators/etcd-operator.pem"));
}

/// Returns the value of an extension as one line.
fn extension(path: &Path, name: &str) -> String {
    text(path, &["-ext", name]).lines().skip(1).map(str::trim).collect()
}

#[test]
fn key_identifiers_chain_and_serial_numbers_are_random() {
    let lab = Lab::made();
    let authority = extension(&lab.certs().join("authorities/etcd.pem"), "subjectKeyIdentifier");
    let mut serials = Vec::new();
    for spec in table(&lab.cluster).certificates {
        let path = lab.certs().join(&spec.files.certificate);
        assert_eq!(extension(&path, "authorityKeyIdentifier").trim_start_matches("keyid:"), authority);
        assert_eq!(extension(&path, "subjectKeyIdentifier").len(), authority.len());
        let serial = text(&path, &["-serial"]);
        assert_eq!(serial.len(), "serial=".len() + 32, "16 octets: {serial}");
        serials.push(serial);
    }
    let n_serials = serials.len();
    serials.sort();
    serials.dedup();
    assert_eq!(serials.len(), n_serials);
}

#[test]
fn the_private_key_is_the_certificates_own() {
    let lab = Lab::made();
    let key = lab.plaintext_key("casper", "etcd-server");
    let of_key = stdout(&run("openssl", &["pkey", "-in", key.to_str().unwrap(), "-pubout"]));
    assert_eq!(text(&lab.certs().join("nodes/casper/etcd-server.pem"), &["-pubkey"]), of_key.trim_end());
}

#[test]
fn a_leaf_never_outlives_its_authority() {
    let mut lab = Lab::made();
    lab.now += Duration::days(3650 - 100);
    lab.policy.renewal = Renewal::All;
    lab.update().unwrap();
    let end = |path: &str| text(&lab.certs().join(path), &["-enddate"]);
    assert_eq!(end("nodes/casper/etcd-server.pem"), end("authorities/etcd.pem"));
    assert!(verify(&lab, "sslserver", "nodes/casper/etcd-server.pem"));
}

#[test]
fn keys_of_other_kinds_are_made_on_request() {
    for (algorithm, expect) in
        [(KeyAlgorithm::EcdsaP384, "Public-Key: (384 bit)"), (KeyAlgorithm::Rsa2048, "Public-Key: (2048 bit)")]
    {
        let mut lab = Lab::new();
        lab.cluster.nodes.retain(|name, _| name.as_str() == "casper");
        lab.policy.algorithm = algorithm;
        lab.update().unwrap();
        assert!(lab.update().unwrap().plan.actions.iter().all(|action| !action.step.makes_one()));
        for path in ["authorities/etcd.pem", "nodes/casper/etcd-server.pem"] {
            assert!(text(&lab.certs().join(path), &["-text"]).contains(expect), "{algorithm} {path}");
        }
        assert!(verify(&lab, "sslserver", "nodes/casper/etcd-server.pem"), "{algorithm}");
        // RFC 8813 forbids keyEncipherment with elliptic curves; RSA needs it.
        let usage = extension(&lab.certs().join("nodes/casper/etcd-server.pem"), "keyUsage");
        assert_eq!(usage.contains("Key Encipherment"), algorithm == KeyAlgorithm::Rsa2048, "{usage}");
        // Existing certificates keep their algorithm: it does not count as drift. New ones get the new algorithm, under
        // the old authority.
        lab.policy.algorithm = KeyAlgorithm::EcdsaP256;
        fs::remove_file(lab.certs().join("operators/etcd-operator.pem")).unwrap();
        lab.update().unwrap();
        assert!(verify(&lab, "sslclient", "operators/etcd-operator.pem"), "{algorithm}");
        assert_eq!(mode(&lab.certs().join("operators/etcd-operator.key.age")), 0o600);
    }
}
