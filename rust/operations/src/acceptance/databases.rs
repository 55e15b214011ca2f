//! Check of databases among the applications: a row is inserted through one member, and read through every member.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use machinist_model::NodeName;
use machinist_remote::{Remote, RemoteError, Request, Status};
use machinist_rollout::script;

use super::{
    description::Offered,
    mesh,
    report::{Earlier, Finding, Problem},
    site::Site,
};
use crate::failure::words;

const SCRIPT: &str = include_str!("database.sh");

/// Protocols of the databases that the script knows.
const KNOWN: [&str; 3] = ["mysql", "postgresql", "redis"];

/// Time limit of one step.
const STEP: Duration = Duration::from_secs(30);

/// Exit status of the script if the database wants a password that only its users have.
const NEEDS_PASSWORD: Status = Status::Exited(77);

/// A row goes through each database.
pub(super) fn rows(site: &Site<'_>, earlier: &Earlier) -> Finding {
    let mut finding = mesh::nodes(site, earlier, &["reachable", "mesh-agent"]);
    let sound = std::mem::take(&mut finding.nodes);
    let mut databases: BTreeMap<(String, String), BTreeMap<NodeName, &Offered>> = BTreeMap::new();
    let is_known = |offered: &Offered| KNOWN.contains(&offered.protocol.as_str());
    for (node, offered) in mesh::offers(site).filter(|(node, offered)| sound.contains(*node) && is_known(offered)) {
        let key = (offered.instance.key.app.to_string(), offered.protocol.clone());
        databases.entry(key).or_default().insert(node.clone(), offered);
    }
    if databases.is_empty() && finding.notes.is_empty() && !sound.is_empty() {
        return Finding::skipped("no application on the targets is a database (mysql, postgresql or redis)");
    }
    for ((app, protocol), members) in databases {
        let ill: BTreeSet<&NodeName> = members.keys().filter(|node| earlier.has("apps", node)).collect();
        finding.notes.extend(ill.iter().map(|node| format!("{app} without {node}: apps failed there")));
        let members: BTreeMap<NodeName, &Offered> = members
            .iter()
            .filter(|(node, _)| !ill.contains(node))
            .map(|(node, offered)| (node.clone(), *offered))
            .collect();
        let database = Database { site, protocol, name: name(&site.mark), members };
        match database.round_trip() {
            Ok(problems) => problems.into_iter().for_each(|problem| finding.problem(problem)),
            Err(why) => {
                finding.notes.push(format!("{app}: {why}"));
                continue;
            }
        }
        finding.nodes.extend(database.members.into_keys());
    }
    finding
}

/// Returns the name of what a test creates.
fn name(mark: &str) -> String {
    format!("machinist_test_{}", mark.rsplit('-').next().unwrap_or_default())
}

/// A database with its members that work.
struct Database<'a> {
    site: &'a Site<'a>,
    protocol: String,
    name: String,
    members: BTreeMap<NodeName, &'a Offered>,
}

impl Database<'_> {
    /// Inserts, reads and removes. An error is the reason why it was not tried.
    fn round_trip(&self) -> Result<Vec<Problem>, String> {
        // Only Galera is known to replicate: every other instance has data of its own.
        let together = self.protocol == "mysql";
        let firsts: Vec<&NodeName> = self.members.keys().take(if together { 1 } else { usize::MAX }).collect();
        let mut problems = Vec::new();
        for first in firsts {
            let readers: Vec<&NodeName> = if together { self.members.keys().collect() } else { vec![first] };
            problems.extend(self.through(first, &readers)?);
        }
        Ok(problems)
    }

    fn through(&self, first: &NodeName, readers: &[&NodeName]) -> Result<Vec<Problem>, String> {
        let Some(remote) = self.site.remote(first) else { return Ok(Vec::new()) };
        let value = format!("{}-{first}", self.name);
        match self.write(first, remote, &value) {
            Ok(status) if status == NEEDS_PASSWORD => return Err("it requires a password of its users".to_owned()),
            Ok(_) => {}
            Err(why) => {
                let _removed = self.remove(first, remote);
                return Ok(vec![Problem::on(first, format!("a row cannot be inserted: {why}"))]);
            }
        }
        let read = self.site.each(readers.iter().copied(), |node, remote| self.read(node, remote));
        let mut problems: Vec<Problem> =
            read.into_iter().filter_map(|(node, read)| wrong(&node, first, read, &value)).collect();
        if let Err(why) = self.remove(first, remote) {
            let why = format!("{} could not be removed: {why}; the node removes it within two minutes", self.name);
            problems.push(Problem::on(first, why));
        }
        Ok(problems)
    }

    fn script(&self, node: &NodeName, step: &str, value: &str) -> String {
        let place = self.members.get(node).map(|offered| &offered.instance.value);
        let host = place.map(|instance| instance.address.to_string()).unwrap_or_default();
        let port = place.map(|instance| instance.port.to_string()).unwrap_or_default();
        let variables = [
            ("protocol", self.protocol.as_str()),
            ("step", step),
            ("name", &self.name),
            ("value", value),
            ("host", &host),
            ("port", &port),
        ];
        script::with(&variables, SCRIPT)
    }

    fn write(&self, node: &NodeName, remote: &dyn Remote, value: &str) -> Result<Status, String> {
        let request = Request::new("write to a database", self.script(node, "write", value)).timeout(STEP);
        let output = remote.run(request).map_err(|error: RemoteError| words(node, &error))?;
        if output.is_success() || output.status == NEEDS_PASSWORD {
            return Ok(output.status);
        }
        Err(format!("{}: {}", output.status, output.stderr_tail(3).trim()))
    }

    fn read(&self, node: &NodeName, remote: &dyn Remote) -> Result<String, String> {
        let request = Request::new("read from a database", self.script(node, "read", "")).timeout(STEP);
        let output = remote.run_checked(request).map_err(|error: RemoteError| words(node, &error))?;
        Ok(output.stdout_text().trim().to_owned())
    }

    fn remove(&self, node: &NodeName, remote: &dyn Remote) -> Result<(), String> {
        let request = Request::new("remove from a database", self.script(node, "remove", "")).timeout(STEP);
        remote.run_checked(request).map(drop).map_err(|error: RemoteError| words(node, &error))
    }
}

/// Returns the problem of a member that does not return the value.
fn wrong(node: &NodeName, first: &NodeName, read: Result<String, String>, value: &str) -> Option<Problem> {
    match read {
        Ok(read) if read == value => None,
        Ok(read) if read.is_empty() => {
            Some(Problem::on(node, format!("it does not have a row that was inserted on {first}")))
        }
        Ok(read) => Some(Problem::on(node, format!("it has {read:?} for a row that was inserted on {first}"))),
        Err(why) => Some(Problem::on(node, format!("a row that was inserted on {first} cannot be read: {why}"))),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::{
        io::{BufRead as _, BufReader, Write as _},
        net::TcpListener,
        process::Command,
        thread,
    };

    use machinist_model::NodeName;
    use machinist_rollout::script;

    use super::{SCRIPT, name, wrong};

    #[test]
    fn a_member_must_return_what_was_inserted() {
        let node = NodeName::parse("a").unwrap();
        let read = |text: &str| wrong(&node, &node, Ok(text.to_owned()), "x");
        assert!(read("x").is_none() && read("").is_some() && read("y").is_some());
        assert!(wrong(&node, &node, Err("refused".to_owned()), "x").unwrap().why.contains("refused"));
    }

    #[test]
    fn a_name_is_one_word_of_sql() {
        assert_eq!(name("20261130t100000-123-0a1b2c3d"), "machinist_test_0a1b2c3d");
    }

    /// A server that answers each line by the first of the pairs whose command it begins with.
    fn redis(answers: &'static [(&str, &str)]) -> u16 {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let mut line = String::new();
                BufReader::new(stream.try_clone().unwrap()).read_line(&mut line).unwrap();
                let answer = answers.iter().find(|(command, _)| line.starts_with(command)).unwrap().1;
                let _ = stream.write_all(answer.as_bytes());
            }
        });
        port
    }

    fn step(port: u16, step: &str) -> (Option<i32>, String) {
        let port = port.to_string();
        let variables = [
            ("protocol", "redis"),
            ("step", step),
            ("name", "k"),
            ("value", "v"),
            ("host", "127.0.0.1"),
            ("port", port.as_str()),
        ];
        let output = Command::new("sh").args(["-c", &script::with(&variables, SCRIPT)]).output().unwrap();
        (output.status.code(), String::from_utf8(output.stdout).unwrap())
    }

    #[test]
    fn redis_is_asked_without_a_program_of_its_own() {
        let port = redis(&[("SET k v EX 120\r", "+OK\r\n"), ("GET k\r", "$1\r\nv\r\n"), ("DEL k\r", ":1\r\n")]);
        assert_eq!(step(port, "write"), (Some(0), String::new()));
        assert_eq!(step(port, "read"), (Some(0), "v\n".to_owned()));
        assert_eq!(step(port, "remove").0, Some(0));
        let port = redis(&[("SET", "-NOAUTH Authentication required.\r\n"), ("GET", "$-1\r\n")]);
        assert_eq!(step(port, "write").0, Some(77), "a password");
        assert_eq!(step(port, "read"), (Some(0), "\n".to_owned()), "absent");
    }
}
