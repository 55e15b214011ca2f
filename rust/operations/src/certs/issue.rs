//! Certificates: issue, renewal, list and details.

use std::{
    cell::OnceCell,
    path::{Path, PathBuf},
    rc::Rc,
};

use machinist_model::{Cluster, moving::Command};
use machinist_pki::{
    self as pki, Plan, Policy,
    report::{self, Details, Row},
};
use machinist_secrets::{Identities, IdentityError};

use super::{
    check_operators,
    hosts::{self, Signing},
    survey,
};
use crate::{
    context::Context,
    failure::{Failure, Kind, OrFail as _},
    keyring::Keyring,
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
    update(context, &cluster, &request.policy, &certs, Signing::All)
}

/// Issues the certificates of the cluster as given, without a comparison with recorded state.
pub(crate) fn update(
    context: &Context,
    cluster: &Cluster,
    policy: &Policy,
    certs: &Path,
    signing: Signing<'_>,
) -> Result<Plan, Failure> {
    check_operators(cluster, &context.events)?;
    let now = context.clock.now();
    let once = Once { keyring: &context.keyring, opened: OnceCell::new() };
    let of_others = hosts::without_hosts(policy, &hosts::hosts(&context.project, cluster, certs)?);
    let done = pki::update(certs, cluster, &of_others, now, || once.open()).map_err(|error| hosts::failure(&error))?;
    let signed = hosts::sign(context, cluster, signing, policy, certs, || once.open())?;
    if let Ok(flake) = context.project.flake() {
        flake.make_visible(&["certs"]).failed()?;
    }
    let mut plan = done.plan;
    plan.actions.extend(signed.actions);
    plan.notices.extend(signed.notices);
    plan.orphans.extend(signed.orphans);
    Ok(plan)
}

/// The operator's identity, opened at most once: its passphrase is asked for once.
struct Once<'a> {
    keyring: &'a Keyring,
    opened: OnceCell<Rc<Identities>>,
}

impl Once<'_> {
    fn open(&self) -> Result<Rc<Identities>, IdentityError> {
        if let Some(identities) = self.opened.get() {
            return Ok(Rc::clone(identities));
        }
        let identities = Rc::new(self.keyring.open()?);
        Ok(Rc::clone(self.opened.get_or_init(|| identities)))
    }
}

/// Lists all certificates with their state.
///
/// # Errors
/// machines.nix is invalid, or `certs/` cannot be read.
pub fn list(context: &Context) -> Result<Vec<Row>, Failure> {
    let cluster = context.project.load()?.cluster;
    let now = context.clock.now();
    let mut rows = report::list(&survey(&context.project.certs(), &cluster, now)?);
    rows.extend(hosts::rows(&context.project, &cluster, now)?);
    Ok(rows)
}

/// Shows one certificate.
///
/// # Errors
/// No certificate has this name.
pub fn show(context: &Context, name: &str) -> Result<Details, Failure> {
    let cluster = context.project.load()?.cluster;
    let now = context.clock.now();
    let ssh = hosts::rows(&context.project, &cluster, now)?;
    if let Some(row) = ssh.into_iter().find(|row| row.name == name) {
        let file = context.project.certs().join(row.file);
        let failure = Failure::new(Kind::Input, format!("`{name}` is in OpenSSH's format, in {}", file.display()));
        return Err(failure.hint(format!(
            "`ssh-keygen -L -f {0}` shows a certificate, `ssh-keygen -l -f {0}` a key",
            file.display()
        )));
    }
    let survey = survey(&context.project.certs(), &cluster, now)?;
    report::show(&survey, name).map_err(|error| Failure::from_error(Kind::Input, &error).maybe_hint(error.hint()))
}
