#![allow(clippy::unwrap_used, clippy::panic)]

use std::{collections::BTreeMap, path::PathBuf};

use expect_test::{Expect, expect};
use machinist_model::fixtures;
use time::{Duration, OffsetDateTime, macros::datetime};

use super::{Policy, Renewal, plan};
use crate::{
    Authority, AuthoritySpec, Certificate, CertificateSpec, Entry, ExtendedUsage, Files, KeyAlgorithm, KeyUsage,
    PrivateKey, San, Table, Tree,
    issue::{self, Signer, Validity},
    table::table,
};

const NOW: OffsetDateTime = datetime!(2026-11-21 12:00 UTC);
const SERVER: &str = "etcd-server-balthazar";

/// A valid directory, which each test modifies.
struct Case {
    table: Table,
    entries: BTreeMap<PathBuf, Entry>,
    signer: Signer,
    policy: Policy,
    now: OffsetDateTime,
}

fn signer(spec: &AuthoritySpec, validity: Validity) -> Signer {
    let key = PrivateKey::generate(KeyAlgorithm::EcdsaP256).unwrap();
    let text = issue::authority(spec, &key, [1; 16], validity).unwrap();
    Signer::new(Certificate::parse(text.as_bytes()).unwrap(), key).unwrap()
}

impl Case {
    fn new() -> Self {
        let mut cluster = fixtures::three_member_etcd();
        cluster.nodes.retain(|name, _| name.as_str() == "balthazar");
        let table = table(&cluster);
        let policy = Policy::default();
        let signer = signer(&table.authorities[0], Validity::new(NOW, policy.authority_life, None));
        let mut case = Self { table, entries: BTreeMap::new(), signer, policy, now: NOW };
        case.put_authority();
        for spec in case.table.certificates.clone() {
            case.put(&spec, Validity::new(NOW, case.policy.leaf_life, None), KeyAlgorithm::EcdsaP256);
        }
        case
    }

    fn put_authority(&mut self) {
        let certificate = self.signer.certificate().clone();
        let files = Files::authority(Authority::Etcd);
        self.entries.insert(files.key, Entry::Key(Some(certificate.key_id.clone())));
        self.entries.insert(files.certificate, Entry::Certificate(Box::new(certificate)));
    }

    fn put(&mut self, spec: &CertificateSpec, validity: Validity, algorithm: KeyAlgorithm) {
        let key = PrivateKey::generate(algorithm).unwrap();
        let text = issue::leaf(spec, &key, &self.signer, [2; 16], validity).unwrap();
        let certificate = Entry::classify(&spec.files.certificate, text.as_bytes());
        self.entries.insert(spec.files.certificate.clone(), certificate);
        self.entries.insert(spec.files.key.clone(), Entry::Key(Some(key.id())));
    }

    fn spec(&self) -> CertificateSpec {
        self.table.certificates.iter().find(|spec| spec.name == SERVER).unwrap().clone()
    }

    /// Replaces the server's certificate by one of another row.
    fn server(&mut self, change: impl FnOnce(&mut CertificateSpec)) {
        let mut spec = self.spec();
        change(&mut spec);
        self.put(&spec, Validity::new(NOW, self.policy.leaf_life, None), KeyAlgorithm::EcdsaP256);
    }

    /// Replaces the server's certificate by one with another validity, in days from now.
    fn life(&mut self, from: i64, to: i64) {
        let validity = Validity { not_before: NOW + Duration::days(from), not_after: NOW + Duration::days(to) };
        self.put(&self.spec(), validity, KeyAlgorithm::EcdsaP256);
    }
}

#[track_caller]
fn check(spoil: impl FnOnce(&mut Case), expect: Expect) {
    let mut case = Case::new();
    spoil(&mut case);
    let tree = Tree::from_entries(case.entries);
    let plan = plan(&case.table, &tree, &case.policy, case.now);
    let mut lines = Vec::new();
    for action in plan.actions.iter().filter(|action| action.step.makes_one()) {
        let verb = if matches!(action.step, super::Step::Issue(_)) { "issue" } else { "renew" };
        lines.push(format!("{verb} {}: {}", action.name, action.step.because()));
    }
    lines.extend(plan.problems.iter().map(|problem| format!("problem {}: {}", problem.subject, problem.what)));
    lines.extend(plan.notices.iter().map(|notice| format!("notice {}: {}", notice.subject, notice.what)));
    lines.extend(plan.orphans.iter().map(|orphan| format!("orphan {}", orphan.display())));
    // Keys are random.
    let text = lines.join("\n");
    let masked =
        text.split(' ').map(|word| if crate::KeyId::parse(word.trim_matches(',')).is_some() { "KEYID" } else { word });
    expect.assert_eq(&masked.collect::<Vec<_>>().join(" "));
}

#[test]
fn what_is_right_is_kept() {
    check(|_| {}, expect![""]);
    check(
        |case| case.put(&case.spec(), Validity::new(NOW, Duration::days(365), None), KeyAlgorithm::EcdsaP384),
        expect![""],
    );
}

#[test]
fn an_empty_directory_is_filled() {
    check(
        |case| case.entries.clear(),
        expect![[r#"
        issue etcd-ca: missing
        issue etcd-healthcheck-client-balthazar: missing
        issue etcd-operator: missing
        issue etcd-peer-balthazar: missing
        issue etcd-server-balthazar: missing"#]],
    );
}

#[test]
fn missing_files_are_made_again() {
    check(
        |case| drop(case.entries.remove(&case.spec().files.certificate)),
        expect!["issue etcd-server-balthazar: the certificate is missing"],
    );
    check(
        |case| drop(case.entries.remove(&case.spec().files.key)),
        expect!["renew etcd-server-balthazar: the private key is missing"],
    );
}

#[test]
fn a_certificate_that_says_something_else_is_renewed() {
    check(
        |case| {
            case.server(|spec| {
                spec.sans.remove(&San::Ip("10.13.13.2".parse().unwrap()));
                spec.sans.insert(San::Ip("10.13.13.9".parse().unwrap()));
            });
        },
        expect!["renew etcd-server-balthazar: SANs differ: +10.13.13.2 -10.13.13.9"],
    );
    check(
        |case| case.server(|spec| spec.common_name = "etcd".to_owned()),
        expect!["renew etcd-server-balthazar: CN is `etcd`, not `kube-etcd`"],
    );
    check(
        |case| case.server(|spec| spec.organization = Some("system:masters".to_owned())),
        expect!["renew etcd-server-balthazar: O is `system:masters`, not none"],
    );
    check(
        |case| case.server(|spec| spec.extended_usages = [ExtendedUsage::Server].into()),
        expect!["renew etcd-server-balthazar: extended key usage is serverAuth, not serverAuth, clientAuth"],
    );
    check(
        |case| case.server(|spec| spec.usages = [KeyUsage::DigitalSignature, KeyUsage::KeyEncipherment].into()),
        expect!["renew etcd-server-balthazar: key usage is digitalSignature, keyEncipherment, not digitalSignature"],
    );
}

#[test]
fn all_that_differs_is_said() {
    check(
        |case| {
            case.server(|spec| {
                spec.common_name = "etcd".to_owned();
                spec.extended_usages = [ExtendedUsage::Server].into();
            });
        },
        expect![
            "renew etcd-server-balthazar: CN is `etcd`, not `kube-etcd`; extended key usage is serverAuth, not serverAuth, clientAuth"
        ],
    );
}

#[test]
fn less_than_a_third_of_the_life_is_too_little() {
    check(|case| case.life(-243, 122), expect![""]);
    check(|case| case.life(-244, 121), expect!["renew etcd-server-balthazar: 121 days left of 365, less than a third"]);
    check(|case| case.life(-365, 0), expect!["renew etcd-server-balthazar: expired today"]);
    check(|case| case.life(-400, -35), expect!["renew etcd-server-balthazar: expired 35 days ago"]);
    check(|case| case.life(2, 367), expect!["renew etcd-server-balthazar: not valid before 2026-11-23"]);
}

#[test]
fn an_authority_in_the_place_of_another_one_signs_all_again() {
    check(
        |case| {
            case.signer = signer(&case.table.authorities[0], Validity::new(NOW, Duration::days(3650), None));
            case.put_authority();
        },
        expect![[r#"
            renew etcd-healthcheck-client-balthazar: signed by a key other than the etcd authority's
            renew etcd-operator: signed by a key other than the etcd authority's
            renew etcd-peer-balthazar: signed by a key other than the etcd authority's
            renew etcd-server-balthazar: signed by a key other than the etcd authority's
            notice etcd-ca: it did not sign the existing certificates (4): machines that trust another authority refuse the new ones until all machines are deployed"#]],
    );
}

#[test]
fn a_certificate_of_another_authority_is_renewed() {
    check(
        |case| {
            let mut other = case.table.authorities[0].clone();
            other.common_name = "kubernetes-ca".to_owned();
            let etcd = std::mem::replace(&mut case.signer, signer(&other, Validity::new(NOW, Duration::days(9), None)));
            case.server(|_| {});
            case.signer = etcd;
        },
        expect!["renew etcd-server-balthazar: signed by `CN=kubernetes-ca` instead of the etcd authority"],
    );
}

#[test]
fn a_key_of_another_certificate_is_seen_without_decrypting_it() {
    check(
        |case| {
            let other = case.entries.remove(&PathBuf::from("nodes/balthazar/etcd-peer.key.age")).unwrap();
            let files = case.spec().files;
            let Entry::Key(Some(id)) = other else { panic!("no key") };
            case.entries.insert("nodes/balthazar/etcd-peer.key.age".into(), Entry::Key(Some(id.clone())));
            case.entries.insert(files.key, Entry::Key(Some(id)));
        },
        expect!["renew etcd-server-balthazar: the private key is that of KEYID the certificate that of KEYID"],
    );
}

#[test]
fn a_key_that_does_not_say_what_it_belongs_to_is_kept() {
    check(|case| drop(case.entries.insert(case.spec().files.key, Entry::Key(None))), expect![""]);
}

#[test]
fn an_authority_is_never_made_a_second_time() {
    let files = || Files::authority(Authority::Etcd);
    check(
        |case| drop(case.entries.remove(&files().certificate)),
        expect!["problem authorities/etcd.pem: the authority is missing, but certificates signed by it exist (4)"],
    );
    check(
        |case| {
            case.entries.remove(&files().certificate);
            case.entries.remove(&files().key);
        },
        expect!["problem authorities/etcd.pem: the authority is missing, but certificates signed by it exist (4)"],
    );
}

#[test]
fn a_first_run_that_was_cut_off_after_the_authoritys_key_begins_again() {
    check(
        |case| {
            let key = Files::authority(Authority::Etcd).key;
            case.entries.retain(|path, _| *path == key);
        },
        expect![[r#"
            issue etcd-ca: the certificate is missing
            issue etcd-healthcheck-client-balthazar: missing
            issue etcd-operator: missing
            issue etcd-peer-balthazar: missing
            issue etcd-server-balthazar: missing"#]],
    );
}

#[test]
fn an_authority_that_is_not_right_is_for_a_person_to_decide() {
    let with = |change: fn(&mut AuthoritySpec), from: i64, to: i64| {
        move |case: &mut Case| {
            let mut spec = case.table.authorities[0].clone();
            change(&mut spec);
            let validity = Validity { not_before: NOW + Duration::days(from), not_after: NOW + Duration::days(to) };
            case.signer = signer(&spec, validity);
            case.put_authority();
            for spec in case.table.certificates.clone() {
                case.put(&spec, Validity::new(NOW, Duration::days(365), None), KeyAlgorithm::EcdsaP256);
            }
        }
    };
    check(
        with(|spec| spec.common_name = "Demo CA".to_owned(), -1, 3649),
        expect!["problem authorities/etcd.pem: it is another authority: its CN is `Demo CA`, not `etcd-ca`"],
    );
    check(
        with(|_| {}, -3650, -1),
        expect!["problem authorities/etcd.pem: it expired on 2026-11-20, and what it signed is no longer accepted"],
    );
    check(
        with(|_| {}, 10, 3650),
        expect![
            "problem authorities/etcd.pem: it is not valid before 2026-12-01, and this computer's date is 2026-11-21"
        ],
    );
    check(
        with(|_| {}, -3600, 50),
        expect![
            "notice etcd-ca: the authority expires in 50 days, on 2027-01-10, and what it signs expires with it: `machinist certs rotate-ca etcd` replaces it in stages, while the cluster keeps running"
        ],
    );
    check(
        |case| {
            let leaf = case.entries.remove(&case.spec().files.certificate).unwrap();
            case.entries.insert(Files::authority(Authority::Etcd).certificate, leaf);
            case.server(|_| {});
        },
        expect!["problem authorities/etcd.pem: it is not an authority: it cannot sign certificates"],
    );
    check(
        |case| {
            let key = PrivateKey::generate(KeyAlgorithm::EcdsaP256).unwrap();
            case.entries.insert(Files::authority(Authority::Etcd).key, Entry::Key(Some(key.id())));
        },
        expect!["problem authorities/etcd.pem: its private key belongs to another certificate: KEYID instead of KEYID"],
    );
}

#[test]
fn an_authority_from_a_wrong_clock_says_what_to_do_in_either_case() {
    let mut case = Case::new();
    let validity = Validity { not_before: NOW + Duration::days(10), not_after: NOW + Duration::days(3650) };
    case.signer = signer(&case.table.authorities[0], validity);
    case.put_authority();
    let plan = plan(&case.table, &Tree::from_entries(case.entries), &case.policy, case.now);
    let hint = &plan.problems[0].hint;
    for part in [
        "if 2026-11-21 is wrong, set this computer's clock",
        "if it is right, the authority was made with a wrong clock",
        "move authorities/etcd.pem",
    ] {
        assert!(hint.contains(part), "{hint}");
    }
}

#[test]
fn an_authoritys_key_may_be_kept_elsewhere_until_something_is_to_be_signed() {
    let key = || Files::authority(Authority::Etcd).key;
    check(
        |case| drop(case.entries.remove(&key())),
        expect!["notice authorities/etcd.key.age: the authority's private key is not here"],
    );
    check(
        |case| {
            case.entries.remove(&key());
            case.life(-365, -1);
        },
        expect![[r#"
            renew etcd-server-balthazar: expired 1 day ago
            problem authorities/etcd.key.age: the authority's private key is missing, and certificates have to be signed (1)"#]],
    );
}

#[test]
fn renewing_near_the_authoritys_end_does_not_go_on_for_ever() {
    check(
        |case| {
            let validity = Validity { not_before: NOW - Duration::days(3640), not_after: NOW + Duration::days(10) };
            case.signer = signer(&case.table.authorities[0], validity);
            case.put_authority();
            for spec in case.table.certificates.clone() {
                let life = Validity { not_before: NOW - Duration::days(90), not_after: NOW + Duration::days(365) };
                case.put(&spec, life, KeyAlgorithm::EcdsaP256);
            }
        },
        expect![
            "notice etcd-ca: the authority expires in 10 days, on 2026-12-01, and what it signs expires with it: `machinist certs rotate-ca etcd` replaces it in stages, while the cluster keeps running"
        ],
    );
}

#[test]
fn files_in_the_way_are_named() {
    check(
        |case| {
            let files = case.spec().files;
            case.entries.insert(files.certificate.clone(), Entry::classify(&files.certificate, b"hello"));
            case.entries.insert(files.key.clone(), Entry::classify(&files.key, b"hello"));
        },
        expect![[r#"
            problem nodes/balthazar/etcd-server.key.age: not an encrypted private key: it does not begin with `-----BEGIN AGE ENCRYPTED FILE-----`
            problem nodes/balthazar/etcd-server.pem: not a certificate: it contains no PEM block"#]],
    );
}

#[test]
fn a_private_key_in_the_clear_stops_everything() {
    let key = PrivateKey::generate(KeyAlgorithm::EcdsaP256).unwrap().to_pem();
    for path in ["nodes/balthazar/etcd-server.key", "nodes/balthazar/etcd-server.key.age", "old/deep/server-key.pem"] {
        let entry = Entry::classify(path.as_ref(), key.as_bytes());
        assert!(matches!(entry, Entry::Plaintext), "{path}");
    }
    check(
        |case| {
            drop(case.entries.insert("nodes/x/y.key".into(), Entry::classify("nodes/x/y.key".as_ref(), key.as_bytes())))
        },
        expect!["problem nodes/x/y.key: it contains an unencrypted private key"],
    );
}

#[test]
fn certificates_that_no_machine_needs_are_orphans() {
    check(
        |case| {
            case.table.certificates.retain(|spec| spec.name != SERVER);
            case.entries.insert("README.md".into(), Entry::Foreign);
        },
        expect![[r#"
            orphan nodes/balthazar/etcd-server.key.age
            orphan nodes/balthazar/etcd-server.pem"#]],
    );
}

#[test]
fn what_is_requested_is_renewed() {
    let named = |name: &str| Renewal::Named([name.to_owned()].into());
    check(|case| case.policy.renewal = named(SERVER), expect!["renew etcd-server-balthazar: requested"]);
    check(
        |case| case.policy.renewal = named("etcd-servr"),
        expect!["problem etcd-servr: no certificate has this name"],
    );
    check(
        |case| case.policy.renewal = named("etcd-ca"),
        expect![
            "problem etcd-ca: an authority is not renewed like a leaf: everything that trusts it would have to change with it"
        ],
    );
    check(
        |case| case.policy.renewal = Renewal::All,
        expect![[r#"
            renew etcd-healthcheck-client-balthazar: requested
            renew etcd-operator: requested
            renew etcd-peer-balthazar: requested
            renew etcd-server-balthazar: requested"#]],
    );
}

#[test]
fn a_plan_finds_an_action_by_name_and_tells_all_problems_in_one_text() {
    let case = Case::new();
    let good = plan(&case.table, &Tree::from_entries(case.entries), &case.policy, case.now);
    assert_eq!(good.action(SERVER).unwrap().name, SERVER);
    assert!(good.action("etcd-server-nobody").is_none());
    assert_eq!(good.refusal(), None);

    let mut case = Case::new();
    case.policy.renewal = Renewal::Named(["nothing".to_owned(), "etcd-ca".to_owned()].into());
    let bad = plan(&case.table, &Tree::from_entries(case.entries), &case.policy, case.now);
    let refusal = bad.refusal().unwrap();
    assert_eq!(refusal.lines().count(), 2, "{refusal}");
    assert!(refusal.contains("nothing: no certificate has this name"), "{refusal}");
    assert!(refusal.contains("etcd-ca: an authority is not renewed like a leaf"), "{refusal}");
}

#[test]
fn an_unknown_name_is_answered_with_up_to_eight_that_exist() {
    let hint = |count: usize| {
        let mut case = Case::new();
        let spec = case.spec();
        case.table.certificates =
            (0..count).map(|number| CertificateSpec { name: format!("c{number}"), ..spec.clone() }).collect();
        case.policy.renewal = Renewal::Named(["nothing".to_owned()].into());
        let plan = plan(&case.table, &Tree::from_entries(case.entries), &case.policy, case.now);
        plan.problems.into_iter().find(|problem| problem.subject == "nothing").unwrap().hint
    };
    assert_eq!(hint(8), "available: c0, c1, c2, c3, c4, c5, c6, c7");
    assert_eq!(hint(9), "available: c0, c1, c2, c3, c4, c5, c6, c7, ...");
}

#[test]
fn an_authority_is_valid_from_its_first_moment_and_is_not_announced_before_its_leaves_are_short() {
    check(
        |case| {
            case.signer = signer(
                &case.table.authorities[0],
                Validity { not_before: NOW, not_after: NOW + case.policy.leaf_life },
            );
            case.put_authority();
            for spec in case.table.certificates.clone() {
                case.put(
                    &spec,
                    Validity { not_before: NOW, not_after: NOW + case.policy.leaf_life },
                    KeyAlgorithm::EcdsaP256,
                );
            }
        },
        expect![[r#""#]],
    );
}
