//! haproxy's runtime commands as text, and their responses. Haproxy 2.6 to 3.2 agree on these.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    Group, Name, Server, Service, ServiceName,
    change::{self, Kind, ServerChange},
};

/// haproxy's health check of a server: rarely while it succeeds, often as soon as a connection fails. Agents remove
/// unhealthy instances themselves; this covers the time when etcd is down.
pub const SERVER_OPTIONS: &str =
    "check inter 10s fastinter 500ms downinter 1s fall 2 rise 1 observe layer4 error-limit 3 on-error fail-check";

/// Queries the process ID and the configuration of the running process.
pub const SHOW_INFO: &str = "show info";

/// Queries all servers.
pub const SHOW_SERVERS: &str = "show servers state";

/// Contents of `show info`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Info {
    /// Process ID.
    pub pid: u32,
    /// The digest in our configuration's description; empty for other configurations.
    pub structure: String,
}

/// A command and its expected response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Command {
    /// The command line to send.
    pub line: String,
    /// Texts of which the response must contain one; if empty, the response must be empty.
    pub accepted: &'static [&'static str],
}

impl Command {
    fn new(line: String, accepted: &'static [&'static str]) -> Self {
        Self { line, accepted }
    }

    /// Returns `true` if the response reports success.
    #[must_use]
    pub fn is_done(&self, answer: &str) -> bool {
        let answer = answer.trim();
        if self.accepted.is_empty() {
            answer.is_empty()
        } else {
            self.accepted.iter().any(|text| answer.contains(text))
        }
    }
}

/// Returns the commands for a change. `known`: haproxy already has a server of this name that was taken out of service
/// and could not be deleted yet.
#[must_use]
pub fn commands(change: &ServerChange, known: bool) -> Vec<Command> {
    let target = format!("{}/{}", change.service, change.server);
    let address = |server: &Server| {
        let line = format!("set server {target} addr {} port {}", server.address.ip(), server.address.port());
        Command::new(line, &["changed", "no need to change"])
    };
    let weight = |server: &Server| Command::new(format!("set weight {target} {}", server.weight), &[]);
    match &change.kind {
        Kind::Add(server) if known => {
            let ready = Command::new(format!("set server {target} state ready"), &[]);
            vec![address(server), weight(server), ready]
        }
        Kind::Add(server) => {
            let Server { address, weight } = server;
            let add = format!("add server {target} {address} weight {weight} {SERVER_OPTIONS}");
            vec![
                Command::new(add, &["New server registered"]),
                Command::new(format!("enable health {target}"), &[]),
                Command::new(format!("enable server {target}"), &[]),
            ]
        }
        Kind::Address(server) => vec![address(server)],
        Kind::Weight(server) => vec![weight(server)],
        // Open connections continue; the server is deleted once they are closed.
        Kind::Remove => vec![Command::new(format!("set server {target} state maint"), &[])],
    }
}

/// Returns the command that deletes a server out of service. haproxy refuses it while the server has connections.
#[must_use]
pub fn delete(service: &ServiceName, server: &str) -> Command {
    Command::new(format!("del server {service}/{server}"), &["Server deleted", "No such server", "not found"])
}

/// Parses the response to [`SHOW_INFO`].
#[must_use]
pub fn read_info(answer: &str) -> Option<Info> {
    let field = |name: &str| answer.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
    let pid = field("Pid")?.trim().parse().ok()?;
    Some(Info { pid, structure: field("description").unwrap_or_default().trim().to_owned() })
}

/// haproxy's current servers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// Servers in service, which get connections if they are up.
    pub routed: BTreeMap<ServiceName, BTreeMap<String, Server>>,
    /// Servers out of service.
    pub out: BTreeSet<(ServiceName, String)>,
}

/// The bit of `srv_admin_state` that is set by `state maint` (haproxy's management guide, "show servers state").
const FORCED_MAINTENANCE: u32 = 0x01;

/// Parses the response to [`SHOW_SERVERS`]. `None` if it is malformed.
#[must_use]
pub fn read_servers(answer: &str) -> Option<Found> {
    let mut lines = answer.lines();
    let header = lines.by_ref().find_map(|line| line.strip_prefix("# "))?;
    let columns: Vec<&str> = header.split_ascii_whitespace().collect();
    let column = |name: &str| columns.iter().position(|column| *column == name);
    let (backend, server) = (column("be_name")?, column("srv_name")?);
    let (address, port) = (column("srv_addr")?, column("srv_port")?);
    let (admin, weight) = (column("srv_admin_state")?, column("srv_uweight")?);
    let mut found = Found::default();
    for line in lines {
        let cells: Vec<&str> = line.split_ascii_whitespace().collect();
        let read = || {
            let service = service(cells.get(backend)?)?;
            let name = (*cells.get(server)?).to_owned();
            let is_out = cells.get(admin)?.parse::<u32>().ok()? & FORCED_MAINTENANCE != 0;
            let ip = cells.get(address)?.parse().ok()?;
            let address = std::net::SocketAddr::new(ip, cells.get(port)?.parse().ok()?);
            Some((service, name, is_out, Server { address, weight: cells.get(weight)?.parse().ok()? }))
        };
        match read() {
            Some((service, name, true, _)) => drop(found.out.insert((service, name))),
            Some((service, name, false, server)) => drop(found.routed.entry(service).or_default().insert(name, server)),
            None => {}
        }
    }
    Some(found)
}

/// Returns the changes from haproxy's current servers to the desired ones.
#[must_use]
pub fn reconcile(found: &Found, wanted: &BTreeMap<ServiceName, Service>) -> Vec<ServerChange> {
    let none = BTreeMap::new();
    let of = |(name, service): (&ServiceName, &Service)| {
        change::servers(name, found.routed.get(name).unwrap_or(&none), &service.servers)
    };
    wanted.iter().flat_map(of).collect()
}

/// Parses the name of one of our proxies.
fn service(text: &str) -> Option<ServiceName> {
    let (group, app) = text.split_once('.')?;
    Some(ServiceName { group: Group::parse(group)?, app: Name::parse(app).ok()? })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::{commands, read_info, read_servers, reconcile, service};
    use crate::{
        Server, Service,
        change::{Kind, ServerChange},
    };

    #[test]
    fn a_server_out_of_service_returns_with_its_current_address() {
        let server = Server { address: "[fd00::1]:80".parse().unwrap(), weight: 7 };
        let service = service("services.db.v1").unwrap();
        let change = ServerChange { service, server: "w1:a".to_owned(), kind: Kind::Add(server) };
        let lines: Vec<String> = commands(&change, true).into_iter().map(|command| command.line).collect();
        assert_eq!(
            lines,
            [
                "set server services.db.v1/w1:a addr fd00::1 port 80",
                "set weight services.db.v1/w1:a 7",
                "set server services.db.v1/w1:a state ready"
            ]
        );
        let fresh = &commands(&change, false)[0];
        assert!(
            fresh.line.starts_with("add server services.db.v1/w1:a [fd00::1]:80 weight 7 check "),
            "{}",
            fresh.line
        );
        assert!(fresh.is_done("New server registered.\n\n"));
        assert!(!fresh.is_done("Already exists a server with the same name in backend.\n"));
    }

    const SERVERS: &str = "1
# be_id be_name srv_id srv_name srv_addr srv_op_state srv_admin_state srv_uweight srv_iweight srv_time_since_last_change srv_check_status srv_check_result srv_check_health srv_check_state srv_agent_state bk_f_forced_id srv_f_forced_id srv_fqdn srv_port srvrecord srv_use_ssl srv_check_port srv_check_addr srv_agent_addr srv_agent_port
3 services.db 1 w1 10.0.0.1 2 0 100 1 6 15 3 4 6 0 0 0 - 5432 - 0 0 - - 0
3 services.db 2 w2 10.0.0.2 2 0 50 1 6 15 3 4 6 0 0 0 - 5432 - 0 0 - - 0
3 services.db 3 w3 10.0.0.3 0 1 100 1 6 15 3 4 6 0 0 0 - 5432 - 0 0 - - 0
4 stats 1 x 10.0.0.3 0 1 100 1 6 15 3 4 6 0 0 0 - 5432 - 0 0 - - 0
";

    #[test]
    fn current_servers_are_changed_to_the_desired_ones() {
        let found = read_servers(SERVERS).unwrap();
        let name = service("services.db").unwrap();
        assert!(found.out.contains(&(name.clone(), "w3".to_owned())));
        let server = |address: &str| Server { address: address.parse().unwrap(), weight: 100 };
        let servers = [("w2".to_owned(), server("10.0.0.2:5432")), ("w3".to_owned(), server("10.0.0.3:5432"))];
        let wanted = [(name.clone(), Service { port: 1, servers: servers.into(), env: None })].into();
        let kinds: Vec<_> = reconcile(&found, &wanted).into_iter().map(|change| (change.server, change.kind)).collect();
        assert_eq!(
            kinds,
            [
                ("w2".to_owned(), Kind::Weight(server("10.0.0.2:5432"))),
                ("w3".to_owned(), Kind::Add(server("10.0.0.3:5432"))),
                ("w1".to_owned(), Kind::Remove)
            ]
        );
    }

    #[test]
    fn the_process_says_which_configuration_it_runs() {
        let info = read_info("Name: HAProxy\nVersion: 3.0\nPid: 42\nUptime: 1\ndescription: 0af3\n").unwrap();
        assert_eq!((info.pid, info.structure.as_str()), (42, "0af3"));
        assert_eq!(read_info("Pid: 42\n").unwrap().structure, "");
        assert_eq!(read_info("Unknown command\n"), None);
    }
}
