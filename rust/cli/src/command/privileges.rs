//! `machinist privileges`.

use std::process::ExitCode;

use clap::Args;
use machinist_operations::{
    failure::{Failure, Kind},
    privileges::{self, COMMANDS, Command},
};

use crate::{failure::Outcome, ui::Ui};

/// Lists the commands that machinist runs on nodes, and the rights that each needs.
#[derive(Debug, Args)]
pub struct PrivilegesArgs {
    /// Print the sudo rule of this user instead, as `machinist.sudoUser` installs it
    #[arg(long, value_name = "USER")]
    sudoers: Option<String>,
}

/// Runs the command.
pub fn run(args: &PrivilegesArgs, ui: Ui) -> Outcome {
    if let Some(user) = &args.sudoers {
        if !privileges::is_user(user) {
            let failure = Failure::new(Kind::Input, format!("--sudoers: {user:?} is not the name of a user"));
            return Err(failure.hint("lower-case letters, digits, `_` and `-`, at most 31; no alias, group or number"));
        }
        ui.document(privileges::sudoers(user).as_bytes());
        return Ok(ExitCode::SUCCESS);
    }
    if ui.json {
        ui.result_json(&serde_json::json!({ "commands": COMMANDS }));
    } else {
        let cells = |command: &Command| {
            let Command { name, level, used_by, effect } = command;
            [level.word(), name, used_by, effect].map(str::to_owned).to_vec()
        };
        ui.result_table(&["LEVEL", "COMMAND", "USED BY", "EFFECT"], COMMANDS.iter().map(cells).collect());
    }
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::{env, fmt::Write as _, fs, path::Path};

    use super::{COMMANDS, Command, privileges};

    const HEAD: &str = "# Privileges

<!-- Generated from rust/operations/src/privileges.rs. Do not edit: change the list, then run the tests with UPDATE_EXPECT=1. -->

Every command that machinist runs on a node runs as root, except for those of `exec --as-user`.
Each is a script on standard input of one fixed command line; the tables below list them all.
`machinist privileges` prints them, `--json` as data.
A test reads the code and fails when a command is missing here, and connections refuse a command that is not listed in builds for development.

## Levels

| level | a key with these rights |
|---|---|
| read | sees units, logs, versions, store paths and etcd's members; changes nothing, reads no private key |
| inspect | as above, and reads etcd's data, or runs a program that it names |
| deploy | may do everything: it activates a system as root, and the system is any program |
| operator | may do everything: it runs what the operator writes |

The last three are root in effect, and no rule makes them less.
Only `read` is a boundary.

## Keys that only read

`machinist.readers` of a node's configuration installs keys with a forced command:

    machinist.readers.dashboard = [ \"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI... dashboard\" ];

Such a key logs in as the user that operators log in as, with the same `machines.nix`:

    $ MACHINIST_SSH_KEY=~/.ssh/dashboard machinist status

- `status`, `drift`, `plan` and `logs` work; in a plan, the part that the new system itself reports is missing.
  Everything else is refused with status 77, and nothing of it runs.
- The program on the node takes a script apart: the marks around it, assignments of allowed variables to quoted words, and a body whose SHA-256 is in its table.
  The table is part of the node's system, so another version of machinist may be refused until the node is deployed with it.
- Each use is in the journal: `journalctl -t machinist-read`.
- sshd grants such a key no terminal, no forwarding and no agent (`restrict`).
- Logs may hold secrets that services print.

## A user instead of root

    machinist.sudoUser = \"deploy\";

makes a user with the operators' keys and this sudo rule, which `machinist privileges --sudoers deploy` prints:

    @RULE@

1. Deploy it with `ssh.user` as it is.
2. Set `ssh.user = \"deploy\"` for the machine in machines.nix, and deploy again.
3. `services.openssh.settings.PermitRootLogin = \"no\"` in `nodes/<name>.nix`, if root is to log in no more.

Whoever may deploy is root in effect, with this rule, too.
It keeps other commands out of sudo, and sudo logs every use with the person's key in sshd's line before it.
It needs sudo 1.9.10 or later for the regular expression; `sudo-rs` has none.
";

    fn page() -> String {
        let rule = privileges::sudoers("deploy").trim_end().replace('\n', "\n    ");
        let mut page = HEAD.replace("@RULE@", &rule);
        for level in ["read", "inspect", "deploy", "operator"] {
            let _ = write!(page, "\n## Commands of level {level}\n\n| command | used by | effect |\n|---|---|---|\n");
            for Command { name, used_by, effect, .. } in COMMANDS.iter().filter(|command| command.level.word() == level)
            {
                let _ = writeln!(page, "| {} | {used_by} | {effect} |", name.replace('*', "\\*"));
            }
        }
        page
    }

    #[test]
    fn the_page_of_privileges_is_current() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/reference/privileges.md");
        if env::var_os("UPDATE_EXPECT").is_some() {
            fs::write(&path, page()).unwrap();
        }
        let committed = fs::read_to_string(&path).unwrap_or_default();
        assert!(committed == page(), "docs/reference/privileges.md is not current: run with UPDATE_EXPECT=1");
    }
}
