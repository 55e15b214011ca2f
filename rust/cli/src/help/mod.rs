//! The command line as a whole: clap's declaration of it, with the examples and exit codes of each command, which only
//! long help, the manual pages and the reference show.

mod notes;

use std::fmt::Write as _;

use clap::{Command, CommandFactory as _, FromArgMatches as _};

use self::notes::{NOTES, Note};
use crate::command::Cli;

/// Parses the arguments of this process. Prints help or an error, and ends the process, if that is what they lead to.
pub fn parse() -> Cli {
    let mut matches = command().get_matches();
    Cli::from_arg_matches_mut(&mut matches).unwrap_or_else(|error| error.exit())
}

/// Returns the command line with the notes of each command.
pub fn command() -> Command {
    with_notes(Cli::command(), "")
}

fn with_notes(mut command: Command, path: &str) -> Command {
    if let Some(note) = NOTES.iter().find(|note| note.command == path) {
        command = command.after_long_help(footer(note));
    }
    let below: Vec<String> = command.get_subcommands().map(|below| below.get_name().to_owned()).collect();
    below.into_iter().fold(command, |command, name| {
        let path = format!("{path} {name}");
        command.mut_subcommand(name, |below| with_notes(below, path.trim_start()))
    })
}

fn footer(note: &Note) -> String {
    let mut text = note.text.to_owned();
    if !text.is_empty() {
        text.push_str("\n\n");
    }
    text.push_str("Examples:\n");
    for (arguments, about) in note.examples {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "  {}", format!("machinist {} {arguments}", note.command).trim_end());
        if !about.is_empty() {
            let _ = writeln!(text, "      {about}");
        }
    }
    if !note.exit_codes.is_empty() {
        text.push_str("\nExit codes:\n");
        for (code, meaning) in note.exit_codes {
            let _ = writeln!(text, "  {code}  {meaning}");
        }
    }
    text.trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use clap::{Command, FromArgMatches as _};

    use super::{command, notes::NOTES};
    use crate::command::Cli;

    /// Paths of all commands that can be run. Below one with arguments of its own (`sandbox fault MACHINE`), its note is
    /// enough.
    fn leaves(command: &Command, path: &str, found: &mut Vec<String>) {
        if !command.has_subcommands() || command.get_positionals().next().is_some() {
            return found.push(path.trim_start().to_owned());
        }
        for below in command.get_subcommands().filter(|below| below.get_name() != "help") {
            leaves(below, &format!("{path} {}", below.get_name()), found);
        }
    }

    #[test]
    fn each_command_has_an_example_and_each_note_a_command() {
        let mut found = Vec::new();
        leaves(&command(), "", &mut found);
        found.sort_unstable();
        let mut noted: Vec<String> = NOTES.iter().map(|note| note.command.to_owned()).collect();
        noted.sort_unstable();
        assert_eq!(noted, found);
        assert!(NOTES.iter().all(|note| !note.examples.is_empty()));
    }

    #[test]
    fn each_example_is_a_valid_command_line() {
        for note in NOTES {
            for (arguments, _) in note.examples {
                // What follows is the shell's.
                let arguments = arguments.split([';', '|', '>', '<']).next().unwrap();
                let words = arguments.split_whitespace().map(|word| word.trim_matches('\''));
                let line: Vec<&str> = ["machinist"].into_iter().chain(note.command.split(' ')).chain(words).collect();
                let matches = command().try_get_matches_from(&line);
                let parsed = matches.and_then(|matches| Cli::from_arg_matches(&matches));
                assert!(parsed.is_ok(), "{}: {}", line.join(" "), parsed.unwrap_err());
            }
        }
    }

    #[test]
    fn short_help_has_no_examples() {
        let mut command = command();
        let deploy = command.find_subcommand_mut("deploy").unwrap();
        assert!(!deploy.render_help().to_string().contains("Examples:"));
        assert!(deploy.render_long_help().to_string().contains("Examples:"));
    }
}
