//! Every command that machinist runs on a node, and the rights that it needs.
//!
//! [`COMMANDS`] is the list; connections refuse a command that is not in it while tests run. [`READING`] are the scripts
//! that a key which may only read can run: `modules/privileges` checks them by their digests on the node.

use std::{fmt::Write as _, sync::Arc};

use machinist_etcd::etcd;
use machinist_remote::{Endpoint, Output, Remote, RemoteError, Request, Tunnel};
use machinist_rollout::{host, script, software, step::copy};
use serde::Serialize;
use sha2::{Digest as _, Sha256};

use crate::reach;

/// Rights that a command needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Level {
    /// It changes nothing, and reads no private key: a key of `machinist.readers` may run it.
    Read,
    /// It reads what is secret, or runs a program that the caller names, but changes nothing by itself.
    Inspect,
    /// It changes the node. Whoever may activate a system may do everything.
    Deploy,
    /// It is the operator's own command or file.
    Operator,
}

impl Level {
    /// Returns the word for lists.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Inspect => "inspect",
            Self::Deploy => "deploy",
            Self::Operator => "operator",
        }
    }
}

/// A command that runs on nodes.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Command {
    /// Its name in errors; `*` stands for words that differ.
    pub name: &'static str,
    /// Rights that it needs.
    pub level: Level,
    /// The commands of machinist that run it.
    pub used_by: &'static str,
    /// Its effect on the node.
    pub effect: &'static str,
}

const fn row(name: &'static str, level: Level, used_by: &'static str, effect: &'static str) -> Command {
    Command { name, level, used_by, effect }
}

use Level::{Deploy, Inspect, Operator, Read};

/// All commands, by their rights.
pub const COMMANDS: &[Command] = &[
    row("gather facts", Read, "most", "prints systems, units, free space and names of keys"),
    row("look at the lock", Read, "deploy, unlock", "prints the lock and its holder"),
    row(
        "ask etcd",
        Read,
        "status, drift, plan, deploy",
        "prints members, leader and sizes, by etcdctl with the node's certificate",
    ),
    row("ask for drift", Read, "drift", "prints files that differ from the system"),
    row("ask for units", Read, "plan, deploy", "prints units with their files, and the closure of the system"),
    row("ask for missing paths", Read, "plan, deploy", "prints which store paths are missing"),
    row("look for the system", Read, "rollback, deploy", "prints whether a store path is there"),
    row("ask about the boot loader", Read, "plan, deploy", "prints the boot loader's kind and its default"),
    row("list the generations", Read, "rollback", "prints the generations of the system profile"),
    row("list certificates", Read, "certs rotate-ca", "prints the public certificates"),
    row("read the versions of the system", Read, "upgrade", "prints versions of NixOS, kernel, systemd and etcd"),
    row("journalctl", Read, "logs", "prints entries of the journal"),
    row("ask what it would boot", Inspect, "deploy, rollback", "prints boot files of a store path"),
    row("dry-activate", Inspect, "plan", "runs `switch-to-configuration dry-activate` of a system that the node has"),
    row("fetch the journal", Inspect, "deploy, rollback", "prints the last lines of units that failed"),
    row("ask for the closures", Inspect, "build, deploy", "prints the closure of a system that it built"),
    row("export * paths", Inspect, "deploy", "sends store paths"),
    row(
        "examine the machine",
        Inspect,
        "install, node replace",
        "prints memory, disks with their contents, networks and drivers of the system that will be replaced",
    ),
    row("read interfaces", Inspect, "provision", "prints network interfaces with their addresses"),
    row("list units", Inspect, "rehearse", "prints units"),
    row("read the log of a unit", Inspect, "rehearse", "prints lines of the journal"),
    row("read the version of etcd", Inspect, "deploy", "prints the version of the etcd of a system that the node has"),
    row("read the version of Kubernetes", Inspect, "deploy", "asks its own API server"),
    row(
        "ask the node's agent",
        Deploy,
        "deploy",
        "takes instances of applications out of the mesh, and puts them back",
    ),
    row("ask etcd for its users and roles", Inspect, "deploy", "prints etcd's users and roles"),
    row("read from etcd", Inspect, "etcd get, etcd ls, app", "prints keys and values, those of Secrets too"),
    row("watch etcd", Inspect, "etcd watch", "prints changes of keys"),
    row("take a snapshot of etcd", Inspect, "etcd snapshot, deploy", "sends all data of etcd"),
    row("list the snapshots", Inspect, "etcd snapshots, etcd restore", "prints the snapshots on the member's disk"),
    row("read the snapshot", Inspect, "etcd restore", "sends a snapshot"),
    row("read the members in etcd's data", Inspect, "etcd verify, deploy", "reads a copy of the member's data"),
    row("ask about the restore", Inspect, "etcd restore", "prints its state"),
    row("reach the new address", Inspect, "node readdress", "connects to another member"),
    row("ask what is left of an application", Inspect, "app list", "prints its data directories"),
    row("ask for the units of an application", Inspect, "app show", "prints its units"),
    row(
        "describe the node for a test",
        Inspect,
        "test",
        "prints its addresses in the overlay, instances, and hosts of the ingress",
    ),
    row("ping other nodes", Inspect, "test", "sends pings in the overlay"),
    row("request applications", Inspect, "test", "sends requests to applications, those of their health checks"),
    row("query the agent", Inspect, "test", "prints the status and the routing of its agent"),
    row("run a gate", Inspect, "test", "runs a gate of machines.nix, as its activation does"),
    row("query the API server of k3s", Inspect, "test", "requests /readyz, with the administrator's certificate"),
    row("list the nodes of k3s", Inspect, "test", "prints the nodes of Kubernetes"),
    row("read from a database", Inspect, "test", "reads the row of a test"),
    row(
        "write and read through etcd",
        Deploy,
        "test",
        "writes a key below machinist/test/ with a lease, and removes it",
    ),
    row(
        "write keys to etcd with a lease",
        Deploy,
        "test",
        "writes three keys of a mesh's routing for a minute at most",
    ),
    row("remove keys from etcd with their lease", Deploy, "test", "removes these keys"),
    row("write to a database", Deploy, "test", "creates the database or key machinist_test_*, for two minutes at most"),
    row("remove from a database", Deploy, "test", "removes it"),
    row("take the lock", Deploy, "deploy, unlock", "writes /var/lib/machinist/lock"),
    row("renew the lock", Deploy, "deploy", "writes /var/lib/machinist/lock"),
    row("release the lock", Deploy, "deploy", "writes /var/lib/machinist/lock"),
    row("put *", Deploy, "deploy, upload", "writes a file: private keys, or that of `upload`"),
    row("import * paths (*)", Deploy, "deploy", "adds store paths without a signature, as root may"),
    row("fetch * paths from the host's own substituters", Deploy, "deploy", "adds store paths of its caches"),
    row("build the system of *", Deploy, "deploy --build-on target", "builds derivations"),
    row("serve other nodes", Deploy, "deploy --fan-out", "starts a unit that sends store paths to other nodes"),
    row("stop serving other nodes", Deploy, "deploy --fan-out", "stops it"),
    row("fetch from another node", Deploy, "deploy --fan-out", "adds store paths of another node"),
    row(
        "start the activation",
        Deploy,
        "deploy, rollback",
        "starts a unit that activates a system as root: any program in it runs",
    ),
    row("wait for the activation", Deploy, "deploy, rollback", "prints its state, and confirms it"),
    row("tell it to go back", Deploy, "deploy, rollback", "makes the activation revert"),
    row("install it for the next boot", Deploy, "deploy --reboot auto", "installs a system for one boot"),
    row("give the trial up", Deploy, "deploy --reboot auto", "removes it from the boot loader"),
    row("collect garbage", Deploy, "gc", "deletes generations and store paths, and writes the boot loader's menu"),
    row("reboot", Deploy, "deploy --reboot auto", "reboots"),
    row("wait for the boot", Deploy, "deploy --reboot auto", "prints units, and confirms the boot"),
    row("register the store", Deploy, "rehearse", "loads store paths on a machine of this computer"),
    row("add a learner", Deploy, "node join, node replace", "changes etcd's members"),
    row("promote the learner", Deploy, "node join, node replace", "changes etcd's members"),
    row("remove a member", Deploy, "node remove, node replace", "changes etcd's members"),
    row("write a member again", Deploy, "etcd verify", "writes a member's entry again"),
    row("change the address of a member", Deploy, "node readdress", "changes etcd's members"),
    row("remove the old address", Deploy, "node readdress", "removes an address of an interface"),
    row("start etcd", Deploy, "node join, etcd restore", "starts the unit"),
    row("put the data of etcd aside", Deploy, "node remove, node replace", "stops etcd and renames its data"),
    row("move the leader", Deploy, "deploy", "moves etcd's leadership"),
    row("hand the leadership over", Deploy, "etcd defrag", "moves etcd's leadership"),
    row("compact etcd", Deploy, "etcd defrag", "compacts etcd's history"),
    row("defragment etcd", Deploy, "etcd defrag", "defragments the member's database"),
    row("disarm the alarm", Deploy, "etcd defrag", "clears etcd's quota alarm"),
    row("write to etcd", Deploy, "etcd defrag", "writes a key, as a probe"),
    row("send the snapshot", Deploy, "etcd restore", "writes a snapshot to the member's disk"),
    row("ask for the restore", Deploy, "etcd restore", "replaces the member's data at the next start"),
    row("give the agents their rights in etcd", Deploy, "deploy", "changes etcd's users and roles"),
    row("delete what is left of an application", Deploy, "app remove", "deletes its data"),
    row("delete the keys of an application", Deploy, "app remove", "deletes its keys in etcd"),
    row("command", Operator, "exec", "runs the operator's command or script"),
    row("end the command", Operator, "exec, logs", "ends it when the operator stops"),
    row("fetch *", Operator, "download", "sends a file"),
];

/// A script that only reads, as the node checks it.
#[derive(Clone, Copy, Debug)]
pub struct Reading {
    /// Name of the command.
    pub name: &'static str,
    /// The script after its variables.
    pub script: &'static str,
    /// Names of variables that may be set before it.
    pub variables: &'static [&'static str],
}

const fn reading(name: &'static str, script: &'static str) -> Reading {
    Reading { name, script, variables: &[] }
}

/// The scripts of [`Level::Read`]. Each was read for what its variables and its input can do: none of them names a program, a
/// file or an option.
pub const READING: &[Reading] = &[
    reading("gather facts", host::GATHER),
    reading("look at the lock", script::LOOK),
    reading("ask etcd", etcd::PROBE),
    reading("ask for drift", script::DRIFT),
    reading("ask for units", script::UNITS),
    reading("ask for missing paths", copy::MISSING),
    reading("ask about the boot loader", script::LOADER),
    reading("list the generations", script::GENERATIONS),
    reading("list certificates", script::CERTIFICATES),
    reading("read the versions of the system", software::RUNNING),
    Reading { name: "journalctl", script: reach::logs::SCRIPT, variables: reach::logs::VARIABLES },
];

/// Returns the command with this name.
#[must_use]
pub fn find(name: &str) -> Option<&'static Command> {
    // The longest pattern is the most specific one: `fetch the journal` is not a file that is fetched.
    COMMANDS.iter().filter(|command| matches(command.name, name)).max_by_key(|command| command.name.len())
}

/// Returns true if the text has the pattern's parts in their order, and begins and ends with them.
fn matches(pattern: &str, text: &str) -> bool {
    let Some((first, rest)) = pattern.split_once('*') else { return pattern == text };
    let Some(mut left) = text.strip_prefix(first) else { return false };
    let parts: Vec<&str> = rest.split('*').collect();
    let Some((last, between)) = parts.split_last() else { return true };
    for part in between {
        let Some((_, after)) = left.split_once(part) else { return false };
        left = after;
    }
    left.ends_with(last)
}

/// Returns the table that `modules/privileges` installs on nodes: a line for each reading script, with its digest.
#[must_use]
pub fn table() -> String {
    let mut text = String::new();
    for Reading { name, script, variables } in READING {
        let variables = if variables.is_empty() { "-".to_owned() } else { variables.join(",") };
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{} {variables} {name}", hex(script));
    }
    text
}

fn hex(script: &str) -> String {
    Sha256::digest(script.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Returns the sudo rule of a user that operators log in as.
#[must_use]
pub fn sudoers(user: &str) -> String {
    include_str!("../../../modules/privileges/sudoers").replace("@user@", user)
}

/// Returns true if sudoers(5) reads the name as that of one user.
#[must_use]
pub fn is_user(name: &str) -> bool {
    let first = |c: char| c.is_ascii_lowercase() || c == '_';
    let other = |c: char| first(c) || c.is_ascii_digit() || c == '-';
    name.len() <= 31 && name.starts_with(first) && name.chars().all(other)
}

/// Connection that refuses a command which is not in [`COMMANDS`]: for tests of machinist itself.
pub(crate) struct Listed(pub(crate) Box<dyn Remote>);

impl Remote for Listed {
    fn endpoint(&self) -> &Arc<Endpoint> {
        self.0.endpoint()
    }

    fn run(&self, request: Request<'_>) -> Result<Output, RemoteError> {
        if find(&request.label).is_none() {
            let (at, label) = (Arc::clone(self.endpoint()), request.label);
            let reason = "it is not in the list of operations/src/privileges.rs";
            return Err(RemoteError::InvalidRequest { at, label, reason });
        }
        self.0.run(request)
    }

    fn tunnel(&self, host: &str, port: u16) -> Result<Tunnel, RemoteError> {
        self.0.tunnel(host, port)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::{collections::BTreeSet, fs, path::Path};

    use machinist_remote::{FakeRemote, Remote as _, Request};

    use super::{COMMANDS, Level, Listed, READING, find, is_user, matches, sudoers, table};

    fn sources(directory: &Path, found: &mut Vec<String>) {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                sources(&path, found);
            } else if path.extension().is_some_and(|extension| extension == "rs") && !path.ends_with("privileges.rs") {
                let text = fs::read_to_string(&path).unwrap();
                found.push(text.split("#[cfg(test)]").next().unwrap_or_default().to_owned());
            }
        }
    }

    /// The first texts in quotes after `name(`, within the call.
    fn names_in(text: &str, call: &str) -> BTreeSet<String> {
        let mut names = BTreeSet::new();
        for (at, _) in text.match_indices(call) {
            let arguments: String = text[at + call.len()..].chars().take(160).collect();
            let Some((before, rest)) = arguments.split_once('"') else { continue };
            // Another statement has begun.
            let is_other = before.contains(';') || before.contains('{');
            // Other functions of that name have more arguments before the name.
            if is_other || (call.ends_with(',') && !before.trim().is_empty()) {
                continue;
            }
            let name = rest.split('"').next().unwrap_or_default();
            let pattern: String = name.split('{').enumerate().fold(String::new(), |text, (index, part)| {
                text + &if index == 0 {
                    part.to_owned()
                } else {
                    format!("*{}", part.split_once('}').map_or("", |p| p.1))
                }
            });
            names.insert(pattern);
        }
        names
    }

    #[test]
    fn every_command_in_the_code_is_in_the_list_and_every_one_in_the_list_is_in_the_code() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        let mut texts = Vec::new();
        for directory in ["rollout/src", "operations/src", "remote/src"] {
            sources(&root.join(directory), &mut texts);
        }
        let calls = ["Request::new(", "Script::new(", "remote,", "token,", "&token,", "token()?,", "run(member,"];
        let mut names = BTreeSet::new();
        for text in &texts {
            calls.iter().for_each(|call| names.extend(names_in(text, call)));
        }
        // Other texts in that place: actions of a script, reasons, paths.
        let others = ["/run/current-system", "check", "drain", "remove", "the operator stopped the run", "undrain"];
        names.retain(|name| !others.contains(&name.as_str()));
        let missing: Vec<&String> = names.iter().filter(|name| find(&name.replace('*', "x")).is_none()).collect();
        assert_eq!(missing, Vec::<&String>::new(), "add them to COMMANDS");
        assert!(names.len() > 50, "{names:?}");
        let all = texts.concat();
        let gone: Vec<&str> = COMMANDS
            .iter()
            .map(|command| command.name)
            .filter(|name| !name.contains('*') && !all.contains(&format!("\"{name}\"")))
            .collect();
        assert_eq!(gone, Vec::<&str>::new(), "remove them from COMMANDS");
    }

    #[test]
    fn a_command_that_is_not_listed_does_not_run() {
        let remote = Listed(Box::new(FakeRemote::new("a").answer("true", 0, "", "")));
        assert!(remote.run(Request::new("gather facts", "true")).is_ok());
        let error = remote.run(Request::new("something new", "true")).unwrap_err();
        assert!(error.to_string().contains("something new"), "{error}");
    }

    #[test]
    fn scripts_that_read_are_those_that_nodes_know() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../modules/privileges/read-scripts");
        let table = table();
        if std::env::var_os("UPDATE_EXPECT").is_some() {
            fs::write(&path, &table).unwrap();
        }
        assert_eq!(fs::read_to_string(path).unwrap_or_default(), table, "run with UPDATE_EXPECT=1 and review");
        for reading in READING {
            assert_eq!(find(reading.name).unwrap().level, Level::Read, "{}", reading.name);
        }
    }

    #[test]
    fn names_with_other_words_are_found() {
        assert!(matches("import * paths (*)", "import 3 paths (1 MiB)") && !matches("import * paths (*)", "import x"));
        assert!(matches("put *", "put /var/lib/x") && !matches("put *", "input"));
        assert_eq!(find("fetch the journal").unwrap().level, Level::Inspect);
        assert_eq!(find("fetch /etc/shadow").unwrap().level, Level::Operator);
    }

    #[test]
    fn a_rule_is_for_one_user() {
        assert!(sudoers("deploy").lines().all(|line| !line.contains('@')));
        assert!(is_user("deploy") && !is_user("ALL") && !is_user("%wheel") && !is_user("a b") && !is_user(""));
        assert!(!is_user("#0") && !is_user("a,b"));
    }
}
