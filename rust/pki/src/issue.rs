//! Issuing of certificates. The clock, serial numbers and keys are arguments; only the signature itself is random.

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, SanType, SerialNumber,
};
use thiserror::Error;
use time::{Duration, OffsetDateTime};

use crate::{AuthoritySpec, Certificate, CertificateError, CertificateSpec, ExtendedUsage, KeyUsage, PrivateKey, San};

/// Backdating of a certificate's validity, so that a machine whose clock is behind accepts it at once.
pub const CLOCK_SKEW: Duration = Duration::minutes(5);

/// Validity period of a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Validity {
    /// The first instant.
    pub not_before: OffsetDateTime,
    /// The last instant.
    pub not_after: OffsetDateTime,
}

/// An authority that can sign.
pub struct Signer {
    certificate: Certificate,
    issuer: Issuer<'static, SigningPair>,
}

/// The signing half of a private key, borrowed by rcgen's issuer and zeroed with it.
struct SigningPair(PrivateKey);

impl rcgen::PublicKeyData for SigningPair {
    fn der_bytes(&self) -> &[u8] {
        self.0.pair().der_bytes()
    }

    fn algorithm(&self) -> &'static rcgen::SignatureAlgorithm {
        self.0.pair().algorithm()
    }
}

impl rcgen::SigningKey for SigningPair {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rcgen::Error> {
        self.0.pair().sign(message)
    }
}

/// Reason why a certificate could not be issued.
#[allow(missing_docs, reason = "`name` is the SAN, `source` the cause; `found` and `wanted` are key ids")]
#[derive(Debug, Error)]
pub enum IssueError {
    /// A SAN is not a valid name.
    #[error("`{name}` cannot be a DNS name of a certificate")]
    San { name: String, source: rcgen::Error },
    /// The certificate could not be assembled or signed.
    #[error("cannot sign the certificate")]
    Sign(#[source] rcgen::Error),
    /// The authority's certificate cannot be used for signing.
    #[error("cannot sign under the authority's certificate")]
    Authority(#[source] rcgen::Error),
    /// The private key does not belong to the authority's certificate.
    #[error("the private key {found} does not belong to the authority's certificate, whose key is {wanted}")]
    ForeignKey { found: crate::KeyId, wanted: crate::KeyId },
    /// The new certificate cannot be parsed again.
    #[error("the new certificate cannot be parsed")]
    Unreadable(#[source] CertificateError),
}

impl Validity {
    /// Returns a validity that begins [`CLOCK_SKEW`] before `now` and ends after `life`, or at `limit` if that is
    /// earlier.
    #[must_use]
    pub fn new(now: OffsetDateTime, life: Duration, limit: Option<OffsetDateTime>) -> Self {
        let end = now + life;
        Self { not_before: now - CLOCK_SKEW, not_after: limit.map_or(end, |limit| end.min(limit)) }
    }
}

impl Signer {
    /// Returns the authority together with its key.
    ///
    /// # Errors
    /// The key belongs to another certificate, or the certificate cannot sign.
    pub fn new(certificate: Certificate, key: PrivateKey) -> Result<Self, IssueError> {
        if key.id() != certificate.key_id {
            return Err(IssueError::ForeignKey { found: key.id(), wanted: certificate.key_id });
        }
        let issuer =
            Issuer::from_ca_cert_der(&certificate.der().into(), SigningPair(key)).map_err(IssueError::Authority)?;
        Ok(Self { certificate, issuer })
    }

    /// Returns the authority's certificate.
    #[must_use]
    pub const fn certificate(&self) -> &Certificate {
        &self.certificate
    }
}

/// Issues an authority's certificate, signed by its own key. Returns PEM.
///
/// # Errors
/// Signing fails.
pub fn authority(
    spec: &AuthoritySpec,
    key: &PrivateKey,
    serial: [u8; 16],
    validity: Validity,
) -> Result<String, IssueError> {
    let mut params = params(&spec.common_name, None, serial, validity);
    // It signs only leaves, never another authority.
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    Ok(params.self_signed(key.pair()).map_err(IssueError::Sign)?.pem())
}

/// Issues a leaf certificate for the public half of `key`. It never outlives its authority. Returns PEM.
///
/// # Errors
/// A SAN is not a valid name, or signing fails.
pub fn leaf(
    spec: &CertificateSpec,
    key: &PrivateKey,
    signer: &Signer,
    serial: [u8; 16],
    validity: Validity,
) -> Result<String, IssueError> {
    let limited = Validity { not_after: validity.not_after.min(signer.certificate.not_after), ..validity };
    let mut params = params(&spec.common_name, spec.organization.as_deref(), serial, limited);
    params.is_ca = IsCa::ExplicitNoCa;
    params.subject_alt_names = spec.sans.iter().map(san).collect::<Result<_, _>>()?;
    params.key_usages = spec.wanted_usages(key.is_rsa()).into_iter().map(usage).collect();
    params.extended_key_usages = spec.extended_usages.iter().filter_map(extended_usage).collect();
    let pair: &KeyPair = key.pair();
    Ok(params.signed_by(pair, &signer.issuer).map_err(IssueError::Sign)?.pem())
}

impl CertificateSpec {
    /// Returns the key usages of a certificate of this row for the type of key (see [`KeyUsage`]).
    #[must_use]
    pub fn wanted_usages(&self, is_rsa: bool) -> std::collections::BTreeSet<KeyUsage> {
        let rsa = (is_rsa && self.usages.contains(&KeyUsage::DigitalSignature)).then_some(KeyUsage::KeyEncipherment);
        self.usages.iter().copied().chain(rsa).collect()
    }
}

fn params(common_name: &str, organization: Option<&str>, serial: [u8; 16], validity: Validity) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    if let Some(organization) = organization {
        params.distinguished_name.push(DnType::OrganizationName, organization);
    }
    params.distinguished_name.push(DnType::CommonName, common_name);
    params.serial_number = Some(positive(serial));
    params.not_before = validity.not_before;
    params.not_after = validity.not_after;
    params.use_authority_key_identifier_extension = true;
    params
}

/// Returns a valid serial number: positive, with at most 20 octets (RFC 5280, 4.1.2.2). The highest bit is cleared for
/// a positive sign and the next one set, so that all have the same length.
fn positive(mut serial: [u8; 16]) -> SerialNumber {
    serial[0] = serial[0] & 0x7f | 0x40;
    SerialNumber::from_slice(&serial)
}

fn san(san: &San) -> Result<SanType, IssueError> {
    match san {
        San::Ip(address) => Ok(SanType::IpAddress(*address)),
        San::Dns(name) | San::Other(name) => match name.as_str().try_into() {
            Ok(name) => Ok(SanType::DnsName(name)),
            Err(source) => Err(IssueError::San { name: name.clone(), source }),
        },
    }
}

const fn usage(usage: KeyUsage) -> KeyUsagePurpose {
    match usage {
        KeyUsage::DigitalSignature => KeyUsagePurpose::DigitalSignature,
        KeyUsage::NonRepudiation => KeyUsagePurpose::ContentCommitment,
        KeyUsage::KeyEncipherment => KeyUsagePurpose::KeyEncipherment,
        KeyUsage::DataEncipherment => KeyUsagePurpose::DataEncipherment,
        KeyUsage::KeyAgreement => KeyUsagePurpose::KeyAgreement,
        KeyUsage::KeyCertSign => KeyUsagePurpose::KeyCertSign,
        KeyUsage::CrlSign => KeyUsagePurpose::CrlSign,
        KeyUsage::EncipherOnly => KeyUsagePurpose::EncipherOnly,
        KeyUsage::DecipherOnly => KeyUsagePurpose::DecipherOnly,
    }
}

fn extended_usage(usage: &ExtendedUsage) -> Option<ExtendedKeyUsagePurpose> {
    match usage {
        ExtendedUsage::Server => Some(ExtendedKeyUsagePurpose::ServerAuth),
        ExtendedUsage::Client => Some(ExtendedKeyUsagePurpose::ClientAuth),
        // Occurs only in foreign certificates; no row has it.
        ExtendedUsage::Other(_) => None,
    }
}
