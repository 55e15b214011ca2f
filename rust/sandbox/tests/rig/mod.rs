//! A sandbox for a test, and inspection of its traces on the host.

use std::{
    fs,
    net::{IpAddr, Ipv4Addr},
    process::{Command, Output},
    sync::Mutex,
    thread,
    time::{Duration, Instant},
};

use machinist_sandbox::{
    DEFAULT_CACHE_DIR, Event, MachineSpec, MachineState, Report, SandboxSpec, Status, down, status, up,
};
use machinist_testkit::skip::is_root_or_skipped;

/// A separate sandbox, which is removed however the test ends.
pub struct Rig {
    pub spec: SandboxSpec,
    pub directory: tempfile::TempDir,
}

impl Drop for Rig {
    fn drop(&mut self) {
        let _ = down(&self.spec.state_dir, &|_| ());
    }
}

impl Rig {
    /// Returns `None`, and reports the test as skipped, without root: namespaces and mounts need it.
    pub fn new(cluster: &str, subnet: u8, machines: &[&str]) -> Option<Self> {
        if !is_root_or_skipped() {
            return None;
        }
        // On a disk: not every kind of /tmp can hold an overlay's upper directory.
        let directory = tempfile::Builder::new().prefix("machinist-sandbox-").tempdir_in("/var/tmp").unwrap();
        let key = directory.path().join("id");
        run(Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(&key));
        let public = fs::read_to_string(directory.path().join("id.pub")).unwrap().trim().to_owned();
        let machine = |(index, name): (usize, &&str)| {
            let ip = Ipv4Addr::new(10, 97, subnet, u8::try_from(index).unwrap() + 1);
            MachineSpec::new(name, ip.into(), std::slice::from_ref(&public))
        };
        let spec = SandboxSpec {
            cluster: cluster.to_owned(),
            network: format!("10.97.{subnet}.0/24").parse().unwrap(),
            reserved: Vec::new(),
            machines: machines.iter().enumerate().map(machine).collect(),
            state_dir: directory.path().join("state"),
            cache_dir: DEFAULT_CACHE_DIR.into(),
        };
        Some(Self { spec, directory })
    }

    pub fn up(&self) -> (Report, Vec<Event>) {
        let events = Mutex::new(Vec::new());
        let result = up(&self.spec, &|event| events.lock().unwrap().push(event));
        let report = result.unwrap_or_else(|error| panic!("{error}, hint: {:?}", error.hint()));
        // The pins that a user would have: exactly the reported keys.
        let pins: String =
            report.machines.iter().map(|machine| format!("{} {}\n", machine.ip, machine.host_key)).collect();
        fs::write(self.directory.path().join("known_hosts"), pins).unwrap();
        (report, events.into_inner().unwrap())
    }

    pub fn status(&self) -> Status {
        status(&self.spec.state_dir).unwrap()
    }

    pub fn state_of(&self, machine: &str) -> MachineState {
        self.status().machines.into_iter().find(|found| found.name == machine).unwrap().state
    }

    pub fn ip(&self, machine: &str) -> IpAddr {
        self.spec.machines.iter().find(|spec| spec.name == machine).unwrap().ip
    }

    pub fn try_ssh(&self, machine: &str, command: &str) -> Output {
        let ip = self.ip(machine);
        let directory = self.directory.path().display();
        Command::new("timeout")
            .args(["60", "nsenter", &format!("--net=/run/netns/mch-{}._operator", self.spec.cluster), "ssh"])
            .args([
                "-F",
                "none",
                "-i",
                &format!("{directory}/id"),
                "-o",
                &format!("UserKnownHostsFile={directory}/known_hosts"),
            ])
            .args(["-o", "StrictHostKeyChecking=yes", "-o", "BatchMode=yes", "-o", "ConnectTimeout=3"])
            .args([&format!("root@{ip}"), command])
            .output()
            .unwrap()
    }

    #[track_caller]
    pub fn ssh(&self, machine: &str, command: &str) -> String {
        let output = self.try_ssh(machine, command);
        assert!(output.status.success(), "{machine}: {command}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    #[track_caller]
    pub fn check_nothing_is_left(&self) {
        let prefix = format!("mch-{}.", self.spec.cluster);
        assert_eq!(entries_with("/run/netns", &prefix), [""; 0]);
        assert_eq!(entries_with(&cgroups(), &prefix), [""; 0]);
        let state = self.spec.state_dir.display().to_string();
        assert!(!fs::read_to_string("/proc/self/mountinfo").unwrap().contains(&state), "a mount is left");
        assert_eq!(processes_with(&state), [0; 0]);
        assert!(!self.spec.state_dir.exists(), "the state directory is left");
    }
}

pub fn run(command: &mut Command) -> String {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn cgroups() -> String {
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap();
    let line = mounts.lines().find(|line| line.contains(" cgroup2 ")).unwrap().to_owned();
    line.split(' ').nth(1).unwrap().to_owned()
}

fn entries_with(directory: &str, prefix: &str) -> Vec<String> {
    let names = fs::read_dir(directory).into_iter().flatten().flatten();
    let names = names.map(|entry| entry.file_name().into_string().unwrap_or_default());
    names.filter(|name| name.starts_with(prefix)).collect()
}

/// Processes whose arguments contain `text`, except this one and zombies.
pub fn processes_with(text: &str) -> Vec<u32> {
    let pids = fs::read_dir("/proc").unwrap().flatten();
    let pids = pids.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    pids.filter(|pid| *pid != std::process::id())
        .filter(|pid| {
            String::from_utf8_lossy(&fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default()).contains(text)
        })
        .collect()
}

pub fn kill(pid: u32) {
    run(Command::new("kill").args(["-9", &pid.to_string()]));
}

#[track_caller]
pub fn wait_for(what: &str, is_true: impl Fn() -> bool) {
    let started = Instant::now();
    while !is_true() {
        assert!(started.elapsed() < Duration::from_secs(60), "{what}: not within a minute");
        thread::sleep(Duration::from_millis(50));
    }
}

/// Addresses and routes of the host's own namespace.
pub fn host_network() -> String {
    let ip = |what: &[&str]| run(Command::new("ip").args(["-o"]).args(what));
    format!("{}{}{}", ip(&["address", "show", "up"]), ip(&["route"]), ip(&["-6", "route"]))
        // The remaining lifetime of a leased address decreases.
        .split_whitespace()
        .filter(|word| !word.ends_with("sec"))
        .collect::<Vec<_>>()
        .join(" ")
}
