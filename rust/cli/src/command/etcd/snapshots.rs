//! `machinist etcd snapshot` and `machinist etcd snapshots`.

use std::path::Path;

use indicatif::HumanBytes;
use machinist_etcd::upkeep::Kept;
use machinist_operations::{context::Context, etcd::snapshots};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use crate::{
    failure::{Kind, Outcome, exit_code},
    ui::Ui,
};

/// Takes a snapshot.
pub fn take(file: &Path, context: &Context, ui: Ui) -> Outcome {
    let taken = snapshots::take(context, file)?;
    if ui.json {
        ui.result_json(&serde_json::json!({ "file": file, "bytes": taken.bytes, "member": taken.member }));
    } else {
        let file = file.display();
        ui.result(&format!("{file}: {} bytes, taken from {}, encrypted to the operators", taken.bytes, taken.member));
    }
    Ok(exit_code(None))
}

/// Lists the snapshots on the members' disks.
pub fn list(context: &Context, ui: Ui) -> Outcome {
    let found = snapshots::list(context)?;
    let kept = &found.snapshots;
    if ui.json {
        ui.result_json(&serde_json::json!({ "snapshots": kept }));
    } else if kept.is_empty() {
        ui.story("no member that answers has a snapshot (`systemctl list-timers machinist-etcd-snapshot` there)");
    } else {
        let cells = |kept: &Kept| {
            vec![time(kept.taken), HumanBytes(kept.bytes).to_string(), format!("{}:{}", kept.node, kept.path)]
        };
        ui.result_table(&["TAKEN", "SIZE", "WHERE"], kept.iter().map(cells).collect());
    }
    Ok(exit_code((found.silent > 0).then_some(Kind::Failed)))
}

/// Formats a time for people and programs.
fn time(seconds: i64) -> String {
    OffsetDateTime::from_unix_timestamp(seconds).ok().and_then(|time| time.format(&Rfc3339).ok()).unwrap_or_default()
}
