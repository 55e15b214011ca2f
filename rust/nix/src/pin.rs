//! Pin of nixpkgs in a flake's lock file: which input it is, what it may change to, and whether anything else changed.

use std::{collections::BTreeMap, ffi::OsString};

use serde::Deserialize;
use serde_json::Value;
use thiserror::Error;

use crate::{FlakeRef, Nix, NixError, command::FETCH_BOUND, process::run};

/// Text of a `flake.lock`, parsed.
#[derive(Debug, Deserialize)]
pub struct LockFile {
    nodes: BTreeMap<String, LockNode>,
    #[serde(default)]
    root: String,
}

#[derive(Debug, Deserialize)]
struct LockNode {
    #[serde(default)]
    inputs: BTreeMap<String, Value>,
    locked: Option<Value>,
    original: Option<Value>,
}

/// The pin of nixpkgs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pin {
    /// Path of the input, such as `nixpkgs` or `machinist/nixpkgs`.
    pub input: String,
    /// Name of its node in the lock file.
    node: String,
    /// Reference that it is locked to, as in the lock file.
    pub locked: Value,
    /// Branch that flake.nix names.
    branch: Option<String>,
}

/// Reason why a pin cannot be read or changed.
#[derive(Debug, Error)]
pub enum PinError {
    /// The lock file is invalid.
    #[error("flake.lock is invalid")]
    Format(#[source] serde_json::Error),
    /// No input of that name.
    #[error("flake.lock has no input nixpkgs, of its own or of machinist")]
    NoInput,
    /// A release or a revision of an input that has none.
    #[error("nixpkgs is pinned to {0}, which has no branches: {1} does not name another one")]
    NoBranches(String, String),
}

impl LockFile {
    /// Parses the text of a `flake.lock`.
    ///
    /// # Errors
    /// The text is not of the format.
    pub fn parse(text: &str) -> Result<Self, PinError> {
        serde_json::from_str(text).map_err(PinError::Format)
    }

    /// Returns the pin of nixpkgs: an input of the flake itself, or of its input machinist.
    ///
    /// # Errors
    /// There is none.
    pub fn nixpkgs(&self) -> Result<Pin, PinError> {
        let paths = [vec!["nixpkgs".to_owned()], vec!["machinist".to_owned(), "nixpkgs".to_owned()]];
        let pin = |path: Vec<String>| {
            let (path, node) = self.follow(path, 8)?;
            let found = self.nodes.get(&node)?;
            let branch = found.original.as_ref().and_then(|original| original.get("ref")).and_then(Value::as_str);
            let (locked, branch) = (found.locked.clone()?, branch.map(str::to_owned));
            Some(Pin { input: path.join("/"), node, locked, branch })
        };
        paths.into_iter().find_map(pin).ok_or(PinError::NoInput)
    }

    /// Resolves the path of an input, through the inputs that it follows, to the path and node of the last one.
    fn follow(&self, path: Vec<String>, left: usize) -> Option<(Vec<String>, String)> {
        let mut node = self.root.clone();
        for (index, name) in path.iter().enumerate() {
            match self.nodes.get(&node)?.inputs.get(name)? {
                Value::String(next) => node.clone_from(next),
                Value::Array(followed) => {
                    let followed = followed.iter().map(|name| name.as_str().map(str::to_owned));
                    let rest = path.iter().skip(index + 1).cloned().map(Some);
                    return self.follow(followed.chain(rest).collect::<Option<_>>()?, left.checked_sub(1)?);
                }
                _ => return None,
            }
        }
        Some((path, node))
    }

    /// Returns the inputs, besides the pin, that the other lock file has at another reference.
    #[must_use]
    pub fn other_changes(&self, other: &Self, pin: &Pin) -> Vec<String> {
        let names = self.nodes.keys().chain(other.nodes.keys()).filter(|name| **name != pin.node);
        let locked = |lock: &Self, name: &str| lock.nodes.get(name).and_then(|node| node.locked.clone());
        let mut changed: Vec<String> =
            names.filter(|name| locked(self, name) != locked(other, name)).cloned().collect();
        changed.dedup();
        changed
    }
}

impl Pin {
    /// Returns a short name of the pinned nixpkgs: the first seven digits of its revision, else its path or URL.
    #[must_use]
    pub fn name(&self) -> String {
        let text = |key: &str| self.locked.get(key).and_then(Value::as_str);
        let short = text("rev").and_then(|rev| rev.get(..7));
        short.or_else(|| text("path")).or_else(|| text("url")).unwrap_or("?").to_owned()
    }

    /// Returns the branch that flake.nix names, if it names one.
    #[must_use]
    pub fn branch(&self) -> Option<&str> {
        self.branch.as_deref()
    }

    /// Returns the flake reference of what an operator names: a release such as `26.05`, a revision, a path, or a flake
    /// reference, which is returned unchanged.
    ///
    /// # Errors
    /// A release or a revision, and the current pin is not a git repository.
    pub fn reference(&self, to: &str) -> Result<String, PinError> {
        if to.starts_with('/') {
            return Ok(format!("path:{to}"));
        }
        if to.contains(':') {
            return Ok(to.to_owned());
        }
        let is_revision = to.len() == 40 && to.bytes().all(|byte| byte.is_ascii_hexdigit());
        let text = |key: &str| self.locked.get(key).and_then(Value::as_str).unwrap_or_default();
        let branch = if is_release(to) { format!("nixos-{to}") } else { to.to_owned() };
        match text("type") {
            forge @ ("github" | "gitlab" | "sourcehut") => {
                Ok(format!("{forge}:{}/{}/{branch}", text("owner"), text("repo")))
            }
            "git" => {
                let mark = if text("url").contains('?') { '&' } else { '?' };
                let key = if is_revision { "rev" } else { "ref" };
                Ok(format!("git+{}{mark}{key}={branch}", text("url")))
            }
            _ => Err(PinError::NoBranches(self.name(), to.to_owned())),
        }
    }
}

fn is_release(text: &str) -> bool {
    let digits = |part: &str| part.len() == 2 && part.bytes().all(|byte| byte.is_ascii_digit());
    text.split_once('.').is_some_and(|(year, month)| digits(year) && digits(month))
}

impl Nix {
    /// Returns true if this input of a flake is replaced by the caller, so that its lock has no effect.
    #[must_use]
    pub fn replaces(&self, input: &str) -> bool {
        self.overrides().iter().any(|replaced| replaced.input == input)
    }

    /// Locks an input of a flake to the reference, and writes its `flake.lock`. The other inputs stay as they are.
    ///
    /// # Errors
    /// The reference cannot be fetched.
    pub fn pin(&self, flake: &FlakeRef, input: &str, reference: &str) -> Result<(), NixError> {
        let features = ["--extra-experimental-features", "nix-command flakes", "--option", "warn-dirty", "false"];
        let mut arguments: Vec<OsString> = ["flake", "lock"].into_iter().chain(features).map(Into::into).collect();
        arguments.extend(["--override-input", input, reference].map(OsString::from));
        arguments.push(flake.reference().into());
        run("nix", &arguments, Some(FETCH_BOUND))?.success("nix flake lock").map(drop)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde_json::json;

    use super::LockFile;

    fn lock(inputs: serde_json::Value, nixpkgs: serde_json::Value) -> LockFile {
        let nodes = json!({
            "root": { "inputs": inputs },
            "machinist": { "inputs": { "nixpkgs": "nixpkgs" }, "locked": { "type": "git", "rev": "a" } },
            "nixpkgs": { "locked": nixpkgs },
        });
        LockFile::parse(&json!({ "nodes": nodes, "root": "root", "version": 7 }).to_string()).unwrap()
    }

    #[track_caller]
    fn check(locked: serde_json::Value, to: &str, expect: Result<&str, &str>) {
        let pin = lock(json!({ "nixpkgs": "nixpkgs" }), locked).nixpkgs().unwrap();
        let found = pin.reference(to).map_err(|error| error.to_string());
        assert_eq!(found.as_deref().map_err(String::as_str), expect);
    }

    #[test]
    fn nixpkgs_is_an_input_of_the_flake_or_of_machinist() {
        let of = |inputs| lock(inputs, json!({ "type": "github" })).nixpkgs().map(|pin| pin.input);
        assert_eq!(of(json!({ "nixpkgs": "nixpkgs" })).unwrap(), "nixpkgs");
        assert_eq!(of(json!({ "machinist": "machinist" })).unwrap(), "machinist/nixpkgs");
        let follows = json!({ "machinist": "machinist", "nixpkgs": ["machinist", "nixpkgs"] });
        assert_eq!(of(follows).unwrap(), "machinist/nixpkgs");
        assert!(of(json!({})).is_err());
        assert!(of(json!({ "nixpkgs": ["nixpkgs"] })).is_err(), "a circle ends");
    }

    #[test]
    fn a_release_is_a_branch_of_the_repository_that_is_pinned() {
        let github = json!({ "type": "github", "owner": "NixOS", "repo": "nixpkgs", "rev": "8eeec934ae0d" });
        check(github.clone(), "26.05", Ok("github:NixOS/nixpkgs/nixos-26.05"));
        let revision = "8eeec934ae0dbeca3d7868c059568a65c08b2fc3";
        check(github.clone(), revision, Ok(&format!("github:NixOS/nixpkgs/{revision}")));
        check(github.clone(), "nixos-unstable", Ok("github:NixOS/nixpkgs/nixos-unstable"));
        check(github, "/srv/nixpkgs", Ok("path:/srv/nixpkgs"));
        let git = json!({ "type": "git", "url": "https://git.example.org/nixpkgs" });
        check(git.clone(), "26.05", Ok("git+https://git.example.org/nixpkgs?ref=nixos-26.05"));
        check(git, revision, Ok(&format!("git+https://git.example.org/nixpkgs?rev={revision}")));
        let path = json!({ "type": "path", "path": "/srv/nixpkgs" });
        check(path.clone(), "github:me/nixpkgs/x", Ok("github:me/nixpkgs/x"));
        let refused = "nixpkgs is pinned to /srv/nixpkgs, which has no branches: 26.05 does not name another one";
        check(path, "26.05", Err(refused));
    }

    #[test]
    fn a_change_of_another_input_is_found() {
        let inputs = || json!({ "machinist": "machinist" });
        let (before, after) = (lock(inputs(), json!({ "rev": "1" })), lock(inputs(), json!({ "rev": "2" })));
        let pin = before.nixpkgs().unwrap();
        assert_eq!(before.other_changes(&after, &pin), Vec::<String>::new());
        let mut other = lock(inputs(), json!({ "rev": "2" }));
        other.nodes.get_mut("machinist").unwrap().locked = Some(json!({ "rev": "b" }));
        assert_eq!(before.other_changes(&other, &pin), ["machinist"]);
    }
}
