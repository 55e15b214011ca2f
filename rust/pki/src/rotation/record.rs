//! Record of unfinished rotations.

use std::{collections::BTreeMap, fmt};

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

/// The record's file, relative to the certificates' directory.
pub const RECORD: &str = "rotations.json";

/// Stage of a rotation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stage {
    /// Both are trusted, the old one signs.
    TrustBoth,
    /// Both are trusted, the new one signs.
    SignNew,
    /// Only the new one is left. Recorded only while the files are written.
    DropOld,
}

impl Stage {
    /// Returns its number: 1 to 3.
    #[must_use]
    pub const fn number(self) -> u8 {
        match self {
            Self::TrustBoth => 1,
            Self::SignNew => 2,
            Self::DropOld => 3,
        }
    }
}

impl fmt::Display for Stage {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words = match self {
            Self::TrustBoth => "trust both",
            Self::SignNew => "sign with the new one",
            Self::DropOld => "drop the old one",
        };
        write!(formatter, "stage {} of 3, {words}", self.number())
    }
}

/// Record of one rotation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rotation {
    /// The current stage.
    pub stage: Stage,
    /// The start of this stage.
    #[serde(with = "time::serde::rfc3339")]
    pub since: OffsetDateTime,
    /// The time when all machines were first seen to sign with the new key. Only for key pairs: the old one's
    /// signatures (tokens) remain in use for a time, while certificates are replaced together with the authority.
    #[serde(default, with = "time::serde::rfc3339::option", skip_serializing_if = "Option::is_none")]
    pub in_use_since: Option<OffsetDateTime>,
}

/// The record of all unfinished rotations, by the name of the subject.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Rotations(pub(super) BTreeMap<String, Rotation>);

impl Rotations {
    /// Parses the record.
    ///
    /// # Errors
    /// The text is not a record.
    pub fn parse(text: &[u8]) -> Result<Self, serde_json::Error> {
        serde_json::from_slice(text)
    }

    /// Returns the record of one rotation.
    #[must_use]
    pub fn of(&self, name: &str) -> Option<&Rotation> {
        self.0.get(name)
    }

    /// Returns the text of the file; `None` if there is nothing to record.
    pub(super) fn to_text(&self) -> Option<String> {
        let text = serde_json::to_string_pretty(self).ok().map(|text| text + "\n");
        text.filter(|_| !self.0.is_empty())
    }
}
