//! Unencrypted metadata of key files: public key, encryption, and certificates. Pure.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// The suffix of a certificate's algorithm (OpenSSH, PROTOCOL.certkeys).
const CERTIFICATE: &[u8] = b"-cert-v01@openssh.com";

/// A public key or certificate in wire form (RFC 4253, 6.6).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct PublicKey(Vec<u8>);

/// A file that is named as a key.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct KeyFile {
    pub kind: KeyKind,
    /// Its public key; old formats do not contain it in plaintext.
    pub public: Option<PublicKey>,
}

/// Content of a key file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum KeyKind {
    /// A private key.
    Private,
    /// A private key that needs a passphrase.
    Encrypted,
    /// Only the public key: the private one is elsewhere.
    Public,
}

impl PublicKey {
    /// Wraps a key in wire form.
    pub fn from_blob(blob: &[u8]) -> Self {
        Self(blob.to_vec())
    }

    /// Reads `ALGORITHM BASE64 [COMMENT]`.
    pub fn parse(line: &str) -> Option<Self> {
        let mut fields = line.split_whitespace();
        let algorithm = fields.next()?;
        let blob = STANDARD.decode(fields.next()?).ok()?;
        (string(&blob)?.0 == algorithm.as_bytes()).then_some(Self(blob))
    }

    /// Returns true if the private key is in a hardware token, whose signatures have a different format.
    pub fn is_hardware(&self) -> bool {
        string(&self.0).is_some_and(|(algorithm, _)| algorithm.starts_with(b"sk-"))
    }

    /// Returns true if this is a certificate of an RSA key.
    pub fn is_rsa_certificate(&self) -> bool {
        string(&self.0).is_some_and(|(algorithm, _)| algorithm == b"ssh-rsa-cert-v01@openssh.com")
    }

    /// Returns true if this is the key, or a certificate of the key.
    pub fn stands_for(&self, key: &Self) -> bool {
        self == key || self.certifies(key).unwrap_or(false)
    }

    /// Compares the fields after the certificate's own name and nonce, which are those of its key.
    fn certifies(&self, key: &Self) -> Option<bool> {
        let (name, rest) = string(&self.0)?;
        let (_nonce, certified) = string(rest)?;
        let (algorithm, fields) = string(&key.0)?;
        Some(base_name(name)? == base_name_of_key(algorithm) && certified.starts_with(fields))
    }
}

/// Returns a certificate's algorithm without its suffix.
fn base_name(certificate: &[u8]) -> Option<&[u8]> {
    certificate.strip_suffix(CERTIFICATE)
}

/// Returns a key's algorithm as it is named in certificates: `sk-` keys have a suffix that certificates replace.
fn base_name_of_key(algorithm: &[u8]) -> &[u8] {
    algorithm.strip_suffix(b"@openssh.com").unwrap_or(algorithm)
}

/// Splits off a string preceded by its length (RFC 4251, 5).
fn string(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_first_chunk::<4>()?;
    rest.split_at_checked(u32::from_be_bytes(*length) as usize)
}

/// Parses a key file: OpenSSH's own format (PROTOCOL.key), PEM and PKCS #8, or a public key alone.
pub(crate) fn parse(file: &[u8]) -> KeyFile {
    let text = String::from_utf8_lossy(file);
    if let Some(public) = PublicKey::parse(&text) {
        return KeyFile { kind: KeyKind::Public, public: Some(public) };
    }
    if let Some((_, body)) = text.split_once("-----BEGIN OPENSSH PRIVATE KEY-----") {
        let body: String = body.split("-----").next().unwrap_or_default().split_whitespace().collect();
        let decoded = STANDARD.decode(body).unwrap_or_default();
        return openssh(&decoded).unwrap_or(KeyFile { kind: KeyKind::Private, public: None });
    }
    let is_encrypted = text.contains("BEGIN ENCRYPTED PRIVATE KEY") || text.contains("Proc-Type: 4,ENCRYPTED");
    KeyFile { kind: if is_encrypted { KeyKind::Encrypted } else { KeyKind::Private }, public: None }
}

/// Parses cipher, key derivation and its options, the number of keys, and the public key.
fn openssh(decoded: &[u8]) -> Option<KeyFile> {
    let (cipher, rest) = string(decoded.strip_prefix(b"openssh-key-v1\0")?)?;
    let (_derivation, rest) = string(rest)?;
    let (_options, rest) = string(rest)?;
    let (public, _) = string(rest.get(4..)?)?;
    let kind = if cipher == b"none" { KeyKind::Private } else { KeyKind::Encrypted };
    Some(KeyFile { kind, public: Some(PublicKey(public.to_vec())) })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]

    use super::*;
    use std::fs;
    use std::path::Path;
    use std::process::Command;

    fn keygen(path: &Path, arguments: &[&str], passphrase: &str) {
        let mut ssh_keygen = Command::new("ssh-keygen");
        ssh_keygen.args(["-q", "-N", passphrase, "-f"]).arg(path).args(arguments);
        assert!(ssh_keygen.status().unwrap().success());
    }

    #[track_caller]
    fn check(arguments: &[&str], passphrase: &str) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("key");
        keygen(&path, arguments, passphrase);
        let found = parse(&fs::read(&path).unwrap());
        let expected = if passphrase.is_empty() { KeyKind::Private } else { KeyKind::Encrypted };
        assert_eq!(found.kind, expected, "{arguments:?} {passphrase:?}");
        let public = PublicKey::parse(&fs::read_to_string(directory.path().join("key.pub")).unwrap()).unwrap();
        if !arguments.contains(&"-m") {
            assert_eq!(found.public.as_ref(), Some(&public), "{arguments:?}");
        }
        assert!(!public.is_hardware());
    }

    #[test]
    fn encrypted_keys_of_all_formats_are_recognised() {
        for format in [&["-t", "ed25519"][..], &["-t", "ecdsa", "-m", "PEM"], &["-t", "ecdsa", "-m", "PKCS8"]] {
            check(format, "a passphrase");
            check(format, "");
        }
    }

    #[test]
    fn a_certificate_stands_for_its_key_and_for_no_other() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        let public = |name: &str| PublicKey::parse(&fs::read_to_string(path(name)).unwrap()).unwrap();
        keygen(&path("ca"), &["-t", "ed25519"], "");
        for kind in ["ed25519", "ecdsa", "rsa"] {
            keygen(&path(kind), &["-t", kind], "");
            keygen(&path(&format!("other-{kind}")), &["-t", kind], "");
            let mut sign = Command::new("ssh-keygen");
            sign.args(["-q", "-I", "id", "-n", "root", "-s"]).arg(path("ca")).arg(path(&format!("{kind}.pub")));
            assert!(sign.status().unwrap().success());
            let certificate = public(&format!("{kind}-cert.pub"));
            assert!(certificate.stands_for(&public(&format!("{kind}.pub"))), "{kind}");
            assert!(!certificate.stands_for(&public(&format!("other-{kind}.pub"))), "{kind}");
            assert!(!public(&format!("{kind}.pub")).stands_for(&certificate), "{kind}");
        }
    }

    #[test]
    fn a_public_key_alone_and_a_hardware_key_are_recognised() {
        let blob = b"\0\0\0\x1ask-ssh-ed25519@openssh.com\0\0\0\x01x\0\0\0\x04ssh:";
        let line = format!("sk-ssh-ed25519@openssh.com {} me", STANDARD.encode(blob));
        let found = parse(line.as_bytes());
        assert_eq!(found.kind, KeyKind::Public);
        assert!(found.public.unwrap().is_hardware());
        assert_eq!(parse(b"ssh-ed25519 AAAA").public, None);
        assert_eq!(parse(b""), KeyFile { kind: KeyKind::Private, public: None });
    }
}
