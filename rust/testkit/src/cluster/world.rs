//! State of all fake hosts, and the answer to each request.

use std::{collections::BTreeMap, net::IpAddr};

use machinist_model::NodeName;
use machinist_nix::StorePath;

use super::{
    activation::Activation,
    etcd::Etcd,
    host::{FakeHost, Member},
    lock::Token,
    script::variable,
};

/// All hosts, and the etcd of their members.
#[derive(Clone, Debug, Default)]
pub struct World {
    /// The hosts.
    pub hosts: BTreeMap<NodeName, FakeHost>,
    pub(super) etcd: Etcd,
}

/// Exit status of a script that does not run because the lock is lost.
const LOST: i32 = 75;

/// Result of a script.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answer {
    /// The exit status.
    pub status: i32,
    /// Its standard output.
    pub stdout: String,
    /// Its standard error.
    pub stderr: String,
}

impl Answer {
    fn of(stdout: impl Into<String>) -> Self {
        Self { stdout: stdout.into(), ..Self::default() }
    }

    fn failure(status: i32, stderr: impl Into<String>) -> Self {
        Self { status, stderr: stderr.into(), ..Self::default() }
    }
}

impl World {
    /// Returns the addresses of the etcd members.
    #[must_use]
    pub const fn members(&self) -> &BTreeMap<NodeName, IpAddr> {
        &self.etcd.addresses
    }

    /// Returns the leader.
    #[must_use]
    pub fn leader(&mut self) -> Option<NodeName> {
        self.etcd.elect(&self.hosts);
        self.etcd.leader.clone()
    }

    /// Answers a request. `None` for a request that this host does not support.
    pub(super) fn answer(&mut self, node: &NodeName, label: &str, script: &str, input: &str) -> Option<Answer> {
        self.etcd.elect(&self.hosts);
        let host = self.hosts.get_mut(node)?;
        Some(match label {
            "gather facts" => Answer::of(host.facts()),
            "look at the lock" => Answer::of(host.look(node.as_str())),
            "take the lock" | "renew the lock" | "release the lock" => change_lock(node, host, label, script),
            "look for the system" | "ask for missing paths" => Answer::of(missing(host, input)),
            "ask what it would boot" => {
                let system = variable(script, "system").and_then(|path| StorePath::parse(&path).ok());
                Answer::of(format!("{}\n{}\n", host.switch_files(system.as_ref()), host.boot_files(system.as_ref())))
            }
            "read the version of Kubernetes" => Answer::default(),
            "read the version of etcd" if script.contains("nix-store") => Answer::default(),
            "read the version of etcd" => Answer::of(host.etcd_unit(script)),
            "ask about the boot loader" => {
                Answer::of(host.loader.clone().unwrap_or_else(|| "loader=systemd-boot\n".to_owned()))
            }
            "install it for the next boot" => boot_once(host, script),
            "give the trial up" => give_up(host, script),
            "start the activation" => start(host, script, input),
            "wait for the activation" => wait(host, script),
            "tell it to go back" => abort(host, script),
            "fetch the journal" => Answer::of("  it does not start\n"),
            "reboot" => reboot(host, script),
            "wait for the boot" => Answer::of("running\n"),
            "ask etcd" | "move the leader" | "remove a member" => return Some(self.ask_etcd(node, label, script)),
            _ if label.starts_with("import ") => {
                host.missing.clear();
                Answer::default()
            }
            _ => return None,
        })
    }

    fn ask_etcd(&mut self, node: &NodeName, label: &str, script: &str) -> Answer {
        let Some(host) = self.hosts.get(node).filter(|host| host.member.as_ref().is_some_and(Member::answers)) else {
            return Answer::failure(1, "Error: context deadline exceeded");
        };
        if label == "ask etcd" {
            return Answer::of(self.etcd.report(&self.hosts));
        }
        if !host.lock.holds(&Token::of(script)) {
            return Answer::failure(LOST, host.lock.gone());
        }
        if label == "remove a member" {
            return self.remove_member(script);
        }
        match self.member(script, "heir") {
            Some(heir) if self.etcd.leader.as_ref() == Some(node) => {
                self.etcd.leader = Some(heir);
                Answer::default()
            }
            _ => Answer::failure(1, "Error: etcdserver: not leader"),
        }
    }

    /// Returns the host of the member whose identifier is in a script's variable, hexadecimal.
    fn member(&self, script: &str, name: &str) -> Option<NodeName> {
        let id = u64::from_str_radix(&variable(script, name)?, 16).ok()?;
        let has_id = |host: &FakeHost| host.member.as_ref().is_some_and(|member| member.id == id);
        self.hosts.iter().find(|(_, host)| has_id(host)).map(|(name, _)| name.clone())
    }

    fn remove_member(&mut self, script: &str) -> Answer {
        let Some(node) = self.member(script, "id") else {
            return Answer::failure(1, "Error: etcdserver: member not found");
        };
        self.etcd.addresses.remove(&node);
        if let Some(host) = self.hosts.get_mut(&node) {
            host.member = None;
        }
        Answer::default()
    }
}

fn change_lock(node: &NodeName, host: &mut FakeHost, label: &str, script: &str) -> Answer {
    let boot = host.boot();
    let token = Token::of(script);
    let done = match label {
        "take the lock" => host.lock.take(script, &boot),
        "renew the lock" => host.lock.renew(&token),
        _ => host.lock.release(&token),
    };
    let verdict = if done { "done" } else { "lost" };
    Answer::of(format!("verdict={verdict}\n{}", host.look(node.as_str())))
}

/// Returns the listed paths that the store is missing, on disk or in its database.
fn missing(host: &FakeHost, listing: &str) -> String {
    let missing = listing.lines().filter(|path| host.missing.contains(*path));
    missing.map(|path| format!("{path}\n!{path}\n")).collect()
}

fn start(host: &mut FakeHost, script: &str, input: &str) -> Answer {
    let path = |name: &str| variable(input, name).and_then(|path| StorePath::parse(&path).ok());
    let (Some(unit), Some(new)) = (variable(script, "unit"), path("new")) else {
        return Answer::failure(1, "the activation did not arrive whole");
    };
    if host.missing.contains(new.as_str()) {
        return Answer::failure(1, format!("{new}/bin/switch-to-configuration: not found"));
    }
    let (token, old) = (Token::of(input), path("old"));
    let trial = variable(input, "trial").as_deref() == Some("yes");
    let unwell = variable(input, "unwell_before").unwrap_or_default();
    host.activate(Activation { unit, token, new, old, trial, unwell, state: String::new() });
    Answer::default()
}

fn wait(host: &mut FakeHost, script: &str) -> Answer {
    if script.contains("\"$directory/confirm\"") {
        host.confirm(&Token::of(script));
    }
    let passing = variable(script, "passing").unwrap_or_default();
    if let Some(activation) = host.activation.as_ref().filter(|activation| activation.is_running()) {
        // A real host notices these a moment later.
        if !host.lock.belongs(&activation.token) {
            host.revert(&host.lock.gone());
        } else if passing.split('|').any(|state| state == "waiting") {
            host.revert("no confirmation came over a fresh connection within 120 s");
        }
    }
    let (run, new) = (variable(script, "run").unwrap_or_default(), variable(script, "new").unwrap_or_default());
    let ended = |state: &&str| state.starts_with("reverted") || state.starts_with("confirmed");
    let state = match &host.activation {
        Some(activation) => activation.state.as_str(),
        None => host.recorded(&run, &new).filter(ended).unwrap_or("gone"),
    };
    Answer::of(format!("{state}\n"))
}

fn boot_once(host: &mut FakeHost, script: &str) -> Answer {
    let token = Token::of(script);
    if !host.lock.holds(&token) {
        return Answer::failure(1, host.lock.gone());
    }
    let Some(new) = variable(script, "new").and_then(|path| StorePath::parse(&path).ok()) else {
        return Answer::failure(1, "no system");
    };
    host.boot_once(&variable(script, "run").unwrap_or_default(), &new);
    Answer::of("loader=systemd-boot\nentry=nixos-generation-2.conf\n")
}

fn give_up(host: &mut FakeHost, script: &str) -> Answer {
    if !host.lock.holds(&Token::of(script)) {
        return Answer::failure(LOST, host.lock.gone());
    }
    host.give_up(&variable(script, "words").unwrap_or_default());
    Answer::of("  boot: kernel panic\n")
}

fn abort(host: &mut FakeHost, script: &str) -> Answer {
    if !host.lock.holds(&Token::of(script)) {
        return Answer::failure(LOST, host.lock.gone());
    }
    host.revert(&variable(script, "words").unwrap_or_default());
    Answer::default()
}

fn reboot(host: &mut FakeHost, script: &str) -> Answer {
    let boot = host.boot();
    if variable(script, "boot").as_deref() == Some(&boot) {
        if !host.lock.holds(&Token::of(script)) {
            return Answer::of(format!("boot={boot}\nlost={}\n", host.lock.gone()));
        }
        host.restart();
    }
    Answer::of(format!("boot={boot}\n"))
}
