//! What a machine needs beyond others to run pods: a container denies it to a kubelet and a container runtime.

use std::path::{Path, PathBuf};

use super::{
    error::Error,
    file::{make_dir, write},
};

/// Directories of a machine that are no part of its overlay, as name and path in the machine: the snapshots of container
/// images are overlays themselves, whose upper directory must not be on another overlay.
const DIRECTORIES: &[(&str, &str)] = &[("containerd", "/var/lib/containerd"), ("kubernetes", "/var/lib/kubernetes")];

/// Devices, as path on this computer and in the machine. A kubelet does not start without the log of the kernel, in which it
/// would find processes that were killed for memory; that of this computer is not shown to it.
const DEVICES: &[(&str, &str)] = &[("/dev/null", "/dev/kmsg")];

/// System calls that systemd-nspawn denies: runc gives each container a session keyring, and limits its devices by BPF.
const SYSTEM_CALLS: &[&str] = &["@keyring", "bpf"];

/// Settings of the kernel that a kubelet requires, with its values. They are the computer's, which a machine must not
/// change: it sees files with these values in their place.
const SYSCTL: &[(&str, &str)] = &[
    ("kernel.keys.root_maxbytes", "25000000"),
    ("kernel.keys.root_maxkeys", "1000000"),
    ("kernel.panic", "10"),
    ("kernel.panic_on_oops", "1"),
    ("vm.overcommit_memory", "1"),
    ("vm.panic_on_oom", "0"),
];

/// Where a machine sees [`INIT`] and the files in place of the settings.
const INSIDE: &str = "/usr/lib/machinist/pods";

/// The first process of such a machine, before its own: systemd-nspawn takes what it mounts in /proc from the machine.
const INIT: &str = "#!/bin/sh
for file in /usr/lib/machinist/pods/sysctl/*; do
  mount --bind \"$file\" \"/proc/sys/$(basename \"$file\" | tr . /)\"
done
exec \"$@\"
";

/// Creates what [`options`] binds.
pub(super) fn make(directory: &Path) -> Result<(), Error> {
    for (name, _) in DIRECTORIES {
        make_dir(&directory.join(name), 0o755)?;
    }
    let pods = directory.join("pods");
    make_dir(&pods.join("sysctl"), 0o755)?;
    for (name, value) in SYSCTL {
        write(&pods.join("sysctl").join(name), format!("{value}\n").as_bytes(), 0o644)?;
    }
    write(&pods.join("init"), INIT.as_bytes(), 0o755)
}

/// Returns systemd-nspawn's options, none of which contains a space.
pub(super) fn options(directory: &Path) -> Vec<String> {
    let bind = |from: PathBuf, to: &str| format!("--bind={}:{to}", from.display());
    let directories = DIRECTORIES.iter().map(|(name, path)| bind(directory.join(name), path));
    let devices = DEVICES.iter().map(|(from, to)| bind(PathBuf::from(from), to));
    let calls = SYSTEM_CALLS.iter().map(|call| format!("--system-call-filter={call}"));
    directories.chain(devices).chain([bind(directory.join("pods"), INSIDE)]).chain(calls).collect()
}

/// Returns the program that starts the machine's first process, which is its argument.
pub(super) fn init() -> String {
    format!("{INSIDE}/init")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use super::*;

    #[test]
    fn all_that_a_machine_binds_for_pods_exists_and_is_one_word_of_the_supervisor() {
        let directory = tempfile::tempdir().unwrap();
        make(directory.path()).unwrap();
        for option in options(directory.path()) {
            assert!(!option.contains(' '), "{option}");
            if let Some(bind) = option.strip_prefix("--bind=") {
                let source = bind.split(':').next().unwrap();
                assert!(Path::new(source).exists(), "{option}");
            }
        }
        for (name, value) in SYSCTL {
            let file = directory.path().join("pods/sysctl").join(name);
            assert_eq!(std::fs::read_to_string(file).unwrap(), format!("{value}\n"));
        }
    }
}
