//! Process that holds a lock: its unique identifier, and the check that it has ended.

use std::fs;

use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use super::state::{Claimant, Holder, Lock, Moment};
use crate::HostFacts;

/// Returns a claimant: this process, on behalf of a user.
#[must_use]
pub fn claimant(run: String, who: String) -> Claimant {
    let now = OffsetDateTime::now_utc();
    let since = now.replace_nanosecond(0).unwrap_or(now).format(&Rfc3339).unwrap_or_default();
    Claimant { run, who, process: this_process(), since }
}

/// Returns the state of the node besides its lock.
#[must_use]
pub fn moment(facts: &HostFacts, lock: &Lock) -> Moment {
    Moment {
        boot: facts.boot.clone(),
        uptime: facts.uptime,
        activating: !facts.activations.is_empty(),
        holder_ended: lock.holder.as_ref().is_some_and(has_ended),
    }
}

/// Returns an identifier of this process that is unique across reboots: boot, process namespace, process ID and start
/// time in ticks (process IDs are reused).
#[must_use]
pub fn this_process() -> String {
    let start = started("self").unwrap_or_default();
    format!("{}/{}/{start}", here(), std::process::id())
}

fn here() -> String {
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    let namespace = fs::read_link("/proc/self/ns/pid").unwrap_or_default();
    format!("{}/{}", boot.trim(), namespace.display())
}

/// Returns field 22 of `/proc/<pid>/stat` (proc(5)). The name before it may contain spaces and parentheses.
fn started(pid: &str) -> Option<String> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, rest) = stat.rsplit_once(')')?;
    rest.split_whitespace().nth(19).map(str::to_owned)
}

/// Returns true if the holder is a process of this computer that no longer exists.
pub(crate) fn has_ended(holder: &Holder) -> bool {
    let mine = format!("{}/", here());
    let Some((pid, start)) = holder.process.strip_prefix(&mine).and_then(|rest| rest.split_once('/')) else {
        return false;
    };
    started(pid).as_deref() != Some(start)
}

#[cfg(test)]
mod tests {
    use super::{has_ended, here, this_process};
    use crate::lock::Holder;

    #[track_caller]
    fn check(process: String, ended: bool) {
        assert_eq!(has_ended(&Holder { process, ..Holder::default() }), ended);
    }

    #[test]
    fn a_process_of_this_computer_is_known_to_live_or_to_have_ended() {
        check(this_process(), false);
        check(format!("{}/{}/1", here(), std::process::id()), true);
        check(format!("{}/4194305/1", here()), true);
    }

    #[test]
    fn of_another_computer_s_process_nothing_is_known() {
        check("another-boot/pid:[1]/1/1".to_owned(), false);
        check(String::new(), false);
    }
}
