#![allow(clippy::unwrap_used)]

use expect_test::{Expect, expect};
use machinist_model::fixtures;
use time::macros::datetime;

use super::{Position, RECORD, Rotation, Rotations, Stage, Subject, blocks, inspect, position};
use crate::{
    Authority, Certificate, Entry, Files, KeyAlgorithm, KeyId, PrivateKey, Table, Tree,
    issue::{self, Validity},
    table::table,
};

const NOW: time::OffsetDateTime = datetime!(2026-11-21 12:00 UTC);

fn authority(table: &Table) -> Certificate {
    let spec = table.authorities.iter().find(|spec| spec.authority == Authority::Etcd).unwrap();
    let key = PrivateKey::generate(KeyAlgorithm::EcdsaP256).unwrap();
    let text = issue::authority(spec, &key, [1; 16], Validity::new(NOW, time::Duration::days(9), None)).unwrap();
    Certificate::parse(text.as_bytes()).unwrap()
}

fn record(stage: Stage) -> Rotations {
    let rotation = Rotation { stage, since: NOW, in_use_since: None };
    Rotations([("etcd".to_owned(), rotation)].into())
}

/// Returns the report on a directory with so many authorities of etcd, a record, and the keys of the authorities at
/// these positions.
fn said(trusted: usize, stage: Option<Stage>, key: Option<usize>, next: Option<usize>) -> String {
    let table = table(&fixtures::three_member_etcd());
    let all: Vec<Certificate> = (0..trusted).map(|_| authority(&table)).collect();
    let id = |place: usize| all.get(place).map(|certificate| certificate.key_id.clone());
    let files = Files::authority(Authority::Etcd);
    let subject = Subject::all(&table).find(|subject| subject.name() == "etcd").unwrap();
    let mut entries = vec![(files.certificate, Entry::Bundle(all.clone()))];
    entries.extend(stage.map(|stage| (RECORD.into(), Entry::Rotations(record(stage)))));
    entries.extend(key.map(|place| (files.key, Entry::Key(id(place)))));
    entries.extend(next.map(|place| (subject.next_key(), Entry::Key(id(place)))));
    let tree = Tree::from_entries(entries);
    let (problems, notices) = inspect(&table, &tree);
    let position = match position(&table, &tree, subject) {
        Position::Idle => "idle".to_owned(),
        Position::Unfinished(stage) => format!("unfinished {}", stage.number()),
        Position::At(rotation) => format!("at {}", rotation.stage.number()),
    };
    let problems = problems.into_iter().map(|problem| format!("\n{}: {}", problem.subject, problem.what));
    let notices = notices.into_iter().map(|notice| format!("\n{}: {}", notice.subject, notice.what));
    position + &problems.chain(notices).collect::<String>()
}

#[track_caller]
fn check(trusted: usize, stage: Option<Stage>, key: Option<usize>, next: Option<usize>, expect: &Expect) {
    expect.assert_eq(&said(trusted, stage, key, next));
}

#[test]
fn one_authority_without_a_record_is_not_being_rotated() {
    check(1, None, Some(0), None, &expect!["idle"]);
}

#[test]
fn a_stage_whose_files_are_there_waits_for_its_deploy() {
    check(
        2,
        Some(Stage::TrustBoth),
        Some(0),
        Some(1),
        &expect![[r#"
            at 1
            etcd-ca: it is being rotated: stage 1 of 3, trust both, since 2026-11-21; once that is deployed, `machinist certs rotate-ca etcd` continues it"#]],
    );
    check(
        2,
        Some(Stage::SignNew),
        Some(0),
        None,
        &expect![[r#"
            at 2
            etcd-ca: it is being rotated: stage 2 of 3, sign with the new one, since 2026-11-21; once that is deployed, `machinist certs rotate-ca etcd` continues it"#]],
    );
}

#[test]
fn a_stage_that_was_cut_off_is_known_as_that_wherever_it_was() {
    for (trusted, stage, key, next) in [
        (1, Stage::TrustBoth, Some(0), None),
        (2, Stage::TrustBoth, Some(0), None),
        (2, Stage::SignNew, Some(0), Some(1)),
        (2, Stage::SignNew, Some(1), Some(1)),
        (2, Stage::SignNew, Some(0), Some(0)),
        (2, Stage::DropOld, Some(0), None),
        (1, Stage::DropOld, Some(0), None),
    ] {
        let said = said(trusted, Some(stage), key, next);
        assert!(said.starts_with(&format!("unfinished {}\n", stage.number())), "{said}");
        assert!(said.contains("was interrupted in stage") && said.contains("rotate-ca etcd` continues it"), "{said}");
        assert_eq!(said.lines().count(), 2, "no problem: {said}");
    }
}

#[test]
fn what_the_record_does_not_explain_is_a_problem() {
    check(
        2,
        None,
        Some(0),
        None,
        &expect![[r#"
            idle
            authorities/etcd.pem: 2 are trusted, but no rotation is recorded in rotations.json"#]],
    );
    let said = said(1, Some(Stage::SignNew), Some(0), None);
    assert!(said.contains("the old one is missing, but machines still need it"), "{said}");
    let said = self::said(3, Some(Stage::TrustBoth), Some(0), Some(2));
    assert!(said.contains("3 are trusted, but a rotation has two"), "{said}");
}

#[test]
fn a_record_can_be_read_by_people_and_comes_back_the_same() {
    let mut rotations = record(Stage::TrustBoth);
    let rotation = Rotation { stage: Stage::SignNew, since: NOW, in_use_since: Some(NOW) };
    rotations.0.insert("service-account".to_owned(), rotation);
    let text = rotations.to_text().unwrap();
    expect![[r#"
        {
          "etcd": {
            "stage": "trust-both",
            "since": "2026-11-21T12:00:00Z"
          },
          "service-account": {
            "stage": "sign-new",
            "since": "2026-11-21T12:00:00Z",
            "in_use_since": "2026-11-21T12:00:00Z"
          }
        }
    "#]]
    .assert_eq(&text);
    assert_eq!(Rotations::parse(text.as_bytes()).unwrap(), rotations);
    assert_eq!(Rotations::default().to_text(), None);
    for text in ["", "[]", r#"{"etcd": {"stage": "other", "since": "2026-11-21T12:00:00Z"}}"#, r#"{"etcd": {}}"#] {
        assert!(Rotations::parse(text.as_bytes()).is_err(), "{text}");
    }
}

#[test]
fn blocks_are_cut_where_they_end_and_what_stands_between_goes_with_the_next() {
    let one = "-----BEGIN X-----\nA\n-----END X-----\n";
    assert_eq!(blocks(&format!("{one}{one}")), [one, one]);
    assert_eq!(blocks(&format!("words\r\n{one}\n\n")), [format!("words\n{one}")]);
    assert!(blocks("").is_empty() && blocks("words\n").is_empty());
}

#[test]
fn several_public_keys_are_named_in_their_order() {
    let [a, b] = [(); 2].map(|()| PrivateKey::generate(KeyAlgorithm::EcdsaP256).unwrap());
    let text = a.public_pem() + &b.public_pem();
    assert_eq!(KeyId::of_public_pem(text.as_bytes()).unwrap(), [a.id(), b.id()]);
    assert_eq!(KeyId::of_public_pem(b""), None);
    assert_eq!(KeyId::of_public_pem(&text.as_bytes()[..text.len() - 40]), None, "the second one is cut off");
}
