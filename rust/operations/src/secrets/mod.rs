//! Secrets: files below `secrets/` in the sops format, for the operators and for the nodes that machines.nix names.

mod check;
mod file;
mod recipients;
mod rekey;
mod store;

use machinist_secrets::Zeroizing;
use machinist_sops::{Document, Format, Opened, Rule, SopsError, Step, create, value};

use self::file::{failure, open, parse};
pub use self::{
    check::{Finding, Problem, check},
    recipients::Reader,
    rekey::{Rekeyed, Scope, rekey},
    store::{Lock, SecretName, Store},
};
use crate::{
    context::Context,
    failure::{Failure, Kind},
};

/// A file and the place in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The file.
    pub file: SecretName,
    /// The path of a value; empty for the whole file.
    pub key: Vec<Step>,
}

impl Place {
    /// Parses a file's name and a key, whose parts are separated by `/`. Digits are the position in a list.
    ///
    /// # Errors
    /// The name is not one of a file below `secrets/`, or a part of the key is empty.
    pub fn parse(file: &str, key: Option<&str>) -> Result<Self, Failure> {
        let file = SecretName::parse(file)?;
        let parts: Vec<&str> = key.map(|key| key.split('/').collect()).unwrap_or_default();
        if parts.iter().any(|part| part.is_empty()) {
            return Err(Failure::new(Kind::Input, "a part of the key is empty").hint("write it as `database/password`"));
        }
        let key = parts.into_iter().map(step).collect();
        Ok(Self { file, key })
    }
}

fn step(part: &str) -> Step {
    match part.parse() {
        Ok(index) if part.len() < 6 => Step::Index(index),
        _ => Step::key(part),
    }
}

/// A row of the list.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Row {
    /// The file.
    pub file: SecretName,
    /// The recipients in it.
    pub recipients: Vec<String>,
    /// The time of the last change.
    pub last_modified: String,
}

/// Returns a value, or a whole file in plain.
///
/// # Errors
/// It is not there, cannot be decrypted, or was changed.
pub fn get(context: &Context, place: &Place) -> Result<Zeroizing<Vec<u8>>, Failure> {
    let store = Store::of(&context.project);
    let file = open(context, &store, &place.file)?;
    let failed = |error| failure(&place.file, &error);
    if place.key.is_empty() {
        return file.plain().map_err(failed);
    }
    file.get(&place.key).map(|plain| plain.bytes.clone()).map_err(failed)
}

/// Writes a value. Without a key it is the whole file in plain. A missing file is created for its recipients.
///
/// # Errors
/// The file cannot be decrypted or written, or the value has no place in it.
pub fn set(context: &Context, place: &Place, new: &[u8]) -> Result<(), Failure> {
    let store = Store::of(&context.project);
    let lock = store.lock()?;
    let text = if store.exists(&place.file)? {
        changed(context, &open(context, &store, &place.file)?, place, new)?
    } else {
        created(context, place, new)?
    };
    store.write(&lock, &place.file, text.as_bytes())
}

fn changed(context: &Context, file: &Opened, place: &Place, new: &[u8]) -> Result<String, Failure> {
    let now = context.clock.now();
    let text = match place.key.as_slice() {
        [] => file.with_plain(new, now),
        key => file.set(key, &value::Plain::text(new), now),
    };
    text.map_err(|error| failure(&place.file, &error))
}

fn created(context: &Context, place: &Place, new: &[u8]) -> Result<String, Failure> {
    let cluster = context.project.load()?.cluster;
    let readers = recipients::wanted(context, &cluster, &place.file)?;
    let file = encrypted(context, &place.file, &readers, plain_of(place, new))?;
    if place.key.is_empty() {
        return Ok(file.document().text().to_owned());
    }
    changed(context, &file, place, new)
}

/// Returns what a new file has before a key is set in it.
fn plain_of<'a>(place: &Place, new: &'a [u8]) -> &'a [u8] {
    match (place.key.is_empty(), place.file.format()) {
        (true, _) => new,
        (false, Format::Json) => b"{}\n",
        (false, _) => b"",
    }
}

/// Encrypts a plain text as a new file.
fn encrypted(context: &Context, file: &SecretName, readers: &[Reader], plain: &[u8]) -> Result<Opened, Failure> {
    let failed = |error: SopsError| failure(file, &error);
    let key = value::new_key().map_err(|error| failed(error.into()))?;
    let slots = recipients::wrapped(&key, readers)?;
    let text = create(file.format(), plain, &Rule::default(), &key, &slots, context.clock.now()).map_err(failed)?;
    Document::parse(file.format(), text.as_bytes()).and_then(|document| document.open(key)).map_err(failed)
}

/// Removes a value, or a whole file.
///
/// # Errors
/// It is not there, or cannot be removed.
pub fn remove(context: &Context, place: &Place) -> Result<(), Failure> {
    let store = Store::of(&context.project);
    let lock = store.lock()?;
    if place.key.is_empty() {
        return store.remove(&lock, &place.file);
    }
    let file = open(context, &store, &place.file)?;
    let text = file.remove(&place.key, context.clock.now()).map_err(|error| failure(&place.file, &error))?;
    store.write(&lock, &place.file, text.as_bytes())
}

/// Returns the files.
///
/// # Errors
/// The directory or a file cannot be read.
pub fn list(context: &Context) -> Result<Vec<Row>, Failure> {
    let store = Store::of(&context.project);
    let row = |file: SecretName| {
        let document = parse(&store, &file)?;
        let metadata = document.metadata();
        let recipients = metadata.recipients().map(str::to_owned).collect();
        Ok(Row { recipients, last_modified: metadata.last_modified.clone(), file })
    };
    store.files()?.into_iter().map(row).collect()
}

/// Returns the keys of a file, which are not encrypted, in its order.
///
/// # Errors
/// The file cannot be read.
pub fn keys(context: &Context, file: &SecretName) -> Result<Vec<String>, Failure> {
    let document = parse(&Store::of(&context.project), file)?;
    if file.format() == Format::Binary {
        return Ok(Vec::new());
    }
    Ok(document.paths().map(machinist_sops::layout::display).collect())
}

/// A file that is being edited. Others are refused until it is dropped.
pub struct Edit {
    store: Store,
    lock: Lock,
    file: SecretName,
    before: Option<Vec<u8>>,
    opened: Opened,
    plain: Zeroizing<Vec<u8>>,
}

impl Edit {
    /// Opens a file for an editor. A missing one is empty, for its recipients.
    ///
    /// # Errors
    /// It cannot be decrypted, or another machinist is changing files.
    pub fn begin(context: &Context, file: &SecretName) -> Result<Self, Failure> {
        let store = Store::of(&context.project);
        let lock = store.lock()?;
        let (before, opened) = if store.exists(file)? {
            (Some(store.read(file)?), open(context, &store, file)?)
        } else {
            let cluster = context.project.load()?.cluster;
            let readers = recipients::wanted(context, &cluster, file)?;
            let empty: &[u8] = if file.format() == Format::Json { b"{}\n" } else { b"" };
            (None, encrypted(context, file, &readers, empty)?)
        };
        let plain = match before {
            Some(_) => opened.plain().map_err(|error| failure(file, &error))?,
            None => Zeroizing::new(Vec::new()),
        };
        Ok(Self { store, lock, file: file.clone(), before, opened, plain })
    }

    /// Returns the file in plain.
    #[must_use]
    pub fn plain(&self) -> &[u8] {
        &self.plain
    }

    /// Writes a new plain text. Returns false if nothing changed.
    ///
    /// # Errors
    /// The text is malformed, the file was changed by another program meanwhile, or cannot be written.
    pub fn finish(&self, context: &Context, plain: &[u8]) -> Result<bool, Failure> {
        if plain == self.plain() {
            return Ok(false);
        }
        let file = &self.file;
        let text = self.opened.with_plain(plain, context.clock.now()).map_err(|error| failure(file, &error))?;
        let now = if self.store.exists(file)? { Some(self.store.read(file)?) } else { None };
        if now != self.before {
            let message = format!("{file}: another program changed the file while it was edited; nothing was written");
            return Err(Failure::new(Kind::Refused, message).hint("edit it again"));
        }
        self.store.write(&self.lock, file, text.as_bytes())?;
        Ok(true)
    }
}
