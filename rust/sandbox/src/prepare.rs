//! Files of a machine: its directory on the host, and the initial files of its root.

use std::{
    fs::{self, File},
    io::{self, Write},
    os::unix::fs::symlink,
    path::{Path, PathBuf},
};

use rustix::fs::{Mode, OFlags, ResolveFlags};

use super::{
    error::Error,
    file::{make_dir, write},
    machine::Machine,
    names, network, pods, programs,
    record::MachineRecord,
    spec::{MachineRoot, MachineSpec, SystemRoot},
};

/// The supervisor's script, the same for all machines.
pub(super) const SUPERVISE: &str = include_str!("supervise.sh");

/// The store of this computer, which a machine of one of its systems sees beneath its own.
const STORE: &str = "/nix/store";

/// Directories of a root that is complete in the store: mount points, and `/usr`, without which nspawn refuses a tree.
const EMPTY_ROOT: &[&str] = &["dev", "etc", "nix", "proc", "root", "run", "sys", "tmp", "usr", "var"];

/// Configuration files that the supervisor of a machine reads, as pairs of file name and content.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Settings(Vec<(&'static str, String)>);

impl Settings {
    /// Returns a machine's settings, derived from the record.
    pub fn of(machine: &Machine<'_>, supervise: &Path) -> Result<Self, Error> {
        let record = machine.record;
        let network = network::of_machine(record, machine.name)?;
        let container = names::container(&record.cluster, machine.name);
        let MachineRecord { root, pods, .. } = record.machine(machine.name)?;
        let (options, starter) =
            if *pods { (pods::options(&machine.directory()), pods::init()) } else { Default::default() };
        let lower: Vec<String> =
            root.lower(&machine.directory()).iter().map(|layer| layer.display().to_string()).collect();
        let variables = [
            ("cgroup", machine.group().display().to_string()),
            ("container", container.clone()),
            ("hostname", machine.name.to_owned()),
            ("machine_id", machine_id(machine)),
            ("namespace", machine.namespace()),
            ("options", options.join(" ")),
            ("port", names::port(machine.name)),
            ("root", lower.join(":")),
            ("starter", starter),
            ("store", root.system().map_or("", |_| STORE).to_owned()),
            ("supervise", supervise.display().to_string()),
            ("switch", names::switch(&record.cluster)),
        ];
        let lines: Vec<String> = variables.iter().map(|(name, value)| format!("{name}={}\n", quoted(value))).collect();
        Ok(Self(vec![
            ("settings", lines.concat()),
            ("network", network.host),
            ("network-switch", network.switch),
            ("network-machine", network.machine),
        ]))
    }

    /// Returns true if the files in `directory` have exactly this content.
    pub fn are_in(&self, directory: &Path) -> bool {
        self.0.iter().all(|(file, text)| fs::read_to_string(directory.join(file)).is_ok_and(|found| found == *text))
    }

    /// Writes the files into `directory`.
    pub fn write(&self, directory: &Path) -> Result<(), Error> {
        self.0.iter().try_for_each(|(file, text)| write(&directory.join(file), text.as_bytes(), 0o644))
    }
}

/// systemd's machine-id(5): 32 hexadecimal digits, different ones after the machine was removed and created again.
fn machine_id(machine: &Machine<'_>) -> String {
    let host_key = host_key(&machine.directory()).unwrap_or_default();
    names::digest(&["machine-id", machine.name, &host_key])[..32].to_owned()
}

/// Quotes a value for sh.
fn quoted(value: &str) -> String {
    format!("'{}'", value.replace('\'', "'\\''"))
}

/// Creates directory, host key and initial files of a stopped machine; existing files are kept.
pub(super) fn make(machine: &Machine<'_>, spec: &MachineSpec) -> Result<(), Error> {
    let directory = machine.directory();
    // Private: it contains the machine's secrets.
    make_dir(&directory, 0o700)?;
    for (name, mode) in [("upper", 0o755), ("work", 0o755), ("merged", 0o755), ("nix", 0o755)] {
        make_dir(&directory.join(name), mode)?;
    }
    make_host_key(&directory, &spec.name)?;
    if spec.pods {
        pods::make(&directory)?;
    }
    let marker = directory.join("prepared");
    if marker.exists() {
        return Ok(());
    }
    let upper = directory.join("upper");
    let key = directory.join("host_key");
    let private = fs::read(&key).map_err(Error::io("read", &key))?;
    let public = host_key(&directory).unwrap_or_default();
    let machine_id = machine_id(machine);
    make_dir(&upper.join("root"), 0o700)?;
    make_dir(&upper.join("root/.ssh"), 0o700)?;
    for (path, contents, mode) in [
        ("etc/ssh/ssh_host_ed25519_key", private.as_slice(), 0o600),
        ("etc/ssh/ssh_host_ed25519_key.pub", format!("{public}\n").as_bytes(), 0o644),
        ("etc/machine-id", format!("{machine_id}\n").as_bytes(), 0o444),
    ] {
        write_below(&upper, Path::new(path), contents, mode)?;
    }
    match &spec.root {
        MachineRoot::Debian => {
            let port = format!("Port {}\n", spec.ssh_port);
            write_below(&upper, Path::new("etc/hostname"), format!("{}\n", spec.name).as_bytes(), 0o644)?;
            write_below(&upper, Path::new("etc/ssh/sshd_config.d/port.conf"), port.as_bytes(), 0o644)?;
        }
        MachineRoot::System(root) => make_system_root(&directory, root)?,
    }
    for file in &spec.files {
        let path = file.path.strip_prefix("/").unwrap_or(&file.path);
        write_below(&upper, path, &file.contents, file.mode)?;
    }
    write(&marker, b"", 0o644)
}

/// Creates the layers of a machine of this computer's store, and its system profile with the first generation.
fn make_system_root(directory: &Path, root: &SystemRoot) -> Result<(), Error> {
    for folder in EMPTY_ROOT {
        make_dirs(&directory.join("empty").join(folder))?;
    }
    for folder in ["store", "store-work", "nix/store", "nix/var/nix/profiles", "nix/var/nix/gcroots"] {
        make_dirs(&directory.join(folder))?;
    }
    let profiles = directory.join("nix/var/nix/profiles");
    link(&root.system, &profiles.join("system-1-link"))?;
    link(Path::new("system-1-link"), &profiles.join("system"))?;
    link(Path::new("/nix/var/nix/profiles"), &directory.join("nix/var/nix/gcroots/profiles"))
}

fn make_dirs(path: &Path) -> Result<(), Error> {
    fs::create_dir_all(path).map_err(Error::io("make", path))
}

/// Creates a symbolic link, or leaves the one that a run created before it was killed.
fn link(target: &Path, path: &Path) -> Result<(), Error> {
    match symlink(target, path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        other => other.map_err(Error::io("link", path)),
    }
}

/// Creates the machine's ed25519 host key unless it exists.
fn make_host_key(directory: &Path, name: &str) -> Result<(), Error> {
    let key = directory.join("host_key");
    if key.exists() {
        return Ok(());
    }
    // A temporary directory, because a killed run may have left an ssh-keygen behind that is still writing.
    let place = tempfile::Builder::new().prefix("host_key.").tempdir_in(directory);
    let place = place.map_err(Error::io("create a directory in", directory))?;
    let new = place.path().join("key");
    let (path, comment) = (new.display().to_string(), format!("root@{name}"));
    programs::run("ssh-keygen", &["-q", "-t", "ed25519", "-N", "", "-C", &comment, "-f", &path])?;
    let public = place.path().join("key.pub");
    machinist_durable::rename(&public, &directory.join("host_key.pub")).map_err(Error::io("rename", &public))?;
    // The private key is renamed last: if it exists, the pair is complete.
    machinist_durable::rename(&new, &key).map_err(Error::io("rename", &new))
}

/// Returns the public host key as an OpenSSH line, without newline.
pub(super) fn host_key(directory: &Path) -> Option<String> {
    let text = fs::read_to_string(directory.join("host_key.pub")).ok()?;
    Some(text.trim_end().to_owned())
}

/// Updates root's authorized keys if the request differs from the previous request: a machine that changed its keys
/// itself keeps them.
pub(super) fn sync_authorized_keys(machine: &Machine<'_>, spec: &MachineSpec) -> Result<(), Error> {
    let directory = machine.directory();
    let wanted: String = spec.authorized_keys.iter().map(|key| format!("{key}\n")).collect();
    let last = directory.join("authorized_keys");
    if fs::read_to_string(&last).is_ok_and(|found| found == wanted) {
        return Ok(());
    }
    // The lower and upper directories of a mounted overlay must not be modified: a running machine's root is accessed
    // through its process 1.
    let root = match machine.processes().leader {
        Some(leader) => PathBuf::from(format!("/proc/{leader}/root")),
        None => directory.join("upper"),
    };
    write_inside(&root, "root/.ssh/authorized_keys", wanted.as_bytes())?;
    write(&last, wanted.as_bytes(), 0o600)
}

/// Writes a file below an untrusted root: symbolic links in it are never followed out of it.
fn write_inside(root: &Path, path: &str, contents: &[u8]) -> Result<(), Error> {
    let full = root.join(path);
    let fail = || Error::io("write", &full);
    let directory = File::open(root).map_err(Error::io("open", root))?;
    let flags = OFlags::CREATE | OFlags::WRONLY | OFlags::TRUNC | OFlags::CLOEXEC;
    let mode = Mode::RUSR | Mode::WUSR;
    let file = rustix::fs::openat2(&directory, path, flags, mode, ResolveFlags::IN_ROOT);
    let file = file.map_err(|error| fail()(io::Error::from(error)))?;
    File::from(file).write_all(contents).map_err(fail())
}

fn write_below(root: &Path, path: &Path, contents: &[u8], mode: u32) -> Result<(), Error> {
    let mut directory = root.to_owned();
    for part in path.parent().into_iter().flat_map(Path::components) {
        directory.push(part);
        if !directory.is_dir() {
            make_dir(&directory, 0o755)?;
        }
    }
    write(&root.join(path), contents, mode)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use super::*;

    #[test]
    fn a_value_for_sh_stays_one_word() {
        for value in ["plain", "a b", "it's", "$(x) `y` \\ \""] {
            let line = format!("v={}; printf %s \"$v\"", quoted(value));
            assert_eq!(programs::run("sh", &["-c", &line]).unwrap(), value);
        }
    }

    #[test]
    fn a_link_in_a_foreign_root_does_not_lead_out_of_it() {
        let dir = tempfile::tempdir().unwrap();
        let (root, outside) = (dir.path().join("machine"), dir.path().join("outside"));
        fs::create_dir_all(root.join("root")).unwrap();
        fs::create_dir_all(&outside).unwrap();
        std::os::unix::fs::symlink(&outside, root.join("root/.ssh")).unwrap();
        assert!(write_inside(&root, "root/.ssh/authorized_keys", b"key\n").is_err());
        assert!(!outside.join("authorized_keys").exists());
        fs::remove_file(root.join("root/.ssh")).unwrap();
        fs::create_dir_all(root.join("etc/keys")).unwrap();
        std::os::unix::fs::symlink("/etc/keys", root.join("root/.ssh")).unwrap();
        write_inside(&root, "root/.ssh/authorized_keys", b"key\n").unwrap();
        assert_eq!(fs::read(root.join("etc/keys/authorized_keys")).unwrap(), b"key\n");
    }
}
