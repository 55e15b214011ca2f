//! Encryption of Kubernetes' Secrets in etcd: the keys of the API servers, their order, and the configuration file.
//! Pure.
//!
//! The key is a token derived from a key pair ([`KeyUse::Encryption`](crate::KeyUse::Encryption)), so it is created,
//! encrypted to the operators, named and delivered like every other. `shared/secrets-encryption.pub` lists the keys,
//! with the encrypting one first; the others only decrypt. Unencrypted text also has a place in the list, under the
//! name of [`PLAIN_TEXT`]: a cluster whose Secrets are not encrypted yet rotates from it to its first key, by the same
//! stages as from one key to the next.

use std::path::PathBuf;

use base64::{Engine, engine::general_purpose::STANDARD};
use machinist_secrets::Zeroizing;
use sha2::{Digest, Sha256};

use crate::{Files, KeyId, Tree};

/// The key pair's name in the table, in `certs/` and in facts.
pub const SECRETS_ENCRYPTION: &str = "secrets-encryption";

/// The public key that represents "not encrypted": an Ed25519 key of 32 zero octets, whose private half no one has.
pub const PLAIN_TEXT: &str = "-----BEGIN PUBLIC KEY-----
MCowBQYDK2VwAyEAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=
-----END PUBLIC KEY-----
";

/// An entry of the list.
pub enum Provider {
    /// Secrets in the clear.
    PlainText,
    /// The id of a key and its private half, PEM.
    Key(KeyId, Zeroizing<Vec<u8>>),
}

const HEAD: &str = "{\"apiVersion\":\"apiserver.config.k8s.io/v1\",\"kind\":\"EncryptionConfiguration\",\"resources\":[{\"resources\":[\"secrets\"],\"providers\":[";
const TAIL: &str = "]}]}";
/// Upper limit of one provider's length, in octets.
const LONGEST: usize = 160;

impl Provider {
    const fn is_key(&self) -> bool {
        matches!(self, Self::Key(..))
    }
}

/// Returns true if the id is that of [`PLAIN_TEXT`].
#[must_use]
pub fn is_plain_text(id: &KeyId) -> bool {
    KeyId::of_public_pem(PLAIN_TEXT.as_bytes()).is_some_and(|ids| ids.contains(id))
}

/// Returns the id of a list of keys. Another order has another id, so that each stage of a rotation is a separate file
/// on the nodes, and a generation that is rolled back finds the one that it was built for.
#[must_use]
pub fn list_id(ids: &[KeyId]) -> KeyId {
    KeyId::of_spki(ids.iter().map(KeyId::as_str).collect::<Vec<_>>().join(",").as_bytes())
}

/// Returns the files that may hold a private key of the list: the current, the next and the previous one.
#[must_use]
pub fn key_files(files: &Files) -> [PathBuf; 3] {
    let beside = |stage: &str| files.key.with_file_name(format!("{SECRETS_ENCRYPTION}.{stage}.key.age"));
    [files.key.clone(), beside("next"), beside("previous")]
}

/// Returns the file that holds the private half of the key.
#[must_use]
pub fn key_file(tree: &Tree, files: &Files, id: &KeyId) -> Option<PathBuf> {
    key_files(files).into_iter().find(|path| tree.key(path).flatten() == Some(id))
}

/// Returns the keys of the list whose private half is missing.
#[must_use]
pub fn missing<'a>(tree: &'a Tree, files: &Files) -> Vec<&'a KeyId> {
    let listed = tree.public_keys(&files.certificate).iter();
    listed.filter(|id| !is_plain_text(id) && key_file(tree, files, id).is_none()).collect()
}

/// Returns the text for `kube-apiserver --encryption-provider-config`: the first provider encrypts, all of them
/// decrypt.
///
/// `secretbox` (XSalsa20 and Poly1305) uses keys of 32 octets and, unlike `aesgcm`, has no limit on writes per key
/// (kubernetes.io, "Encrypting Confidential Data at Rest").
#[must_use]
pub fn configuration(providers: &[Provider]) -> Zeroizing<Vec<u8>> {
    // Reserved at once: a growing buffer would leave copies of the keys behind.
    let mut text = Zeroizing::new(Vec::with_capacity(HEAD.len() + TAIL.len() + providers.len() * LONGEST));
    text.extend_from_slice(HEAD.as_bytes());
    for (place, group) in providers.chunk_by(|left, right| left.is_key() && right.is_key()).enumerate() {
        text.extend_from_slice(if place > 0 { b"," } else { b"" });
        push_provider(&mut text, group);
    }
    text.extend_from_slice(TAIL.as_bytes());
    text
}

/// Appends one provider: plain text, or `secretbox` with its keys.
fn push_provider(text: &mut Vec<u8>, group: &[Provider]) {
    let mut separator = "{\"secretbox\":{\"keys\":[";
    for provider in group {
        let Provider::Key(id, pem) = provider else {
            text.extend_from_slice(b"{\"identity\":{}}");
            return;
        };
        let secret = secret(pem);
        for part in [separator, "{\"name\":\"", id.as_str(), "\",\"secret\":\"", &secret, "\"}"] {
            text.extend_from_slice(part.as_bytes());
        }
        separator = ",";
    }
    text.extend_from_slice(b"]}}");
}

/// Returns the 32 octets derived from a private key, in base64.
fn secret(pem: &[u8]) -> Zeroizing<String> {
    let digest = Zeroizing::new(<[u8; 32]>::from(Sha256::digest(pem)));
    Zeroizing::new(STANDARD.encode(digest.as_slice()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use expect_test::expect;
    use machinist_secrets::Zeroizing;

    use super::{PLAIN_TEXT, Provider, configuration, is_plain_text, list_id};
    use crate::{KeyAlgorithm, KeyId, PrivateKey};

    fn key(digit: &str) -> Provider {
        Provider::Key(KeyId::parse(&digit.repeat(16)).unwrap(), Zeroizing::new(digit.as_bytes().to_vec()))
    }

    fn text(providers: &[Provider]) -> String {
        String::from_utf8(configuration(providers).to_vec()).unwrap()
    }

    #[test]
    fn the_first_provider_encrypts_and_the_others_decrypt() {
        expect![[r#"{"apiVersion":"apiserver.config.k8s.io/v1","kind":"EncryptionConfiguration","resources":[{"resources":["secrets"],"providers":[{"secretbox":{"keys":[{"name":"aaaaaaaaaaaaaaaa","secret":"ypeBEsobvcr6wjGzmiPcTaeG7/gUfE5yuYB3ha/uSLs="},{"name":"bbbbbbbbbbbbbbbb","secret":"PiPoFgA5WUoziU9lZOGxNIu9egCI1CxKy3PurtWcAJ0="}]}}]}]}"#]]
        .assert_eq(&text(&[key("a"), key("b")]));
    }

    #[test]
    fn the_first_key_of_a_cluster_decrypts_before_it_encrypts() {
        let order = |providers: &[Provider]| {
            let text = text(providers);
            (text.find("identity").unwrap(), text.find("secretbox").unwrap())
        };
        let (plain, encrypted) = order(&[Provider::PlainText, key("a")]);
        assert!(plain < encrypted, "Secrets are still written as they are, and those of other API servers are read");
        let (plain, encrypted) = order(&[key("a"), Provider::PlainText]);
        assert!(encrypted < plain);
        assert!(!text(&[key("a")]).contains("identity"), "at the end nothing is taken that is not encrypted");
    }

    #[test]
    fn each_order_of_keys_has_its_own_name_and_plain_text_is_no_one_s_key() {
        let plain = KeyId::of_public_pem(PLAIN_TEXT.as_bytes()).unwrap().remove(0);
        let new = PrivateKey::generate(KeyAlgorithm::EcdsaP256).unwrap().id();
        assert!(is_plain_text(&plain) && !is_plain_text(&new));
        let names =
            [vec![plain.clone(), new.clone()], vec![new.clone(), plain], vec![new.clone()]].map(|ids| list_id(&ids));
        let distinct: std::collections::BTreeSet<&KeyId> = names.iter().collect();
        assert_eq!(distinct.len(), 3);
    }
}
