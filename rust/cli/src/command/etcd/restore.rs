//! `machinist etcd restore`.

use std::time::{Duration, Instant};

use clap::Args;
use machinist_etcd::alarm::QUOTA_HINT;
use machinist_operations::{
    etcd::restore::{self, End, Request, Restored},
    rollout::verdict::verdict,
};

use crate::{
    args::{Global, RolloutArgs},
    context,
    failure::{Kind, Outcome, exit_code},
    ui::Ui,
};

/// Arguments of `etcd restore`.
#[derive(Debug, Args)]
pub struct RestoreArgs {
    /// A file, encrypted or not; NODE:PATH as `machinist etcd snapshots` prints it; or `latest`
    #[arg(value_name = "SNAPSHOT")]
    snapshot: String,

    /// Restore although etcd runs: data written since the snapshot is moved aside
    #[arg(long)]
    discard_running_data: bool,

    /// How
    #[command(flatten)]
    rollout: RolloutArgs,
}

/// Runs the command.
pub fn run(args: &RestoreArgs, global: &Global, ui: Ui) -> Outcome {
    let begun = Instant::now();
    let options = args.rollout.options();
    let context = context::of_rollout("etcd restore", options.reboots, global, ui)?;
    let discard_running_data = args.discard_running_data;
    let request = Request { snapshot: args.snapshot.clone(), discard_running_data, options };
    match restore::run(&context, &request)? {
        End::NotDone { report } => Ok(exit_code(verdict(&report))),
        End::Restored(restored) => {
            tell(&restored, begun.elapsed(), ui);
            Ok(exit_code((!restored.healthy).then_some(Kind::Failed)))
        }
    }
}

fn tell(restored: &Restored, took: Duration, ui: Ui) {
    let Restored { bytes, keys, revision, before, .. } = restored;
    if ui.json {
        return ui.result_json_line(&serde_json::json!({
            "event": "report", "bytes": bytes, "keys": keys, "revision": revision, "before": before,
        }));
    }
    let seconds = took.as_secs_f64();
    ui.result(&format!("etcd is back: {keys} keys, revision {revision} ({seconds:.1} s)"));
    if let Some(notice) = &restored.quota_notice {
        ui.warn(&format!("{notice}: the snapshot was taken while it was. {QUOTA_HINT}"));
    }
    ui.story(&format!("what a member had before, if anything, is in {before} there, until you remove it"));
    if restored.runs_kubernetes {
        ui.story(
            "API servers, controllers and kubelets still know what was there before: restart them \
             (`systemctl restart kube-apiserver kube-controller-manager kube-scheduler`, then kubelets), one control plane \
             after the other",
        );
    }
}
