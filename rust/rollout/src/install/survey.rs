//! A machine before its installation, as the script of [`SURVEY`] prints it. Everything here was said by the machine: it
//! is cleaned and bounded, and never trusted further than as a description.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use machinist_remote::quote;
use machinist_text::{bounded, one_line};
use serde::Serialize;

/// Maximum length of a value, in bytes.
const LONGEST: usize = 200;
/// Maximum number of devices, mounts and addresses that are kept.
const MOST: usize = 512;
/// Size of the sectors in which the kernel counts, in bytes.
const SECTOR: u64 = 512;

/// Returns the script that describes a machine. `disks` are paths of the disks that would be erased or kept.
#[must_use]
pub fn script(disks: &[String]) -> String {
    format!("disks={}\n{}", quote(&disks.join("\n")), include_str!("../script/survey.sh"))
}

/// Firmware by which a machine has booted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Firmware {
    /// UEFI.
    Uefi,
    /// A BIOS, or any other firmware without UEFI.
    Bios,
}

impl fmt::Display for Firmware {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Uefi => "UEFI",
            Self::Bios => "BIOS",
        })
    }
}

/// A machine before its installation.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Survey {
    /// Kernel, `Linux`.
    pub os: String,
    /// Processor architecture as printed by `uname -m`.
    pub arch: String,
    /// Name of the running distribution.
    pub name: String,
    /// True if the NixOS installer runs: nothing is booted by kexec.
    pub is_installer: bool,
    /// True if the login user is root, or becomes root without a password.
    pub is_root: bool,
    /// The kind of container, if the machine is one.
    pub container: Option<String>,
    /// Memory in bytes, if known.
    pub memory: Option<u64>,
    /// Programs that the installation needs, of those that are there.
    pub programs: BTreeSet<String>,
    /// True if kexec is switched off; absent if the kernel has no kexec.
    pub kexec_disabled: Option<bool>,
    /// The active mode of the kernel's lockdown; absent without lockdown.
    pub lockdown: Option<String>,
    /// True if Secure Boot is on.
    pub secure_boot: bool,
    /// The firmware.
    pub firmware: Option<Firmware>,
    /// Kernel names of the asked paths that exist; none for a path that is no block device.
    pub wanted: BTreeMap<String, Option<String>>,
    /// Block devices by kernel name.
    pub blocks: BTreeMap<String, Block>,
    /// File systems that are mounted from a device.
    pub mounts: Vec<Mount>,
    /// Kernel names of devices with swap in use.
    pub swaps: BTreeSet<String>,
    /// Kernel names of the devices of each ZFS pool in use.
    pub pools: BTreeMap<String, BTreeSet<String>>,
    /// Stable paths of devices by kernel name.
    pub ids: BTreeMap<String, Vec<String>>,
    /// Kernel modules of network interfaces.
    pub nics: BTreeMap<String, String>,
    /// Global addresses; absent if the machine could not tell.
    pub addresses: Option<Vec<Address>>,
    /// Default routes.
    pub routes: Vec<Route>,
    /// False if the answer was cut off.
    pub is_complete: bool,
}

/// A block device.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Block {
    /// Size in bytes.
    pub size: u64,
    /// True if it cannot be written to.
    pub is_read_only: bool,
    /// The disk of a partition.
    pub partition_of: Option<String>,
    /// Devices below a RAID array or a mapping.
    pub on: BTreeSet<String>,
    /// Name and kind of a mapping, such as a logical volume.
    pub mapper: Option<String>,
    /// Level of a RAID array, such as `raid1`.
    pub raid: Option<String>,
    /// Model.
    pub model: String,
    /// Serial number.
    pub serial: String,
    /// Content, such as `ext4` or `linux_raid_member`.
    pub content: String,
    /// Label of the content.
    pub label: String,
    /// Kernel modules of its controller and the controller's buses.
    pub modules: BTreeSet<String>,
}

impl Block {
    /// Returns true for a whole disk.
    #[must_use]
    pub fn is_disk(&self) -> bool {
        self.partition_of.is_none() && self.mapper.is_none() && self.raid.is_none()
    }
}

/// A mounted file system.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mount {
    /// Kernel name of the device; for ZFS the name of the pool.
    pub device: String,
    /// Mount point.
    pub point: String,
    /// Type of the file system.
    pub kind: String,
}

/// An address of the machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Address {
    /// Interface.
    pub interface: String,
    /// Address with its prefix length.
    pub address: String,
    /// True if it is leased or advertised, and not set by hand.
    pub is_dynamic: bool,
}

/// A default route.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Route {
    /// Address of the gateway; absent on a link without one.
    pub gateway: Option<String>,
    /// Interface.
    pub interface: String,
    /// True if it was leased or advertised.
    pub is_dynamic: bool,
    /// True for IPv6.
    pub is_v6: bool,
}

impl Survey {
    /// Reads the output of the [`script`]. Lines that are not understood are ignored.
    #[must_use]
    pub fn parse(output: &str) -> Self {
        let mut survey = Self::default();
        let mut by_number: Vec<(String, String, String)> = Vec::new();
        for (key, value) in output.lines().filter_map(|line| line.split_once('=')) {
            let value = one_line(&bounded(value.trim(), LONGEST)).into_owned();
            if value.is_empty() {
                continue;
            }
            match key {
                "os" => survey.os = value,
                "arch" => survey.arch = value,
                "uid" => survey.is_root |= value == "0",
                "sudo" => survey.is_root = true,
                "release/PRETTY_NAME" => survey.name = unquoted(&value),
                "release/VARIANT_ID" => survey.is_installer = unquoted(&value) == "installer",
                "container" => survey.container = Some(value).filter(|kind| kind != "none"),
                "memory/MemTotal" => survey.memory = value.parse::<u64>().ok().and_then(|kib| kib.checked_mul(1024)),
                "program" => drop(survey.programs.insert(value)),
                "kexec_load_disabled" => survey.kexec_disabled = Some(value != "0"),
                "lockdown" => survey.lockdown = active_mode(&value),
                "secure_boot" => survey.secure_boot = value == "1",
                "firmware" => {
                    survey.firmware = Some(if value == "uefi" { Firmware::Uefi } else { Firmware::Bios });
                }
                "wanted" => survey.wanted.extend(wanted(&value)),
                "mount" if by_number.len() < MOST => by_number.extend(mount(&value)),
                "swap" => survey.swaps.extend(kernel_name(&value)),
                "pool" => survey.read_pool(&value),
                "id" => survey.read_id(&value),
                "lsblk" => survey.read_lsblk(&value),
                "address" => survey.read_address(&value),
                "route4" => survey.routes.extend(route(&value, false)),
                "route6" => survey.routes.extend(route(&value, true)),
                "end" => survey.is_complete = true,
                _ => survey.read_device(key, value),
            }
        }
        if survey.programs.contains("ip") {
            survey.addresses.get_or_insert_default();
        }
        survey.mounts = by_number
            .into_iter()
            .map(|(device, point, kind)| {
                // A device may be mounted by a name of its own, such as that of a mapping.
                let mapped = device.strip_prefix("/dev/mapper/").and_then(|name| {
                    survey.blocks.iter().find(|(_, block)| block.mapper.as_deref() == Some(name)).map(|(name, _)| name)
                });
                let device = mapped.cloned().or_else(|| kernel_name(&device)).unwrap_or(device);
                Mount { device, point, kind }
            })
            .collect();
        survey
    }

    fn read_device(&mut self, key: &str, value: String) {
        let mut parts = key.splitn(3, '/');
        match (parts.next(), parts.next(), parts.next()) {
            (Some("block"), Some(name), Some(what)) if self.blocks.len() < MOST || self.blocks.contains_key(name) => {
                let name = one_line(&bounded(name, LONGEST)).into_owned();
                let block = self.blocks.entry(name).or_default();
                match what {
                    "size" => block.size = value.parse::<u64>().unwrap_or(0).saturating_mul(SECTOR),
                    "read_only" => block.is_read_only = value == "1",
                    "partition_of" => block.partition_of = Some(value),
                    "mapper" => block.mapper = Some(value),
                    "raid" => block.raid = Some(value),
                    "on" => drop(block.on.insert(value)),
                    "module" => drop(block.modules.insert(value)),
                    "model" => block.model = value,
                    "serial" => block.serial = value,
                    _ => {}
                }
            }
            (Some("nic"), Some(name), Some("module")) if self.nics.len() < MOST => {
                self.nics.insert(one_line(&bounded(name, LONGEST)).into_owned(), value);
            }
            _ => {}
        }
    }

    /// Reads a line of `lsblk -P`: what udev knows of a device.
    fn read_lsblk(&mut self, value: &str) {
        let pairs: BTreeMap<&str, &str> = value
            .split("\" ")
            .filter_map(|pair| pair.split_once("=\""))
            .map(|(key, value)| (key.trim(), value.trim_end_matches('"').trim()))
            .collect();
        let Some(block) = pairs.get("KNAME").and_then(|name| self.blocks.get_mut(*name)) else { return };
        let fields = [
            ("FSTYPE", &mut block.content),
            ("LABEL", &mut block.label),
            ("MODEL", &mut block.model),
            ("SERIAL", &mut block.serial),
        ];
        for (key, field) in fields {
            if let Some(value) = pairs.get(key).filter(|value| !value.is_empty()) {
                (*value).clone_into(field);
            }
        }
    }

    fn read_pool(&mut self, value: &str) {
        if let Some((name, device)) = value.split_once(' ').filter(|_| self.pools.len() < MOST) {
            self.pools.entry(name.to_owned()).or_default().extend(kernel_name(device));
        }
    }

    fn read_id(&mut self, value: &str) {
        if let Some((device, path)) = value.split_once(' ')
            && let Some(device) = kernel_name(device).filter(|_| self.ids.len() < MOST)
        {
            self.ids.entry(device).or_default().push(path.to_owned());
        }
    }

    /// Reads a line of `ip -o addr`.
    fn read_address(&mut self, line: &str) {
        let words: Vec<&str> = line.split_whitespace().collect();
        let [_, interface, "inet" | "inet6", address, rest @ ..] = words.as_slice() else { return };
        let addresses = self.addresses.get_or_insert_default();
        // Temporary addresses, and those that are being replaced, say nothing of the configuration.
        if addresses.len() < MOST && !rest.contains(&"temporary") && !rest.contains(&"deprecated") {
            addresses.push(Address {
                interface: (*interface).to_owned(),
                address: (*address).to_owned(),
                is_dynamic: rest.contains(&"dynamic"),
            });
        }
    }

    /// Returns the kernel names of the devices on a disk: itself, partitions, and arrays and mappings above them.
    #[must_use]
    pub fn above(&self, disk: &str) -> BTreeSet<String> {
        let mut found = BTreeSet::from([disk.to_owned()]);
        loop {
            let more: Vec<String> = self
                .blocks
                .iter()
                .filter(|(name, block)| {
                    let stands_on = |below: &String| found.contains(below);
                    !found.contains(*name)
                        && (block.partition_of.as_ref().is_some_and(stands_on) || block.on.iter().any(stands_on))
                })
                .map(|(name, _)| name.clone())
                .collect();
            if more.is_empty() {
                return found;
            }
            found.extend(more);
        }
    }

    /// Returns the whole disks below a device.
    #[must_use]
    pub fn disks_below(&self, device: &str) -> BTreeSet<String> {
        let disks = self.blocks.iter().filter(|(_, block)| block.is_disk()).map(|(name, _)| name);
        disks.filter(|disk| self.above(disk).contains(device)).cloned().collect()
    }

    /// Returns the disks of a mounted file system.
    #[must_use]
    pub fn disks_of(&self, mount: &Mount) -> BTreeSet<String> {
        if mount.kind == "zfs" {
            let pool = mount.device.split('/').next().unwrap_or_default();
            let devices = self.pools.get(pool).into_iter().flatten();
            return devices.flat_map(|device| self.disks_below(device)).collect();
        }
        self.disks_below(&mount.device)
    }
}

fn unquoted(value: &str) -> String {
    value.trim_matches(['"', '\'']).to_owned()
}

/// Returns the active mode of a file such as `none [integrity] confidentiality`.
fn active_mode(value: &str) -> Option<String> {
    let mode = value.split_whitespace().find_map(|word| word.strip_prefix('[')?.strip_suffix(']'))?;
    (mode != "none").then(|| mode.to_owned())
}

fn kernel_name(path: &str) -> Option<String> {
    path.trim().strip_prefix("/dev/").filter(|name| !name.is_empty()).map(str::to_owned)
}

fn wanted(value: &str) -> Option<(String, Option<String>)> {
    let (path, device) = value.split_once(' ')?;
    Some((path.to_owned(), kernel_name(device)))
}

fn mount(value: &str) -> Option<(String, String, String)> {
    let words: Vec<&str> = value.split_whitespace().collect();
    let [_, point, kind, source] = words.as_slice() else { return None };
    Some(((*source).to_owned(), (*point).to_owned(), (*kind).to_owned()))
}

fn route(line: &str, is_v6: bool) -> Option<Route> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let after = |word: &str| words.iter().skip_while(|found| **found != word).nth(1).map(|found| (*found).to_owned());
    let is_dynamic = matches!(after("proto").as_deref(), Some("dhcp" | "ra"));
    Some(Route { gateway: after("via"), interface: after("dev")?, is_dynamic, is_v6 })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::process::Command;

    use proptest::prelude::*;

    use super::{Firmware, Survey, script};

    /// Two disks: LVM in LUKS on one, RAID over both.
    const STACK: &str = r#"os=Linux
block/sda/size=2000
block/sda1/partition_of=sda
block/sda2/partition_of=sda
block/sdb/size=4000
block/sdb1/partition_of=sdb
block/md0/raid=raid1
block/md0/on=sda2
block/md0/on=sdb1
block/dm-0/mapper=vg-root
block/dm-0/on=md0
lsblk=KNAME="sda1" FSTYPE="vfat" LABEL="EFI SYSTEM"
lsblk=KNAME="sda" MODEL="Samsung SSD 970" SERIAL="S4EW"
mount=253:0 / ext4 /dev/mapper/vg-root
mount=8:1 /boot/efi vfat /dev/sda1
end=yes
"#;

    #[test]
    fn a_stack_of_devices_is_followed_to_its_disks() {
        let survey = Survey::parse(STACK);
        assert_eq!(survey.above("sdb").into_iter().collect::<Vec<_>>(), ["dm-0", "md0", "sdb", "sdb1"]);
        let root = survey.mounts.iter().find(|mount| mount.point == "/").unwrap();
        assert_eq!(root.device, "dm-0");
        assert_eq!(survey.disks_of(root).into_iter().collect::<Vec<_>>(), ["sda", "sdb"]);
        assert_eq!(survey.blocks["sda"].model, "Samsung SSD 970");
        assert_eq!(survey.blocks["sda"].size, 1_024_000);
        assert_eq!(survey.blocks["sda1"].label, "EFI SYSTEM");
        assert!(survey.is_complete);
    }

    #[test]
    fn a_zfs_pool_is_followed_by_its_devices() {
        let survey = Survey::parse(
            "block/sda/size=1\nblock/sda3/partition_of=sda\npool=tank /dev/sda3\nmount=0:30 / zfs tank/root\n",
        );
        assert_eq!(survey.disks_of(&survey.mounts[0]).into_iter().collect::<Vec<_>>(), ["sda"]);
    }

    #[test]
    fn leased_and_fixed_addresses_differ() {
        let survey = Survey::parse(
            "address=2: eth0    inet 10.0.2.15/24 brd 10.0.2.255 scope global dynamic eth0\\       valid_lft 86000sec\n\
             address=3: eth1    inet 10.9.0.2/24 scope global eth1\\       valid_lft forever\n\
             address=2: eth0    inet6 fd00::9/64 scope global temporary dynamic \\ valid_lft 9sec\n\
             route4=default via 10.0.2.2 dev eth0 proto dhcp src 10.0.2.15 metric 100\nroute4=default dev wg0\n",
        );
        let addresses = survey.addresses.unwrap();
        let dynamic: Vec<bool> = addresses.iter().map(|address| address.is_dynamic).collect();
        assert_eq!(dynamic, [true, false]);
        assert!(survey.routes[0].is_dynamic && survey.routes[0].gateway.as_deref() == Some("10.0.2.2"));
        assert!(!survey.routes[1].is_dynamic && survey.routes[1].gateway.is_none());
    }

    #[test]
    fn what_a_machine_says_is_cleaned_and_bounded() {
        let survey = Survey::parse(&format!("arch=x86\u{1b}[2J_64\nblock/sda/model={}\n", "x".repeat(1 << 20)));
        assert_eq!(survey.arch, "x86\\u{1b}[2J_64");
        assert!(survey.blocks["sda"].model.len() < 300);
    }

    #[test]
    fn the_script_describes_this_computer() {
        let disks = ["/nonexistent".to_owned(), "/etc/passwd".to_owned(), "/dev/it's".to_owned()];
        let output = Command::new("sh").args(["-c", &script(&disks)]).output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        let survey = Survey::parse(&text);
        assert!(survey.is_complete && output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
        assert_eq!((survey.os.as_str(), survey.arch.as_str()), ("Linux", std::env::consts::ARCH));
        assert!(survey.memory.is_some_and(|bytes| bytes > 64 << 20), "{text}");
        let firmware = std::path::Path::new("/sys/firmware/efi").exists();
        assert_eq!(survey.firmware == Some(Firmware::Uefi), firmware);
        assert_eq!(survey.wanted.into_iter().collect::<Vec<_>>(), [("/etc/passwd".to_owned(), None)]);
    }

    proptest! {
        /// Loops between devices, which no kernel has but a liar could print, end.
        #[test]
        fn no_answer_makes_it_panic_or_hang(
            lines in proptest::collection::vec("(block/[ab]/(on|partition_of|raid|size)|mount|pool|lsblk|wanted|address|route4|id)=[ -~]{0,30}", 0..40)
        ) {
            let survey = Survey::parse(&lines.join("\n"));
            for name in survey.blocks.keys() {
                let _above = survey.above(name);
                let _below = survey.disks_below(name);
            }
            for mount in &survey.mounts {
                let _disks = survey.disks_of(mount);
            }
        }
    }
}
