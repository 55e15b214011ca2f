//! Saved plans: a deploy applies exactly the plan that was reviewed, or refuses. Pure.

use std::collections::BTreeMap;

use machinist_model::NodeName;
use machinist_nix::StorePath;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::changes::{NodePlan, Plan};
use crate::waves::{Spread, Wave};

/// Format version that this code writes and reads.
const VERSION: u32 = 1;

/// A saved plan.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PlanFile {
    version: u32,
    /// The cluster's name.
    pub cluster: String,
    /// Time of the plan (RFC 3339).
    pub made: String,
    /// Author of the plan, `user@host`.
    pub by: String,
    /// Distribution of the nodes without a vote over the waves.
    pub spread: Spread,
    /// The systems before and after, for each target.
    pub nodes: BTreeMap<NodeName, Planned>,
    /// The waves, in order.
    pub waves: Vec<Wave>,
}

/// One node of a saved plan.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Planned {
    /// The system that it ran. None before the first deploy.
    pub running: Option<StorePath>,
    /// The system that it would have booted.
    pub boots: Option<StorePath>,
    /// The system that it will run and boot.
    pub system: StorePath,
}

/// Reason why a plan cannot be saved or applied.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum PlanFileError {
    /// The file does not contain a plan.
    #[error("it is not a plan that `machinist plan --out` wrote: {0}")]
    Unreadable(String),
    /// The file has a different format version.
    #[error("it is a plan of format {found}, this machinist reads format {VERSION}")]
    Version {
        /// The file's format version.
        found: u32,
    },
    /// The plan belongs to a different cluster.
    #[error("it is a plan of the cluster {found:?}, this is {wanted:?}")]
    Cluster {
        /// The plan's cluster.
        found: String,
        /// This cluster.
        wanted: String,
    },
    /// A machine could not be surveyed, so the plan does not include its changes.
    #[error("{node} could not be asked, so there is no whole plan to keep")]
    Partial {
        /// The node.
        node: NodeName,
    },
    /// The plan has no safe order. The reason.
    #[error("there is no safe order to keep: {0}")]
    NoOrder(String),
}

impl PlanFile {
    /// Converts a plan into a saved one.
    ///
    /// # Errors
    /// The plan is incomplete or has no safe order.
    pub fn new(cluster: &str, by: &str, made: &str, spread: &Spread, plan: &Plan) -> Result<Self, PlanFileError> {
        if let Some(refusal) = &plan.refusal {
            return Err(PlanFileError::NoOrder(refusal.clone()));
        }
        let planned = |(node, plan): (&NodeName, &NodePlan)| match plan {
            NodePlan::Unchanged { system } => {
                let running = Some(system.clone());
                Ok((node.clone(), Planned { boots: running.clone(), running, system: system.clone() }))
            }
            NodePlan::Changes(changes) => {
                let (running, boots, system) = (changes.running.clone(), changes.boots.clone(), changes.system.clone());
                Ok((node.clone(), Planned { running, boots, system }))
            }
            NodePlan::Silent { .. } | NodePlan::NotReady { .. } => Err(PlanFileError::Partial { node: node.clone() }),
        };
        Ok(Self {
            version: VERSION,
            cluster: cluster.to_owned(),
            made: made.to_owned(),
            by: by.to_owned(),
            spread: spread.clone(),
            nodes: plan.nodes.iter().map(planned).collect::<Result<_, _>>()?,
            waves: plan.waves.clone(),
        })
    }

    /// Parses a saved plan of this cluster.
    ///
    /// # Errors
    /// The text is not a plan, has a different format version, or belongs to a different cluster.
    pub fn parse(text: &str, cluster: &str) -> Result<Self, PlanFileError> {
        #[derive(Deserialize)]
        struct Format {
            version: u32,
        }
        let unreadable = |error: serde_json::Error| PlanFileError::Unreadable(error.to_string());
        // The format version comes first, because later versions may have other fields.
        let Format { version: found } = serde_json::from_str(text).map_err(unreadable)?;
        if found != VERSION {
            return Err(PlanFileError::Version { found });
        }
        let file: Self = serde_json::from_str(text).map_err(unreadable)?;
        if file.cluster != cluster {
            return Err(PlanFileError::Cluster { found: file.cluster, wanted: cluster.to_owned() });
        }
        Ok(file)
    }

    /// Returns the differences from the state in which the plan was made: `found` has the running and booting system of
    /// each node that responds, `waves` is the current order.
    #[must_use]
    pub fn moved(
        &self,
        found: &BTreeMap<NodeName, (Option<StorePath>, Option<StorePath>)>,
        waves: &[Wave],
    ) -> Vec<String> {
        let mut moved = Vec::new();
        for (node, Planned { running, boots, .. }) in &self.nodes {
            match found.get(node) {
                None => moved.push(format!("{node} does not answer")),
                Some((now, _)) if now != running => {
                    moved.push(format!("{node} ran {}, now it runs {}", path(running.as_ref()), path(now.as_ref())));
                }
                Some((_, now)) if now != boots => {
                    moved.push(format!("{node} booted {}, now {}", path(boots.as_ref()), path(now.as_ref())));
                }
                Some(_) => {}
            }
        }
        if moved.is_empty() && *waves != *self.waves {
            moved.push(format!("the order was {}, now it would be {}", order(&self.waves), order(waves)));
        }
        moved
    }
}

fn path(path: Option<&StorePath>) -> &str {
    path.map_or("no system of ours", StorePath::as_str)
}

fn order(waves: &[Wave]) -> String {
    let names = |wave: &Wave| wave.nodes.iter().map(NodeName::as_str).collect::<Vec<_>>().join(" + ");
    let waves: Vec<String> = waves.iter().map(names).collect();
    if waves.is_empty() { "empty".to_owned() } else { waves.join(", ") }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::collections::BTreeMap;

    use machinist_model::NodeName;
    use machinist_nix::StorePath;

    use super::{PlanFile, PlanFileError};
    use crate::{
        plan::{Changes, NodePlan, Plan},
        waves::{Limit, Spread, Wave, WaveKind},
    };

    fn path(name: &str) -> StorePath {
        StorePath::parse(&format!("/nix/store/0123456789abcdfghijklmnpqrsvwxyz-{name}")).unwrap()
    }

    fn node(name: &str) -> NodeName {
        NodeName::parse(name).unwrap()
    }

    fn waves(names: &[&str]) -> Vec<Wave> {
        names.iter().map(|name| Wave { kind: WaveKind::Member, nodes: vec![node(name)] }).collect()
    }

    /// `a` changes from `old` to `new`; `b` already runs `new`.
    fn plan() -> Plan {
        let changes = Changes {
            running: Some(path("old")),
            boots: Some(path("old")),
            system: path("new"),
            paths: 1,
            paths_to_send: 0,
            bytes_to_send: 0,
            too_little_room: None,
            full_boot: None,
            keys: Vec::new(),
            closure: None,
            units: Vec::new(),
            systemd_reexec: false,
            reboot: None,
            reboots: false,
            boot: None,
            virtual_address: false,
            dry_run: None,
        };
        let nodes = [
            (node("a"), NodePlan::Changes(Box::new(changes))),
            (node("b"), NodePlan::Unchanged { system: path("new") }),
        ];
        Plan { nodes: nodes.into(), waves: waves(&["a"]), ..Plan::default() }
    }

    fn file() -> PlanFile {
        let spread =
            Spread { max_unavailable: Some(Limit::Percent(25)), canary: 1, across_zones: true, ..Spread::default() };
        PlanFile::new("magi", "ann@desk", "2026-01-01T00:00:00Z", &spread, &plan()).unwrap()
    }

    #[track_caller]
    fn check(
        change: impl FnOnce(&mut BTreeMap<NodeName, (Option<StorePath>, Option<StorePath>)>),
        now: &[&str],
        expect: &str,
    ) {
        let both = |name| (Some(path(name)), Some(path(name)));
        let mut found = BTreeMap::from([(node("a"), both("old")), (node("b"), both("new"))]);
        change(&mut found);
        assert_eq!(file().moved(&found, &waves(now)).join("; "), expect);
    }

    #[test]
    fn a_file_says_what_was_planned() {
        let text = serde_json::to_string(&file()).unwrap();
        assert_eq!(PlanFile::parse(&text, "magi").unwrap(), file());
        assert_eq!(file().nodes[&node("a")].system, path("new"));
    }

    #[test]
    fn a_file_of_another_cluster_of_another_format_or_of_nothing_is_refused() {
        let text = serde_json::to_string(&file()).unwrap();
        let other = PlanFileError::Cluster { found: "magi".to_owned(), wanted: "home".to_owned() };
        assert_eq!(PlanFile::parse(&text, "home"), Err(other));
        let later = text.replace("\"version\":1", "\"version\":2");
        assert_eq!(PlanFile::parse(&later, "magi"), Err(PlanFileError::Version { found: 2 }));
        for text in ["", "{}", "[]", "{\"version\":1}", "\0"] {
            assert!(matches!(PlanFile::parse(text, "magi"), Err(PlanFileError::Unreadable(_))), "{text:?}");
        }
    }

    #[test]
    fn a_plan_that_is_not_whole_is_not_kept() {
        let mut silent = plan();
        silent.nodes.insert(node("c"), NodePlan::Silent { why: String::new(), hint: None });
        let kept = |plan| PlanFile::new("magi", "", "", &Spread::default(), plan);
        assert_eq!(kept(&silent), Err(PlanFileError::Partial { node: node("c") }));
        let refused = Plan { refusal: Some("x".to_owned()), ..plan() };
        assert_eq!(kept(&refused), Err(PlanFileError::NoOrder("x".to_owned())));
    }

    #[test]
    fn whatever_has_changed_since_is_named() {
        check(|_| {}, &["a"], "");
        let (old, new, x) = (path("old"), path("new"), path("x"));
        check(
            |found| found.get_mut(&node("a")).unwrap().0 = Some(path("x")),
            &["a"],
            &format!("a ran {old}, now it runs {x}"),
        );
        check(
            |found| found.get_mut(&node("b")).unwrap().1 = Some(path("x")),
            &["a"],
            &format!("b booted {new}, now {x}"),
        );
        check(|found| drop(found.remove(&node("a"))), &["a"], "a does not answer");
        check(|_| {}, &["b", "a"], "the order was a, now it would be b, a");
        check(|_| {}, &[], "the order was a, now it would be empty");
    }
}
