//! System generations of a host, and the choice of one for a rollback. Pure, but for [`ask`].

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use machinist_nix::StorePath;
use machinist_remote::{Remote, RemoteError};
use thiserror::Error;

use crate::{script, step::run};

/// The system generations of a host.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Generations {
    /// The number of the generation that boots.
    pub current: Option<u64>,
    /// All generations, by number.
    pub systems: BTreeMap<u64, StorePath>,
    /// Generations that make etcd form a new cluster: those from before the first quorum was recorded.
    pub founding: BTreeSet<u64>,
}

/// Reason why a rollback has no target.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum NoGeneration {
    /// The host has no older generation.
    #[error("it has no system from before the one that it boots")]
    NoOlder,
    /// The requested generation does not exist.
    #[error("it has no generation {wanted}, only {}", numbers(.there))]
    Missing {
        /// The requested number.
        wanted: u64,
        /// The existing numbers.
        there: Vec<u64>,
    },
    /// Under this generation, a member with an empty disk would form a second cluster.
    #[error(
        "generation {0} is from before the first quorum was recorded: under it a member with an empty disk would found a second etcd cluster"
    )]
    Founding(u64),
}

fn numbers(numbers: &[u64]) -> String {
    numbers.iter().map(u64::to_string).collect::<Vec<_>>().join(", ")
}

/// Queries a host for its generations.
///
/// # Errors
/// The connection fails.
pub fn ask(remote: &dyn Remote) -> Result<Generations, RemoteError> {
    let output = run(remote, "list the generations", script::GENERATIONS, Duration::from_secs(30))?;
    Ok(Generations::parse(&output.stdout_text()))
}

impl Generations {
    /// Parses the script's output. Unknown lines are ignored.
    #[must_use]
    pub fn parse(output: &str) -> Self {
        let mut found = Self::default();
        for (key, value) in output.lines().filter_map(|line| line.split_once('=')) {
            match (key, value.split_once(' ')) {
                ("current", _) => found.current = value.parse().ok(),
                ("founds", _) => found.founding.extend(value.parse::<u64>().ok()),
                ("generation", Some((number, path))) => {
                    if let (Ok(number), Ok(path)) = (number.parse(), StorePath::parse(path)) {
                        found.systems.insert(number, path);
                    }
                }
                _ => {}
            }
        }
        found
    }

    /// Returns the requested generation, or the newest one before the current that has a different system.
    ///
    /// # Errors
    /// It does not exist, or it would form a second cluster.
    pub fn choose(&self, wanted: Option<u64>) -> Result<(u64, &StorePath), NoGeneration> {
        let chosen = match wanted {
            Some(wanted) => {
                let missing = || NoGeneration::Missing { wanted, there: self.systems.keys().copied().collect() };
                self.systems.get_key_value(&wanted).ok_or_else(missing)?
            }
            None => {
                let current = self.current.unwrap_or(u64::MAX);
                let system = self.systems.get(&current);
                let mut older = self.systems.range(..current).rev();
                older.find(|(_, path)| Some(*path) != system).ok_or(NoGeneration::NoOlder)?
            }
        };
        if self.founding.contains(chosen.0) {
            return Err(NoGeneration::Founding(*chosen.0));
        }
        Ok((*chosen.0, chosen.1))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::Generations;

    #[track_caller]
    fn check(lines: &str, wanted: Option<u64>, expect: &str) {
        let path = |name: &str| format!(" /nix/store/0123456789abcdfghijklmnpqrsvwxyz-{name}");
        let text =
            [" a", " b", " c"].iter().fold(lines.to_owned(), |text, name| text.replace(name, &path(name.trim())));
        let found = Generations::parse(&text);
        let said = match found.choose(wanted) {
            Ok((number, path)) => format!("{number} {}", path.as_str().rsplit('-').next().unwrap_or_default()),
            Err(error) => error.to_string(),
        };
        assert_eq!(said, expect);
    }

    #[test]
    fn the_one_before_is_the_newest_that_is_another_system() {
        check("current=3\ngeneration=1 a\ngeneration=2 b\ngeneration=3 c\n", None, "2 b");
        check("current=3\ngeneration=1 a\ngeneration=2 c\ngeneration=3 c\n", None, "1 a");
        check("current=2\ngeneration=1 a\ngeneration=2 b\ngeneration=3 c\n", None, "1 a");
        check("current=10\ngeneration=9 a\ngeneration=10 b\n", None, "9 a");
    }

    /// The links have nix-env's form: the profile's is relative.
    #[test]
    fn the_script_reads_what_nix_env_writes() {
        let directory = tempfile::tempdir().unwrap();
        let link = |to: &str, name: &str| std::os::unix::fs::symlink(to, directory.path().join(name)).unwrap();
        link("system-10-link", "system");
        let place = directory.path().display().to_string();
        let script = crate::script::GENERATIONS.replace("/nix/var/nix/profiles/system", &format!("{place}/system"));
        let output = std::process::Command::new("sh").args(["-c", &script]).output().unwrap();
        let found = Generations::parse(&String::from_utf8(output.stdout).unwrap());
        assert_eq!((found.current, found.systems.len()), (Some(10), 0));
    }

    #[test]
    fn a_host_without_another_system_says_so() {
        check("current=1\ngeneration=1 a\n", None, "it has no system from before the one that it boots");
        check("", None, "it has no system from before the one that it boots");
    }

    #[test]
    fn a_generation_that_is_gone_is_named_with_those_that_are_there() {
        check("current=2\ngeneration=1 a\ngeneration=2 b\n", Some(1), "1 a");
        check("current=2\ngeneration=1 a\ngeneration=2 b\n", Some(7), "it has no generation 7, only 1, 2");
    }

    #[test]
    fn a_system_that_would_found_a_second_cluster_is_never_chosen() {
        let founding = "generation 1 is from before the first quorum was recorded: under it a member with an empty disk would found a second etcd cluster";
        check("current=2\ngeneration=1 a\nfounds=1\ngeneration=2 b\n", None, founding);
        check("current=2\ngeneration=1 a\nfounds=1\ngeneration=2 b\n", Some(1), founding);
    }
}
