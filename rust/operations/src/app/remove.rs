//! Removal of an application: cleanup of its leftovers once machines.nix no longer places it.
//!
//! A deploy removes the application from a machine, but keeps its data and its keys without a lease. Both are deleted
//! only on explicit request.

use std::{collections::BTreeSet, time::Duration};

use machinist_model::{
    Cluster, NodeName,
    path::AttrPath,
    source::{SourceIndex, SourceText},
};
use machinist_remote::{self as remote, quote};
use machinist_rollout::{
    membership::find_voice,
    step::{Connector, StepError},
};
use serde::Serialize;

use crate::{
    apps::{Registered, instance_prefix, look, machines, registered},
    connect,
    context::Context,
    failure::{Failure, Kind, OrFail as _},
    files,
    project::Project,
    rollout::target::voters,
};

/// Time limit for a machine to answer, or to delete data.
const ANSWER: Duration = Duration::from_secs(60);
const DELETION: Duration = Duration::from_secs(600);

/// Request to clean up an application.
#[derive(Clone, Debug)]
pub struct Request {
    /// Name of the application.
    pub app: String,
    /// Restricts the cleanup to this machine.
    pub on: Option<NodeName>,
}

/// Leftovers of an application.
pub struct Remains {
    /// Data on machines.
    pub left: Vec<Left>,
    /// Keys in etcd.
    pub keys: Vec<Registered>,
    request: Request,
    cluster: Cluster,
    connector: Connector,
}

/// Leftovers on one machine.
#[derive(Debug, Serialize)]
pub struct Left {
    /// Name of the machine.
    pub machine: NodeName,
    /// Directories with data.
    pub data: Vec<String>,
}

/// Finds the leftovers. Read-only.
///
/// # Errors
/// machines.nix or a machine's system still includes the application, or a machine does not answer.
pub fn find(context: &Context, request: &Request) -> Result<Remains, Failure> {
    let project = &context.project;
    let cluster = project.load()?.cluster;
    refuse_placed(request, project, &machines(&cluster, &request.app))?;
    let connector = connect::connector(context, &cluster, None)?;
    let asked: Vec<NodeName> = match &request.on {
        Some(node) => connect::select(&cluster, Some(&[node.to_string()]))?,
        None => cluster.mesh_nodes().map(|node| node.name.clone()).collect(),
    };
    let mut left = Vec::new();
    for node in &asked {
        let data = ask(&connector, node, &request.app)?;
        if !data.is_empty() {
            left.push(Left { machine: node.clone(), data });
        }
    }
    let mut keys = registered(&cluster, &connector)?.remove(&request.app).unwrap_or_default();
    keys.retain(|key| request.on.as_ref().is_none_or(|node| key.node == node.as_str()));
    let alive = keys.iter().find(|key| key.name.is_some() && asked.iter().any(|node| key.node == node.as_str()));
    if let Some(alive) = alive {
        let message = format!("{} still offers {} at {}", alive.node, request.app, alive.address);
        return Err(Failure::new(Kind::Refused, message).hint(format!(
            "it is placed there by other means than `apps` of machines.nix: look for machinist.mesh.instances in nodes/{}.nix",
            alive.node
        )));
    }
    Ok(Remains { left, keys, request: request.clone(), cluster, connector })
}

impl Remains {
    /// Returns true if there are no leftovers.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.left.is_empty() && self.keys.is_empty()
    }

    /// Deletes the leftovers: data on the machines and, unless restricted to one machine, the keys in etcd.
    ///
    /// # Errors
    /// A machine or etcd does not answer. Earlier deletions are final.
    pub fn delete(&self) -> Result<(), Failure> {
        for machine in &self.left {
            delete(&self.connector, machine, &self.request.app)?;
        }
        if self.request.on.is_none() {
            let members = voters(&self.cluster);
            let askable: Vec<NodeName> = members.keys().cloned().collect();
            let voice = find_voice(&self.connector, &askable, &members, None).map_err(|error| failed(&error))?;
            voice.remote.run_checked(forget(&self.request.app, &self.keys)).failed()?;
        }
        Ok(())
    }

    /// Describes the planned deletions.
    #[must_use]
    pub fn words(&self) -> String {
        let app = &self.request.app;
        let mut words: Vec<String> =
            self.left.iter().map(|machine| format!("{} on {}", machine.data.join(", "), machine.machine)).collect();
        if self.request.on.is_none() {
            words.push(if self.keys.is_empty() {
                format!("what etcd has of {app}")
            } else {
                format!("{} keys of {app} in etcd", self.keys.len())
            });
        }
        if words.is_empty() { format!("nothing of {app}") } else { words.join(", ") }
    }
}

/// Refuses while machines.nix places the application, and cites the lines.
fn refuse_placed(request: &Request, project: &Project, placed: &[&NodeName]) -> Result<(), Failure> {
    let placed: Vec<&NodeName> =
        placed.iter().copied().filter(|node| request.on.as_ref().is_none_or(|on| on == *node)).collect();
    if placed.is_empty() {
        return Ok(());
    }
    let text = files::read_optional(&project.directory.join("machines.nix")).failed()?.unwrap_or_default();
    let lines = lines(&text, &placed);
    let names: Vec<&str> = placed.iter().map(|node| node.as_str()).collect();
    let message = format!("machines.nix places {} on {}:\n{}", request.app, names.join(", "), lines.join("\n"));
    Err(Failure::new(Kind::Refused, message).hint(format!(
        "take it out of `apps` there, then `machinist generate`, `machinist deploy {}`, and this again",
        names.join(" ")
    )))
}

/// Returns the lines of machines.nix that assign applications to these machines, without duplicates, with their
/// numbers.
fn lines(text: &str, placed: &[&NodeName]) -> Vec<String> {
    let index = SourceIndex::parse(text);
    let source = SourceText::new("machines.nix", text);
    let numbers: BTreeSet<usize> = placed
        .iter()
        .map(|node| {
            let path = AttrPath::of("machines").join(node.as_str()).join("apps");
            source.position(index.locate(&path).start).line
        })
        .collect();
    let line = |number: usize| {
        let line = source.text().lines().nth(number.saturating_sub(1)).unwrap_or_default().trim();
        format!("  machines.nix:{number}: {line}")
    };
    numbers.into_iter().map(line).collect()
}

/// Queries a machine for leftovers of the application. Refused while its system still includes it.
fn ask(connector: &Connector, node: &NodeName, app: &str) -> Result<Vec<String>, Failure> {
    let (deployed, data) = look(connector, node, app)?;
    if deployed {
        return Err(Failure::new(Kind::Refused, format!("the system of {node} still has {app}"))
            .hint(format!("`machinist deploy {node}` takes it off")));
    }
    Ok(data)
}

/// Deletes the data of one machine. That of a service with `DynamicUser` is below /var/lib/private.
fn delete(connector: &Connector, left: &Left, app: &str) -> Result<(), Failure> {
    let remote = connector.connect(&left.machine).map_err(|error| failed(&StepError::from(error)))?;
    let names = left.data.iter().filter_map(|path| path.strip_prefix("/var/lib/")).map(quote);
    let mut script = String::from("set -e\n");
    for name in names {
        script.push_str(&format!("rm -rf --one-file-system -- /var/lib/private/{name} /var/lib/{name}\n"));
    }
    script.push_str(&format!("rm -f -- /var/lib/machinist-apps/{}.json\n", quote(app)));
    remote
        .run_checked(remote::Request::new("delete what is left of an application", script).timeout(DELETION))
        .failed()?;
    Ok(())
}

/// Deletes the keys without a lease, written by operators and nix-infra.
fn forget(app: &str, keys: &[Registered]) -> remote::Request<'static> {
    let mut script = String::from("set -e\nexport PATH=/run/current-system/sw/bin:$PATH\n");
    let mut prefixes: BTreeSet<String> =
        ["backends", "frontends", "services"].map(|group| format!("/cluster/{group}/{app}/")).into();
    prefixes.extend(keys.iter().map(|key| instance_prefix(&key.node, key.group, app)));
    for prefix in prefixes {
        script.push_str(&format!("machinist-etcdctl del --prefix -- {}\n", quote(&prefix)));
    }
    remote::Request::new("delete the keys of an application", script).timeout(ANSWER)
}

fn failed(error: &StepError) -> Failure {
    Failure::from_error(Kind::Failed, error).maybe_hint(error.hint())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use machinist_model::NodeName;

    use super::lines;

    #[test]
    fn the_lines_to_change_are_named() {
        let text = "{\n  machines = {\n    w1 = {\n      apps = [ \"web\" ];\n    };\n    w2 = { ip = \"x\"; apps = [ \"web\" ]; };\n  };\n}\n";
        let nodes = ["w1", "w2"].map(|name| NodeName::parse(name).unwrap());
        let lines = lines(text, &nodes.iter().collect::<Vec<_>>());
        assert_eq!(
            lines,
            ["  machines.nix:4: apps = [ \"web\" ];", "  machines.nix:6: w2 = { ip = \"x\"; apps = [ \"web\" ]; };"]
        );
    }
}
