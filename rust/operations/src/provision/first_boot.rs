//! Host keys of servers until NixOS is installed: made with the PKI, given to the server by cloud-init, so that the first
//! connection is verified.

use std::{cell::OnceCell, collections::BTreeMap, sync::Mutex};

use machinist_model::{Cluster, NodeName};
use machinist_pki::host_key::{self, HostKeyError, System};
use machinist_providers::{CloudError, cloud::Boot};
use machinist_remote::HostKey;
use machinist_secrets::Recipients;
use zeroize::Zeroizing;

use crate::{
    context::Context,
    failure::{Failure, Kind},
};

/// Keys of servers.
pub struct Keys {
    context: Context,
    cluster: Cluster,
    recipients: Recipients,
    private: Mutex<BTreeMap<NodeName, Zeroizing<Vec<u8>>>>,
}

impl Keys {
    /// Opens the keys of a cluster.
    ///
    /// # Errors
    /// An operator has no key to encrypt to.
    pub fn new(context: &Context, cluster: &Cluster) -> Result<Self, Failure> {
        let recipients = Recipients::from_operators(&cluster.operators)
            .map_err(|error| Failure::from_error(Kind::Input, &error).maybe_hint(error.hint()))?;
        Ok(Self { context: context.clone(), cluster: cluster.clone(), recipients, private: Mutex::default() })
    }

    /// Makes new keys for servers that will be created: whatever ran on an earlier server could read its key.
    ///
    /// # Errors
    /// A key cannot be made, or the operator's identity does not decrypt it.
    pub fn renew<'a>(&self, nodes: impl Iterator<Item = &'a NodeName>) -> Result<(), Failure> {
        let certs = self.context.project.certs();
        let identities = OnceCell::new();
        for node in nodes {
            host_key::remove_first_boot(&certs, node).map_err(|error| failed(&error))?;
            host_key::ensure(&certs, node, System::FirstBoot, &self.recipients).map_err(|error| failed(&error))?;
            if identities.get().is_none() {
                let _ = identities.set(self.context.keyring.unlock()?);
            }
            let Some(identities) = identities.get() else { continue };
            let private = host_key::open(&certs, node, System::FirstBoot, identities, &self.cluster.operators)
                .map_err(|error| failed(&error))?
                .ok_or_else(|| Failure::new(Kind::Failed, format!("{node} has no key in certs/")))?;
            self.lock().insert(node.clone(), private);
        }
        Ok(())
    }

    /// Returns the public key of a server's first system, if one was made.
    ///
    /// # Errors
    /// The file is damaged.
    pub fn public(&self, node: &NodeName) -> Result<Option<String>, Failure> {
        host_key::public(&self.context.project.certs(), node, System::FirstBoot).map_err(|error| failed(&error))
    }

    /// Returns the configuration of cloud-init that gives a server its host key. Whatever runs on the server can read it
    /// from the metadata, so the installation replaces the key.
    ///
    /// # Errors
    /// The key was not prepared.
    pub fn boot(&self, node: &NodeName) -> Result<Boot, CloudError> {
        let shape =
            |reason: &str| CloudError::Shape { request: format!("the key of {node}"), reason: reason.to_owned() };
        let public = self.public(node).ok().flatten().ok_or_else(|| shape("it has no public half"))?;
        let private = self.lock();
        let private = private.get(node).ok_or_else(|| shape("it was not decrypted"))?;
        let private = std::str::from_utf8(private).map_err(|_| shape("it is not text"))?;
        let first_key = digest(&public).ok_or_else(|| shape("its public half is not readable"))?;
        Ok(Boot { user_data: cloud_config(node, private, &public), first_key })
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<NodeName, Zeroizing<Vec<u8>>>> {
        self.private.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

/// Returns the digest of a public key, as a label: letters and digits.
pub fn digest(public: &str) -> Option<String> {
    let fingerprint = HostKey::from_openssh(public)?.fingerprint().to_string();
    let value = fingerprint.rsplit(':').next()?;
    Some(value.chars().filter(char::is_ascii_alphanumeric).take(40).collect())
}

fn failed(error: &HostKeyError) -> Failure {
    Failure::from_error(Kind::Failed, error).maybe_hint(error.hint())
}

/// Writes the `#cloud-config` (cloud-init, modules "SSH" and "Disable root").
fn cloud_config(node: &NodeName, private: &str, public: &str) -> String {
    let private: String = private.lines().map(|line| format!("    {line}\n")).collect();
    let public = public.trim_end();
    format!(
        "#cloud-config\n\
         # First boot of {node}. Anyone on the server can read this: the key is only that of this system.\n\
         ssh_deletekeys: true\n\
         ssh_genkeytypes: []\n\
         ssh_keys:\n\
         \x20 ed25519_private: |\n\
         {private}\
         \x20 ed25519_public: {public}\n\
         disable_root: false\n\
         ssh_pwauth: false\n"
    )
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use expect_test::expect;
    use machinist_model::NodeName;

    use super::cloud_config;

    #[test]
    fn the_first_configuration_holds_the_key_of_the_first_system() {
        let text =
            cloud_config(&NodeName::parse("cp1").unwrap(), "-----BEGIN\nAAAA\n-----END\n", "ssh-ed25519 AA cp1\n");
        expect![[r"
            #cloud-config
            # First boot of cp1. Anyone on the server can read this: the key is only that of this system.
            ssh_deletekeys: true
            ssh_genkeytypes: []
            ssh_keys:
              ed25519_private: |
                -----BEGIN
                AAAA
                -----END
              ed25519_public: ssh-ed25519 AA cp1
            disable_root: false
            ssh_pwauth: false
        "]]
        .assert_eq(&text);
    }
}
