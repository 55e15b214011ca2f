//! `machinist app scale` and `machinist app move`: a change of machines.nix, and the deploys that follow from it.
//!
//! machines.nix says where an application runs, and a person reads its changes. So both print the change first, and make it only
//! when asked to. New instances come first; an old one is drained when the mesh has as many as asked for without it.

use std::{
    collections::{BTreeMap, BTreeSet},
    process::ExitCode,
    thread,
    time::{Duration, Instant},
};

use clap::Args;
use machinist_codegen::tree;
use machinist_model::{
    Cluster, NodeName,
    source::edit::{Placement, place_app},
};
use machinist_operations::{
    apps::{app_name, data_of, machines, registered, require},
    connect,
    context::Context,
    deploy::Request,
    files,
    systems::BuildOn,
};
use machinist_rollout::step::Connector;

use crate::{
    args::{BuildArgs, Global, RolloutArgs, node_name},
    command::deploy,
    context,
    failure::{Failure, Kind, OrFail, Outcome},
    output,
    ui::Ui,
};

/// How long new instances may take until etcd has them, after their machines were deployed.
const IN_THE_MESH: Duration = Duration::from_secs(30);

/// The permissions of machines.nix, which may be a link.
const MACHINES_MODE: u32 = 0o644;

/// How many instances.
#[derive(Debug, Args)]
pub struct ScaleArgs {
    /// The application
    #[arg(value_name = "NAME", value_parser = app_name)]
    app: String,

    /// On how many machines it shall run
    #[arg(value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    count: u16,

    /// Choose among these machines only: where it shall run also, or where it shall no longer
    #[arg(long, value_name = "MACHINE", value_parser = node_name, value_delimiter = ',')]
    on: Vec<NodeName>,

    /// How
    #[command(flatten)]
    making: MakeArgs,
}

/// From where to where.
#[derive(Debug, Args)]
pub struct MoveArgs {
    /// The application
    #[arg(value_name = "NAME", value_parser = app_name)]
    app: String,

    /// The machine that runs it
    #[arg(long, value_name = "MACHINE", value_parser = node_name)]
    from: NodeName,

    /// The machine that shall run it
    #[arg(long, value_name = "MACHINE", value_parser = node_name)]
    to: NodeName,

    /// How
    #[command(flatten)]
    making: MakeArgs,
}

/// How a placement is changed.
#[derive(Debug, Args)]
struct MakeArgs {
    /// Change machines.nix, and deploy the machines concerned; else only say what would change
    #[arg(long)]
    write: bool,

    /// Go on although a machine that no longer runs it has data of it, which stays there
    #[arg(long)]
    leave_data: bool,

    /// How machines change; one after the other unless `--max-unavailable` says otherwise
    #[command(flatten)]
    rollout: RolloutArgs,

    /// From what
    #[command(flatten)]
    building: BuildArgs,

    /// Who builds: this computer (`local`), each target its own system (`target`), or a node for all of them
    #[arg(long, value_name = "local|target|NODE", default_value = "local", value_parser = BuildOn::parse,
          conflicts_with = "store_path")]
    build_on: BuildOn,
}

/// Where an application comes to, and where it goes from.
#[derive(Debug, Default, PartialEq, Eq)]
struct Change {
    add: BTreeSet<NodeName>,
    remove: BTreeSet<NodeName>,
}

/// Runs `app scale`.
pub fn scale(args: &ScaleArgs, global: &Global, ui: Ui) -> Outcome {
    let context = context::open(global, ui)?;
    let project = &context.project;
    let cluster = project.load()?.cluster;
    require(project, &cluster, &args.app)?;
    let change = choose(&choices(&cluster, &args.app), usize::from(args.count), &args.on).map_err(|have| {
        let what = if args.on.is_empty() { "that could run it" } else { "among those named" };
        Failure::new(
            Kind::Input,
            format!("{} shall run on {} machines, and there are {have} {what}", args.app, args.count),
        )
        .hint("`--on` names others; each must have a part in the mesh")
    })?;
    make(&context, &args.app, &change, &args.making, &cluster, global, ui)
}

/// Runs `app move`.
pub fn relocate(args: &MoveArgs, global: &Global, ui: Ui) -> Outcome {
    let context = context::open(global, ui)?;
    let project = &context.project;
    let cluster = project.load()?.cluster;
    require(project, &cluster, &args.app)?;
    let choices = choices(&cluster, &args.app);
    let wrong = |node: &NodeName, wanted: bool, what: &str| {
        let fits = choices.iter().any(|choice| choice.name == *node && choice.runs == wanted);
        (!fits).then(|| Failure::new(Kind::Input, format!("{node} {what} {}", args.app)))
    };
    let from = wrong(&args.from, true, "is not placed by machines.nix to run");
    let to = wrong(&args.to, false, "has no part in the mesh, or is placed already to run");
    if let Some(failure) = from.or(to) {
        return Err(failure.hint(format!("`machinist app list` shows where {} runs", args.app)));
    }
    let change = Change { add: [args.to.clone()].into(), remove: [args.from.clone()].into() };
    make(&context, &args.app, &change, &args.making, &cluster, global, ui)
}

/// A machine that an application may run on.
#[derive(Clone, Debug)]
struct Choice {
    name: NodeName,
    zone: Option<String>,
    /// How many applications it has.
    apps: usize,
    /// Whether it has this one.
    runs: bool,
    /// Whether its roles are those of machines that have it; of workers, if none has.
    is_alike: bool,
}

fn choices(cluster: &Cluster, app: &str) -> Vec<Choice> {
    let placed = machines(cluster, app);
    let roles: BTreeSet<_> = cluster
        .mesh_nodes()
        .filter(|node| placed.contains(&&node.name))
        .flat_map(|node| node.roles.iter().copied())
        .filter(|role| *role != machinist_model::Role::Etcd)
        .collect();
    let roles = if roles.is_empty() { [machinist_model::Role::Worker].into() } else { roles };
    let choice = |node: &machinist_model::Node| Choice {
        name: node.name.clone(),
        zone: node.labels.get("zone").cloned(),
        apps: node.apps.len(),
        runs: placed.contains(&&node.name),
        is_alike: node.roles.iter().any(|role| roles.contains(role)),
    };
    cluster.mesh_nodes().map(choice).collect()
}

/// Chooses so that zones have as equal a number as can be, then machines with few applications, then by name. An error is how
/// many machines there are to choose from.
fn choose(choices: &[Choice], count: usize, on: &[NodeName]) -> Result<Change, usize> {
    let mut runs: BTreeMap<&NodeName, &Choice> =
        choices.iter().filter(|choice| choice.runs).map(|choice| (&choice.name, choice)).collect();
    let mut change = Change::default();
    let may = |choice: &&Choice| if on.is_empty() { choice.is_alike } else { on.contains(&choice.name) };
    let rank = |choice: &Choice, runs: &BTreeMap<&NodeName, &Choice>| {
        let in_zone = runs.values().filter(|other| other.zone == choice.zone).count();
        (in_zone, choice.apps, choice.name.clone())
    };
    while runs.len() < count {
        let free = choices.iter().filter(may).filter(|choice| !runs.contains_key(&choice.name));
        let Some(next) = free.min_by_key(|choice| rank(choice, &runs)) else { return Err(runs.len()) };
        change.add.insert(next.name.clone());
        runs.insert(&next.name, next);
    }
    while runs.len() > count {
        let leaving = runs.values().copied().filter(|choice| on.is_empty() || on.contains(&choice.name));
        let Some(next) = leaving.max_by_key(|choice| rank(choice, &runs)) else { return Err(runs.len()) };
        change.remove.insert(next.name.clone());
        runs.remove(&next.name);
    }
    Ok(change)
}

/// Prints the change, and makes it if that is wanted.
fn make(
    context: &Context,
    app: &str,
    change: &Change,
    args: &MakeArgs,
    cluster: &Cluster,
    global: &Global,
    ui: Ui,
) -> Outcome {
    let project = &context.project;
    let path = project.directory.join("machines.nix");
    let old = files::read_optional(&path).failed()?.unwrap_or_default();
    let new = edit(&old, app, change)?;
    tell(app, change, &old, &new, args, ui);
    if old == new || !args.write {
        return Ok(ExitCode::SUCCESS);
    }
    let connector = connect::connector(context, cluster, None)?;
    refuse_data(app, change, args, &connector)?;
    output::write(&path, new.as_bytes(), MACHINES_MODE).failed()?;
    let wanted: BTreeSet<NodeName> = machines(cluster, app)
        .into_iter()
        .filter(|node| !change.remove.contains(*node))
        .chain(&change.add)
        .cloned()
        .collect();
    // The text may mean something else than it seems to: what nix makes of it counts.
    let result = project.load().and_then(|loaded| {
        let placed: BTreeSet<NodeName> = machines(&loaded.cluster, app).into_iter().cloned().collect();
        if placed == wanted {
            return Ok(());
        }
        Err(Failure::new(
            Kind::Failed,
            format!("machines.nix computes where {app} runs: the change means something else"),
        ))
    });
    let deploy = |nodes: &BTreeSet<NodeName>| {
        let targets = nodes.iter().map(NodeName::to_string).collect();
        let deploy =
            Request::one_by_one(targets, args.rollout.options(), args.building.building(), args.build_on.clone());
        deploy::of(&deploy, global, ui)
    };
    let result = result.and_then(|()| if change.add.is_empty() { Ok(ExitCode::SUCCESS) } else { deploy(&change.add) });
    // Nothing was taken from anywhere yet: machines.nix says again what is.
    if !matches!(result, Ok(code) if code == ExitCode::SUCCESS) {
        if files::read_optional(&path).failed()?.as_deref() == Some(new.as_str()) {
            output::write(&path, old.as_bytes(), MACHINES_MODE).failed()?;
            ui.story("machines.nix is as it was: nothing was taken out");
        }
        return result;
    }
    if change.remove.is_empty() {
        return result;
    }
    wait_for(app, &wanted, cluster, &connector)?;
    deploy(&change.remove)
}

fn edit(text: &str, app: &str, change: &Change) -> Result<String, Failure> {
    let adds = change.add.iter().map(|node| (node, Placement::Add));
    let removes = change.remove.iter().map(|node| (node, Placement::Remove));
    adds.chain(removes).try_fold(text.to_owned(), |text, (node, placement)| {
        place_app(&text, node.as_str(), app, placement).map_err(|error| {
            Failure::new(Kind::Failed, error.to_string()).hint(format!(
                "{}, then {}",
                by_hand(app, change),
                order(app, change)
            ))
        })
    })
}

/// What a person would have to write.
fn by_hand(app: &str, change: &Change) -> String {
    let add = change.add.iter().map(|node| format!("add \"{app}\" to machines.{node}.apps"));
    let remove = change.remove.iter().map(|node| format!("take \"{app}\" out of machines.{node}.apps"));
    add.chain(remove).collect::<Vec<_>>().join(", ")
}

/// In which order machines are deployed.
fn order(app: &str, change: &Change) -> String {
    let names = |nodes: &BTreeSet<NodeName>| nodes.iter().map(NodeName::as_str).collect::<Vec<_>>().join(" ");
    match (change.add.is_empty(), change.remove.is_empty()) {
        (false, false) => {
            let (add, remove) = (names(&change.add), names(&change.remove));
            format!(
                "`machinist deploy {add}`, and when `machinist app list` has {app} there, `machinist deploy {remove}`"
            )
        }
        (false, true) => format!("`machinist deploy {}`", names(&change.add)),
        _ => format!("`machinist deploy {}`", names(&change.remove)),
    }
}

fn tell(app: &str, change: &Change, old: &str, new: &str, args: &MakeArgs, ui: Ui) {
    let diff = tree::Change::Update { old: old.to_owned(), new: new.to_owned() }.diff("machines.nix");
    let diff = if old == new { String::new() } else { diff };
    if ui.json && !args.write {
        ui.result_json(
            &serde_json::json!({ "application": app, "add": change.add, "remove": change.remove, "diff": diff }),
        );
    } else if diff.is_empty() {
        ui.result(&format!("{app} runs where it shall: nothing changes"));
    } else if !ui.json {
        ui.result(diff.trim_end());
        if !args.write {
            ui.story(&format!("`--write` changes machines.nix so, then does as {}", order(app, change)));
        }
    }
}

/// Data does not move with the application, and what is left behind should not be a surprise.
fn refuse_data(app: &str, change: &Change, args: &MakeArgs, connector: &Connector) -> Result<(), Failure> {
    if args.leave_data {
        return Ok(());
    }
    for node in &change.remove {
        let data = data_of(connector, node, app)?;
        if !data.is_empty() {
            let message = format!("{node} has data of {app}, which does not move with it: {}", data.join(", "));
            return Err(Failure::new(Kind::Refused, message).hint(
                "`--leave-data` goes on and leaves it there; a database with replicas joins on its new machine by itself",
            ));
        }
    }
    Ok(())
}

/// Waits until the mesh has an instance on each of these machines: only then may another one go.
fn wait_for(app: &str, wanted: &BTreeSet<NodeName>, cluster: &Cluster, connector: &Connector) -> Result<(), Failure> {
    let begun = Instant::now();
    loop {
        let found = registered(cluster, connector)?.remove(app).unwrap_or_default();
        let missing: Vec<&str> =
            wanted.iter().map(NodeName::as_str).filter(|node| !found.iter().any(|one| one.node == *node)).collect();
        if missing.is_empty() {
            return Ok(());
        }
        if begun.elapsed() > IN_THE_MESH {
            let message =
                format!("{app} is not in the mesh on {}, so nothing is taken out elsewhere", missing.join(", "));
            return Err(Failure::new(Kind::Failed, message)
                .hint(format!("`machinist app show {app}` says how it is; machines.nix has the change already")));
        }
        thread::sleep(Duration::from_millis(500));
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use machinist_model::NodeName;

    use super::{Change, Choice, by_hand, choose, edit};

    fn name(name: &str) -> NodeName {
        NodeName::parse(name).unwrap()
    }

    /// Machines as `name zone applications`, with `*` where it runs.
    fn choices(machines: &[&str]) -> Vec<Choice> {
        let choice = |text: &&str| {
            let words: Vec<&str> = text.split(' ').collect();
            let runs = words[0].ends_with('*');
            let (name, zone) = (name(words[0].trim_end_matches('*')), Some(words[1].to_owned()));
            Choice { name, zone, apps: words[2].parse().unwrap(), runs, is_alike: true }
        };
        machines.iter().map(choice).collect()
    }

    #[track_caller]
    fn check(machines: &[&str], count: usize, on: &[&str], add: &[&str], remove: &[&str]) {
        let on: Vec<NodeName> = on.iter().map(|node| name(node)).collect();
        let names = |nodes: &[&str]| nodes.iter().map(|node| name(node)).collect();
        let wanted = Change { add: names(add), remove: names(remove) };
        assert_eq!(choose(&choices(machines), count, &on).unwrap(), wanted);
    }

    #[test]
    fn zones_are_filled_evenly_then_machines_with_few_applications() {
        let machines = ["w1* a 1", "w2 a 0", "w3 b 5", "w4 b 4", "w5 b 4"];
        check(&machines, 1, &[], &[], &[]);
        check(&machines, 2, &[], &["w4"], &[]);
        check(&machines, 3, &[], &["w4", "w2"], &[]);
        check(&machines, 2, &["w3", "w2"], &["w3"], &[]);
        assert_eq!(choose(&choices(&machines), 6, &[]), Err(5));
        assert_eq!(choose(&choices(&machines), 3, &[name("w2")]), Err(2));
    }

    #[test]
    fn the_fullest_zone_gives_first() {
        let machines = ["w1* a 1", "w2* a 2", "w3* b 9"];
        check(&machines, 2, &[], &[], &["w2"]);
        check(&machines, 1, &[], &[], &["w2", "w3"]);
        check(&machines, 2, &["w1"], &[], &["w1"]);
        assert_eq!(choose(&choices(&machines), 1, &[name("w1")]), Err(2), "only w1 may go");
    }

    #[test]
    fn a_move_changes_two_lists_and_says_how_where_it_cannot() {
        let text = "{ machines = { a = { apps = [ \"web\" ]; }; b = { apps = [ ]; }; }; }";
        let change = Change { add: [name("b")].into(), remove: [name("a")].into() };
        let moved = edit(text, "web", &change).unwrap();
        assert_eq!(moved, "{ machines = { a = { apps = [ ]; }; b = { apps = [ \"web\" ]; }; }; }");
        let failure = edit("{ machines = all; }", "web", &change).unwrap_err().in_one_line();
        assert!(failure.contains("does not spell out machines.b.apps"), "{failure}");
        assert_eq!(by_hand("web", &change), "add \"web\" to machines.b.apps, take \"web\" out of machines.a.apps");
    }
}
