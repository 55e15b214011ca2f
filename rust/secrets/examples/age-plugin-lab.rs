//! Test plugin of age, by the protocol of hardware keys (C2SP, age-plugin). Its "hardware" is a number: a file key is
//! exclusive-or'd with it. An identity with the number 0 stands for a key that is not plugged in, and one with the
//! number 1 requires a PIN.
#![allow(missing_docs, clippy::panic)]

use std::io;

use age_core::{format::Stanza, plugin::Connection, primitives::bech32_decode};

const TAG: &str = "lab";

fn main() -> io::Result<()> {
    match std::env::args().nth(1).as_deref() {
        Some("--age-plugin=recipient-v1") => wrap(),
        Some("--age-plugin=identity-v1") => unwrap(),
        other => Err(io::Error::other(format!("not a call of age: {other:?}"))),
    }
}

fn wrap() -> io::Result<()> {
    let mut connection = Connection::accept();
    let argument = |stanza: Stanza| Ok::<_, ()>(stanza.args.first().map(|text| number(text)).unwrap_or_default());
    let body = |stanza: Stanza| Ok::<_, ()>(stanza.body);
    let (recipients, identities, file_keys, _) = connection.unidir_receive(
        ("add-recipient", argument),
        ("add-identity", argument),
        (Some("wrap-file-key"), body),
        (Some("extension-labels"), |_| Ok(())),
    )?;
    let numbers: Vec<u8> = [recipients, identities].into_iter().flatten().flatten().collect();
    connection.bidir_send(|mut phase| {
        for (index, key) in file_keys.into_iter().flatten().flatten().enumerate() {
            for number in &numbers {
                let stanza =
                    Stanza { tag: TAG.to_owned(), args: vec![number.to_string()], body: masked(&key, *number) };
                let _accepted = phase.send_stanza("recipient-stanza", &[&index.to_string()], &stanza)?;
            }
        }
        Ok(())
    })
}

fn unwrap() -> io::Result<()> {
    let mut connection = Connection::accept();
    let (identities, stanzas, _, _) = connection.unidir_receive(
        ("add-identity", |stanza: Stanza| {
            Ok::<_, ()>(stanza.args.first().map(|text| number(text)).unwrap_or_default())
        }),
        ("recipient-stanza", |stanza: Stanza| Ok::<_, ()>(stanza)),
        (None, |_| Ok(())),
        (None, |_| Ok(())),
    )?;
    connection.bidir_send(|mut phase| {
        for number in identities.into_iter().flatten() {
            let _shown = phase.send("msg", &[], b"touch \x1b]52;c;x\x07the lab key")?;
            if number == 0 {
                let _heard = phase.send("error", &["identity", "0"], b"the lab key is not plugged in")?;
                continue;
            }
            if number == 1 {
                let pin = phase.send("request-secret", &[], b"PIN of the lab key")?;
                if pin.map(|pin| pin.body).unwrap_or_default() != b"1234" {
                    let _heard = phase.send("error", &["identity", "0"], b"wrong PIN")?;
                    continue;
                }
            }
            // `recipient-stanza INDEX TAG ARGUMENTS...`
            let ours = |stanza: &&Stanza| stanza.args.get(1..) == Some(&[TAG.to_owned(), number.to_string()]);
            if let Some(stanza) = stanzas.iter().flatten().find(ours) {
                let _taken = phase.send("file-key", &["0"], &masked(&stanza.body, number))?;
                break;
            }
        }
        Ok(())
    })
}

fn number(text: &str) -> u8 {
    bech32_decode(text, drop, |_| Ok(()), |_, mut bytes| Ok(bytes.next().unwrap_or_default())).unwrap_or_default()
}

fn masked(key: &[u8], number: u8) -> Vec<u8> {
    key.iter().map(|byte| byte ^ number).collect()
}
