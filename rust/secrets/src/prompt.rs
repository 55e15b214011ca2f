//! Prompts while a file is decrypted: passphrases of SSH keys, and questions of age's plugins.

use std::{path::Path, sync::Arc};

use age::secrecy::SecretString;
use zeroize::Zeroizing;

/// A prompt for the user. Each answer is `None` if no one can answer.
pub trait Prompt: Send + Sync {
    /// Returns the passphrase of a private key's file.
    fn passphrase(&self, file: &Path) -> Option<Zeroizing<String>>;

    /// Shows a plugin's message, such as `touch your key`. The text is the plugin's own.
    fn message(&self, text: &str);

    /// Offers a plugin's two answers; true means `yes`.
    fn confirm(&self, question: &str, yes: &str, no: Option<&str>) -> Option<bool>;

    /// Returns the answer to a plugin's question; a secret answer is not echoed.
    fn input(&self, question: &str, is_secret: bool) -> Option<Zeroizing<String>>;
}

/// A prompt without a user.
struct NoPrompt;

impl Prompt for NoPrompt {
    fn passphrase(&self, _: &Path) -> Option<Zeroizing<String>> {
        None
    }

    fn message(&self, _: &str) {}

    fn confirm(&self, _: &str, _: &str, _: Option<&str>) -> Option<bool> {
        None
    }

    fn input(&self, _: &str, _: bool) -> Option<Zeroizing<String>> {
        None
    }
}

/// Returns a prompt that answers no question.
#[must_use]
pub fn no_prompt() -> Arc<dyn Prompt> {
    Arc::new(NoPrompt)
}

/// Adapter of a prompt to age's plugins.
#[derive(Clone)]
pub(crate) struct Callbacks(pub(crate) Arc<dyn Prompt>);

impl age::Callbacks for Callbacks {
    fn display_message(&self, message: &str) {
        self.0.message(message);
    }

    fn confirm(&self, message: &str, yes_string: &str, no_string: Option<&str>) -> Option<bool> {
        self.0.confirm(message, yes_string, no_string)
    }

    fn request_public_string(&self, description: &str) -> Option<String> {
        self.0.input(description, false).map(|text| text.as_str().to_owned())
    }

    fn request_passphrase(&self, description: &str) -> Option<SecretString> {
        self.0.input(description, true).map(|text| SecretString::from(text.as_str()))
    }
}
