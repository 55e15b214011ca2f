//! Identity of the machine that responds as a node. A host key proves that a host is the same as before; it does not
//! prove that two nodes are two machines. Pure.

use std::collections::{BTreeMap, BTreeSet};

use machinist_model::NodeName;

/// Identifiers of a machine.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Machine {
    /// systemd's machine-id(5). Empty if it has none.
    pub id: String,
    /// The kernel's identifier of this boot.
    pub boot: String,
    /// The node name in its running system, if that is one of ours.
    pub name: Option<String>,
}

/// Known machines before a run.
#[derive(Clone, Debug, Default)]
pub struct Known {
    /// All nodes of machines.nix.
    pub nodes: BTreeSet<NodeName>,
    /// The machine-id of each node that was deployed before.
    pub ids: BTreeMap<NodeName, String>,
    /// True if the operator has accepted a new host key, as after a machine was reinstalled.
    pub accepts_new: bool,
}

impl Known {
    /// Returns the reason why the machine cannot be the node, if there is one. `others` are the machines that responded
    /// for other nodes.
    #[must_use]
    pub fn objection(
        &self,
        node: &NodeName,
        machine: &Machine,
        others: &BTreeMap<NodeName, Machine>,
    ) -> Option<String> {
        let running = machine.name.as_deref().filter(|name| *name != node.as_str());
        if let Some(name) = running.filter(|name| self.nodes.iter().any(|node| node.as_str() == *name)) {
            return Some(format!("the machine that answers runs the system of {name}"));
        }
        if machine.id.is_empty() {
            return None;
        }
        // Guests cloned from one image may share a machine-id; no two machines share the boot identifier too.
        let same = |other: &Machine| other.id == machine.id && other.boot == machine.boot;
        if let Some((other, _)) = others.iter().find(|(other, found)| *other != node && same(found)) {
            return Some(format!("the machine that answers is the one that answers as {other}"));
        }
        let recorded = self.ids.iter().find(|(other, id)| *other != node && **id == machine.id);
        let is_elsewhere = |other: &NodeName| others.get(other).is_some_and(|found| found.boot != machine.boot);
        if let Some((other, _)) = recorded.filter(|(other, _)| self.nodes.contains(*other) && !is_elsewhere(other)) {
            return Some(format!("the machine that answers has the machine-id of {other}, {}", machine.id));
        }
        let before = self.ids.get(node).filter(|id| **id != machine.id && !self.accepts_new)?;
        Some(format!("the machine that answers has the machine-id {}, recorded is {before}", machine.id))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::collections::BTreeMap;

    use machinist_model::NodeName;

    use super::{Known, Machine};

    fn name(text: &str) -> NodeName {
        NodeName::parse(text).unwrap()
    }

    fn machine(id: &str, boot: &str, runs: &str) -> Machine {
        let name = (!runs.is_empty()).then(|| runs.to_owned());
        Machine { id: id.to_owned(), boot: boot.to_owned(), name }
    }

    fn known() -> Known {
        let ids = [(name("a"), "1".to_owned()), (name("b"), "2".to_owned())].into();
        Known { nodes: ["a", "b", "c"].map(name).into(), ids, accepts_new: false }
    }

    #[track_caller]
    fn check(node: &str, found: &Machine, others: &[(&str, Machine)], expect: Option<&str>) {
        let others: BTreeMap<NodeName, Machine> =
            others.iter().map(|(node, machine)| (name(node), machine.clone())).collect();
        assert_eq!(known().objection(&name(node), found, &others).as_deref(), expect);
    }

    #[test]
    fn a_machine_that_was_deployed_or_is_new_or_has_another_name_is_the_node() {
        check("a", &machine("1", "x", "a"), &[("b", machine("2", "y", "b"))], None);
        check("c", &machine("3", "x", ""), &[], None);
        check("c", &machine("", "x", ""), &[], None);
        check("c", &machine("3", "x", "installer"), &[], None);
    }

    #[test]
    fn two_nodes_that_lead_to_one_machine_are_refused() {
        let runs = Some("the machine that answers runs the system of a");
        check("b", &machine("1", "x", "a"), &[], runs);
        let as_a = Some("the machine that answers is the one that answers as a");
        check("c", &machine("9", "x", ""), &[("a", machine("9", "x", ""))], as_a);
        let recorded = Some("the machine that answers has the machine-id of a, 1");
        check("c", &machine("1", "x", ""), &[], recorded);
    }

    #[test]
    fn another_machine_than_the_recorded_one_is_refused_unless_its_key_was_accepted() {
        let found = machine("9", "x", "");
        check("a", &found, &[], Some("the machine that answers has the machine-id 9, recorded is 1"));
        let known = Known { accepts_new: true, ..known() };
        assert_eq!(known.objection(&name("a"), &found, &BTreeMap::new()), None);
    }

    #[test]
    fn machines_that_were_cloned_with_their_machine_id_and_both_answer_are_two() {
        check("c", &machine("1", "x", ""), &[("a", machine("1", "y", "a"))], None);
    }
}
