//! Reboot of a host: waits until it is back and has booted the expected system.

use std::{
    thread,
    time::{Duration, Instant},
};

use machinist_model::NodeName;
use machinist_nix::StorePath;
use machinist_remote::{Remote, RemoteError, Request, Status};
use machinist_switch::{BootFiles, SwitchFiles};

use super::{Connector, StepError, gather, run};
use crate::{Events, HostFacts, lock::Token, outcome::Verdict, script};

/// Default time limit for a host to come back. Servers test their memory for minutes.
pub const BOUND: Duration = Duration::from_secs(600);

/// Polling interval while a host is down. A boot takes seconds at least.
const EVERY: Duration = Duration::from_millis(500);

/// Returns the files that a system on the host would boot, and those that decide whether the host can be switched to it.
///
/// # Errors
/// The connection fails.
pub fn files_on_host(remote: &dyn Remote, system: &StorePath) -> Result<(BootFiles, SwitchFiles), StepError> {
    let script = script::with(&[("system", system.as_str())], script::BOOT_FILES);
    let output = run(remote, "ask what it would boot", &script, Duration::from_secs(20))?.stdout_text();
    let lines: Vec<&str> = output.lines().collect();
    Ok((BootFiles::from_lines(&lines), SwitchFiles::from_lines(&lines)))
}

/// One reboot of one host.
#[derive(Clone, Debug)]
pub struct Reboot {
    /// The node to reboot.
    pub node: NodeName,
    /// The system that it must run afterwards.
    pub system: StorePath,
    /// Token of the lock under which it happens.
    pub token: Token,
    /// Facts of the host before the reboot.
    pub before: HostFacts,
    /// Time limit until the boot has finished.
    pub bound: Duration,
    /// Time limit of all the node's own gates after that. With zero they are skipped.
    pub gates: Duration,
}

/// The host's response to a reboot request.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Answer {
    /// It still runs the boot that is to end.
    Going,
    /// It runs another boot.
    Back,
    /// It did nothing, because the lock is gone. The reason.
    Lost(String),
    /// It cannot reboot. The reason.
    Refused(String),
}

impl Reboot {
    /// Reboots the host and waits until its boot has finished and its gates are open. Returns a connection to it and
    /// its facts now.
    ///
    /// # Errors
    /// The host does not reboot, is not back in time, or has not booted the expected system.
    pub fn run(
        &self,
        remote: &dyn Remote,
        connector: &Connector,
        events: &Events,
    ) -> Result<(Box<dyn Remote>, HostFacts), StepError> {
        let deadline = Instant::now() + self.bound;
        let fresh = self.until_back(remote, connector)?;
        events.step(&self.node, "is back; waiting for its units and gates");
        let silent = |error: StepError| StepError::NotWell { why: error.to_string(), verdict: Verdict::Unknown };
        let unsettled = self.settle(&*fresh, deadline).map_err(|error| silent(error.into()))?;
        let after = gather(&*fresh).map_err(silent)?;
        match objection(&self.before, &after, &self.system, unsettled) {
            None => Ok((fresh, after)),
            Some(why) => {
                let is_new = after.running.as_ref() == Some(&self.system);
                Err(StepError::NotWell { why, verdict: if is_new { Verdict::Confirmed } else { Verdict::Unknown } })
            }
        }
    }

    /// Reboots the host and waits until it responds in another boot. Each poll repeats the reboot request, because it may have been lost with the connection. An interrupted run
    /// waits too: a reboot cannot be undone once it has begun.
    ///
    /// # Errors
    /// The lock is gone, the host refuses to reboot, or does not come back in time.
    pub fn until_back(&self, remote: &dyn Remote, connector: &Connector) -> Result<Box<dyn Remote>, StepError> {
        let deadline = Instant::now() + self.bound;
        let mut said = match self.tell(remote) {
            Ok(Answer::Lost(why)) => return Err(lost(&why)),
            Ok(Answer::Refused(why)) => return Err(StepError::NotRebooted { why }),
            Ok(_) => "it still shuts down".to_owned(),
            Err(error) => error.to_string(),
        };
        loop {
            if Instant::now() >= deadline {
                let why = format!("no other boot within {} s: {said}", self.bound.as_secs());
                return Err(StepError::NotBack { why });
            }
            thread::sleep(EVERY);
            let asked = connector.connect(&self.node).and_then(|fresh| Ok((self.tell(&*fresh)?, fresh)));
            match asked {
                Ok((Answer::Back, fresh)) => return Ok(fresh),
                Ok((Answer::Lost(why), _)) => return Err(lost(&why)),
                Ok((Answer::Refused(why), _)) => return Err(StepError::NotRebooted { why }),
                Ok((Answer::Going, _)) => "it still shuts down".clone_into(&mut said),
                // A different host key does not go away by waiting.
                Err(
                    error @ (RemoteError::HostKeyChanged { .. }
                    | RemoteError::HostKeyUnknown { .. }
                    | RemoteError::HostKeyOfOther { .. }),
                ) => {
                    return Err(StepError::NotBack { why: error.to_string() });
                }
                Err(error) => said = error.to_string(),
            }
        }
    }

    fn tell(&self, remote: &dyn Remote) -> Result<Answer, RemoteError> {
        let token = self.token.variables();
        let token = token.iter().map(|(name, value)| (*name, value.as_str()));
        let variables: Vec<_> = token.chain([("boot", self.before.boot.as_str())]).collect();
        let script = script::with(&variables, script::REBOOT);
        let output = remote.run(Request::new("reboot", script).timeout(Duration::from_secs(20)))?;
        Ok(answer(&output.stdout_text(), &output.status, &output.stderr_text(), &self.before.boot))
    }

    /// Waits until the boot has finished and the gates are open. Returns the reason if they are not.
    fn settle(&self, remote: &dyn Remote, deadline: Instant) -> Result<Option<String>, RemoteError> {
        let left = deadline.saturating_duration_since(Instant::now()).max(Duration::from_secs(1));
        let (bound, gates) = (left.as_secs().to_string(), self.gates.as_secs().to_string());
        let unwell: Vec<&str> = self.before.unwell().collect();
        let variables = [("bound", bound.as_str()), ("gates", &gates), ("unwell", &unwell.join("\n"))];
        let script = script::with(&variables, script::BOOTED);
        // Services that were restarted have a minute to become stable.
        let output = run(remote, "wait for the boot", &script, left + self.gates + Duration::from_secs(90))?;
        Ok(unsettled(&output.stdout_text()))
    }
}

fn lost(why: &str) -> StepError {
    StepError::Locked(format!("{why}, so it was not rebooted"))
}

fn answer(stdout: &str, status: &Status, stderr: &str, before: &str) -> Answer {
    let value = |key| stdout.lines().find_map(|line| line.strip_prefix(key)).map(str::trim);
    match (value("boot="), value("lost="), status) {
        (Some(boot), _, _) if !boot.is_empty() && boot != before => Answer::Back,
        (_, Some(why), _) => Answer::Lost(why.to_owned()),
        // A signal is the shutdown itself; the script's own shell reports it as a status above 128.
        (_, _, Status::Exited(0 | 129..) | Status::Signaled(_)) => Answer::Going,
        (_, _, status) => {
            let said = stderr.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or("it does not say why");
            Answer::Refused(format!("`systemctl reboot` {status}: {}", said.trim()))
        }
    }
}

/// Returns why the boot has not finished or a gate is closed, as reported by the host.
fn unsettled(said: &str) -> Option<String> {
    let mut lines = said.lines().map(str::trim).filter(|line| !line.is_empty());
    match lines.next().unwrap_or("nothing") {
        // Failed units are reported by name.
        "running" | "degraded" => lines.find_map(|line| match line.split_once(' ')? {
            ("gate", rest) => {
                let (gate, why) = rest.split_once(' ')?;
                Some(format!("the gate {gate} stayed closed: {why}"))
            }
            ("restless", units) => Some(format!("services do not stay up: {units}")),
            _ => None,
        }),
        "maintenance" => Some("it is in rescue or emergency mode".to_owned()),
        state => {
            let jobs: Vec<&str> = lines.collect();
            let jobs = if jobs.is_empty() { String::new() } else { format!(", it waits for {}", jobs.join(", ")) };
            Some(format!("its boot is not over: systemd is {state}{jobs}"))
        }
    }
}

/// Returns why a host that is back is unhealthy. Units that had failed before do not count.
fn objection(before: &HostFacts, after: &HostFacts, system: &StorePath, unsettled: Option<String>) -> Option<String> {
    if after.running.as_ref() != Some(system) {
        let runs = after.running.as_ref().map_or("no system of ours", StorePath::as_str);
        return Some(format!("it has booted {runs} in the place of {system}"));
    }
    let failed: Vec<&str> = after.failed.difference(&before.failed).map(String::as_str).collect();
    let failed = (!failed.is_empty()).then(|| format!("units failed: {}", failed.join(" ")));
    let reasons: Vec<String> = failed.into_iter().chain(unsettled).collect();
    (!reasons.is_empty()).then(|| reasons.join("; "))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::{
        sync::{Arc, Mutex},
        time::Duration,
    };

    use machinist_model::NodeName;
    use machinist_nix::StorePath;
    use machinist_remote::{FakeRemote, Fault, Remote, RemoteError, Status};

    use super::{Answer, Reboot, answer, objection, unsettled};
    use crate::{
        Events, HostFacts,
        lock::Token,
        outcome::Verdict,
        step::{Connect, Connector, StepError},
    };

    fn system(name: &str) -> StorePath {
        StorePath::parse(&format!("/nix/store/0123456789abcdfghijklmnpqrsvwxyz-{name}")).unwrap()
    }

    fn facts(boot: &str, failed: &str) -> HostFacts {
        let failed = failed.split_whitespace().map(str::to_owned).collect();
        HostFacts { boot: boot.to_owned(), running: Some(system("new")), failed, ..HostFacts::default() }
    }

    #[test]
    fn what_the_host_says_is_understood() {
        let check = |stdout: &str, status, expect| assert_eq!(answer(stdout, &status, "a\nno\n", "b1"), expect);
        check("Welcome!\nboot=b1\n", Status::Exited(0), Answer::Going);
        check("boot=b1\n", Status::Signaled("TERM".to_owned()), Answer::Going);
        check("boot=b1\n", Status::Exited(143), Answer::Going);
        check("boot=b2\n", Status::Exited(0), Answer::Back);
        check("boot=b1\nlost=it is gone\n", Status::Exited(0), Answer::Lost("it is gone".to_owned()));
        check(
            "boot=b1\n",
            Status::Exited(1),
            Answer::Refused("`systemctl reboot` exited with status 1: no".to_owned()),
        );
        check("", Status::Exited(0), Answer::Going);
    }

    #[test]
    fn a_boot_is_over_when_systemd_says_so_and_the_gates_are_open() {
        let check = |said: &str, expect: Option<&str>| assert_eq!(unsettled(said).as_deref(), expect);
        check("running\n", None);
        check("degraded\n", None);
        check("running\ngate web no such page\n", Some("the gate web stayed closed: no such page"));
        check("running\nrestless a.service b.service \n", Some("services do not stay up: a.service b.service"));
        check("maintenance\n", Some("it is in rescue or emergency mode"));
        check(
            "starting\na.mount\nb.service\n",
            Some("its boot is not over: systemd is starting, it waits for a.mount, b.service"),
        );
        check("", Some("its boot is not over: systemd is nothing"));
    }

    #[test]
    fn what_failed_newly_or_is_another_system_is_objected_to() {
        let before = facts("b1", "old.service");
        assert_eq!(objection(&before, &facts("b2", "old.service"), &system("new"), None), None);
        let late = Some("late".to_owned());
        let failed = objection(&before, &facts("b2", "old.service x.service"), &system("new"), late);
        assert_eq!(failed.as_deref(), Some("units failed: x.service; late"));
        let other = objection(&before, &facts("b2", ""), &system("newer"), None).unwrap();
        assert!(other.starts_with("it has booted /nix/store/") && other.ends_with("-newer"), "{other}");
    }

    /// Hands out scripted connections one after another.
    struct Scripted(Mutex<Vec<FakeRemote>>);

    impl Connect for Scripted {
        fn connect(&self, node: &NodeName) -> Result<Box<dyn Remote>, RemoteError> {
            let next = self.0.lock().unwrap().pop();
            let gone = || FakeRemote::new(node.as_str()).fail_call(1, Fault::ConnectionLost);
            Ok(Box::new(next.unwrap_or_else(gone)))
        }
    }

    fn reboot(bound: u64, mut connections: Vec<FakeRemote>) -> Result<HostFacts, StepError> {
        let reboot = Reboot {
            node: NodeName::parse("a").unwrap(),
            system: system("new"),
            token: Token { fence: 1, run: "r".to_owned() },
            before: facts("b1", ""),
            bound: Duration::from_secs(bound),
            gates: Duration::ZERO,
        };
        connections.reverse();
        let first = connections.pop().unwrap();
        let connector: Connector = Arc::new(Scripted(Mutex::new(connections)));
        reboot.run(&first, &connector, &Events::new(drop)).map(|(_, after)| after)
    }

    fn host(boot: &str) -> FakeRemote {
        let told = format!("boot={boot}\n");
        let facts = format!("boot={boot}\nrunning={}\n", system("new"));
        let host = FakeRemote::new("a").answer("gather", 0, &facts, "");
        host.answer("wait for the boot", 0, "running\n", "").answer("systemctl reboot", 0, &told, "")
    }

    #[test]
    fn the_same_boot_is_not_taken_for_another_one() {
        let lost = || FakeRemote::new("a").fail_call(1, Fault::ConnectionLost);
        let after = reboot(30, vec![host("b1"), host("b1"), lost(), host("b2")]).unwrap();
        assert_eq!(after.boot, "b2");
    }

    #[test]
    fn a_host_that_does_not_come_back_is_given_up_after_the_bound() {
        let error = reboot(1, vec![host("b1")]).unwrap_err();
        assert!(error.to_string().contains("no other boot within 1 s"), "{error}");
    }

    #[test]
    fn a_host_that_is_back_and_still_boots_is_not_well() {
        let late = host("b2").answer("wait for the boot", 0, "starting\nx.service\n", "");
        let error = reboot(30, vec![host("b1"), late]).unwrap_err();
        assert!(
            matches!(&error, StepError::NotWell { why, verdict: Verdict::Confirmed } if why.ends_with("it waits for x.service")),
            "{error}"
        );
    }

    #[test]
    fn a_host_whose_lock_is_gone_is_left_alone() {
        let taken = FakeRemote::new("a").answer("systemctl reboot", 0, "boot=b1\nlost=ann@desk\n", "");
        assert!(matches!(reboot(30, vec![taken]), Err(StepError::Locked(_))));
    }

    /// Runs the real script with a fake systemctl.
    #[test]
    fn the_gates_of_the_system_that_was_booted_are_asked() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let put = |name: &str, text: &str| {
            let path = folder.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(&path, text).unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
            path.display().to_string()
        };
        put("sw/bin/systemctl", "#!/bin/sh\n[ \"$1\" = show ] || echo running\n");
        let open = put("open", "#!/bin/sh\nexit 0\n");
        let closed = put("closed", "#!/bin/sh\necho first\necho the reason\necho\nexit 7\n");
        let hangs = put("hangs", "#!/bin/sh\nexec sleep 9\n");
        let check = |gates: &str, bound: &str, expect: Option<&str>| {
            put("etc/machinist/gates", gates);
            let script = crate::script::BOOTED.replace("/run/current-system", &folder.path().display().to_string());
            let script = script.replace("quiet_first=3", "quiet_first=0");
            let script = crate::script::with(&[("bound", "5"), ("gates", bound), ("unwell", "")], &script);
            let output = std::process::Command::new("sh").args(["-c", &script]).output().unwrap();
            assert_eq!(unsettled(&String::from_utf8(output.stdout).unwrap()).as_deref(), expect);
        };
        check(&format!("a 1 {open}\nb 1 {open}\n"), "9", None);
        check(&format!("a 1 {open}\nb 1 {closed}\n"), "9", Some("the gate b stayed closed: the reason"));
        check(&format!("c 1 {hangs}\n"), "9", Some("the gate c stayed closed: it does not answer"));
        check(&format!("b 99 {closed}\n"), "1", Some("the gate b stayed closed: the reason"));
        check(&format!("b 1 {closed}\n"), "0", None);
    }
}
