//! What etcd holds: keys, values and their changes. Nothing is changed here.

use std::{io, process::ExitCode};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use clap::Args;
use machinist_etcd::data::{Changes, Entry};
use machinist_rollout::upkeep::{self, Keys};
use machinist_text::one_line;
use serde_json::{Value, json};

use super::access::{Etcd, failed};
use crate::{
    failure::{Failure, Kind, Outcome},
    ui::Ui,
};

/// Which key.
#[derive(Debug, Args)]
pub struct GetArgs {
    /// The key; its value is printed as it is, without a line's end; on a terminal control characters are escaped
    #[arg(value_name = "KEY")]
    key: String,
}

/// Which keys.
#[derive(Debug, Args)]
pub struct LsArgs {
    /// What the keys begin with; all keys by default
    #[arg(value_name = "PREFIX", default_value = "")]
    prefix: String,
}

/// Which keys, and from when on.
#[derive(Debug, Args)]
pub struct WatchArgs {
    /// What the keys begin with; all keys by default
    #[arg(value_name = "PREFIX", default_value = "")]
    prefix: String,

    /// From this revision on, in place of now
    #[arg(long, value_name = "REVISION")]
    revision: Option<u64>,
}

impl Etcd<'_> {
    /// Prints a value.
    pub fn get(&self, args: &GetArgs) -> Outcome {
        let voice = self.voice()?;
        let keys = Keys { key: &args.key, prefix: false };
        let (_, entries) = upkeep::get(&voice, keys, true).map_err(|error| failed(&error))?;
        let Some(entry) = entries.first() else {
            let failure = Failure::new(Kind::Failed, format!("etcd has no key {}", args.key));
            return Err(
                failure.hint(format!("`machinist etcd ls {}` lists those that begin like it", parent(&args.key)))
            );
        };
        if self.ui.json {
            self.ui.result_json(&described(entry, true));
        } else {
            self.ui.document(&entry.value);
        }
        Ok(ExitCode::SUCCESS)
    }

    /// Lists keys.
    pub fn ls(&self, args: &LsArgs) -> Outcome {
        let voice = self.voice()?;
        let keys = Keys { key: &args.prefix, prefix: true };
        let (revision, entries) = upkeep::get(&voice, keys, false).map_err(|error| failed(&error))?;
        if self.ui.json {
            let keys: Vec<Value> = entries.iter().map(|entry| described(entry, false)).collect();
            self.ui.result_json(&json!({ "revision": revision, "keys": keys }));
        } else {
            for entry in &entries {
                self.ui.result(&printable(&entry.key));
            }
        }
        Ok(ExitCode::SUCCESS)
    }

    /// Prints changes until it is stopped.
    pub fn watch(&self, args: &WatchArgs) -> Outcome {
        let voice = self.voice()?;
        let keys = Keys { key: &args.prefix, prefix: true };
        let from = match args.revision {
            Some(revision) => revision,
            // A change between this question and the watch is not missed.
            None => upkeep::get(&voice, keys, false).map_err(|error| failed(&error))?.0 + 1,
        };
        self.ui.story(&format!("{} is asked from revision {from} on; Ctrl-C ends it", voice.node));
        let mut next = from;
        let ui = self.ui;
        let mut tell = |changes: Changes| {
            next = changes.revision + 1;
            tell(&changes, ui)
        };
        match upkeep::watch(&voice, keys, from, &mut tell) {
            Ok(()) => Ok(ExitCode::SUCCESS),
            // The end of the command says whether that is a failure.
            Err(_) if ui.is_unread() => Ok(ExitCode::SUCCESS),
            Err(error) => {
                Err(failed(&error).hint(format!("`machinist etcd watch --revision {next}` goes on from here")))
            }
        }
    }
}

fn tell(changes: &Changes, ui: Ui) -> io::Result<()> {
    if let Some(oldest) = changes.compacted {
        return Err(io::Error::other(format!("etcd no longer has that revision, the oldest is {oldest}")));
    }
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

/// Bytes for a terminal: what is no text is shown escaped, so nothing in etcd can move the cursor.
fn printable(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) => one_line(text).into_owned(),
        Err(_) => bytes.escape_ascii().to_string(),
    }
}

/// Text where it is text, else base64 under another name.
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

/// The part of a key before its last step.
fn parent(key: &str) -> &str {
    key.rfind('/').map_or("", |end| key.get(..=end).unwrap_or_default())
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

    #[test]
    fn a_key_that_is_not_there_points_to_its_neighbours() {
        assert_eq!(parent("/cluster/nodes/n1"), "/cluster/nodes/");
        assert_eq!(parent("plain"), "");
    }
}
