//! `machinist sandbox`: the cluster's machines with `provider = "sandbox"`, on this computer.

mod fault;

use std::{
    collections::BTreeSet,
    net::IpAddr,
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::{Args, Subcommand};
use ipnet::IpNet;
use machinist_model::{Cluster, Node, Provider};
use machinist_operations::{
    connect::KNOWN_HOSTS,
    files,
    project::Project,
    sandbox::{failed, why_stopped},
};
use machinist_remote::{HostKey, KnownHosts, host_pattern};
use machinist_sandbox::{
    self as sandbox, DEFAULT_CACHE_DIR, MachineSpec, MachineState, SandboxSpec, default_state_dir,
};

use crate::{
    args::Global,
    context,
    failure::{Failure, Kind, OrFail, Outcome},
    sandbox::tell,
    ui::{Tone, Ui},
};

/// Machines on this computer, to try things: containers with their own network, /nix, systemd and sshd.
#[derive(Debug, Subcommand)]
pub enum SandboxCommand {
    /// Start the machines with `provider = "sandbox"`, making what is missing
    Up,
    /// Remove them and everything in them
    Down(DownArgs),
    /// Say what is there
    Status,
    /// Let something go wrong with a machine, to see what becomes of the cluster
    Fault(fault::FaultArgs),
    /// End the faults of a machine, or of all
    Heal(fault::HealArgs),
}

/// Removes the machines.
#[derive(Debug, Args)]
pub struct DownArgs {
    /// Also remove the Debian root that all sandboxes of this computer share; making it again takes a minute
    #[arg(long)]
    cache: bool,
}

/// Runs the command.
pub fn run(command: &SandboxCommand, global: &Global, ui: Ui) -> Outcome {
    let context = context::open(global, ui)?;
    let project = &context.project;
    let cluster = project.load()?.cluster;
    let state = default_state_dir(&cluster.name);
    match command {
        SandboxCommand::Up => up(project, &cluster, &state, ui)?,
        SandboxCommand::Down(args) => down(project, &cluster, &state, args, ui)?,
        SandboxCommand::Status => status(&state, ui)?,
        SandboxCommand::Fault(args) => fault::inject(&state, args, ui)?,
        SandboxCommand::Heal(args) => fault::heal(&state, args, ui)?,
    }
    Ok(ExitCode::SUCCESS)
}

fn up(project: &Project, cluster: &Cluster, state: &Path, ui: Ui) -> Result<(), Failure> {
    let spec = spec(cluster, state)?;
    let report = sandbox::up(&spec, &|event| tell(ui, &event)).map_err(|error| failed(&error))?;
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
    if ui.json {
        let machine = |machine: &sandbox::MachineReport| serde_json::json!({ "name": machine.name, "ip": machine.ip, "started": machine.started });
        let machines: Vec<serde_json::Value> = report.machines.iter().map(machine).collect();
        ui.result_json(&serde_json::json!({ "machines": machines, "operatorNamespace": report.operator_namespace }));
        return Ok(());
    }
    let started = report.machines.iter().filter(|machine| machine.started).count();
    let names: Vec<&str> = report.machines.iter().map(|machine| machine.name.as_str()).collect();
    ui.result(&format!("{} up ({started} started); their host keys are pinned in {KNOWN_HOSTS}", names.join(", ")));
    Ok(())
}

fn down(project: &Project, cluster: &Cluster, state: &Path, args: &DownArgs, ui: Ui) -> Result<(), Failure> {
    sandbox::down(state, &|event| tell(ui, &event)).map_err(|error| failed(&error))?;
    let known_hosts = KnownHosts::load(&project.directory.join(KNOWN_HOSTS)).input()?;
    for node in machines(cluster) {
        known_hosts.forget(&host_pattern(&node.ip.to_string(), node.ssh.listening_port())).failed()?;
    }
    // The machines that the record speaks of are gone, and their data with them: the next ones form a new cluster.
    if cluster.deployable().all(|node| node.provider == Provider::Sandbox) {
        files::remove(&project.directory.join("state/cluster.json")).failed()?;
    }
    if args.cache {
        remove_cache(state, ui)?;
    }
    if !ui.json {
        ui.result("the sandbox is gone");
    }
    Ok(())
}

/// Removes the shared Debian root, unless other sandboxes of this computer still stand on it.
fn remove_cache(state: &Path, ui: Ui) -> Result<(), Failure> {
    let others = state.parent().map(files::folders).unwrap_or_default();
    if !others.is_empty() {
        ui.warn(&format!("kept {DEFAULT_CACHE_DIR}: other sandboxes use it ({})", others.join(", ")));
        return Ok(());
    }
    match std::fs::remove_dir_all(DEFAULT_CACHE_DIR) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error).failed(),
        _ => Ok(()),
    }
}

fn status(state: &Path, ui: Ui) -> Result<(), Failure> {
    let status = sandbox::status(state).map_err(|error| failed(&error))?;
    let word = |state: MachineState| match state {
        MachineState::Running => "running",
        MachineState::Changing => "starting or ending",
        MachineState::Unsupervised => "unsupervised",
        MachineState::Stopped => "stopped",
    };
    if ui.json {
        let machine = |machine: &sandbox::MachineStatus| {
            let faults: Vec<String> = machine.faults.iter().map(ToString::to_string).collect();
            let why = (machine.state == MachineState::Stopped).then(|| why_stopped(machine));
            serde_json::json!({ "name": machine.name, "ip": machine.ip, "state": word(machine.state), "faults": faults,
                "namespace": machine.namespace, "why": why })
        };
        let machines: Vec<serde_json::Value> = status.machines.iter().map(machine).collect();
        ui.result_json(&serde_json::json!({ "machines": machines, "operatorNamespace": status.operator_namespace }));
        return Ok(());
    }
    let row = |machine: &sandbox::MachineStatus| {
        let faults: Vec<String> = machine.faults.iter().map(ToString::to_string).collect();
        vec![machine.name.clone(), machine.ip.to_string(), word(machine.state).to_owned(), faults.join(", ")]
    };
    ui.result_table(&["MACHINE", "ADDRESS", "STATE", "FAULTS"], status.machines.iter().map(row).collect());
    for machine in status.machines.iter().filter(|machine| machine.state == MachineState::Stopped) {
        ui.story(&format!("{} does not run: {}", ui.paint(Tone::Strong, &machine.name), why_stopped(machine)));
    }
    let namespace = status.operator_namespace.display();
    ui.story(&format!("reach them from here: nsenter --net={namespace} ssh root@ADDRESS"));
    Ok(())
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
    // Addresses that the cluster speaks for elsewhere: a Router, disabled machines, the virtual IP.
    let others = cluster.nodes.values().map(|node| node.ip);
    let endpoint = cluster.kube_master.iter().map(|endpoint| endpoint.ip);
    let reserved: Vec<IpAddr> = others.chain(endpoint).chain(cluster.network.gateway).collect();
    let network: IpNet = cluster.network.nodes;
    Ok(SandboxSpec {
        cluster: cluster.name.clone(),
        network,
        reserved,
        machines,
        state_dir: state.to_owned(),
        cache_dir: PathBuf::from(DEFAULT_CACHE_DIR),
    })
}
