//! Short-lived certificates for users of the Kubernetes API: valid for hours instead of a year, and never stored.

use std::path::Path;

use machinist_model::Operator;
use machinist_secrets::{Identities, Zeroizing};
use thiserror::Error;
use time::{Duration, OffsetDateTime};

use crate::{
    Authority, CertificateSpec, Files, Holder, KeyAlgorithm, KeyError, PrivateKey,
    issue::{self, IssueError, Signer, Validity},
    store::{self, StoreError},
    table,
    update::{UpdateError, open_key, serial},
};

/// The user that the certificate identifies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// The user's name: the subject's CN.
    pub name: String,
    /// The user's group: the subject's O.
    pub group: Option<String>,
    /// The validity. Kubernetes has no revocation: only expiry ends a certificate.
    pub life: Duration,
}

/// Credentials of an API client.
pub struct Credentials {
    /// The authority that signed the API servers' certificates, PEM.
    pub authority: String,
    /// The user's certificate, PEM.
    pub certificate: String,
    /// The user's private key, PKCS#8 PEM.
    pub key: Zeroizing<String>,
    /// The end of the certificate's validity, which may be the authority's.
    pub not_after: OffsetDateTime,
}

/// Reason why no certificate was issued.
#[derive(Debug, Error)]
pub enum UserError {
    /// The directory cannot be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The authority does not exist yet.
    #[error("the cluster has no Kubernetes authority yet ({} is missing)", .0.display())]
    NoAuthority(std::path::PathBuf),
    /// The authority has expired.
    #[error("the Kubernetes authority expired on {}", .0.date())]
    Expired(OffsetDateTime),
    /// The authority's key cannot be decrypted.
    #[error(transparent)]
    Open(#[from] UpdateError),
    /// The user's key cannot be generated.
    #[error("cannot generate the user's key")]
    Key(#[from] KeyError),
    /// The certificate cannot be issued.
    #[error("cannot issue the user's certificate")]
    Issue(#[from] IssueError),
}

impl UserError {
    /// Returns the way to fix it.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::NoAuthority(_) => Some("`machinist certs gen` creates it".to_owned()),
            Self::Open(error) => error.hint(),
            _ => None,
        }
    }
}

/// Issues a certificate for the user, signed by the Kubernetes authority of the directory `certs`. Writes nothing.
///
/// # Errors
/// The authority is missing, its key cannot be decrypted, or signing fails.
pub fn credentials(
    certs: &Path,
    user: &User,
    now: OffsetDateTime,
    identities: &Identities,
    operators: &[Operator],
) -> Result<Credentials, UserError> {
    let files = Files::authority(Authority::Kubernetes);
    let tree = store::read(certs)?;
    let Some(authority) = tree.certificate(&files.certificate) else {
        return Err(UserError::NoAuthority(certs.join(&files.certificate)));
    };
    if authority.not_after <= now {
        return Err(UserError::Expired(authority.not_after));
    }
    let key = open_key(certs, "kubernetes-ca", &files, identities, operators)?;
    let signer = Signer::new(authority.clone(), key)?;
    let spec = CertificateSpec {
        common_name: user.name.clone(),
        organization: user.group.clone(),
        ..table::leaf(Authority::Kubernetes, "user", Holder::Operators)
    };
    let key = PrivateKey::generate(KeyAlgorithm::default())?;
    let validity = Validity::new(now, user.life, Some(authority.not_after));
    let certificate = issue::leaf(&spec, &key, &signer, serial(), validity)?;
    let file = certs.join(&files.certificate);
    let authority = std::fs::read_to_string(&file).map_err(|source| StoreError::Read { path: file, source })?;
    Ok(Credentials { authority, certificate, key: key.to_pem(), not_after: validity.not_after })
}
