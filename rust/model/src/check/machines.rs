//! Single values of machines.

use std::collections::BTreeMap;

use super::{Context, machine_path, values::bad_port};
use crate::{
    Provider,
    codes::Code,
    near,
    path::AttrPath,
    report::{Finding, Report},
    shape::{DiskFirmware, DiskSetShape, DiskShape, MachineShape, RootFileSystem},
};

/// Nix systems that machinist deploys.
const SYSTEMS: [&str; 2] = ["x86_64-linux", "aarch64-linux"];
/// etcd's client and peer ports, on the same nodes as the API server.
const ETCD_PORTS: [u16; 2] = [2379, 2380];

/// Checks that ports are usable. Numbers above 65535 already fail in decoding.
pub fn ports(context: &Context<'_>, report: &mut Report) {
    let out_of_range = |path: AttrPath, port: u16| bad_port(&path, &port.into());
    let api = context.shape.kube_master.as_ref().and_then(|endpoint| endpoint.port);
    let path = AttrPath::of("kubeMaster.port");
    match api {
        Some(0) => report.push(out_of_range(path, 0)),
        Some(port) if ETCD_PORTS.contains(&port) => {
            let why = "etcd listens on this port on the same nodes";
            let finding = Finding::new(Code::PortOutOfRange, path, format!("port {port} is used by etcd"), why);
            report.push(finding.help("write 6443, the usual port of the API server"));
        }
        _ => {}
    }
    for (name, machine) in context.shape.machines.iter().filter(|(_, machine)| machine.ssh.port == Some(0)) {
        report.push(out_of_range(machine_path(name).join("ssh").join("port"), machine.ssh.port.unwrap_or_default()));
    }
}

/// Checks that system, interface and disk are valid for NixOS.
pub fn values(context: &Context<'_>, report: &mut Report) {
    for (name, machine) in &context.shape.machines {
        let path = machine_path(name);
        if let Some(system) = machine.system.as_deref().filter(|system| !SYSTEMS.contains(system)) {
            let why = "machinist deploys NixOS on x86_64-linux and aarch64-linux";
            let finding =
                Finding::new(Code::UnknownSystem, path.join("system"), format!("unknown system \"{system}\""), why);
            let meant = match system {
                "arm64" | "aarch64" => Some(SYSTEMS[1]),
                "x86_64" | "amd64" | "x64" => Some(SYSTEMS[0]),
                _ => near::nearest(system, SYSTEMS),
            };
            let help = meant.map_or_else(
                || "write \"x86_64-linux\" or \"aarch64-linux\"".to_owned(),
                |meant| format!("write \"{meant}\""),
            );
            report.push(finding.help(help));
        }
        if let Some(interface) = machine.interface.as_deref().filter(|interface| !is_interface(interface)) {
            let message = format!("{interface:?} is not a network interface name");
            let why = "Linux allows 1 to 15 characters without /, : and spaces";
            let finding = Finding::new(Code::BadInterface, path.join("interface"), message, why);
            report.push(finding.help("write a name such as \"enp2s0\"; `ip link` lists them"));
        }
        match &machine.disk {
            Some(DiskShape::Path(disk)) => disk_path(disk, path.join("disk"), report),
            Some(DiskShape::Set(set)) => disk_set(set, &path.join("disk"), report),
            None => {}
        }
    }
}

fn disk_path(disk: &str, path: AttrPath, report: &mut Report) {
    if is_disk(disk) {
        return;
    }
    let message = format!("{disk:?} is not a disk path");
    let why = "`machinist install` erases this disk, so it must be unmistakable";
    let help = "write a path such as \"/dev/disk/by-id/nvme-...\"; `ls -l /dev/disk/by-id` lists them";
    report.push(Finding::new(Code::BadDisk, path, message, why).help(help));
}

/// Checks a layout: one or two disks, none of them twice, and mount points.
fn disk_set(set: &DiskSetShape, path: &AttrPath, report: &mut Report) {
    let devices = path.join("devices");
    if !(1..=2).contains(&set.devices.len()) {
        let message = format!("{} disks", set.devices.len());
        let why = "a layout has one disk, or two that mirror each other";
        let help = "list one or two disks in devices; those with data belong into keep";
        report.push(Finding::new(Code::BadDisk, devices.clone(), message, why).help(help));
    }
    let mut known: BTreeMap<&str, AttrPath> = BTreeMap::new();
    let kept = set.keep.iter().map(|(point, disk)| (path.join("keep").join(point).join("device"), &disk.device));
    let erased = set.devices.iter().enumerate().map(|(position, device)| (devices.join(position), device));
    for (path, device) in erased.chain(kept) {
        disk_path(device, path.clone(), report);
        if let Some(first) = known.get(device.as_str()) {
            let message = format!("{device} twice");
            let why = "a disk cannot mirror itself, nor be kept while it is erased";
            let finding = Finding::new(Code::BadDisk, path, message, why).help("name another disk");
            report.push(finding.related(first.clone(), "here first"));
        } else {
            known.insert(device, path);
        }
    }
    if set.devices.len() > 1 && set.firmware == Some(DiskFirmware::Uefi) {
        let why = "systemd-boot writes to one of the disks only";
        let finding = Finding::new(Code::BadDisk, path.join("firmware"), "a mirror that boots by uefi only", why);
        report.push(finding.help("write \"hybrid\", which boots by UEFI, too, with GRUB on both disks"));
    }
    if set.file_system == RootFileSystem::Zfs && set.firmware == Some(DiskFirmware::Bios) {
        let why = "GRUB does not read the pool, and without UEFI there is no other partition for kernels";
        let finding = Finding::new(Code::BadDisk, path.join("firmware"), "ZFS that boots by bios only", why);
        report.push(finding.help("write \"hybrid\", which boots by BIOS, too"));
    }
    for point in set.keep.keys().filter(|point| !is_mount_point(point)) {
        let message = format!("{point:?} is not a mount point for data");
        let why = "a kept file system is mounted in a directory of its own, beside those of the system";
        let finding = Finding::new(Code::BadDisk, path.join("keep").join(point), message, why);
        report.push(finding.help("write an absolute path such as \"/var/lib/postgresql\""));
    }
}

/// Directories that are part of the system: no data is mounted over them.
const SYSTEM_DIRECTORIES: [&str; 10] =
    ["/bin", "/boot", "/dev", "/etc", "/nix", "/proc", "/run", "/sys", "/usr", "/var/lib/machinist"];

fn is_mount_point(path: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'/' | b'.' | b'-' | b'_');
    let of_system =
        |directory: &&str| path.strip_prefix(*directory).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    path.strip_prefix('/')
        .is_some_and(|rest| rest.split('/').all(|part| !part.is_empty() && part != "." && part != ".."))
        && path.bytes().all(plain)
        && !["/var", "/var/lib", "/var/log"].contains(&path)
        && !SYSTEM_DIRECTORIES.iter().any(of_system)
}

fn is_interface(name: &str) -> bool {
    // net/core/dev.c, dev_valid_name(); IFNAMSIZ is 16 with the final zero.
    let plain = |byte: u8| byte.is_ascii_graphic() && !matches!(byte, b'/' | b':' | b'"' | b'\'' | b'\\' | b'$' | b'%');
    (1..=15).contains(&name.len()) && name.bytes().all(plain) && name != "." && name != ".."
}

fn is_disk(path: &str) -> bool {
    let plain = |byte: u8| {
        byte.is_ascii_alphanumeric() || matches!(byte, b'/' | b'.' | b'-' | b'_' | b':' | b'+' | b'=' | b'@' | b',')
    };
    path.strip_prefix("/dev/").is_some_and(|rest| !rest.is_empty() && !rest.ends_with('/'))
        && path.bytes().all(plain)
        && path.split('/').all(|part| part != "..")
}

/// Checks that every machine that boots has a root file system: on its disk, or from its own modules, which are not
/// evaluated here.
pub fn root_file_system(context: &Context<'_>, report: &mut Report) {
    let boots = |machine: &MachineShape| machine.provider != Provider::Sandbox && machine.disk.is_none();
    for (name, _) in context.taking_part().filter(|(_, machine)| boots(machine)) {
        let path = machine_path(name);
        if context.directory.node_modules.contains(name) || report.is_broken(&path.join("disk")) {
            continue;
        }
        let message = format!("{name} has no disk");
        let why = "NixOS cannot build a system without a root file system";
        let help =
            format!("set disk = \"/dev/disk/by-id/...\", or define file systems and boot loader in nodes/{name}.nix");
        report.push(Finding::new(Code::NoRootFileSystem, path, message, why).help(help));
    }
}

/// Checks that a machine that is not deployed has no roles, applications or gates.
pub fn without_nixos(context: &Context<'_>, report: &mut Report) {
    for (name, machine) in context.shape.machines.iter().filter(|(_, machine)| !machine.nixos) {
        for (attribute, text) in [
            ("roles", roles(machine)),
            ("apps", machine.apps.join(", ")),
            ("taints", machine.taints.join(", ")),
            ("gates", gates(machine)),
        ] {
            if text.is_empty() {
                continue;
            }
            let path = machine_path(name).join(attribute);
            let message = format!("{name} has {attribute} ({text}), but nixos = false");
            let why = "machinist does not deploy this machine, so nothing would run on it";
            let finding = Finding::new(Code::RoleWithoutNixos, path, message, why).help("leave out one of the two");
            report.push(finding.related(machine_path(name).join("nixos"), "not deployed"));
        }
    }
}

fn gates(machine: &MachineShape) -> String {
    machine.gates.keys().map(String::as_str).collect::<Vec<_>>().join(", ")
}

fn roles(machine: &MachineShape) -> String {
    machine.roles.iter().map(|role| role.as_str()).collect::<Vec<_>>().join(", ")
}

/// Checks that applications are folders of `app_modules/`.
pub fn apps(context: &Context<'_>, report: &mut Report) {
    for (name, machine) in &context.shape.machines {
        for (position, app) in machine.apps.iter().enumerate().filter(|(_, app)| !context.directory.apps.contains(*app))
        {
            let path = machine_path(name).join("apps").join(position);
            if report.is_broken(&path) {
                continue;
            }
            let help = match near::nearest(app, context.directory.apps.iter().map(String::as_str)) {
                Some(near) => format!("did you mean \"{near}\"?"),
                None if context.directory.apps.is_empty() => "app_modules/ has no applications yet".to_owned(),
                None => {
                    let known: Vec<&str> = context.directory.apps.iter().take(20).map(String::as_str).collect();
                    format!("known applications: {}", known.join(", "))
                }
            };
            let why = format!("there is no folder app_modules/{app}");
            report.push(Finding::new(Code::UnknownApp, path, format!("unknown application \"{app}\""), why).help(help));
        }
    }
}
