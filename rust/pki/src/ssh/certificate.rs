//! Certificate of an SSH host key, in OpenSSH's format.

use std::collections::BTreeSet;

use rand_core::OsRng;
use ssh_key::{
    Certificate, HashAlg, PrivateKey,
    certificate::{Builder, CertType},
};
use thiserror::Error;
use time::OffsetDateTime;

use super::{Host, SshPublicKey};
use crate::issue::Validity;

/// A host certificate for an ed25519 key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostCertificate(Certificate);

/// Reason why a text is not a host certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum HostCertificateError {
    /// The text is not one line with a certificate.
    #[error("it is not one line with an OpenSSH certificate")]
    Malformed,
    /// It certifies a user, or a key of another algorithm.
    #[error("it does not certify an ed25519 host key")]
    OtherKind,
    /// It is valid for all names, which OpenSSH reads from an empty list.
    #[error("it is valid for every host name")]
    AllNames,
}

impl HostCertificate {
    /// Parses the text of a `-cert.pub` file.
    ///
    /// # Errors
    /// It is anything but one certificate of a host's ed25519 key for listed names.
    pub fn parse(text: &[u8]) -> Result<Self, HostCertificateError> {
        let text = std::str::from_utf8(text).map_err(|_| HostCertificateError::Malformed)?;
        let certificate = Certificate::from_openssh(text.trim_end()).map_err(|_| HostCertificateError::Malformed)?;
        if certificate.cert_type() != CertType::Host || SshPublicKey::of(certificate.public_key()).is_none() {
            return Err(HostCertificateError::OtherKind);
        }
        if certificate.valid_principals().is_empty() {
            return Err(HostCertificateError::AllNames);
        }
        Ok(Self(certificate))
    }

    /// Signs the key of a host for its names.
    pub(super) fn sign(
        host: &Host,
        key: &SshPublicKey,
        signer: &PrivateKey,
        serial: u64,
        validity: Validity,
    ) -> Result<Self, ssh_key::Error> {
        let seconds = |time: OffsetDateTime| u64::try_from(time.unix_timestamp()).unwrap_or_default();
        let (from, until) = (seconds(validity.not_before), seconds(validity.not_after));
        let mut builder = Builder::new_with_random_nonce(&mut OsRng, key.data().clone(), from, until)?;
        builder.cert_type(CertType::Host)?;
        builder.serial(serial)?;
        builder.key_id(host.node.as_str())?;
        builder.comment(host.node.as_str())?;
        for name in &host.names {
            builder.valid_principal(name.as_str())?;
        }
        builder.sign(signer).map(Self)
    }

    /// Returns the text of a `-cert.pub` file.
    pub(super) fn text(&self) -> Result<String, ssh_key::Error> {
        self.0.to_openssh().map(|line| format!("{}\n", line.trim_end()))
    }

    /// Returns the certified host key.
    #[must_use]
    pub fn key(&self) -> Option<SshPublicKey> {
        SshPublicKey::of(self.0.public_key())
    }

    /// Returns the names and addresses that it is valid for.
    #[must_use]
    pub fn names(&self) -> BTreeSet<String> {
        self.0.valid_principals().iter().cloned().collect()
    }

    /// Returns the start of its validity.
    #[must_use]
    pub fn not_before(&self) -> OffsetDateTime {
        time_of(self.0.valid_after())
    }

    /// Returns the end of its validity.
    #[must_use]
    pub fn not_after(&self) -> OffsetDateTime {
        time_of(self.0.valid_before())
    }

    /// Returns true if the authority signed it. Its validity is another question.
    #[must_use]
    pub fn is_signed_by(&self, authority: &SshPublicKey) -> bool {
        let fingerprint = authority.data().fingerprint(HashAlg::Sha256);
        self.0.signature_key() == authority.data() && self.0.validate_at(self.0.valid_after(), [&fingerprint]).is_ok()
    }

    /// Returns true if it is valid at the time.
    #[must_use]
    pub fn is_valid_at(&self, now: OffsetDateTime) -> bool {
        self.not_before() <= now && now < self.not_after()
    }
}

/// Returns the time; of one that is far away, the last one that exists.
fn time_of(seconds: u64) -> OffsetDateTime {
    let latest = time::PrimitiveDateTime::MAX.assume_utc();
    i64::try_from(seconds).ok().and_then(|at| OffsetDateTime::from_unix_timestamp(at).ok()).unwrap_or(latest)
}
