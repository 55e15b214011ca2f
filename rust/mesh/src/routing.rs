//! Routing of a node, and the problems in etcd: a function of the keys alone, so that all nodes decide alike.
//!
//! Invalid entries are ignored and reported, without effect on the others. If two entries conflict, the older one wins:
//! a mistake must not break what worked before.

use std::{
    collections::{BTreeMap, BTreeSet, btree_map},
    fmt,
    net::SocketAddr,
};

use serde::Serialize;

use crate::{Entry, EntryError, Env, Group, INSTANCES, Instance, InstanceKey, Key, Metadata, Name, Store};

/// Inputs besides the keys.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// The groups that the node routes.
    pub groups: BTreeSet<Group>,
    /// Ports on which another local program listens, so that haproxy cannot.
    pub taken: BTreeSet<u16>,
}

/// Result of [`route`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Routing {
    /// The routed applications.
    pub services: BTreeMap<ServiceName, Service>,
    /// The ports of all applications, including those that another program occupies.
    pub wanted_ports: BTreeSet<u16>,
    /// The ignored entries, with reasons.
    pub problems: Vec<Problem>,
}

/// An application in its group. Its name in haproxy is unique, since a group's name contains no dot.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServiceName {
    /// Group of the application.
    pub group: Group,
    /// Name of the application.
    pub app: Name,
}

/// A routed application.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    /// The port on 127.0.0.1.
    pub port: u16,
    /// Its instances, by their names in haproxy.
    pub servers: BTreeMap<String, Server>,
    /// Variables of consumers, if it has any.
    pub env: Option<Env>,
}

/// An instance of an application.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Server {
    /// Address and port on its node.
    pub address: SocketAddr,
    /// Weight for new connections, 0 to 256.
    pub weight: u16,
}

/// An ignored entry, with the reason.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Problem {
    /// The ignored key in etcd, or the application.
    pub subject: String,
    /// The reason, such as `invalid key`.
    pub why: String,
}

impl fmt::Display for ServiceName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}.{}", self.group, self.app)
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: {}", self.subject, self.why)
    }
}

/// All entries of an application in one group.
#[derive(Default)]
struct Claim<'a> {
    metadata: Option<(&'a Metadata, i64)>,
    instances: Vec<(&'a str, &'a InstanceKey, &'a Instance, i64)>,
}

impl Claim<'_> {
    /// The revision of its creation. Metadata persist while instances come and go.
    fn since(&self) -> i64 {
        let oldest = || self.instances.iter().map(|(.., created)| *created).min();
        self.metadata.map(|(_, created)| created).or_else(oldest).unwrap_or(i64::MAX)
    }

    /// The port in the metadata, else that of the oldest instance.
    fn port(&self) -> Option<u16> {
        let oldest = || self.instances.iter().filter(|(_, _, instance, _)| instance.publish.is_some());
        let of_oldest =
            || oldest().min_by_key(|(.., created)| *created).and_then(|(_, _, instance, _)| instance.publish);
        self.metadata.and_then(|(metadata, _)| metadata.port).or_else(of_oldest)
    }

    fn env(&self) -> Option<&Env> {
        let of_instances = || self.instances.iter().find_map(|(_, _, instance, _)| instance.env.as_ref());
        self.metadata.and_then(|(metadata, _)| metadata.env.as_ref()).or_else(of_instances)
    }
}

/// Maximum number of instances per node that count. Each node can write any number of them.
const INSTANCES_OF_A_NODE: usize = 500;

/// Computes the routing of the node.
#[must_use]
pub fn route(store: &Store, settings: &Settings) -> Routing {
    let (excess, mut problems) = excess(store);
    let claims = claims(store, &excess, &mut problems);
    let chosen = one_group_each(claims, &mut problems);
    let mut services = BTreeMap::new();
    let mut wanted_ports = BTreeSet::new();
    let mut ports: BTreeMap<u16, ServiceName> = BTreeMap::new();
    for (name, claim) in chosen {
        if !settings.groups.contains(&name.group) {
            continue;
        }
        let mut refuse = |why: String| problems.push(Problem { subject: name.to_string(), why });
        let Some(port) = claim.port() else {
            refuse("no published port in its metadata or instances".to_owned());
            continue;
        };
        if let Some(first) = ports.get(&port) {
            refuse(format!("its port {port} is already used by {first}"));
            continue;
        }
        wanted_ports.insert(port);
        if settings.taken.contains(&port) {
            refuse(format!("its port {port} is in use by another program on this node"));
            continue;
        }
        ports.insert(port, name.clone());
        let servers = servers(&claim, port, &mut problems);
        services.insert(name, Service { port, servers, env: claim.env().cloned() });
    }
    problems.sort();
    Routing { services, wanted_ports, problems }
}

type Claims<'a> = BTreeMap<ServiceName, Claim<'a>>;

/// Returns the keys below a node's prefix that exceed its limit, regardless of their content. The oldest ones are kept.
/// One problem per node, not per key: many keys would flood the journals of all other nodes.
fn excess(store: &Store) -> (BTreeSet<&str>, Vec<Problem>) {
    let mut nodes: BTreeMap<&str, Vec<(i64, &str)>> = BTreeMap::new();
    for (text, stored) in store.entries() {
        if let Some((node, _)) = text.strip_prefix(INSTANCES).and_then(|rest| rest.split_once('/')) {
            nodes.entry(node).or_default().push((stored.created, text));
        }
    }
    let mut excess = BTreeSet::new();
    let mut problems = Vec::new();
    for (node, mut keys) in nodes {
        if keys.len() > INSTANCES_OF_A_NODE {
            keys.sort_unstable();
            excess.extend(keys[INSTANCES_OF_A_NODE..].iter().map(|(_, text)| *text));
            let why = format!("{} keys exceed the limit; only the first {INSTANCES_OF_A_NODE} count", keys.len());
            problems.push(Problem { subject: printable(&format!("{INSTANCES}{node}/")), why });
        }
    }
    (excess, problems)
}

fn claims<'a>(store: &'a Store, excess: &BTreeSet<&str>, problems: &mut Vec<Problem>) -> Claims<'a> {
    let mut claims = Claims::new();
    for (text, stored) in store.entries().filter(|(text, _)| !excess.contains(text)) {
        match (&stored.key, &stored.entry) {
            (_, Err(error)) => problems.push(unreadable(text, error)),
            (Some(Key::Metadata { group, app }), Ok(Entry::Metadata(metadata))) => {
                let name = ServiceName { group: *group, app: app.clone() };
                claims.entry(name).or_default().metadata = Some((metadata, stored.created));
            }
            (Some(Key::Instance(key)), Ok(Entry::Instance(instance))) => {
                let name = ServiceName { group: key.group, app: key.app.clone() };
                claims.entry(name).or_default().instances.push((text, key, instance, stored.created));
            }
            _ => {}
        }
    }
    claims
}

fn unreadable(key: &str, error: &EntryError) -> Problem {
    Problem { subject: printable(key), why: error.to_string() }
}

fn printable(key: &str) -> String {
    key.chars().map(|letter| if letter.is_control() { '?' } else { letter }).take(200).collect()
}

/// Keeps each application in one group only, and returns them in the order of their creation.
fn one_group_each<'a>(claims: Claims<'a>, problems: &mut Vec<Problem>) -> Vec<(ServiceName, Claim<'a>)> {
    let mut sorted: Vec<_> = claims.into_iter().collect();
    sorted.sort_by_key(|(name, claim)| (claim.since(), name.group));
    let mut groups: BTreeMap<Name, Group> = BTreeMap::new();
    sorted.retain(|(name, _)| match groups.entry(name.app.clone()) {
        btree_map::Entry::Vacant(entry) => {
            entry.insert(name.group);
            true
        }
        btree_map::Entry::Occupied(entry) => {
            let why = format!("{} already has an application of this name", entry.get());
            problems.push(Problem { subject: name.to_string(), why });
            false
        }
    });
    sorted
}

fn servers(claim: &Claim<'_>, port: u16, problems: &mut Vec<Problem>) -> BTreeMap<String, Server> {
    let allowed = claim.metadata.and_then(|(metadata, _)| metadata.nodes.as_ref());
    let mut refuse = |key: &str, why: String| problems.push(Problem { subject: key.to_owned(), why });
    let mut servers = BTreeMap::new();
    let mut addresses = BTreeSet::new();
    // Named instances first: if a node still writes nix-infra's keys too, each instance counts once.
    let (own, old): (Vec<_>, Vec<_>) = claim.instances.iter().partition(|(_, key, ..)| key.name.is_some());
    for (text, key, instance, _) in own.into_iter().chain(old) {
        if allowed.is_some_and(|nodes| !nodes.contains(&key.node)) {
            refuse(text, format!("the application's metadata do not list {}", key.node));
            continue;
        }
        if let Some(other) = instance.publish.filter(|other| *other != port) {
            refuse(text, format!("it publishes port {other}, but the application's port is {port}"));
            continue;
        }
        let address = SocketAddr::new(instance.address, instance.port);
        if addresses.insert(address) {
            servers.insert(key.server(), Server { address, weight: instance.weight });
        }
    }
    servers
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::{INSTANCES_OF_A_NODE, Settings, route};
    use crate::{Group, Pair, Store};

    fn store(pairs: &[(&str, &str)]) -> Store {
        let numbered = pairs.iter().zip(1..);
        Store::of(numbered.map(|((key, value), revision)| Pair {
            key: (*key).to_owned(),
            value: (*value).to_owned(),
            created: revision,
            modified: revision,
        }))
    }

    #[track_caller]
    fn check(pairs: &[(&str, &str)], taken: &[u16], expect: Expect) {
        let settings =
            Settings { groups: [Group::Frontends, Group::Services].into(), taken: taken.iter().copied().collect() };
        let routing = route(&store(pairs), &settings);
        let mut text = String::new();
        for (name, service) in &routing.services {
            let servers = service.servers.iter().map(|(name, server)| format!(" {name}={}", server.address));
            text += &format!("{name} {}{}\n", service.port, servers.collect::<String>());
        }
        for problem in &routing.problems {
            text += &format!("! {problem}\n");
        }
        expect.assert_eq(&text);
    }

    const W1: &str = r#"{"node":"w1","ipv4":"10.0.0.1","port":80}"#;
    const W2: &str = r#"{"node":"w2","ipv4":"10.0.0.2","port":80}"#;
    const PORT_80: &str = r#"{"publish":{"port":80}}"#;

    #[test]
    fn a_cluster_of_nix_infra_is_routed() {
        check(
            &[
                ("/cluster/nodes/w1", r#"{"name":"w1","ipv4":"10.0.0.1","services":["services"]}"#),
                ("/cluster/services/db/meta_data", PORT_80),
                ("/cluster/services/db/instances/w1", W1),
                ("/cluster/services/db/instances/w2", W2),
                ("/cluster/backends/api/meta_data", r#"{"publish":{"port":81}}"#),
            ],
            &[],
            expect![[r#"
                services.db 80 w1=10.0.0.1:80 w2=10.0.0.2:80
            "#]],
        );
    }

    #[test]
    fn instances_may_set_the_published_port() {
        let w1 = r#"{"node":"w1","ipv4":"10.0.0.1","port":8001,"publish":{"port":80}}"#;
        let other = r#"{"node":"w1","ipv4":"10.0.0.1","port":8002,"publish":{"port":90}}"#;
        check(
            &[("/cluster/instances/w1/frontends/web/a", w1), ("/cluster/instances/w1/frontends/web/b", other)],
            &[],
            expect![[r#"
                frontends.web 80 w1:a=10.0.0.1:8001
                ! /cluster/instances/w1/frontends/web/b: it publishes port 90, but the application's port is 80
            "#]],
        );
    }

    #[test]
    fn the_same_application_in_two_groups_stays_in_the_first() {
        check(
            &[
                ("/cluster/services/app/meta_data", PORT_80),
                ("/cluster/frontends/app/meta_data", r#"{"publish":{"port":81}}"#),
                ("/cluster/frontends/app/instances/w1", W1),
                ("/cluster/services/app/instances/w2", W2),
            ],
            &[],
            expect![[r#"
                services.app 80 w2=10.0.0.2:80
                ! frontends.app: services already has an application of this name
            "#]],
        );
    }

    #[test]
    fn ports_that_collide_leave_the_first() {
        check(
            &[
                ("/cluster/services/b/meta_data", PORT_80),
                ("/cluster/services/a/meta_data", PORT_80),
                ("/cluster/services/c/meta_data", r#"{"publish":{"port":22}}"#),
                ("/cluster/services/d/instances/w1", W1),
            ],
            &[22],
            expect![[r#"
                services.b 80
                ! services.a: its port 80 is already used by services.b
                ! services.c: its port 22 is in use by another program on this node
                ! services.d: no published port in its metadata or instances
            "#]],
        );
    }

    #[test]
    fn invalid_entries_are_ignored_and_the_others_are_routed() {
        check(
            &[
                ("/cluster/services/db/meta_data", PORT_80),
                ("/cluster/services/db/instances/w1", W1),
                ("/cluster/services/db/instances/w2", "{"),
                ("/cluster/services/db/instances/w3", W1),
                ("/cluster/services/d b/meta_data", PORT_80),
                ("/cluster/services/x\nfrontend y/meta_data", PORT_80),
            ],
            &[],
            expect![[r#"
                services.db 80 w1=10.0.0.1:80
                ! /cluster/services/d b/meta_data: invalid key
                ! /cluster/services/db/instances/w2: the value is not a JSON object: EOF while parsing an object at line 1 column 1
                ! /cluster/services/db/instances/w3: the key belongs to node w3, the value to w1
                ! /cluster/services/x?frontend y/meta_data: invalid key
            "#]],
        );
    }

    #[test]
    fn metadata_may_name_the_nodes_whose_instances_count() {
        check(
            &[
                ("/cluster/services/db/meta_data", r#"{"publish":{"port":80},"nodes":["w1"]}"#),
                ("/cluster/services/db/instances/w1", W1),
                ("/cluster/services/db/instances/w2", W2),
            ],
            &[],
            expect![[r#"
                services.db 80 w1=10.0.0.1:80
                ! /cluster/services/db/instances/w2: the application's metadata do not list w2
            "#]],
        );
    }

    #[test]
    fn a_node_with_more_keys_than_it_may_have_keeps_its_first_and_harms_no_other() {
        let instance = |port: usize| {
            format!(r#"{{"node":"w1","ipv4":"10.0.0.1","port":{},"publish":{{"port":80}}}}"#, 1000 + port)
        };
        let key = |number: usize| format!("/cluster/instances/w1/services/web/a{:04}", 9999 - number);
        let mut pairs: Vec<(String, String)> = (0..1200).map(|number| (key(number), instance(number))).collect();
        let bad = (0..1200).map(|number| (format!("/cluster/instances/w1/{number}"), String::new()));
        pairs.extend(bad);
        pairs.push(("/cluster/services/db/meta_data".to_owned(), r#"{"publish":{"port":81}}"#.to_owned()));
        pairs.push(("/cluster/services/db/instances/w2".to_owned(), W2.to_owned()));
        let pairs: Vec<(&str, &str)> = pairs.iter().map(|(key, value)| (&**key, &**value)).collect();
        let settings = Settings { groups: [Group::Services].into(), ..Settings::default() };
        let routing = route(&store(&pairs), &settings);
        let servers: Vec<usize> = routing.services.values().map(|service| service.servers.len()).collect();
        assert_eq!(servers, [1, 500], "db of w2, and web of w1");
        let ports = routing.services.values().flat_map(|service| service.servers.values());
        assert_eq!(ports.map(|server| server.address.port()).max(), Some(1499), "the oldest ones");
        let problems: Vec<String> = routing.problems.iter().map(ToString::to_string).collect();
        assert_eq!(problems, ["/cluster/instances/w1/: 2400 keys exceed the limit; only the first 500 count"]);
    }

    #[test]
    fn a_node_with_exactly_the_keys_that_it_may_have_is_no_problem() {
        let of = |number: usize| format!("/cluster/instances/w1/services/web/a{number:04}");
        let keys: Vec<String> = (0..INSTANCES_OF_A_NODE).map(of).collect();
        let pairs: Vec<(&str, &str)> = keys.iter().map(|key| (&**key, W1)).collect();
        let store = store(&pairs);
        let (excess, problems) = super::excess(&store);
        assert!(excess.is_empty() && problems.is_empty(), "{problems:?}");
    }

    #[test]
    fn consumers_get_the_variables_of_the_metadata_or_else_of_an_instance() {
        let value = |prefix: &str, node: &str| {
            format!(
                r#"{{"node":"{node}","ipv4":"10.0.0.1","port":80,"publish":{{"port":80}},"env_prefix":"{prefix}","env":{{"PROTOCOL":"http","PATH":""}}}}"#
            )
        };
        let prefix = |pairs: &[(&str, &str)]| {
            let settings = Settings { groups: [Group::Services].into(), ..Settings::default() };
            let routing = route(&store(pairs), &settings);
            routing.services.into_values().find_map(|service| service.env).map(|env| env.prefix.to_string())
        };
        let (instance, metadata) = (value("OF_INSTANCE", "w1"), value("OF_METADATA", "w1"));
        let instance = ("/cluster/services/db/instances/w1", instance.as_str());
        assert_eq!(prefix(&[instance]).as_deref(), Some("OF_INSTANCE"));
        let metadata = ("/cluster/services/db/meta_data", metadata.as_str());
        assert_eq!(prefix(&[instance, metadata]).as_deref(), Some("OF_METADATA"));
        assert_eq!(prefix(&[("/cluster/services/db/instances/w1", W1)]), None);
    }

    #[test]
    fn an_instance_under_the_keys_of_both_layouts_counts_once() {
        let new = r#"{"node":"w1","ipv4":"10.0.0.1","port":80,"publish":{"port":80}}"#;
        check(
            &[
                ("/cluster/services/db/meta_data", PORT_80),
                ("/cluster/services/db/instances/w1", W1),
                ("/cluster/instances/w1/services/db/db", new),
            ],
            &[],
            expect![[r#"
                services.db 80 w1:db=10.0.0.1:80
            "#]],
        );
    }
}
