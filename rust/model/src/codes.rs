//! Codes of the checks: stable, one per check. A new check gets the next number; a number is never reused.

use std::fmt;

use serde::{Serialize, Serializer};

use crate::near;

/// Severity of a diagnostic: only errors prevent further work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The file cannot be used.
    Error,
    /// The file can be used, but probably not as intended.
    Warning,
}

/// Entry of a check in `machinist explain`.
#[derive(Clone, Copy, Debug)]
pub struct CodeInfo {
    /// The code.
    pub code: Code,
    /// The severity of all its findings.
    pub severity: Severity,
    /// The check's subject, in a few words, lower case.
    pub title: &'static str,
    /// The problem, why it matters and what to write instead, with an example. Markdown.
    pub explanation: &'static str,
}

/// A check's code, shown as `M014`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u16)]
pub enum Code {
    /// Wrong type of value.
    WrongType = 1,
    /// Unknown attribute.
    UnknownAttribute = 2,
    /// Required attribute is missing.
    MissingAttribute = 3,
    /// Not an IP address.
    BadAddress = 4,
    /// Not a network in CIDR notation.
    BadNetwork = 5,
    /// Name is not an RFC 1123 label.
    BadName = 6,
    /// Name is used twice.
    DuplicateName = 7,
    /// Address is used twice.
    DuplicateAddress = 8,
    /// Two machines are reached at one SSH address.
    SharedSshAddress = 9,
    /// Virtual IP is a machine's own address.
    VipIsNodeAddress = 10,
    /// Address is outside the node network.
    AddressOutsideNetwork = 11,
    /// Virtual IP is outside the node network in ARP mode.
    VipOutsideNetwork = 12,
    /// Virtual IP is inside the node network in BGP mode.
    VipInsideNetwork = 13,
    /// Even number of etcd voters.
    EvenVoters = 14,
    /// Single etcd voter.
    OneVoter = 15,
    /// No etcd member.
    NoEtcdMember = 16,
    /// Control planes without an API endpoint.
    NoApiEndpoint = 17,
    /// Kubernetes without a control plane.
    NoControlPlane = 18,
    /// BGP without a Router or AS number.
    BgpIncomplete = 19,
    /// Gateway of the virtual IP is not a machine.
    UnknownRouter = 20,
    /// AS number out of range.
    AsNumberOutOfRange = 21,
    /// Networks overlap.
    OverlappingNetworks = 22,
    /// Pod or overlay network has the wrong size.
    PodNetworkSize = 23,
    /// DNS address is outside the service range.
    DnsOutsideServices = 24,
    /// Unknown role.
    UnknownRole = 25,
    /// Role on a machine that machinist does not deploy.
    RoleWithoutNixos = 26,
    /// Unknown provider.
    UnknownProvider = 27,
    /// Unknown orchestrator.
    UnknownOrchestrator = 28,
    /// Unknown overlay backend.
    UnknownBackend = 29,
    /// Unknown mode of the virtual IP.
    UnknownVipMode = 30,
    /// Port out of range.
    PortOutOfRange = 31,
    /// Address families do not fit together.
    AddressFamilies = 32,
    /// K3s initial server is wrong.
    InitialServers = 33,
    /// Unknown application.
    UnknownApp = 34,
    /// Label is not of Kubernetes' syntax.
    BadLabel = 35,
    /// Taint is not of Kubernetes' syntax.
    BadTaint = 36,
    /// Operator's key is not valid.
    BadOperatorKey = 37,
    /// Operator without a key.
    OperatorWithoutKey = 38,
    /// No operators.
    NoOperators = 39,
    /// Unknown system.
    UnknownSystem = 40,
    /// Not a NixOS release.
    BadRelease = 41,
    /// Not a DNS domain.
    BadDomain = 42,
    /// Default gateway is outside the node network.
    GatewayOutsideNetwork = 43,
    /// Nothing to deploy.
    NoMachines = 44,
    /// Attribute without effect.
    WithoutEffect = 45,
    /// Not a network interface's name.
    BadInterface = 46,
    /// Not a path of a disk, or a layout that cannot be.
    BadDisk = 47,
    /// Not an SSH host or user.
    BadSshTarget = 48,
    /// Service network has the wrong size.
    ServiceNetworkSize = 49,
    /// Gate without a valid condition.
    BadGate = 50,
    /// Image is not pinned.
    BadImage = 51,
    /// CoreDNS settings are not valid.
    BadDns = 52,
    /// ACME account or ingress class is not valid.
    BadAcme = 53,
    /// Label or taint is reserved.
    ReservedLabel = 54,
    /// Kubernetes versions of the release are unknown.
    UnknownKubernetes = 55,
    /// Addresses of Services cannot be announced.
    BadServicePool = 56,
    /// Member of etcd beside the servers of k3s.
    EtcdOfK3s = 60,
    /// Machine without a root file system.
    NoRootFileSystem = 61,
    /// Node network is not private.
    PublicNodes = 62,
    /// Server cannot be created at its provider.
    BadServer = 63,
    /// The network of a cloud does not carry this.
    RoutedNetwork = 64,
    /// Control mesh cannot work.
    BadControlMesh = 65,
    /// DNS record cannot be published.
    BadRecord = 70,
    /// File of secrets is not valid.
    BadSecret = 71,
}

/// All checks, in the order of their codes.
pub const CODES: &[CodeInfo] = &[
    error(Code::WrongType, "wrong type of value", include_str!("codes/M001.md")),
    error(Code::UnknownAttribute, "unknown attribute", include_str!("codes/M002.md")),
    error(Code::MissingAttribute, "required attribute is missing", include_str!("codes/M003.md")),
    error(Code::BadAddress, "not an IP address", include_str!("codes/M004.md")),
    error(Code::BadNetwork, "not a network in CIDR notation", include_str!("codes/M005.md")),
    error(Code::BadName, "name is not an RFC 1123 label", include_str!("codes/M006.md")),
    error(Code::DuplicateName, "name is used twice", include_str!("codes/M007.md")),
    error(Code::DuplicateAddress, "address is used twice", include_str!("codes/M008.md")),
    error(Code::SharedSshAddress, "two machines are reached at one SSH address", include_str!("codes/M009.md")),
    error(Code::VipIsNodeAddress, "virtual IP is a machine's own address", include_str!("codes/M010.md")),
    error(Code::AddressOutsideNetwork, "address is outside the node network", include_str!("codes/M011.md")),
    error(Code::VipOutsideNetwork, "virtual IP is outside the node network in ARP mode", include_str!("codes/M012.md")),
    warning(Code::VipInsideNetwork, "virtual IP is inside the node network in BGP mode", include_str!("codes/M013.md")),
    error(Code::EvenVoters, "even number of etcd voters", include_str!("codes/M014.md")),
    warning(Code::OneVoter, "single etcd voter", include_str!("codes/M015.md")),
    error(Code::NoEtcdMember, "no etcd member", include_str!("codes/M016.md")),
    error(Code::NoApiEndpoint, "control planes without an API endpoint", include_str!("codes/M017.md")),
    error(Code::NoControlPlane, "Kubernetes without a control plane", include_str!("codes/M018.md")),
    error(Code::BgpIncomplete, "BGP without a Router or AS number", include_str!("codes/M019.md")),
    error(Code::UnknownRouter, "gateway of the virtual IP is not a machine", include_str!("codes/M020.md")),
    error(Code::AsNumberOutOfRange, "AS number out of range", include_str!("codes/M021.md")),
    error(Code::OverlappingNetworks, "networks overlap", include_str!("codes/M022.md")),
    error(Code::PodNetworkSize, "pod or overlay network has the wrong size", include_str!("codes/M023.md")),
    error(Code::DnsOutsideServices, "DNS address is outside the service range", include_str!("codes/M024.md")),
    error(Code::UnknownRole, "unknown role", include_str!("codes/M025.md")),
    error(Code::RoleWithoutNixos, "role on a machine that machinist does not deploy", include_str!("codes/M026.md")),
    error(Code::UnknownProvider, "unknown provider", include_str!("codes/M027.md")),
    error(Code::UnknownOrchestrator, "unknown orchestrator", include_str!("codes/M028.md")),
    error(Code::UnknownBackend, "unknown overlay backend", include_str!("codes/M029.md")),
    error(Code::UnknownVipMode, "unknown mode of the virtual IP", include_str!("codes/M030.md")),
    error(Code::PortOutOfRange, "port out of range", include_str!("codes/M031.md")),
    error(Code::AddressFamilies, "address families do not fit together", include_str!("codes/M032.md")),
    error(Code::InitialServers, "k3s initial server is wrong", include_str!("codes/M033.md")),
    error(Code::UnknownApp, "unknown application", include_str!("codes/M034.md")),
    error(Code::BadLabel, "label is not of Kubernetes' syntax", include_str!("codes/M035.md")),
    error(Code::BadTaint, "taint is not of Kubernetes' syntax", include_str!("codes/M036.md")),
    error(Code::BadOperatorKey, "operator's key is not valid", include_str!("codes/M037.md")),
    error(Code::OperatorWithoutKey, "operator without a key", include_str!("codes/M038.md")),
    warning(Code::NoOperators, "no operators", include_str!("codes/M039.md")),
    error(Code::UnknownSystem, "unknown system", include_str!("codes/M040.md")),
    error(Code::BadRelease, "not a NixOS release", include_str!("codes/M041.md")),
    error(Code::BadDomain, "not a DNS domain", include_str!("codes/M042.md")),
    error(Code::GatewayOutsideNetwork, "default gateway is outside the node network", include_str!("codes/M043.md")),
    warning(Code::NoMachines, "nothing to deploy", include_str!("codes/M044.md")),
    warning(Code::WithoutEffect, "attribute without effect", include_str!("codes/M045.md")),
    error(Code::BadInterface, "not a network interface's name", include_str!("codes/M046.md")),
    error(Code::BadDisk, "unusable disk", include_str!("codes/M047.md")),
    error(Code::BadSshTarget, "not an SSH host or user", include_str!("codes/M048.md")),
    error(Code::ServiceNetworkSize, "service network has the wrong size", include_str!("codes/M049.md")),
    error(Code::BadGate, "gate without a valid condition", include_str!("codes/M050.md")),
    error(Code::BadImage, "image is not pinned", include_str!("codes/M051.md")),
    error(Code::BadDns, "CoreDNS settings are not valid", include_str!("codes/M052.md")),
    error(Code::BadAcme, "ACME account or ingress class is not valid", include_str!("codes/M053.md")),
    error(Code::ReservedLabel, "label or taint is reserved", include_str!("codes/M054.md")),
    error(Code::UnknownKubernetes, "Kubernetes versions of the release are unknown", include_str!("codes/M055.md")),
    error(Code::BadServicePool, "addresses of Services cannot be announced", include_str!("codes/M056.md")),
    error(Code::EtcdOfK3s, "member of etcd beside the servers of k3s", include_str!("codes/M060.md")),
    warning(Code::NoRootFileSystem, "machine without a root file system", include_str!("codes/M061.md")),
    error(Code::PublicNodes, "node network is not private", include_str!("codes/M062.md")),
    error(Code::BadServer, "server cannot be created", include_str!("codes/M063.md")),
    error(Code::RoutedNetwork, "network of a cloud does not carry this", include_str!("codes/M064.md")),
    error(Code::BadControlMesh, "control mesh cannot work", include_str!("codes/M065.md")),
    error(Code::BadRecord, "DNS record cannot be published", include_str!("codes/M070.md")),
    error(Code::BadSecret, "file of secrets is not valid", include_str!("codes/M071.md")),
];

const fn error(code: Code, title: &'static str, explanation: &'static str) -> CodeInfo {
    CodeInfo { code, severity: Severity::Error, title, explanation }
}

const fn warning(code: Code, title: &'static str, explanation: &'static str) -> CodeInfo {
    CodeInfo { code, severity: Severity::Warning, title, explanation }
}

impl Code {
    /// Returns the check's entry in the table.
    #[must_use]
    pub const fn info(self) -> &'static CodeInfo {
        // The table is sorted and complete, which a test checks. The numbers have gaps.
        let mut position = 0;
        while position + 1 < CODES.len() && (CODES[position].code as u16) < self as u16 {
            position += 1;
        }
        &CODES[position]
    }

    /// Returns true if findings of this check prevent further work.
    #[must_use]
    pub const fn is_error(self) -> bool {
        matches!(self.info().severity, Severity::Error)
    }
}

impl fmt::Display for Code {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "M{:03}", *self as u16)
    }
}

impl Serialize for Code {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// Returns all codes in their written form: `M001`, `M002` and so on.
pub fn codes() -> impl Iterator<Item = String> {
    CODES.iter().map(|info| info.code.to_string())
}

/// Returns the check of a code, written in upper or lower case, with or without leading zeros.
#[must_use]
pub fn explain(code: &str) -> Option<&'static CodeInfo> {
    let number: usize = code.trim().strip_prefix(['M', 'm'])?.parse().ok()?;
    CODES.iter().find(|info| info.code as usize == number)
}

/// Returns the known code that is nearest to a misspelt one.
#[must_use]
pub fn nearest(code: &str) -> Option<String> {
    let codes: Vec<String> = codes().collect();
    near::nearest(code, codes.iter().map(String::as_str)).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::{CODES, Code, explain};

    #[test]
    fn the_table_is_in_the_order_of_the_codes() {
        assert!(CODES.is_sorted_by_key(|info| info.code as u16));
        for info in CODES {
            assert_eq!(info.code.info().title, info.title, "{}", info.code);
        }
    }

    #[test]
    fn a_code_is_explained_however_it_is_written() {
        for text in ["M014", "m14", " M14 "] {
            assert_eq!(explain(text).map(|info| info.code), Some(Code::EvenVoters), "{text}");
        }
        for text in ["", "M", "M000", "M999", "14", "Mä"] {
            assert!(explain(text).is_none(), "{text}");
        }
    }

    #[test]
    fn every_explanation_shows_what_to_write() {
        for info in CODES {
            assert!(info.explanation.contains("\n    "), "{} has no example", info.code);
        }
    }
}
