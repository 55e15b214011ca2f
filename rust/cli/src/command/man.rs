//! `machinist man DIR`.

use std::{fs, path::PathBuf, process::ExitCode};

use clap::Args;

use crate::{
    failure::{OrFail as _, Outcome},
    help,
    ui::Ui,
};

/// Writes the manual pages.
#[derive(Debug, Args)]
pub struct ManArgs {
    /// The directory to write to, such as ~/.local/share/man/man1; made if it is missing
    #[arg(value_name = "DIR")]
    pages: PathBuf,
}

/// Runs the command.
pub fn run(args: &ManArgs, ui: Ui) -> Outcome {
    fs::create_dir_all(&args.pages).failed()?;
    clap_mangen::generate_to(help::command(), &args.pages).failed()?;
    let count = fs::read_dir(&args.pages).failed()?.count();
    ui.story(&format!(
        "{}: {count} pages; `man -l {}` shows one",
        args.pages.display(),
        args.pages.join("machinist.1").display()
    ));
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::fs;

    use super::{ManArgs, Ui, run};

    #[test]
    fn each_command_has_a_page() {
        let directory = tempfile::tempdir().unwrap();
        let pages = directory.path().join("man1");
        run(&ManArgs { pages: pages.clone() }, Ui::new(false, false)).unwrap();
        for (page, words) in
            [("machinist.1", "machinist\\-deploy"), ("machinist-etcd-restore.1", "discard\\-running\\-data")]
        {
            let text = fs::read_to_string(pages.join(page)).unwrap();
            assert!(text.contains(words), "{page}");
        }
    }
}
