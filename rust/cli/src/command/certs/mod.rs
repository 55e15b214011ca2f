//! `machinist certs`.

mod rotate;

use std::path::PathBuf;

use clap::{Args, Subcommand};
use machinist_operations::{
    certs::{
        issue::{self, Request},
        rotate::Request as Rotation,
    },
    context::Context,
};
use machinist_pki::{
    KeyAlgorithm, Plan, Policy, Renewal, Step,
    report::{Row, State},
};

use crate::{
    args::Global,
    context,
    failure::{Outcome, exit_code},
    ui::{Tone, Ui},
};

/// Makes, lists and shows certificates. Private keys are encrypted to the operators.
#[derive(Debug, Subcommand)]
pub enum CertsCommand {
    /// Make missing certificates and re-issue those that no longer match, with the reason for each
    Gen(GenArgs),
    /// List all certificates with their state, and rotations that are not finished
    #[command(visible_alias = "status")]
    List,
    /// Show one certificate
    Show(ShowArgs),
    /// Re-issue certificates, with new keys
    Renew(RenewArgs),
    /// Replace an authority in stages, a deploy after each; run it again for the next one
    RotateCa(rotate::RotateCaArgs),
    /// Replace the key pair that signs service accounts' tokens in stages, a deploy after each
    RotateSa(rotate::RotateSaArgs),
    /// Replace the key that encrypts Kubernetes' Secrets in etcd in stages, a deploy after each; encrypt them if they are plain text
    RotateEncryption,
    /// Replace the keys of the nodes in the control mesh in stages, a deploy after each
    RotateControl,
}

/// Makes what is missing and re-issues what has drifted.
#[derive(Debug, Args)]
pub struct GenArgs {
    /// The certificates' directory [default: certs in the cluster's directory]
    #[arg(value_name = "DIR")]
    certs_directory: Option<PathBuf>,

    /// The keys of new certificates: ecdsa-p256, ecdsa-p384, rsa-2048 or rsa-4096
    #[arg(long, default_value = "ecdsa-p256")]
    algorithm: KeyAlgorithm,

    /// Remove certificates of machines that are gone
    #[arg(long)]
    prune: bool,
}

/// Shows one certificate.
#[derive(Debug, Args)]
pub struct ShowArgs {
    /// Its name, such as etcd-server-balthazar
    name: String,
}

/// Re-issues certificates.
#[derive(Debug, Args)]
pub struct RenewArgs {
    /// Their names, such as etcd-server-balthazar
    #[arg(required_unless_present = "all")]
    names: Vec<String>,

    /// All but the authorities
    #[arg(long, conflicts_with = "names")]
    all: bool,

    /// The keys of new certificates: ecdsa-p256, ecdsa-p384, rsa-2048 or rsa-4096
    #[arg(long, default_value = "ecdsa-p256")]
    algorithm: KeyAlgorithm,
}

/// Runs the command.
pub fn run(command: &CertsCommand, global: &Global, ui: Ui) -> Outcome {
    let context = context::open(global, ui)?;
    match command {
        CertsCommand::Gen(args) => issue(&args.request(), &context, ui),
        CertsCommand::Renew(args) => issue(&args.request(), &context, ui),
        CertsCommand::List => list(&context, ui),
        CertsCommand::Show(args) => show(&args.name, &context, ui),
        CertsCommand::RotateCa(args) => rotate::run(&args.request(), &context, ui),
        CertsCommand::RotateSa(args) => rotate::run(&args.request(), &context, ui),
        CertsCommand::RotateEncryption => rotate::run(&Rotation::Encryption, &context, ui),
        CertsCommand::RotateControl => rotate::run(&Rotation::Control, &context, ui),
    }
}

impl GenArgs {
    fn request(&self) -> Request {
        let policy = Policy { algorithm: self.algorithm, prune: self.prune, ..Policy::default() };
        Request { certs: self.certs_directory.clone(), policy }
    }
}

impl RenewArgs {
    fn request(&self) -> Request {
        let renewal = if self.all { Renewal::All } else { Renewal::Named(self.names.iter().cloned().collect()) };
        Request { certs: None, policy: Policy { algorithm: self.algorithm, renewal, ..Policy::default() } }
    }
}

fn issue(request: &Request, context: &Context, ui: Ui) -> Outcome {
    tell(&issue::run(context, request)?, ui);
    Ok(exit_code(None))
}

fn tell(plan: &Plan, ui: Ui) {
    if ui.json {
        ui.result_json(plan);
        return;
    }
    let mut kept = 0;
    for action in &plan.actions {
        let verb = match &action.step {
            Step::Issue(_) => "issued ",
            Step::Renew(_) => "renewed",
            Step::Keep | Step::Refuse => {
                kept += 1;
                continue;
            }
        };
        ui.result(&format!("{verb} {} ({})", action.name, action.step.because()));
    }
    if kept > 0 {
        ui.result(&format!("kept    {kept} {}", if kept == 1 { "certificate" } else { "certificates" }));
    }
    for notice in &plan.notices {
        ui.warn(&format!("{}: {}", notice.subject, notice.what));
    }
    if !plan.orphans.is_empty() {
        let files: Vec<String> = plan.orphans.iter().map(|path| path.display().to_string()).collect();
        ui.warn(&format!("no machine needs {}; `certs gen --prune` removes them", files.join(", ")));
    }
}

fn list(context: &Context, ui: Ui) -> Outcome {
    let rows = issue::list(context)?;
    if ui.json {
        ui.result_json(&rows);
        return Ok(exit_code(None));
    }
    let cells = |row: &Row| {
        let expiry = row.not_after.map_or_else(|| "-".to_owned(), |time| time.date().to_string());
        let left = row.days_left.map_or_else(|| "-".to_owned(), |days| days.to_string());
        let tone = if row.state == State::Ok { Tone::Good } else { Tone::Careful };
        let state = ui.paint(tone, &row.state.to_string());
        vec![row.name.clone(), row.authority.clone(), expiry, left, state, row.because.clone()]
    };
    ui.result_table(&["NAME", "AUTHORITY", "EXPIRES", "DAYS", "STATE", "WHY"], rows.iter().map(cells).collect());
    Ok(exit_code(None))
}

fn show(name: &str, context: &Context, ui: Ui) -> Outcome {
    // The original project's command expected a file: the name without its extension is often what is meant.
    let details = issue::show(context, name)?;
    if ui.json {
        ui.result_json(&details);
    } else {
        ui.result(details.to_string().trim_end());
    }
    Ok(exit_code(None))
}
