//! The shell scripts that run on hosts, with their variables set in front.

use std::fmt::Write as _;

use machinist_remote::quote;

use crate::lock::Token;

/// Says what is true on a host.
pub const GATHER: &str = include_str!("script/gather.sh");
/// Activates a system, waits for the confirmation, and makes it the one that boots.
pub const ACTIVATE: &str = concat!(
    include_str!("../../remote/src/durable.sh"),
    include_str!("script/holds.sh"),
    include_str!("script/steady.sh"),
    include_str!("script/activate.sh")
);
/// Starts [`ACTIVATE`] in a transient unit.
pub const START: &str = include_str!("script/start.sh");
/// Confirms a system that [`ACTIVATE`] has activated; [`AWAIT`] follows.
pub const CONFIRM: &str = concat!(include_str!("script/holds.sh"), include_str!("script/confirm.sh"));
/// Tells an activation to go back.
pub const ABORT: &str = include_str!("script/abort.sh");
/// Waits for [`ACTIVATE`] to reach a state.
pub const AWAIT: &str = include_str!("script/await.sh");

/// Tells what a plan compares: units, what is booted, the closure.
pub const UNITS: &str = include_str!("script/units.sh");
/// Takes, renews and releases the lock on a node, and says what it is then.
pub const LOCK: &str = concat!(
    include_str!("../../remote/src/durable.sh"),
    include_str!("script/lock.sh"),
    include_str!("script/look.sh")
);
/// Says what the lock on a node is.
pub const LOOK: &str = include_str!("script/look.sh");
/// Lets what follows run only under a lock.
const UNDER: &str = concat!(include_str!("script/holds.sh"), include_str!("script/under.sh"));

/// Tells what differs from the active system.
pub const DRIFT: &str = include_str!("script/drift.sh");

/// Prints the certificates of the running system.
pub const CERTIFICATES: &str = include_str!("script/certificates.sh");

/// Reboots a host, once.
pub const REBOOT: &str = concat!(include_str!("script/holds.sh"), include_str!("script/reboot.sh"));
/// Waits until a boot is over and asks the gates.
pub const BOOTED: &str = concat!(include_str!("script/steady.sh"), include_str!("script/booted.sh"));
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

/// Returns the script as it runs only under the lock with this token. Its status is [`LOST`] otherwise.
pub fn under(token: &Token, script: &str) -> String {
    let guarded = [UNDER, script].concat();
    with(&token.variables().each_ref().map(|(name, value)| (*name, value.as_str())), &guarded)
}

/// The status with which a script ends that does not run because the lock is gone.
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
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::process::Command;

    use super::{AWAIT, CONFIRM, START, with};

    /// A process that serves slice 1 of the directory to one peer.
    fn serve(directory: &std::path::Path) -> std::process::Child {
        let variables = [("directory", directory.to_str().unwrap()), ("token", "secret")];
        let script = with(&variables, super::PEERS_SERVE);
        let mut command = Command::new("sh");
        command.args(["-c", &script]).stdin(std::process::Stdio::piped()).stdout(std::process::Stdio::piped());
        command.spawn().unwrap()
    }

    /// What a peer gets for a line, or for none.
    fn served(mut server: std::process::Child, line: Option<&str>) -> String {
        use std::io::{Read, Write};
        let mut input = server.stdin.take().unwrap();
        if let Some(line) = line {
            // It may have ended already.
            let _ = input.write_all(line.as_bytes());
        }
        let mut text = String::new();
        server.stdout.take().unwrap().read_to_string(&mut text).unwrap();
        server.wait().unwrap();
        text
    }

    /// Waits until a server has its place and reads what its peer says.
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
