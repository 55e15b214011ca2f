//! Check of a mesh's way from etcd to haproxy: a key is written, routed by every node, and deleted.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    time::Duration,
};

use machinist_etcd::etcd::client_url;
use machinist_mesh::{INSTANCES, Instance, Name};
use machinist_model::NodeName;
use machinist_remote::{Remote, Request};
use machinist_rollout::{
    membership::{Voice, find_voice},
    script,
};

use super::{
    description::{self, Routing, Status},
    etcd::LEASE,
    mesh,
    report::{Earlier, Finding, Problem},
    run::{LOOK, output},
    site::Site,
};
use crate::{failure::words, rollout::target::voters};

/// Name of the node whose instances the keys are: no machine has it. The applications' names begin with it.
const NODE: &str = "machinist-test";

/// Time limit for all nodes to route a key, or to stop.
const SPREAD: Duration = Duration::from_secs(15);

/// First of the ports that the keys publish on 127.0.0.1: beyond those that Linux gives to outgoing connections. The same in
/// each test, because haproxy keeps a port without servers open until its next reload: a later test finds it open.
const PORTS: u16 = 61_997;

/// Port of the instance: the discard service. No request is sent to it.
const DISCARD: u16 = 9;

const PUT: &str = include_str!("lease.sh");

const REVOKE: &str = "\
export PATH=/run/current-system/sw/bin:$PATH
machinist-etcdctl --command-timeout=5s --dial-timeout=3s --endpoints=\"$endpoint\" lease revoke \"$lease\" >/dev/null
";

const QUERY: &str = "\
export PATH=/run/current-system/sw/bin:$PATH
curl --silent --show-error --noproxy '*' --max-time 5 \"http://$listen/$path\"
";

/// A key goes from etcd to every node's haproxy, and away again.
pub(super) fn round_trip(site: &Site<'_>, earlier: &Earlier) -> Finding {
    let mut finding = mesh::nodes(site, earlier, &["reachable", "mesh-agent"]);
    // A node that routes no group, such as a registry, has nothing to show.
    finding.nodes.retain(|node| !groups(site, node).is_empty());
    let Some(first) = finding.nodes.first() else { return finding };
    let Some(address) = site.cluster.nodes.get(first).map(|node| node.ip) else { return finding };
    let keys = Keys::new(&site.mark, address);
    let (voice, lease) = match put(site, &keys) {
        Ok(put) => put,
        Err(why) => {
            finding.problem(Problem::of_cluster(format!("the key cannot be written to etcd: {why}")));
            return finding;
        }
    };
    let unrouted = await_nodes(site, &finding.nodes, |node, routing| keys.are_routed(&groups(site, node), routing));
    for node in unrouted {
        let reason = keys.reason(&status(site, &node));
        finding.problem(Problem::on(&node, format!("a key that was written to etcd is not routed: {reason}")));
    }
    if let Err(why) = revoke(&voice, &lease) {
        let why = format!("the key cannot be removed from etcd: {why}; its lease ends in {LEASE} s");
        finding.problem(Problem::of_cluster(why));
        return finding;
    }
    let kept = await_nodes(site, &finding.nodes, |_, routing| !keys.are_in(routing));
    for node in kept {
        finding.problem(Problem::on(&node, "a key that was deleted from etcd is still routed"));
    }
    finding
}

/// Keys of a test, one for each group.
struct Keys {
    /// Name of the instance.
    name: String,
    address: IpAddr,
}

const GROUPS: [&str; 3] = ["backends", "frontends", "services"];

impl Keys {
    fn new(mark: &str, address: IpAddr) -> Self {
        Self { name: format!("test-{}", mark.rsplit('-').next().unwrap_or_default()), address }
    }

    /// Returns the keys with their values, a line each.
    fn lines(&self) -> Result<String, String> {
        let node = Name::parse(NODE).map_err(|error| error.to_string())?;
        let line = |(group, port): (&str, u16)| {
            let (address, node) = (self.address, node.clone());
            let instance = Instance { node, address, port: DISCARD, weight: 100, publish: Some(port), env: None };
            format!("{INSTANCES}{NODE}/{group}/{NODE}-{group}/{} {}\n", self.name, instance.write())
        };
        Ok(GROUPS.into_iter().zip(PORTS..).map(line).collect())
    }

    fn are_routed(&self, groups: &BTreeSet<String>, routing: &Routing) -> bool {
        groups.iter().all(|group| self.is_routed(group, routing))
    }

    fn are_in(&self, routing: &Routing) -> bool {
        GROUPS.iter().any(|group| self.is_routed(group, routing))
    }

    fn is_routed(&self, group: &str, routing: &Routing) -> bool {
        let service = routing.get(&format!("{group}.{NODE}-{group}"));
        service.is_some_and(|service| service.servers.contains_key(&format!("{NODE}:{}", self.name)))
    }

    /// Returns the agent's own reason for ignoring a key.
    fn reason(&self, status: &Status) -> String {
        let own = status.problems.iter().find(|problem| problem.subject.contains(NODE));
        own.map_or_else(|| format!("not within {} s", SPREAD.as_secs()), |problem| problem.why.clone())
    }
}

fn groups(site: &Site<'_>, node: &NodeName) -> BTreeSet<String> {
    let agent = site.description(node).and_then(|description| description.agent.as_ref());
    agent.map(|agent| agent.groups.clone()).unwrap_or_default()
}

fn put(site: &Site<'_>, keys: &Keys) -> Result<(Voice, String), String> {
    let members = voters(&site.cluster);
    let askable: Vec<NodeName> = members.keys().cloned().collect();
    let voice = find_voice(&site.connector, &askable, &members, None).map_err(|error| error.to_string())?;
    let variables =
        [("endpoint", &*client_url(voice.ip)), ("seconds", LEASE)].map(|(name, value)| (name, value.to_owned()));
    let text = script::with(&variables.each_ref().map(|(name, value)| (*name, value.as_str())), PUT);
    let request = Request::new("write keys to etcd with a lease", text).bytes(keys.lines()?).timeout(LOOK);
    let text = output(&voice.node, &*voice.remote, request)?;
    let lease = text.lines().find_map(|line| line.strip_prefix("lease "));
    let lease = lease.ok_or("etcd did not name the lease")?.to_owned();
    Ok((voice, lease))
}

fn revoke(voice: &Voice, lease: &str) -> Result<(), String> {
    let text = script::with(&[("endpoint", &client_url(voice.ip)), ("lease", lease)], REVOKE);
    output(&voice.node, &*voice.remote, Request::new("remove keys from etcd with their lease", text).timeout(LOOK))
        .map(drop)
}

/// Waits until the predicate holds on all nodes, and returns those where it does not.
fn await_nodes(
    site: &Site<'_>,
    nodes: &BTreeSet<NodeName>,
    holds: impl Fn(&NodeName, &Routing) -> bool + Sync,
) -> Vec<NodeName> {
    let mut waiting: Vec<NodeName> = nodes.iter().cloned().collect();
    site.until(SPREAD, || {
        let found: BTreeMap<NodeName, bool> = site.each(&waiting, |node, remote| {
            query(site, "routing", node, remote).is_ok_and(|text| holds(node, &description::routing(&text)))
        });
        waiting.retain(|node| !found.get(node).copied().unwrap_or(false));
        waiting.is_empty()
    });
    waiting
}

fn query(site: &Site<'_>, path: &str, node: &NodeName, remote: &dyn Remote) -> Result<String, String> {
    let agent = site.description(node).and_then(|description| description.agent.as_ref());
    let listen = agent.map(|agent| agent.listen.as_str()).ok_or("it has no agent")?;
    let text = script::with(&[("listen", listen), ("path", path)], QUERY);
    let output = remote.run_checked(Request::new("query the agent", text).timeout(LOOK));
    output.map(|output| output.stdout_text()).map_err(|error| words(node, &error))
}

fn status(site: &Site<'_>, node: &NodeName) -> Status {
    let text = site.remote(node).and_then(|remote| query(site, "status", node, remote).ok());
    text.and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use machinist_mesh::{Instance, Key};

    use super::{Keys, Routing, Status};
    use crate::acceptance::description::{Ignored, Routed};

    fn keys() -> Keys {
        Keys::new("20261130t100000-123-ffffffff", "10.0.0.5".parse().unwrap())
    }

    #[test]
    fn the_keys_are_instances_that_a_node_would_route() {
        let lines = keys().lines().unwrap();
        assert_eq!(lines.lines().count(), 3);
        for line in lines.lines() {
            let (key, value) = line.split_once(' ').unwrap();
            let Some(Key::Instance(key)) = Key::parse(key) else { unreachable!("{key}") };
            let instance = Instance::read(value.as_bytes()).unwrap();
            assert_eq!((key.node, instance.publish.is_some_and(|port| port >= 61_000)), (instance.node, true));
            assert!(key.app.is_label());
        }
    }

    #[test]
    fn a_node_has_to_route_the_keys_of_its_groups_and_of_no_other() {
        let keys = keys();
        let mut routing = Routing::new();
        let server = |name: &str| (name.to_owned(), "10.0.0.5:9".to_owned());
        let of = |server| Routed { servers: [server].into(), ..Routed::default() };
        let groups = ["backends".to_owned(), "services".to_owned()].into();
        assert!(!keys.are_routed(&groups, &routing) && !keys.are_in(&routing));
        routing.insert("backends.machinist-test-backends".to_owned(), of(server("machinist-test:test-ffffffff")));
        assert!(!keys.are_routed(&groups, &routing) && keys.are_in(&routing));
        routing.insert("services.machinist-test-services".to_owned(), of(server("machinist-test:test-0")));
        assert!(!keys.are_routed(&groups, &routing), "the key of another test");
        routing.insert("services.machinist-test-services".to_owned(), of(server("machinist-test:test-ffffffff")));
        assert!(keys.are_routed(&groups, &routing));
    }

    #[test]
    fn a_port_that_haproxy_keeps_without_servers_is_not_routed() {
        let routing = [("backends.machinist-test-backends".to_owned(), Routed::default())].into();
        assert!(!keys().are_in(&routing));
    }

    #[test]
    fn the_reason_is_the_agents_own_if_it_has_one() {
        let problem = |subject: &str| Ignored { subject: subject.to_owned(), why: "its port is in use".to_owned() };
        let status = |subject| Status { problems: vec![problem(subject)], ..Status::default() };
        assert_eq!(keys().reason(&status("services.machinist-test-services")), "its port is in use");
        assert_eq!(keys().reason(&status("services.web")), "not within 15 s");
    }
}
