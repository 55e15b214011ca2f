//! Generator of docs/reference/commands.md: all commands as declared in clap. `UPDATE_EXPECT=1` rewrites it.
#![allow(clippy::unwrap_used)]

use std::{env, fmt::Write as _, fs, path::Path};

use clap::{Arg, ArgAction, Command};

use crate::help;

const HEAD: &str = "# Commands

<!-- Generated from rust/cli/src/command. Do not edit: change the help, then run the tests with UPDATE_EXPECT=1. -->

`machinist help COMMAND` prints the same on a terminal.
`machinist completions SHELL` prints completions for bash, zsh, fish and other shells, `machinist man DIR` writes manual pages; the Nix package installs both.
[Exit codes](exit-codes.md) are the same everywhere.
";

fn page() -> String {
    let mut root = help::command();
    root.build();
    let mut page = HEAD.to_owned();
    page.push_str("\n## Global options\n\n");
    for argument in root.get_arguments().filter(|argument| argument.is_global_set()) {
        page.push_str(&line(argument));
    }
    for command in root.get_subcommands().filter(|command| command.get_name() != "help") {
        write_command(&mut page, command, 2);
    }
    page
}

fn write_command(page: &mut String, command: &Command, level: usize) {
    let name = command.get_bin_name().unwrap_or_default();
    let about = command.get_long_about().or(command.get_about()).map(ToString::to_string).unwrap_or_default();
    let usage = command.clone().render_usage().to_string();
    let usage = usage.trim_start_matches("Usage: ").trim().replace('\n', "\n    ");
    // Writing to a String cannot fail.
    let _ = write!(page, "\n{} `{name}`\n\n{}\n\n    {usage}\n", "#".repeat(level), sentence(&about));
    let own = command.get_arguments().filter(|argument| !argument.is_global_set() && !argument.is_hide_set());
    let lines: String = own.filter(|argument| argument.get_id() != "help").map(line).collect();
    if !lines.is_empty() {
        let _ = write!(page, "\n{lines}");
    }
    if let Some(after) = command.get_after_long_help().or(command.get_after_help()) {
        let after = after.to_string();
        let shown = after.trim().lines().map(|line| format!("    {line}").trim_end().to_owned());
        let _ = write!(page, "\n{}\n", shown.collect::<Vec<_>>().join("\n"));
    }
    for below in command.get_subcommands().filter(|command| command.get_name() != "help") {
        write_command(page, below, level + 1);
    }
}

/// Renders a list item: names, value, help, default, environment and possible values of an argument.
fn line(argument: &Arg) -> String {
    let help = argument.get_long_help().or(argument.get_help()).map(ToString::to_string).unwrap_or_default();
    let mut line = format!("- `{}`: {}", name(argument), sentence(&help).replace("\n\n", " ").replace('\n', " "));
    let values: Vec<String> =
        argument.get_possible_values().iter().map(|value| format!("`{}`", value.get_name())).collect();
    if argument.get_action().takes_values() && !values.is_empty() {
        let _ = write!(line, " One of {}.", values.join(", "));
    }
    let defaults: Vec<_> = argument.get_default_values().iter().map(|value| value.to_string_lossy()).collect();
    if argument.get_action().takes_values() && !defaults.is_empty() {
        let _ = write!(line, " Default: `{}`.", defaults.join(" "));
    }
    if let Some(variable) = argument.get_env() {
        let _ = write!(line, " Environment: `{}`.", variable.to_string_lossy());
    }
    line.push('\n');
    line
}

/// Returns the text with a full stop, which a line of help does not have.
fn sentence(text: &str) -> String {
    let text = text.trim();
    if text.is_empty() || text.ends_with(['.', '?', '!']) { text.to_owned() } else { format!("{text}.") }
}

fn name(argument: &Arg) -> String {
    let values = argument.get_value_names().map(|names| {
        let names: Vec<String> = names.iter().map(|name| format!("<{name}>")).collect();
        names.join(" ")
    });
    let values = values.filter(|_| argument.get_action().takes_values()).unwrap_or_default();
    let many = if matches!(argument.get_action(), ArgAction::Append) { "..." } else { "" };
    let short = argument.get_short().map(|short| format!("-{short}"));
    let long = argument.get_long().map(|long| format!("--{long}"));
    let names: Vec<String> = short.into_iter().chain(long).collect();
    if names.is_empty() {
        return format!("{values}{many}");
    }
    format!("{} {values}{many}", names.join(", ")).trim_end().to_owned()
}

#[test]
fn the_page_of_commands_is_current() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/reference/commands.md");
    let page = page();
    if env::var_os("UPDATE_EXPECT").is_some() {
        fs::write(&path, &page).unwrap();
    }
    let committed = fs::read_to_string(&path).unwrap_or_default();
    assert!(committed == page, "docs/reference/commands.md is not current: run with UPDATE_EXPECT=1");
}

#[test]
fn every_command_is_described() {
    let page = page();
    let mut root = help::command();
    root.build();
    for command in root.get_subcommands().filter(|command| command.get_name() != "help") {
        let name = command.get_bin_name().unwrap();
        assert!(page.contains(&format!("\n## `{name}`\n\n")), "{name}");
        assert!(!page.contains(&format!("\n## `{name}`\n\n\n")), "{name} has no description");
    }
    assert!(
        page.contains("- `--max-unavailable <COUNT>`") || page.contains("- `--max-unavailable <"),
        "options are listed"
    );
}
