//! Public ed25519 key in OpenSSH's format.

use ssh_key::{Algorithm, PublicKey, public::KeyData};

use crate::KeyId;

/// A public ed25519 key. Its comment takes no part in comparisons.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SshPublicKey(KeyData);

impl SshPublicKey {
    /// Parses a line `ssh-ed25519 BASE64 [COMMENT]`. `None` for anything else, keys of other algorithms too.
    #[must_use]
    pub fn parse(line: &str) -> Option<Self> {
        let key = PublicKey::from_openssh(line.trim()).ok()?;
        Self::of(key.key_data())
    }

    /// Parses a text of one or more such lines.
    #[must_use]
    pub fn parse_all(text: &[u8]) -> Option<Vec<Self>> {
        let text = std::str::from_utf8(text).ok()?;
        let all: Vec<Self> = text.lines().map(Self::parse).collect::<Option<_>>()?;
        (!all.is_empty()).then_some(all)
    }

    /// Returns the key; `None` if its algorithm is another one.
    pub(super) fn of(data: &KeyData) -> Option<Self> {
        (data.algorithm() == Algorithm::Ed25519).then(|| Self(data.clone()))
    }

    /// Returns the id, which is derived from the key's wire form.
    #[must_use]
    pub fn id(&self) -> KeyId {
        let point = self.0.ed25519().map(|key| key.0).unwrap_or_default();
        KeyId::of_spki(&point)
    }

    /// Returns `ssh-ed25519 BASE64`, without a comment.
    #[must_use]
    pub fn line(&self) -> String {
        let key = PublicKey::new(self.0.clone(), "");
        // Fails for no ed25519 key.
        key.to_openssh().map(|line| line.trim_end().to_owned()).unwrap_or_default()
    }

    /// Returns the fingerprint as `ssh-keygen -l` prints it.
    #[must_use]
    pub fn fingerprint(&self) -> String {
        self.0.fingerprint(ssh_key::HashAlg::Sha256).to_string()
    }

    pub(super) const fn data(&self) -> &KeyData {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::SshPublicKey;

    const LINE: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIHsKLqeplhpW+uObz5dvMgjz1OxfM/XXUB+VHtZ6isGN";

    #[test]
    fn a_key_is_itself_whatever_its_comment_says() {
        let key = SshPublicKey::parse(&format!("{LINE} alice@rust\n")).unwrap();
        assert_eq!(key, SshPublicKey::parse(LINE).unwrap());
        assert_eq!(key.line(), LINE);
        assert_eq!(key.id().as_str().len(), 16);
        assert_eq!(key.fingerprint(), "SHA256:PYX4o9UfGwCwG76hFcLAEkmMS0PtIBtV9MNmVgW16Oc");
    }

    #[test]
    fn other_texts_are_no_keys() {
        for text in ["", "ssh-ed25519", "ssh-ed25519 AAAA", "* ssh-ed25519 AAAA"] {
            assert_eq!(SshPublicKey::parse(text), None, "{text}");
        }
        assert_eq!(SshPublicKey::parse_all(b""), None);
        assert_eq!(SshPublicKey::parse_all(format!("{LINE}\n\n").as_bytes()), None);
        assert_eq!(SshPublicKey::parse_all(format!("{LINE} a\n{LINE} b\n").as_bytes()).unwrap().len(), 2);
    }
}
