//! Resolution of a command's targets to nodes: names, globs, `@role` and `label=value`.

use std::collections::BTreeSet;

use globset::Glob;
use thiserror::Error;

use crate::{Cluster, Node, NodeName, Role, near};

/// Resolver of targets.
#[derive(Debug)]
pub struct Selection;

/// Reason why targets cannot be resolved.
#[derive(Debug, Error)]
pub enum SelectError {
    /// No target was given.
    #[error("no target given")]
    NoTarget,
    /// The machine has `nixos = false`, like a Router.
    #[error("{0} is not deployed by machinist (nixos = false)")]
    NotDeployed(NodeName),
    /// The machine is disabled.
    #[error("{0} is disabled (enable = false)")]
    Disabled(NodeName),
    /// No node has this name, or matches this glob, role or label.
    #[error("{target} matches no node")]
    NothingMatched {
        /// The target as given.
        target: String,
        /// The nearest known text of the same kind, if any.
        near: Option<String>,
        /// Known texts of the same kind, sorted; for the hint.
        known: Vec<String>,
    },
    /// The text is not a glob.
    #[error("`{target}` is not a valid glob")]
    Glob {
        /// The target as given.
        target: String,
        /// The parser's error.
        #[source]
        source: globset::Error,
    },
}

/// Kind of a [`SelectError`], which determines the exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SelectErrorKind {
    /// The command line is wrong: exit code 2.
    Input,
    /// The machine exists, but must not be touched: exit code 3.
    Refused,
}

impl SelectError {
    /// Returns the kind of the error.
    #[must_use]
    pub const fn kind(&self) -> SelectErrorKind {
        match self {
            Self::NotDeployed(_) | Self::Disabled(_) => SelectErrorKind::Refused,
            Self::NoTarget | Self::NothingMatched { .. } | Self::Glob { .. } => SelectErrorKind::Input,
        }
    }

    /// Returns the way to fix it.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::NoTarget => {
                Some("specify nodes, globs (`cp*`), roles (`@etcd`), labels (`zone=a`) or --all".to_owned())
            }
            Self::NotDeployed(name) => Some(format!("leave out {name}; globs, roles and --all skip it")),
            Self::Disabled(name) => Some(format!("set machines.{name}.enable = true, or leave out {name}")),
            Self::NothingMatched { near: Some(near), .. } => Some(format!("did you mean {near}?")),
            Self::NothingMatched { known, .. } if known.is_empty() => {
                Some("the cluster has none of this kind".to_owned())
            }
            Self::NothingMatched { known, .. } if known.len() > 20 => {
                Some(format!("available: {}, and {} more", known[..20].join(", "), known.len() - 20))
            }
            Self::NothingMatched { known, .. } => Some(format!("available: {}", known.join(", "))),
            Self::Glob { .. } => {
                Some("`*` stands for any text, `?` for one character, `[ab]` for one of them".to_owned())
            }
        }
    }
}

impl Selection {
    /// Returns the selected nodes, sorted by name, without duplicates.
    ///
    /// A target is a node's name, a glob over names (`cp*`), a role (`@etcd`), a label (`zone=a`) or `--all`. Machines
    /// that machinist does not deploy are skipped unless they are named.
    ///
    /// # Errors
    /// No target is given, one matches no node, or a disabled or undeployed machine is named.
    pub fn resolve(cluster: &Cluster, targets: &[impl AsRef<str>]) -> Result<Vec<NodeName>, SelectError> {
        if targets.is_empty() {
            return Err(SelectError::NoTarget);
        }
        let mut selected = BTreeSet::new();
        for target in targets {
            let nodes = matching(cluster, target.as_ref())?;
            selected.extend(nodes.into_iter().map(|node| &node.name));
        }
        Ok(selected.into_iter().cloned().collect())
    }
}

fn matching<'a>(cluster: &'a Cluster, target: &str) -> Result<Vec<&'a Node>, SelectError> {
    if target == "--all" {
        return some(cluster.deployable().collect(), target, cluster, names);
    }
    if let Some(role) = target.strip_prefix('@') {
        let role: Option<Role> = role.parse().ok();
        let nodes = cluster.deployable().filter(|node| role.is_some_and(|role| node.roles.contains(&role)));
        return some(nodes.collect(), target, cluster, roles);
    }
    if let Some((key, value)) = target.split_once('=') {
        let nodes = cluster.deployable().filter(|node| node.labels.get(key).is_some_and(|found| found == value));
        return some(nodes.collect(), target, cluster, labels);
    }
    if target.contains(['*', '?', '[', '{']) {
        let glob = Glob::new(target)
            .map_err(|source| SelectError::Glob { target: target.to_owned(), source })?
            .compile_matcher();
        let nodes = cluster.deployable().filter(|node| glob.is_match(node.name.as_str()));
        return some(nodes.collect(), target, cluster, names);
    }
    match cluster.nodes.get(target) {
        Some(node) if node.is_deployable() => Ok(vec![node]),
        Some(node) if node.nixos => Err(SelectError::Disabled(node.name.clone())),
        Some(node) => Err(SelectError::NotDeployed(node.name.clone())),
        None => some(Vec::new(), target, cluster, names),
    }
}

/// Returns the nodes, or an error with the available choices if there are none.
fn some<'a>(
    nodes: Vec<&'a Node>,
    target: &str,
    cluster: &Cluster,
    known: fn(&Cluster) -> BTreeSet<String>,
) -> Result<Vec<&'a Node>, SelectError> {
    if nodes.is_empty() {
        let known: Vec<String> = known(cluster).into_iter().collect();
        let near = near::nearest(target, known.iter().map(String::as_str)).map(str::to_owned);
        return Err(SelectError::NothingMatched { target: target.to_owned(), near, known });
    }
    Ok(nodes)
}

fn names(cluster: &Cluster) -> BTreeSet<String> {
    cluster.deployable().map(|node| node.name.to_string()).collect()
}

fn roles(cluster: &Cluster) -> BTreeSet<String> {
    cluster.deployable().flat_map(|node| &node.roles).map(|role| format!("@{role}")).collect()
}

fn labels(cluster: &Cluster) -> BTreeSet<String> {
    cluster.deployable().flat_map(|node| &node.labels).map(|(key, value)| format!("{key}={value}")).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde_json::json;

    use super::{SelectErrorKind, Selection};
    use crate::{Cluster, Directory, load};

    fn cluster() -> Cluster {
        let json = json!({
            "cluster": { "name": "c" },
            "network": { "nodes": "10.0.0.0/24" },
            "machines": {
                "router": { "ip": "10.0.0.1", "nixos": false },
                "cp1": { "ip": "10.0.0.2", "roles": ["etcd"], "labels": { "zone": "a" } },
                "cp2": { "ip": "10.0.0.3", "roles": ["etcd"], "labels": { "zone": "b" } },
                "cp3": { "ip": "10.0.0.4", "roles": ["etcd"], "labels": { "zone": "b" } },
                "w1": { "ip": "10.0.0.5", "roles": ["worker"] },
                "cp4": { "ip": "10.0.0.6", "roles": ["etcd"], "enable": false },
            },
        });
        load(&json, "", "machines.nix", &Directory::default()).unwrap().cluster
    }

    #[track_caller]
    fn check(targets: &[&str], expect: Result<&str, (&str, SelectErrorKind)>) {
        let found = Selection::resolve(&cluster(), targets);
        let names = |names: Vec<crate::NodeName>| names.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
        let text = |error: super::SelectError| (format!("{error}: {}", error.hint().unwrap_or_default()), error.kind());
        assert_eq!(
            found.map(names).map_err(text),
            expect.map(str::to_owned).map_err(|(text, kind)| (text.to_owned(), kind))
        );
    }

    #[test]
    fn names_globs_roles_and_labels_select_and_each_node_comes_once() {
        check(&["w1"], Ok("w1"));
        check(&["cp*"], Ok("cp1 cp2 cp3"));
        check(&["@worker", "zone=b", "cp2", "cp[12]"], Ok("cp1 cp2 cp3 w1"));
        check(&["--all"], Ok("cp1 cp2 cp3 w1"));
    }

    #[test]
    fn a_machine_that_is_not_ours_is_refused_by_name_and_skipped_otherwise() {
        let skip = "leave out router; globs, roles and --all skip it";
        let message = format!("router is not deployed by machinist (nixos = false): {skip}");
        check(&["router"], Err((&message, SelectErrorKind::Refused)));
        let message = "cp4 is disabled (enable = false): set machines.cp4.enable = true, or leave out cp4";
        check(&["cp4"], Err((message, SelectErrorKind::Refused)));
        check(&["*"], Ok("cp1 cp2 cp3 w1"));
    }

    #[test]
    fn a_target_that_matches_nothing_names_what_is_near() {
        let input = SelectErrorKind::Input;
        check(&["cp11"], Err(("cp11 matches no node: did you mean cp1?", input)));
        check(&["@workers"], Err(("@workers matches no node: did you mean @worker?", input)));
        check(&["zone=c"], Err(("zone=c matches no node: did you mean zone=a?", input)));
        check(&["elsewhere"], Err(("elsewhere matches no node: available: cp1, cp2, cp3, w1", input)));
        let hint = "`*` stands for any text, `?` for one character, `[ab]` for one of them";
        check(&["cp["], Err((&format!("`cp[` is not a valid glob: {hint}"), input)));
        let hint = "specify nodes, globs (`cp*`), roles (`@etcd`), labels (`zone=a`) or --all";
        check(&[], Err((&format!("no target given: {hint}"), input)));
    }
}
