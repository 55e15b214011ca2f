//! Rehearsal machines: each boots its node's own system, at the node's address.

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use machinist_model::{Cluster, Node, NodeName};
use machinist_nix::StorePath;
use machinist_remote::{HostKey, KnownHosts, Request, host_pattern};
use machinist_rollout::step::Connector;
use machinist_sandbox::{
    self as sandbox, DEFAULT_CACHE_DIR, MachineRoot, MachineSpec, Report, SandboxSpec, SystemFile, SystemRoot,
};

use crate::{
    certs,
    connect::KNOWN_HOSTS,
    context::Context,
    failure::{Failure, Kind, OrFail as _},
    rollout::target::targets,
    sandbox::{failed, machines::reserved, state_dir},
};

/// Registration of the machine's store paths, until they are in its database.
const REGISTRATION: &str = "/var/lib/machinist/rehearsal-registration";

/// Directory of private keys on a machine (`modules/keys.nix`).
const KEYS: &str = "/var/lib/machinist/keys";

/// Maximum length of a sandbox's name, a DNS label.
const LONGEST_LABEL: usize = 63;

/// Returns the name of the sandbox of a cluster's rehearsals.
pub fn label(cluster: &str) -> String {
    const SUFFIX: &str = "-rehearsal";
    let cluster: String = cluster.chars().take(LONGEST_LABEL - SUFFIX.len()).collect();
    format!("{}{SUFFIX}", cluster.trim_end_matches('-'))
}

/// Starts the machines of all nodes with these systems and their keys, and waits until each can be deployed to.
/// `context` is that of the stage.
///
/// # Errors
/// A machine does not start; the others may be running.
pub fn start(
    context: &Context,
    cluster: &Cluster,
    systems: &BTreeMap<NodeName, StorePath>,
    beneath: &[PathBuf],
) -> Result<Report, Failure> {
    let files = files(context, cluster, systems)?;
    let machine = |(name, system): (&NodeName, &StorePath)| {
        let node = cluster.nodes.get(name)?;
        Some(spec(node, system, beneath, files.get(name).cloned().unwrap_or_default()))
    };
    let spec = SandboxSpec {
        cluster: label(&cluster.name),
        network: cluster.network.nodes,
        reserved: reserved(cluster),
        machines: systems.iter().filter_map(machine).collect(),
        state_dir: state_dir(&context.project, cluster),
        cache_dir: PathBuf::from(DEFAULT_CACHE_DIR),
    };
    let report = sandbox::up(&spec, &|event| context.events.sandbox(&event)).map_err(|error| failed(&error))?;
    pin(context, &report)?;
    Ok(report)
}

fn spec(node: &Node, system: &StorePath, beneath: &[PathBuf], files: Vec<SystemFile>) -> MachineSpec {
    let mut machine = MachineSpec::new(node.name.as_str(), node.ip, &[]);
    if let Some(interface) = &node.interface {
        machine.interface.clone_from(interface);
    }
    machine.ssh_port = node.ssh.listening_port();
    machine.files = files;
    machine.root =
        MachineRoot::System(SystemRoot { system: PathBuf::from(system.as_str()), beneath: beneath.to_vec() });
    machine
}

/// Returns each machine's files: its private keys, without which its services would fail in their first boot, and the
/// registration of its closure.
fn files(
    context: &Context,
    cluster: &Cluster,
    systems: &BTreeMap<NodeName, StorePath>,
) -> Result<BTreeMap<NodeName, Vec<SystemFile>>, Failure> {
    let project = &context.project;
    let keys = certs::key_source(&project.directory, cluster, &context.keyring);
    let mut all = BTreeMap::new();
    for target in targets(project, cluster, systems)? {
        let closure = project.nix.closure(std::slice::from_ref(&target.system)).failed()?;
        let registration = project.nix.registration(&closure).failed()?;
        let mut files = vec![SystemFile { path: REGISTRATION.into(), contents: registration, mode: 0o600 }];
        let keys = keys(&target.node, &target.keys).map_err(|error| Failure::new(Kind::Failed, error))?;
        files.extend(keys.into_iter().map(|key| SystemFile {
            path: PathBuf::from(KEYS).join(key.file),
            contents: key.content.to_vec(),
            mode: 0o400,
        }));
        all.insert(target.node, files);
    }
    Ok(all)
}

fn pin(context: &Context, report: &Report) -> Result<(), Failure> {
    let known_hosts = KnownHosts::load(&context.project.directory.join(KNOWN_HOSTS)).input()?;
    for machine in &report.machines {
        let key = HostKey::from_openssh(&machine.host_key)
            .ok_or_else(|| Failure::new(Kind::Failed, format!("{} has no readable host key", machine.name)))?;
        known_hosts.pin(&host_pattern(&machine.ip.to_string(), machine.ssh_port), key).failed()?;
    }
    Ok(())
}

/// Registers the closure of its system in each machine's own database.
///
/// # Errors
/// A machine does not answer.
pub fn register(connector: &Connector, nodes: &[NodeName]) -> Result<(), Failure> {
    let script = format!(
        "export PATH=/run/current-system/sw/bin:$PATH\n\
         if [ -e {REGISTRATION} ]; then nix-store --load-db <{REGISTRATION} && rm {REGISTRATION}; fi\n"
    );
    for node in nodes {
        let on_node = |error: &dyn std::error::Error| Failure::new(Kind::Failed, format!("{node}: {error}"));
        let remote = connector.connect(node).map_err(|error| on_node(&error))?;
        let request = Request::new("register the store", script.clone()).timeout(Duration::from_secs(300));
        remote.run_checked(request).map_err(|error| on_node(&error))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{LONGEST_LABEL, label};

    #[test]
    fn the_sandbox_of_a_rehearsal_is_not_that_of_the_cluster_and_has_a_valid_name() {
        assert_eq!(label("magi"), "magi-rehearsal");
        let long = label(&format!("{}-x", "a".repeat(52)));
        assert_eq!(long, format!("{}-rehearsal", "a".repeat(52)));
        assert!(label(&"a".repeat(LONGEST_LABEL)).len() <= LONGEST_LABEL);
    }
}
