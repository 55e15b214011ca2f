//! Host key policy: the pinned key, or one whose fingerprint the operator accepts.

use crate::endpoint::Endpoint;
use crate::error::RemoteError;
use crate::fingerprint::Fingerprint;
use crate::known_hosts::{HostKey, KnownHosts};
use ssh2::{MethodType, Session};
use std::sync::Arc;

/// Requests a key of the pinned algorithms first, so that a host with several keys does not appear to have changed;
/// Ed25519 first if nothing is pinned.
pub(crate) fn prefer_pinned_algorithms(session: &Session, pinned: &[HostKey]) -> Result<(), ssh2::Error> {
    let mut algorithms = session.supported_algs(MethodType::HostKey)?;
    // A host certificate is not one of the keys that can be pinned.
    algorithms.retain(|algorithm| !algorithm.contains("-cert-"));
    let is_pinned = |signature: &str| pinned.iter().any(|key| signs_as(key.algorithm(), signature));
    // Stable, so libssh2's own order (Ed25519, ECDSA, RSA) stays within each group.
    algorithms.sort_by_key(|algorithm| !is_pinned(algorithm));
    session.method_pref(MethodType::HostKey, &algorithms.join(","))
}

/// Returns true if a key of `algorithm` makes signatures of type `signature` (RFC 8332 for RSA).
fn signs_as(algorithm: &str, signature: &str) -> bool {
    algorithm == signature || (algorithm == "ssh-rsa" && signature.starts_with("rsa-sha2-"))
}

/// Verifies the key that the host offered in the handshake; pins it if its fingerprint is the accepted one. A key that
/// is pinned for another node is rejected, even if it is accepted or pinned here too: both names lead to one machine.
pub(crate) fn verify(
    session: &Session,
    known_hosts: &KnownHosts,
    pattern: &str,
    accept: Option<Fingerprint>,
    at: &Arc<Endpoint>,
) -> Result<(), RemoteError> {
    let offered = session.host_key().and_then(|(blob, _)| HostKey::from_blob(blob)).ok_or_else(|| {
        // LIBSSH2_ERROR_HOSTKEY_INIT: libssh2 itself would not have finished the handshake without one.
        let source = ssh2::Error::new(ssh2::ErrorCode::Session(-10), "the host offers no host key");
        RemoteError::Handshake { at: at.clone(), source }
    })?;
    if let Some(other) = known_hosts.other_node(pattern, &offered) {
        let (at, found, file) = (at.clone(), offered.fingerprint(), known_hosts.path().to_owned());
        return Err(RemoteError::HostKeyOfOther { at, other, found, file });
    }
    let pinned = known_hosts.keys(pattern);
    if pinned.contains(&offered) {
        return Ok(());
    }
    let (found, algorithm) = (offered.fingerprint(), offered.algorithm().to_owned());
    if accept == Some(found) {
        let pinning = known_hosts.pin(pattern, offered);
        return pinning.map(drop).map_err(|source| RemoteError::PinHostKey { at: at.clone(), source });
    }
    let at = at.clone();
    Err(if pinned.is_empty() {
        RemoteError::HostKeyUnknown { at, algorithm, found }
    } else {
        RemoteError::HostKeyChanged { at, pinned: pinned.iter().map(HostKey::fingerprint).collect(), algorithm, found }
    })
}
