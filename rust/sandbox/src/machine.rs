//! Life cycle of one machine: start, stop, reboot.

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    process::Stdio,
    thread,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use rustix::process::Signal;

use super::{
    cgroup,
    end::End,
    error::Error,
    event::{Event, Events},
    file::{remove_file, write},
    lock::{LOCK_WITHIN, Lock, lock_file},
    names, network,
    probe::{self, Probe},
    process, programs,
    record::{Record, machine_dir},
    root::tail,
};

/// Time limit from the start of a machine to its sshd's banner; 0.4 s alone, more with many at once or a deployed
/// system.
pub(super) const READY_WITHIN: Duration = Duration::from_secs(90);

/// Time limit from SIGKILL to the end of all processes.
pub(super) const KILL_WITHIN: Duration = Duration::from_secs(20);

/// Time limit from the start of the supervisor to the machine's network.
const CONNECT_WITHIN: Duration = Duration::from_secs(20);

/// Time limit of an orderly shutdown; systemd gives a unit 90 s.
const STOP_WITHIN: Duration = Duration::from_secs(100);

/// A machine in the record of a sandbox.
#[derive(Debug, Clone, Copy)]
pub(super) struct Machine<'a> {
    pub record: &'a Record,
    pub state_dir: &'a Path,
    pub name: &'a str,
}

impl Machine<'_> {
    pub fn directory(&self) -> PathBuf {
        machine_dir(self.state_dir, self.name)
    }

    pub fn group(&self) -> PathBuf {
        self.record.group(self.name)
    }

    pub fn namespace(&self) -> String {
        names::machine(&self.record.cluster, self.name)
    }

    pub fn processes(&self) -> process::Processes {
        process::of_machine(&self.group(), &self.directory())
    }

    /// Starts the supervisor, which outlives this program, replacing anything left of the previous one.
    pub fn launch(&self) -> Result<(), Error> {
        // The group ends first, then comes the new launch id, then the new group: a supervisor started earlier has no
        // group to enter, or finds that another one has replaced it.
        self.kill()?;
        let directory = self.directory();
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let launch = format!("{}-{}", std::process::id(), now.as_nanos());
        write(&directory.join("launch"), launch.as_bytes(), 0o644)?;
        for file in ["supervisor", "exit", "connected"] {
            remove_file(&directory.join(file))?;
        }
        let log = directory.join("log");
        match fs::rename(&log, directory.join("log.old")) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(Error::io("rename", &log)(error)),
            _ => {}
        }
        let output = File::create(&log).map_err(Error::io("write", &log))?;
        let errors = output.try_clone().map_err(Error::io("write", &log))?;
        cgroup::create(&self.group())?;
        let supervise = supervise_file(self.state_dir);
        let (supervise, directory) = (supervise.display().to_string(), directory.display().to_string());
        let arguments = ["--fork", &supervise, &directory, &launch];
        let mut command = programs::command("setsid", &arguments);
        // A machine inherits none of the caller's variables.
        command.env_clear().env("PATH", programs::search_path()).current_dir("/");
        let status = command.stdout(Stdio::from(output)).stderr(Stdio::from(errors)).status();
        let message = match status {
            Ok(status) if status.success() => return Ok(()),
            Ok(status) => status.to_string(),
            Err(error) => error.to_string(),
        };
        Err(Error::Program { program: format!("setsid {}", arguments.join(" ")), message })
    }

    /// Waits until sshd answers.
    pub fn wait_until_ready(&self) -> Result<(), Error> {
        self.wait_for_network()?;
        let own = self.record.machine(self.name)?;
        let operator = network::path(&names::operator(&self.record.cluster));
        let (exit, group) = (self.directory().join("exit"), self.group());
        let is_alive = || !exit.exists() && !cgroup::processes(&group).is_empty();
        match probe::wait(&operator, (own.ip, own.ssh_port), READY_WITHIN, &is_alive)? {
            Probe::Ready => Ok(()),
            Probe::Gone => Err(Error::Ended { log: self.log() }),
            Probe::Late => {
                Err(Error::NoAnswer { ip: own.ip, port: own.ssh_port, within: READY_WITHIN, log: self.log() })
            }
        }
    }

    /// Before the machine is on the network, connecting to its address would only add a failed neighbour entry to the
    /// kernel's cache.
    fn wait_for_network(&self) -> Result<(), Error> {
        let directory = self.directory();
        let started = Instant::now();
        while !directory.join("connected").exists() {
            if directory.join("exit").exists() || started.elapsed() > CONNECT_WITHIN {
                return Err(Error::Ended { log: self.log() });
            }
            thread::sleep(Duration::from_millis(5));
        }
        Ok(())
    }

    /// Kills all processes of the machine at once, as a power failure does.
    pub fn kill(&self) -> Result<(), Error> {
        cgroup::kill(&self.group(), KILL_WITHIN)
    }

    /// Requests a shutdown from process 1, and kills the machine if it exceeds the time limit.
    pub fn power_off(&self) -> Result<(), Error> {
        let group = self.group();
        // nspawn translates the signal to the one that makes systemd power off.
        let nspawn = self.processes().nspawn;
        if nspawn.is_some_and(|nspawn| process::signal(&group, nspawn, Signal::TERM))
            && cgroup::wait_until_empty(&group, STOP_WITHIN).is_ok()
        {
            return Ok(());
        }
        self.kill()
    }

    /// Returns how the container ended; `None` after a power failure or during a start.
    pub fn end(&self) -> Option<End> {
        let status = fs::read_to_string(self.directory().join("exit")).ok()?.trim().parse().ok()?;
        Some(End { status, last_words: self.log() })
    }

    fn log(&self) -> String {
        tail(&self.directory().join("log"), 12)
    }
}

/// Starts a stopped machine and waits for its sshd; a running one is left alone.
///
/// # Errors
/// No machine of this name, or it did not get ready.
pub fn start(state_dir: &Path, machine: &str, events: Events<'_>) -> Result<(), Error> {
    with_machine(state_dir, machine, events, |machine| {
        if machine.processes().supervisor.is_none() {
            events(Event::Starting { machine: machine.name.to_owned() });
            machine.launch()?;
        }
        ready(&machine, events)
    })
}

/// Stops a machine and keeps its state: by an orderly shutdown, or with `pull_the_plug` at once, as a power failure
/// does.
///
/// # Errors
/// No machine of this name, or its processes do not end.
pub fn stop(state_dir: &Path, machine: &str, pull_the_plug: bool, events: Events<'_>) -> Result<(), Error> {
    with_machine(state_dir, machine, events, |machine| if pull_the_plug { machine.kill() } else { machine.power_off() })
}

/// Returns the last lines of a machine's console, at most 12. None if there is no such machine, or it has printed nothing.
#[must_use]
pub fn console(state_dir: &Path, machine: &str) -> Option<String> {
    Record::existing(state_dir).ok()?.machine(machine).ok()?;
    Some(tail(&machine_dir(state_dir, machine).join("log"), 12)).filter(|said| !said.is_empty())
}

/// Reboots a machine in an orderly way and waits for its sshd.
///
/// # Errors
/// No machine of this name, it is not running, or it did not get ready again.
pub fn reboot(state_dir: &Path, machine: &str, events: Events<'_>) -> Result<(), Error> {
    with_machine(state_dir, machine, events, |machine| {
        let before = machine.processes();
        let Some(leader) = before.leader.filter(|_| before.supervisor.is_some()) else {
            return Err(Error::NotRunning { machine: machine.name.to_owned() });
        };
        // systemd(1): SIGINT starts ctrl-alt-del.target, which is reboot.target.
        process::signal(&machine.group(), leader, Signal::INT);
        let started = Instant::now();
        while machine.processes().leader == Some(leader) {
            if started.elapsed() > STOP_WITHIN {
                return Err(Error::StillAlive { path: machine.group(), within: STOP_WITHIN });
            }
            thread::sleep(Duration::from_millis(10));
        }
        ready(&machine, events)
    })
}

/// Waits until a started machine's sshd answers, and reports it.
pub(super) fn ready(machine: &Machine<'_>, events: Events<'_>) -> Result<(), Error> {
    let started = Instant::now();
    machine.wait_until_ready()?;
    events(Event::Ready { machine: machine.name.to_owned(), took: started.elapsed() });
    Ok(())
}

/// Runs `action` on a machine while holding the sandbox's lock.
pub(super) fn with_machine(
    state_dir: &Path,
    name: &str,
    events: Events<'_>,
    action: impl FnOnce(Machine<'_>) -> Result<(), Error>,
) -> Result<(), Error> {
    Record::existing(state_dir)?;
    let _lock = Lock::acquire(&lock_file(state_dir), LOCK_WITHIN, events)?;
    let record = Record::existing(state_dir)?;
    record.machine(name)?;
    action(Machine { record: &record, state_dir, name })
}

/// Returns the path of the supervisor's script.
pub(super) fn supervise_file(state_dir: &Path) -> PathBuf {
    state_dir.join("supervise")
}
