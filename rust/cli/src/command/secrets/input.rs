//! Values that are set: from a prompt without echo, a file or stdin.

use std::{
    fs::File,
    io::{self, IsTerminal as _, Read},
    path::Path,
};

use machinist_secrets::{Prompt as _, Zeroizing};
use machinist_sops::layout::MAX_BYTES;

use crate::{
    failure::{Failure, Kind},
    prompt::Terminal,
    ui::Ui,
};

/// Reads a value. One line break at its end is not a part of it, unless it is a whole file.
pub fn read(from: Option<&Path>, what: &str, is_exact: bool, ui: Ui) -> Result<Zeroizing<Vec<u8>>, Failure> {
    let mut value = match from {
        Some(path) if path == Path::new("-") => bounded(io::stdin().lock(), "stdin")?,
        Some(path) => {
            let name = path.display().to_string();
            bounded(File::open(path).map_err(|error| unreadable(&name, &error))?, &name)?
        }
        None => return prompted(what, ui),
    };
    if !is_exact {
        let end = value.strip_suffix(b"\r\n").or_else(|| value.strip_suffix(b"\n")).map_or(value.len(), <[u8]>::len);
        value.truncate(end);
    }
    Ok(value)
}

fn bounded(source: impl Read, name: &str) -> Result<Zeroizing<Vec<u8>>, Failure> {
    let mut value = Zeroizing::new(Vec::new());
    source.take(MAX_BYTES as u64 + 1).read_to_end(&mut value).map_err(|error| unreadable(name, &error))?;
    if value.len() > MAX_BYTES {
        return Err(Failure::new(Kind::Input, format!("{name} is longer than {} MiB", MAX_BYTES >> 20)));
    }
    Ok(value)
}

fn unreadable(name: &str, error: &io::Error) -> Failure {
    Failure::new(Kind::Input, format!("cannot read {name}: {error}"))
}

/// Asks twice, because nothing is shown.
fn prompted(what: &str, ui: Ui) -> Result<Zeroizing<Vec<u8>>, Failure> {
    if !io::stdin().is_terminal() {
        let failure = Failure::new(Kind::Input, format!("no value for {what}: stdin is not a terminal"));
        return Err(failure.hint("pass `--file PATH`, or `--file -` for stdin; a value is never an argument"));
    }
    let ask = |question: &str| {
        Terminal(ui).input(question, true).ok_or_else(|| Failure::new(Kind::Input, format!("no value for {what}")))
    };
    let value = ask(what)?;
    let again = ask("once more")?;
    if *value != *again {
        return Err(Failure::new(Kind::Input, "the two values differ; nothing was written"));
    }
    Ok(Zeroizing::new(value.as_bytes().to_vec()))
}
