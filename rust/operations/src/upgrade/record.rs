//! Record of an upgrade that is under way: the lock files before and after it. One file, replaced as a whole, so that an
//! upgrade that is cut off anywhere can be continued or aborted.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::agreed::Agreed;
use crate::{
    failure::{Failure, Kind, OrFail as _},
    files,
    project::Project,
};

/// An upgrade that is under way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct Record {
    /// Version of the format.
    version: u32,
    /// What the operator named.
    pub to: String,
    /// Flake reference of it.
    pub reference: String,
    /// Text of `flake.lock` before.
    pub before: String,
    /// Text of `flake.lock` from the pin on.
    pub after: String,
    /// True from the moment at which a member may enter a series of etcd that the others do not run.
    pub enters_series: bool,
    /// What the operator agreed to. Nothing in records of earlier versions: the next command asks.
    #[serde(default)]
    pub agreed: Agreed,
}

impl Record {
    const VERSION: u32 = 1;

    pub(super) fn new(to: String, reference: String, before: String, after: String) -> Self {
        Self { version: Self::VERSION, to, reference, before, after, enters_series: false, agreed: Agreed::default() }
    }

    fn path(project: &Project) -> PathBuf {
        project.local().join("upgrade.json")
    }

    /// Reads the record; none if no upgrade is under way.
    pub(super) fn read(project: &Project) -> Result<Option<Self>, Failure> {
        let path = Self::path(project);
        let Some(text) = files::read_optional(&path).failed()? else { return Ok(None) };
        let invalid = |why: String| {
            Failure::new(Kind::Failed, format!("{} is invalid: {why}", path.display()))
                .hint("`git checkout flake.lock` restores the pin that was committed last; then remove the file")
        };
        let record: Self = serde_json::from_str(&text).map_err(|error| invalid(error.to_string()))?;
        if record.version == Self::VERSION {
            return Ok(Some(record));
        }
        Err(invalid(format!("it has version {}, this machinist reads version {}", record.version, Self::VERSION)))
    }

    /// Writes the record.
    pub(super) fn write(&self, project: &Project) -> Result<(), Failure> {
        std::fs::create_dir_all(project.local()).failed()?;
        let text = serde_json::to_string_pretty(self).failed()?;
        files::write(&Self::path(project), &(text + "\n")).failed()
    }

    /// Removes the record.
    pub(super) fn remove(project: &Project) -> Result<(), Failure> {
        files::remove(&Self::path(project)).failed()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::Record;

    #[test]
    fn records_of_earlier_versions_are_read() {
        let text = r#"{"version":1,"to":"26.05","reference":"github:NixOS/nixpkgs/nixos-26.05","before":"{}","after":"{ }","entersSeries":true}"#;
        let record: Record = serde_json::from_str(text).unwrap();
        let mut expect = Record::new(
            "26.05".to_owned(),
            "github:NixOS/nixpkgs/nixos-26.05".to_owned(),
            "{}".to_owned(),
            "{ }".to_owned(),
        );
        expect.enters_series = true;
        assert_eq!(record, expect);
    }
}
