//! Keyring: the operator's identity, which opens the private keys of `certs/`.

use std::{path::PathBuf, sync::Arc};

use machinist_secrets::{Identities, IdentityError, IdentityPlaces, Prompt};

use crate::failure::{Failure, Kind};

/// The operator's identity, which opens private keys, and the prompt for its passphrase.
#[derive(Clone)]
pub struct Keyring {
    /// File of the age identity or SSH private key; else the places where identities are by default.
    pub identity: Option<PathBuf>,
    /// Answers for passphrases and plugins.
    pub prompt: Arc<dyn Prompt>,
}

impl Keyring {
    /// Loads the operator's identity. Prompts for a passphrase, and for what a plugin needs.
    ///
    /// # Errors
    /// There is no identity, or it cannot be opened.
    pub fn open(&self) -> Result<Identities, IdentityError> {
        match &self.identity {
            Some(path) => Identities::load(std::slice::from_ref(path), &self.prompt),
            None => Identities::find(&IdentityPlaces::from_env().search_order(), &self.prompt),
        }
    }

    /// The same, with the failure of an operation.
    ///
    /// # Errors
    /// There is no identity, or it cannot be opened.
    pub fn unlock(&self) -> Result<Identities, Failure> {
        self.open().map_err(|error| Failure::from_error(Kind::Failed, &error).maybe_hint(error.hint()))
    }
}
