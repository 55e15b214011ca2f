//! `machinist secrets edit`: a file in plain in an editor, on a file system in memory.

use std::{
    fs::{self, DirBuilder, OpenOptions},
    io::{self, IsTerminal as _, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    process::ExitCode,
    thread,
    time::Duration,
};

use machinist_nix::program;
use machinist_operations::secrets::{Edit, SecretName};
use machinist_secrets::Zeroizing;

use crate::{
    args::Global,
    consent, context,
    failure::{Failure, Kind, OrFail as _, Outcome},
    signals::{self, Ended},
    ui::Ui,
};

/// The magic number of tmpfs, of statfs(2).
const TMPFS: u64 = 0x0102_1994;
/// The exit status of a process that Ctrl-C ended.
const CTRL_C: u8 = 130;
/// Interval at which the editor's end is looked for.
const POLL: Duration = Duration::from_millis(20);
/// The start of a directory's name. The process follows, so that what a killed one left can be found.
const PREFIX: &str = "machinist-secrets-";

/// Runs the command.
pub fn run(file: &str, global: &Global, ui: Ui) -> Outcome {
    let file = SecretName::parse(file)?;
    let context = context::open(global, ui)?;
    let edit = Edit::begin(&context, &file)?;
    let place = Memory::create(file.as_str())?;
    // No signal ends the process before the file is removed. Ctrl-C is the editor's.
    let ended = signals::end_in_order(context.interrupt.clone());
    place.write(edit.plain())?;
    loop {
        open_editor(&place.file, &ended)?;
        let plain = Zeroizing::new(fs::read(&place.file).failed()?);
        match edit.finish(&context, &plain) {
            Ok(changed) => return Ok(report(&file, changed, ui)),
            Err(failure) if io::stdin().is_terminal() => {
                ui.failure(&failure);
                consent::ask("edit again? [y/N]", consent::YES, "nothing was written", global)?;
            }
            Err(failure) => return Err(failure),
        }
    }
}

fn report(file: &SecretName, changed: bool, ui: Ui) -> ExitCode {
    if ui.json {
        ui.result_json(&serde_json::json!({ "file": file, "changed": changed }));
    } else {
        ui.story(&format!("{file}: {}", if changed { "changed" } else { "unchanged" }));
    }
    ExitCode::SUCCESS
}

/// Runs the editor of the environment, whose text may have arguments.
fn open_editor(file: &Path, ended: &Ended) -> Result<(), Failure> {
    let variable = |name| std::env::var(name).ok().filter(|text| !text.trim().is_empty());
    let editor = variable("VISUAL").or_else(|| variable("EDITOR")).unwrap_or_else(|| "vi".to_owned());
    let mut child = program("sh").args(["-c", &format!("{editor} \"$1\""), "sh"]).arg(file).spawn().failed()?;
    let status = loop {
        if let Some(status) = child.try_wait().failed()? {
            break status;
        }
        if ended.code().is_some_and(|code| code != CTRL_C) {
            let _killed = child.kill();
            let _waited = child.wait();
            return Err(Failure::new(Kind::Failed, "interrupted; nothing was written"));
        }
        thread::sleep(POLL);
    };
    if status.success() {
        return Ok(());
    }
    let failure = Failure::new(Kind::Failed, format!("the editor `{editor}` ended with {status}; nothing was written"));
    Err(failure.hint("set VISUAL or EDITOR to your editor; it must stay in the foreground"))
}

/// A private directory in memory, removed when it is dropped.
struct Memory {
    directory: PathBuf,
    file: PathBuf,
}

impl Memory {
    fn create(name: &str) -> Result<Self, Failure> {
        let runtime = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from);
        let roots: Vec<PathBuf> = runtime.into_iter().chain(["/dev/shm".into(), "/run".into()]).collect();
        let root = roots.into_iter().find(|root| is_writable_memory(root)).ok_or_else(|| {
            Failure::new(Kind::Failed, "no file system in memory to edit on: /dev/shm is not a writable tmpfs")
                .hint("use `machinist secrets get` and `machinist secrets set --file -`")
        })?;
        remove_leftovers(&root);
        let directory = root.join(format!("{PREFIX}{}", std::process::id()));
        DirBuilder::new().mode(0o700).create(&directory).failed()?;
        let file = directory.join(Path::new(name).file_name().unwrap_or_default());
        Ok(Self { directory, file })
    }

    fn write(&self, content: &[u8]) -> Result<(), Failure> {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&self.file).failed()?;
        file.write_all(content).failed()
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        let _removed = fs::remove_dir_all(&self.directory);
    }
}

fn is_writable_memory(root: &Path) -> bool {
    let is_memory = rustix::fs::statfs(root).is_ok_and(|found| u64::try_from(found.f_type) == Ok(TMPFS));
    is_memory && rustix::fs::access(root, rustix::fs::Access::WRITE_OK).is_ok()
}

/// Removes directories of processes that were killed.
fn remove_leftovers(root: &Path) {
    for entry in fs::read_dir(root).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let process = name.to_str().and_then(|name| name.strip_prefix(PREFIX)?.parse::<u32>().ok());
        let is_dead = process.is_some_and(|process| !Path::new(&format!("/proc/{process}")).exists());
        if is_dead {
            let _removed = fs::remove_dir_all(entry.path());
        }
    }
}
