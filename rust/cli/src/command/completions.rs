//! `machinist completions SHELL`.

use std::process::ExitCode;

use clap::Args;
use clap_complete::Shell;

use crate::{failure::Outcome, help, ui::Ui};

/// Prints the completions of a shell.
#[derive(Debug, Args)]
pub struct CompletionsArgs {
    /// The shell
    shell: Shell,
}

/// Runs the command.
pub fn run(args: &CompletionsArgs, ui: Ui) -> Outcome {
    ui.document(&script(args.shell));
    Ok(ExitCode::SUCCESS)
}

fn script(shell: Shell) -> Vec<u8> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut help::command(), "machinist", &mut script);
    script
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use clap_complete::Shell;

    use super::script;

    #[test]
    fn each_shell_completes_commands_and_options() {
        for shell in [Shell::Bash, Shell::Fish, Shell::Zsh] {
            let script = String::from_utf8(script(shell)).unwrap();
            for word in ["machinist", "deploy", "max-unavailable", "move-leader"] {
                assert!(script.contains(word), "{shell}: {word}");
            }
        }
    }
}
