//! Check of the overlay between nodes.

use std::collections::{BTreeMap, BTreeSet};

use machinist_model::{Node, NodeName, Orchestrator};
use machinist_remote::Request;
use machinist_rollout::script;

use super::{
    kubernetes::is_control_plane_only,
    report::{Earlier, Finding, Problem},
    run::{LOOK, output},
    site::Site,
};

/// Number of other nodes that each node pings, at most: those that follow it by name.
const PEERS: usize = 32;

/// Pings other nodes at once; three answers within five seconds are enough. Input variables: peers (NAME=ADDRESS, in words).
const PING: &str = "\
export PATH=/run/wrappers/bin:/run/current-system/sw/bin:$PATH
command -v ping >/dev/null || { echo 'ping is not installed' >&2; exit 127; }
for peer in $peers; do
  if ping -n -q -c 3 -i 0.2 -w 5 \"${peer#*=}\" >/dev/null 2>&1; then echo \"${peer%%=*}\"; fi &
done
wait
";

/// Every node answers the others in the overlay.
pub(super) fn pings(site: &Site<'_>, earlier: &Earlier) -> Finding {
    let addresses = match addresses(site) {
        Ok(addresses) => addresses,
        Err(why) => return Finding::skipped(why),
    };
    let mut finding = earlier.without(&["reachable"], addresses.keys().cloned());
    if finding.nodes.len() < 2 {
        return Finding::skipped("fewer than two of the targets are in the overlay");
    }
    finding.problems.extend(site.undescribed(&finding.nodes.clone()));
    finding.problems.extend(without_device(site, &addresses));
    let nodes: Vec<NodeName> = finding.nodes.iter().cloned().collect();
    if nodes.len() > PEERS + 1 {
        finding.notes.push(format!("each node pings the next {PEERS}"));
    }
    let silent = site.each(&nodes, |node, remote| {
        let peers = peers(&nodes, node);
        let words = |peer: &&NodeName| addresses.get(*peer).map(|address| format!("{peer}={address}"));
        let words: Vec<String> = peers.iter().filter_map(words).collect();
        let script = script::with(&[("peers", &words.join(" "))], PING);
        let text = output(node, remote, Request::new("ping other nodes", script).timeout(LOOK))?;
        let answered: BTreeSet<&str> = text.lines().collect();
        Ok::<_, String>(peers.into_iter().filter(|peer| !answered.contains(peer.as_str())).cloned().collect::<Vec<_>>())
    });
    for (node, silent) in silent {
        match silent {
            Ok(silent) if silent.is_empty() => {}
            Ok(silent) => {
                let list: Vec<String> = silent
                    .iter()
                    .map(|peer| format!("{peer} ({})", addresses.get(peer).cloned().unwrap_or_default()))
                    .collect();
                let count = if silent.len() + 1 == nodes.len() { "any other node: " } else { "" };
                finding.problem(Problem::on(&node, format!("no answer to pings from {count}{}", list.join(", "))));
            }
            Err(why) => finding.problem(Problem::on(&node, why)),
        }
    }
    finding
}

/// Returns the nodes that follow the node, the first after the last.
fn peers<'a>(nodes: &'a [NodeName], node: &NodeName) -> Vec<&'a NodeName> {
    let at = nodes.iter().position(|name| name == node).unwrap_or(0);
    let (before, after) = nodes.split_at(at);
    after.iter().skip(1).chain(before).take(PEERS).collect()
}

/// Returns a problem for each node that runs pods and has no device of flannel, although others have one.
fn without_device(site: &Site<'_>, addresses: &BTreeMap<NodeName, String>) -> Vec<Problem> {
    let is_cluster = |node: &Node| site.cluster.runs_kubernetes(node) || site.cluster.runs_k3s(node);
    let nodes = site.targets_that(is_cluster).into_iter().filter(|node| site.description(node).is_some());
    let missing = nodes.filter(|node| !is_control_plane_only(site, node) && !addresses.contains_key(node));
    missing
        .map(|node| {
            let hint = format!("`machinist logs {node} flannel`");
            Problem::on(&node, "flannel has no device here: pods get no network").hint(Some(hint))
        })
        .collect()
}

/// Returns the address in the overlay of each target, or why there is none.
fn addresses(site: &Site<'_>) -> Result<BTreeMap<NodeName, String>, String> {
    let known = |name: &NodeName| {
        let part = site.cluster.overlay_part(site.cluster.nodes.get(name)?)?;
        Some((name.clone(), part.address.to_string()))
    };
    let observed = |name: &NodeName| Some((name.clone(), site.description(name)?.flannel.first()?.clone()));
    match site.cluster.orchestrator {
        Some(Orchestrator::Mesh) if site.cluster.mesh_overlay().is_none() => {
            Err("machines.nix describes no overlay".to_owned())
        }
        Some(Orchestrator::Mesh) => Ok(site.targets.iter().filter_map(known).collect()),
        Some(Orchestrator::Kubernetes | Orchestrator::K3s) => {
            let found: BTreeMap<_, _> = site.targets.iter().filter_map(observed).collect();
            if found.is_empty() { Err("no node has a device of flannel".to_owned()) } else { Ok(found) }
        }
        None => Err("a fleet has no overlay".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use machinist_model::NodeName;

    use super::{PEERS, peers};

    #[test]
    fn each_node_pings_those_that_follow_it_and_a_bounded_number() {
        let nodes: Vec<NodeName> = ["a", "b", "c"].map(|name| NodeName::parse(name).unwrap()).into();
        assert_eq!(peers(&nodes, &nodes[1]), [&nodes[2], &nodes[0]]);
        let many: Vec<NodeName> = (0..100).map(|number| NodeName::parse(&format!("n{number:03}")).unwrap()).collect();
        let of_last = peers(&many, &many[99]);
        assert_eq!((of_last.len(), of_last[0]), (PEERS, &many[0]));
    }
}
