//! Words that all pictures use.

use crate::{
    domain::Division,
    service::Need,
    topology::{Machine, Tolerated, Topology},
};

/// Returns what the service needs, such as `2 of 3 voters`.
pub(super) fn need(need: &Need) -> String {
    format!("{} of {} {}", need.least, need.of.len(), need.what)
}

/// Returns what the service tolerates, such as `may fail: 1 machine, 1 zone`.
pub(super) fn tolerance(service: &Tolerated, divisions: &[Division]) -> String {
    let counts = service.tolerates.iter().zip(divisions);
    let words: Vec<String> = counts
        .map(|(count, division)| format!("{count} {}{}", division.kind, if *count == 1 { "" } else { "s" }))
        .collect();
    format!("may fail: {}", words.join(", "))
}

/// Returns the roles of the machine, or what it is without any.
pub(super) fn roles(machine: &Machine) -> String {
    match (machine.roles.as_slice(), machine.deployed) {
        ([], true) => "no role".to_owned(),
        ([], false) => "not deployed".to_owned(),
        (roles, _) => roles.join(" "),
    }
}

/// Returns the machines in groups with their titles: by failure domain, then those of none.
pub(super) fn groups(topology: &Topology) -> Vec<(Option<String>, Vec<&Machine>)> {
    let Some(division) = topology.grouping() else { return vec![(None, topology.machines.iter().collect())] };
    let in_domain = |domain: Option<&str>| -> Vec<&Machine> {
        topology.machines.iter().filter(|machine| division.of(&machine.name) == domain).collect()
    };
    let placed = division.domains.keys().map(|name| (Some(format!("{} {name}", division.kind)), in_domain(Some(name))));
    let rest = Some((None, in_domain(None))).filter(|(_, machines)| !machines.is_empty());
    placed.chain(rest).collect()
}
