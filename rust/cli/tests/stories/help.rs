//! Help of all commands, as one file.

use std::process::Command;

use expect_test::expect_file;

use super::environment::program;

fn help(path: &[String]) -> String {
    let mut command: Command = program();
    let output = command.args(path).arg("--help").output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{path:?}");
    assert!(output.stderr.is_empty(), "{path:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// The names below `Commands:`, but that of clap's own `help`.
fn commands(help: &str) -> Vec<String> {
    let lines = help.lines().skip_while(|line| *line != "Commands:").skip(1);
    let lines = lines.take_while(|line| !line.is_empty());
    let names = lines.filter(|line| line.starts_with("  ") && !line.starts_with("   "));
    names.filter_map(|line| line.split_whitespace().next()).filter(|name| *name != "help").map(str::to_owned).collect()
}

fn collect(path: &[String], all: &mut String) {
    let text = help(path);
    all.push_str(&format!("==== machinist {}\n\n{}\n", path.join(" "), text.trim_end()));
    for name in commands(&text) {
        all.push('\n');
        collect(&[path, &[name]].concat(), all);
    }
}

#[test]
fn help_of_all_commands() {
    let mut all = String::new();
    collect(&[], &mut all);
    assert!(all.matches("==== machinist").count() > 40, "commands are missing: {all}");
    expect_file!["help.txt"].assert_eq(&all);
}
