//! Remote build of a system: copies the derivation and all its inputs to a host, which realises it.

use std::{
    io::{self, Write},
    time::Duration,
};

use machinist_nix::{Nix, StorePath};
use machinist_remote::{Remote, Request, Stream};

use super::{
    StepError,
    copy::{self, Catalog},
    gather,
};

/// Realises the derivation on stdin and prints its outputs. The root keeps it until the next build there.
const REALISE: &str = "\
export PATH=/run/current-system/sw/bin:/nix/var/nix/profiles/default/bin:$PATH
set -eu
read -r derivation name
mkdir -p /var/lib/machinist/built
nix-store --realise \"$derivation\" --indirect --add-root \"/var/lib/machinist/built/$name\" >/dev/null
readlink -f \"/var/lib/machinist/built/$name\"
";

/// Prints the closure of a path, references first.
const CLOSURE: &str = "\
export PATH=/run/current-system/sw/bin:/nix/var/nix/profiles/default/bin:$PATH
xargs nix-store --query --requisites
";

/// Writes an archive of the paths on stdin to stdout.
const EXPORT: &str = "\
export PATH=/run/current-system/sw/bin:/nix/var/nix/profiles/default/bin:$PATH
xargs nix-store --export
";

/// Time limit of a build or a copy.
const BOUND: Duration = Duration::from_secs(4 * 3600);

/// Builds the derivation on the host. `line` is called with each line of the build's log.
///
/// # Errors
/// The connection fails, the host has too little disk space, or the build fails.
pub fn realise(
    nix: &Nix,
    remote: &dyn Remote,
    derivation: &StorePath,
    name: &str,
    mut line: impl FnMut(&str) + Send,
) -> Result<StorePath, StepError> {
    let catalog = Catalog::read(nix, &[derivation.clone()].into())?;
    let delta = copy::delta(remote, &catalog.closure(derivation))?;
    copy::check_room(&delta, gather(remote)?.store_free)?;
    copy::send(remote, &delta.paths, |_| true)?;
    let request = Request::new(format!("build the system of {name}"), REALISE)
        .bytes(format!("{derivation} {name}\n").into_bytes())
        .timeout(BOUND)
        .on_line(move |stream, text| {
            if stream == Stream::Stderr {
                line(text);
            }
        });
    let output = remote.run_checked(request)?;
    let text = output.stdout_text();
    StorePath::parse(text.trim()).map_err(|error| StepError::Unknown { why: format!("the build answered: {error}") })
}

/// Copies systems from the host that built them into the local store.
///
/// # Errors
/// The connection fails, or one of the two nix processes does.
pub fn fetch(nix: &Nix, remote: &dyn Remote, systems: &[StorePath]) -> Result<(), StepError> {
    let listing = |paths: &[StorePath]| paths.iter().map(|path| format!("{path}\n")).collect::<String>().into_bytes();
    let output = remote.run_checked(Request::new("ask for the closures", CLOSURE).bytes(listing(systems)))?;
    let mut closure: Vec<StorePath> = Vec::new();
    for text in output.stdout_text().lines() {
        let path = StorePath::parse(text.trim()).map_err(|error| StepError::Unknown { why: error.to_string() })?;
        closure.push(path);
    }
    let valid = nix.valid(&closure)?;
    closure.retain(|path| !valid.contains(path));
    if closure.is_empty() {
        return Ok(());
    }
    let mut import = nix.import()?;
    let label = format!("export {} paths", closure.len());
    let request = Request::new(label, EXPORT).bytes(listing(&closure)).timeout(BOUND);
    let exported = remote.run_checked(request.stdout_to(&mut import));
    let imported = import.flush().map_err(unreadable).and_then(|()| Ok(import.finish()?));
    // If both failed, the export's error is the cause: the import then only saw its input end.
    exported?;
    imported
}

fn unreadable(error: io::Error) -> StepError {
    StepError::Unknown { why: format!("nix-store --import does not read: {error}") }
}
