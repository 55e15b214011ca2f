//! Facts about a host.

use std::collections::{BTreeMap, BTreeSet};

use machinist_nix::StorePath;
use machinist_switch::{BootFiles, SwitchFiles, boot};
use serde::Serialize;

use crate::{kubernetes_version::Version, lock::Lock};

pub use crate::script::GATHER;

/// Facts about a host, as [`GATHER`] reports them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct HostFacts {
    /// The kernel's identifier of this boot.
    pub boot: String,
    /// Processor architecture as printed by `uname -m`, such as `x86_64`.
    pub arch: String,
    /// The running system. None on a host that never ran one of ours.
    pub running: Option<StorePath>,
    /// The system that boots.
    pub profile: Option<StorePath>,
    /// Free bytes on the file system of the store.
    pub store_free: Option<u64>,
    /// True if etcd's data directory has a member, or that of the etcd embedded in k3s.
    pub etcd_data: bool,
    /// True if etcd runs, or k3s, which embeds it on servers.
    pub etcd_active: bool,
    /// True if the host holds the API's virtual address.
    pub virtual_address: bool,
    /// Units in the failed state, sorted.
    pub failed: BTreeSet<String>,
    /// Services that failed and that systemd is about to restart, sorted.
    pub restarting: BTreeSet<String>,
    /// Free space in the directories that machinist itself writes to.
    pub room: BTreeMap<String, Room>,
    /// File names of its private keys.
    pub keys: BTreeSet<String>,
    /// Expiry dates that its daily check of certificates found, in seconds since 1970, by name.
    pub certificates: BTreeMap<String, i64>,
    /// Units of activations in progress.
    pub activations: BTreeSet<String>,
    /// The boot loader's mount for kernels, such as `/boot` or `/efi`, if it is a separate mount.
    pub boot_at: Option<String>,
    /// Free bytes on that mount.
    pub boot_free: Option<u64>,
    /// File names of the boot loader's kernels and initrds there.
    pub boot_files: BTreeSet<String>,
    /// The host's clock, in milliseconds since 1970.
    #[serde(skip)]
    pub clock: Option<i64>,
    /// Minimum offset of its clock in milliseconds; positive if it is ahead.
    #[serde(rename = "clock_skew")]
    pub clock_offset: Option<i64>,
    /// The last system that a deploy confirmed.
    pub confirmed: Option<StorePath>,
    /// The last activation that a deploy started.
    pub last: Option<Last>,
    /// The system that it has booted.
    pub booted_system: Option<StorePath>,
    /// The files that it has booted.
    pub booted: BootFiles,
    /// The files that its running system would boot.
    #[serde(skip)]
    pub current: BootFiles,
    /// The files of its running system that decide whether it can be switched from it.
    #[serde(skip)]
    pub switch: SwitchFiles,
    /// Seconds since this boot.
    pub uptime: u64,
    /// State of the host's lock.
    pub lock: Lock,
    /// The version of Kubernetes that it runs.
    pub kubernetes: Option<Version>,
    /// Required programs that are missing.
    pub lacks: BTreeSet<String>,
}

/// Free space on a file system.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Room {
    /// Free bytes.
    pub bytes: u64,
    /// Number of files that can still be created. None if the file system has no such limit.
    pub files: Option<u64>,
}

impl Room {
    /// Reads `PLACE BYTES FILES`, where FILES may be `-`.
    fn parse(text: &str) -> Option<(String, Self)> {
        let (rest, files) = text.rsplit_once(' ')?;
        let (place, bytes) = rest.rsplit_once(' ')?;
        Some((place.to_owned(), Self { bytes: bytes.parse().ok()?, files: files.parse().ok() }))
    }
}

/// State of a host's record while a system that was installed for one boot has not been confirmed.
pub const BOOTING: &str = "booting";

/// A host's record of its last activation; it survives a reset.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Last {
    /// Identifier of the run.
    pub run: String,
    /// The boot in which it was started.
    pub boot: String,
    /// The system that was activated.
    pub new: Option<StorePath>,
    /// The system that ran before it.
    pub old: Option<StorePath>,
    /// Its progress: `activating`, or its result as a word and a reason.
    pub state: String,
}

/// Parses an expiry date in seconds and a name.
fn certificate(value: &str) -> Option<(String, i64)> {
    let (end, name) = value.split_once(' ')?;
    Some((name.to_owned(), end.parse().ok()?))
}

impl Last {
    fn read(&mut self, line: &str) {
        match line.split_once('=') {
            Some(("run", value)) => value.clone_into(&mut self.run),
            Some(("boot", value)) => value.clone_into(&mut self.boot),
            Some(("new", value)) => self.new = StorePath::parse(value).ok(),
            Some(("old", value)) => self.old = StorePath::parse(value).ok(),
            Some(("state", value)) => value.clone_into(&mut self.state),
            _ => {}
        }
    }
}

impl HostFacts {
    /// Parses the output of [`GATHER`]. Unknown lines are ignored: a newer script may print more.
    #[must_use]
    pub fn parse(output: &str) -> Self {
        let mut facts = Self::default();
        let mut lock = String::new();
        let (mut booted, mut current, mut switch) = (Vec::new(), Vec::new(), Vec::new());
        for (key, value) in output.lines().filter_map(|line| line.split_once('=')) {
            let value = value.trim();
            if value.is_empty() {
                continue;
            }
            match key {
                "boot" => value.clone_into(&mut facts.boot),
                "arch" => value.clone_into(&mut facts.arch),
                "running" => facts.running = StorePath::parse(value).ok(),
                "profile" => facts.profile = StorePath::parse(value).ok(),
                "store_free" => facts.store_free = value.parse().ok(),
                "etcd_data" => facts.etcd_data = true,
                "virtual_address" => facts.virtual_address = true,
                "etcd_active" => facts.etcd_active = true,
                "failed" => drop(facts.failed.insert(value.to_owned())),
                "restarting" => drop(facts.restarting.insert(value.to_owned())),
                "room" => facts.room.extend(Room::parse(value)),
                "key" => drop(facts.keys.insert(value.to_owned())),
                "certificate" => facts.certificates.extend(certificate(value)),
                "activation" => drop(facts.activations.insert(value.to_owned())),
                "boot_at" => facts.boot_at = Some(value.to_owned()),
                "boot_file" => drop(facts.boot_files.insert(value.to_owned())),
                "boot_free" => facts.boot_free = value.parse().ok(),
                "time" => facts.clock = value.parse::<i64>().ok(),
                "confirmed" => facts.confirmed = StorePath::parse(value).ok(),
                "last" => facts.last.get_or_insert_default().read(value),
                "uptime" => facts.uptime = value.parse().unwrap_or(0),
                "booted" => booted.push(value),
                "current" => current.push(value),
                "switch" => switch.push(value),
                "booted_system" => facts.booted_system = StorePath::parse(value).ok(),
                "lock" => lock.extend([value, "\n"]),
                "kubernetes" => facts.kubernetes = Version::parse(value),
                "lacks" => drop(facts.lacks.insert(value.to_owned())),
                _ => {}
            }
        }
        facts.lock = Lock::parse(&lock);
        facts.booted = BootFiles::from_lines(&booted);
        facts.current = BootFiles::from_lines(&current);
        facts.switch = SwitchFiles::from_lines(&switch);
        facts
    }

    /// Returns the units that have failed or keep failing and restarting.
    pub fn unwell(&self) -> impl Iterator<Item = &str> {
        self.failed.union(&self.restarting).map(String::as_str)
    }

    /// Returns the changes of its running system that only a reboot puts into effect, such as
    /// `kernel 6.12.1 -> 6.12.3`.
    #[must_use]
    pub fn reboot_due(&self) -> Vec<String> {
        boot::reboot(&self.booted, &self.current, &self.current).map_or_else(Vec::new, |reboot| reboot.why)
    }

    /// Returns the activation of a system that was to be booted once, if its result is not known yet: the system has
    /// neither been confirmed nor given up.
    #[must_use]
    pub fn trial(&self) -> Option<&Last> {
        self.last.as_ref().filter(|last| last.state == BOOTING)
    }

    /// Returns the running system if it was booted on trial, and neither confirmed nor given up.
    #[must_use]
    pub fn on_trial(&self) -> Option<&StorePath> {
        self.running.as_ref().filter(|running| self.trial().is_some_and(|last| last.new.as_ref() == Some(*running)))
    }

    /// Returns true if the host both runs and boots the system.
    #[must_use]
    pub fn is_on(&self, system: &StorePath) -> bool {
        self.running.as_ref() == Some(system) && self.profile.as_ref() == Some(system)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use machinist_switch::{BootFiles, SwitchFiles, boot_only::boot_only};

    use super::{GATHER, HostFacts};
    use crate::local_system;

    #[test]
    fn this_computer_s_own_answers_are_understood() {
        let output = std::process::Command::new("sh").args(["-c", GATHER]).output();
        let facts = output.map(|output| HostFacts::parse(&String::from_utf8_lossy(&output.stdout)));
        assert!(facts.is_ok_and(|facts| facts.boot.len() == 36 && facts.arch == std::env::consts::ARCH));
    }

    #[test]
    fn what_is_booted_is_told_as_a_look_at_it_does() {
        let folder = tempfile::tempdir().unwrap();
        let booted = folder.path().join("booted-system");
        std::fs::create_dir(&booted).unwrap();
        for (file, text) in [("bzImage", ""), ("ramdisk", ""), ("booted-system/kernel-params", "quiet root=/dev/x")] {
            std::fs::write(folder.path().join(file), text).unwrap();
        }
        for (link, file) in [("kernel", "../bzImage"), ("initrd", "../ramdisk")] {
            std::os::unix::fs::symlink(file, booted.join(link)).unwrap();
        }
        let facts = |directory: &std::path::Path| {
            let script = GATHER.replace("/run/", &format!("{}/", directory.display()));
            let output = std::process::Command::new("sh").args(["-c", &script]).output().unwrap();
            HostFacts::parse(&String::from_utf8_lossy(&output.stdout))
        };
        let ask = |directory: &std::path::Path| facts(directory).booted;
        let found = ask(folder.path());
        assert_eq!(found, local_system::boot_files(&booted));
        assert_eq!((found.params.as_deref(), found.modules), (Some("quiet root=/dev/x"), None));
        assert_eq!(ask(&booted), BootFiles::default(), "a machine that has booted none of ours");
    }

    #[test]
    fn what_decides_on_a_switch_is_told_as_a_look_at_it_does() {
        let folder = tempfile::tempdir().unwrap();
        let current = folder.path().join("current-system");
        let units = current.join("etc/systemd/system");
        std::fs::create_dir_all(&units).unwrap();
        let script = GATHER.replace("/run/", &format!("{}/", folder.path().display()));
        let ask = || {
            let output = std::process::Command::new("sh").args(["-c", &script]).output().unwrap();
            HostFacts::parse(&String::from_utf8_lossy(&output.stdout))
        };
        assert_eq!(ask().switch, SwitchFiles::default());
        std::fs::write(current.join("init-interface-version"), "systemd 2").unwrap();
        std::fs::write(current.join("switch-inhibitors"), "").unwrap();
        std::fs::write(units.join("dbus.service"), "").unwrap();
        let empty = ask().switch;
        assert_eq!((empty.inhibitors.as_deref(), empty.dbus.as_deref()), (Some("\n"), Some("dbus")));
        std::fs::write(current.join("switch-inhibitors"), "{\n  \"a\": \"1\"\n}").unwrap();
        std::fs::rename(units.join("dbus.service"), units.join("dbus-broker.service")).unwrap();
        std::os::unix::fs::symlink("dbus-broker.service", units.join("dbus.service")).unwrap();
        std::fs::write(current.join("kernel-params"), "quiet").unwrap();
        let facts = ask();
        let local = local_system::switch_files(&current);
        assert!(boot_only(&facts.switch, &local).is_empty() && boot_only(&local, &facts.switch).is_empty());
        assert_eq!((facts.switch.interface, facts.switch.dbus.as_deref()), (local.interface, Some("broker")));
        assert!(facts.switch.inhibitors.is_some_and(|text| text.contains("\"a\": \"1\"")));
        assert_eq!(facts.current.params.as_deref(), Some("quiet"));
    }

    #[test]
    fn an_esp_at_efi_is_where_kernels_go_and_a_boot_without_kernels_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| format!("{}{name}", folder.path().display());
        std::fs::create_dir_all(at("/efi/EFI/nixos")).unwrap();
        std::fs::create_dir_all(at("/boot")).unwrap();
        let kernel = "0123456789abcdfghijklmnpqrsvwxyz-linux-6.12.1-bzImage.efi";
        std::fs::write(at("/efi/EFI/nixos/") + kernel, "").unwrap();
        let ask = |mounts: &[&str]| {
            let lines: String =
                mounts.iter().map(|mount| format!("1 1 0:1 / {} rw - vfat x rw\n", at(mount))).collect();
            std::fs::write(at("/mountinfo"), lines).unwrap();
            let places = ["/boot", "/efi", "/boot/efi"].map(at).join(" ");
            let script = GATHER
                .replace("/proc/self/mountinfo", &at("/mountinfo"))
                .replace("/boot /efi /boot/efi", &places)
                .replace("*\" /boot \"*) boot_at=/boot", &format!("*\" {} \"*) boot_at={}", at("/boot"), at("/boot")));
            let output = std::process::Command::new("sh").args(["-c", &script]).output().unwrap();
            let HostFacts { boot_at, boot_free, boot_files, .. } =
                HostFacts::parse(&String::from_utf8_lossy(&output.stdout));
            (boot_at, boot_free.is_some(), boot_files.into_iter().collect::<Vec<_>>())
        };
        assert_eq!(ask(&["/boot", "/efi"]), (Some(at("/efi")), true, vec![kernel.to_owned()]));
        assert_eq!(ask(&["/boot"]), (Some(at("/boot")), true, Vec::new()), "nothing is in it yet");
        assert_eq!(ask(&["/home"]), (None, false, Vec::new()));
    }

    #[test]
    fn noise_and_empty_values_are_passed_over() {
        let hash = "0123456789abcdfghijklmnpqrsvwxyz";
        let text =
            format!("Welcome!\nrunning=/nix/store/{hash}-a\nprofile=\nfailed=b.service\nfailed=a.service\nx=y\n");
        let facts = HostFacts::parse(&text);
        assert_eq!(facts.running.as_ref().map(ToString::to_string), Some(format!("/nix/store/{hash}-a")));
        assert_eq!((facts.profile.as_ref(), facts.failed.len()), (None, 2));
        let booted = HostFacts::parse("booted=kernel=/x/bzImage\nbooted=kernel-params=quiet root=/dev/x\n").booted;
        assert_eq!(
            (booted.kernel.as_deref(), booted.params.as_deref(), booted.initrd),
            (Some("/x/bzImage"), Some("quiet root=/dev/x"), None)
        );
        assert_eq!(HostFacts::parse("lock=fence=3\nlock=run=r\n").lock.fence, 3);
        let certificates = HostFacts::parse("certificate=1795260000 etcd-server\ncertificate=x y\n").certificates;
        assert_eq!(certificates, [("etcd-server".to_owned(), 1_795_260_000)].into());
        let last = HostFacts::parse(&format!("last=run=r\nlast=new=/nix/store/{hash}-n\nlast=state=broken x\n")).last;
        assert_eq!(last.map(|last| (last.run, last.state)), Some(("r".to_owned(), "broken x".to_owned())));
        assert!(facts.running.clone().is_some_and(|system| !facts.is_on(&system)));
    }
}
