//! Shell scripts that run on hosts, prefixed with assignments of their variables.

use std::fmt::Write as _;

use machinist_remote::quote;

use crate::lock::Token;

/// Prints the facts of a host, a `key=value` a line; read by [`crate::HostFacts::parse`].
pub const GATHER: &str = concat!(include_str!("script/switch-files.sh"), include_str!("script/gather.sh"));
/// Activates a system, waits for the confirmation, and makes it the system that boots.
pub const ACTIVATE: &str = concat!(
    include_str!("../../remote/src/durable.sh"),
    include_str!("script/holds.sh"),
    include_str!("script/steady.sh"),
    include_str!("script/activate.sh")
);
/// Starts [`ACTIVATE`] in a transient unit.
pub const START: &str = include_str!("script/start.sh");
/// Confirms a system that [`ACTIVATE`] has activated; must be followed by [`AWAIT`].
pub const CONFIRM: &str = concat!(include_str!("script/holds.sh"), include_str!("script/confirm.sh"));
/// Makes an activation revert to the old system.
pub const ABORT: &str = include_str!("script/abort.sh");
/// Waits for [`ACTIVATE`] to reach a state.
pub const AWAIT: &str = include_str!("script/await.sh");

/// Prints the inputs of a plan: units, booted system, closure.
pub const UNITS: &str = include_str!("script/units.sh");
/// Acquires, renews and releases the lock on a node, and prints its resulting state.
pub const LOCK: &str = concat!(
    include_str!("../../remote/src/durable.sh"),
    include_str!("script/lock.sh"),
    include_str!("script/look.sh")
);
/// Prints the state of the lock on a node.
pub const LOOK: &str = include_str!("script/look.sh");
/// Runs the script that follows only under a lock.
const UNDER: &str = concat!(include_str!("script/holds.sh"), include_str!("script/under.sh"));

/// Prints the differences between a host and its active system.
pub const DRIFT: &str = include_str!("script/drift.sh");

/// Prints the certificates of the running system.
pub const CERTIFICATES: &str = include_str!("script/certificates.sh");

/// Prints the boot loader of a host, and whether it can boot a system once.
pub const LOADER: &str = concat!(include_str!("script/loader.sh"), include_str!("script/loader-look.sh"));
/// Installs a system for the next boot only.
pub const BOOT_ONCE: &str = concat!(
    include_str!("../../remote/src/durable.sh"),
    include_str!("script/holds.sh"),
    include_str!("script/loader.sh"),
    include_str!("script/boot-once.sh")
);
/// Ends the trial of a system that was not booted, or did not come up.
pub const BOOT_GIVEN_UP: &str = concat!(
    include_str!("../../remote/src/durable.sh"),
    include_str!("script/loader.sh"),
    include_str!("script/boot-given-up.sh")
);
/// Reboots a host, exactly once.
pub const REBOOT: &str = concat!(include_str!("script/holds.sh"), include_str!("script/reboot.sh"));
/// Waits until a boot has finished and runs the gates.
pub const BOOTED: &str = concat!(include_str!("script/steady.sh"), include_str!("script/booted.sh"));
/// Prints the files that a system on the host would boot, and those that decide whether the host can be switched to it.
pub const BOOT_FILES: &str = concat!(include_str!("script/switch-files.sh"), include_str!("script/boot-files.sh"));

/// Lists the system generations of a host.
pub const GENERATIONS: &str = include_str!("script/generations.sh");

/// Deletes generations and collects garbage.
pub const GC: &str = concat!(include_str!("script/loader.sh"), include_str!("script/gc.sh"));

/// Takes a node's instances out of the mesh, and puts them back.
pub const INSTANCES: &str = include_str!("script/instances.sh");

/// Removes the old address of a node that has moved.
pub const RETIRE_ADDRESS: &str = include_str!("script/retire-address.sh");

/// Sets up a host as a source for its peers.
pub const PEERS: &str = include_str!("script/peers.sh");
/// Socket listener on that host.
pub const PEERS_WATCH: &str = include_str!("script/peers-watch.sh");
/// Handler of one connection to that listener.
pub const PEERS_SERVE: &str = include_str!("script/peers-serve.sh");
/// Imports a slice from the operator's computer and keeps it for the peers.
pub const KEEP: &str = concat!(include_str!("script/import.sh"), include_str!("script/keep.sh"));
/// Fetches a slice from a peer and imports it.
pub const FETCH: &str = concat!(include_str!("script/import.sh"), include_str!("script/fetch.sh"));
/// Imports an export from stdin.
pub const IMPORT: &str = concat!(include_str!("script/import.sh"), "import_durably\n");

/// Returns the script guarded by the lock with this token. It exits with [`LOST`] if the token does not hold the lock.
pub fn under(token: &Token, script: &str) -> String {
    let guarded = [UNDER, script].concat();
    with(&token.variables().each_ref().map(|(name, value)| (*name, value.as_str())), &guarded)
}

/// Exit status of a guarded script that did not run because its lock is gone.
pub const LOST: i32 = 75;

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
mod activate_tests;

#[cfg(test)]
mod loader_tests;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::process::Command;

    use super::{AWAIT, CONFIRM, START, with};

    /// Starts a process that serves slice 1 of the directory to one peer.
    fn serve(directory: &std::path::Path) -> std::process::Child {
        let variables = [("directory", directory.to_str().unwrap()), ("token", "secret")];
        let script = with(&variables, super::PEERS_SERVE);
        let mut command = Command::new("sh");
        command.args(["-c", &script]).stdin(std::process::Stdio::piped()).stdout(std::process::Stdio::piped());
        command.spawn().unwrap()
    }

    /// The response that a peer gets to a line, or to sending none.
    fn served(mut server: std::process::Child, line: Option<&str>) -> String {
        use std::io::{Read, Write};
        let mut input = server.stdin.take().unwrap();
        if let Some(line) = line {
            // The server may have exited already.
            let _ = input.write_all(line.as_bytes());
        }
        let mut text = String::new();
        server.stdout.take().unwrap().read_to_string(&mut text).unwrap();
        server.wait().unwrap();
        text
    }

    /// Waits until a server has acquired a slot and reads its peer's request.
    fn reads(server: &std::process::Child) {
        let children = format!("/proc/{0}/task/{0}/children", server.id());
        let runs_timeout = |child: &str| {
            std::fs::read_to_string(format!("/proc/{child}/comm")).is_ok_and(|name| name.trim() == "timeout")
        };
        let reading = (0..2000).any(|_| {
            std::thread::sleep(std::time::Duration::from_millis(10));
            std::fs::read_to_string(&children).unwrap().split_whitespace().any(runs_timeout)
        });
        assert!(reading, "the server does not read");
    }

    #[test]
    fn a_connection_that_says_nothing_ends_and_there_are_no_more_of_them_than_places() {
        let directory = std::env::temp_dir().join(format!("machinist-serve-{}", std::process::id()));
        std::fs::create_dir_all(&directory).unwrap();
        std::fs::write(directory.join("1"), "slice").unwrap();
        for number in 0..2 {
            std::fs::write(directory.join(format!("place.{number}")), "").unwrap();
        }
        assert_eq!(served(serve(&directory), Some("secret 1\n")), "slice");
        for line in ["wrong 1\n", "secret\n", "secret ../1\n", "secret 2\n", "\n", "secret 1 1\n"] {
            assert_eq!(served(serve(&directory), Some(line)), "", "{line:?}");
        }
        let begun = std::time::Instant::now();
        let silent = [serve(&directory), serve(&directory)];
        silent.iter().for_each(reads);
        let answer = served(serve(&directory), Some("secret 1\n"));
        assert_eq!(answer, "", "both places are taken");
        for server in silent {
            assert_eq!(served(server, None), "");
        }
        assert!(begun.elapsed() < std::time::Duration::from_secs(60));
        assert_eq!(served(serve(&directory), Some("secret 1\n")), "slice", "they are free again");
        std::fs::remove_dir_all(&directory).unwrap();
    }

    /// The output of [`AWAIT`] for a state file with this content, or for a missing one.
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
        let variables = [("directory", "/nowhere/at/all"), ("unit", "x"), ("passing", "waiting")];
        let script = with(&variables, &[CONFIRM, AWAIT].concat());
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
