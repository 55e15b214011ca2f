//! Certificates: issue, renewal, list and details.

use std::path::{Path, PathBuf};

use machinist_model::{Cluster, moving::Command};
use machinist_pki::{
    self as pki, Plan, Policy,
    report::{self, Details, Row},
};

use super::{check_operators, survey};
use crate::{
    context::Context,
    failure::{Failure, Kind, OrFail as _},
};

/// Request to issue certificates.
#[derive(Clone, Debug, Default)]
pub struct Request {
    /// Directory of the certificates; `certs` in the cluster's directory by default.
    pub certs: Option<PathBuf>,
    /// Algorithm of new keys, certificates to renew early, and removal of leftovers.
    pub policy: Policy,
}

/// Issues missing certificates, and renews those that are due, have changed, or were requested. Returns the changes and
/// their reasons.
///
/// # Errors
/// machines.nix is invalid, `certs/` holds unexpected files, or a private key cannot be decrypted.
pub fn run(context: &Context, request: &Request) -> Result<Plan, Failure> {
    let project = &context.project;
    let cluster = project.load()?.cluster;
    // A certificate for the new value would no longer cover the one in use.
    project.refuse_conflicts(&cluster, Command::IssueCertificates)?;
    let certs = request.certs.clone().unwrap_or_else(|| project.certs());
    update(context, &cluster, &request.policy, &certs)
}

/// Issues the certificates of the cluster as given, without a comparison with recorded state.
pub(crate) fn update(context: &Context, cluster: &Cluster, policy: &Policy, certs: &Path) -> Result<Plan, Failure> {
    check_operators(cluster, &context.events)?;
    let now = context.clock.now();
    let done = pki::update(certs, cluster, policy, now, || context.keyring.open()).map_err(|error| {
        let kind = match error {
            pki::UpdateError::Refused { .. } | pki::UpdateError::Recipients(_) => Kind::Input,
            _ => Kind::Failed,
        };
        Failure::from_error(kind, &error).maybe_hint(error.hint())
    })?;
    if let Ok(flake) = context.project.flake() {
        flake.make_visible(&["certs"]).failed()?;
    }
    Ok(done.plan)
}

/// Lists all certificates with their state.
///
/// # Errors
/// machines.nix is invalid, or `certs/` cannot be read.
pub fn list(context: &Context) -> Result<Vec<Row>, Failure> {
    let cluster = context.project.load()?.cluster;
    Ok(report::list(&survey(&context.project.certs(), &cluster, context.clock.now())?))
}

/// Shows one certificate.
///
/// # Errors
/// No certificate has this name.
pub fn show(context: &Context, name: &str) -> Result<Details, Failure> {
    let cluster = context.project.load()?.cluster;
    let survey = survey(&context.project.certs(), &cluster, context.clock.now())?;
    report::show(&survey, name).map_err(|error| Failure::from_error(Kind::Input, &error).maybe_hint(error.hint()))
}
