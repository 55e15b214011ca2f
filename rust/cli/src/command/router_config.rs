//! `machinist router-config`: the Router's side of BGP.

use std::process::ExitCode;

use clap::Args;
use machinist_codegen::router::{self, Format, Password};
use machinist_model::Cluster;
use machinist_operations::{certs, context::Context};
use machinist_pki::{self as pki, BGP_PASSWORD};
use machinist_secrets::Zeroizing;

use crate::{
    args::Global,
    context,
    failure::{Failure, Kind, Outcome},
    ui::Ui,
};

/// Prints the Router's side of BGP.
#[derive(Debug, Args)]
pub struct RouterConfigArgs {
    /// The Router's language: frr, bird or vyos
    #[arg(long, default_value = "frr")]
    format: Format,

    /// Print the password of the sessions too, which is opened with your identity
    #[arg(long)]
    show_password: bool,
}

/// Runs the command.
pub fn run(args: &RouterConfigArgs, global: &Global, ui: Ui) -> Outcome {
    let context = context::open(global, ui)?;
    let project = &context.project;
    let cluster = project.load()?.cluster;
    let has_password = router::has_password(&cluster);
    let opened = (args.show_password && has_password).then(|| open(&context, &cluster)).transpose()?;
    let password = opened.as_deref().map_or(Password::LeftOut, |text| Password::Shown(text));
    let text = router::config(&cluster, args.format, password)
        .map_err(|error| Failure::from_error(Kind::Input, &error).hint(error.hint()))?;
    if args.show_password && !has_password {
        ui.warn("the sessions have no password: kubeMaster.bgpPassword of machines.nix is not true");
    } else if has_password && opened.is_none() {
        ui.warn("the password is left out; with --show-password it is in its place, and the text is a secret");
    }
    if ui.json {
        ui.result_json(&serde_json::json!({ "config": text }));
    } else {
        ui.document(format!("{}\n", text.trim_end()).as_bytes());
    }
    Ok(ExitCode::SUCCESS)
}

/// Opens the password that `certs gen` made.
fn open(context: &Context, cluster: &Cluster) -> Result<Zeroizing<String>, Failure> {
    let inventory = certs::inventory(&context.project.directory)?;
    let entry = inventory.shared.get(BGP_PASSWORD).ok_or_else(|| {
        Failure::new(Kind::Input, format!("certs/ has no {BGP_PASSWORD} yet")).hint("`machinist certs gen` makes it")
    })?;
    let identities = context.keyring.unlock()?;
    let content = inventory
        .content(&pki::table(cluster), BGP_PASSWORD, entry, &identities, &cluster.operators)
        .map_err(|error| Failure::from_error(Kind::Failed, &error).maybe_hint(error.hint()))?;
    // Hexadecimal digits.
    Ok(Zeroizing::new(String::from_utf8_lossy(&content).into_owned()))
}
