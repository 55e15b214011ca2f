//! URL of machinist's flake for a cluster's `flake.nix`.

use std::path::Path;

use machinist_nix::FlakeRef;

use crate::failure::{Failure, Kind};

/// URL set at build time by the Nix package (nix/package.nix).
const PACKAGED: Option<&str> = option_env!("MACHINIST_URL");

/// Work tree in which cargo built this program.
const BUILT_IN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");

/// Returns the URL from the option, or else the one that this program was built from.
pub fn url(option: Option<&str>) -> Result<String, Failure> {
    match (option, PACKAGED) {
        (Some(url), _) => normalise(url),
        (None, Some(url)) => Ok(url.to_owned()),
        (None, None) => FlakeRef::find(Path::new(BUILT_IN)).map(|flake| flake.reference()).map_err(|_| unknown()),
    }
}

fn unknown() -> Failure {
    Failure::new(
        Kind::Input,
        "the URL of machinist's flake is unknown: the directory that this program was built in is gone",
    )
    .hint("pass it, for example `--machinist-url git+https://git.example.org/machinist`")
    .hint("or copy the modules into the cluster's repository: `--vendor`")
}

/// Rewrites a local directory as a git URL, so that ignored files do not reach the store.
fn normalise(url: &str) -> Result<String, Failure> {
    let in_text = |character: char| character.is_ascii_graphic() && !r#""\$"#.contains(character);
    if url.is_empty() || !url.chars().all(in_text) {
        return Err(Failure::new(Kind::Input, format!("--machinist-url: `{url}` is not a flake reference")));
    }
    let place = url.strip_prefix("path:").unwrap_or(url);
    if is_in_store(url) || !place.starts_with(['/', '.']) {
        return Ok(url.to_owned());
    }
    let found = FlakeRef::find(Path::new(place));
    found
        .map(|flake| flake.reference())
        .map_err(|error| Failure::from_error(Kind::Input, &error).maybe_hint(error.hint()))
}

/// Returns true for a store path, which does not exist on other computers.
pub fn is_in_store(url: &str) -> bool {
    url.strip_prefix("path:").is_some_and(|path| path.starts_with("/nix/store/"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::{normalise, url};

    #[test]
    fn a_program_of_a_work_tree_names_it_through_git() {
        let found = url(None).unwrap();
        assert!(found.starts_with("git+file:///") && !found.contains(".."), "{found}");
    }

    #[test]
    fn a_local_directory_is_named_through_git_and_a_remote_one_as_it_is() {
        let here = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");
        for given in [here.to_owned(), format!("path:{here}")] {
            assert_eq!(normalise(&given).unwrap(), url(None).unwrap(), "{given}");
        }
        for remote in ["github:example/machinist", "git+https://git.example.org/m?ref=main", "path:/nix/store/0-source"]
        {
            assert_eq!(normalise(remote).unwrap(), remote);
        }
    }

    #[test]
    fn a_url_that_would_be_other_text_in_nix_is_refused() {
        for wrong in ["", "a b", "x\"", "x${y}", "x\\", "/does/not/exist"] {
            assert!(normalise(wrong).is_err(), "{wrong:?}");
        }
    }
}
