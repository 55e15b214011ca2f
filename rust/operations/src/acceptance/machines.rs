//! Checks of each machine by itself.

use std::{collections::BTreeMap, time::Duration};

use machinist_model::NodeName;
use machinist_nix::StorePath;
use machinist_remote::Request;
use machinist_rollout::{
    drift::{self, FindingKind},
    expiry, script,
};

use super::{
    report::{Earlier, Finding, Problem},
    run::output,
    site::Site,
};
use crate::{drift::expected, failure::words};

/// Kinds of drift that mean another system than the expected one.
const OF_SYSTEM: [FindingKind; 5] =
    [FindingKind::NeverDeployed, FindingKind::Runs, FindingKind::Boots, FindingKind::Directory, FindingKind::Booted];

/// Runs one gate once. Input variables: name.
const GATE: &str = "\
export PATH=/run/current-system/sw/bin:$PATH
while read -r gate seconds script; do
  if [ \"$gate\" = \"$name\" ]; then exec timeout \"$seconds\" \"$script\"; fi
done </etc/machinist/gates
echo 'its system does not have this gate: deploy' >&2
exit 1
";

/// Every node answers.
pub(super) fn reachable(site: &Site<'_>, _: &Earlier) -> Finding {
    let mut finding = Finding::about(site.targets.iter().cloned());
    for (node, asked) in &site.asked {
        if let Err(error) = asked {
            finding.problem(Problem::on(node, words(node, error)).hint(error.hint()));
        }
    }
    finding
}

/// Every node runs the expected system.
pub(super) fn system(site: &Site<'_>, earlier: &Earlier) -> Finding {
    let mut finding = earlier.without(&["reachable"], site.targets.iter().cloned());
    if finding.nodes.is_empty() {
        return finding;
    }
    let expected: BTreeMap<NodeName, StorePath> = if site.request.recorded {
        finding.notes.push("compared with the last deploy only".to_owned());
        BTreeMap::new()
    } else {
        let nodes: Vec<NodeName> = finding.nodes.iter().cloned().collect();
        match expected(site.context, &site.cluster, &nodes) {
            Ok(expected) => expected,
            Err(failure) => {
                let why = format!("the expected systems cannot be built: {}", failure.in_one_line());
                let hint = "--recorded compares with the last deploy, and builds nothing";
                finding.problem(Problem::of_cluster(why).hint(Some(hint.to_owned())));
                return finding;
            }
        }
    };
    let traces = site.each(&finding.nodes, |_, remote| drift::ask(remote));
    for (node, traces) in traces {
        let Some(Ok((_, facts))) = site.asked.get(&node) else { continue };
        let traces = match traces {
            Ok(traces) => traces,
            Err(error) => {
                finding.problem(Problem::on(&node, words(&node, &error)).hint(error.hint()));
                continue;
            }
        };
        // An installed system that no deploy had to change is compared with the directory only.
        if facts.running.is_some() && facts.confirmed.is_none() && !expected.contains_key(&node) {
            let hint = Some("`machinist deploy` confirms what it activates".to_owned());
            finding.problem(Problem::on(&node, "no deploy has confirmed its system").hint(hint));
        }
        let found = drift::findings(facts, &traces, expected.get(&node));
        for found in found.into_iter().filter(|found| OF_SYSTEM.contains(&found.kind)) {
            finding.problem(Problem::on(&node, found.text).hint(found.hint.map(str::to_owned)));
        }
    }
    finding
}

/// No unit has failed.
pub(super) fn units(site: &Site<'_>, earlier: &Earlier) -> Finding {
    let mut finding = earlier.without(&["reachable"], site.targets.iter().cloned());
    for (node, _, facts) in site.answering() {
        let units: Vec<&str> = facts.unwell().collect();
        if !units.is_empty() {
            let hint = format!("`machinist logs {node} {}`", units[0]);
            let why = format!("failed, or restarting after failures: {}", units.join(", "));
            finding.problem(Problem::on(node, why).hint(Some(hint)));
        }
    }
    finding
}

/// No certificate ends soon.
pub(super) fn certificates(site: &Site<'_>, earlier: &Earlier) -> Finding {
    let mut finding = earlier.without(&["reachable"], site.targets.iter().cloned());
    let mut unseen = Vec::new();
    for (node, _, facts) in site.answering() {
        if facts.certificates.is_empty() && finding.nodes.remove(node) {
            // A node of a fleet may have none; that of a cluster checks them a few minutes after its first boot.
            unseen.push(node.as_str());
        }
        for why in expiry::expiring(facts) {
            finding.problem(Problem::on(node, why).hint(Some(expiry::HINT.to_owned())));
        }
    }
    if finding.nodes.is_empty() && finding.notes.is_empty() {
        return Finding::skipped("no node has certificates that its daily check has seen");
    }
    if !unseen.is_empty() {
        finding.notes.push(format!("without {}: no daily check has seen certificates there", unseen.join(", ")));
    }
    finding
}

/// The gates of machines.nix are open.
pub(super) fn gates(site: &Site<'_>, earlier: &Earlier) -> Finding {
    let gated = site.targets_that(|node| !node.gates.is_empty());
    if gated.is_empty() {
        return Finding::skipped("machines.nix has no gates on these nodes");
    }
    let mut finding = earlier.without(&["reachable"], gated);
    let closed = site.each(&finding.nodes, |node, remote| {
        let gates = site.cluster.nodes.get(node).map(|node| node.gates.clone()).unwrap_or_default();
        let run = |(name, gate): (String, machinist_model::Gate)| {
            let text = script::with(&[("name", &name)], GATE);
            let bound = Duration::from_secs(u64::from(gate.timeout) + 10);
            let request = Request::new("run a gate", text).timeout(bound);
            output(node, remote, request).err().map(|why| format!("the gate {name} is closed: {why}"))
        };
        gates.into_iter().filter_map(run).collect::<Vec<String>>()
    });
    for (node, closed) in closed {
        closed.iter().for_each(|why| finding.problem(Problem::on(&node, why)));
    }
    finding
}
