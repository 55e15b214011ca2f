//! Measures new data keys: `cargo run --release --package machinist-secrets --example rekey_many -- 1000 12`.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a measurement, not a part of the program")]

use std::{fs, path::Path, thread, time::Instant};

use machinist_model::Operator;
use machinist_secrets::{Identities, KeyRecipient, generate_identity, no_prompt};
use machinist_sops::{Document, Format, Rule, Slot, create, value};
use time::OffsetDateTime;

fn main() {
    let mut numbers = std::env::args().skip(1).map(|number| number.parse::<usize>().unwrap());
    let files = numbers.next().unwrap_or(1000);
    let count = numbers.next().unwrap_or(12);
    let directory = tempfile::tempdir().unwrap();
    let own = generate_identity();
    let identity = directory.path().join("identity");
    fs::write(&identity, own.secret()).unwrap();
    let identities = Identities::load(&[identity], &no_prompt()).unwrap();
    let others: Vec<_> = (1..count).map(|_| generate_identity()).collect();
    let texts = others.iter().map(|other| other.recipient()).chain([own.recipient()]);
    let recipients: Vec<KeyRecipient> = texts.map(recipient).collect();
    let key = value::new_key().unwrap();
    let plain = "database:\n    user: app\n    password: some words\ntoken: 0123456789abcdef0123456789abcdef\n";
    let now = OffsetDateTime::UNIX_EPOCH;
    let slots = slots(&recipients, &*key);
    let text = create(Format::Yaml, plain.as_bytes(), &Rule::default(), &key, &slots, now).unwrap();
    let names: Vec<_> = (0..files).map(|at| directory.path().join(format!("{at}.yaml"))).collect();
    names.iter().for_each(|name| fs::write(name, &text).unwrap());

    let begin = Instant::now();
    let cores = thread::available_parallelism().unwrap().get();
    thread::scope(|scope| {
        for part in names.chunks(files.div_ceil(cores)) {
            let (identities, recipients) = (&identities, &recipients);
            scope.spawn(move || part.iter().for_each(|name| rekey(name, identities, recipients)));
        }
    });
    println!("{files} files of {count} recipients on {cores} cores: {} ms", begin.elapsed().as_millis());
}

fn recipient(text: &str) -> KeyRecipient {
    let operator = Operator { name: "operator".to_owned(), ssh: None, age: Some(text.to_owned()) };
    KeyRecipient::of_operator(&operator).unwrap()
}

fn slots(recipients: &[KeyRecipient], key: &[u8]) -> Vec<Slot> {
    let slot =
        |recipient: &KeyRecipient| Slot { recipient: recipient.text().to_owned(), enc: recipient.wrap(key).unwrap() };
    recipients.iter().map(slot).collect()
}

fn rekey(name: &Path, identities: &Identities, recipients: &[KeyRecipient]) {
    let document = Document::parse(Format::Yaml, &fs::read(name).unwrap()).unwrap();
    let old = document.data_key(|slot| identities.unwrap_key(&slot.enc)).unwrap();
    let key = value::new_key().unwrap();
    let slots = slots(recipients, &*key);
    let text = document.open(old).unwrap().rekey(&key, &slots, OffsetDateTime::UNIX_EPOCH).unwrap();
    machinist_durable::stage_unsynced(name, text.as_bytes(), 0o644).unwrap().place().unwrap();
}
