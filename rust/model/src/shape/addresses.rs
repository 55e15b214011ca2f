//! One address or network, or two for dual stack.

use std::{borrow::Cow, fmt, marker::PhantomData, net::IpAddr};

use ipnet::IpNet;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{
    Deserialize, Deserializer,
    de::{self, IntoDeserializer, SeqAccess, Visitor},
};

/// A value that is single or in a list of two: an address or a network.
pub trait Address: for<'de> Deserialize<'de> {
    /// The schema's `format`.
    const FORMAT: &'static str;
}

impl Address for IpAddr {
    const FORMAT: &'static str = "ip";
}

impl Address for IpNet {
    const FORMAT: &'static str = "network";
}

/// A string, or a list of two strings, one for each address family.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OneOrTwo<T>(pub Vec<T>);

impl<T> OneOrTwo<T> {
    /// Returns the values in the order of the file.
    pub fn iter(&self) -> std::slice::Iter<'_, T> {
        self.0.iter()
    }
}

impl<'de, T: Address> Deserialize<'de> for OneOrTwo<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(OneOrTwoVisitor(PhantomData))
    }
}

struct OneOrTwoVisitor<T>(PhantomData<T>);

impl<'de, T: Address> Visitor<'de> for OneOrTwoVisitor<T> {
    type Value = OneOrTwo<T>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a string, or a list of one or two strings")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Self::Value, E> {
        let text: de::value::StrDeserializer<'_, E> = text.into_deserializer();
        T::deserialize(text).map(|address| OneOrTwo(vec![address]))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
        let mut addresses = Vec::new();
        while let Some(address) = list.next_element()? {
            addresses.push(address);
        }
        match addresses.len() {
            1 | 2 => Ok(OneOrTwo(addresses)),
            n => Err(de::Error::invalid_length(n, &self)),
        }
    }
}

impl<T: Address> JsonSchema for OneOrTwo<T> {
    fn schema_name() -> Cow<'static, str> {
        format!("OneOrTwo_{}", T::FORMAT).into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": ["string", "array"],
            "format": T::FORMAT,
            "items": { "type": "string", "format": T::FORMAT },
            "minItems": 1,
            "maxItems": 2,
        })
    }
}
