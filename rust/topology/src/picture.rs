//! Pictures of a topology, in the languages of other programs.

pub mod dot;
pub mod mermaid;
pub mod svg;
mod words;

use std::{collections::BTreeSet, fmt, str::FromStr};

use crate::{Topology, topology::Stop};

/// Language of a picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Graphviz.
    Dot,
    /// Mermaid, which GitHub and GitLab draw in Markdown.
    Mermaid,
    /// A page for browsers.
    Svg,
}

impl Format {
    /// All formats, in alphabetical order.
    pub const ALL: [Self; 3] = [Self::Dot, Self::Mermaid, Self::Svg];

    /// Returns the name, as the command line takes it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Dot => "dot",
            Self::Mermaid => "mermaid",
            Self::Svg => "svg",
        }
    }

    /// Draws the topology.
    #[must_use]
    pub fn draw(self, topology: &Topology) -> String {
        match self {
            Self::Dot => dot::draw(topology),
            Self::Mermaid => mermaid::draw(topology),
            Self::Svg => svg::draw(topology),
        }
    }
}

impl fmt::Display for Format {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(self.as_str())
    }
}

impl FromStr for Format {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let names = || Self::ALL.map(Self::as_str).join(", ");
        Self::ALL.into_iter().find(|format| format.as_str() == text).ok_or_else(|| format!("one of {}", names()))
    }
}

/// Returns the pairs of stops that follow each other on a way of traffic, each once.
fn edges(topology: &Topology) -> BTreeSet<(&Stop, &Stop)> {
    topology.paths.iter().flat_map(|path| path.iter().zip(path.iter().skip(1))).collect()
}
