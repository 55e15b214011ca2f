//! `machinist etcd verify`.

use clap::Args;
use machinist_operations::{context::Context, etcd::verify};

use crate::{
    failure::{Kind, Outcome, exit_code},
    ui::Ui,
};

/// Arguments of `etcd verify`.
#[derive(Debug, Args)]
pub struct VerifyArgs {
    /// Write voters again that are learners in the data of a member
    #[arg(long)]
    repair: bool,
}

/// Compares the members that etcd reports with those in the data of each member.
pub fn verify(args: &VerifyArgs, context: &Context, ui: Ui) -> Outcome {
    let verified = verify::run(context, args.repair)?;
    let rows = verified.differences.iter().map(|(node, found)| {
        let found: Vec<String> = found.iter().map(ToString::to_string).collect();
        (node, found)
    });
    if ui.json {
        let members: serde_json::Map<String, serde_json::Value> =
            rows.map(|(node, found)| (node.to_string(), found.into())).collect();
        ui.result_json(&serde_json::json!({ "members": members, "repaired": verified.repaired }));
    } else {
        let told = |found: Vec<String>| if found.is_empty() { "agrees".to_owned() } else { found.join("; ") };
        ui.result_table(
            &["MEMBER", "ITS DATA"],
            rows.map(|(node, found)| vec![node.to_string(), told(found)]).collect(),
        );
    }
    Ok(exit_code((!verified.is_whole()).then_some(Kind::Failed)))
}
