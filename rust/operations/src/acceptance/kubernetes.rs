//! Checks of Kubernetes and of k3s.

use std::{collections::BTreeMap, net::IpAddr};

use machinist_model::{NodeName, Orchestrator, Role, defaults};
use machinist_remote::Request;
use machinist_rollout::script;

use super::{
    report::{Earlier, Finding, Problem},
    run::{LOOK, output},
    site::Site,
};
use crate::kubernetes::server::{From, Reach};

/// Requests /readyz of an API server of k3s, on a node of k3s. Input variables: url. A server has the administrator's
/// certificate; an agent has none, and status 401 then proves that the API answers.
const K3S_READY: &str = "\
export PATH=/run/current-system/sw/bin:$PATH
k3s=/var/lib/rancher/k3s
if [ -e $k3s/server/tls/client-admin.key ]; then
  set -- --cacert $k3s/server/tls/server-ca.crt --cert $k3s/server/tls/client-admin.crt --key $k3s/server/tls/client-admin.key
  wanted=200
else
  set -- --cacert $k3s/agent/server-ca.crt
  wanted='200|401'
fi
status=$(curl --silent --show-error --noproxy '*' --max-time 10 --output /dev/null --write-out '%{http_code}' \"$@\" \"$url\") || exit 1
case \"|$wanted|\" in *\"|$status|\"*) ;; *) echo \"status $status\" >&2; exit 1 ;; esac
";

/// Lists the nodes of k3s with their states.
const K3S_NODES: &str = "\
export PATH=/run/current-system/sw/bin:$PATH
timeout 20 k3s kubectl get nodes
";

/// Reason for the skip without Kubernetes.
const NO_KUBERNETES: &str = "the cluster has no Kubernetes";

/// Every API server is ready, and reached at the cluster's address.
pub(super) fn servers(site: &Site<'_>, earlier: &Earlier) -> Finding {
    match site.cluster.orchestrator {
        Some(Orchestrator::Kubernetes) => of_kubernetes(site, earlier),
        Some(Orchestrator::K3s) => of_k3s(site, earlier),
        _ => Finding::skipped(NO_KUBERNETES),
    }
}

/// Every node is Ready.
pub(super) fn nodes(site: &Site<'_>, earlier: &Earlier) -> Finding {
    let (mut finding, states) = match site.cluster.orchestrator {
        Some(Orchestrator::Kubernetes) => {
            let nodes = site.targets_that(|node| site.cluster.runs_kubernetes(node));
            let states = reach(site).with_server(|server| async move {
                server
                    .readiness()
                    .await
                    .map_err(|error| crate::failure::Failure::from_error(crate::failure::Kind::Failed, &error))
            });
            (earlier.without(&["reachable"], nodes), states.map_err(|failure| failure.in_one_line()))
        }
        Some(Orchestrator::K3s) => {
            let nodes = site.targets_that(|node| site.cluster.runs_k3s(node));
            (earlier.without(&["reachable"], nodes), k3s_nodes(site))
        }
        _ => return Finding::skipped(NO_KUBERNETES),
    };
    let states = match states {
        Ok(states) => states,
        Err(why) => {
            finding.problem(Problem::of_cluster(format!("the nodes cannot be listed: {why}")));
            return finding;
        }
    };
    for node in finding.nodes.clone() {
        match states.get(node.as_str()) {
            Some(None) => {}
            Some(Some(why)) => finding.problem(Problem::on(&node, format!("it is not Ready: {why}"))),
            // A control plane without the role `worker` runs no kubelet, and is no node.
            None if is_control_plane_only(site, &node) => drop(finding.nodes.remove(&node)),
            None => finding.problem(Problem::on(&node, "Kubernetes does not know it")),
        }
    }
    finding
}

pub(super) fn is_control_plane_only(site: &Site<'_>, node: &NodeName) -> bool {
    let works = [Role::Worker, Role::Ingress];
    site.cluster.nodes.get(node).is_some_and(|node| {
        node.roles.contains(&Role::ControlPlane) && !works.iter().any(|role| node.roles.contains(role))
    })
}

fn reach<'s>(site: &'s Site<'_>) -> Reach<'s> {
    let certs = site.context.project.certs();
    Reach { certs, cluster: &site.cluster, connector: &site.connector, keyring: &site.context.keyring }
}

/// Returns the places to try: each server by itself, and the endpoint from each node.
fn ways(site: &Site<'_>, nodes: impl Iterator<Item = NodeName>) -> Vec<(NodeName, IpAddr, u16)> {
    let endpoint = site.cluster.kube_master.as_ref();
    let port = endpoint.map_or(defaults::API_PORT, |endpoint| endpoint.port);
    let of_node = |node: NodeName| {
        let is_server = site.cluster.nodes.get(&node).is_some_and(|node| node.roles.contains(&Role::ControlPlane));
        let own = is_server.then(|| (node.clone(), IpAddr::from([127, 0, 0, 1]), port));
        own.into_iter().chain(endpoint.map(|endpoint| (node, endpoint.ip, port)))
    };
    nodes.flat_map(of_node).collect()
}

fn of_kubernetes(site: &Site<'_>, earlier: &Earlier) -> Finding {
    let nodes = site.targets_that(|node| site.cluster.runs_kubernetes(node));
    let mut finding = earlier.without(&["reachable"], nodes);
    let ways = ways(site, finding.nodes.clone().into_iter());
    let ways: Vec<From> = ways.into_iter().map(|(node, host, port)| From { node, host, port }).collect();
    match reach(site).try_each(&ways) {
        Ok(failed) => {
            for (way, why) in failed {
                finding.problem(Problem::on(&way.node, format!("the API at {}:{}: {why}", way.host, way.port)));
            }
        }
        Err(failure) => finding.problem(Problem::of_cluster(failure.in_one_line())),
    }
    finding
}

fn of_k3s(site: &Site<'_>, earlier: &Earlier) -> Finding {
    let nodes = site.targets_that(|node| site.cluster.runs_k3s(node));
    let mut finding = earlier.without(&["reachable"], nodes);
    let failed = site.each(&finding.nodes, |node, remote| {
        let mut failed = Vec::new();
        for (_, host, port) in ways(site, std::iter::once(node.clone())) {
            let place = std::net::SocketAddr::new(host, port);
            let text = script::with(&[("url", &format!("https://{place}/readyz"))], K3S_READY);
            let asked = output(node, remote, Request::new("query the API server of k3s", text).timeout(LOOK));
            failed.extend(asked.err().map(|why| format!("the API at {place}: {why}")));
        }
        failed
    });
    for (node, failed) in failed {
        failed.iter().for_each(|why| finding.problem(Problem::on(&node, why)));
    }
    if site.cluster.kube_master.is_none() {
        finding
            .nodes
            .retain(|node| site.cluster.nodes.get(node).is_some_and(|node| node.roles.contains(&Role::ControlPlane)));
    }
    finding
}

/// Lists the nodes through the first server that answers.
fn k3s_nodes(site: &Site<'_>) -> Result<BTreeMap<String, Option<String>>, String> {
    let mut last = "no target is a server of k3s that answers".to_owned();
    for server in site.cluster.with_role(Role::ControlPlane) {
        let Some(remote) = site.remote(&server.name) else { continue };
        match output(&server.name, remote, Request::new("list the nodes of k3s", K3S_NODES).timeout(LOOK)) {
            Ok(text) => return Ok(listed(&text)),
            Err(why) => last = why,
        }
    }
    Err(last)
}

/// Parses the table of `kubectl get nodes`: nodes that are Ready have no reason.
fn listed(text: &str) -> BTreeMap<String, Option<String>> {
    let row = |line: &str| {
        let mut words = line.split_whitespace();
        let (name, state) = (words.next()?, words.next()?);
        // `Ready,SchedulingDisabled` is a node that is drained, on purpose.
        let ready = state.split(',').any(|word| word == "Ready");
        (name != "NAME").then(|| (name.to_owned(), (!ready).then(|| state.to_owned())))
    };
    text.lines().filter_map(row).collect()
}

#[cfg(test)]
mod tests {
    use super::listed;

    #[test]
    fn a_node_that_is_not_ready_is_not_taken_for_one_that_is() {
        let text = "NAME STATUS ROLES AGE VERSION\ns1 Ready control-plane 1d v1\ns2 NotReady <none> 1d v1\n\
                    s3 Ready,SchedulingDisabled <none> 1d v1\n";
        let found = listed(text);
        assert_eq!(found["s1"], None);
        assert_eq!(found["s2"].as_deref(), Some("NotReady"));
        assert_eq!((found.len(), &found["s3"]), (3, &None));
    }
}
