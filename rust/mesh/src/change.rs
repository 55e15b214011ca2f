//! What haproxy must be told so that it routes as it should: the least.
//!
//! Servers come, go and move by commands, which haproxy obeys without a reload. Only what listens takes a reload.

use std::collections::BTreeMap;

use crate::{Routing, Server, Service, ServiceName};

/// What haproxy must be told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Nothing.
    Nothing,
    /// These changes of servers.
    Servers(Vec<ServerChange>),
    /// A new configuration.
    Reload,
}

/// A change of one server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerChange {
    /// The application.
    pub service: ServiceName,
    /// The server's name.
    pub server: String,
    /// What becomes of it.
    pub kind: Kind,
}

/// What becomes of a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// It is new.
    Add(Server),
    /// It is gone.
    Remove,
    /// It is somewhere else now.
    Address(Server),
    /// Its share is another now.
    Weight(Server),
}

/// Returns the least that makes haproxy route as it should. `applied` is what haproxy routes; afterwards it is `wanted`,
/// with what [`lingering`] returns.
#[must_use]
pub fn action(applied: &BTreeMap<ServiceName, Service>, wanted: &Routing) -> Action {
    let mut changes = Vec::new();
    for (name, service) in &wanted.services {
        match applied.get(name) {
            Some(before) if before.port == service.port => {
                changes.extend(servers(name, &before.servers, &service.servers))
            }
            _ => return Action::Reload,
        }
    }
    let gone = applied.iter().filter(|(name, _)| !wanted.services.contains_key(*name));
    for (name, before) in gone {
        changes.extend(servers(name, &before.servers, &BTreeMap::new()));
    }
    if changes.is_empty() { Action::Nothing } else { Action::Servers(changes) }
}

/// Returns the applications that are gone, and whose ports haproxy listens on until its next reload, without servers. An
/// application that restarts its only instance thus costs no reload.
#[must_use]
pub fn lingering(applied: &BTreeMap<ServiceName, Service>, wanted: &Routing) -> BTreeMap<ServiceName, Service> {
    let gone = applied.iter().filter(|(name, _)| !wanted.services.contains_key(*name));
    gone.map(|(name, service)| {
        (name.clone(), Service { port: service.port, servers: BTreeMap::new(), env: service.env.clone() })
    })
    .collect()
}

/// Returns the changes of the servers of one application, removals last: there is always one that takes connections.
pub fn servers(
    name: &ServiceName,
    before: &BTreeMap<String, Server>,
    wanted: &BTreeMap<String, Server>,
) -> Vec<ServerChange> {
    let change = |server: &str, kind| ServerChange { service: name.clone(), server: server.to_owned(), kind };
    let mut changes = Vec::new();
    for (server, now) in wanted {
        let Some(then) = before.get(server) else {
            changes.push(change(server, Kind::Add(*now)));
            continue;
        };
        if then.address != now.address {
            changes.push(change(server, Kind::Address(*now)));
        }
        if then.weight != now.weight {
            changes.push(change(server, Kind::Weight(*now)));
        }
    }
    let gone = before.keys().filter(|server| !wanted.contains_key(*server));
    changes.extend(gone.map(|server| change(server, Kind::Remove)));
    changes
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::collections::BTreeMap;

    use super::{Action, Kind, action, lingering};
    use crate::{Group, Name, Routing, Server, Service, ServiceName};

    type Servers<'a> = &'a [(&'a str, &'a str, u16)];

    fn routing(services: &[(&str, u16, Servers<'_>)]) -> Routing {
        let server = |(name, address, weight): &(&str, &str, u16)| {
            ((*name).to_owned(), Server { address: address.parse().unwrap(), weight: *weight })
        };
        let service = |(name, port, servers): &(&str, u16, Servers<'_>)| {
            let name = ServiceName { group: Group::Services, app: Name::parse(name).unwrap() };
            (name, Service { port: *port, servers: servers.iter().map(server).collect(), env: None })
        };
        Routing { services: services.iter().map(service).collect(), ..Routing::default() }
    }

    #[track_caller]
    fn check(before: &Routing, after: &Routing, wanted: &[&str]) {
        let words: Vec<String> = match action(&before.services, after) {
            Action::Nothing => Vec::new(),
            Action::Reload => vec!["reload".to_owned()],
            Action::Servers(changes) => {
                let kind = |kind: &Kind| match kind {
                    Kind::Add(server) => format!("add {}", server.address),
                    Kind::Remove => "remove".to_owned(),
                    Kind::Address(server) => format!("move {}", server.address),
                    Kind::Weight(server) => format!("weigh {}", server.weight),
                };
                changes
                    .iter()
                    .map(|change| format!("{}/{} {}", change.service.app, change.server, kind(&change.kind)))
                    .collect()
            }
        };
        assert_eq!(words, wanted);
    }

    #[test]
    fn servers_change_without_a_reload() {
        let before =
            routing(&[("db", 80, &[("a", "10.0.0.1:1", 100), ("b", "10.0.0.2:1", 100), ("c", "10.0.0.3:1", 1)])]);
        check(&before, &before, &[]);
        let after =
            routing(&[("db", 80, &[("b", "10.0.0.9:1", 50), ("c", "10.0.0.3:1", 1), ("d", "10.0.0.4:1", 100)])]);
        check(&before, &after, &["db/b move 10.0.0.9:1", "db/b weigh 50", "db/d add 10.0.0.4:1", "db/a remove"]);
    }

    #[test]
    fn what_listens_takes_a_reload() {
        let before = routing(&[("db", 80, &[])]);
        check(&before, &routing(&[("db", 80, &[]), ("web", 81, &[])]), &["reload"]);
        check(&before, &routing(&[("db", 81, &[])]), &["reload"]);
    }

    #[test]
    fn an_application_that_is_gone_costs_no_reload_and_may_come_back() {
        let before = routing(&[("db", 80, &[("a", "10.0.0.1:1", 100)])]);
        let gone = routing(&[]);
        check(&before, &gone, &["db/a remove"]);
        let lingers = lingering(&before.services, &gone);
        assert_eq!(lingers, routing(&[("db", 80, &[])]).services);
        check(&Routing { services: lingers, ..Routing::default() }, &before, &["db/a add 10.0.0.1:1"]);
        assert_eq!(lingering(&before.services, &before), BTreeMap::new());
    }
}
