//! Prompts on the terminal to unlock a private key: passphrases, and questions of age's plugins.

use std::{
    io::{self, IsTerminal as _},
    path::Path,
};

use machinist_secrets::{Prompt, Zeroizing};
use machinist_text::one_line;

use crate::{consent, ui::Ui};

/// Controlling terminal of the command.
pub struct Terminal(pub Ui);

impl Prompt for Terminal {
    fn passphrase(&self, file: &Path) -> Option<Zeroizing<String>> {
        self.input(&format!("passphrase for {}", file.display()), true)
    }

    fn message(&self, text: &str) {
        self.0.story(text);
    }

    fn confirm(&self, question: &str, yes: &str, no: Option<&str>) -> Option<bool> {
        let question = format!("{question} [y: {yes}, n: {}]", no.unwrap_or("cancel"));
        self.input(&question, false).map(|answer| consent::YES.contains(&answer.trim()))
    }

    fn input(&self, question: &str, is_secret: bool) -> Option<Zeroizing<String>> {
        if !io::stdin().is_terminal() {
            return None;
        }
        let question = format!("{}: ", one_line(question.trim_end_matches(':')));
        if is_secret {
            return rpassword::prompt_password(question).ok().map(Zeroizing::new);
        }
        self.0.story(&question);
        let mut answer = Zeroizing::new(String::new());
        io::stdin().read_line(&mut answer).ok()?;
        let end = answer.trim_end_matches(['\n', '\r']).len();
        answer.truncate(end);
        Some(answer)
    }
}
