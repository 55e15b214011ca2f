//! Confirmation prompt before an irreversible action.

use std::io::{self, IsTerminal, Write as _};

use machinist_text::visible;

use crate::{
    args::Global,
    failure::{Failure, Kind, OrFail},
};

/// Prompts for confirmation, unless `--yes` was given. `accepted` are the answers that confirm; `nobody` describes the
/// action for the error message without a terminal.
pub fn ask(question: &str, accepted: &[&str], nobody: &str, global: &Global) -> Result<(), Failure> {
    if global.yes {
        return Ok(());
    }
    if !io::stdin().is_terminal() {
        let message = format!("{nobody}, and there is nobody to ask");
        return Err(Failure::new(Kind::Refused, message).hint("`--yes` does it all the same"));
    }
    let mut stderr = io::stderr();
    write!(stderr, "{} ", visible(question)).and_then(|()| stderr.flush()).failed()?;
    let mut answer = String::new();
    io::stdin().read_line(&mut answer).failed()?;
    if accepted.contains(&answer.trim()) { Ok(()) } else { Err(Failure::new(Kind::Refused, "nothing was done")) }
}

/// Accepted answers to a question that ends with `[y/N]`.
pub const YES: &[&str] = &["y", "Y", "yes"];
