//! `machinist certs`: make, list, show and renew certificates.

mod rotate;

use std::{path::PathBuf, process::ExitCode};

use clap::{Args, Subcommand};
use machinist_model::Cluster;
use machinist_operations::{
    certs::{check_operators, survey},
    context::Context,
};
use machinist_pki::{
    self as pki, KeyAlgorithm, Plan, Policy, Renewal, Step, Survey,
    report::{self, Row, State},
};

use crate::{
    args::Global,
    context,
    failure::{Failure, Kind, Outcome},
    ui::{Tone, Ui},
};

/// Makes, lists and shows certificates. Private keys are encrypted to the operators.
#[derive(Debug, Subcommand)]
pub enum CertsCommand {
    /// Make what is missing and re-issue what has drifted; say why for each
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
    let project = &context.project;
    let cluster = project.load()?.cluster;
    if !matches!(command, CertsCommand::List | CertsCommand::Show(_)) {
        // A certificate for the new value would take the one in use out of it.
        project.refuse_conflicts(&cluster)?;
    }
    match command {
        CertsCommand::Gen(args) => {
            let policy = Policy { algorithm: args.algorithm, prune: args.prune, ..Policy::default() };
            let certs = args.certs_directory.clone().unwrap_or_else(|| project.certs());
            update(&context, &cluster, &policy, certs, ui)
        }
        CertsCommand::Renew(args) => {
            let named = || Renewal::Named(args.names.iter().cloned().collect());
            let renewal = if args.all { Renewal::All } else { named() };
            let policy = Policy { algorithm: args.algorithm, renewal, ..Policy::default() };
            update(&context, &cluster, &policy, project.certs(), ui)
        }
        CertsCommand::List => list(&survey(&project.certs(), &cluster, context.clock.now())?, ui),
        CertsCommand::RotateCa(args) => rotate::authority(args, &context, &cluster, ui),
        CertsCommand::RotateSa(args) => rotate::service_account(args, &context, &cluster, ui),
        CertsCommand::RotateEncryption => rotate::encryption(&context, &cluster, ui),
        CertsCommand::Show(args) => show(&survey(&project.certs(), &cluster, context.clock.now())?, &args.name, ui),
    }
}

fn update(context: &Context, cluster: &Cluster, policy: &Policy, certs: PathBuf, ui: Ui) -> Outcome {
    check_operators(cluster, &context.events)?;
    let now = context.clock.now();
    let done = pki::update(&certs, cluster, policy, now, || context.keyring.open()).map_err(|error| {
        let kind = match error {
            pki::UpdateError::Refused { .. } | pki::UpdateError::Recipients(_) => Kind::Input,
            _ => Kind::Failed,
        };
        Failure::from_error(kind, &error).maybe_hint(error.hint())
    })?;
    if let Ok(flake) = context.project.flake() {
        flake.make_visible(&["certs"]).map_err(|error| Failure::from_error(Kind::Failed, &error))?;
    }
    tell(&done.plan, ui);
    Ok(ExitCode::SUCCESS)
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

fn list(survey: &Survey, ui: Ui) -> Outcome {
    let rows = report::list(survey);
    if ui.json {
        ui.result_json(&rows);
        return Ok(ExitCode::SUCCESS);
    }
    let cells = |row: &Row| {
        let expiry = row.not_after.map_or_else(|| "-".to_owned(), |time| time.date().to_string());
        let left = row.days_left.map_or_else(|| "-".to_owned(), |days| days.to_string());
        let tone = if row.state == State::Ok { Tone::Good } else { Tone::Careful };
        let state = ui.paint(tone, &row.state.to_string());
        vec![row.name.clone(), row.authority.clone(), expiry, left, state, row.because.clone()]
    };
    ui.result_table(&["NAME", "AUTHORITY", "EXPIRES", "DAYS", "STATE", "WHY"], rows.iter().map(cells).collect());
    Ok(ExitCode::SUCCESS)
}

fn show(survey: &Survey, name: &str, ui: Ui) -> Outcome {
    // The original project's command took a file; its name without the ending is often what is meant.
    let details = report::show(survey, name)
        .map_err(|error| Failure::from_error(Kind::Input, &error).maybe_hint(error.hint()))?;
    if ui.json {
        ui.result_json(&details);
    } else {
        ui.result(details.to_string().trim_end());
    }
    Ok(ExitCode::SUCCESS)
}
