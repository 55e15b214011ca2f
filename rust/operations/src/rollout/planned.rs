//! Validation of a plan file against the current state.

use std::{collections::BTreeMap, path::Path};

use machinist_model::{Cluster, NodeName};
use machinist_nix::StorePath;
use machinist_rollout::plan::{PlanFile, Planned};

use crate::failure::{Failure, Kind};

/// Reads a plan file.
pub fn read(path: &Path, cluster: &Cluster) -> Result<PlanFile, Failure> {
    let input = |message: String| Failure::new(Kind::Input, format!("{}: {message}", path.display())).hint(PLAN_AGAIN);
    let text = std::fs::read_to_string(path).map_err(|error| input(error.to_string()))?;
    let plan = PlanFile::parse(&text, &cluster.name).map_err(|error| input(error.to_string()))?;
    match plan.nodes.keys().find(|name| !cluster.deployable().any(|node| node.name == **name)) {
        Some(gone) => Err(input(format!("it changes {gone}, which machines.nix no longer deploys"))),
        None => Ok(plan),
    }
}

/// Hint for a plan that cannot be used.
pub const PLAN_AGAIN: &str = "make a new plan and read it: `machinist plan --out FILE`";

/// Refuses a plan if the directory now evaluates to other systems than it states.
pub fn refuse_other_systems(plan: &PlanFile, systems: &BTreeMap<NodeName, StorePath>) -> Result<(), Failure> {
    let other = |(node, planned): (&NodeName, &Planned)| {
        let now = systems.get(node).filter(|now| **now != planned.system)?;
        Some(format!("\n{node}: {}\n  now {now}", planned.system))
    };
    let list: String = plan.nodes.iter().filter_map(other).collect();
    if list.is_empty() {
        return Ok(());
    }
    let message = format!("the directory has changed since {} made the plan at {}:{list}", plan.by, plan.made);
    Err(Failure::new(Kind::Refused, message).hint(PLAN_AGAIN))
}
