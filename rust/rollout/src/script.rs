//! The shell scripts that run on hosts, with their variables set in front.

use std::fmt::Write as _;

use machinist_remote::quote;

/// Says what is true on a host.
pub const GATHER: &str = include_str!("script/gather.sh");
/// Activates a system, waits for the confirmation, and makes it the one that boots.
pub const ACTIVATE: &str = include_str!("script/activate.sh");
/// Starts [`ACTIVATE`] in a transient unit.
pub const START: &str = include_str!("script/start.sh");
/// Waits for [`ACTIVATE`] to reach a state.
pub const AWAIT: &str = include_str!("script/await.sh");

/// Tells what a plan compares: units, what is booted, the closure.
pub const UNITS: &str = include_str!("script/units.sh");
/// Takes, renews and releases the lock on a node.
pub const LOCK: &str = include_str!("script/lock.sh");

/// Tells what differs from the active system.
pub const DRIFT: &str = include_str!("script/drift.sh");

/// Reboots a host, once.
pub const REBOOT: &str = include_str!("script/reboot.sh");
/// Waits until a boot is over.
pub const BOOTED: &str = include_str!("script/booted.sh");
/// Tells what a system on the host would boot.
pub const BOOT_FILES: &str = include_str!("script/boot-files.sh");

/// Lists the system generations of a host.
pub const GENERATIONS: &str = include_str!("script/generations.sh");

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

    use super::{ACTIVATE, AWAIT, BOOT_FILES, BOOTED, DRIFT, GATHER, GENERATIONS, LOCK, REBOOT, START, UNITS, with};

    #[test]
    fn every_script_is_valid_shell() {
        for script in [ACTIVATE, AWAIT, BOOT_FILES, BOOTED, DRIFT, GATHER, GENERATIONS, LOCK, REBOOT, START, UNITS] {
            let status = Command::new("sh").args(["-n", "-c", script]).status().unwrap();
            assert!(status.success(), "{script}");
        }
    }

    #[test]
    fn a_variable_s_value_is_data() {
        let script = with(&[("x", "a'b $(exit 1) \"")], "printf %s \"$x\"");
        let output = Command::new("sh").args(["-c", &script]).output().unwrap();
        assert_eq!(String::from_utf8(output.stdout).unwrap(), "a'b $(exit 1) \"");
    }
}
