//! What is asked of a person while a file is opened: passphrases of SSH keys, and what age's plugins want to know.

use std::{path::Path, sync::Arc};

use age::secrecy::SecretString;
use zeroize::Zeroizing;

/// Asks a person. Each answer is `None` where there is no one to ask.
pub trait Prompt: Send + Sync {
    /// Returns the passphrase of a private key's file.
    fn passphrase(&self, file: &Path) -> Option<Zeroizing<String>>;

    /// Shows what a plugin says, such as `touch your key`. The text is the plugin's own.
    fn message(&self, text: &str);

    /// Lets a person choose between two answers of a plugin; true is `yes`.
    fn confirm(&self, question: &str, yes: &str, no: Option<&str>) -> Option<bool>;

    /// Returns what a plugin asks for, and whether it is shown while it is typed.
    fn input(&self, question: &str, is_secret: bool) -> Option<Zeroizing<String>>;
}

/// No one is there.
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

/// Returns a prompt that answers nothing.
#[must_use]
pub fn no_prompt() -> Arc<dyn Prompt> {
    Arc::new(NoPrompt)
}

/// A prompt as age's plugins use it.
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
