//! Copies of the modules in a cluster's own directory: `--vendor` and `--refresh`.

use std::path::Path;

use include_dir::{Dir, include_dir};

use machinist_operations::library::{APPS, MODULES, text_files};

static AGENT: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/../agent");
static MESH: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/../mesh");
static TEXT: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/../text");
const CARGO_TOML: &str = include_str!("../../../../../Cargo.toml");
const CARGO_LOCK: &str = include_str!("../../../../../Cargo.lock");
const AGENT_NIX: &str = include_str!("../../../../../nix/agent.nix");
const CLUSTER_NIX: &str = include_str!("../../../../../nix/cluster.nix");

/// Flake of a directory with copies of the modules.
pub const FLAKE_NIX: &str = include_str!("../../../../../nix/template-flake.nix");
/// Lock of that flake: the inputs are machinist's own.
pub const FLAKE_LOCK: &str = include_str!("../../../../../flake.lock");

/// Returns true for a directory with copies of the modules.
pub fn is_vendored(directory: &Path) -> bool {
    directory.join("nix/cluster.nix").exists()
}

/// Returns all files of a directory with copies of the modules, as paths and texts.
pub fn files() -> Vec<(String, String)> {
    let mut files = vec![
        ("nix/cluster.nix".to_owned(), CLUSTER_NIX.to_owned()),
        // A mesh's agent is built with the cluster's own nixpkgs.
        ("nix/agent.nix".to_owned(), AGENT_NIX.to_owned()),
        ("nix/agent-source/Cargo.toml".to_owned(), agent_workspace()),
        ("nix/agent-source/Cargo.lock".to_owned(), CARGO_LOCK.to_owned()),
    ];
    for (folder, directory) in [
        ("modules", &MODULES),
        ("app_modules", &APPS),
        ("nix/agent-source/rust/agent", &AGENT),
        ("nix/agent-source/rust/mesh", &MESH),
        ("nix/agent-source/rust/text", &TEXT),
    ] {
        files.extend(
            text_files(directory).into_iter().map(|(path, text)| (format!("{folder}/{path}"), text.to_owned())),
        );
    }
    files
}

/// Returns the workspace manifest of a directory that has only the agent's crates.
fn agent_workspace() -> String {
    CARGO_TOML.replace(r#", "testbed/clouds", "tests/ledger""#, "")
}

#[cfg(test)]
mod tests {
    use super::{agent_workspace, files};

    #[test]
    fn the_agents_workspace_names_no_member_that_is_not_written() {
        assert!(agent_workspace().contains("members = [\"rust/*\"]\n"), "{}", agent_workspace());
    }

    #[test]
    fn no_file_is_written_twice() {
        let mut paths: Vec<String> = files().into_iter().map(|(path, _)| path).collect();
        let count = paths.len();
        paths.sort();
        paths.dedup();
        assert_eq!(paths.len(), count);
        assert!(paths.contains(&"nix/agent-source/rust/mesh/src/lib.rs".to_owned()));
    }
}
