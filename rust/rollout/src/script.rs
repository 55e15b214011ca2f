//! The shell scripts that run on hosts, with their variables set in front.

use std::fmt::Write as _;

use machinist_remote::quote;

/// Says what is true on a host.
pub const GATHER: &str = include_str!("script/gather.sh");
/// Activates a system, waits for the confirmation, and makes it the one that boots.
pub const ACTIVATE: &str = include_str!("script/activate.sh");
/// Starts [`ACTIVATE`] in a transient unit.
pub const START: &str = include_str!("script/start.sh");
/// Confirms a system that [`ACTIVATE`] has activated; [`AWAIT`] follows.
pub const CONFIRM: &str = include_str!("script/confirm.sh");
/// Waits for [`ACTIVATE`] to reach a state.
pub const AWAIT: &str = include_str!("script/await.sh");

/// Tells what a plan compares: units, what is booted, the closure.
pub const UNITS: &str = include_str!("script/units.sh");
/// Takes, renews and releases the lock on a node.
pub const LOCK: &str = include_str!("script/lock.sh");

/// Tells what differs from the active system.
pub const DRIFT: &str = include_str!("script/drift.sh");

/// Prints the certificates of the running system.
pub const CERTIFICATES: &str = include_str!("script/certificates.sh");

/// Reboots a host, once.
pub const REBOOT: &str = include_str!("script/reboot.sh");
/// Waits until a boot is over and asks the gates.
pub const BOOTED: &str = include_str!("script/booted.sh");
/// Tells what a system on the host would boot.
pub const BOOT_FILES: &str = include_str!("script/boot-files.sh");

/// Lists the system generations of a host.
pub const GENERATIONS: &str = include_str!("script/generations.sh");

/// Takes a node's instances out of the mesh, and puts them in again.
pub const INSTANCES: &str = include_str!("script/instances.sh");

/// Makes a host a source for its peers.
pub const PEERS: &str = include_str!("script/peers.sh");
/// What listens there.
pub const PEERS_WATCH: &str = include_str!("script/peers-watch.sh");
/// What answers there.
pub const PEERS_SERVE: &str = include_str!("script/peers-serve.sh");
/// Imports a slice from the operator and keeps it for the peers.
pub const KEEP: &str = include_str!("script/keep.sh");
/// Fetches a slice from a peer and imports it.
pub const FETCH: &str = include_str!("script/fetch.sh");

/// Returns the script with shell variables set in front of it, quoted.
pub fn with(variables: &[(&str, &str)], script: &str) -> String {
    let mut text = String::new();
    for (name, value) in variables {
        // Writing to a String cannot fail.
        let _infallible = writeln!(text, "{name}={}", quote(value));
    }
    text.push_str(script);
    text
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::process::Command;

    use super::{AWAIT, CONFIRM, START, with};

    /// What [`AWAIT`] prints when the state file holds this, or is not there.
    fn awaited(content: Option<&str>) -> String {
        let directory = std::env::temp_dir().join(format!("machinist-await-{}", std::process::id()));
        std::fs::create_dir_all(&directory).unwrap();
        if let Some(content) = content {
            std::fs::write(directory.join("state"), content).unwrap();
        }
        let variables = [("directory", directory.to_str().unwrap()), ("unit", "x"), ("passing", "starting|activating")];
        let output = Command::new("timeout").args(["0.3", "sh", "-c", &with(&variables, AWAIT)]).output().unwrap();
        std::fs::remove_dir_all(&directory).unwrap();
        String::from_utf8(output.stdout).unwrap()
    }

    #[test]
    fn waiting_ends_with_the_first_state_that_lasts() {
        for (content, printed) in [
            (None, "gone\n"),
            (Some(""), ""),
            (Some("activating\n"), ""),
            (Some("waiting\n"), "waiting\n"),
            (Some("reverted units failed: a.service \n"), "reverted units failed: a.service\n"),
            (Some("activating-not\n"), "activating-not\n"),
        ] {
            assert_eq!(awaited(content), printed, "{content:?}");
        }
    }

    #[test]
    fn an_activation_that_arrives_cut_short_is_not_put_in_place() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("run");
        let variables = [("directory", path.to_str().unwrap()), ("unit", "x"), ("length", "100")];
        let script = format!("printf 'rm -rf ' | {{ {}\n}}", with(&variables, START));
        let output = Command::new("sh").args(["-c", &script]).output().unwrap();
        assert!(String::from_utf8_lossy(&output.stderr).contains("did not arrive whole"), "{output:?}");
        assert_eq!((output.status.code(), path.join("activate").exists()), (Some(1), false));
    }

    #[test]
    fn a_confirmation_finds_a_host_that_was_reset_gone() {
        let script = with(&[("directory", "/nowhere/at/all")], &[CONFIRM, "echo on"].concat());
        let output = Command::new("sh").args(["-c", &script]).output().unwrap();
        assert_eq!(String::from_utf8(output.stdout).unwrap(), "gone\n");
    }

    #[test]
    fn a_variable_s_value_is_data() {
        let script = with(&[("x", "a'b $(exit 1) \"")], "printf %s \"$x\"");
        let output = Command::new("sh").args(["-c", &script]).output().unwrap();
        assert_eq!(String::from_utf8(output.stdout).unwrap(), "a'b $(exit 1) \"");
    }
}
