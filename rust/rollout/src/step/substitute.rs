//! Substitution on the host: fetches missing paths from its own substituters, before any are sent to it.
//!
//! The host's own nix.conf determines the caches and the trusted signatures.

use std::time::Duration;

use machinist_remote::{Remote, Request};

use super::{StepError, copy::Delta};
use crate::step::copy;

/// Fetches those of the paths on stdin that a cache has. A path that no cache has does not cause a failure: it is sent
/// afterwards. Without `--max-jobs 0` and an empty list of builders a path that is an output would be built.
const FETCH: &str = "\
export PATH=/run/current-system/sw/bin:/nix/var/nix/profiles/default/bin:$PATH
xargs -r nix-store --realise --keep-going --max-jobs 0 --builders '' >/dev/null 2>&1 || true
";

/// Time limit of the fetch. Paths that have arrived by then stay.
const BOUND: Duration = Duration::from_secs(3600);

/// Makes the host fetch paths, and returns those that are still missing.
///
/// # Errors
/// The connection fails.
pub fn fetch(remote: &dyn Remote, delta: &Delta) -> Result<Delta, StepError> {
    if delta.paths.is_empty() {
        return Ok(delta.clone());
    }
    let listing: String = delta.paths.iter().map(|info| format!("{}\n", info.path)).collect();
    let label = format!("fetch {} paths from the host's own substituters", delta.paths.len());
    remote.run_checked(Request::new(label, FETCH).bytes(listing.into_bytes()).timeout(BOUND))?;
    copy::delta(remote, &delta.paths)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::sync::Arc;

    use machinist_nix::{PathInfo, StorePath};
    use machinist_remote::FakeRemote;

    use super::{Delta, fetch};

    #[test]
    fn a_host_that_lacks_nothing_is_not_asked() {
        let remote = FakeRemote::new("a");
        assert_eq!(fetch(&remote, &Delta::default()).unwrap(), Delta::default());
        assert!(remote.labels().is_empty());
    }

    #[test]
    fn what_the_host_has_fetched_is_not_sent() {
        let path = |name: &str| {
            let path = StorePath::parse(&format!("/nix/store/0123456789abcdfghijklmnpqrsvwxyz-{name}")).unwrap();
            Arc::new(PathInfo { path, digest: String::new(), size: 7, deriver: None, references: Vec::new() })
        };
        let remote = FakeRemote::new("a").answer("--realise", 0, "", "").answer("--check-validity", 0, "", "");
        let delta = Delta { paths: vec![path("a"), path("b")], bytes: 7 };
        assert_eq!(fetch(&remote, &delta).unwrap(), Delta::default());
        assert_eq!(remote.labels(), ["fetch 2 paths from the host's own substituters", "ask for missing paths"]);
    }
}
