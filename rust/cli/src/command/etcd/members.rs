//! The members as etcd has them.

use std::process::ExitCode;

use indicatif::HumanBytes;
use machinist_etcd::{alarm::QUOTA_HINT, etcd::Member};
use machinist_model::{Cluster, NodeName};
use machinist_rollout::membership::Voice;
use serde::Serialize;

use super::access::Etcd;
use crate::{
    failure::{Kind, Outcome},
    ui::{Tone, Ui},
};

#[derive(Serialize)]
struct Row {
    name: String,
    id: Option<String>,
    address: String,
    state: String,
}

impl Etcd<'_> {
    /// Lists the members.
    pub fn members(&self) -> Outcome {
        list(&self.cluster, &self.voice()?, self.ui)
    }

    /// Says how each member is.
    pub fn status(&self) -> Outcome {
        let voice = self.voice()?;
        let health = &voice.health;
        if self.ui.json {
            self.ui.result_json(&serde_json::json!({
                "asked": voice.node, "leader": health.leader, "members": health.members, "overQuota": health.over_quota,
            }));
        } else {
            let cells = |(name, member): (&NodeName, &Member)| {
                let leads = health.leader.as_ref() == Some(name);
                let (tone, state) = match member.problems.as_slice() {
                    [] if leads => (Tone::Good, "healthy, leader".to_owned()),
                    [] => (Tone::Good, "healthy".to_owned()),
                    problems => (Tone::Bad, problems.join(", ")),
                };
                let bytes =
                    |size: Option<u64>| size.map_or_else(|| "-".to_owned(), |size| HumanBytes(size).to_string());
                let applied = member.applied.map_or_else(|| "-".to_owned(), |index| index.to_string());
                let version = member.version.clone().unwrap_or_else(|| "-".to_owned());
                let (size, used) = (bytes(member.database_bytes), bytes(member.used_bytes));
                vec![name.to_string(), self.ui.paint(tone, &state), version, size, used, applied]
            };
            let rows = health.members.iter().map(cells).collect();
            self.ui.result_table(&["MEMBER", "STATE", "VERSION", "SIZE", "IN USE", "APPLIED"], rows);
            if let Some(notice) = health.quota_notice() {
                self.ui.warn(&notice);
                self.ui.story(&format!("  {} {QUOTA_HINT}", self.ui.paint(Tone::Strong, "hint:")));
            }
        }
        Ok(if health.is_whole() && health.over_quota.is_empty() {
            ExitCode::SUCCESS
        } else {
            ExitCode::from(Kind::Failed.code())
        })
    }
}

fn list(cluster: &Cluster, voice: &Voice, ui: Ui) -> Outcome {
    let leader = voice.health.leader.as_ref();
    let known = voice.health.members.iter().map(|(name, member)| {
        let state = match member.problems.as_slice() {
            [] if leader == Some(name) => "healthy, leader".to_owned(),
            [] => "healthy".to_owned(),
            problems => problems.join(", "),
        };
        let address = cluster.nodes.get(name).map(|node| node.ip.to_string()).unwrap_or_default();
        Row { name: name.to_string(), id: member.id.map(hexadecimal), address, state }
    });
    let strangers = voice.health.unmanaged.iter().map(|stranger| {
        let state = if stranger.healthy { "healthy" } else { "not healthy" };
        let votes = if stranger.learner { "a learner" } else { "votes" };
        let state = format!("{state}, {votes}, machines.nix does not know it");
        let name = if stranger.name.is_empty() { "-".to_owned() } else { stranger.name.clone() };
        Row { name, id: Some(hexadecimal(stranger.id)), address: stranger.peer_urls.join(" "), state }
    });
    let rows: Vec<Row> = known.chain(strangers).collect();
    if ui.json {
        ui.result_json(&serde_json::json!({ "asked": voice.node, "members": rows }));
    } else {
        let cells = |row: &Row| {
            let tone =
                if row.state.starts_with("healthy") && !row.state.contains("know") { Tone::Good } else { Tone::Bad };
            let id = row.id.clone().unwrap_or_else(|| "-".to_owned());
            vec![row.name.clone(), id, row.address.clone(), ui.paint(tone, &row.state)]
        };
        ui.result_table(&["MEMBER", "ID", "ADDRESS", "STATE"], rows.iter().map(cells).collect());
    }
    let well = voice.health.is_whole();
    Ok(if well { ExitCode::SUCCESS } else { ExitCode::from(Kind::Failed.code()) })
}

fn hexadecimal(id: u64) -> String {
    machinist_etcd::membership::hexadecimal(id)
}
