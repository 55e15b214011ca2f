//! `machinist etcd get`, `ls` and `watch`.

use std::io;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use clap::Args;
use machinist_etcd::data::{Changes, Entry};
use machinist_operations::{
    context::Context,
    etcd::data::{self, WatchRequest},
};
use machinist_text::one_line;
use serde_json::{Value, json};

use crate::{
    failure::{Outcome, exit_code},
    ui::Ui,
};

/// Arguments of `etcd get`.
#[derive(Debug, Args)]
pub struct GetArgs {
    /// The key; its value is printed as it is, without a line's end; on a terminal control characters are escaped
    #[arg(value_name = "KEY")]
    key: String,
}

/// Arguments of `etcd ls`.
#[derive(Debug, Args)]
pub struct LsArgs {
    /// Prefix of the keys; all keys by default
    #[arg(value_name = "PREFIX", default_value = "")]
    prefix: String,
}

/// Arguments of `etcd watch`.
#[derive(Debug, Args)]
pub struct WatchArgs {
    /// Prefix of the keys; all keys by default
    #[arg(value_name = "PREFIX", default_value = "")]
    prefix: String,

    /// Start at this revision instead of now
    #[arg(long, value_name = "REVISION")]
    revision: Option<u64>,
}

/// Prints the value of a key.
pub fn get(args: &GetArgs, context: &Context, ui: Ui) -> Outcome {
    let entry = data::get(context, &args.key)?;
    if ui.json {
        ui.result_json(&described(&entry, true));
    } else {
        ui.document(&entry.value);
    }
    Ok(exit_code(None))
}

/// Lists keys.
pub fn ls(args: &LsArgs, context: &Context, ui: Ui) -> Outcome {
    let listing = data::list(context, &args.prefix)?;
    if ui.json {
        let keys: Vec<Value> = listing.entries.iter().map(|entry| described(entry, false)).collect();
        ui.result_json(&json!({ "revision": listing.revision, "keys": keys }));
    } else {
        for entry in &listing.entries {
            ui.result(&printable(&entry.key));
        }
    }
    Ok(exit_code(None))
}

/// Prints changes until it is interrupted.
pub fn watch(args: &WatchArgs, context: &Context, ui: Ui) -> Outcome {
    let request = WatchRequest { prefix: args.prefix.clone(), revision: args.revision };
    match data::watch(context, &request, &mut |changes| tell(changes, ui)) {
        // The command's end reports whether that is a failure.
        Err(_) if ui.is_unread() => Ok(exit_code(None)),
        ended => ended.map(|()| exit_code(None)),
    }
}

fn tell(changes: &Changes, ui: Ui) -> io::Result<()> {
    for change in &changes.changes {
        let entry = &change.entry;
        if ui.json {
            let mut told = described(entry, !change.deleted);
            if let Value::Object(fields) = &mut told {
                fields.insert("event".to_owned(), if change.deleted { "delete" } else { "put" }.into());
            }
            ui.result_json_line(&told);
        } else if change.deleted {
            ui.result(&format!("{} delete {}", entry.revision, printable(&entry.key)));
        } else {
            ui.result(&format!("{} put {} {}", entry.revision, printable(&entry.key), printable(&entry.value)));
        }
    }
    if ui.is_unread() { Err(io::Error::other("the changes cannot be printed any more")) } else { Ok(()) }
}

/// Escapes bytes that are not text, so that no content of etcd can control the terminal.
fn printable(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) => one_line(text).into_owned(),
        Err(_) => bytes.escape_ascii().to_string(),
    }
}

/// Returns text as it is, and other bytes as base64 under a different name.
fn described(entry: &Entry, value: bool) -> Value {
    let mut fields = serde_json::Map::new();
    let mut put = |name: &str, bytes: &[u8]| match std::str::from_utf8(bytes) {
        Ok(text) => fields.insert(name.to_owned(), text.into()),
        Err(_) => fields.insert(format!("{name}Base64"), STANDARD.encode(bytes).into()),
    };
    put("key", &entry.key);
    if value {
        put("value", &entry.value);
    }
    fields.insert("revision".to_owned(), entry.revision.into());
    if entry.lease != 0 {
        fields.insert("lease".to_owned(), format!("{:x}", entry.lease).into());
    }
    Value::Object(fields)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_in_etcd_can_move_the_cursor() {
        assert_eq!(printable(b"a\x1b[2Jb\nc"), "a\\u{1b}[2Jb\\nc");
        assert_eq!(printable("größe".as_bytes()), "größe");
        assert_eq!(printable(&[0xff, b'a']), "\\xffa");
    }

    #[test]
    fn what_is_no_text_is_told_as_base64() {
        let entry = Entry { key: b"/a".to_vec(), value: vec![0xff], revision: 3, lease: 0x1da3 };
        let wanted = json!({ "key": "/a", "valueBase64": "/w==", "revision": 3, "lease": "1da3" });
        assert_eq!(described(&entry, true), wanted);
    }
}
