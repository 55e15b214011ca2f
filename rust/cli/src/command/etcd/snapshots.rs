//! Snapshots: taken now, and those that members took by themselves.

use std::{path::Path, process::ExitCode};

use indicatif::HumanBytes;
use machinist_etcd::upkeep::Kept;
use machinist_model::NodeName;
use machinist_operations::{rollout::target::voters, snapshot::snapshot};
use machinist_rollout::{step::StepError, upkeep};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use super::access::Etcd;
use crate::failure::{self, Kind, Outcome};

impl Etcd<'_> {
    /// Takes a snapshot now.
    pub fn snapshot(&self, file: &Path) -> Outcome {
        let voice = self.voice()?;
        let bytes = snapshot(&self.cluster, &voice, file)?;
        if self.ui.json {
            self.ui.result_json(&serde_json::json!({ "file": file, "bytes": bytes, "member": voice.node }));
        } else {
            let file = file.display();
            self.ui.result(&format!("{file}: {bytes} bytes, taken from {}, encrypted to the operators", voice.node));
        }
        Ok(ExitCode::SUCCESS)
    }

    /// Lists those on the members' disks.
    pub fn snapshots(&self) -> Outcome {
        let (kept, silent) = self.kept();
        for (node, error) in &silent {
            self.ui.warn(&format!("{node}: {}", failure::words(node, error)));
        }
        if self.ui.json {
            self.ui.result_json(&serde_json::json!({ "snapshots": kept }));
        } else if kept.is_empty() {
            self.ui
                .story("no member that answers has a snapshot (`systemctl list-timers machinist-etcd-snapshot` there)");
        } else {
            let cells = |kept: &Kept| {
                vec![time(kept.taken), HumanBytes(kept.bytes).to_string(), format!("{}:{}", kept.node, kept.path)]
            };
            self.ui.result_table(&["TAKEN", "SIZE", "WHERE"], kept.iter().map(cells).collect());
        }
        Ok(if silent.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(Kind::Failed.code()) })
    }

    /// Those on the disks of the members that answer, newest first, and who does not answer.
    pub fn kept(&self) -> (Vec<Kept>, Vec<(NodeName, StepError)>) {
        let (mut kept, mut silent) = (Vec::new(), Vec::new());
        for node in voters(&self.cluster).into_keys() {
            let asked = self.connector.connect(&node).map_err(StepError::from);
            match asked.and_then(|remote| upkeep::snapshots(&*remote, &node)) {
                Ok(found) => kept.extend(found),
                Err(error) => silent.push((node, error)),
            }
        }
        kept.sort_by_key(|kept| std::cmp::Reverse(kept.taken));
        (kept, silent)
    }
}

/// A time of day as people and programs read it.
pub fn time(seconds: i64) -> String {
    OffsetDateTime::from_unix_timestamp(seconds).ok().and_then(|time| time.format(&Rfc3339).ok()).unwrap_or_default()
}
