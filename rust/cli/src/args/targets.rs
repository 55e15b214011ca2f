//! Targets on the command line, and from standard input.

use std::io::{self, IsTerminal as _, Read as _};

use crate::failure::{Failure, Kind, OrFail as _};

/// Maximum length of a list of targets on standard input, in bytes.
const LONGEST: u64 = 16 << 20;

/// Returns the targets. `-` stands for those on standard input, which are separated by white space.
///
/// # Errors
/// Standard input is a terminal or not UTF-8, or has no target: a command must not take this for all machines.
pub fn expand(targets: &[String]) -> Result<Vec<String>, Failure> {
    if !targets.iter().any(|target| target == "-") {
        return Ok(targets.to_vec());
    }
    let input = io::stdin();
    if input.is_terminal() {
        let hint = "for example: machinist status --json | jq -r '.nodes[].node' | machinist plan -";
        return Err(Failure::new(Kind::Input, "`-` reads targets from standard input, which is a terminal").hint(hint));
    }
    let mut text = String::new();
    input.take(LONGEST).read_to_string(&mut text).input()?;
    replaced(targets, &text)
}

fn replaced(targets: &[String], text: &str) -> Result<Vec<String>, Failure> {
    let given = targets.iter().filter(|target| *target != "-").map(String::as_str);
    let all: Vec<String> = given.chain(text.split_whitespace()).map(str::to_owned).collect();
    if text.trim().is_empty() {
        return Err(Failure::new(Kind::Input, "`-` reads targets from standard input, and none is there"));
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::{expand, replaced};

    fn words(text: &str) -> Vec<String> {
        text.split_whitespace().map(str::to_owned).collect()
    }

    #[test]
    fn a_dash_stands_for_the_targets_on_standard_input() {
        assert_eq!(expand(&words("a @b")).unwrap(), words("a @b"));
        assert_eq!(replaced(&words("a -"), "b\n@c\n").unwrap(), words("a b @c"));
    }

    #[test]
    fn an_empty_list_is_not_all_machines() {
        assert!(replaced(&words("-"), " \n").is_err());
    }
}
