//! `machinist status`: every node asked, and the cluster.

use std::{net::IpAddr, process::ExitCode};

use clap::Args;
use machinist_etcd::etcd::Health;
use machinist_model::{Cluster, NodeName, Role};
use machinist_rollout::{HostFacts, expiry};
use serde::Serialize;

use crate::{
    args::Global,
    connect,
    failure::{self, Kind, Outcome},
    project::Project,
    query::{self, Asked},
    ui::{Tone, Ui},
};

/// Asks every node and the cluster how they are.
#[derive(Debug, Args)]
pub struct StatusArgs {
    /// Names, globs, `@role`, `label=value`; all machines by default
    #[arg(value_name = "TARGET")]
    targets: Vec<String>,
}

/// One row.
#[derive(Serialize)]
struct Row {
    node: NodeName,
    ip: IpAddr,
    roles: Vec<Role>,
    #[serde(flatten)]
    answer: Answer,
    /// What etcd says of this member; null for others.
    etcd: Option<Member>,
}

#[derive(Serialize)]
#[serde(tag = "state", rename_all = "kebab-case")]
enum Answer {
    Answers { facts: Box<HostFacts> },
    Silent { why: String, hint: Option<String> },
}

#[derive(Serialize)]
struct Member {
    healthy: bool,
    leader: bool,
    problems: Vec<String>,
    version: Option<String>,
    database_bytes: Option<u64>,
}

/// Runs the command.
pub fn run(args: &StatusArgs, global: &Global, ui: Ui) -> Outcome {
    let project = Project::open(global, ui)?;
    let cluster = project.load()?.cluster;
    let patterns = if args.targets.is_empty() { None } else { Some(args.targets.as_slice()) };
    let nodes = connect::select(&cluster, patterns)?;
    let connector = connect::connector(&project, &cluster, global, None)?;
    let asked = query::nodes(&nodes, &connector)?;
    let health = query::etcd(&cluster, &asked);
    let strangers = health.iter().flat_map(|health| &health.unmanaged);
    let unmanaged: Vec<String> = strangers.map(ToString::to_string).collect();
    let rows: Vec<Row> =
        asked.into_iter().filter_map(|(name, asked)| row(&cluster, name, asked, health.as_ref())).collect();
    let alarm = health.as_ref().and_then(Health::quota_notice);
    let well = rows.iter().all(Row::is_well) && unmanaged.is_empty() && alarm.is_none();
    if ui.json {
        ui.result_json(&serde_json::json!({
            "healthy": well, "nodes": rows, "unmanagedEtcdMembers": unmanaged, "etcdAlarm": alarm,
        }));
    } else {
        table(&rows, ui);
        for member in &unmanaged {
            ui.warn(&format!("etcd has a member that machines.nix does not know: {member}"));
        }
        if let Some(alarm) = &alarm {
            ui.warn(&format!("{alarm}; `machinist etcd status` explains it"));
        }
        warn_of_expiry(&rows, ui);
        explain_silence(&rows, ui);
    }
    Ok(if well { ExitCode::SUCCESS } else { ExitCode::from(Kind::Failed.code()) })
}

fn row(cluster: &Cluster, name: NodeName, asked: Asked, health: Option<&Health>) -> Option<Row> {
    let node = cluster.nodes.get(&name)?;
    let etcd = cluster.voters().any(|voter| voter.name == name).then(|| {
        match health.and_then(|health| health.members.get(&name)) {
            Some(member) => Member {
                healthy: member.problems.is_empty(),
                leader: health.is_some_and(|health| health.leader.as_ref() == Some(&name)),
                problems: member.problems.clone(),
                version: member.version.clone(),
                database_bytes: member.database_bytes,
            },
            None => {
                let problems = vec!["etcd gives no answer".to_owned()];
                Member { healthy: false, leader: false, problems, version: None, database_bytes: None }
            }
        }
    });
    let answer = match asked {
        Ok((_, facts)) => Answer::Answers { facts: Box::new(facts) },
        Err(error) => Answer::Silent { why: failure::words(&name, &error), hint: error.hint() },
    };
    Some(Row { ip: node.ip, roles: node.roles.iter().copied().collect(), node: name, answer, etcd })
}

impl Row {
    fn is_well(&self) -> bool {
        let answers = match &self.answer {
            Answer::Answers { facts } => facts.unwell().next().is_none() && facts.running.is_some(),
            Answer::Silent { .. } => false,
        };
        answers && self.etcd.as_ref().is_none_or(|member| member.healthy)
    }

    fn host(&self, ui: Ui) -> String {
        match &self.answer {
            Answer::Silent { .. } => ui.paint(Tone::Bad, "no answer"),
            Answer::Answers { facts } if facts.running.is_none() => ui.paint(Tone::Careful, "never deployed"),
            Answer::Answers { facts } if !facts.failed.is_empty() => {
                let units: Vec<&str> = facts.failed.iter().map(String::as_str).collect();
                ui.paint(Tone::Bad, &format!("failed: {}", units.join(", ")))
            }
            Answer::Answers { facts } if !facts.restarting.is_empty() => {
                let units: Vec<&str> = facts.restarting.iter().map(String::as_str).collect();
                ui.paint(Tone::Bad, &format!("restarting after failures: {}", units.join(", ")))
            }
            Answer::Answers { .. } => ui.paint(Tone::Good, "up"),
        }
    }

    fn system(&self) -> String {
        let Answer::Answers { facts } = &self.answer else { return "-".to_owned() };
        let Some(running) = &facts.running else { return "-".to_owned() };
        // The first characters of the hash tell systems apart well enough for a table.
        let short: String = running.as_str().trim_start_matches("/nix/store/").chars().take(8).collect();
        if facts.profile.as_ref() == Some(running) { short } else { format!("{short} (another one boots)") }
    }

    fn etcd(&self, ui: Ui) -> String {
        match &self.etcd {
            None => "-".to_owned(),
            Some(member) if member.healthy => {
                let version = member.version.as_deref().unwrap_or("?");
                let leader = if member.leader { ", leader" } else { "" };
                ui.paint(Tone::Good, &format!("healthy, {version}{leader}"))
            }
            Some(member) => ui.paint(Tone::Bad, &member.problems.join(", ")),
        }
    }
}

fn table(rows: &[Row], ui: Ui) {
    let cells = |row: &Row| {
        let roles: Vec<&str> = row.roles.iter().map(|role| role.as_str()).collect();
        vec![row.node.to_string(), row.ip.to_string(), roles.join(" "), row.host(ui), row.system(), row.etcd(ui)]
    };
    ui.result_table(&["NODE", "ADDRESS", "ROLES", "HOST", "SYSTEM", "ETCD"], rows.iter().map(cells).collect());
}

/// Certificates that the nodes' own daily check found to expire soon.
fn warn_of_expiry(rows: &[Row], ui: Ui) {
    let mut found = false;
    for row in rows {
        let Answer::Answers { facts } = &row.answer else { continue };
        for text in expiry::expiring(facts) {
            found = true;
            ui.warn(&format!("{} {text}", ui.paint(Tone::Strong, row.node.as_str())));
        }
    }
    if found {
        ui.story(&format!("  {} {}", ui.paint(Tone::Strong, "hint:"), expiry::HINT));
    }
}

fn explain_silence(rows: &[Row], ui: Ui) {
    for row in rows {
        if let Answer::Silent { why, hint } = &row.answer {
            ui.story(&format!("{} {why}", ui.paint(Tone::Strong, row.node.as_str())));
            if let Some(hint) = hint {
                ui.story(&format!("  {} {hint}", ui.paint(Tone::Strong, "hint:")));
            }
        }
    }
}
