//! A file: opening it, and new versions of its text.

use std::{
    collections::{BTreeMap, VecDeque},
    ops::Range,
};

use sha2::{Digest, Sha512};
use thiserror::Error;
use time::{OffsetDateTime, macros::format_description};
use zeroize::Zeroizing;

use crate::{
    dotenv,
    format::Format,
    ini,
    layout::{Content, Layout, LayoutError, Leaf, METADATA, Step, Style, display, place, replaced},
    metadata::{self, Metadata, Slot, json_value},
    read,
    rules::{Rule, RuleError},
    shamir,
    value::{self, DataKey, KEY, Kind, Plain, SealError, ValueError},
    yaml,
};

/// The start of a checksum over encrypted values alone: the SHA-256 of `sops`.
const ONLY_ENCRYPTED: [u8; 32] = [
    0x8a, 0x3f, 0xd2, 0xad, 0x54, 0xce, 0x66, 0x52, 0x7b, 0x10, 0x34, 0xf3, 0xd1, 0x47, 0xbe, 0x0b, 0x0b, 0x97, 0x5b,
    0x3b, 0xf4, 0x4f, 0x72, 0xc6, 0xfd, 0xad, 0xec, 0x81, 0x76, 0xf2, 0x7d, 0x69,
];
/// The key of a binary file's value.
const DATA: &str = "data";

/// Reason why a file could not be read or changed.
#[allow(missing_docs, reason = "`path` is the value's, `source` the cause, `why` a reason without its subject")]
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum SopsError {
    /// The text is malformed, or has something that cannot be kept.
    #[error("cannot be read: {0}")]
    Layout(#[from] LayoutError),
    /// The text is not UTF-8.
    #[error("is not text in UTF-8")]
    NotText,
    /// The file is not encrypted.
    #[error("is not encrypted: it has no `sops` metadata")]
    NotEncrypted,
    /// A plain text already has metadata.
    #[error("has a key `sops`, which is reserved for the metadata")]
    Reserved,
    /// Nothing can be appended to a plain text.
    #[error("has no place for the `sops` metadata: begin the keys at the top at the start of their lines")]
    NoPlace,
    /// Its rule cannot be used.
    #[error("cannot be read: {0}")]
    Rule(#[from] RuleError),
    /// There are key groups and too few of them could be unwrapped.
    #[error("needs {needed} of its {all} key groups, and {found} could be opened")]
    Groups { needed: usize, all: usize, found: usize },
    /// An unwrapped data key has another length, or the shares do not fit together.
    #[error("has a damaged data key")]
    Key,
    /// A value could not be decrypted.
    #[error("`{path}` cannot be decrypted: {source}")]
    Value { path: String, source: ValueError },
    /// The rule says that a value is encrypted, and it is not.
    #[error("`{path}` is not encrypted, but the file's rule says that it is")]
    Plain { path: String },
    /// A comment in a list, which sops encrypts as an item, and cannot read itself: the checksum does not match.
    #[error("`{path}` is a comment that sops made an item of its list; sops cannot read such a file either")]
    ListComment { path: String },
    /// There is no checksum, or no recipient.
    #[error("has no checksum (MAC) or no recipient: the file is incomplete")]
    NoMac,
    /// The checksum is of another file, time or key.
    #[error("has a checksum (MAC) that cannot be decrypted: it, the time or the file was changed by hand")]
    MacForm,
    /// The checksum does not match the values.
    #[error("fails its checksum (MAC): values were changed, added, removed or reordered without sops")]
    Mac,
    /// The path is not there.
    #[error("has no key `{0}`")]
    Missing(String),
    /// The path is a map or list.
    #[error("`{0}` is a map or list, not a value")]
    NotAValue(String),
    /// The value cannot be written there.
    #[error("`{path}` cannot be changed: {why}")]
    Refused { path: String, why: &'static str },
    /// A value could not be encrypted.
    #[error(transparent)]
    Seal(#[from] SealError),
    /// The file has keys whose data key cannot be renewed here.
    #[error("has keys of type {0}, which only sops can renew")]
    Foreign(String),
}

/// A file as it is stored.
#[derive(Clone, Debug)]
pub struct Document {
    format: Format,
    text: String,
    layout: Layout,
    metadata: Metadata,
}

/// A file whose values were decrypted and whose checksum was verified.
pub struct Opened {
    document: Document,
    key: DataKey,
    /// The values of the layout's leaves; none for null, and for those of the metadata.
    values: Vec<Option<Plain>>,
}

impl Document {
    /// Reads a file.
    ///
    /// # Errors
    /// It is not encrypted, or malformed.
    pub fn parse(format: Format, bytes: &[u8]) -> Result<Self, SopsError> {
        let text = std::str::from_utf8(bytes).map_err(|_| SopsError::NotText)?;
        let layout = read::layout(format, text)?;
        let metadata = Metadata::read(&layout).ok_or(SopsError::NotEncrypted)??;
        if metadata.mac.is_empty() || metadata.groups.is_empty() {
            return Err(SopsError::NoMac);
        }
        Ok(Self { format, text: text.to_owned(), layout, metadata })
    }

    /// Returns the metadata.
    #[must_use]
    pub fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    /// Returns the text.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Returns the paths of all values, which are not encrypted, in the order of the file.
    pub fn paths(&self) -> impl Iterator<Item = &[Step]> {
        let is_value = |leaf: &&Leaf| !matches!(leaf.content, Content::Comment(..)) && !Layout::is_metadata(leaf);
        self.layout.leaves.iter().filter(is_value).map(|leaf| leaf.path.as_slice())
    }

    /// Recovers the data key. `unwrap` decrypts what a slot has, or returns `None` if it is not for the caller.
    ///
    /// # Errors
    /// Too few groups could be opened.
    pub fn data_key(&self, mut unwrap: impl FnMut(&Slot) -> Option<Zeroizing<Vec<u8>>>) -> Result<DataKey, SopsError> {
        let groups = &self.metadata.groups;
        let needed = if groups.len() > 1 { self.metadata.threshold } else { 1 };
        let mut shares = Vec::new();
        for group in groups {
            if shares.len() < needed {
                shares.extend(group.slots.iter().find_map(&mut unwrap));
            }
        }
        if shares.len() < needed || shares.is_empty() {
            return Err(SopsError::Groups { needed, all: groups.len(), found: shares.len() });
        }
        match (groups.len(), shares.first()) {
            (1, Some(key)) => {
                let key: [u8; KEY] = key.as_slice().try_into().map_err(|_| SopsError::Key)?;
                Ok(Zeroizing::new(key))
            }
            _ => shamir::combine(&shares).ok_or(SopsError::Key),
        }
    }

    /// Decrypts the values, and verifies the checksum.
    ///
    /// # Errors
    /// A value or the checksum was changed, or the key is of another file.
    pub fn open(self, key: DataKey) -> Result<Opened, SopsError> {
        let values = self.values(&key)?;
        let mac = checksum(&self.layout, &values, &self.metadata.rule, self.metadata.mac_only_encrypted);
        let found =
            value::decrypt(&key, &self.metadata.last_modified, &self.metadata.mac).map_err(|_| SopsError::MacForm)?;
        if !constant_time_eq(&found.bytes, mac.as_bytes()) {
            return Err(SopsError::Mac);
        }
        Ok(Opened { document: self, key, values })
    }

    fn values(&self, key: &DataKey) -> Result<Vec<Option<Plain>>, SopsError> {
        self.layout.leaves.iter().map(|leaf| self.decrypted(key, leaf)).collect()
    }

    fn decrypted(&self, key: &DataKey, leaf: &Leaf) -> Result<Option<Plain>, SopsError> {
        let encrypts = self.metadata.rule.encrypts(&leaf.path);
        match &leaf.content {
            _ if Layout::is_metadata(leaf) => Ok(None),
            Content::Null => Ok(None),
            Content::Comment(text, paths) => Ok(Some(comment(key, text, paths))),
            Content::Value(plain) if !encrypts => Ok(Some(plain.clone())),
            Content::Value(plain) => {
                let path = || display(&leaf.path);
                let text = match (plain.kind, plain.as_str()) {
                    (Kind::Str, Some(text)) if text.is_empty() || value::is_encrypted(text) => text,
                    _ => return Err(SopsError::Plain { path: path() }),
                };
                let value = value::decrypt(key, &place(&leaf.path), text)
                    .map_err(|source| SopsError::Value { path: path(), source })?;
                if value.kind == Kind::Comment { Err(SopsError::ListComment { path: path() }) } else { Ok(Some(value)) }
            }
        }
    }
}

/// Decrypts a comment by the first of the places that fits. As in sops, one that does not decrypt is kept as it is.
fn comment(key: &DataKey, text: &Plain, paths: &[Vec<Step>]) -> Plain {
    let words = text.as_str().filter(|words| value::is_encrypted(words));
    let decrypted = words.and_then(|words| paths.iter().find_map(|path| value::decrypt(key, &place(path), words).ok()));
    decrypted.unwrap_or_else(|| text.clone())
}

/// Compares without an early end.
fn constant_time_eq(a: &[u8], b: &[u8]) -> bool {
    a.len() == b.len() && a.iter().zip(b).fold(0, |different, (a, b)| different | (a ^ b)) == 0
}

/// Returns the checksum of values in the order of the file.
fn checksum(layout: &Layout, values: &[Option<Plain>], rule: &Rule, only_encrypted: bool) -> String {
    let mut hash = Sha512::new();
    if only_encrypted {
        hash.update(ONLY_ENCRYPTED);
    }
    for (leaf, value) in layout.leaves.iter().zip(values) {
        let is_value = matches!(leaf.content, Content::Value(_));
        if let (true, Some(value)) = (is_value, value)
            && (!only_encrypted || rule.encrypts(&leaf.path))
        {
            hash.update(&**value.bytes);
        }
    }
    hash.finalize().iter().map(|byte| format!("{byte:02X}")).collect()
}

fn timestamp(now: OffsetDateTime) -> String {
    let format = format_description!("[year]-[month]-[day]T[hour]:[minute]:[second]Z");
    now.to_offset(time::UtcOffset::UTC).format(format).unwrap_or_default()
}

/// Encrypted texts of a file's values, with their quotes, by place and value: a value that did not change keeps its text.
type Stash = BTreeMap<(String, Plain), VecDeque<String>>;

impl Opened {
    /// Returns the file as it is stored.
    #[must_use]
    pub fn document(&self) -> &Document {
        &self.document
    }

    /// Returns the value at a path.
    ///
    /// # Errors
    /// There is none, or it is a map or list.
    pub fn get(&self, path: &[Step]) -> Result<&Plain, SopsError> {
        let layout = &self.document.layout;
        let found = layout.leaves.iter().zip(&self.values).find(|(leaf, _)| {
            leaf.path == path && matches!(leaf.content, Content::Value(_)) && !Layout::is_metadata(leaf)
        });
        match found {
            Some((_, Some(plain))) => Ok(plain),
            _ if layout.has(path) => Err(SopsError::NotAValue(display(path))),
            _ => Err(SopsError::Missing(display(path))),
        }
    }

    /// Returns the paths of all values, in the order of the file.
    pub fn paths(&self) -> impl Iterator<Item = &[Step]> {
        self.document.paths()
    }

    /// Returns the file in plain, without its metadata.
    ///
    /// # Errors
    /// A value cannot be written in the file's format.
    pub fn plain(&self) -> Result<Zeroizing<Vec<u8>>, SopsError> {
        if self.document.format == Format::Binary {
            return Ok(self.get(&whole_file())?.bytes.clone());
        }
        let mut changes = Vec::new();
        for (leaf, value) in self.document.layout.leaves.iter().zip(&self.values) {
            if let Some(plain) = value.as_ref().filter(|plain| !is_as(leaf, plain)) {
                changes.push((leaf.span.clone(), rendered(plain, leaf)?));
            }
        }
        changes.push((removal(&self.document.layout), String::new()));
        Ok(Zeroizing::new(replaced(&self.document.text, changes).into_bytes()))
    }

    /// Returns the file with another plain text. Values that stay keep their encrypted text.
    ///
    /// # Errors
    /// The text is malformed, or has something that cannot be kept.
    pub fn with_plain(&self, plain: &[u8], now: OffsetDateTime) -> Result<String, SopsError> {
        let rule = &self.document.metadata.rule;
        let body = Body::of(self.document.format, plain, rule, &self.key, self.stash())?;
        let layout = &self.document.layout;
        let metadata = layout.metadata.clone().and_then(|span| self.document.text.get(span)).unwrap_or_default();
        let joined = body.with_metadata(self.document.format, metadata)?;
        self.sealed(&joined, now)
    }

    /// Returns the file with a new value at a path: changed in place, or as a new key.
    ///
    /// # Errors
    /// The path cannot be written, or is a map or list.
    pub fn set(&self, path: &[Step], plain: &Plain, now: OffsetDateTime) -> Result<String, SopsError> {
        let layout = &self.document.layout;
        let is_reserved = path.first().is_none_or(|step| *step == Step::key(METADATA));
        if is_reserved {
            return Err(SopsError::Reserved);
        }
        let text = match layout.value(path) {
            Some(leaf) if leaf.content == Content::Null && matches!(path.last(), Some(Step::Index(_))) => {
                return Err(refused(path, "it is null in a list"));
            }
            Some(leaf) => {
                let written = self.written(path, plain, leaf.style)?;
                replaced(&self.document.text, vec![(leaf.span.clone(), written)])
            }
            None if layout.has(path) => return Err(SopsError::NotAValue(display(path))),
            None => self.inserted(path, plain)?,
        };
        self.sealed(&text, now)
    }

    /// Returns the file without the entry at a path.
    ///
    /// # Errors
    /// It is not there, or cannot be removed without touching others.
    pub fn remove(&self, path: &[Step], now: OffsetDateTime) -> Result<String, SopsError> {
        let entry = self.document.layout.entries.iter().find(|entry| entry.path == path);
        let entry = entry.filter(|entry| entry.path.first() != Some(&Step::key(METADATA)));
        let entry = entry.ok_or_else(|| SopsError::Missing(display(path)))?;
        let span = entry.span.clone().map_err(|why| refused(path, why))?;
        self.sealed(&replaced(&self.document.text, vec![(span, String::new())]), now)
    }

    /// Returns the file with a new data key, wrapped in these slots. Every value is encrypted again.
    ///
    /// # Errors
    /// The file has keys that cannot be renewed here.
    pub fn rekey(&self, key: &DataKey, slots: &[Slot], now: OffsetDateTime) -> Result<String, SopsError> {
        let document = &self.document;
        let foreign = document.metadata.foreign();
        if !foreign.is_empty() {
            return Err(SopsError::Foreign(foreign.into_iter().collect::<Vec<_>>().join(", ")));
        }
        if document.metadata.groups.len() > 1 || document.layout.value(&group_path()).is_some() {
            return Err(SopsError::Foreign("key groups".to_owned()));
        }
        let plain = self.plain()?;
        let rule = &document.metadata.rule;
        let body = Body::of(document.format, &plain, rule, key, Stash::new())?;
        let time = timestamp(now);
        let mac = body.mac(rule, document.metadata.mac_only_encrypted, key, &time)?;
        let fields = metadata::renewed(Some(&document.layout), rule, slots, &mac, &time);
        let text = body.with_metadata(document.format, &metadata::render(document.format, &fields))?;
        verified(document.format, text, key)
    }

    fn stash(&self) -> Stash {
        let mut stash = Stash::new();
        for (leaf, value) in self.document.layout.leaves.iter().zip(&self.values) {
            if let Some(plain) = value.as_ref().filter(|plain| !is_as(leaf, plain)) {
                let text = self.document.text.get(leaf.span.clone()).unwrap_or_default().to_owned();
                stash.entry((place(&leaf.path), plain.clone())).or_default().push_back(text);
            }
        }
        stash
    }

    /// Returns the text of a value for the file: encrypted, unless its rule says otherwise.
    fn written(&self, path: &[Step], plain: &Plain, style: Style) -> Result<String, SopsError> {
        let stored = if self.document.metadata.rule.encrypts(path) {
            Plain::text(value::encrypt(&self.key, &place(path), plain)?)
        } else {
            plain.clone()
        };
        render(&stored, style).ok_or_else(|| refused(path, "it cannot be written in this format"))
    }

    /// Inserts a key into the deepest map of the path that is there, with the maps that are not.
    fn inserted(&self, path: &[Step], plain: &Plain) -> Result<String, SopsError> {
        let document = &self.document;
        let keys: Option<Vec<&str>> = path
            .iter()
            .map(|step| match step {
                Step::Key(name) => Some(name.as_str()),
                Step::Index(_) => None,
            })
            .collect();
        let keys = keys.ok_or_else(|| refused(path, "a list has no such item"))?;
        let depth = (0..path.len()).rev().find(|depth| document.layout.map(&path[..*depth]).is_some());
        let depth = depth.ok_or_else(|| refused(path, "the file has no section of this name"))?;
        if depth > 0 || document.layout.has(&path[..1]) {
            let parent = &path[..=depth.min(path.len() - 1)];
            if document.layout.has(parent) {
                return Err(refused(path, "a key above it has a value"));
            }
        }
        let map = document.layout.map(&path[..depth]).ok_or(SopsError::NotEncrypted)?;
        let gap = map.gap.as_ref().map_err(|why| refused(path, why))?;
        let entry = self.entry(path, &keys[depth..], gap.column, plain)?;
        let text = format!("{}{entry}{}", gap.before, gap.after);
        Ok(replaced(&document.text, vec![(gap.at..gap.at, text)]))
    }

    fn entry(&self, path: &[Step], keys: &[&str], column: usize, plain: &Plain) -> Result<String, SopsError> {
        let nested = keys.len() > 1;
        let key = keys.last().copied().unwrap_or_default();
        match self.document.format {
            Format::Yaml => {
                let last = column + 2 * (keys.len() - 1);
                let mut text = String::new();
                for (depth, key) in keys.iter().enumerate() {
                    let name = yaml::render(&Plain::text(*key), Style::Flow).unwrap_or_default();
                    let pad = if depth == 0 { String::new() } else { format!("\n{}", " ".repeat(column + 2 * depth)) };
                    text.push_str(&format!("{pad}{name}:"));
                }
                let value = self.written(path, plain, Style::Block { column: last })?;
                Ok(format!("{text} {value}"))
            }
            Format::Json | Format::Binary => {
                let value = self.written(path, plain, Style::Json)?;
                let opened: Vec<String> =
                    keys.iter().map(|key| format!("{}: ", json_value(&Plain::text(*key)))).collect();
                Ok(format!("{}{value}{}", opened.join("{"), "}".repeat(keys.len() - 1)))
            }
            _ if nested => Err(refused(path, "this format has no maps in maps")),
            Format::Dotenv if !is_name(key) => {
                Err(refused(path, "the name has a character other than A-Z, a-z, 0-9, _"))
            }
            Format::Dotenv => Ok(format!("{key}={}", self.written(path, plain, Style::Dotenv)?)),
            Format::Ini if !is_name(key) => Err(refused(path, "the name has a character other than A-Z, a-z, 0-9, _")),
            Format::Ini => Ok(format!("{key} = {}", self.written(path, plain, Style::Ini)?)),
        }
    }

    /// Returns a changed text with its checksum and time.
    fn sealed(&self, text: &str, now: OffsetDateTime) -> Result<String, SopsError> {
        let changed = Document::parse(self.document.format, text.as_bytes())?;
        let values = changed.values(&self.key)?;
        let metadata = &changed.metadata;
        let time = timestamp(now);
        let mac = checksum(&changed.layout, &values, &metadata.rule, metadata.mac_only_encrypted);
        let mac = value::encrypt(&self.key, &time, &Plain::text(mac))?;
        let mut changes: Vec<(Range<usize>, String)> = Vec::new();
        for (name, new) in [("mac", mac), ("lastmodified", time)] {
            let path = [Step::key(METADATA), Step::key(name)];
            let leaf = changed.layout.value(&path).ok_or(SopsError::NoMac)?;
            changes.push((leaf.span.clone(), rendered(&Plain::text(new), leaf)?));
        }
        Ok(replaced(&changed.text, changes))
    }
}

fn group_path() -> [Step; 5] {
    let age = [Step::key("age"), Step::Index(0), Step::key("enc")];
    let [kind, at, field] = age;
    [Step::key(METADATA), Step::key("key_groups"), kind, at, field]
}

fn is_name(key: &str) -> bool {
    !key.is_empty() && key.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

fn refused(path: &[Step], why: &'static str) -> SopsError {
    SopsError::Refused { path: display(path), why }
}

/// Returns true if the file already has this value in plain.
fn is_as(leaf: &Leaf, plain: &Plain) -> bool {
    match &leaf.content {
        Content::Value(known) | Content::Comment(known, _) => known == plain,
        Content::Null => false,
    }
}

fn rendered(plain: &Plain, leaf: &Leaf) -> Result<String, SopsError> {
    render(plain, leaf.style).ok_or_else(|| refused(&leaf.path, "it cannot be written in this format"))
}

/// Returns the text of a value in this style, or `None` if the format cannot express it.
fn render(plain: &Plain, style: Style) -> Option<String> {
    match style {
        Style::Block { .. } | Style::Missing { .. } | Style::Flow => yaml::render(plain, style),
        Style::Json => plain.as_str().map(|_| json_value(plain)),
        Style::Dotenv => plain.as_str().map(dotenv::render),
        Style::Ini => {
            let text = plain.as_str()?;
            let is_plain = text.trim() == text && !text.contains(['\n', '\r']) && !ini::unsupported(text);
            // Values of the metadata have lines, and no sops without a mark for them.
            let lines = text.contains("-----BEGIN AGE");
            (is_plain || lines).then(|| dotenv::render(text))
        }
        Style::Comment => plain.as_str().filter(|text| !text.contains(['\n', '\r'])).map(str::to_owned),
    }
}

/// Returns the bytes that the removal of the metadata removes.
fn removal(layout: &Layout) -> Range<usize> {
    let span = layout.metadata.clone().unwrap_or_default();
    let entry = layout.entries.iter().find(|entry| entry.path == [Step::key(METADATA)]);
    entry.and_then(|entry| entry.span.clone().ok()).unwrap_or(span)
}

/// Returns the path of a binary file's only value.
#[must_use]
pub fn whole_file() -> [Step; 1] {
    [Step::key(DATA)]
}

/// An encrypted text without metadata, and its values in plain.
struct Body {
    text: String,
    plain: Layout,
    values: Vec<Option<Plain>>,
}

impl Body {
    fn of(format: Format, plain: &[u8], rule: &Rule, key: &DataKey, stash: Stash) -> Result<Self, SopsError> {
        if format == Format::Binary {
            return Self::binary(plain, key, stash);
        }
        let text = std::str::from_utf8(plain).map_err(|_| SopsError::NotText)?;
        let layout = read::layout(format, text)?;
        if layout.metadata.is_some() || layout.leaves.iter().any(Layout::is_metadata) {
            return Err(SopsError::Reserved);
        }
        let mut stash = stash;
        let mut changes = Vec::new();
        let mut values = Vec::new();
        for leaf in &layout.leaves {
            let value = match &leaf.content {
                Content::Value(plain) | Content::Comment(plain, _) => Some(plain),
                Content::Null => None,
            };
            if let Some(plain) = value.filter(|_| rule.encrypts(&leaf.path)) {
                changes.push((leaf.span.clone(), encrypted(plain, leaf, key, &mut stash)?));
            }
            values.push(value.cloned());
        }
        Ok(Self { text: replaced(text, changes), plain: layout, values })
    }

    fn binary(plain: &[u8], key: &DataKey, mut stash: Stash) -> Result<Self, SopsError> {
        let value = Plain::text(plain);
        let place = place(&whole_file());
        let kept = stash.get_mut(&(place.clone(), value.clone())).and_then(VecDeque::pop_front);
        let text = match kept {
            Some(text) => text,
            None => json_value(&Plain::text(value::encrypt(key, &place, &value)?)),
        };
        let text = format!("{{\n\t\"{DATA}\": {text}\n}}\n");
        let plain = read::layout(Format::Json, &text)?;
        Ok(Self { text, plain, values: vec![Some(value)] })
    }

    fn mac(&self, rule: &Rule, only_encrypted: bool, key: &DataKey, time: &str) -> Result<String, SopsError> {
        let mac = checksum(&self.plain, &self.values, rule, only_encrypted);
        Ok(value::encrypt(key, time, &Plain::text(mac))?)
    }

    /// Appends metadata: whole lines, or a member of JSON.
    fn with_metadata(&self, format: Format, metadata: &str) -> Result<String, SopsError> {
        if !matches!(format, Format::Json | Format::Binary) {
            let newline = if self.text.is_empty() || self.text.ends_with('\n') { "" } else { "\n" };
            return Ok(format!("{}{newline}{metadata}", self.text));
        }
        let layout = read::layout(format, &self.text)?;
        let gap = layout.map(&[]).and_then(|map| map.gap.clone().ok()).ok_or(SopsError::NotEncrypted)?;
        let text = format!("{}{metadata}{}", gap.before, gap.after);
        Ok(replaced(&self.text, vec![(gap.at..gap.at, text)]))
    }
}

/// Returns the encrypted text of a leaf: the one that it had if its value stayed, otherwise a new one.
fn encrypted(plain: &Plain, leaf: &Leaf, key: &DataKey, stash: &mut Stash) -> Result<String, SopsError> {
    let is_comment = leaf.style == Style::Comment;
    let plain = if is_comment { Plain::new(Kind::Comment, plain.bytes.to_vec()) } else { plain.clone() };
    let kept = places(leaf).find_map(|place| stash.get_mut(&(place, plain.clone()))?.pop_front());
    if let Some(text) = kept {
        return Ok(text);
    }
    let text = value::encrypt(key, &place(&leaf.path), &plain)?;
    if is_comment {
        return Ok(text);
    }
    // An empty text is written with quotes, where the format has some.
    rendered(&Plain::text(text), leaf)
}

fn places(leaf: &Leaf) -> impl Iterator<Item = String> {
    std::iter::once(place(&leaf.path))
}

/// Returns a new file of a plain text.
///
/// # Errors
/// The text is malformed, or has something that cannot be kept.
pub fn create(
    format: Format,
    plain: &[u8],
    rule: &Rule,
    key: &DataKey,
    slots: &[Slot],
    now: OffsetDateTime,
) -> Result<String, SopsError> {
    let body = Body::of(format, plain, rule, key, Stash::new())?;
    let time = timestamp(now);
    let mac = body.mac(rule, false, key, &time)?;
    let fields = metadata::renewed(None, rule, slots, &mac, &time);
    verified(format, body.with_metadata(format, &metadata::render(format, &fields))?, key)
}

/// Returns the text if it can be read again. A text whose top is indented, for example, has no place for metadata, and
/// nothing is written that nobody could open.
fn verified(format: Format, text: String, key: &DataKey) -> Result<String, SopsError> {
    let opened = Document::parse(format, text.as_bytes()).and_then(|document| document.open(key.clone()));
    opened.map(|_| text).map_err(|_| SopsError::NoPlace)
}
