//! Machines of the sandbox: start, removal and status.

use std::{
    collections::BTreeSet,
    net::IpAddr,
    path::{Path, PathBuf},
};

use machinist_model::{Cluster, Node, Orchestrator, Provider};
use machinist_remote::{HostKey, KnownHosts, host_pattern};
use machinist_sandbox::{
    self as sandbox, DEFAULT_CACHE_DIR, MachineSpec, Report, SandboxSpec, Status, default_state_dir,
};

use super::{failed, owned::Owned};
use crate::{
    connect::KNOWN_HOSTS,
    context::Context,
    failure::{Failure, Kind, OrFail as _},
    files,
};

/// Starts the machines with `provider = "sandbox"`, and creates missing ones.
///
/// # Errors
/// machines.nix has no such machine, or one fails to start.
pub fn up(context: &Context) -> Result<Report, Failure> {
    let project = &context.project;
    let cluster = project.load()?.cluster;
    let state = default_state_dir(&cluster.name);
    let spec = spec(&cluster, &state)?;
    Owned::of(project, &cluster)?.write(project)?;
    let report = sandbox::up(&spec, &|event| context.events.sandbox(&event)).map_err(|error| failed(&error))?;
    let known_hosts = KnownHosts::load(&project.directory.join(KNOWN_HOSTS)).input()?;
    let mut replaced = BTreeSet::new();
    for machine in &report.machines {
        let key = HostKey::from_openssh(&machine.host_key)
            .ok_or_else(|| Failure::new(Kind::Failed, format!("{} has no readable host key", machine.name)))?;
        if known_hosts.pin(&host_pattern(&machine.ip.to_string(), machine.ssh_port), key).failed()? {
            replaced.insert(machine.name.clone());
        }
    }
    project.forget_machines(&replaced)?;
    Ok(report)
}

/// Removes the machines and their data; with `cache` also the Debian root shared by all sandboxes of this computer. The
/// machines that the last `up` recorded are removed too if machines.nix does not load, or names the cluster otherwise.
///
/// # Errors
/// A machine cannot be removed, or neither machines.nix nor a record names the sandbox.
pub fn down(context: &Context, cache: bool) -> Result<(), Failure> {
    let project = &context.project;
    let recorded = Owned::read(project);
    let mut pins = BTreeSet::new();
    let owned = match project.load() {
        Ok(loaded) => {
            let address = |node: &Node| (node.ip.to_string(), node.ssh.listening_port());
            pins.extend(machines(&loaded.cluster).map(address));
            Owned::of(project, &loaded.cluster)?
        }
        Err(failure) => {
            let Some(owned) = recorded.clone()? else { return Err(unknown(failure)) };
            context.events.warn(format!("{}; removing the sandbox {}", failure.in_one_line(), owned.cluster));
            owned
        }
    };
    let former = recorded.unwrap_or_else(|failure| {
        context.events.warn(failure.in_one_line());
        None
    });
    let former = former.filter(|former| former.cluster != owned.cluster);
    for owned in former.iter().chain([&owned]) {
        pins.extend(owned.addresses());
        sandbox::down(&owned.state_dir(), &|event| context.events.sandbox(&event)).map_err(|error| failed(&error))?;
    }
    let known_hosts = KnownHosts::load(&project.directory.join(KNOWN_HOSTS)).input()?;
    for (ip, port) in pins {
        known_hosts.forget(&host_pattern(&ip, port)).failed()?;
    }
    // The recorded machines are gone, and their data with them: the next ones form a new cluster.
    if owned.whole {
        files::remove(&project.directory.join("state/cluster.json")).failed()?;
    }
    Owned::remove(project)?;
    if cache {
        remove_cache(context, &owned.state_dir())?;
    }
    Ok(())
}

/// Adds the sandboxes of this computer to the failure of a machines.nix that does not load.
fn unknown(failure: Failure) -> Failure {
    let others = default_state_dir("x").parent().map(files::folders).unwrap_or_default();
    if others.is_empty() {
        return failure;
    }
    let hint = format!("`cluster.name` says which sandbox is meant; this computer has {}", others.join(", "));
    failure.hint(hint)
}

/// Removes the shared Debian root, unless other sandboxes of this computer still use it.
fn remove_cache(context: &Context, state: &Path) -> Result<(), Failure> {
    let others = state.parent().map(files::folders).unwrap_or_default();
    if !others.is_empty() {
        context.events.warn(format!("kept {DEFAULT_CACHE_DIR}: other sandboxes use it ({})", others.join(", ")));
        return Ok(());
    }
    match std::fs::remove_dir_all(DEFAULT_CACHE_DIR) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error).failed(),
        _ => Ok(()),
    }
}

/// Returns the sandbox's machines and their status.
///
/// # Errors
/// There is no sandbox.
pub fn status(context: &Context) -> Result<Status, Failure> {
    let cluster = context.project.load()?.cluster;
    sandbox::status(&default_state_dir(&cluster.name)).map_err(|error| failed(&error))
}

fn machines(cluster: &Cluster) -> impl Iterator<Item = &Node> {
    cluster.deployable().filter(|node| node.provider == Provider::Sandbox)
}

fn spec(cluster: &Cluster, state: &Path) -> Result<SandboxSpec, Failure> {
    let authorized_keys: Vec<String> = cluster.operators.iter().filter_map(|operator| operator.ssh.clone()).collect();
    let machine = |node: &Node| {
        let mut machine = MachineSpec::new(node.name.as_str(), node.ip, &authorized_keys);
        if let Some(interface) = &node.interface {
            machine.interface.clone_from(interface);
        }
        machine.ssh_port = node.ssh.listening_port();
        machine.pods = cluster.orchestrator == Some(Orchestrator::Kubernetes);
        machine
    };
    let machines: Vec<MachineSpec> = machines(cluster).map(machine).collect();
    if machines.is_empty() {
        let failure = Failure::new(Kind::Input, "no machine has `provider = \"sandbox\"`");
        return Err(failure.hint("set it on the machines that shall live on this computer"));
    }
    if authorized_keys.is_empty() {
        let failure = Failure::new(Kind::Input, "no operator has an SSH key, so nobody could log in to the machines");
        return Err(failure.hint("add `ssh = \"ssh-ed25519 ...\";` to operators.nix"));
    }
    Ok(SandboxSpec {
        cluster: cluster.name.clone(),
        network: cluster.network.nodes,
        reserved: reserved(cluster),
        machines,
        state_dir: state.to_owned(),
        cache_dir: PathBuf::from(DEFAULT_CACHE_DIR),
    })
}

/// Returns the addresses that the operator must not use: those of machines, of a Router, of disabled machines, and the
/// virtual IP.
pub(crate) fn reserved(cluster: &Cluster) -> Vec<IpAddr> {
    let machines = cluster.nodes.values().map(|node| node.ip);
    let endpoint = cluster.kube_master.iter().map(|endpoint| endpoint.ip);
    machines.chain(endpoint).chain(cluster.network.gateway).collect()
}
