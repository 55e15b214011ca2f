//! A zone at a provider: what is in it, and what can be done to it.

use std::{
    collections::BTreeSet,
    fmt,
    future::Future,
    net::{Ipv4Addr, Ipv6Addr},
};

use serde::Serialize;

use crate::{error::CloudError, observed::Id};

/// Type of the records that a cluster publishes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Kind {
    /// An IPv4 address.
    A,
    /// An IPv6 address.
    Aaaa,
}

impl Kind {
    /// Returns its name in DNS.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::A => "A",
            Self::Aaaa => "AAAA",
        }
    }

    /// Returns the type with this name.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        [Self::A, Self::Aaaa].into_iter().find(|kind| kind.name() == text)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(self.name())
    }
}

/// Name and type of a set of records.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Key {
    /// Relative to the zone, in lower case; `@` for the zone itself.
    pub name: String,
    /// The type.
    #[serde(rename = "type")]
    pub kind: Kind,
}

/// A set of records as it has to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Set {
    /// Name and type.
    pub key: Key,
    /// Seconds.
    pub ttl: u32,
    /// Addresses in their canonical form.
    pub values: BTreeSet<String>,
}

/// A set of records that exists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FoundSet {
    /// Relative to the zone, in lower case; `@` for the zone itself.
    pub name: String,
    /// The type, as the provider writes it: also one that machinist does not publish.
    pub kind: String,
    /// Seconds; `None` if it is the zone's own, or differs between the records.
    pub ttl: Option<u32>,
    /// The records; a provider may have the same value twice.
    pub records: Vec<FoundRecord>,
    /// True if the provider refuses changes.
    pub protected: bool,
}

/// A record that exists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FoundRecord {
    /// The value: addresses in their canonical form, texts without quotes.
    pub value: String,
    /// Its identifier, where the provider has one for each record.
    pub id: Option<Id>,
    /// Seconds, where the provider has them for each record.
    pub ttl: Option<u32>,
}

impl FoundSet {
    /// Returns the values, each once.
    #[must_use]
    pub fn values(&self) -> BTreeSet<String> {
        self.records.iter().map(|record| record.value.clone()).collect()
    }

    /// Returns true if the set is as it has to be.
    #[must_use]
    pub fn is(&self, set: &Set) -> bool {
        self.ttl == Some(set.ttl) && self.records.len() == set.values.len() && self.values() == set.values
    }
}

/// What a zone has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Contents {
    /// All sets of records, of all types.
    pub sets: Vec<FoundSet>,
    /// What is wrong with the zone, and does not keep records from being written: its delegation.
    pub warnings: Vec<String>,
    /// The reason why records cannot be written.
    pub refusal: Option<String>,
}

impl Contents {
    /// Returns the set with this name and type.
    #[must_use]
    pub fn set(&self, name: &str, kind: &str) -> Option<&FoundSet> {
        self.sets.iter().find(|set| set.name == name && set.kind == kind)
    }
}

/// A provider of zones. Each call may be repeated: it has the effect of one.
pub trait Zone: Send + Sync {
    /// The provider's name for people.
    fn provider(&self) -> &'static str;

    /// Number of requests sent so far.
    fn requests(&self) -> u64;

    /// Returns what the zone has; `None` if there is no such zone.
    fn contents(&self, zone: &str) -> impl Future<Output = Result<Option<Contents>, CloudError>> + Send;

    /// Gives the set exactly these values and this time. `found` is the set as it was seen, which is ours.
    fn write(
        &self,
        zone: &str,
        set: &Set,
        found: Option<&FoundSet>,
    ) -> impl Future<Output = Result<(), CloudError>> + Send;

    /// Deletes the set, which is ours.
    fn erase(&self, zone: &str, found: &FoundSet) -> impl Future<Output = Result<(), CloudError>> + Send;

    /// Adds a TXT record, beside those of others at the name.
    fn add_text(
        &self,
        zone: &str,
        name: &str,
        text: &str,
        ttl: u32,
    ) -> impl Future<Output = Result<(), CloudError>> + Send;

    /// Removes TXT records that have this text, and leaves those of others at the name.
    fn remove_text(
        &self,
        zone: &str,
        found: &FoundSet,
        text: &str,
    ) -> impl Future<Output = Result<(), CloudError>> + Send;
}

/// Returns a value of a provider in the form that is compared.
#[must_use]
pub fn canonical(kind: &str, value: &str) -> String {
    match kind {
        "A" => value.parse::<Ipv4Addr>().map_or_else(|_| value.to_owned(), |address| address.to_string()),
        "AAAA" => value.parse::<Ipv6Addr>().map_or_else(|_| value.to_owned(), |address| address.to_string()),
        "TXT" => unquoted(value),
        _ => value.to_owned(),
    }
}

/// Returns a name of a provider relative to the zone, in lower case.
#[must_use]
pub fn relative(name: &str, zone: &str) -> String {
    let name = name.to_ascii_lowercase();
    let full = name.strip_suffix('.').unwrap_or(&name);
    if name.is_empty() { "@".to_owned() } else { machinist_model::dns::as_relative(full, zone) }
}

/// Returns a name in full, without a final dot.
#[must_use]
pub fn full(name: &str, zone: &str) -> String {
    if name == "@" { zone.to_owned() } else { format!("{name}.{zone}") }
}

/// Returns the text in quotes, as zone files and Hetzner have it. Ours has neither quotes nor 256 characters.
#[must_use]
pub fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

/// Joins the quoted parts of a text; one without quotes stays.
fn unquoted(text: &str) -> String {
    let Some(inner) = text.trim().strip_prefix('"').and_then(|text| text.strip_suffix('"')) else {
        return text.to_owned();
    };
    let mut plain = String::with_capacity(inner.len());
    let mut escaped = false;
    let mut within = true;
    for letter in inner.chars() {
        match letter {
            _ if escaped => {
                plain.push(letter);
                escaped = false;
            }
            '\\' => escaped = true,
            '"' => within = !within,
            _ if within => plain.push(letter),
            _ => {}
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::{canonical, full, quoted, relative};

    #[test]
    fn values_of_both_providers_are_compared_in_one_form() {
        assert_eq!(canonical("AAAA", "2001:0DB8:0::1"), "2001:db8::1");
        assert_eq!(canonical("A", "203.0.113.7"), "203.0.113.7");
        for text in ["a b", "\"a b\"", "\"a\" \" b\""] {
            assert_eq!(canonical("TXT", text), "a b", "{text}");
        }
        let odd = "a \"b\" \\c";
        assert_eq!(canonical("TXT", &quoted(odd)), odd);
        assert_eq!(canonical("MX", "10 mail"), "10 mail");
    }

    #[test]
    fn names_are_relative_and_in_lower_case() {
        for (name, expect) in [("@", "@"), ("", "@"), ("WWW", "www"), ("www.example.com.", "www"), ("example.com", "@")]
        {
            assert_eq!(relative(name, "example.com"), expect, "{name}");
        }
        assert_eq!(full("@", "example.com"), "example.com");
        assert_eq!(full("*.apps", "example.com"), "*.apps.example.com");
    }
}
