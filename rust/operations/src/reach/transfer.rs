//! Transfer: files to and from machines.

use std::{
    fs::File,
    io::{self, Write},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use machinist_durable::Unnamed;
use machinist_model::NodeName;
use machinist_remote::{DURABLE, Remote, Request as Script, quote};
use serde::Serialize;

use super::each::{Machines, Missing, Results, Unreachable};
use crate::{
    context::Context,
    failure::{Failure, Kind},
};

/// Time limit of a transfer, besides the time for its bytes.
const LIMIT: Duration = Duration::from_secs(60);

/// Slowest link that is waited for, in bytes a second.
const SLOWEST: u64 = 100_000;

/// Time limit of a download, whose size is not known before.
const DOWNLOAD: Duration = Duration::from_secs(6 * 3600);

/// Request to put a file on machines.
#[derive(Clone, Debug)]
pub struct Upload {
    /// Names, globs, `@role` or `label=value`; all machines if empty.
    pub targets: Vec<String>,
    /// File on this computer.
    pub file: PathBuf,
    /// File on the machines, or an existing directory; absolute.
    pub to: String,
    /// Permission bits; those of the file by default.
    pub mode: Option<u32>,
    /// Owner and group, `user:group`.
    pub owner: String,
    /// Handling of machines that do not answer.
    pub unreachable: Unreachable,
}

/// Request to fetch a file from machines.
#[derive(Clone, Debug)]
pub struct Download {
    /// Names, globs, `@role` or `label=value`; all machines if empty.
    pub targets: Vec<String>,
    /// File on the machines, absolute.
    pub file: String,
    /// File on this computer, or an existing directory. With several machines a directory: each file is NODE/NAME there.
    pub to: PathBuf,
    /// Handling of machines that do not answer.
    pub unreachable: Unreachable,
}

/// Results of all machines, sorted by name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Done {
    /// Result of each machine.
    pub nodes: Vec<Transferred>,
    #[serde(skip)]
    unreachable: Unreachable,
}

/// Result of a transfer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Transferred {
    /// Name of the node.
    pub node: NodeName,
    /// Size of the file, or the reason why it did not arrive.
    #[serde(flatten)]
    pub result: Arrival,
}

/// Arrival of a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum Arrival {
    /// It arrived completely.
    Whole {
        /// Size.
        bytes: u64,
        /// Path of the file where it arrived.
        path: String,
    },
    /// It did not arrive; what was there before is unchanged.
    Missing(Missing),
}

impl Done {
    fn new(results: Results<(u64, String)>, unreachable: Unreachable) -> Self {
        let arrival = |result| match result {
            Ok((bytes, path)) => Arrival::Whole { bytes, path },
            Err(missing) => Arrival::Missing(missing),
        };
        let nodes = results.into_iter().map(|(node, result)| Transferred { node, result: arrival(result) }).collect();
        Self { nodes, unreachable }
    }

    /// Returns true if no machine counts as failed.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        let failed =
            |node: &Transferred| matches!(&node.result, Arrival::Missing(missing) if missing.counts(self.unreachable));
        !self.nodes.iter().any(failed)
    }
}

/// Puts a file on machines. It replaces an earlier one at once, when it is complete and on disk.
///
/// # Errors
/// The file cannot be read, the cluster's files are invalid, or a target matches no machine.
pub fn upload(context: &Context, request: &Upload) -> Result<Done, Failure> {
    let script = Arc::new(Sent::prepare(request)?);
    let machines = Machines::select(context, &request.targets)?;
    let results = machines.each(move |node, remote| script.to(node, remote))?;
    Ok(Done::new(results, request.unreachable))
}

/// Fetches a file from machines. A local file is replaced when the new one is complete and on disk.
///
/// # Errors
/// The cluster's files are invalid, a target matches no machine, or several files would have one name.
pub fn download(context: &Context, request: &Download) -> Result<Done, Failure> {
    let name = file_name(&request.file)?;
    let machines = Machines::select(context, &request.targets)?;
    let count = machines.nodes.len();
    if count > 1 && request.to.exists() && !request.to.is_dir() {
        let text = format!("{count} machines have one file each, and {} is not a directory", request.to.display());
        return Err(Failure::new(Kind::Input, text));
    }
    let (file, several) = (request.file.clone(), count > 1);
    let to = request.to.clone();
    let results = machines.each(move |node, remote| {
        let path = match (several, to.is_dir()) {
            (true, _) => to.join(node.as_str()).join(&name),
            (false, true) => to.join(&name),
            (false, false) => to.clone(),
        };
        fetch(node, remote, &file, &path).map(|bytes| (bytes, path.display().to_string()))
    })?;
    Ok(Done::new(results, request.unreachable))
}

/// File to send.
struct Sent {
    file: PathBuf,
    size: u64,
    script: String,
}

impl Sent {
    fn prepare(request: &Upload) -> Result<Self, Failure> {
        let input =
            |source: io::Error| Failure::new(Kind::Input, format!("cannot read {}: {source}", request.file.display()));
        let found = request.file.metadata().map_err(input)?;
        if !found.is_file() {
            let hint = "for a directory: tar -c DIR | machinist exec TARGETS --stdin -- tar -x -C /PARENT";
            return Err(
                Failure::new(Kind::Input, format!("{} is not a regular file", request.file.display())).hint(hint)
            );
        }
        File::open(&request.file).map_err(input)?;
        let name = request.file.file_name().and_then(|name| name.to_str());
        let name = name.ok_or_else(|| Failure::new(Kind::Input, "the name of the file is not UTF-8"))?;
        absolute(&request.to)?;
        let mode = request.mode.unwrap_or_else(|| found.permissions().mode() & 0o777);
        let values = format!(
            "to={} name={} size={} mode={mode:o} owner={}\n",
            quote(&request.to),
            quote(name),
            found.len(),
            quote(&request.owner)
        );
        Ok(Self { file: request.file.clone(), size: found.len(), script: [DURABLE, &values, RECEIVE].concat() })
    }

    fn to(&self, node: &NodeName, remote: &Arc<dyn Remote>) -> Result<(u64, String), Missing> {
        let file = File::open(&self.file).map_err(|error| Missing::because(error.to_string()))?;
        let limit = LIMIT + Duration::from_secs(self.size / SLOWEST);
        let request = Script::new(format!("put {}", self.file.display()), &self.script).reader(file).timeout(limit);
        let output = remote.run_checked(request).map_err(|error| Missing::failed(node, &error))?;
        let path = output.stdout_text();
        Ok((self.size, machinist_text::one_line(path.trim_end_matches('\n')).into_owned()))
    }
}

/// Receives a file on the host: `to`, `name`, `size`, `mode` and `owner` are set. Prints its path. The directory may belong
/// to a user who replaces names in it by links: root opens a new name, and works by the descriptor from then on.
const RECEIVE: &str = r#"
set -eu
refuse() { echo "$1" >&2; exit 1; }
if [ -d "$to" ] && ! [ -L "$to" ]; then to=${to%/}/$name; fi
case $to in */) refuse "$to is not a directory" ;; esac
directory=${to%/*}/
[ -d "$directory" ] || refuse "$directory does not exist"
[ "$(realpath -- "$directory")" = "$(realpath -s -- "$directory")" ] || refuse "$directory leads through a link; name the directory behind it"
if [ -L "$to" ]; then refuse "$to is a link; name the file behind it"; fi
if [ -e "$to" ] && ! [ -f "$to" ]; then refuse "$to exists, and is not a regular file"; fi
umask 077
new=$to.$$.$(od -An -N8 -tx8 /dev/urandom | tr -d ' ')
trap 'rm -f -- "$new"' EXIT
trap 'exit 1' HUP INT TERM
set -C
exec 3>"$new"
set +C
cat >&3
got=$(stat -L -c %s /proc/self/fd/3)
[ "$got" = "$size" ] || refuse "$got of $size bytes arrived"
chown -- "$owner" /proc/self/fd/3
chmod -- "$mode" /proc/self/fd/3
place_durably "$new" "$to"
printf '%s\n' "$to"
"#;

fn fetch(node: &NodeName, remote: &Arc<dyn Remote>, file: &str, to: &Path) -> Result<u64, Missing> {
    let local = |error: io::Error| Missing::because(format!("{}: {error}", to.display()));
    let directory = machinist_durable::directory_of(to);
    machinist_durable::create_directories(directory).map_err(local)?;
    let mut arriving = Unnamed::begin(directory).map_err(local)?;
    let script = format!(
        "f={}\nif ! [ -f \"$f\" ]; then echo \"$f is not a regular file\" >&2; exit 1; fi\ncat -- \"$f\"",
        quote(file)
    );
    let mut counted = Counted { inner: &mut arriving, bytes: 0 };
    let request = Script::new(format!("fetch {file}"), script).timeout(DOWNLOAD).stdout_to(&mut counted);
    remote.run_checked(request).map_err(|error| Missing::failed(node, &error))?;
    let bytes = counted.bytes;
    arriving.place(to).map_err(local)?;
    Ok(bytes)
}

/// Writer that counts its bytes.
struct Counted<W> {
    inner: W,
    bytes: u64,
}

impl<W: Write> Write for Counted<W> {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        let length = self.inner.write(buffer)?;
        self.bytes += length as u64;
        Ok(length)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

fn file_name(path: &str) -> Result<String, Failure> {
    absolute(path)?;
    let name = path.rsplit('/').next().filter(|name| !name.is_empty() && *name != "..");
    name.map(str::to_owned).ok_or_else(|| Failure::new(Kind::Input, format!("{path} names no file")))
}

fn absolute(path: &str) -> Result<(), Failure> {
    if path.starts_with('/') && !path.chars().any(char::is_control) {
        return Ok(());
    }
    Err(Failure::new(Kind::Input, format!("the path on the machines must be absolute: {}", path.escape_debug())))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::{
        fs,
        path::{Path, PathBuf},
        sync::Arc,
    };

    use machinist_model::NodeName;
    use machinist_remote::{Endpoint, Local, Output, Remote, RemoteError, Request};

    use super::{fetch, file_name};

    /// This computer as a machine, which looks into a local directory while a file arrives there.
    struct Looking {
        local: Local,
        directory: PathBuf,
    }

    fn names(directory: &Path) -> Vec<String> {
        let entries = fs::read_dir(directory).unwrap();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }

    impl Remote for Looking {
        fn endpoint(&self) -> &Arc<Endpoint> {
            self.local.endpoint()
        }

        fn run(&self, request: Request<'_>) -> Result<Output, RemoteError> {
            let output = self.local.run(request)?;
            assert_eq!(names(&self.directory), Vec::<String>::new(), "an interrupt would leave this");
            Ok(output)
        }
    }

    #[test]
    fn a_download_that_is_interrupted_leaves_no_file() {
        let [from, to] = [(); 2].map(|()| tempfile::tempdir().unwrap());
        fs::write(from.path().join("a"), "x".repeat(100_000)).unwrap();
        let remote: Arc<dyn Remote> = Arc::new(Looking { local: Local::new("n"), directory: to.path().to_owned() });
        let node = NodeName::parse("n").unwrap();
        let file = from.path().join("a").display().to_string();
        assert_eq!(fetch(&node, &remote, &file, &to.path().join("b")).unwrap(), 100_000);
        assert_eq!(fs::read(to.path().join("b")).unwrap().len(), 100_000);
        assert_eq!(names(to.path()), ["b"]);
    }

    #[test]
    fn a_path_on_a_machine_is_absolute_and_names_a_file() {
        assert_eq!(file_name("/etc/hosts").unwrap(), "hosts");
        for path in ["hosts", "", "/etc/", "/..", "/etc/a\nb"] {
            assert!(file_name(path).is_err(), "{path}");
        }
    }
}
