//! Survey of all hosts, and assembly of the plan.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    net::IpAddr,
    path::Path,
    sync::Arc,
    time::Duration,
};

use machinist_etcd::{
    etcd::{Health, Member},
    version::Version,
};
use machinist_model::NodeName;
use machinist_nix::{Nix, PathInfo, StorePath};
use machinist_remote::{Remote, Request, Status};
use machinist_switch::{
    SizedPath, UnitTree,
    boot::{Reboot, reboot},
    boot_only::boot_only,
    closure_diff::closure_diff,
    consequences::consequences,
    file_systems::file_systems,
    units::decide,
};
use tokio::task::JoinSet;

use super::{
    changes::{Changes, FullBoot, NodePlan, Plan, PlannedBoot},
    inspect::{self, Inspection},
    quorum::{self, QuorumRisk, QuorumView},
};
use crate::{
    HostFacts,
    boot_once::{is_wanted_for_kernel, refusal},
    etcd_version::{self, Change as EtcdChange, etcd_of, etcd_on},
    kubernetes_version::{self, Change, skew_problems},
    local_system,
    problem::Problem,
    script,
    step::{
        Connector, StepError, boot_once,
        copy::{self, Catalog},
        gate, gather, ready_for_us,
        room::boot_bytes,
        versions::{ask_versions, version_of},
    },
    target::{Layout, Target, Traits},
    text::words,
    waves::{self, Reboots, Situation, Spread, Wave},
};

/// Inputs of a plan.
pub struct Survey {
    /// The nodes, with the systems that are built for them.
    pub targets: Vec<Target>,
    /// All voting members of etcd with their addresses, targets or not.
    pub members: BTreeMap<NodeName, IpAddr>,
    /// Traits of all nodes that determine their order and treatment.
    pub traits: BTreeMap<NodeName, Traits>,
    /// True if the members have formed a quorum before, as recorded.
    pub bootstrapped: bool,
    /// The bootstrap server, if etcd is embedded in k3s.
    pub founder: Option<NodeName>,
    /// Opens connections to the nodes.
    pub connector: Connector,
    /// The local store.
    pub nix: Nix,
    /// Distribution of the nodes without a vote over the waves.
    pub spread: Spread,
}

/// The survey of a host that responded.
struct Asked {
    remote: Box<dyn Remote>,
    plan: NodePlan,
    /// Kubernetes versions: the running one and the new system's.
    kubernetes: [Option<kubernetes_version::Version>; 2],
}

impl Survey {
    /// Queries all hosts concurrently, and returns the changes that a deploy would make. An error of one host becomes
    /// that host's plan.
    pub async fn run(self) -> Plan {
        let Self { targets, members, traits, bootstrapped, founder, connector, nix, spread } = self;
        let mut tasks = JoinSet::new();
        for target in targets {
            let (connector, nix, reboots) = (connector.clone(), nix.clone(), spread.reboots);
            tasks.spawn_blocking(move || {
                let asked = ask(&target, &connector, &nix, reboots);
                (target.node, asked)
            });
        }
        let mut nodes = BTreeMap::new();
        let mut remotes = BTreeMap::new();
        let mut versions = BTreeMap::new();
        for (node, asked) in tasks.join_all().await {
            match asked {
                Ok(Asked { remote, plan, kubernetes }) => {
                    versions.insert(node.clone(), kubernetes);
                    remotes.insert(node.clone(), remote);
                    nodes.insert(node, plan);
                }
                Err(error) => {
                    let plan = NodePlan::Silent { why: words(&node, &error), hint: error.hint() };
                    nodes.insert(node, plan);
                }
            }
        }
        let silent: BTreeSet<NodeName> = nodes.keys().filter(|node| !versions.contains_key(*node)).cloned().collect();
        let mut skew = skew(versions, &silent, &traits, &connector).await;
        let names = members.keys().cloned().collect();
        let is_k3s = founder.is_some();
        let systems = new_systems(&nodes);
        let asking = move || {
            let health = bootstrapped.then(|| health(&members, &remotes, &connector)).flatten()?;
            let health = if is_k3s { health.without_absent() } else { health };
            let problems = etcd_problems(&systems, &health, &remotes, &nix);
            Some((health, problems))
        };
        // If the query fails for any reason, etcd's health is unknown.
        let (health, problems) = tokio::task::spawn_blocking(asking).await.ok().flatten().unzip();
        skew.extend(problems.into_iter().flatten());
        let recorded = Recorded { bootstrapped, founder };
        Plan { skew, ..assemble(nodes, names, &traits, &recorded, health.as_ref(), spread) }
    }
}

/// Returns the plan's violations of the skew policy. Nodes outside of the targets are queried only if a version
/// changes.
async fn skew(
    targets: BTreeMap<NodeName, [Option<kubernetes_version::Version>; 2]>,
    silent: &BTreeSet<NodeName>,
    traits: &BTreeMap<NodeName, Traits>,
    connector: &Connector,
) -> Vec<Problem> {
    if !targets.values().any(|[running, after]| after.is_some() && after != running) {
        return Vec::new();
    }
    let others = traits.keys().filter(|node| !targets.contains_key(*node) && !silent.contains(*node)).cloned();
    let (others, mut problems) = ask_versions(connector, others.collect()).await;
    let others = others.into_iter().map(|(node, running)| (node, [running, running]));
    let change = |(node, [running, after]): (NodeName, [Option<kubernetes_version::Version>; 2])| {
        let control_plane = traits.get(&node).is_some_and(|traits| traits.control_plane);
        (node, Change { control_plane, running, after })
    };
    problems.extend(skew_problems(&targets.into_iter().chain(others).map(change).collect()));
    problems
}

fn new_systems(nodes: &BTreeMap<NodeName, NodePlan>) -> BTreeMap<NodeName, StorePath> {
    let new = |(node, plan): (&NodeName, &NodePlan)| match plan {
        NodePlan::Changes(changes) => Some((node.clone(), changes.system.clone())),
        _ => None,
    };
    nodes.iter().filter_map(new).collect()
}

/// Returns the problems of the members' new versions of etcd.
fn etcd_problems(
    systems: &BTreeMap<NodeName, StorePath>,
    health: &Health,
    remotes: &BTreeMap<NodeName, Box<dyn Remote>>,
    nix: &Nix,
) -> Vec<Problem> {
    let version =
        |(name, member): (&NodeName, &Member)| Some((name.clone(), Version::parse(member.version.as_deref()?)?));
    let running = health.members.iter().filter_map(version).collect();
    let change = |(node, system): (&NodeName, &StorePath)| {
        let after = etcd_of(system, nix)?;
        let before = remotes.get(node).and_then(|remote| etcd_on(&**remote, "/run/current-system").ok()?);
        Some((node.clone(), EtcdChange { before: before.map(|started| started.program), after }))
    };
    let members = systems.iter().filter(|(node, _)| health.members.contains_key(*node));
    let changes: BTreeMap<NodeName, EtcdChange> = members.filter_map(change).collect();
    let after = changes.iter().filter_map(|(node, change)| Some((node.clone(), change.after.version?))).collect();
    let mut problems = etcd_version::problems(&running, &after);
    let started = health.members.iter().filter(|(_, member)| member.started).map(|(node, _)| node.clone());
    let silent = started.filter(|node| !running.contains_key(node)).collect();
    problems.extend(etcd_version::unknown_problems(&changes, &running, &silent));
    problems
}

fn ask(target: &Target, connector: &Connector, nix: &Nix, reboots: Reboots) -> Result<Asked, StepError> {
    let remote = connector.connect(&target.node)?;
    let facts = gather(&*remote)?;
    let plan = match ready_for_us(&facts, target) {
        Err(error) => NodePlan::NotReady { why: words(&target.node, &error), hint: error.hint() },
        Ok(()) => compare(target, &*remote, &facts, nix, reboots)?,
    };
    let changes = matches!(plan, NodePlan::Changes(_));
    let after = if changes { version_of(&target.system) } else { facts.kubernetes };
    Ok(Asked { remote, plan, kubernetes: [facts.kubernetes, after] })
}

fn compare(
    target: &Target,
    remote: &dyn Remote,
    facts: &HostFacts,
    nix: &Nix,
    reboots: Reboots,
) -> Result<NodePlan, StepError> {
    let system = &target.system;
    let keys: Vec<String> = target.keys.iter().filter(|key| !facts.keys.contains(*key)).cloned().collect();
    let due = reboot(&facts.booted, &facts.booted, &local_system::boot_files(Path::new(system.as_str())));
    let boot = boot(remote, facts, system, reboots, due.as_ref())?;
    let reboots = reboots.wants(due.is_some() || boot.is_some());
    if facts.is_on(system) && keys.is_empty() && !reboots {
        return Ok(NodePlan::Unchanged { system: system.clone() });
    }
    let closure = Catalog::read(nix, &BTreeSet::from([system.clone()]))?.closure(system);
    let delta = copy::delta(remote, &closure)?;
    let mut changes = Changes {
        running: facts.running.clone(),
        boots: facts.profile.clone(),
        system: system.clone(),
        paths: closure.len(),
        paths_to_send: delta.paths.len(),
        bytes_to_send: delta.bytes,
        too_little_room: facts.store_free.filter(|free| *free < copy::room_for(&delta)),
        full_boot: full_boot(facts, boot_bytes(system, facts, &delta)),
        keys,
        closure: None,
        units: Vec::new(),
        systemd_reexec: false,
        reboot: None,
        reboots,
        boot,
        virtual_address: facts.virtual_address,
        dry_run: None,
    };
    if facts.running.is_some() {
        let at = Path::new(system.as_str());
        let unreadable = |source| StepError::Unknown { why: format!("the units of {system} cannot be read: {source}") };
        let new = local_system::unit_tree(&at.join("etc/systemd/system")).map_err(unreadable)?;
        let old = inspect::ask(remote, &new)?;
        let sized = |info: &Arc<PathInfo>| SizedPath { path: info.path.clone(), bytes: Some(info.size) };
        let closure: Vec<SizedPath> = closure.iter().map(sized).collect();
        differences(&mut changes, &old, &new, &closure, at);
        // The system is booted, so that everything starts.
        if changes.boot.is_some() {
            (changes.units, changes.reboot, changes.systemd_reexec) = (Vec::new(), None, false);
        } else if changes.paths_to_send == 0 && changes.running.as_ref() != Some(system) {
            changes.dry_run = dry_activate(remote, system)?;
        }
    }
    Ok(NodePlan::Changes(Box::new(changes)))
}

/// Returns why the system is booted once instead of activated, and what the host's boot loader can do about it.
fn boot(
    remote: &dyn Remote,
    facts: &HostFacts,
    system: &StorePath,
    reboots: Reboots,
    due: Option<&Reboot>,
) -> Result<Option<PlannedBoot>, StepError> {
    if facts.running.as_ref().is_none_or(|running| running == system) {
        return Ok(None);
    }
    let path = Path::new(system.as_str());
    let why = boot_only(&facts.switch, &local_system::switch_files(path));
    let required = !why.is_empty();
    let is_default = facts.profile.as_ref() == Some(system);
    let for_kernel = due.filter(|_| !required && is_wanted_for_kernel(true, reboots, is_default));
    if !required && for_kernel.is_none() {
        return Ok(None);
    }
    let loader = boot_once::loader(remote)?;
    let why = for_kernel.map_or(why, |reboot| reboot.why.clone());
    if !required && loader.cannot.is_some() {
        return Ok(None);
    }
    let refusal = if required { refusal(&why, reboots, Some(&loader)) } else { None };
    let (refused, hint) = refusal.map_or((None, None), |refusal| (Some(refusal.text), Some(refusal.hint)));
    let left_after = local_system::boot_deadline(path);
    Ok(Some(PlannedBoot { why, required, left_after, loader, refused, hint }))
}

fn full_boot(facts: &HostFacts, needed: u64) -> Option<FullBoot> {
    let free = facts.boot_free.filter(|free| *free < needed)?;
    Some(FullBoot { at: facts.boot_at.clone().unwrap_or_else(|| "/boot".to_owned()), free, needed })
}

/// Runs the new system's own dry activation. It is already on the host, so nothing is copied for it.
fn dry_activate(remote: &dyn Remote, system: &StorePath) -> Result<Option<String>, StepError> {
    let script = script::with(&[("system", system.as_str())], DRY_ACTIVATE);
    let output = remote.run(Request::new("dry-activate", script).timeout(Duration::from_secs(120)))?;
    Ok((output.status == Status::Exited(0)).then(|| actions(&output.stdout_text())).filter(|text| !text.is_empty()))
}

/// Removes what the pre-switch checks print of themselves: the plan knows the inhibitors.
fn actions(said: &str) -> String {
    let is_action = |line: &&str| !line.starts_with("Not checking switch inhibitors");
    said.lines().filter(is_action).collect::<Vec<_>>().join("\n").trim().to_owned()
}

/// The program prints to stderr.
const DRY_ACTIVATE: &str = "\
export PATH=/run/current-system/sw/bin:$PATH
timeout -k 5 100 \"$system/bin/switch-to-configuration\" dry-activate 2>&1
";

fn differences(changes: &mut Changes, old: &Inspection, new: &UnitTree, closure: &[SizedPath], at: &Path) {
    // If the system already runs, a deploy only installs keys or changes what boots.
    if changes.running.as_ref() != Some(&changes.system) {
        let mut switch = decide(&old.units, new);
        let fstab = fs::read_to_string(at.join("etc/fstab")).unwrap_or_default();
        file_systems(&old.fstab, &fstab, &mut switch);
        changes.units = consequences(&switch, &old.units, new);
        changes.systemd_reexec = local_system::manager(at) != old.manager;
    }
    changes.closure = Some(closure_diff(&old.closure, closure));
    changes.reboot = reboot(&old.booted, &old.running, &local_system::boot_files(at));
}

/// Queries etcd through a connected member, or else through another one.
fn health(
    members: &BTreeMap<NodeName, IpAddr>,
    remotes: &BTreeMap<NodeName, Box<dyn Remote>>,
    connector: &Connector,
) -> Option<Health> {
    let (connected, others): (Vec<_>, Vec<_>) = members.keys().partition(|member| remotes.contains_key(*member));
    let asked = connected.into_iter().filter_map(|member| remotes.get(member));
    let answer = asked.filter_map(|remote| gate::etcd(&**remote, members).ok()).next();
    answer.or_else(|| {
        let connect = |member| connector.connect(member).ok();
        others.into_iter().filter_map(connect).filter_map(|remote| gate::etcd(&*remote, members).ok()).next()
    })
}

/// Recorded state of the members, and the bootstrap server if etcd is embedded in k3s.
struct Recorded {
    bootstrapped: bool,
    founder: Option<NodeName>,
}

/// Computes the order and the risk from the nodes' plans.
fn assemble(
    nodes: BTreeMap<NodeName, NodePlan>,
    members: BTreeSet<NodeName>,
    traits: &BTreeMap<NodeName, Traits>,
    recorded: &Recorded,
    health: Option<&Health>,
    spread: Spread,
) -> Plan {
    let Recorded { bootstrapped, founder } = recorded;
    let of_kind = |wanted: fn(&NodePlan) -> bool| -> BTreeSet<NodeName> {
        nodes.iter().filter(|(_, plan)| wanted(plan)).map(|(node, _)| node.clone()).collect()
    };
    let changing = of_kind(|plan| matches!(plan, NodePlan::Changes(_)));
    let unchanged = of_kind(|plan| matches!(plan, NodePlan::Unchanged { .. }));
    let rebooting = of_kind(|plan| matches!(plan, NodePlan::Changes(changes) if changes.reboots));
    let virtual_address = of_kind(|plan| matches!(plan, NodePlan::Changes(changes) if changes.virtual_address));
    let silent = of_kind(|plan| matches!(plan, NodePlan::Silent { .. } | NodePlan::NotReady { .. }));
    let leader = health.and_then(|health| health.leader.clone());
    let unchanged_members = unchanged.intersection(&members).cloned().collect();
    let Layout { zones, ingress, control_planes, routers } = Layout::of(traits);
    let comes =
        |name: &&NodeName| founder.is_some() && health.is_some_and(|health| !health.members.contains_key(*name));
    let joining: BTreeSet<NodeName> = members.iter().filter(comes).cloned().collect();
    let broken = health.into_iter().flat_map(Health::broken).map(|(name, _)| name.clone());
    let situation = Situation {
        changing,
        members: members.clone(),
        unchanged_members,
        bootstrapped: *bootstrapped,
        leader: leader.clone(),
        broken: broken.chain(joining.iter().cloned()).collect(),
        zones,
        ingress,
        control_planes,
        routers,
        virtual_address,
        rebooting,
        spread,
        founder: founder.clone().filter(|_| !bootstrapped),
        joining: joining.clone(),
    };
    let (waves, refusal) = match waves::waves(&situation) {
        Ok(waves) => (waves, None),
        Err(error) => (Vec::new(), Some(error.to_string())),
    };
    let voters = members.difference(&joining).cloned().collect();
    let quorum = if refusal.is_some() { None } else { risk(&nodes, &voters, &waves, silent, recorded, health, leader) };
    Plan { nodes, waves, refusal, quorum, skew: Vec::new() }
}

fn risk(
    nodes: &BTreeMap<NodeName, NodePlan>,
    members: &BTreeSet<NodeName>,
    waves: &[Wave],
    silent: BTreeSet<NodeName>,
    recorded: &Recorded,
    health: Option<&Health>,
    leader: Option<NodeName>,
) -> Option<QuorumRisk> {
    let disturbed = |plan: &NodePlan| match plan {
        // The units are unknown before the first deploy: everything starts.
        NodePlan::Changes(changes) => {
            changes.running.is_none() || changes.reboots || quorum::UNITS.iter().any(|unit| changes.disturbs(unit))
        }
        _ => false,
    };
    let restarting = members.iter().filter(|node| nodes.get(*node).is_some_and(disturbed)).cloned().collect();
    let broken = health.map(|health| health.broken().map(|(node, why)| (node.clone(), why)).collect());
    quorum::risk(&QuorumView {
        members: members.clone(),
        waves,
        restarting,
        silent: silent.intersection(members).cloned().collect(),
        broken,
        unmanaged: health.map_or(0, |health| health.unmanaged.len()),
        bootstrapped: recorded.bootstrapped,
        leader,
        founder: recorded.founder.clone(),
    })
}

#[cfg(test)]
mod tests {
    use super::actions;

    #[test]
    fn a_dry_run_says_what_it_would_do_and_nothing_of_its_checks() {
        let said =
            "Not checking switch inhibitors (action = dry-activate)\nwould stop the following units: a.service\n";
        assert_eq!(actions(said), "would stop the following units: a.service");
        assert_eq!(actions("Not checking switch inhibitors (action = dry-activate)\n"), "");
    }
}
