//! `machinist drift`: what is not as a deploy left it, or not as the directory says. Nothing is changed.

use std::{collections::BTreeMap, process::ExitCode};

use clap::Args;
use machinist_model::{Cluster, NodeName};
use machinist_nix::StorePath;
use machinist_remote::Remote;
use machinist_rollout::{
    HostFacts,
    drift::{self, Finding},
    plan::BootFiles,
    step::StepError,
};
use serde::Serialize;

use crate::{
    args::Global,
    connect,
    failure::{self, Failure, Kind, OrFail, Outcome, SOMETHING_TO_DO},
    project::Project,
    query::{self, Asked},
    systems::{self, BuildArgs},
    ui::{Tone, Ui},
};

/// Asks the machines what differs from what a deploy left there, and from what the directory says.
#[derive(Debug, Args)]
#[command(after_help = "Exit codes: 0 no drift, 4 drift, 1 a host could not be asked.")]
pub struct DriftArgs {
    /// Names, globs, `@role`, `label=value`; all machines by default
    #[arg(value_name = "TARGET")]
    targets: Vec<String>,

    /// Do not build what the directory says; compare only with what the last deploy left there
    #[arg(long)]
    recorded: bool,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Report {
    nodes: BTreeMap<NodeName, Node>,
    /// Members of etcd that machines.nix does not know.
    unmanaged_etcd_members: Vec<String>,
}

#[derive(Serialize)]
#[serde(tag = "state", rename_all = "kebab-case")]
enum Node {
    Answers(Box<Drift>),
    Silent { why: String, hint: Option<String> },
}

/// What a machine runs, and what is wrong with that.
#[derive(Serialize)]
struct Drift {
    running: Option<StorePath>,
    /// The system that boots next.
    profile: Option<StorePath>,
    /// What the last deploy confirmed.
    confirmed: Option<StorePath>,
    /// What the directory says. Null with `--recorded`.
    expected: Option<StorePath>,
    /// What this boot was made of.
    booted: BootFiles,
    findings: Vec<Finding>,
}

/// Runs the command.
pub fn run(args: &DriftArgs, global: &Global, ui: Ui) -> Outcome {
    let project = Project::open(global, ui)?;
    let cluster = project.load()?.cluster;
    let patterns = (!args.targets.is_empty()).then_some(args.targets.as_slice());
    let nodes = connect::select(&cluster, patterns)?;
    let expected = if args.recorded { BTreeMap::new() } else { expected(&project, &cluster, &nodes, ui)? };
    let connector = connect::connector(&project, &cluster, global, None)?;
    let asked = query::nodes(&nodes, &connector)?;
    let health = query::etcd(&cluster, &asked);
    let strangers = health.iter().flat_map(|health| &health.unmanaged);
    let unmanaged_etcd_members = strangers.map(ToString::to_string).collect();
    let nodes = compare(asked, &expected)?;
    let report = Report { nodes, unmanaged_etcd_members };
    if ui.json {
        ui.result_json(&report);
    } else {
        report.tell(ui);
    }
    Ok(ExitCode::from(report.exit_code()))
}

fn expected(
    project: &Project,
    cluster: &Cluster,
    nodes: &[NodeName],
    ui: Ui,
) -> Result<BTreeMap<NodeName, StorePath>, Failure> {
    let generated = project.generated(cluster)?;
    generated.refuse_foreign()?;
    systems::build_planned(project, &BuildArgs::default(), nodes, &generated, ui)
}

/// Asks all machines at once for what is not theirs.
fn compare(
    asked: BTreeMap<NodeName, Asked>,
    expected: &BTreeMap<NodeName, StorePath>,
) -> Result<BTreeMap<NodeName, Node>, Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().failed()?;
    Ok(runtime.block_on(async {
        let mut tasks = tokio::task::JoinSet::new();
        for (name, asked) in asked {
            let expected = expected.get(&name).cloned();
            tasks.spawn_blocking(move || {
                let node = asked.and_then(|(remote, facts)| node(&*remote, facts, expected));
                let node = node.unwrap_or_else(|error| silent(&name, &error));
                (name, node)
            });
        }
        tasks.join_all().await.into_iter().collect()
    }))
}

fn node(remote: &dyn Remote, facts: HostFacts, expected: Option<StorePath>) -> Result<Node, StepError> {
    let traces = drift::ask(remote)?;
    let findings = drift::findings(&facts, &traces, expected.as_ref());
    let HostFacts { running, profile, confirmed, .. } = facts;
    let drift = Drift { running, profile, confirmed, expected, booted: traces.booted, findings };
    Ok(Node::Answers(Box::new(drift)))
}

fn silent(node: &NodeName, error: &StepError) -> Node {
    Node::Silent { why: failure::words(node, error), hint: error.hint() }
}

impl Report {
    fn exit_code(&self) -> u8 {
        let any = |wanted: fn(&Node) -> bool| self.nodes.values().any(wanted);
        if any(|node| matches!(node, Node::Silent { .. })) {
            Kind::Failed.code()
        } else if any(|node| matches!(node, Node::Answers(drift) if !drift.findings.is_empty()))
            || !self.unmanaged_etcd_members.is_empty()
        {
            SOMETHING_TO_DO
        } else {
            0
        }
    }

    fn tell(&self, ui: Ui) {
        for (name, node) in &self.nodes {
            let name = ui.paint(Tone::Strong, name.as_str());
            match node {
                Node::Silent { why, hint } => {
                    ui.result(&format!("{name} {} {why}", ui.paint(Tone::Bad, "could not be asked:")));
                    tell_hint(hint.as_deref(), ui);
                }
                Node::Answers(drift) if drift.findings.is_empty() => {
                    ui.result(&format!("{name} {}", ui.paint(Tone::Good, "no drift")));
                }
                Node::Answers(drift) => {
                    ui.result(&name);
                    for Finding { text, .. } in &drift.findings {
                        ui.result(&format!("  {}", ui.paint(Tone::Careful, text)));
                    }
                    // Many findings share what is to be done: it is said once.
                    let hints: std::collections::BTreeSet<&str> =
                        drift.findings.iter().filter_map(|f| f.hint).collect();
                    hints.into_iter().for_each(|hint| tell_hint(Some(hint), ui));
                }
            }
        }
        for member in &self.unmanaged_etcd_members {
            ui.result(
                &ui.paint(Tone::Careful, &format!("etcd has a member that machines.nix does not know: {member}")),
            );
            tell_hint(Some("it votes: `machinist-etcdctl member list` on a member, then `member remove`"), ui);
        }
    }
}

fn tell_hint(hint: Option<&str>, ui: Ui) {
    if let Some(hint) = hint {
        ui.result(&format!("  {} {hint}", ui.paint(Tone::Strong, "hint:")));
    }
}
