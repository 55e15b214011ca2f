//! Required fields of certificates: the columns of the table.

use std::{collections::BTreeSet, fmt, net::IpAddr, path::PathBuf};

use machinist_model::NodeName;
use serde::{Serialize, Serializer};

/// All certificates that a cluster needs, sorted by name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Table {
    /// The authorities that sign.
    pub authorities: Vec<AuthoritySpec>,
    /// The leaf certificates.
    pub certificates: Vec<CertificateSpec>,
    /// The key pairs without a certificate.
    pub key_pairs: Vec<KeyPairSpec>,
}

/// An authority. Each is a separate trust domain: etcd admits every client whose certificate its authority signed, and
/// the API server believes a holder of a front-proxy certificate about users, so these authorities must sign nothing
/// else.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Authority {
    /// Members and clients of etcd.
    Etcd,
    /// The API server as a proxy in front of extension API servers.
    FrontProxy,
    /// Kubernetes' servers and all its users.
    Kubernetes,
    /// SSH host keys. Not in the table: its certificates are OpenSSH's ([`ssh`](crate::ssh)).
    Ssh,
}

impl Authority {
    /// Returns the stem of the authority's files, which is also its name in generated facts.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Etcd => "etcd",
            Self::FrontProxy => "front-proxy",
            Self::Kubernetes => "kubernetes",
            Self::Ssh => "ssh",
        }
    }
}

impl CertificateSpec {
    /// Returns true if the node holds it.
    #[must_use]
    pub fn is_of(&self, node: &NodeName) -> bool {
        matches!(&self.holder, Holder::Node(holder) if holder == node)
    }
}

impl fmt::Display for Authority {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(self.as_str())
    }
}

/// An authority's certificate, self-signed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct AuthoritySpec {
    /// The name in commands and messages, such as `etcd-ca`.
    pub name: String,
    /// The authority that the certificate belongs to.
    pub authority: Authority,
    /// The subject's CN.
    pub common_name: String,
    /// The paths of certificate and key.
    pub files: Files,
    /// The program or NixOS option that uses it.
    pub consumer: String,
}

/// A leaf certificate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CertificateSpec {
    /// The name in commands and messages, such as `etcd-server-balthazar`. Unique in the table.
    pub name: String,
    /// The name among its holder's certificates, such as `etcd-server`: the stem of its files.
    pub leaf: String,
    /// The signing authority.
    pub authority: Authority,
    /// The holder of the private key.
    pub holder: Holder,
    /// The subject's CN.
    pub common_name: String,
    /// The subject's O.
    pub organization: Option<String>,
    /// The subject alternative names.
    pub sans: BTreeSet<San>,
    /// The roles in a connection that the other side accepts it for.
    pub extended_usages: BTreeSet<ExtendedUsage>,
    /// The permitted uses of its key, for an elliptic-curve key. An RSA key also has `keyEncipherment`.
    pub usages: BTreeSet<KeyUsage>,
    /// The owner of the private key on the node. `None` if it stays with the operators.
    pub owner: Option<Owner>,
    /// The paths of certificate and key.
    pub files: Files,
    /// The program or NixOS option that uses it.
    pub consumer: String,
}

/// A key pair without a certificate, which several nodes share or the peers of its only holder know.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct KeyPairSpec {
    /// The name in commands and messages, such as `service-account`: also the stem of its files.
    pub name: String,
    /// The nodes that hold it. None while its private half is missing.
    pub holders: BTreeSet<NodeName>,
    /// The paths of the two halves: the public one takes the place of a certificate.
    pub files: Files,
    /// The program or NixOS option that uses it.
    pub consumer: String,
    /// The form in which a node gets it.
    pub used_as: KeyUse,
}

/// Form in which a node gets a key pair.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum KeyUse {
    /// The private half, PEM.
    KeyPair,
    /// A token derived from the private half ([`token`](crate::token)): a secret for programs that need a line of text.
    /// The public half identifies the token without disclosing anything about it.
    Token,
    /// A token that two sides present to each other on every connection and never store, so that it may be replaced.
    Password,
    /// The configuration that API servers encrypt Secrets by ([`encryption`](crate::encryption)).
    Encryption,
    /// tinc's private key, of an Ed25519 pair ([`control`](crate::control)).
    Tinc,
    /// WireGuard's private key, of an Ed25519 pair ([`control`](crate::control)).
    Wireguard,
}

impl KeyUse {
    /// Returns true for the key of a node in a control mesh.
    #[must_use]
    pub const fn is_control(self) -> bool {
        matches!(self, Self::Tinc | Self::Wireguard)
    }
}

impl Table {
    /// Returns true if the key pair of that name serves only to derive a token or password.
    #[must_use]
    pub fn is_token(&self, name: &str) -> bool {
        let is_token = |used_as| matches!(used_as, KeyUse::Token | KeyUse::Password);
        self.key_pairs.iter().any(|spec| spec.name == name && is_token(spec.used_as))
    }

    /// Returns true if a new one of that name may be requested, which replaces the old one at once.
    #[must_use]
    pub fn is_renewable(&self, name: &str) -> bool {
        let is_password = |spec: &KeyPairSpec| spec.name == name && spec.used_as == KeyUse::Password;
        self.certificates.iter().any(|spec| spec.name == name) || self.key_pairs.iter().any(is_password)
    }
}

/// Holder of a leaf certificate's private key.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Holder {
    /// One node.
    Node(NodeName),
    /// The operators; it is not on any node.
    Operators,
}

/// The owner of a file on a node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Owner {
    /// The user's name.
    pub user: String,
    /// The group's name.
    pub group: String,
}

/// The two files of a certificate or key pair, relative to the certificates' directory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Files {
    /// The certificate or public key, PEM.
    pub certificate: PathBuf,
    /// The private key, PKCS#8 PEM in an ASCII-armored age file.
    pub key: PathBuf,
}

impl Files {
    /// Returns the files of an authority.
    #[must_use]
    pub fn authority(authority: Authority) -> Self {
        Self::stem("authorities", authority.as_str())
    }

    /// Returns the files of a leaf.
    #[must_use]
    pub fn leaf(holder: &Holder, leaf: &str) -> Self {
        match holder {
            Holder::Node(node) => Self::stem(&format!("nodes/{node}"), leaf),
            Holder::Operators => Self::stem("operators", leaf),
        }
    }

    /// Returns the files of a key pair that nodes share.
    #[must_use]
    pub fn key_pair(name: &str) -> Self {
        Self { certificate: PathBuf::from(format!("shared/{name}.pub")), ..Self::stem("shared", name) }
    }

    fn stem(directory: &str, stem: &str) -> Self {
        Self {
            certificate: PathBuf::from(format!("{directory}/{stem}.pem")),
            key: PathBuf::from(format!("{directory}/{stem}.key.age")),
        }
    }
}

/// A subject alternative name. Names sort before addresses.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum San {
    /// A DNS name.
    Dns(String),
    /// An address.
    Ip(IpAddr),
    /// A name of a kind that the table never has; it occurs only in foreign certificates.
    Other(String),
}

impl fmt::Display for San {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dns(name) | Self::Other(name) => formatter.write_str(name),
            Self::Ip(address) => address.fmt(formatter),
        }
    }
}

impl Serialize for San {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// An extended key usage (RFC 5280, 4.2.1.12).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ExtendedUsage {
    /// `serverAuth`.
    Server,
    /// `clientAuth`.
    Client,
    /// A usage that the table never has; it occurs only in foreign certificates.
    Other(String),
}

impl fmt::Display for ExtendedUsage {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Server => "serverAuth",
            Self::Client => "clientAuth",
            Self::Other(name) => name,
        })
    }
}

impl Serialize for ExtendedUsage {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// A permitted use of a key (RFC 5280, 4.2.1.3), in the order of the bits.
///
/// A leaf with an elliptic-curve key has only `digitalSignature`: RFC 8813, section 3, forbids `keyEncipherment` there.
/// With an RSA key it has both.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "camelCase")]
#[allow(missing_docs)] // The names are the RFC's own.
pub enum KeyUsage {
    DigitalSignature,
    NonRepudiation,
    KeyEncipherment,
    DataEncipherment,
    KeyAgreement,
    KeyCertSign,
    CrlSign,
    EncipherOnly,
    DecipherOnly,
}

impl KeyUsage {
    /// All usages, in the order of the bits.
    pub const ALL: [Self; 9] = [
        Self::DigitalSignature,
        Self::NonRepudiation,
        Self::KeyEncipherment,
        Self::DataEncipherment,
        Self::KeyAgreement,
        Self::KeyCertSign,
        Self::CrlSign,
        Self::EncipherOnly,
        Self::DecipherOnly,
    ];
}

impl fmt::Display for KeyUsage {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::DigitalSignature => "digitalSignature",
            Self::NonRepudiation => "nonRepudiation",
            Self::KeyEncipherment => "keyEncipherment",
            Self::DataEncipherment => "dataEncipherment",
            Self::KeyAgreement => "keyAgreement",
            Self::KeyCertSign => "keyCertSign",
            Self::CrlSign => "cRLSign",
            Self::EncipherOnly => "encipherOnly",
            Self::DecipherOnly => "decipherOnly",
        })
    }
}

/// Joins with commas, for messages.
pub(crate) fn join<T: fmt::Display>(items: impl IntoIterator<Item = T>) -> String {
    items.into_iter().map(|item| item.to_string()).collect::<Vec<_>>().join(", ")
}
