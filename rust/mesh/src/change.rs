//! Minimal set of haproxy changes that leads from the current to the desired routing.
//!
//! Servers are added, removed and updated by runtime commands without a reload. Only a change of listeners requires
//! one.

use std::collections::BTreeMap;

use crate::{Routing, Server, Service, ServiceName};

/// Action on haproxy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Nothing changed.
    Nothing,
    /// Runtime commands for these servers.
    Servers(Vec<ServerChange>),
    /// A new configuration and a reload.
    Reload,
}

/// A change of one server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerChange {
    /// Group and name of the application.
    pub service: ServiceName,
    /// haproxy's name of the server.
    pub server: String,
    /// The kind of change.
    pub kind: Kind,
}

/// Kind of a server's change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The server is new.
    Add(Server),
    /// The server is removed.
    Remove,
    /// The server has a new address.
    Address(Server),
    /// The server has a new weight.
    Weight(Server),
}

/// Returns the minimal action. `applied` is haproxy's current routing; afterwards it is `wanted`, plus the result of
/// [`lingering`].
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

/// Returns the removed applications, on whose ports haproxy keeps listening without servers until its next reload. So
/// an application that restarts its only instance requires no reload.
#[must_use]
pub fn lingering(applied: &BTreeMap<ServiceName, Service>, wanted: &Routing) -> BTreeMap<ServiceName, Service> {
    let gone = applied.iter().filter(|(name, _)| !wanted.services.contains_key(*name));
    gone.map(|(name, service)| {
        (name.clone(), Service { port: service.port, servers: BTreeMap::new(), env: service.env.clone() })
    })
    .collect()
}

/// Returns the changes of one application's servers, removals last, so that at least one always accepts connections.
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
    fn a_change_of_listeners_requires_a_reload() {
        let before = routing(&[("db", 80, &[])]);
        check(&before, &routing(&[("db", 80, &[]), ("web", 81, &[])]), &["reload"]);
        check(&before, &routing(&[("db", 81, &[])]), &["reload"]);
    }

    #[test]
    fn a_removed_application_requires_no_reload_and_may_return() {
        let before = routing(&[("db", 80, &[("a", "10.0.0.1:1", 100)])]);
        let gone = routing(&[]);
        check(&before, &gone, &["db/a remove"]);
        let lingers = lingering(&before.services, &gone);
        assert_eq!(lingers, routing(&[("db", 80, &[])]).services);
        check(&Routing { services: lingers, ..Routing::default() }, &before, &["db/a add 10.0.0.1:1"]);
        assert_eq!(lingering(&before.services, &before), BTreeMap::new());
    }
}
