//! `machinist etcd members` and `machinist etcd status`.

use indicatif::HumanBytes;
use machinist_etcd::{alarm::QUOTA_HINT, etcd};
use machinist_model::NodeName;
use machinist_operations::{
    context::Context,
    etcd::members::{self, Member},
};

use crate::{
    failure::{Kind, Outcome, exit_code},
    ui::{Tone, Ui},
};

/// Lists the members.
pub fn list(context: &Context, ui: Ui) -> Outcome {
    let members = members::list(context)?;
    if ui.json {
        ui.result_json(&members);
    } else {
        let cells = |member: &Member| {
            let tone = if member.healthy { Tone::Good } else { Tone::Bad };
            let id = member.id.clone().unwrap_or_else(|| "-".to_owned());
            vec![member.name.clone(), id, member.address.clone(), ui.paint(tone, &member.state)]
        };
        ui.result_table(&["MEMBER", "ID", "ADDRESS", "STATE"], members.members.iter().map(cells).collect());
    }
    Ok(exit_code((!members.healthy).then_some(Kind::Failed)))
}

/// Reports the health of each member.
pub fn status(context: &Context, ui: Ui) -> Outcome {
    let status = members::status(context)?;
    let health = &status.health;
    if ui.json {
        ui.result_json(&serde_json::json!({
            "asked": status.asked, "leader": health.leader, "members": health.members, "overQuota": health.over_quota,
        }));
    } else {
        let cells = |(name, member): (&NodeName, &etcd::Member)| {
            let leads = health.leader.as_ref() == Some(name);
            let (tone, state) = match member.problems.as_slice() {
                [] if leads => (Tone::Good, "healthy, leader".to_owned()),
                [] => (Tone::Good, "healthy".to_owned()),
                problems => (Tone::Bad, problems.join(", ")),
            };
            let bytes = |size: Option<u64>| size.map_or_else(|| "-".to_owned(), |size| HumanBytes(size).to_string());
            let applied = member.applied.map_or_else(|| "-".to_owned(), |index| index.to_string());
            let version = member.version.clone().unwrap_or_else(|| "-".to_owned());
            let size = bytes(member.database_bytes);
            let used = bytes(member.used_bytes);
            vec![name.to_string(), ui.paint(tone, &state), version, size, used, applied]
        };
        let rows = health.members.iter().map(cells).collect();
        ui.result_table(&["MEMBER", "STATE", "VERSION", "SIZE", "IN USE", "APPLIED"], rows);
        if let Some(notice) = health.quota_notice() {
            ui.warn(&notice);
            ui.story(&format!("  {} {QUOTA_HINT}", ui.paint(Tone::Strong, "hint:")));
        }
    }
    Ok(exit_code((!status.is_healthy()).then_some(Kind::Failed)))
}
