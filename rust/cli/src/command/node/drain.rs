//! The pods of a node: away before it goes down, by hand or before a reboot of a deploy, and back afterwards.

use std::{path::PathBuf, process::ExitCode, time::Duration};

use clap::Args;
use machinist_kubernetes::drain::{Allowed, DrainError, Unmanaged};
use machinist_model::{Cluster, NodeName, Orchestrator};
use machinist_rollout::{deploy::Workload, step::Connector};
use tokio::time::Instant;

use super::name;
use crate::{
    args::Global,
    command::objects::Reach,
    connect,
    failure::{Failure, Kind, Outcome},
    project::Project,
    ui::Ui,
};

/// How long a node may take to be ready again after a reboot.
const READY: Duration = Duration::from_secs(180);
/// How long the pods of a node may take to go before a reboot.
const REBOOT: Duration = Duration::from_secs(600);

/// Which node, and what may be lost.
#[derive(Debug, Args)]
pub struct DrainArgs {
    /// The node
    #[arg(value_name = "NODE", value_parser = name)]
    node: NodeName,

    /// Seconds that its pods may take to go away
    #[arg(long, value_name = "SECONDS", default_value_t = 300)]
    timeout: u64,

    /// Evict pods too that nobody makes anew
    #[arg(long)]
    delete_unmanaged_pods: bool,

    /// Evict pods too that lose what is in their emptyDir volumes
    #[arg(long)]
    delete_local_data: bool,
}

/// Which node.
#[derive(Debug, Args)]
pub struct UncordonArgs {
    /// The node
    #[arg(value_name = "NODE", value_parser = name)]
    node: NodeName,
}

/// Drains a node.
pub fn drain(args: &DrainArgs, global: &Global, ui: Ui) -> Outcome {
    let pods = Pods::open(&args.node, global, ui)?;
    let unmanaged = if args.delete_unmanaged_pods { Unmanaged::Evict } else { Unmanaged::Refuse };
    let allowed = Allowed { unmanaged, local_data: args.delete_local_data };
    let tell = |text: &str| ui.story(&format!("{} {text}", args.node));
    let evicted = pods.drain(&args.node, allowed, Duration::from_secs(args.timeout), &tell)?;
    if ui.json {
        ui.result_json(&serde_json::json!({ "node": args.node, "evicted": evicted }));
    } else {
        ui.result(&format!("{} takes no new pods, {evicted} were evicted", args.node));
        ui.story(&format!("`machinist node uncordon {}` lets pods onto it again", args.node));
    }
    Ok(ExitCode::SUCCESS)
}

/// Lets pods onto a node again.
pub fn uncordon(args: &UncordonArgs, global: &Global, ui: Ui) -> Outcome {
    let pods = Pods::open(&args.node, global, ui)?;
    pods.uncordon(&args.node, false)?;
    if ui.json {
        ui.result_json(&serde_json::json!({ "node": args.node, "schedulable": true }));
    } else {
        ui.result(&format!("{} takes pods again", args.node));
    }
    Ok(ExitCode::SUCCESS)
}

/// What asks Kubernetes about pods.
pub struct Pods {
    certs: PathBuf,
    cluster: Cluster,
    connector: Connector,
    global: Global,
}

impl Pods {
    /// What takes the pods away before a reboot, if the cluster runs Kubernetes.
    pub fn of(project: &Project, cluster: &Cluster, connector: &Connector, global: &Global) -> Option<Self> {
        (cluster.orchestrator == Some(Orchestrator::Kubernetes)).then(|| Self {
            certs: project.certs(),
            cluster: cluster.clone(),
            connector: connector.clone(),
            global: global.clone(),
        })
    }

    fn open(node: &NodeName, global: &Global, ui: Ui) -> Result<Self, Failure> {
        let project = Project::open(global, ui)?;
        let cluster = project.load()?.cluster;
        if !cluster.nodes.get(node).is_some_and(|node| cluster.runs_kubernetes(node)) {
            let failure =
                Failure::new(Kind::Input, format!("{node} is no node of a Kubernetes that machines.nix describes"));
            return Err(
                failure.hint("with k3s: `kubectl drain` and `kubectl uncordon`, with the kubeconfig of a server")
            );
        }
        let connector = connect::connector(&project, &cluster, global, None)?;
        Self::of(&project, &cluster, &connector, global)
            .ok_or_else(|| Failure::new(Kind::Input, "the cluster does not run Kubernetes"))
    }

    fn reach(&self) -> Reach<'_> {
        Reach { certs: self.certs.clone(), cluster: &self.cluster, connector: &self.connector, global: &self.global }
    }

    fn drain(
        &self,
        node: &NodeName,
        allowed: Allowed,
        bound: Duration,
        tell: &(dyn Fn(&str) + Send + Sync),
    ) -> Result<usize, Failure> {
        self.reach().with_server(|server| async move {
            let ours = server.cordon(node).await.map_err(|error| failure(node, &error.into()))?;
            let drained = server.evict_all(node, allowed, Instant::now() + bound, tell).await;
            // Nothing was evicted, so nothing keeps it from working on.
            if ours && matches!(drained, Err(DrainError::Loses(_))) {
                server.uncordon(node, true).await.map_err(|error| failure(node, &error.into()))?;
            }
            drained.map_err(|error| failure(node, &error))
        })
    }

    fn uncordon(&self, node: &NodeName, only_ours: bool) -> Result<bool, Failure> {
        self.reach().with_server(|server| async move {
            server.uncordon(node, only_ours).await.map_err(|error| failure(node, &error.into()))
        })
    }
}

impl Workload for Pods {
    fn leave(&self, node: &NodeName, tell: &(dyn Fn(&str) + Send + Sync)) -> Result<(), String> {
        if !self.cluster.nodes.get(node).is_some_and(|node| self.cluster.runs_kubernetes(node)) {
            return Ok(());
        }
        // A pod that nobody makes anew is started again by the kubelet after the reboot, with what is in its volumes.
        let allowed = Allowed { unmanaged: Unmanaged::Leave, local_data: true };
        let known = self.reach().with_server(|server| async move {
            server.has_node(node).await.map_err(|error| failure(node, &error.into()))
        });
        if !known.map_err(|failure| failure.in_one_line())? {
            return Ok(());
        }
        let left = self.drain(node, allowed, REBOOT, tell).map(drop);
        if left.is_err() {
            // It is not rebooted, so it works on.
            self.uncordon(node, true).map_err(|failure| failure.in_one_line())?;
        }
        left.map_err(|failure| failure.in_one_line())
    }

    fn come_back(&self, node: &NodeName) -> Result<(), String> {
        if !self.cluster.nodes.get(node).is_some_and(|node| self.cluster.runs_kubernetes(node)) {
            return Ok(());
        }
        let back = self.reach().with_server(|server| async move {
            if !server.has_node(node).await.map_err(|error| failure(node, &error.into()))? {
                return Ok(());
            }
            server.until_ready(node, Instant::now() + READY).await.map_err(|error| failure(node, &error))?;
            server.uncordon(node, true).await.map(drop).map_err(|error| failure(node, &error.into()))
        });
        back.map_err(|failure| failure.in_one_line())
    }
}

fn failure(node: &NodeName, error: &DrainError) -> Failure {
    let failed = Failure::from_error(Kind::Failed, error);
    Failure { causes: failed.causes, ..Failure::new(Kind::Failed, format!("{node}: {error}")) }
        .maybe_hint(error.hint().map(str::to_owned))
}
