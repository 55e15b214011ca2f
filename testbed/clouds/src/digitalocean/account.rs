//! The account and its SSH keys.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::DigitalOcean;
use super::errors::{missing, refused};
use super::list::list;
use crate::key;
use crate::message::{Call, Handled, Problem, Reply};
use crate::route::Route;

/// Endpoints.
pub const ROUTES: &[Route<DigitalOcean>] = &[
    ("GET", "/v2/account", account),
    ("GET", "/v2/account/keys", all),
    ("POST", "/v2/account/keys", create),
    ("GET", "/v2/account/keys/{ssh_key_identifier}", one),
    ("PUT", "/v2/account/keys/{ssh_key_identifier}", update),
    ("DELETE", "/v2/account/keys/{ssh_key_identifier}", delete),
];

/// A public key.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Key {
    /// Unique in the account.
    pub id: u64,
    /// For people.
    pub name: String,
    /// MD5, hexadecimal with colons; unique in the account.
    pub fingerprint: String,
    /// The line as it was given.
    pub public_key: String,
}

impl Key {
    /// The form of answers.
    pub fn json(&self) -> Value {
        json!({
            "id": self.id, "name": self.name, "fingerprint": self.fingerprint, "public_key": self.public_key,
        })
    }
}

impl DigitalOcean {
    /// The key with an id or a fingerprint.
    ///
    /// # Errors
    ///
    /// 404 `not_found`.
    pub fn key(&self, wanted: &str) -> Result<&Key, Problem> {
        let is = |key: &&Key| key.fingerprint == wanted || key.id.to_string() == wanted;
        self.keys.values().find(is).ok_or_else(|| missing("key"))
    }
}

fn account(state: &mut DigitalOcean, _: &Call) -> Handled {
    let limit = state.rules.quotas.get("droplets").copied().unwrap_or(25);
    let account = json!({
        "droplet_limit": limit,
        "floating_ip_limit": 5,
        "email": "test@example.com",
        "name": "Test",
        "uuid": "d0000000-0000-4000-8000-000000000001",
        "email_verified": true,
        "status": "active",
        "status_message": "",
    });
    Ok(Reply::json(200, json!({"account": account})))
}

fn all(state: &mut DigitalOcean, call: &Call) -> Handled {
    list(call, "ssh_keys", state.keys.values().map(Key::json).collect())
}

fn one(state: &mut DigitalOcean, call: &Call) -> Handled {
    Ok(Reply::json(200, json!({"ssh_key": state.key(call.parameter(0))?.json()})))
}

fn create(state: &mut DigitalOcean, call: &Call) -> Handled {
    let line = call.required("public_key");
    let (_, fingerprint) = key::parse(line).ok_or_else(|| refused("public_key: not a public key of SSH"))?;
    if state.keys.values().any(|key| key.fingerprint == fingerprint) {
        return Err(refused("the account has this SSH key"));
    }
    let name = call.required("name").to_owned();
    let key = Key { id: state.id(), name, fingerprint, public_key: line.to_owned() };
    let json = key.json();
    state.keys.insert(key.id, key);
    Ok(Reply::json(201, json!({"ssh_key": json})))
}

fn update(state: &mut DigitalOcean, call: &Call) -> Handled {
    let id = state.key(call.parameter(0))?.id;
    state.keys.entry(id).and_modify(|key| key.name = call.required("name").to_owned());
    one(state, call)
}

fn delete(state: &mut DigitalOcean, call: &Call) -> Handled {
    let id = state.key(call.parameter(0))?.id;
    state.keys.remove(&id);
    Ok(Reply::empty())
}
