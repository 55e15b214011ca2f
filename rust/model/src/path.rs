//! Paths of attributes in machines.nix, such as `machines.cp2.ip` or `cluster.operators.0.age`.

use std::fmt;

use serde::{Serialize, Serializer};

/// One step of a path.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Segment {
    /// An attribute of a set.
    Name(String),
    /// An element of a list, counted from 0.
    Index(usize),
}

impl From<&str> for Segment {
    fn from(name: &str) -> Self {
        Self::Name(name.to_owned())
    }
}

impl From<&String> for Segment {
    fn from(name: &String) -> Self {
        Self::Name(name.clone())
    }
}

impl From<usize> for Segment {
    fn from(index: usize) -> Self {
        Self::Index(index)
    }
}

/// The path of an attribute, from the root of machines.nix. The empty path stands for the complete file.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AttrPath(Vec<Segment>);

impl AttrPath {
    /// Returns the path of the complete file.
    #[must_use]
    pub const fn root() -> Self {
        Self(Vec::new())
    }

    /// Parses a path of plain names and numbers separated by dots. Use [`join`](Self::join) for a name that contains a
    /// dot.
    #[must_use]
    pub fn of(dotted: &str) -> Self {
        let segment = |part: &str| part.parse().map_or_else(|_| Segment::from(part), Segment::Index);
        Self(dotted.split('.').filter(|part| !part.is_empty()).map(segment).collect())
    }

    /// Returns the path of an attribute or element below this one.
    #[must_use]
    pub fn join(&self, segment: impl Into<Segment>) -> Self {
        let mut path = self.clone();
        path.0.push(segment.into());
        path
    }

    /// Returns the path of several steps below this one.
    #[must_use]
    pub fn extend(&self, segments: impl IntoIterator<Item = Segment>) -> Self {
        let mut path = self.clone();
        path.0.extend(segments);
        path
    }

    /// Returns the path without its last step; `None` for the root.
    #[must_use]
    pub fn parent(&self) -> Option<Self> {
        let (_, front) = self.0.split_last()?;
        Some(Self(front.to_vec()))
    }

    /// Returns the steps, outermost first.
    #[must_use]
    pub fn segments(&self) -> &[Segment] {
        &self.0
    }

    /// Returns the name of the innermost attribute, list positions skipped.
    #[must_use]
    pub fn attribute(&self) -> Option<&str> {
        self.0.iter().rev().find_map(|segment| match segment {
            Segment::Name(name) => Some(name.as_str()),
            Segment::Index(_) => None,
        })
    }
}

/// Returns true if the text is a Nix attribute name without quotes.
fn is_identifier(text: &str) -> bool {
    let mut bytes = text.bytes();
    bytes.next().is_some_and(|first| first.is_ascii_alphabetic() || first == b'_')
        && bytes.all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'\''))
}

impl fmt::Display for AttrPath {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, segment) in self.0.iter().enumerate() {
            if position > 0 {
                formatter.write_str(".")?;
            }
            match segment {
                Segment::Name(name) if is_identifier(name) => formatter.write_str(name)?,
                Segment::Name(name) => write!(formatter, "{name:?}")?,
                Segment::Index(index) => write!(formatter, "{index}")?,
            }
        }
        Ok(())
    }
}

impl Serialize for AttrPath {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::AttrPath;

    #[test]
    fn a_path_reads_as_nix_would_write_it() {
        let path = AttrPath::of("machines").join("cp.2").join("roles").join(1);
        assert_eq!(path.to_string(), r#"machines."cp.2".roles.1"#);
        assert_eq!(path.attribute(), Some("roles"));
    }

    #[test]
    fn a_dotted_text_is_split_into_names_and_positions() {
        assert_eq!(
            AttrPath::of("cluster.operators.0.age"),
            AttrPath::of("cluster").join("operators").join(0).join("age")
        );
        assert_eq!(AttrPath::of("").parent(), None);
    }
}
