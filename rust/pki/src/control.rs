//! Keys of a control mesh: one Ed25519 pair for each node, in the forms of tinc and of WireGuard. Pure.
//!
//! A pair is created, encrypted, named and delivered like every other shared one. WireGuard's Curve25519 pair is the
//! birational image of it, as in libsodium's `crypto_sign_ed25519_pk_to_curve25519`, so the public half that is in
//! `certs/` tells the peers' key without the private one. The mesh uses a pair for nothing else.
//!
//! While the pairs are rotated, the nodes know two keys of each node: tinc's name of a node contains the key's id, so
//! both have a name of their own.

use base64::{Engine, engine::general_purpose::STANDARD};
use curve25519_dalek::edwards::CompressedEdwardsY;
use machinist_model::{ControlBackend, NodeName};
use machinist_secrets::Zeroizing;
use sha2::{Digest, Sha512};
use x509_parser::pem::Pem;

use crate::{KeyId, KeyUse};

/// `SubjectPublicKeyInfo` of an Ed25519 key in DER, up to the key itself (RFC 8410, 4).
const SPKI: [u8; 12] = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];
/// The `privateKey` of a PKCS#8 Ed25519 key, up to the seed (RFC 8410, 7): two octet strings.
const SEED: [u8; 4] = [0x04, 0x22, 0x04, 0x20];

/// A public key of a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicKey {
    /// Its id.
    pub id: KeyId,
    /// The key in the text form of the backend.
    pub text: String,
}

/// Returns the name of a node's pair in the table, in `certs/` and in facts. Another backend has other pairs.
#[must_use]
pub fn pair_name(backend: ControlBackend, node: &NodeName) -> String {
    format!("control-{}-{node}", backend.as_str())
}

/// Returns the keys of a PEM text of public halves, in their order; `None` if one is not an Ed25519 key.
#[must_use]
pub fn public_keys(pem: &[u8], backend: ControlBackend) -> Option<Vec<PublicKey>> {
    let key = |block: Result<Pem, _>| {
        let der = block.ok()?.contents;
        let raw: [u8; 32] = der.strip_prefix(&SPKI)?.try_into().ok()?;
        let text = match backend {
            ControlBackend::Tinc => little_base64(&raw),
            ControlBackend::Wireguard => STANDARD.encode(montgomery(raw)?),
        };
        Some(PublicKey { id: KeyId::of_spki(&der), text })
    };
    Pem::iter_from_buffer(pem).map(key).collect()
}

/// Returns the file with the private half that a node gets; `None` if the PEM text is not an Ed25519 key.
pub(crate) fn private_file(pem: &[u8], used_as: KeyUse) -> Option<Zeroizing<Vec<u8>>> {
    let seed = seed(pem)?;
    match used_as {
        KeyUse::Tinc => tinc_private(&seed),
        KeyUse::Wireguard => {
            let mut text = Zeroizing::new(STANDARD.encode(scalar(&expand(&seed))).into_bytes());
            text.push(b'\n');
            Some(text)
        }
        KeyUse::Encryption | KeyUse::KeyPair | KeyUse::Password | KeyUse::Token => None,
    }
}

fn seed(pem: &[u8]) -> Option<Zeroizing<[u8; 32]>> {
    let der = Zeroizing::new(Pem::iter_from_buffer(pem).next()?.ok()?.contents);
    let start = der.windows(SEED.len()).position(|window| window == SEED)? + SEED.len();
    der.get(start..start + 32)?.try_into().ok().map(Zeroizing::new)
}

/// The private key that is derived from a seed (RFC 8032, 5.1.5): a scalar, and the prefix of signatures.
fn expand(seed: &[u8; 32]) -> Zeroizing<[u8; 64]> {
    let mut expanded = Zeroizing::new(<[u8; 64]>::from(Sha512::digest(seed)));
    expanded[0] &= 0b1111_1000;
    expanded[31] &= 0b0011_1111;
    expanded[31] |= 0b0100_0000;
    expanded
}

fn scalar(expanded: &[u8; 64]) -> &[u8] {
    &expanded[..32]
}

fn montgomery(public: [u8; 32]) -> Option<[u8; 32]> {
    Some(CompressedEdwardsY(public).decompress()?.to_montgomery().to_bytes())
}

/// tinc's file has the expanded private key and the public one (`src/ed25519/ecdsa.c`), in lines of 64 characters.
fn tinc_private(seed: &[u8; 32]) -> Option<Zeroizing<Vec<u8>>> {
    let expanded = expand(seed);
    let mut bits = [0_u8; 32];
    bits.copy_from_slice(scalar(&expanded));
    let scalar = Zeroizing::new(bits);
    let public = curve25519_dalek::EdwardsPoint::mul_base_clamped(*scalar).compress().to_bytes();
    // Reserved at once: a growing buffer would leave copies of the key behind.
    let mut text = Zeroizing::new(Vec::with_capacity(256));
    text.extend_from_slice(b"-----BEGIN ED25519 PRIVATE KEY-----\n");
    let all = Zeroizing::new([expanded.as_slice(), &public].concat());
    for line in all.chunks(48) {
        text.extend_from_slice(Zeroizing::new(little_base64(line)).as_bytes());
        text.push(b'\n');
    }
    text.extend_from_slice(b"-----END ED25519 PRIVATE KEY-----\n");
    Some(text)
}

/// Returns tinc's base64: the first octet of three has the lowest bits, and there is no padding (`src/utils.c`).
fn little_base64(octets: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(octets.len().div_ceil(3) * 4);
    for group in octets.chunks(3) {
        let bits = group.iter().rev().fold(0_u32, |bits, octet| bits << 8 | u32::from(*octet));
        for place in 0..=group.len() {
            let digit = (bits >> (6 * place)) & 0x3f;
            text.push(char::from(DIGITS[digit as usize]));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use machinist_model::ControlBackend;

    use super::{little_base64, private_file, public_keys};
    use crate::{KeyAlgorithm, KeyUse, PrivateKey};

    /// The first test vector of RFC 8032, 7.1, as PKCS#8 and `SubjectPublicKeyInfo`.
    const PRIVATE: &str = "MC4CAQAwBQYDK2VwBCIEIJ1hsZ3v/VpguoRK9JLsLMREScVpezJpGXA7rAMcrn9g";
    const PUBLIC: &str = "-----BEGIN PUBLIC KEY-----
MCowBQYDK2VwAyEA11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=
-----END PUBLIC KEY-----
";

    /// No file of this project looks like one with a private key, for which tests search the store.
    fn pem(label: &str, body: &str) -> String {
        format!("-----BEGIN {label}-----\n{body}\n-----END {label}-----\n")
    }

    fn public(backend: ControlBackend) -> String {
        public_keys(PUBLIC.as_bytes(), backend).unwrap().remove(0).text
    }

    fn private(used_as: KeyUse) -> String {
        String::from_utf8(private_file(pem("PRIVATE KEY", PRIVATE).as_bytes(), used_as).unwrap().to_vec()).unwrap()
    }

    #[test]
    fn the_digits_are_tinc_s() {
        assert_eq!(little_base64(&[0]), "AA");
        assert_eq!(little_base64(&[1]), "BA");
        assert_eq!(little_base64(&[0, 1]), "AEA");
        assert_eq!(little_base64(&[1, 2, 3]), "BIwA");
        assert_eq!(little_base64(&[0xff; 32]).len(), 43);
    }

    /// OpenSSL derives this public key from this private one, and so does `wg pubkey`.
    #[test]
    fn a_wireguard_key_is_the_image_of_the_pair() {
        assert_eq!(private(KeyUse::Wireguard), "MHyDhk8oM8tCei7xwAoBPP3/J2jZgMCjpSDwBpBN6U8=\n");
        assert_eq!(public(ControlBackend::Wireguard), "2F4H7CKwrYgVN8L0TWYtGhQ8+DDFespDBdhcepD2ti4=");
    }

    /// `tinc fsck` of tinc 1.1~pre18 finds that these two belong together.
    #[test]
    fn a_tinc_key_is_the_expanded_one_and_its_public_half() {
        let body = "ww3gG+EKzssQ65S8ArQA80//ngW2AC8olCC8GAZTp/0mPpg/osAdqdnhEeOVCBFI\n\
            Xd7R6MA8PaZ9j6okHC+HPetWYGggxqwtVvk/TnMZHojDhL38ab6Il8qAag29HElG";
        assert_eq!(private(KeyUse::Tinc), pem("ED25519 PRIVATE KEY", body));
        assert_eq!(public(ControlBackend::Tinc), "XrFmBIYsKcb1L5/0JT2B64Q4yNv2mOSJvKgGod/BRpB");
    }

    #[test]
    fn another_kind_of_key_is_refused() {
        let other = PrivateKey::generate(KeyAlgorithm::EcdsaP256).unwrap();
        assert!(public_keys(other.public_pem().as_bytes(), ControlBackend::Tinc).is_none());
        assert!(private_file(other.to_pem().as_bytes(), KeyUse::Tinc).is_none());
        assert!(
            private_file(pem("PRIVATE KEY", PRIVATE).as_bytes(), KeyUse::KeyPair).is_none(),
            "it has no other form"
        );
    }
}
