//! `machinist certs`: make, list, show and renew certificates.

mod keys;
mod prompt;
mod rotate;

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
    process::ExitCode,
};

use clap::{Args, Subcommand};
use machinist_model::{Cluster, NodeName};
use machinist_pki::{
    self as pki, Inventory, KeyAlgorithm, Plan, Policy, Renewal, Step, Survey,
    report::{self, Row, State},
};
use machinist_secrets::Recipients;
use time::OffsetDateTime;

pub use self::keys::{identities, key_files, key_source};
use crate::{
    args::Global,
    failure::{Failure, Kind, Outcome},
    project::Project,
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
    let project = Project::open(global, ui)?;
    let cluster = project.load()?.cluster;
    if !matches!(command, CertsCommand::List | CertsCommand::Show(_)) {
        // A certificate for the new value would take the one in use out of it.
        project.refuse_conflicts(&cluster)?;
    }
    match command {
        CertsCommand::Gen(args) => {
            let policy = Policy { algorithm: args.algorithm, prune: args.prune, ..Policy::default() };
            let certs = args.certs_directory.clone().unwrap_or_else(|| project.certs());
            update(&project, &cluster, global, &policy, certs, ui)
        }
        CertsCommand::Renew(args) => {
            let named = || Renewal::Named(args.names.iter().cloned().collect());
            let renewal = if args.all { Renewal::All } else { named() };
            let policy = Policy { algorithm: args.algorithm, renewal, ..Policy::default() };
            update(&project, &cluster, global, &policy, project.certs(), ui)
        }
        CertsCommand::List => list(&survey(&project, &cluster)?, ui),
        CertsCommand::RotateCa(args) => rotate::authority(args, &project, &cluster, global, ui),
        CertsCommand::RotateSa(args) => rotate::service_account(args, &project, &cluster, global, ui),
        CertsCommand::RotateEncryption => rotate::encryption(&project, &cluster, global, ui),
        CertsCommand::Show(args) => show(&survey(&project, &cluster)?, &args.name, ui),
    }
}

fn survey(project: &Project, cluster: &Cluster) -> Result<Survey, Failure> {
    pki::survey(&project.certs(), cluster, &Policy::default(), OffsetDateTime::now_utc())
        .map_err(|error| Failure::from_error(Kind::Failed, &error))
}

fn update(project: &Project, cluster: &Cluster, global: &Global, policy: &Policy, certs: PathBuf, ui: Ui) -> Outcome {
    check_operators(cluster, ui)?;
    let now = OffsetDateTime::now_utc();
    let done = pki::update(&certs, cluster, policy, now, || identities(global)).map_err(|error| {
        let kind = match error {
            pki::UpdateError::Refused { .. } | pki::UpdateError::Recipients(_) => Kind::Input,
            _ => Kind::Failed,
        };
        Failure::from_error(kind, &error).maybe_hint(error.hint())
    })?;
    if let Ok(flake) = project.flake() {
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

/// Refuses operators to whom age cannot encrypt: private keys are encrypted to all of them or not at all. Warns of keys whose
/// use leaks something.
pub fn check_operators(cluster: &Cluster, ui: Ui) -> Result<(), Failure> {
    for operator in cluster.operators.iter().filter(|operator| operator.decrypts_with_rsa()) {
        ui.warn(&format!(
            "operator `{}` decrypts with an RSA key: its use leaks through time to other programs of that computer \
             (RUSTSEC-2023-0071); an `age` recipient or an ed25519 key does not",
            operator.name
        ));
    }
    let problems = Recipients::problems(&cluster.operators);
    let Some(first) = problems.first() else { return Ok(()) };
    let words: Vec<String> = problems.iter().map(ToString::to_string).collect();
    Err(Failure::new(Kind::Input, words.join("\n")).maybe_hint(first.hint()))
}

/// Reads which certificates exist.
pub fn inventory(project: &Project) -> Result<Inventory, Failure> {
    Inventory::read(&project.directory)
        .map_err(|error| Failure::from_error(Kind::Input, &error).maybe_hint(error.hint()))
}

/// Returns in words what needs attention. If there are no certificates at all, nobody made a mistake yet.
pub fn trouble(project: &Project, cluster: &Cluster) -> Result<Vec<String>, Failure> {
    let survey = survey(project, cluster)?;
    let none_yet = survey.tree.entries().next().is_none() || survey.plan.actions.iter().all(|a| is_new(&a.step));
    let mut lines: Vec<String> = survey.plan.problems.iter().map(|p| format!("{}: {}", p.subject, p.what)).collect();
    lines.extend(pki::rotation::unfinished(&survey.table, &survey.tree));
    lines.extend(authorities_that_end(&survey));
    if !none_yet {
        let rows = report::list(&survey).into_iter().filter(|row| row.state != State::Ok);
        lines.extend(rows.map(|row| format!("certificate {} ({}): {}", row.name, row.state, row.because)));
    }
    Ok(lines)
}

/// Warns of certificates in `certs/` that are due for renewal and of authorities that end soon. They still serve.
fn warn_of_expiry(survey: &Survey, ui: Ui) {
    let due: Vec<String> = report::list(survey)
        .into_iter()
        .filter(|row| row.state == State::Renew)
        .map(|row| format!("{} ({})", row.name, row.because))
        .collect();
    if let Some((first, rest)) = due.split_first() {
        let more = if rest.is_empty() { String::new() } else { format!(" and {} more", rest.len()) };
        ui.warn(&format!("certificates expire: {first}{more}; `machinist certs gen` renews them, then deploy again"));
    }
    authorities_that_end(survey).iter().for_each(|line| ui.warn(line));
}

/// Returns in words which authorities end before what they sign today would.
fn authorities_that_end(survey: &Survey) -> Vec<String> {
    let life = Policy::default().leaf_life.whole_days();
    let ends = |row: &Row| row.file.starts_with("authorities") && row.days_left.is_some_and(|days| days < life);
    let names: BTreeSet<String> = report::list(survey).into_iter().filter(ends).map(|row| row.name).collect();
    let notices = survey.plan.notices.iter().filter(|notice| names.contains(&notice.subject));
    notices.map(|notice| format!("{}: {}", notice.subject, notice.what)).collect()
}

fn is_new(step: &Step) -> bool {
    matches!(step, Step::Issue(_))
}

/// Refuses to go on if a node lacks a certificate that it needs, or has one that is not as it should be. Warns of those that
/// expire soon.
pub fn require(project: &Project, cluster: &Cluster, nodes: &[NodeName]) -> Result<(), Failure> {
    let survey = survey(project, cluster)?;
    if let Some(refusal) = survey.plan.refusal() {
        let hint = survey.plan.problems.first().map(|problem| problem.hint.clone());
        return Err(Failure::new(Kind::Input, format!("certs/ is not as it should be:\n{refusal}")).maybe_hint(hint));
    }
    let names: BTreeSet<&str> = nodes.iter().map(NodeName::as_str).collect();
    // What is only due for renewal still serves.
    let unusable = |row: &Row| !matches!(row.state, State::Ok | State::Renew | State::Orphan);
    let of_targets = |row: &Row| row.node.as_deref().is_none_or(|node| names.contains(node));
    let bad: BTreeMap<String, String> = report::list(&survey)
        .into_iter()
        .filter(|row| unusable(row) && of_targets(row))
        .map(|row| (row.name, format!("{}: {}", row.state, row.because)))
        .collect();
    if bad.is_empty() {
        warn_of_expiry(&survey, project.ui);
        return Ok(());
    }
    let shown: Vec<String> = bad.iter().take(6).map(|(name, why)| format!("{name} ({why})")).collect();
    let more = bad.len().saturating_sub(shown.len());
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    let message = format!("the targets' certificates are not ready: {}{more}", shown.join(", "));
    Err(Failure::new(Kind::Input, message).hint("`machinist certs gen` makes them"))
}
