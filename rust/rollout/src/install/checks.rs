//! Checks of a machine before its installation: what would keep it from becoming the node, or from coming back. Pure.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use serde::{Deserialize, Serialize};

use super::survey::{Address, Block, Firmware, Survey};

/// Memory that the installer needs, in bytes: nixos-anywhere asks for 1.5 GB, of which the kernel keeps a part.
const MEMORY: u64 = 1_400_000_000;
/// Disk below which a system with a few generations does not fit, in bytes.
const SMALL_DISK: u64 = 8_000_000_000;
/// Maximum number of devices in a message.
const NAMED: usize = 12;

/// Content of a physical volume of LVM.
const LVM: &str = "LVM2_member";
/// Contents that are parts of something that may have other parts on other disks.
const PARTS: [&str; 4] = [LVM, "btrfs", "linux_raid_member", "zfs_member"];

/// A check.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Check {
    /// The host key is known.
    HostKey,
    /// The configuration of the node evaluates.
    Configuration,
    /// The machine answered completely.
    Answer,
    /// The machine is no container.
    Container,
    /// The processor is that of the node.
    Architecture,
    /// The login user becomes root.
    Privileges,
    /// The programs that nixos-anywhere calls are there.
    Programs,
    /// The memory holds the installer.
    Memory,
    /// The kernel boots another one.
    Kexec,
    /// Secure Boot is off.
    SecureBoot,
    /// The disk layout boots by the firmware.
    Firmware,
    /// The disks are there.
    Disk,
    /// The disks hold nothing that is in use, except the system that is replaced.
    DiskInUse,
    /// The disks are no part of something that lives on other disks, too.
    DiskShared,
    /// The new system has an address.
    Network,
    /// The initial ramdisk has the drivers.
    Modules,
}

impl Check {
    /// All checks, in the order of their findings.
    pub const ALL: [Self; 16] = [
        Self::HostKey,
        Self::Configuration,
        Self::Answer,
        Self::Container,
        Self::Architecture,
        Self::Privileges,
        Self::Programs,
        Self::Memory,
        Self::Kexec,
        Self::SecureBoot,
        Self::Firmware,
        Self::Disk,
        Self::DiskInUse,
        Self::DiskShared,
        Self::Network,
        Self::Modules,
    ];

    /// Returns the name, by which `--ignore` takes it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::HostKey => "host-key",
            Self::Configuration => "configuration",
            Self::Answer => "answer",
            Self::Container => "container",
            Self::Architecture => "architecture",
            Self::Privileges => "privileges",
            Self::Programs => "programs",
            Self::Memory => "memory",
            Self::Kexec => "kexec",
            Self::SecureBoot => "secure-boot",
            Self::Firmware => "firmware",
            Self::Disk => "disk",
            Self::DiskInUse => "disk-in-use",
            Self::DiskShared => "disk-shared",
            Self::Network => "network",
            Self::Modules => "modules",
        }
    }

    /// Returns the check of this name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|check| check.name() == name)
    }
}

/// Weight of a finding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Weight {
    /// The installation is refused.
    Refused,
    /// A risk.
    Warning,
}

/// A finding.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// The check.
    pub check: Check,
    /// Its weight.
    pub weight: Weight,
    /// What is there, in one sentence.
    pub text: String,
    /// What to do about it.
    pub fix: String,
}

impl Finding {
    /// Creates a finding that refuses the installation.
    pub fn refused(check: Check, text: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { check, weight: Weight::Refused, text: text.into(), fix: fix.into() }
    }

    /// Creates a warning.
    pub fn warning(check: Check, text: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { weight: Weight::Warning, ..Self::refused(check, text, fix) }
    }
}

/// What the node's configuration needs of the machine: the option `machinist.install`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Needs {
    /// Firmware that the layout boots by, `uefi`, `bios` or `hybrid`; absent with a layout of the operator's own.
    pub firmware: Option<String>,
    /// Paths of the disks that are erased.
    pub disks: Vec<String>,
    /// Paths of disks that are used as they are.
    #[serde(default)]
    pub kept: Vec<String>,
    /// File systems that are mounted as they are, by the path of their device.
    #[serde(default)]
    pub data: BTreeMap<String, String>,
    /// Kernel modules in the initial ramdisk.
    #[serde(default)]
    pub initrd_modules: Vec<String>,
    /// True if the initial ramdisk uses the network.
    #[serde(default)]
    pub initrd_network: bool,
    /// True if an interface asks for its address.
    pub dhcp: bool,
    /// Addresses that are set, by interface.
    #[serde(default)]
    pub addresses: BTreeMap<String, Vec<String>>,
}

/// What the installation needs of the machine.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// The node's name.
    pub node: String,
    /// The Nix system of the node, such as `x86_64-linux`.
    pub system: String,
    /// Paths of the disks that are erased.
    pub disks: Vec<String>,
    /// Needs of the configuration; absent if it could not be evaluated.
    pub needs: Option<Needs>,
    /// True if the hardware configuration is generated, so that it has the drivers of the disks.
    pub generates_hardware: bool,
}

/// A disk of the machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Disk {
    /// Its path in machines.nix, or else its most stable one.
    pub path: String,
    /// Its path by the kernel's name.
    pub device: String,
    /// Its size in bytes.
    pub size: u64,
    /// Its model.
    pub model: String,
    /// Its serial number.
    pub serial: String,
    /// What is on it, a device a line.
    pub contents: Vec<String>,
}

impl Disk {
    fn new(path: String, name: &str, survey: &Survey) -> Self {
        let block = survey.blocks.get(name).cloned().unwrap_or_default();
        Self {
            path,
            device: format!("/dev/{name}"),
            size: block.size,
            model: block.model,
            serial: block.serial,
            contents: contents(name, survey),
        }
    }

    /// Returns the description for a question.
    #[must_use]
    pub fn words(&self) -> String {
        let mut words = vec![format!("{:.1} GB", gigabytes(self.size))];
        words.extend([&self.model].into_iter().filter(|text| !text.is_empty()).cloned());
        words.extend(
            [&self.serial].into_iter().filter(|text| !text.is_empty()).map(|serial| format!("serial {serial}")),
        );
        let contents =
            if self.contents.is_empty() { "nothing known on it".to_owned() } else { self.contents.join("; ") };
        let device = if self.device == self.path { String::new() } else { format!("{}, ", self.device) };
        format!("{} ({device}{}): {contents}", self.path, words.join(", "))
    }
}

/// Result of the checks.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Verdict {
    /// Findings, in the order of the checks.
    pub findings: Vec<Finding>,
    /// Disks that are erased.
    pub erased: Vec<Disk>,
    /// Disks that stay as they are.
    pub untouched: Vec<Disk>,
}

/// Checks a machine.
#[must_use]
pub fn check(survey: &Survey, wanted: &Wanted) -> Verdict {
    let mut verdict = Verdict::default();
    if !survey.is_complete {
        verdict.findings.push(Finding::refused(
            Check::Answer,
            "the machine did not answer completely",
            "run the command again; a shell that prints or exits at login may be the reason",
        ));
        return verdict;
    }
    let found = &mut verdict.findings;
    found.extend(machine(survey, wanted));
    found.extend(boot(survey, wanted.needs.as_ref()));
    let names: BTreeMap<String, String> =
        wanted.disks.iter().filter_map(|path| Some((survey.wanted.get(path)?.clone()?, path.clone()))).collect();
    let erased: BTreeSet<String> = names.keys().cloned().collect();
    for path in &wanted.disks {
        found.extend(disk(path, survey, &erased));
    }
    found.extend(one_disk_twice(survey, wanted));
    found.extend(scattered(survey, &erased));
    found.extend(same_name(survey, &erased));
    if let Some(needs) = &wanted.needs {
        found.extend(needs.kept.iter().filter_map(|path| kept(path, needs.data.get(path), survey, &erased)));
    }
    found.extend(wanted.needs.as_ref().and_then(|needs| network(survey, needs, &wanted.node)));
    found.extend(modules(survey, wanted, &erased));
    found.sort_by_key(|finding| finding.check);
    verdict.erased = names.into_iter().map(|(name, path)| Disk::new(path, &name, survey)).collect();
    let others = survey.blocks.iter().filter(|(name, block)| block.is_disk() && !erased.contains(*name));
    let others = others.filter(|(_, block)| block.size > 0).map(|(name, _)| name);
    verdict.untouched = others.map(|name| Disk::new(stable_path(name, survey), name, survey)).collect();
    verdict
}

fn machine(survey: &Survey, wanted: &Wanted) -> Vec<Finding> {
    let mut found = Vec::new();
    if let Some(kind) = &survey.container {
        let text = format!("it is a container ({kind}): it has no kernel of its own, and no disk");
        found.push(Finding::refused(Check::Container, text, "install the machine that the container runs on"));
    }
    let arch = wanted.system.split('-').next().unwrap_or_default();
    if survey.arch != arch || survey.os != "Linux" {
        let text = format!("it is {} {}, and the node is {}", survey.arch, survey.os, wanted.system);
        let fix = format!("write machines.{}.system = \"{}-linux\", or correct the address", wanted.node, survey.arch);
        found.push(Finding::refused(Check::Architecture, text, fix));
    }
    if !survey.is_root {
        let text = "the login user is not root, and has no sudo or doas without a password";
        let fix = "log in as root, or give the user a line such as `USER ALL=(ALL) NOPASSWD: ALL` in /etc/sudoers.d";
        found.push(Finding::refused(Check::Privileges, text, fix));
    }
    let missing: Vec<&str> =
        ["tar", "cpio", "setsid"].into_iter().filter(|program| !survey.programs.contains(*program)).collect();
    if !missing.is_empty() {
        let text = format!("nixos-anywhere needs {} there (setsid with --wait, from util-linux)", missing.join(", "));
        let fix = format!("install it: `apt-get install {}`, or the package of the distribution", missing.join(" "));
        found.push(Finding::refused(Check::Programs, text, fix));
    }
    match survey.memory {
        Some(memory) if memory < MEMORY => {
            let text = format!("it has {} MiB of memory, and the installer runs from memory", memory >> 20);
            let fix = "give it 2 GB or more; with 1 GB, partition and install from the installer's own image";
            found.push(Finding::refused(Check::Memory, text, fix));
        }
        _ => {}
    }
    found
}

fn boot(survey: &Survey, needs: Option<&Needs>) -> Vec<Finding> {
    let mut found = Vec::new();
    if !survey.is_installer && survey.container.is_none() {
        let why = match (survey.kexec_disabled, survey.lockdown.as_deref()) {
            (None, _) => Some("its kernel has no kexec".to_owned()),
            (Some(true), _) => Some("kexec is switched off (kexec_load_disabled is 1)".to_owned()),
            (_, Some(mode)) => Some(format!("the kernel is locked down ({mode}), and refuses kexec")),
            _ => None,
        };
        if let Some(why) = why {
            let fix = "reboot without lockdown, Secure Boot and `kernel.kexec_load_disabled`, or boot the NixOS \
                       installer (a USB stick, the provider's rescue system or ISO image): it needs no kexec";
            found.push(Finding::refused(Check::Kexec, why, fix));
        }
    }
    if survey.secure_boot {
        let fix = "switch it off in the firmware's settings";
        found.push(Finding::refused(Check::SecureBoot, "Secure Boot is on, and refuses NixOS' boot loader", fix));
    }
    let (Some(firmware), Some(layout)) = (survey.firmware, needs.and_then(|needs| needs.firmware.as_deref())) else {
        return found;
    };
    let other = match (firmware, layout) {
        (Firmware::Bios, "uefi") => "bios",
        (Firmware::Uefi, "bios") => "uefi",
        _ => return found,
    };
    let text = format!("it has booted by {firmware}, and the disk layout boots by {layout} only");
    let fix = format!(
        "write `machinist.disk.firmware = \"{other}\";` in nodes/NAME.nix, or \"hybrid\", which boots by both; or change \
         the boot mode in the firmware's settings"
    );
    found.push(Finding::refused(Check::Firmware, text, fix));
    found
}

fn disk(path: &str, survey: &Survey, erased: &BTreeSet<String>) -> Vec<Finding> {
    let name = match survey.wanted.get(path) {
        None => {
            return vec![Finding::refused(Check::Disk, format!("{path} is not there"), known_disks(survey))];
        }
        Some(None) => {
            return vec![Finding::refused(Check::Disk, format!("{path} is no block device"), known_disks(survey))];
        }
        Some(Some(name)) => name,
    };
    let Some(block) = survey.blocks.get(name) else {
        let text = format!("{path} (/dev/{name}) is no disk of this machine");
        return vec![Finding::refused(Check::Disk, text, known_disks(survey))];
    };
    if !block.is_disk() {
        let kind = match (&block.partition_of, &block.raid, &block.mapper) {
            (Some(disk), ..) => format!("a partition of /dev/{disk}"),
            (_, Some(level), _) => format!("an array ({level})"),
            (.., Some(mapper)) => format!("a mapping ({mapper})"),
            _ => "something else".to_owned(),
        };
        let text = format!("{path} (/dev/{name}) is {kind}, not a whole disk");
        return vec![Finding::refused(Check::Disk, text, known_disks(survey))];
    }
    let mut found = Vec::new();
    if block.is_read_only {
        let text = format!("{path} (/dev/{name}) is read-only");
        found.push(Finding::refused(Check::Disk, text, "release its write protection, or name another disk"));
    }
    if block.size < SMALL_DISK {
        let text = format!("{path} (/dev/{name}) has {:.1} GB", gigabytes(block.size));
        found.push(Finding::warning(Check::Disk, text, "a node with a few generations needs 8 GB or more"));
    }
    let disks = survey.blocks.values().filter(|block| block.is_disk() && block.size > 0).count();
    if disks > 1 && !path.starts_with("/dev/disk/") {
        let text = format!("{path} is the kernel's name of a disk, and may be another one's in the installer");
        let fix = format!("write a path that stays: {}", stable_path(name, survey));
        found.push(Finding::warning(Check::Disk, text, fix));
    }
    found.extend(in_use(path, name, survey));
    found.extend(shared(path, name, survey, erased));
    found
}

/// Refuses a disk with data that is not as the configuration says, or would be erased with another one.
fn kept(path: &str, file_system: Option<&String>, survey: &Survey, erased: &BTreeSet<String>) -> Option<Finding> {
    let Some(name) = survey.wanted.get(path).cloned().flatten() else {
        let text = format!("{path}, which is to be kept, is not there");
        return Some(Finding::refused(Check::Disk, text, known_disks(survey)));
    };
    let below = survey.disks_below(&name);
    if let Some(disk) = below.iter().find(|disk| erased.contains(*disk)) {
        let text = format!("{path} (/dev/{name}), which is to be kept, is on /dev/{disk}, which is erased");
        return Some(Finding::refused(Check::Disk, text, "keep another disk, or move its data first"));
    }
    let content = survey.blocks.get(&name).map(|block| block.content.as_str()).unwrap_or_default();
    let file_system = file_system.filter(|file_system| *file_system != content)?;
    if content.is_empty() {
        let text = format!("{path} (/dev/{name}) is to be kept, and shows no file system");
        let fix = format!("it is mounted as it is: if it is new, `mkfs.{file_system} {path}` there");
        return Some(Finding::warning(Check::Disk, text, fix));
    }
    let text = format!("{path} (/dev/{name}), which is to be kept, holds {content}, and not {file_system}");
    Some(Finding::refused(Check::Disk, text, "correct its device or fileSystem in machines.nix"))
}

/// Refuses a disk that is in use by something else than the present system.
fn in_use(path: &str, name: &str, survey: &Survey) -> Option<Finding> {
    let root = survey.mounts.iter().find(|mount| mount.point == "/");
    if root.is_some_and(|root| survey.disks_of(root).contains(name)) && !survey.is_installer {
        return None;
    }
    let mut uses: Vec<String> = survey
        .mounts
        .iter()
        .filter(|mount| survey.disks_of(mount).contains(name))
        .map(|mount| format!("{} ({})", mount.point, mount.kind))
        .collect();
    let above = survey.above(name);
    uses.extend(survey.swaps.iter().filter(|swap| above.contains(*swap)).map(|swap| format!("swap on {swap}")));
    let pools = survey.pools.iter().filter(|(_, devices)| !devices.is_disjoint(&above));
    uses.extend(pools.map(|(pool, _)| format!("ZFS pool {pool}")));
    if uses.is_empty() {
        return None;
    }
    uses.sort_unstable();
    uses.dedup();
    let why = if survey.is_installer { "by the running installer" } else { "and not by the running system" };
    let text = format!("{path} (/dev/{name}) is in use, {why}: {}", named(uses));
    let fix = if survey.is_installer {
        "an installation that was cut off has left that: see that nothing of it runs (`pgrep -fa 'disko|nixos-install'`), \
         then `umount -R /mnt` (and `zpool export -a`) there, and run the command again"
    } else {
        "check that machines.nix names the right disk; if its data may go, unmount it there (`umount`, `swapoff`, \
         `zpool export`) and run the command again"
    };
    Some(Finding::refused(Check::DiskInUse, text, fix))
}

/// Refuses a disk that is a part of something that also lives on a disk that stays.
fn shared(path: &str, name: &str, survey: &Survey, erased: &BTreeSet<String>) -> Option<Finding> {
    let above = survey.above(name);
    let beside = |device: &String| {
        let others: Vec<String> =
            survey.disks_below(device).into_iter().filter(|disk| !erased.contains(disk)).collect();
        (!others.is_empty()).then(|| format!("{} with {}", describe(device, survey), others.join(", ")))
    };
    let mut parts: Vec<String> = above.iter().filter_map(beside).collect();
    for (pool, devices) in survey.pools.iter().filter(|(_, devices)| !devices.is_disjoint(&above)) {
        let disks: BTreeSet<String> = devices.iter().flat_map(|device| survey.disks_below(device)).collect();
        let others: Vec<String> = disks.difference(erased).cloned().collect();
        if !others.is_empty() {
            parts.push(format!("ZFS pool {pool} with {}", others.join(", ")));
        }
    }
    if parts.is_empty() {
        return None;
    }
    parts.sort_unstable();
    parts.dedup();
    let text = format!("{path} (/dev/{name}) is a part of {}", named(parts));
    let fix = "what is left of it on the other disks would start again with the new system: take it apart first \
               (`mdadm --stop`, `vgremove`, `zpool destroy`, then `wipefs`), or list all its disks in machines.nix";
    Some(Finding::refused(Check::DiskShared, text, fix))
}

/// Refuses two paths of one disk, as the disks of a mirror.
fn one_disk_twice(survey: &Survey, wanted: &Wanted) -> Option<Finding> {
    let mut seen: BTreeMap<&str, &str> = BTreeMap::new();
    for path in &wanted.disks {
        let Some(Some(name)) = survey.wanted.get(path) else { continue };
        if let Some(other) = seen.insert(name, path) {
            let text = format!("{other} and {path} are the same disk (/dev/{name})");
            return Some(Finding::refused(Check::Disk, text, known_disks(survey)));
        }
    }
    None
}

/// Refuses to erase a part of something that may have another part on a disk that stays, and that nothing has assembled:
/// disko removes the whole of a volume group, not only what is on the disk.
fn scattered(survey: &Survey, erased: &BTreeSet<String>) -> Vec<Finding> {
    let parts = |on_erased: bool| {
        survey.blocks.iter().filter(move |(name, block)| {
            PARTS.contains(&block.content.as_str())
                && survey.disks_below(name).iter().any(|disk| erased.contains(disk)) == on_erased
        })
    };
    let may_belong =
        |one: &Block, other: &Block| one.content == other.content && (one.content == LVM || one.label == other.label);
    let mut found = Vec::new();
    for (name, block) in parts(true) {
        let others = parts(false).filter(|(_, other)| may_belong(block, other));
        let others: Vec<String> = others.map(|(other, _)| format!("/dev/{other}")).collect();
        if !others.is_empty() {
            let text = format!(
                "/dev/{name}, which is erased, and {}, which stays, are of one kind ({}), and may be parts of one thing",
                others.join(", "),
                block.content
            );
            let fix = "compare them there (`pvs`, `mdadm --examine`, `zpool import`, `btrfs filesystem show`); what spans \
                       both is lost on both: take it apart first";
            found.push(Finding::refused(Check::DiskShared, text, fix));
        }
    }
    found
}

/// Refuses a pool or an array on a disk that stays, with the name of one that the layout makes: disko would take it.
fn same_name(survey: &Survey, erased: &BTreeSet<String>) -> Vec<Finding> {
    let stays = |name: &str| !survey.disks_below(name).iter().any(|disk| erased.contains(disk));
    let is_ours = |block: &Block| match block.content.as_str() {
        "zfs_member" => block.label == "rpool",
        "linux_raid_member" => matches!(block.label.rsplit(':').next(), Some("root" | "boot")),
        _ => false,
    };
    let taken = survey.blocks.iter().filter(|(name, block)| is_ours(block) && stays(name));
    taken
        .map(|(name, block)| {
            let text = format!(
                "/dev/{name}, which stays, is a part of {}: a mirror or ZFS would be installed into that",
                block.label
            );
            let fix =
                "rename it there, or unplug its disk for the installation; with one disk and ext4 it is in no danger";
            Finding::refused(Check::DiskShared, text, fix)
        })
        .collect()
}

fn network(survey: &Survey, needs: &Needs, node: &str) -> Option<Finding> {
    let addresses = survey.addresses.as_ref()?;
    let fixed: Vec<&Address> = addresses.iter().filter(|address| !address.is_dynamic).collect();
    let gateway = survey.routes.iter().find(|route| !route.is_v6).or_else(|| survey.routes.first());
    let is_leased = gateway.is_some_and(|route| route.is_dynamic)
        || addresses.iter().any(|address| {
            address.is_dynamic && gateway.is_none_or(|route| route.interface == address.interface) && is_v4(address)
        });
    let missing: Vec<&str> = needs
        .addresses
        .keys()
        .map(String::as_str)
        .filter(|interface| !addresses.iter().any(|address| address.interface == *interface))
        .collect();
    if is_leased || survey.is_installer || fixed.is_empty() {
        if !needs.dhcp && !missing.is_empty() && !addresses.is_empty() {
            let present: BTreeSet<&str> = addresses.iter().map(|address| address.interface.as_str()).collect();
            let text = format!(
                "the node sets its address on {}, and here the addresses are on {}",
                missing.join(", "),
                present.into_iter().collect::<Vec<_>>().join(", ")
            );
            let fix = "names of interfaces may differ between distributions; compare `ip link` with `interface`";
            return Some(Finding::warning(Check::Network, text, fix));
        }
        return None;
    }
    let configured: BTreeSet<&str> =
        needs.addresses.values().flatten().filter_map(|address| address.split('/').next()).collect();
    let on_gateway = |address: &&&Address| gateway.is_none_or(|route| route.interface == address.interface);
    let main = fixed.iter().filter(on_gateway).find(|address| is_v4(address)).or_else(|| fixed.first())?;
    let main_ip = main.address.split('/').next().unwrap_or_default();
    if configured.contains(main_ip) {
        return None;
    }
    let next = gateway.and_then(|route| route.gateway.clone()).unwrap_or_else(|| "GATEWAY".to_owned());
    let (ip, prefix) = main.address.split_once('/').unwrap_or((&main.address, "24"));
    let text = format!(
        "its address {} on {} is set by hand, no DHCP server gave it one, and the node's configuration does not set it",
        main.address, main.interface
    );
    let fix = format!(
        "write it in nodes/{node}.nix, or the machine does not come back: `networking.interfaces.{}.ipv4.addresses = [ {{ \
         address = \"{ip}\"; prefixLength = {prefix}; }} ]; networking.defaultGateway = {{ address = \"{next}\"; interface \
         = \"{0}\"; }};`; or use it as `ip` with `interface` and network.gateway in machines.nix",
        main.interface
    );
    Some(if needs.dhcp && !needs.addresses.is_empty() {
        // Another interface has an address of the configuration.
        Finding::warning(Check::Network, text, fix)
    } else {
        Finding::refused(Check::Network, text, fix)
    })
}

fn is_v4(address: &Address) -> bool {
    address.address.split('/').next().and_then(|text| text.parse::<IpAddr>().ok()).is_some_and(|ip| ip.is_ipv4())
}

fn modules(survey: &Survey, wanted: &Wanted, erased: &BTreeSet<String>) -> Option<Finding> {
    let needs = wanted.needs.as_ref()?;
    if needs.initrd_modules.is_empty() {
        return None;
    }
    // The kernel writes names of modules with underscores, a configuration may not.
    let plain = |name: &str| name.replace('-', "_");
    let present: BTreeSet<String> = needs.initrd_modules.iter().map(|name| plain(name)).collect();
    let mut missing: BTreeSet<String> = BTreeSet::new();
    if !wanted.generates_hardware {
        let modules = erased.iter().filter_map(|name| survey.blocks.get(name)).flat_map(|block| &block.modules);
        missing.extend(modules.filter(|module| !present.contains(&plain(module))).cloned());
    }
    if needs.initrd_network {
        missing.extend(survey.nics.values().filter(|module| !present.contains(&plain(module))).cloned());
    }
    if missing.is_empty() {
        return None;
    }
    let list: Vec<String> = missing.iter().map(|module| format!("\"{module}\"")).collect();
    let text = format!("the initial ramdisk has no {}, which drives its disk or network here", named(missing));
    let fix =
        format!("write `boot.initrd.availableKernelModules = [ {} ];` in nodes/{}.nix", list.join(" "), wanted.node);
    Some(Finding::warning(Check::Modules, text, fix))
}

/// Returns what is on a disk, a device each.
fn contents(disk: &str, survey: &Survey) -> Vec<String> {
    let mut found = Vec::new();
    for name in survey.above(disk) {
        let Some(block) = survey.blocks.get(&name) else { continue };
        let mut words = vec![describe(&name, survey)];
        if !block.content.is_empty() {
            words.push(block.content.clone());
        }
        if !block.label.is_empty() {
            words.push(format!("\"{}\"", block.label));
        }
        let points: Vec<&str> =
            survey.mounts.iter().filter(|mount| mount.device == name).map(|mount| mount.point.as_str()).collect();
        if !points.is_empty() {
            words.push(format!("on {}", points.join(", ")));
        }
        if survey.swaps.contains(&name) {
            words.push("swap in use".to_owned());
        }
        if words.len() > 1 {
            found.push(words.join(" "));
        }
    }
    let above = survey.above(disk);
    let pools = survey.pools.iter().filter(|(_, devices)| !devices.is_disjoint(&above));
    found.extend(pools.map(|(pool, _)| format!("ZFS pool {pool} in use")));
    if found.len() > NAMED {
        let more = found.len() - NAMED;
        found.truncate(NAMED);
        found.push(format!("{more} more"));
    }
    found
}

fn describe(name: &str, survey: &Survey) -> String {
    match survey.blocks.get(name) {
        Some(Block { mapper: Some(mapper), .. }) => mapper.clone(),
        Some(Block { raid: Some(level), .. }) => format!("{name} ({level})"),
        _ => name.to_owned(),
    }
}

fn stable_path(name: &str, survey: &Survey) -> String {
    let paths = survey.ids.get(name);
    // The names with a model and a serial number say more than a number of the bus.
    let best = paths.and_then(|paths| paths.iter().min_by_key(|path| (is_number(path), path.len())));
    best.cloned().unwrap_or_else(|| format!("/dev/{name}"))
}

fn is_number(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or_default();
    ["wwn-", "nvme-eui.", "nvme-nvme.", "dm-uuid-"].iter().any(|prefix| name.starts_with(prefix))
}

fn known_disks(survey: &Survey) -> String {
    let disks = survey.blocks.iter().filter(|(_, block)| block.is_disk() && block.size > 0);
    let disks: Vec<String> =
        disks.map(|(name, block)| format!("{} ({:.1} GB)", stable_path(name, survey), gigabytes(block.size))).collect();
    if disks.is_empty() {
        return "the machine shows no disk".to_owned();
    }
    format!("its disks: {}; write the right one in machines.nix", named(disks))
}

fn named(items: impl IntoIterator<Item = String>) -> String {
    let items: Vec<String> = items.into_iter().collect();
    let shown = items.iter().take(NAMED).cloned().collect::<Vec<_>>().join(", ");
    if items.len() > NAMED { format!("{shown} and {} more", items.len() - NAMED) } else { shown }
}

#[allow(clippy::cast_precision_loss)]
fn gigabytes(bytes: u64) -> f64 {
    bytes as f64 / 1e9
}

#[cfg(test)]
mod tests;
