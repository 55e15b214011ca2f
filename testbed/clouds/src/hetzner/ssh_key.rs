//! SSH keys.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::Hetzner;
use super::errors::{find, find_mut, id_of, invalid, labels_of, taken, unique_name};
use super::list::list;
use crate::key;
use crate::labels::Labels;
use crate::message::{Call, Handled, Reply};
use crate::route::Route;
use crate::time::{self, Moment};

/// Endpoints.
pub const ROUTES: &[Route<Hetzner>] = &[
    ("GET", "/ssh_keys", all),
    ("POST", "/ssh_keys", create),
    ("GET", "/ssh_keys/{id}", one),
    ("PUT", "/ssh_keys/{id}", update),
    ("DELETE", "/ssh_keys/{id}", delete),
];

/// A public key.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct SshKey {
    /// Unique in the project.
    pub id: u64,
    /// Unique in the project.
    pub name: String,
    /// MD5, hexadecimal with colons; unique in the project.
    pub fingerprint: String,
    /// The line as it was given.
    pub public_key: String,
    /// Key and value.
    pub labels: Labels,
    /// When it was created.
    pub created: Moment,
}

impl SshKey {
    /// The form of answers.
    pub fn json(&self) -> Value {
        json!({
            "id": self.id,
            "name": self.name,
            "fingerprint": self.fingerprint,
            "public_key": self.public_key,
            "labels": self.labels,
            "created": time::text(self.created),
        })
    }
}

fn all(state: &mut Hetzner, call: &Call) -> Handled {
    list(call, "ssh_keys", state.ssh_keys.values().map(SshKey::json).collect())
}

fn one(state: &mut Hetzner, call: &Call) -> Handled {
    let key = find(&state.ssh_keys, id_of(call, "SSH key")?, "SSH key")?;
    Ok(Reply::json(200, json!({"ssh_key": key.json()})))
}

fn create(state: &mut Hetzner, call: &Call) -> Handled {
    let line = call.required("public_key");
    let (_, fingerprint) = key::parse(line).ok_or_else(|| invalid("public_key", "not a public key of SSH"))?;
    if state.ssh_keys.values().any(|key| key.fingerprint == fingerprint) {
        return Err(taken("public_key"));
    }
    let others = state.ssh_keys.iter().map(|(id, key)| (*id, &key.name));
    let name = unique_name(call.text("name"), others, 0)?.unwrap_or_default();
    let labels = labels_of(call)?.unwrap_or_default();
    state.within_quota("ssh_keys", state.ssh_keys.len(), 1)?;
    let key = SshKey { id: state.id(), name, fingerprint, public_key: line.to_owned(), labels, created: call.now };
    let json = key.json();
    state.ssh_keys.insert(key.id, key);
    Ok(Reply::json(201, json!({"ssh_key": json})))
}

fn update(state: &mut Hetzner, call: &Call) -> Handled {
    let id = id_of(call, "SSH key")?;
    find(&state.ssh_keys, id, "SSH key")?;
    let others = state.ssh_keys.iter().map(|(id, key)| (*id, &key.name));
    let name = unique_name(call.text("name"), others, id)?;
    let labels = labels_of(call)?;
    let key = find_mut(&mut state.ssh_keys, id, "SSH key")?;
    key.name = name.unwrap_or_else(|| key.name.clone());
    key.labels = labels.unwrap_or_else(|| key.labels.clone());
    one(state, call)
}

/// A key can be deleted while servers have it: they keep what was written to them.
fn delete(state: &mut Hetzner, call: &Call) -> Handled {
    let id = id_of(call, "SSH key")?;
    find(&state.ssh_keys, id, "SSH key")?;
    state.ssh_keys.remove(&id);
    Ok(Reply::empty())
}
