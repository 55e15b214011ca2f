//! `machinist app remove`: after machines.nix no longer places an application, sees that nothing of it is left.
//!
//! A deploy takes the application off a machine; its data stays, and so do keys of its that no lease takes away. Both go only
//! when a person asks for just that.

use std::{collections::BTreeSet, process::ExitCode, time::Duration};

use clap::Args;
use machinist_model::{
    NodeName,
    path::AttrPath,
    source::{SourceIndex, SourceText},
};
use machinist_operations::{
    apps::{Registered, app_name, instance_prefix, look, machines, registered},
    connect, files,
    project::Project,
    rollout::target::voters,
};
use machinist_remote::{Request, quote};
use machinist_rollout::{
    membership::find_voice,
    step::{Connector, StepError},
};
use serde::Serialize;

use crate::{
    args::{Global, node_name},
    consent, context,
    failure::{Failure, Kind, OrFail, Outcome},
    ui::Ui,
};

/// How long a machine may take to answer, or to delete.
const ANSWER: Duration = Duration::from_secs(60);
const DELETION: Duration = Duration::from_secs(600);

/// Which application, and what of it.
#[derive(Debug, Args)]
pub struct RemoveArgs {
    /// The application
    #[arg(value_name = "NAME", value_parser = app_name)]
    app: String,

    /// Only from this machine
    #[arg(long, value_name = "MACHINE", value_parser = node_name)]
    on: Option<NodeName>,

    /// Delete its data on the machines, and with all machines its keys in etcd too
    #[arg(long)]
    purge: bool,
}

/// What is left on a machine.
#[derive(Debug, Serialize)]
struct Left {
    machine: NodeName,
    /// Directories with data.
    data: Vec<String>,
}

/// Runs the command.
pub fn run(args: &RemoveArgs, global: &Global, ui: Ui) -> Outcome {
    let context = context::open(global, ui)?;
    let project = &context.project;
    let cluster = project.load()?.cluster;
    refuse_placed(args, project, &machines(&cluster, &args.app))?;
    let connector = connect::connector(&context, &cluster, None)?;
    let asked: Vec<NodeName> = match &args.on {
        Some(node) => connect::select(&cluster, Some(&[node.to_string()]))?,
        None => cluster.mesh_nodes().map(|node| node.name.clone()).collect(),
    };
    let mut left = Vec::new();
    for node in &asked {
        let data = ask(&connector, node, &args.app)?;
        if !data.is_empty() {
            left.push(Left { machine: node.clone(), data });
        }
    }
    let mut keys = registered(&cluster, &connector)?.remove(&args.app).unwrap_or_default();
    keys.retain(|key| args.on.as_ref().is_none_or(|node| key.node == node.as_str()));
    if let Some(alive) =
        keys.iter().find(|key| key.name.is_some() && asked.iter().any(|node| key.node == node.as_str()))
    {
        let message = format!("{} still offers {} at {}", alive.node, args.app, alive.address);
        return Err(Failure::new(Kind::Refused, message).hint(format!(
            "it is placed there by other means than `apps` of machines.nix: look for machinist.mesh.instances in nodes/{}.nix",
            alive.node
        )));
    }
    if !args.purge {
        return Ok(tell(args, &left, &keys, ui));
    }
    let question = format!("delete {} for ever? [y/N]", words(&left, &keys, args));
    consent::ask(&question, consent::YES, &format!("{} would be deleted", words(&left, &keys, args)), global)?;
    for machine in &left {
        delete(&connector, machine, &args.app)?;
    }
    if args.on.is_none() {
        let members = voters(&cluster);
        let askable: Vec<NodeName> = members.keys().cloned().collect();
        let voice = find_voice(&connector, &askable, &members, None).map_err(|error| failed(&error))?;
        voice.remote.run_checked(forget(&args.app, &keys)).failed()?;
    }
    if ui.json {
        ui.result_json(&serde_json::json!({ "application": args.app, "deleted": left, "keys": keys }));
    } else {
        ui.result(&format!("nothing is left of {}{}", args.app, on(args)));
    }
    Ok(ExitCode::SUCCESS)
}

/// Refuses while machines.nix places it, and says in which lines.
fn refuse_placed(args: &RemoveArgs, project: &Project, placed: &[&NodeName]) -> Result<(), Failure> {
    let placed: Vec<&NodeName> =
        placed.iter().copied().filter(|node| args.on.as_ref().is_none_or(|on| on == *node)).collect();
    if placed.is_empty() {
        return Ok(());
    }
    let text = files::read_optional(&project.directory.join("machines.nix")).failed()?.unwrap_or_default();
    let lines = lines(&text, &placed);
    let names: Vec<&str> = placed.iter().map(|node| node.as_str()).collect();
    let message = format!("machines.nix places {} on {}:\n{}", args.app, names.join(", "), lines.join("\n"));
    Err(Failure::new(Kind::Refused, message).hint(format!(
        "take it out of `apps` there, then `machinist generate`, `machinist deploy {}`, and this again",
        names.join(" ")
    )))
}

/// Returns the lines of machines.nix that give these machines their applications, each once, with their numbers.
fn lines(text: &str, placed: &[&NodeName]) -> Vec<String> {
    let (index, source) = (SourceIndex::parse(text), SourceText::new("machines.nix", text));
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

/// Asks a machine what it has of the application. Refused while its system still runs it.
fn ask(connector: &Connector, node: &NodeName, app: &str) -> Result<Vec<String>, Failure> {
    let (deployed, data) = look(connector, node, app)?;
    if deployed {
        return Err(Failure::new(Kind::Refused, format!("the system of {node} still has {app}"))
            .hint(format!("`machinist deploy {node}` takes it off")));
    }
    Ok(data)
}

/// A program with a user of its own only while it runs has its data below /var/lib/private.
fn delete(connector: &Connector, left: &Left, app: &str) -> Result<(), Failure> {
    let remote = connector.connect(&left.machine).map_err(|error| failed(&StepError::from(error)))?;
    let names = left.data.iter().filter_map(|path| path.strip_prefix("/var/lib/")).map(quote);
    let mut script = String::from("set -e\n");
    for name in names {
        script.push_str(&format!("rm -rf --one-file-system -- /var/lib/private/{name} /var/lib/{name}\n"));
    }
    script.push_str(&format!("rm -f -- /var/lib/machinist-apps/{}.json\n", quote(app)));
    remote.run_checked(Request::new("delete what is left of an application", script).timeout(DELETION)).failed()?;
    Ok(())
}

/// Deletes the keys that no lease takes away: what operators and nix-infra wrote.
fn forget(app: &str, keys: &[Registered]) -> Request<'static> {
    let mut script = String::from("set -e\nexport PATH=/run/current-system/sw/bin:$PATH\n");
    let mut prefixes: BTreeSet<String> =
        ["backends", "frontends", "services"].map(|group| format!("/cluster/{group}/{app}/")).into();
    prefixes.extend(keys.iter().map(|key| instance_prefix(&key.node, key.group, app)));
    for prefix in prefixes {
        script.push_str(&format!("machinist-etcdctl del --prefix -- {}\n", quote(&prefix)));
    }
    Request::new("delete the keys of an application", script).timeout(ANSWER)
}

fn failed(error: &StepError) -> Failure {
    Failure::from_error(Kind::Failed, error).maybe_hint(error.hint())
}

fn on(args: &RemoveArgs) -> String {
    args.on.as_ref().map(|node| format!(" on {node}")).unwrap_or_default()
}

fn words(left: &[Left], keys: &[Registered], args: &RemoveArgs) -> String {
    let mut words: Vec<String> =
        left.iter().map(|machine| format!("{} on {}", machine.data.join(", "), machine.machine)).collect();
    if args.on.is_none() {
        words.push(if keys.is_empty() {
            format!("what etcd has of {}", args.app)
        } else {
            format!("{} keys of {} in etcd", keys.len(), args.app)
        });
    }
    if words.is_empty() { format!("nothing of {}", args.app) } else { words.join(", ") }
}

fn tell(args: &RemoveArgs, left: &[Left], keys: &[Registered], ui: Ui) -> ExitCode {
    if ui.json {
        ui.result_json(&serde_json::json!({ "application": args.app, "left": left, "keys": keys }));
    } else if left.is_empty() && keys.is_empty() {
        ui.result(&format!("nothing is left of {}{}", args.app, on(args)));
    } else {
        for machine in left {
            ui.result(&format!("{} still has {}", machine.machine, machine.data.join(", ")));
        }
        for key in keys {
            ui.result(&format!("etcd has {} of {} at {}", args.app, key.node, key.address));
        }
        ui.story("`--purge` deletes that, for ever");
    }
    // 4: there is something to do.
    ExitCode::from(if left.is_empty() && keys.is_empty() { 0 } else { 4 })
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
