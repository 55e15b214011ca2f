//! Keyring: decryption of the private keys in `certs/`.

use std::{path::PathBuf, sync::Arc};

use machinist_secrets::{Identities, IdentityError, IdentityPlaces, Prompt};

use crate::failure::{Failure, Kind};

/// Access to private keys: the operator's identity, and a prompt to unlock it.
#[derive(Clone)]
pub struct Keyring {
    /// Path of the age identity or SSH private key; if absent, the default locations of identities.
    pub identity: Option<PathBuf>,
    /// Prompt for passphrases and plugin questions.
    pub prompt: Arc<dyn Prompt>,
}

impl Keyring {
    /// Loads the operator's identity. Prompts for a passphrase, and for the input of a plugin.
    ///
    /// # Errors
    /// No identity was found, or it cannot be unlocked.
    pub fn open(&self) -> Result<Identities, IdentityError> {
        match &self.identity {
            Some(path) => Identities::load(std::slice::from_ref(path), &self.prompt),
            None => Identities::find(&IdentityPlaces::from_env().search_order(), &self.prompt),
        }
    }

    /// Loads the operator's identity, with the error as a failure.
    ///
    /// # Errors
    /// No identity was found, or it cannot be unlocked.
    pub fn unlock(&self) -> Result<Identities, Failure> {
        self.open().map_err(|error| Failure::from_error(Kind::Failed, &error).maybe_hint(error.hint()))
    }
}
