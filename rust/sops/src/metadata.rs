//! The metadata of a file: wrapped data keys, checksum, time and rule.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    dotenv::{self, flatten},
    format::Format,
    json,
    layout::{Content, Layout, Leaf, METADATA, Step, Style},
    rules::{Rule, RuleError},
    value::{Kind, Plain},
    yaml,
};

/// The version of sops whose format is written.
const VERSION: &str = "3.13.2";
/// Kinds of keys other than age's.
const FOREIGN: [&str; 6] = ["kms", "gcp_kms", "azure_kv", "hc_vault", "hckms", "pgp"];

/// The data key, or a share of it, wrapped for one recipient.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Slot {
    /// The recipient: `age1...` or an SSH public key.
    pub recipient: String,
    /// An armored age file of the data key.
    pub enc: String,
}

/// Keys any one of which is enough.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Group {
    /// Those of age.
    pub slots: Vec<Slot>,
    /// Kinds of the other keys.
    pub foreign: BTreeSet<String>,
}

/// The metadata of a file.
#[derive(Clone, Debug)]
pub struct Metadata {
    /// Key groups, at least one.
    pub groups: Vec<Group>,
    /// The number of groups that are needed, if there are several.
    pub threshold: usize,
    /// The encrypted checksum.
    pub(crate) mac: String,
    /// The time of the last change, to which the checksum is bound.
    pub last_modified: String,
    /// What is encrypted.
    pub rule: Rule,
    /// True if the checksum is over the encrypted values alone.
    pub mac_only_encrypted: bool,
}

impl Metadata {
    /// Returns all recipients of age, in the order of the file.
    pub fn recipients(&self) -> impl Iterator<Item = &str> {
        self.groups.iter().flat_map(|group| &group.slots).map(|slot| slot.recipient.as_str())
    }

    /// Returns the kinds of keys other than age's.
    #[must_use]
    pub fn foreign(&self) -> BTreeSet<&str> {
        self.groups.iter().flat_map(|group| &group.foreign).map(String::as_str).collect()
    }

    /// Reads the metadata of a layout, or returns `None` if there is none.
    pub(crate) fn read(layout: &Layout) -> Option<Result<Self, RuleError>> {
        let fields = fields(layout);
        if fields.is_empty() {
            return None;
        }
        let text = |name: &str| fields.get(&[Step::key(name)][..]).and_then(|plain| plain.as_str()).map(str::to_owned);
        let groups = groups(&fields);
        let threshold = text("shamir_threshold").and_then(|text| text.parse().ok()).unwrap_or(0);
        let rule = match Rule::read(text) {
            Ok(rule) => rule,
            Err(error) => return Some(Err(error)),
        };
        Some(Ok(Self {
            threshold: if threshold == 0 { groups.len() } else { threshold },
            groups,
            mac: text("mac").unwrap_or_default(),
            last_modified: text("lastmodified").unwrap_or_default(),
            rule,
            mac_only_encrypted: text("mac_only_encrypted").is_some_and(|text| text.eq_ignore_ascii_case("true")),
        }))
    }
}

type Fields<'a> = BTreeMap<&'a [Step], &'a Plain>;

/// Returns the values of the metadata, by their paths below its key.
fn fields(layout: &Layout) -> Fields<'_> {
    let leaves = layout.leaves.iter().filter(|leaf| Layout::is_metadata(leaf));
    leaves.filter_map(field).collect()
}

fn field(leaf: &Leaf) -> Option<(&[Step], &Plain)> {
    match &leaf.content {
        Content::Value(plain) => Some((leaf.path.get(1..)?, plain)),
        _ => None,
    }
}

fn groups(fields: &Fields<'_>) -> Vec<Group> {
    let mut groups: BTreeMap<Option<usize>, Group> = BTreeMap::new();
    let mut slots: BTreeMap<(Option<usize>, usize), Slot> = BTreeMap::new();
    for (path, plain) in fields {
        let (group, rest) = match path {
            [Step::Key(name), Step::Index(group), rest @ ..] if name == "key_groups" => (Some(*group), rest),
            rest => (None, *rest),
        };
        let [Step::Key(kind), Step::Index(at), Step::Key(field)] = rest else { continue };
        if FOREIGN.contains(&kind.as_str()) {
            groups.entry(group).or_default().foreign.insert(kind.clone());
        }
        if kind == "age" {
            let slot =
                slots.entry((group, *at)).or_insert_with(|| Slot { recipient: String::new(), enc: String::new() });
            let text = plain.as_str().unwrap_or_default().to_owned();
            match field.as_str() {
                "recipient" => slot.recipient = text,
                "enc" => slot.enc = text,
                _ => {}
            }
        }
    }
    for ((group, _), slot) in slots {
        groups.entry(group).or_default().slots.push(slot);
    }
    // As in sops: keys outside of groups go before them.
    match groups.remove(&None) {
        Some(group) => vec![group],
        None => groups.into_values().collect(),
    }
}

/// Returns the values of new metadata: those of the old one, if there is one, with other recipients, checksum and time.
pub(crate) fn renewed(
    old: Option<&Layout>,
    rule: &Rule,
    slots: &[Slot],
    mac: &str,
    time: &str,
) -> Vec<(Vec<Step>, Plain)> {
    let mut all: BTreeMap<Vec<Step>, Plain> = BTreeMap::new();
    if let Some(layout) = old {
        let kept = fields(layout).into_iter().filter(|(path, _)| path.first() != Some(&Step::key("age")));
        all.extend(kept.map(|(path, plain)| (path.to_vec(), plain.clone())));
    }
    for (at, slot) in slots.iter().enumerate() {
        let path = |field| vec![Step::key("age"), Step::Index(at), Step::key(field)];
        all.insert(path("enc"), Plain::text(slot.enc.as_str()));
        all.insert(path("recipient"), Plain::text(slot.recipient.as_str()));
    }
    let (name, text) = rule.entry();
    let texts = [("lastmodified", time), ("mac", mac), (name, text), ("version", VERSION)];
    all.extend(texts.map(|(name, text)| (vec![Step::key(name)], Plain::text(text))));
    all.into_iter().collect()
}

/// Returns the text of metadata: whole lines, or a member of JSON.
pub(crate) fn render(format: Format, fields: &[(Vec<Step>, Plain)]) -> String {
    match format {
        Format::Dotenv => lines(fields, |name, text| format!("sops_{name}={}\n", dotenv::render(text))),
        Format::Ini => {
            format!("[{METADATA}]\n{}", lines(fields, |name, text| format!("{name} = {}\n", dotenv::render(text))))
        }
        Format::Json | Format::Binary => {
            let mut text = format!("{}: ", json::quoted(METADATA));
            Node::of(fields).json(1, &mut text);
            text
        }
        Format::Yaml => {
            let mut text = format!("{METADATA}:\n");
            Node::of(fields).yaml(INDENT, false, &mut text);
            text
        }
    }
}

/// Columns of a level of YAML, as sops has it.
const INDENT: usize = 4;

fn lines(fields: &[(Vec<Step>, Plain)], line: impl Fn(&str, &str) -> String) -> String {
    fields.iter().map(|(path, plain)| line(&flatten(path), plain.as_str().unwrap_or_default())).collect()
}

/// A value of the metadata with its parts.
enum Node<'a> {
    Map(BTreeMap<&'a str, Node<'a>>),
    List(BTreeMap<usize, Node<'a>>),
    Leaf(&'a Plain),
}

impl<'a> Node<'a> {
    fn of(fields: &'a [(Vec<Step>, Plain)]) -> Self {
        let mut root = Self::Map(BTreeMap::new());
        for (path, plain) in fields {
            root.insert(path, plain);
        }
        root
    }

    fn insert(&mut self, path: &'a [Step], plain: &'a Plain) {
        let Some((first, rest)) = path.split_first() else {
            *self = Self::Leaf(plain);
            return;
        };
        let empty = || match rest.first() {
            Some(Step::Index(_)) => Self::List(BTreeMap::new()),
            _ => Self::Map(BTreeMap::new()),
        };
        match (self, first) {
            (Self::Map(map), Step::Key(name)) => map.entry(name).or_insert_with(empty).insert(rest, plain),
            (Self::List(list), Step::Index(at)) => list.entry(*at).or_insert_with(empty).insert(rest, plain),
            // Two fields of which one is a part of the other: no file has them.
            _ => {}
        }
    }

    fn json(&self, depth: usize, text: &mut String) {
        match self {
            Self::Leaf(plain) => text.push_str(&json_value(plain)),
            Self::Map(map) => {
                let members = map.iter().map(|(name, node)| (format!("{}: ", json::quoted(name)), node));
                json_parts(('{', '}'), members.collect(), depth, text);
            }
            Self::List(list) => {
                let members = list.values().map(|node| (String::new(), node));
                json_parts(('[', ']'), members.collect(), depth, text);
            }
        }
    }

    /// Writes the lines of a map or list in this column. The first line of a map in a list follows its dash.
    fn yaml(&self, column: usize, after_dash: bool, text: &mut String) {
        let pad = " ".repeat(column);
        match self {
            Self::Leaf(plain) => {
                text.push_str(&yaml::render(plain, Style::Block { column }).unwrap_or_default());
                text.push('\n');
            }
            Self::Map(map) => {
                for (at, (name, node)) in map.iter().enumerate() {
                    if at > 0 || !after_dash {
                        text.push_str(&pad);
                    }
                    text.push_str(name);
                    text.push(':');
                    match node {
                        Self::Leaf(_) => {
                            text.push(' ');
                            node.yaml(column, false, text);
                        }
                        _ => {
                            text.push('\n');
                            node.yaml(column + INDENT, false, text);
                        }
                    }
                }
            }
            Self::List(list) => {
                for node in list.values() {
                    text.push_str(&format!("{pad}- "));
                    node.yaml(column + 2, true, text);
                }
            }
        }
    }
}

fn json_parts(brackets: (char, char), parts: Vec<(String, &Node<'_>)>, depth: usize, text: &mut String) {
    text.push(brackets.0);
    let count = parts.len();
    for (at, (before, node)) in parts.into_iter().enumerate() {
        text.push_str(if at > 0 { ",\n" } else { "\n" });
        text.push_str(&"\t".repeat(depth + 1));
        text.push_str(&before);
        node.json(depth + 1, text);
    }
    if count > 0 {
        text.push('\n');
        text.push_str(&"\t".repeat(depth));
    }
    text.push(brackets.1);
}

/// Returns the JSON of a value.
pub(crate) fn json_value(plain: &Plain) -> String {
    let text = plain.as_str().unwrap_or_default();
    match plain.kind {
        Kind::Int => text.to_owned(),
        Kind::Float if text.contains('.') => text.to_owned(),
        Kind::Float => format!("{text}.0"),
        Kind::Bool => text.to_ascii_lowercase(),
        _ => json::quoted(text),
    }
}
