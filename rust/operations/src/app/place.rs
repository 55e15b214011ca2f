//! Placement of an application: a change of machines.nix, and the deploys that follow from it.
//!
//! machines.nix states where an application runs, and people review its changes. A change is therefore planned first,
//! and made only on request. New instances come first; an old one is drained once the mesh has the requested number
//! without it.

use std::{
    collections::{BTreeMap, BTreeSet},
    thread,
    time::{Duration, Instant},
};

use machinist_codegen::tree;
use machinist_model::{
    Cluster, Node, NodeName, Role,
    source::edit::{Placement, place_app},
};
use machinist_rollout::step::Connector;

use crate::{
    apps::{data_of, machines, registered, require},
    connect,
    context::Context,
    deploy,
    failure::{Failure, Kind, OrFail as _},
    files, output,
    rollout::options::Options,
    systems::{BuildOn, Building},
};

/// Time limit for new instances to appear in etcd, after their machines were deployed.
const IN_THE_MESH: Duration = Duration::from_secs(30);

/// Permissions of machines.nix, resolved through links.
const MACHINES_MODE: u32 = 0o644;

/// Machines that gain or lose an application.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Change {
    /// Machines that run it after the change.
    pub add: BTreeSet<NodeName>,
    /// Machines that no longer run it after the change.
    pub remove: BTreeSet<NodeName>,
}

/// Planned change of machines.nix.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Name of the application.
    pub app: String,
    /// Machines that gain or lose it.
    pub change: Change,
    /// Unified diff of machines.nix; empty if nothing changes.
    pub diff: String,
    /// Commands that deploy the change, in order.
    pub order: String,
    old: String,
    new: String,
    cluster: Cluster,
}

impl Plan {
    /// Returns true if machines.nix changes.
    #[must_use]
    pub fn is_change(&self) -> bool {
        self.old != self.new
    }
}

/// Plans that an application runs on `count` machines, chosen from `on` unless it is empty.
///
/// # Errors
/// There are not enough machines, or machines.nix cannot be edited.
pub fn scale(context: &Context, app: &str, count: usize, on: &[NodeName]) -> Result<Plan, Failure> {
    let project = &context.project;
    let cluster = project.load()?.cluster;
    require(project, &cluster, app)?;
    let change = choose(&choices(&cluster, app), count, on).map_err(|have| {
        let what = if on.is_empty() { "that could run it" } else { "among those named" };
        Failure::new(Kind::Input, format!("{app} shall run on {count} machines, and there are {have} {what}"))
            .hint("`--on` names others; each must have a part in the mesh")
    })?;
    plan(context, cluster, app, change)
}

/// Plans that an application moves to another machine.
///
/// # Errors
/// It does not run on the source machine or cannot run on the destination, or machines.nix cannot be edited.
pub fn relocate(context: &Context, app: &str, from: &NodeName, to: &NodeName) -> Result<Plan, Failure> {
    let project = &context.project;
    let cluster = project.load()?.cluster;
    require(project, &cluster, app)?;
    let choices = choices(&cluster, app);
    let wrong = |node: &NodeName, wanted: bool, what: &str| {
        let fits = choices.iter().any(|choice| choice.name == *node && choice.runs == wanted);
        (!fits).then(|| Failure::new(Kind::Input, format!("{node} {what} {app}")))
    };
    let is_wrong = wrong(from, true, "is not placed by machines.nix to run")
        .or_else(|| wrong(to, false, "has no part in the mesh, or is placed already to run"));
    if let Some(failure) = is_wrong {
        return Err(failure.hint(format!("`machinist app list` shows where {app} runs")));
    }
    let change = Change { add: [to.clone()].into(), remove: [from.clone()].into() };
    plan(context, cluster, app, change)
}

fn plan(context: &Context, cluster: Cluster, app: &str, change: Change) -> Result<Plan, Failure> {
    let old = files::read_optional(&context.project.directory.join("machines.nix")).failed()?.unwrap_or_default();
    let new = edit(&old, app, &change)?;
    let diff = tree::Change::Update { old: old.clone(), new: new.clone() }.diff("machines.nix");
    let diff = if old == new { String::new() } else { diff };
    let order = order(app, &change);
    Ok(Plan { app: app.to_owned(), change, diff, order, old, new, cluster })
}

/// Options for making a change.
#[derive(Clone, Debug)]
pub struct Request {
    /// Continues even if a machine that no longer runs the application keeps data of it.
    pub leave_data: bool,
    /// Rollout options.
    pub options: Options,
    /// Options for evaluation and build.
    pub building: Building,
    /// Location of builds.
    pub build_on: BuildOn,
}

/// Makes the change: writes machines.nix and deploys the machines. Returns the kind of failure, or `None` on success.
/// If no machine could be added, machines.nix is restored.
///
/// # Errors
/// Data would be left behind, or the deploy is refused.
pub fn make(context: &Context, plan: &Plan, request: &Request) -> Result<Option<Kind>, Failure> {
    let Plan { app, change, cluster, .. } = plan;
    let connector = connect::connector(context, cluster, None)?;
    if !request.leave_data {
        refuse_data(app, change, &connector)?;
    }
    let path = context.project.directory.join("machines.nix");
    output::write(&path, plan.new.as_bytes(), MACHINES_MODE).failed()?;
    let wanted: BTreeSet<NodeName> = machines(cluster, app)
        .into_iter()
        .filter(|node| !change.remove.contains(*node))
        .chain(&change.add)
        .cloned()
        .collect();
    let added = refuse_other_meaning(context, app, &wanted).and_then(|()| deploy(context, &change.add, request));
    // Nothing has been removed yet, so machines.nix is restored to match the machines.
    if !matches!(added, Ok(None)) {
        if files::read_optional(&path).failed()?.as_deref() == Some(plan.new.as_str()) {
            output::write(&path, plan.old.as_bytes(), MACHINES_MODE).failed()?;
            context.events.remark("machines.nix is as it was: nothing was taken out");
        }
        return added;
    }
    if change.remove.is_empty() {
        return added;
    }
    wait_for(context, app, &wanted, cluster, &connector)?;
    deploy(context, &change.remove, request)
}

/// Refuses an edited text that does not mean what it appears to: the result of its evaluation decides.
fn refuse_other_meaning(context: &Context, app: &str, wanted: &BTreeSet<NodeName>) -> Result<(), Failure> {
    let loaded = context.project.load()?;
    let placed: BTreeSet<NodeName> = machines(&loaded.cluster, app).into_iter().cloned().collect();
    if placed == *wanted {
        return Ok(());
    }
    let message = format!("machines.nix computes where {app} runs: the change means something else");
    Err(Failure::new(Kind::Failed, message))
}

fn deploy(context: &Context, nodes: &BTreeSet<NodeName>, request: &Request) -> Result<Option<Kind>, Failure> {
    if nodes.is_empty() {
        return Ok(None);
    }
    let targets = nodes.iter().map(NodeName::to_string).collect();
    let Request { options, building, build_on, .. } = request.clone();
    let deploy = deploy::Request::one_by_one(targets, options, building, build_on);
    Ok(deploy::run(context, &deploy)?.verdict())
}

/// Machine that an application may run on.
#[derive(Clone, Debug)]
struct Choice {
    name: NodeName,
    zone: Option<String>,
    /// Number of its applications.
    apps: usize,
    /// True if it already runs this application.
    runs: bool,
    /// True if its roles match those of machines that run the application, or those of workers if none does.
    is_alike: bool,
}

fn choices(cluster: &Cluster, app: &str) -> Vec<Choice> {
    let placed = machines(cluster, app);
    let roles: BTreeSet<_> = cluster
        .mesh_nodes()
        .filter(|node| placed.contains(&&node.name))
        .flat_map(|node| node.roles.iter().copied())
        .filter(|role| *role != Role::Etcd)
        .collect();
    let roles = if roles.is_empty() { [Role::Worker].into() } else { roles };
    let choice = |node: &Node| Choice {
        name: node.name.clone(),
        zone: node.labels.get("zone").cloned(),
        apps: node.apps.len(),
        runs: placed.contains(&&node.name),
        is_alike: node.roles.iter().any(|role| roles.contains(role)),
    };
    cluster.mesh_nodes().map(choice).collect()
}

/// Chooses machines so that zones are balanced, then by fewest applications, then by name. The error is the number of
/// available machines.
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

/// Describes the manual edit.
fn by_hand(app: &str, change: &Change) -> String {
    let add = change.add.iter().map(|node| format!("add \"{app}\" to machines.{node}.apps"));
    let remove = change.remove.iter().map(|node| format!("take \"{app}\" out of machines.{node}.apps"));
    add.chain(remove).collect::<Vec<_>>().join(", ")
}

/// Returns the commands that deploy the machines, in order.
fn order(app: &str, change: &Change) -> String {
    let names = |nodes: &BTreeSet<NodeName>| nodes.iter().map(NodeName::as_str).collect::<Vec<_>>().join(" ");
    match (change.add.is_empty(), change.remove.is_empty()) {
        (false, false) => {
            let add = names(&change.add);
            let remove = names(&change.remove);
            format!(
                "`machinist deploy {add}`, and when `machinist app list` has {app} there, `machinist deploy {remove}`"
            )
        }
        (false, true) => format!("`machinist deploy {}`", names(&change.add)),
        _ => format!("`machinist deploy {}`", names(&change.remove)),
    }
}

/// Refuses to leave data behind, since it does not move with the application.
fn refuse_data(app: &str, change: &Change, connector: &Connector) -> Result<(), Failure> {
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

/// Waits until the mesh has an instance on each of these machines: only then may an old one be removed.
fn wait_for(
    context: &Context,
    app: &str,
    wanted: &BTreeSet<NodeName>,
    cluster: &Cluster,
    connector: &Connector,
) -> Result<(), Failure> {
    let begun = Instant::now();
    loop {
        let found = registered(cluster, connector)?.remove(app).unwrap_or_default();
        let missing: Vec<&str> =
            wanted.iter().map(NodeName::as_str).filter(|node| !found.iter().any(|one| one.node == *node)).collect();
        if missing.is_empty() {
            return Ok(());
        }
        if begun.elapsed() > IN_THE_MESH || context.interrupt.is_set() {
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

    /// Machines as `name zone applications`, with `*` if the application runs there.
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
