//! Configuration of the Router's side of BGP.

use machinist_codegen::router::{self, Format, Password};
use machinist_model::Cluster;
use machinist_pki::{self as pki, BGP_PASSWORD};
use machinist_secrets::Zeroizing;

use crate::{
    certs,
    context::Context,
    failure::{Failure, Kind},
};

/// A configuration.
#[derive(Clone, Copy, Debug)]
pub struct Request {
    /// The Router's language.
    pub format: Format,
    /// Writes the password of the sessions, too. It is opened with the operator's identity.
    pub with_password: bool,
}

/// Returns the configuration. With the password it is a secret.
///
/// # Errors
/// The cluster has no virtual address that a Router announces, or the password cannot be opened.
pub fn run(context: &Context, request: &Request) -> Result<Zeroizing<String>, Failure> {
    let cluster = context.project.load()?.cluster;
    let has_password = router::has_password(&cluster);
    let opened = (request.with_password && has_password).then(|| open(context, &cluster)).transpose()?;
    let password = opened.as_deref().map_or(Password::LeftOut, |text| Password::Shown(text));
    let text = router::config(&cluster, request.format, password)
        .map_err(|error| Failure::from_error(Kind::Input, &error).hint(error.hint()))?;
    if request.with_password && !has_password {
        context.events.warn("the sessions have no password: kubeMaster.bgpPassword of machines.nix is not true");
    } else if has_password && opened.is_none() {
        context
            .events
            .warn("the password is left out; with --show-password it is in its place, and the text is a secret");
    }
    Ok(Zeroizing::new(text))
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
