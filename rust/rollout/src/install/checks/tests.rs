#![allow(clippy::unwrap_used)]
use expect_test::{Expect, expect};

use super::{Check, Needs, Wanted, Weight, check};
use crate::install::survey::Survey;

/// A stock Debian server with its root on /dev/sda, and another disk with nothing on it.
const DEBIAN: &str = r#"os=Linux
arch=x86_64
uid=0
release/PRETTY_NAME="Debian GNU/Linux 12"
container=none
memory/MemTotal=3900000
program=tar
program=cpio
program=setsid
program=ip
kexec_load_disabled=0
lockdown=[none] integrity confidentiality
firmware=bios
wanted=/dev/disk/by-id/scsi-0QEMU_1 /dev/sda
block/sda/size=80000000
block/sda/model=QEMU HARDDISK
block/sda/module=virtio_scsi
block/sda1/size=79000000
block/sda1/partition_of=sda
block/sdb/size=80000000
lsblk=KNAME="sda1" FSTYPE="ext4" LABEL=""
mount=8:1 / ext4 /dev/sda1
id=/dev/sda /dev/disk/by-id/scsi-0QEMU_1
id=/dev/sdb /dev/disk/by-id/wwn-0x5000
id=/dev/sdb /dev/disk/by-id/scsi-0QEMU_second
nic/eth0/module=virtio_net
address=2: eth0    inet 203.0.113.7/32 scope global dynamic eth0\       valid_lft 86000sec
route4=default via 172.31.1.1 dev eth0 proto dhcp
end=yes
"#;

fn wanted() -> Wanted {
    let disk = "/dev/disk/by-id/scsi-0QEMU_1".to_owned();
    Wanted {
        node: "cp1".to_owned(),
        system: "x86_64-linux".to_owned(),
        disks: vec![disk.clone()],
        needs: Some(Needs {
            firmware: Some("bios".to_owned()),
            disks: vec![disk],
            initrd_modules: vec!["virtio-scsi".to_owned()],
            dhcp: true,
            ..Needs::default()
        }),
        generates_hardware: false,
    }
}

/// Returns the findings, a line each.
fn lines(output: &str, wanted: &Wanted) -> String {
    let verdict = check(&Survey::parse(output), wanted);
    let line = |finding: &super::Finding| {
        let weight = if finding.weight == Weight::Refused { "refused" } else { "warning" };
        format!("{weight} {}: {}\n", finding.check.name(), finding.text)
    };
    verdict.findings.iter().map(line).collect()
}

/// Checks the findings of the Debian server with lines replaced or added.
#[track_caller]
fn with(changes: &[(&str, &str)], expect: &Expect) {
    let mut output = DEBIAN.to_owned();
    for (from, to) in changes {
        assert!(output.contains(from), "{from}");
        output = output.replace(from, to);
    }
    expect.assert_eq(&lines(&output, &wanted()));
}

#[test]
fn a_stock_server_is_installed_and_its_disks_are_named() {
    let verdict = check(&Survey::parse(DEBIAN), &wanted());
    assert_eq!(verdict.findings, []);
    expect!["/dev/disk/by-id/scsi-0QEMU_1 (/dev/sda, 41.0 GB, QEMU HARDDISK): sda1 ext4 on /"]
        .assert_eq(&verdict.erased[0].words());
    expect!["/dev/disk/by-id/scsi-0QEMU_second (/dev/sdb, 41.0 GB): nothing known on it"]
        .assert_eq(&verdict.untouched[0].words());
}

#[test]
fn an_answer_that_was_cut_off_decides_nothing() {
    with(
        &[("end=yes", "")],
        &expect![[r"
        refused answer: the machine did not answer completely
    "]],
    );
}

#[test]
fn what_keeps_the_installer_from_running_is_refused() {
    with(
        &[("container=none", "container=lxc")],
        &expect![[r"
        refused container: it is a container (lxc): it has no kernel of its own, and no disk
    "]],
    );
    with(
        &[("arch=x86_64", "arch=aarch64")],
        &expect![[r"
        refused architecture: it is aarch64 Linux, and the node is x86_64-linux
    "]],
    );
    with(
        &[("uid=0", "uid=1000")],
        &expect![[r"
        refused privileges: the login user is not root, and has no sudo or doas without a password
    "]],
    );
    with(&[("uid=0", "uid=1000\nsudo=yes")], &expect![""]);
    with(
        &[("program=cpio\nprogram=setsid\n", "")],
        &expect![[r"
        refused programs: nixos-anywhere needs cpio, setsid there (setsid with --wait, from util-linux)
    "]],
    );
    with(
        &[("MemTotal=3900000", "MemTotal=980000")],
        &expect![[r"
        refused memory: it has 957 MiB of memory, and the installer runs from memory
    "]],
    );
}

#[test]
fn a_kernel_that_boots_no_other_one_is_refused_except_for_the_installer() {
    with(
        &[("kexec_load_disabled=0\n", "")],
        &expect![[r"
        refused kexec: its kernel has no kexec
    "]],
    );
    with(
        &[("kexec_load_disabled=0", "kexec_load_disabled=1")],
        &expect![[r"
        refused kexec: kexec is switched off (kexec_load_disabled is 1)
    "]],
    );
    let lockdown = ("[none] integrity", "none [integrity]");
    with(
        &[lockdown],
        &expect![[r"
        refused kexec: the kernel is locked down (integrity), and refuses kexec
    "]],
    );
    with(
        &[
            lockdown,
            ("container=none", "release/VARIANT_ID=installer"),
            ("8:1 / ext4", "8:9 /mnt ext4"),
            ("ext4 /dev/sda1", "ext4 /dev/sdz"),
        ],
        &expect![""],
    );
    with(
        &[("firmware=bios", "firmware=uefi\nsecure_boot=1")],
        &expect![[r"
        refused secure-boot: Secure Boot is on, and refuses NixOS' boot loader
        refused firmware: it has booted by UEFI, and the disk layout boots by bios only
    "]],
    );
}

#[test]
fn a_layout_boots_by_the_firmware_of_the_machine() {
    for (firmware, layout, is_refused) in [
        ("bios", "uefi", true),
        ("uefi", "bios", true),
        ("bios", "hybrid", false),
        ("uefi", "hybrid", false),
        ("uefi", "uefi", false),
    ] {
        let output = DEBIAN.replace("firmware=bios", &format!("firmware={firmware}"));
        let mut wanted = wanted();
        wanted.needs.as_mut().unwrap().firmware = Some(layout.to_owned());
        let verdict = check(&Survey::parse(&output), &wanted);
        assert_eq!(
            verdict.findings.iter().any(|found| found.check == Check::Firmware),
            is_refused,
            "{firmware} {layout}"
        );
    }
}

#[test]
fn a_disk_is_there_whole_and_writable() {
    let wanted = "wanted=/dev/disk/by-id/scsi-0QEMU_1 /dev/sda";
    with(
        &[(wanted, "")],
        &expect![[r"
        refused disk: /dev/disk/by-id/scsi-0QEMU_1 is not there
    "]],
    );
    with(
        &[(wanted, "wanted=/dev/disk/by-id/scsi-0QEMU_1 -")],
        &expect![[r"
        refused disk: /dev/disk/by-id/scsi-0QEMU_1 is no block device
    "]],
    );
    with(
        &[(wanted, "wanted=/dev/disk/by-id/scsi-0QEMU_1 /dev/sda1")],
        &expect![[r"
        refused disk: /dev/disk/by-id/scsi-0QEMU_1 (/dev/sda1) is a partition of /dev/sda, not a whole disk
    "]],
    );
    with(
        &[("block/sda/size=80000000", "block/sda/size=8000000\nblock/sda/read_only=1")],
        &expect![[r"
        refused disk: /dev/disk/by-id/scsi-0QEMU_1 (/dev/sda) is read-only
        warning disk: /dev/disk/by-id/scsi-0QEMU_1 (/dev/sda) has 4.1 GB
    "]],
    );
    let survey = Survey::parse(&DEBIAN.replace(wanted, ""));
    let verdict = check(&survey, &self::wanted());
    expect!["its disks: /dev/disk/by-id/scsi-0QEMU_1 (41.0 GB), /dev/disk/by-id/scsi-0QEMU_second (41.0 GB); write the right one in machines.nix"]
        .assert_eq(&verdict.findings[0].fix);
}

#[test]
fn data_that_is_kept_is_there_and_not_erased() {
    let mut wanted = wanted();
    let needs = wanted.needs.as_mut().unwrap();
    needs.kept = vec!["/dev/data".to_owned()];
    needs.data.insert("/dev/data".to_owned(), "xfs".to_owned());
    let with = |line: &str| lines(&DEBIAN.replace("end=yes", &format!("{line}\nend=yes")), &wanted);
    expect![[r"
        refused disk: /dev/data, which is to be kept, is not there
    "]]
    .assert_eq(&with(""));
    expect![[r"
        refused disk: /dev/data (/dev/sda1), which is to be kept, is on /dev/sda, which is erased
    "]]
    .assert_eq(&with("wanted=/dev/data /dev/sda1"));
    expect![[r"
        warning disk: /dev/data (/dev/sdb) is to be kept, and shows no file system
    "]]
    .assert_eq(&with("wanted=/dev/data /dev/sdb"));
    expect![[r"
        refused disk: /dev/data (/dev/sdb), which is to be kept, holds ext4, and not xfs
    "]]
    .assert_eq(&with("wanted=/dev/data /dev/sdb\nlsblk=KNAME=\"sdb\" FSTYPE=\"ext4\" LABEL=\"\""));
    expect![""].assert_eq(&with("wanted=/dev/data /dev/sdb\nlsblk=KNAME=\"sdb\" FSTYPE=\"xfs\" LABEL=\"\""));
}

#[test]
fn a_disk_with_other_data_is_refused_and_that_of_the_running_system_is_not() {
    with(
        &[("8:1 / ext4 /dev/sda1", "8:17 / ext4 /dev/sdb\nmount=8:1 /data ext4 /dev/sda1\nswap=/dev/sda1")],
        &expect![[r"
        refused disk-in-use: /dev/disk/by-id/scsi-0QEMU_1 (/dev/sda) is in use, and not by the running system: /data (ext4), swap on sda1
    "]],
    );
    with(
        &[("8:1 / ext4 /dev/sda1", "8:17 / ext4 /dev/sdb\npool=tank /dev/sda1")],
        &expect![[r"
        refused disk-in-use: /dev/disk/by-id/scsi-0QEMU_1 (/dev/sda) is in use, and not by the running system: ZFS pool tank
    "]],
    );
    with(&[("8:1 / ext4 /dev/sda1", "8:1 / ext4 /dev/sda1\nmount=8:1 /home ext4 /dev/sda1")], &expect![""]);
    // The installer's own stick.
    with(
        &[("container=none", "release/VARIANT_ID=installer"), ("8:1 / ext4", "8:1 /iso iso9660")],
        &expect![[r"
        refused disk-in-use: /dev/disk/by-id/scsi-0QEMU_1 (/dev/sda) is in use, by the running installer: /iso (iso9660)
    "]],
    );
}

#[test]
fn an_array_that_would_live_on_without_its_other_half_is_refused() {
    let raid = (
        "mount=8:1 / ext4 /dev/sda1",
        "block/md0/raid=raid1\nblock/md0/on=sda1\nblock/md0/on=sdb\nmount=9:0 / ext4 /dev/md0",
    );
    with(
        &[raid],
        &expect![[r"
        refused disk-shared: /dev/disk/by-id/scsi-0QEMU_1 (/dev/sda) is a part of md0 (raid1) with sdb
    "]],
    );
    // With both disks in machines.nix it ends.
    let mut both = wanted();
    both.disks.push("/dev/sdb".to_owned());
    let output = DEBIAN.replace(raid.0, raid.1).replace("end=yes", "wanted=/dev/sdb /dev/sdb\nend=yes");
    expect![[r#"
        warning disk: /dev/sdb is the kernel's name of a disk, and may be another one's in the installer
    "#]]
    .assert_eq(&lines(&output, &both));
}

#[test]
fn a_machine_without_dhcp_needs_its_address_in_the_configuration() {
    let fixed: &[(&str, &str)] = &[("global dynamic eth0", "global eth0"), (" proto dhcp", "")];
    with(
        fixed,
        &expect![[r"
        refused network: its address 203.0.113.7/32 on eth0 is set by hand, no DHCP server gave it one, and the node's configuration does not set it
    "]],
    );
    let mut output = DEBIAN.to_owned();
    fixed.iter().for_each(|(from, to)| output = output.replace(from, to));
    let mut wanted = wanted();
    let fix = &check(&Survey::parse(&output), &wanted).findings[0].fix;
    expect![[r#"write it in nodes/cp1.nix, or the machine does not come back: `networking.interfaces.eth0.ipv4.addresses = [ { address = "203.0.113.7"; prefixLength = 32; } ]; networking.defaultGateway = { address = "172.31.1.1"; interface = "eth0"; };`; or use it as `ip` with `interface` and network.gateway in machines.nix"#]]
    .assert_eq(fix);
    let needs = wanted.needs.as_mut().unwrap();
    needs.addresses.insert("enp1s0".to_owned(), vec!["203.0.113.7/24".to_owned()]);
    expect![""].assert_eq(&lines(&output, &wanted));
    // Addresses of a lease are no reason for a fixed one, but the interface's name may be wrong.
    wanted.needs.as_mut().unwrap().dhcp = false;
    expect![[r"
        warning network: the node sets its address on enp1s0, and here the addresses are on eth0
    "]]
    .assert_eq(&lines(DEBIAN, &wanted));
}

#[test]
fn drivers_of_the_disk_are_in_the_initial_ramdisk_unless_they_are_found_out() {
    let changes = [("module=virtio_scsi", "module=megaraid_sas")];
    with(
        &changes,
        &expect![[r"
        warning modules: the initial ramdisk has no megaraid_sas, which drives its disk or network here
    "]],
    );
    let mut generated = wanted();
    generated.generates_hardware = true;
    let output = DEBIAN.replace(changes[0].0, changes[0].1);
    expect![""].assert_eq(&lines(&output, &generated));
    generated.needs.as_mut().unwrap().initrd_network = true;
    expect![[r"
        warning modules: the initial ramdisk has no virtio_net, which drives its disk or network here
    "]]
    .assert_eq(&lines(&output, &generated));
}

#[test]
fn each_check_has_its_name_and_a_section_in_the_guide() {
    let guide = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/guides/install.md")).unwrap();
    for known in Check::ALL {
        assert_eq!(Check::parse(known.name()), Some(known));
        assert_eq!(serde_json::to_value(known).unwrap(), known.name());
        assert!(guide.contains(&format!("| `{}` |", known.name())), "{}", known.name());
    }
}

/// The output with these contents, and labels, of the first disk's partition and of the second disk.
fn contents(first: (&str, &str), second: (&str, &str)) -> String {
    let line =
        |name: &str, (kind, label): (&str, &str)| format!("lsblk=KNAME=\"{name}\" FSTYPE=\"{kind}\" LABEL=\"{label}\"");
    let both = format!("{}\n{}", line("sda1", first), line("sdb", second));
    let output = DEBIAN.replace("lsblk=KNAME=\"sda1\" FSTYPE=\"ext4\" LABEL=\"\"", &both);
    assert_ne!(output, DEBIAN);
    output
}

#[test]
fn a_part_of_something_that_nothing_has_assembled_is_not_erased() {
    let refused = |first: (&str, &str), second: (&str, &str)| {
        lines(&contents(first, second), &wanted()).contains("refused disk-shared: /dev/sda1, which is erased")
    };
    // disko removes the volume group, with its logical volumes on the other disk.
    assert!(refused(("LVM2_member", ""), ("LVM2_member", "")));
    assert!(refused(("zfs_member", "tank"), ("zfs_member", "tank")));
    assert!(!refused(("zfs_member", "rpool"), ("zfs_member", "tank")));
    assert!(!refused(("ext4", ""), ("LVM2_member", "")));
}

#[test]
fn a_pool_of_the_name_of_ours_on_a_disk_that_stays_is_not_installed_into() {
    let refused = |kind: &str, label: &str| {
        lines(&contents(("ext4", ""), (kind, label)), &wanted()).contains("refused disk-shared: /dev/sdb, which stays")
    };
    assert!(refused("zfs_member", "rpool"));
    assert!(refused("linux_raid_member", "nixos:root"));
    assert!(!refused("zfs_member", "tank"));
}

#[test]
fn two_paths_of_one_disk_are_no_mirror() {
    let mut mirror = wanted();
    mirror.disks.push("/dev/disk/by-id/wwn-1".to_owned());
    let output = format!("wanted=/dev/disk/by-id/wwn-1 /dev/sda\n{DEBIAN}");
    assert!(lines(&output, &mirror).contains("are the same disk (/dev/sda)"), "{}", lines(&output, &mirror));
}

#[test]
fn a_name_of_the_kernel_is_a_warning_where_there_are_several_disks() {
    let mut by_name = wanted();
    by_name.disks = vec!["/dev/sda".to_owned()];
    let output = format!("wanted=/dev/sda /dev/sda\n{DEBIAN}");
    assert!(lines(&output, &by_name).contains("warning disk: /dev/sda is the kernel's name"));
    let alone = output.replace("block/sdb/size=80000000\n", "");
    assert!(!lines(&alone, &by_name).contains("the kernel's name"));
}
