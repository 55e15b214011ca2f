//! Checks of a service mesh: agents, instances, and routes to them.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr},
};

use machinist_mesh::CheckKind;
use machinist_model::NodeName;

use super::{
    description::{Agent, Description, Offered},
    probe::{self, Probe},
    report::{Earlier, Finding, Problem},
    site::Site,
};
use crate::apps::{Registered, registered};

/// Reason for the skip without a mesh.
pub(super) const NO_MESH: &str = "none of the targets is a node of a mesh";

/// Number of requests to an application through a node's port, at most; otherwise as many as it has instances.
const REQUESTS: usize = 8;

/// Returns the finding about the mesh's nodes on which none of the checks failed.
pub(super) fn nodes(site: &Site<'_>, earlier: &Earlier, checks: &[&'static str]) -> Finding {
    let nodes = site.targets_that(|node| site.cluster.runs_mesh(node));
    if nodes.is_empty() { Finding::skipped(NO_MESH) } else { earlier.without(checks, nodes) }
}

/// Every agent works.
pub(super) fn agents(site: &Site<'_>, earlier: &Earlier) -> Finding {
    let mut finding = nodes(site, earlier, &["reachable"]);
    finding.problems.extend(site.undescribed(&finding.nodes.clone()));
    for node in finding.nodes.clone() {
        let Some(description) = site.description(&node) else { continue };
        let problems = match &description.agent {
            Some(agent) => agent_problems(agent),
            None => vec!["its system has no agent of the mesh".to_owned()],
        };
        for why in problems {
            let hint = Some(format!("`machinist logs {node} machinist-agent`"));
            finding.problem(Problem::on(&node, why).hint(hint));
        }
        let ignored =
            description.agent.iter().filter_map(|agent| agent.status.as_ref()).flat_map(|status| &status.problems);
        let ignored = ignored.map(|one| format!("{node} ignores {} in etcd: {}", one.subject, one.why));
        finding.notes.extend(ignored.take(3));
    }
    finding
}

fn agent_problems(agent: &Agent) -> Vec<String> {
    let Some(status) = &agent.status else { return vec!["its agent does not answer".to_owned()] };
    let healthy = agent.health == "ok";
    let claims = [
        (healthy && status.haproxy, "haproxy does not run the routing of its agent"),
        (status.watching, "its agent does not watch etcd"),
        (status.leased, "its agent has no lease in etcd"),
    ];
    let mut problems: Vec<String> =
        claims.into_iter().filter(|(holds, _)| !holds).map(|(_, why)| why.to_owned()).collect();
    problems.extend(status.trouble.iter().map(|(what, why)| format!("its agent reports {what}: {why}")));
    problems
}

/// Every instance answers, and is in the mesh.
pub(super) fn apps(site: &Site<'_>, earlier: &Earlier) -> Finding {
    let mut finding = nodes(site, earlier, &["reachable", "mesh-agent"]);
    let has_one = |node: &NodeName| {
        let placed = site.cluster.nodes.get(node).is_some_and(|node| !node.apps.is_empty());
        placed || site.description(node).is_some_and(|description| !description.instances.is_empty())
    };
    if finding.nodes.is_empty() {
        return finding;
    }
    finding.nodes.retain(has_one);
    if finding.nodes.is_empty() {
        return Finding::skipped("no application is placed on the targets");
    }
    let known = match registered(&site.cluster, &site.connector) {
        Ok(known) => known,
        Err(failure) => {
            finding.problem(Problem::of_cluster(format!(
                "the instances in etcd cannot be read: {}",
                failure.in_one_line()
            )));
            return finding;
        }
    };
    let problems = site.each(&finding.nodes, |node, remote| {
        let Some(description) = site.description(node) else { return Vec::new() };
        let mut problems = absent(site, node, description);
        let own: Vec<Probe> = description.instances.iter().map(own_address).collect();
        problems.extend(probe::send(node, remote, &own));
        let unregistered = description.instances.iter().filter(|offered| !is_registered(&known, node, offered));
        problems.extend(unregistered.map(|offered| format!("{} is not in the mesh", offered.instance.name)));
        problems
    });
    for (node, problems) in problems {
        problems.iter().for_each(|why| finding.problem(Problem::on(&node, why)));
    }
    finding
}

/// Returns a problem for each application that machines.nix places on the node, and that it does not offer.
fn absent(site: &Site<'_>, node: &NodeName, description: &Description) -> Vec<String> {
    let placed = site.cluster.nodes.get(node).map(|node| node.apps.clone()).unwrap_or_default();
    let is_offered = |app: &String| description.instances.iter().any(|offered| *offered.instance.key.app == **app);
    let absent = placed.into_iter().filter(|app| !is_offered(app));
    absent.map(|app| format!("{app} is placed here, and no instance of it runs")).collect()
}

fn own_address(offered: &Offered) -> Probe {
    let value = &offered.instance.value;
    Probe::of(&offered.instance.name, &offered.instance.check.kind, value.address, value.port)
}

fn is_registered(known: &BTreeMap<String, Vec<Registered>>, node: &NodeName, offered: &Offered) -> bool {
    let instances = known.get(&*offered.instance.key.app);
    let is_it = |one: &Registered| {
        one.node == node.as_str() && one.name.as_deref().is_none_or(|name| name == &*offered.instance.name)
    };
    instances.is_some_and(|instances| instances.iter().any(is_it))
}

/// Every node reaches the applications through its own port.
pub(super) fn routes(site: &Site<'_>, earlier: &Earlier) -> Finding {
    let mut finding = nodes(site, earlier, &["reachable", "mesh-agent"]);
    let kinds = kinds(site);
    let working = working(site, earlier);
    let mut count = 0;
    let mut probes: BTreeMap<NodeName, Vec<Probe>> = BTreeMap::new();
    for node in finding.nodes.clone() {
        let Some(agent) = site.description(&node).and_then(|description| description.agent.as_ref()) else { continue };
        for name in working.iter().filter(|name| reaches(agent, name) && !agent.routing.contains_key(*name)) {
            finding.problem(Problem::on(&node, format!("{name} has an instance that works, and is not routed")));
        }
        let of_node = probes.entry(node).or_default();
        for (name, routed) in &agent.routing {
            // Without a server that works, the check of the instances has failed.
            if routed.servers.is_empty() || (kinds.contains_key(name) && !working.contains(name)) {
                continue;
            }
            let kind = kinds.get(name).unwrap_or(&CheckKind::Tcp);
            let probe = Probe::of(name, kind, IpAddr::V4(Ipv4Addr::LOCALHOST), routed.port);
            let requests = routed.servers.len().min(REQUESTS);
            count += requests;
            of_node.extend(std::iter::repeat_n(probe, requests));
        }
    }
    finding.nodes.retain(|node| probes.get(node).is_some_and(|probes| !probes.is_empty()));
    if count == 0 && finding.problems.is_empty() && finding.notes.is_empty() {
        return Finding::skipped("no node routes an application");
    }
    let empty = Vec::new();
    let failed =
        site.each(&finding.nodes, |node, remote| probe::send(node, remote, probes.get(node).unwrap_or(&empty)));
    for (node, failed) in failed {
        failed.iter().for_each(|why| finding.problem(Problem::on(&node, why)));
    }
    finding
}

fn reaches(agent: &Agent, name: &str) -> bool {
    name.split_once('.').is_some_and(|(group, _)| agent.groups.contains(group))
}

/// Returns the check of each application that a target offers, by `group.app`.
fn kinds(site: &Site<'_>) -> BTreeMap<String, CheckKind> {
    offers(site).map(|(_, offered)| (name(offered), offered.instance.check.kind.clone())).collect()
}

/// Returns the applications with an instance that works.
fn working(site: &Site<'_>, earlier: &Earlier) -> Vec<String> {
    let ill = ["reachable", "mesh-agent", "apps"];
    let works = |node: &NodeName| !ill.iter().any(|check| earlier.has(check, node));
    let mut names: Vec<String> =
        offers(site).filter(|(node, _)| works(node)).map(|(_, offered)| name(offered)).collect();
    names.sort();
    names.dedup();
    names
}

/// Returns the instances that the targets offer, with their nodes.
pub(super) fn offers<'s>(site: &'s Site<'_>) -> impl Iterator<Item = (&'s NodeName, &'s Offered)> {
    let of_node = |(node, description): (&'s NodeName, &'s Result<Description, String>)| {
        description.iter().flat_map(|description| &description.instances).map(move |offered| (node, offered))
    };
    site.descriptions().iter().flat_map(of_node)
}

fn name(offered: &Offered) -> String {
    format!("{}.{}", offered.instance.key.group, &*offered.instance.key.app)
}

#[cfg(test)]
mod tests {
    use super::{super::description::Status, Agent, agent_problems};

    #[test]
    fn an_agent_is_well_if_it_watches_keeps_its_lease_and_routes() {
        let status = |watching, leased, haproxy| Status { watching, leased, haproxy, ..Status::default() };
        let agent = |status| Agent { health: "ok".to_owned(), status, ..Agent::default() };
        assert!(agent_problems(&agent(Some(status(true, true, true)))).is_empty());
        assert_eq!(agent_problems(&agent(Some(status(false, false, false)))).len(), 3);
        assert_eq!(agent_problems(&agent(None)), ["its agent does not answer"]);
        let stuck = Agent { health: "not routing".to_owned(), ..agent(Some(status(true, true, true))) };
        assert_eq!(agent_problems(&stuck).len(), 1);
    }
}
