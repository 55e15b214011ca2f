//! `machinist etcd defrag` and `machinist etcd move-leader`.

use clap::Args;
use indicatif::HumanBytes;
use machinist_operations::{
    context::Context,
    etcd::upkeep::{self, Freed, Moved},
};

use crate::{
    failure::{Outcome, exit_code},
    ui::Ui,
};

/// Arguments of `etcd move-leader`.
#[derive(Debug, Args)]
pub struct MoveLeaderArgs {
    /// The new leader [default: the member with the highest applied index]
    #[arg(value_name = "MEMBER")]
    member: Option<String>,
}

/// Defragments the members.
pub fn defragment(context: &Context, ui: Ui) -> Outcome {
    let done = upkeep::defragment(context)?;
    if ui.json {
        let row =
            |freed: &Freed| serde_json::json!({ "member": freed.node, "before": freed.before, "after": freed.after });
        let rows: Vec<_> = done.members.iter().map(row).collect();
        ui.result_json(&serde_json::json!({ "members": rows, "disarmed": done.disarmed }));
    } else {
        let bytes = |bytes: u64| HumanBytes(bytes).to_string();
        let cells = |freed: &Freed| vec![freed.node.to_string(), bytes(freed.before), bytes(freed.after)];
        ui.result_table(&["MEMBER", "BEFORE", "AFTER"], done.members.iter().map(cells).collect());
    }
    Ok(exit_code(None))
}

/// Transfers the leadership.
pub fn move_leader(args: &MoveLeaderArgs, context: &Context, ui: Ui) -> Outcome {
    match upkeep::move_leader(context, args.member.as_deref())? {
        Moved::LeadsAlready { leader } => ui.result(&format!("{leader} leads already")),
        Moved::Moved { before, leader } if ui.json => {
            ui.result_json(&serde_json::json!({ "before": before, "leader": leader }));
        }
        Moved::Moved { before, leader } => {
            let now = leader.map_or_else(|| "nobody yet".to_owned(), |name| name.to_string());
            ui.result(&format!("{now} leads now, {before} did before"));
        }
    }
    Ok(exit_code(None))
}
