//! Parsed X.509 certificate.

use std::{
    collections::BTreeSet,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use thiserror::Error;
use time::OffsetDateTime;
use x509_parser::{
    certificate::X509Certificate,
    extensions::{GeneralName, ParsedExtension},
    pem::Pem,
    prelude::FromDer,
    public_key::PublicKey,
    x509::SubjectPublicKeyInfo,
};

use crate::{ExtendedUsage, KeyId, KeyUsage, San};

/// The relevant fields of a certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificate {
    /// The subject, a distinguished name as text.
    pub subject: String,
    /// The issuer, a distinguished name as text.
    pub issuer: String,
    /// The subject's CN.
    pub common_name: Option<String>,
    /// The subject's Os, in the order of the certificate.
    pub organizations: Vec<String>,
    /// The subject alternative names.
    pub sans: BTreeSet<San>,
    /// The extended key usages.
    pub extended_usages: BTreeSet<ExtendedUsage>,
    /// The key usages.
    pub usages: BTreeSet<KeyUsage>,
    /// True if it may sign other certificates (`basicConstraints`).
    pub is_authority: bool,
    /// The start of its validity.
    pub not_before: OffsetDateTime,
    /// The end of its validity.
    pub not_after: OffsetDateTime,
    /// The serial number, hexadecimal octets separated by colons.
    pub serial: String,
    /// The id of its public key.
    pub key_id: KeyId,
    /// The algorithm of its public key, such as `ECDSA P-256`.
    pub algorithm: String,
    /// True if its public key is an RSA key.
    pub is_rsa: bool,
    der: Vec<u8>,
}

/// Reason why a text is not a certificate.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum CertificateError {
    /// The text has no PEM block.
    #[error("it contains no PEM block")]
    NoPem,
    /// A PEM block is malformed or truncated.
    #[error("its PEM is malformed or truncated")]
    BrokenPem,
    /// The text has more than one PEM block.
    #[error("it contains more than one PEM block")]
    Several,
    /// The PEM block has another label.
    #[error("it contains a `{0}` instead of a certificate")]
    OtherLabel(String),
    /// The certificate's DER is invalid.
    #[error("the certificate in it is invalid: {0}")]
    Broken(&'static str),
}

impl Certificate {
    /// Parses a text that holds exactly one certificate in PEM.
    ///
    /// # Errors
    /// It contains anything else.
    pub fn parse(text: &[u8]) -> Result<Self, CertificateError> {
        let mut all = Self::parse_all(text)?.into_iter();
        match (all.next(), all.next()) {
            (Some(certificate), None) => Ok(certificate),
            (None, _) => Err(CertificateError::NoPem),
            (Some(_), Some(_)) => Err(CertificateError::Several),
        }
    }

    /// Parses a text that consists of one or more certificates in PEM, in their order.
    ///
    /// # Errors
    /// It contains anything else.
    pub fn parse_all(text: &[u8]) -> Result<Vec<Self>, CertificateError> {
        let parse = |block: Result<Pem, _>| match block {
            Err(_) => Err(CertificateError::BrokenPem),
            Ok(block) if block.label != "CERTIFICATE" => Err(CertificateError::OtherLabel(block.label)),
            Ok(block) => Self::from_der(block.contents),
        };
        let all = Pem::iter_from_buffer(text).map(parse).collect::<Result<Vec<_>, _>>()?;
        if all.is_empty() { Err(CertificateError::NoPem) } else { Ok(all) }
    }

    fn from_der(der: Vec<u8>) -> Result<Self, CertificateError> {
        let (rest, parsed) =
            X509Certificate::from_der(&der).map_err(|_| CertificateError::Broken("its DER cannot be parsed"))?;
        if !rest.is_empty() {
            return Err(CertificateError::Broken("there is trailing data"));
        }
        let mut certificate = Self {
            subject: parsed.subject().to_string(),
            issuer: parsed.issuer().to_string(),
            common_name: texts(parsed.subject().iter_common_name()).into_iter().next(),
            organizations: texts(parsed.subject().iter_organization()),
            sans: BTreeSet::new(),
            extended_usages: BTreeSet::new(),
            usages: BTreeSet::new(),
            is_authority: parsed.is_ca(),
            not_before: parsed.validity().not_before.to_datetime(),
            not_after: parsed.validity().not_after.to_datetime(),
            serial: parsed.raw_serial_as_string(),
            key_id: KeyId::of_spki(parsed.public_key().raw),
            algorithm: algorithm(parsed.public_key()),
            is_rsa: matches!(parsed.public_key().parsed(), Ok(PublicKey::RSA(_))),
            der: Vec::new(),
        };
        for extension in parsed.extensions() {
            certificate.take(extension.parsed_extension()).map_err(CertificateError::Broken)?;
        }
        certificate.der = der;
        Ok(certificate)
    }

    fn take(&mut self, extension: &ParsedExtension<'_>) -> Result<(), &'static str> {
        match extension {
            ParsedExtension::SubjectAlternativeName(names) => {
                self.sans.extend(names.general_names.iter().map(san));
            }
            ParsedExtension::KeyUsage(usage) => {
                let set = KeyUsage::ALL.into_iter().enumerate().filter(|(bit, _)| usage.flags >> bit & 1 == 1);
                self.usages.extend(set.map(|(_, usage)| usage));
            }
            ParsedExtension::ExtendedKeyUsage(usage) => {
                let known = [
                    (usage.server_auth, ExtendedUsage::Server),
                    (usage.client_auth, ExtendedUsage::Client),
                    (usage.any, other("anyExtendedKeyUsage")),
                    (usage.code_signing, other("codeSigning")),
                    (usage.email_protection, other("emailProtection")),
                    (usage.time_stamping, other("timeStamping")),
                    (usage.ocsp_signing, other("OCSPSigning")),
                ];
                self.extended_usages.extend(known.into_iter().filter_map(|(set, usage)| set.then_some(usage)));
                self.extended_usages.extend(usage.other.iter().map(|oid| other(&oid.to_id_string())));
            }
            ParsedExtension::ParseError { .. } => return Err("an extension cannot be parsed"),
            _ => {}
        }
        Ok(())
    }

    /// Returns true if the authority's key signed this certificate in the authority's name. Verifies the signature,
    /// since names alone prove nothing.
    #[must_use]
    pub fn is_signed_by(&self, authority: &Self) -> bool {
        let (Ok((_, leaf)), Ok((_, signer))) =
            (X509Certificate::from_der(&self.der), X509Certificate::from_der(&authority.der))
        else {
            return false;
        };
        leaf.issuer().as_raw() == signer.subject().as_raw() && leaf.verify_signature(Some(signer.public_key())).is_ok()
    }

    /// Returns the certificate in DER.
    #[must_use]
    pub fn der(&self) -> &[u8] {
        &self.der
    }

    /// Returns full days from `now` to the end of its validity, rounded down. Negative after the end.
    #[must_use]
    pub fn days_left(&self, now: OffsetDateTime) -> i64 {
        (self.not_after - now).whole_seconds().div_euclid(24 * 3600)
    }
}

fn texts<'a>(attributes: impl Iterator<Item = &'a x509_parser::x509::AttributeTypeAndValue<'a>>) -> Vec<String> {
    attributes.filter_map(|attribute| attribute.as_str().ok()).map(str::to_owned).collect()
}

fn other(name: &str) -> ExtendedUsage {
    ExtendedUsage::Other(name.to_owned())
}

fn san(name: &GeneralName<'_>) -> San {
    match name {
        GeneralName::DNSName(name) => San::Dns((*name).to_owned()),
        GeneralName::IPAddress(octets) => address(octets).map_or_else(|| San::Other(format!("{name}")), San::Ip),
        name => San::Other(format!("{name}")),
    }
}

fn address(octets: &[u8]) -> Option<IpAddr> {
    let four = <[u8; 4]>::try_from(octets).map(|octets| Ipv4Addr::from(octets).into());
    four.or_else(|_| <[u8; 16]>::try_from(octets).map(|octets| Ipv6Addr::from(octets).into())).ok()
}

fn algorithm(key: &SubjectPublicKeyInfo<'_>) -> String {
    match key.parsed() {
        Ok(PublicKey::RSA(key)) => format!("RSA {}", key.key_size()),
        Ok(PublicKey::EC(point)) => match point.key_size() {
            // x509-parser rounds the size of a point's coordinate up to octets.
            bits @ (256 | 384) => format!("ECDSA P-{bits}"),
            bits => format!("ECDSA, {bits} bits"),
        },
        _ => key.algorithm.algorithm.to_id_string(),
    }
}
