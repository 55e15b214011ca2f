//! etcd's version numbers. Pure.

use std::fmt;

use serde::{Serialize, Serializer};

/// A version, such as 3.5.26.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version {
    /// The series, such as 3.5.
    pub series: Series,
    /// The patch level in the series.
    pub patch: u32,
}

/// A minor version, such as 3.5: all versions with the same data format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Series {
    /// The major version.
    pub major: u32,
    /// The minor version.
    pub minor: u32,
}

impl Series {
    /// Returns the series after this one.
    #[must_use]
    pub const fn next(self) -> Self {
        Self { minor: self.minor.saturating_add(1), ..self }
    }

    /// Returns the name of the series' package in nixpkgs, such as `etcd_3_5`.
    #[must_use]
    pub fn package(self) -> String {
        format!("etcd_{}_{}", self.major, self.minor)
    }
}

impl Version {
    /// Returns the version with these numbers.
    #[must_use]
    pub const fn new(major: u32, minor: u32, patch: u32) -> Self {
        Self { series: Series { major, minor }, patch }
    }

    /// Parses `3.5.26`, with an optional `v` before it. What follows the patch level, such as `-rc.1`, is ignored.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        let mut parts = text.strip_prefix('v').unwrap_or(text).splitn(3, '.');
        let (major, minor, patch) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?, parts.next()?);
        let digits = patch.find(|c: char| !c.is_ascii_digit()).unwrap_or(patch.len());
        Some(Self::new(major, minor, patch.get(..digits)?.parse().ok()?))
    }
}

impl fmt::Display for Series {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.series, self.patch)
    }
}

impl Serialize for Version {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::Version;

    #[test]
    fn a_version_has_three_numbers() {
        for (text, expect) in [("3.5.16", "3.5.16"), ("v3.6.0-rc.1\n", "3.6.0"), ("3.10.2", "3.10.2")] {
            assert_eq!(Version::parse(text).unwrap().to_string(), expect, "{text}");
        }
        for text in ["", "3", "3.5", "3.5.", "3.5.x", "a.5.1", "-"] {
            assert_eq!(Version::parse(text), None, "{text}");
        }
        assert!(Version::new(3, 5, 9) < Version::new(3, 5, 26) && Version::new(3, 9, 9) < Version::new(3, 10, 0));
        assert_eq!(Version::new(3, 5, 9).series.next().package(), "etcd_3_6");
    }
}
