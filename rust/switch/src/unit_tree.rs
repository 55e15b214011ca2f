//! The unit files of a system: its `etc/systemd/system`, as read from a directory or reported by a host.

use std::collections::{BTreeMap, BTreeSet};

use sha2::{Digest, Sha256};

use crate::unit_file::UnitFile;

/// The unit files of a system, its drop-ins, masks, aliases and dependency links.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UnitTree {
    /// Text by path below `etc/systemd/system`: `a.service`, `a.service.d/overrides.conf`.
    pub files: BTreeMap<String, String>,
    /// Masked units and drop-ins.
    pub masked: BTreeSet<String>,
    /// Aliases of units: alias to name.
    pub aliases: BTreeMap<String, String>,
    /// Dependency links, as paths such as `multi-user.target.wants/a.service`.
    pub links: BTreeSet<String>,
}

/// Suffixes of the folders beside a unit that add dependencies on the units they link to.
pub const LINK_FOLDERS: [&str; 3] = [".wants", ".requires", ".upholds"];

/// Keys of `[Unit]` through which a start pulls in other units (systemd.unit(5)).
const PULLING: [&str; 4] = ["BindsTo", "Requires", "Upholds", "Wants"];

/// Keys of `[Unit]` through which a stop or restart of the named unit propagates to this one (systemd.unit(5)).
const BOUND: [&str; 4] = ["BindsTo", "PartOf", "Requires", "Requisite"];

impl UnitTree {
    /// Returns a line for each file, `<sha256>  ./<path>`, as `sha256sum` prints it.
    #[must_use]
    pub fn digests(&self) -> BTreeMap<String, String> {
        self.files.iter().map(|(path, text)| (digest_line(path, text), path.clone())).collect()
    }

    /// Returns true if the unit has its own file that is not masked.
    #[must_use]
    pub fn has(&self, unit: &str) -> bool {
        self.files.contains_key(unit)
    }

    /// Returns true if the tree has the unit itself or drop-ins for it, and does not mask it.
    #[must_use]
    pub fn speaks_of(&self, unit: &str) -> bool {
        !self.masked.contains(unit) && (self.has(unit) || self.drop_ins(unit).next().is_some())
    }

    /// Returns true if the unit has a folder of dependency links.
    #[must_use]
    pub fn has_links(&self, unit: &str) -> bool {
        LINK_FOLDERS.iter().any(|ending| self.linked(unit, ending).next().is_some())
    }

    /// Returns the texts of the unit's drop-ins, in the order in which they apply.
    pub fn drop_ins(&self, unit: &str) -> impl Iterator<Item = &str> {
        let prefix = format!("{unit}.d/");
        let after = prefix.clone();
        self.files.range(prefix..).take_while(move |(path, _)| path.starts_with(&after)).map(|(_, text)| text.as_str())
    }

    fn linked(&self, unit: &str, ending: &str) -> impl Iterator<Item = &str> {
        let prefix = format!("{unit}{ending}/");
        let after = prefix.clone();
        self.links.range(prefix..).map_while(move |path| path.strip_prefix(&after))
    }

    /// Returns the unit's own name, or its template's if neither tree has a file for the instance.
    #[must_use]
    pub fn base<'a>(&self, unit: &'a str, other: &Self) -> std::borrow::Cow<'a, str> {
        match template(unit) {
            Some(template) if !self.has(unit) && !other.has(unit) => template.into(),
            _ => unit.into(),
        }
    }

    /// Parses the unit with all its drop-ins. `beneath` is the distribution's own file of that unit, if it has one.
    #[must_use]
    pub fn unit(&self, unit: &str, base: &str, beneath: Option<&str>) -> UnitFile {
        let own = self.files.get(base).map(String::as_str).or(beneath);
        let of_instance = (base != unit).then(|| self.drop_ins(unit)).into_iter().flatten();
        UnitFile::parse(own.into_iter().chain(self.drop_ins(base)).chain(of_instance))
    }

    fn parsed(&self, unit: &str) -> UnitFile {
        self.unit(unit, &self.base(unit, self), None)
    }

    /// Returns the units that a start of this one pulls in, with aliases resolved.
    #[must_use]
    pub fn pulls(&self, unit: &str) -> BTreeSet<String> {
        let file = self.parsed(unit);
        let said = PULLING.iter().flat_map(|key| file.words("Unit", key));
        let linked = LINK_FOLDERS.iter().flat_map(|ending| self.linked(unit, ending));
        said.chain(linked).map(|name| self.proper(name).to_owned()).collect()
    }

    /// Returns the units whose stop or restart propagates to this one, with aliases resolved.
    #[must_use]
    pub fn bound_to(&self, unit: &str) -> BTreeSet<String> {
        let file = self.parsed(unit);
        let said = BOUND.iter().flat_map(|key| file.words("Unit", key));
        said.chain(self.linked(unit, ".requires")).map(|name| self.proper(name).to_owned()).collect()
    }

    /// Returns the units that this one requires in order to start, with aliases resolved.
    #[must_use]
    pub fn requires(&self, unit: &str) -> BTreeSet<String> {
        let file = self.parsed(unit);
        let said = ["BindsTo", "Requires", "Requisite"].into_iter().flat_map(|key| file.words("Unit", key));
        said.chain(self.linked(unit, ".requires")).map(|name| self.proper(name).to_owned()).collect()
    }

    fn proper<'a>(&'a self, name: &'a str) -> &'a str {
        self.aliases.get(name).map_or(name, String::as_str)
    }
}

/// Returns the line that `sha256sum` prints for a file.
fn digest_line(path: &str, text: &str) -> String {
    use std::fmt::Write as _;
    let mut line = String::new();
    for byte in Sha256::digest(text.as_bytes()) {
        // Writing to a String cannot fail.
        let _infallible = write!(line, "{byte:02x}");
    }
    line.push_str("  ./");
    line.push_str(path);
    line
}

/// Returns the template of an instance: `a@.service` of `a@b.service`.
#[must_use]
pub fn template(unit: &str) -> Option<String> {
    let (stem, ending) = unit.rsplit_once('.')?;
    let (name, _) = stem.split_once('@')?;
    Some(format!("{name}@.{ending}"))
}

#[cfg(test)]
mod tests {
    use super::{UnitTree, template};

    #[test]
    fn an_instance_is_read_from_its_template_unless_it_has_a_file_of_its_own() {
        assert_eq!(template("a@b.service").as_deref(), Some("a@.service"));
        assert_eq!(template("a.service"), None);
        let mut tree = UnitTree::default();
        tree.files.insert("a@.service".to_owned(), "[Unit]\nWants=t.service".to_owned());
        tree.files.insert("a@own.service".to_owned(), String::new());
        assert_eq!(tree.base("a@b.service", &UnitTree::default()), "a@.service");
        assert_eq!(tree.base("a@own.service", &UnitTree::default()), "a@own.service");
        assert!(tree.pulls("a@b.service").contains("t.service"));
    }

    #[test]
    fn digests_are_those_of_sha256sum() {
        let mut tree = UnitTree::default();
        tree.files.insert("a\\x2db.service".to_owned(), "abc".to_owned());
        let line = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad  ./a\\x2db.service";
        assert_eq!(tree.digests().keys().collect::<Vec<_>>(), [line]);
    }
}
