//! Installation of a bare machine with nixos-anywhere: calls and their arguments. Pure.
//!
//! Two calls, because the second one takes built store paths and those depend on the machine's own hardware
//! configuration: the first boots the installer and reads the hardware, then the system is built here, then the second
//! partitions the disk and installs. Options as in nixos-anywhere's `--help` of 2026-07.

use std::path::{Path, PathBuf};

use machinist_model::NodeName;
use machinist_nix::StorePath;

/// A machine to install.
#[derive(Clone, Debug)]
pub struct Machine {
    /// The node.
    pub node: NodeName,
    /// Its current host name or address.
    pub host: String,
    /// Its current SSH port.
    pub port: u16,
    /// The current login user: root, or a user with sudo.
    pub user: String,
    /// The private key to log in with, if not the agent's.
    pub identity: Option<PathBuf>,
}

/// Name of the installer's executable.
pub const PROGRAM: &str = "nixos-anywhere";

/// Directories whose contents belong to root on the new machine. nixos-anywhere runs `chown -R` on each that it is told, and
/// fails if it is not there.
const OWNED_BY_ROOT: [&str; 2] = ["/var/lib/machinist", "/etc/ssh"];

/// Returns the arguments that boot the installer on the machine and, with `hardware`, write its hardware configuration
/// to that file.
#[must_use]
pub fn boot_installer(machine: &Machine, flake: &str, hardware: Option<&Path>) -> Vec<String> {
    let mut arguments = strings(&["--phases", "kexec", "--build-on", "local", "--no-use-machine-substituters"]);
    arguments.extend([String::from("--flake"), format!("{flake}#{}", machine.node)]);
    if let Some(path) = hardware {
        arguments.extend(strings(&["--generate-hardware-config", "nixos-generate-config"]));
        arguments.push(path.display().to_string());
    }
    if machine.port != 22 {
        arguments.extend([String::from("-p"), machine.port.to_string()]);
    }
    arguments.extend(identity(machine));
    arguments.extend([String::from("--target-host"), format!("{}@{}", machine.user, machine.host)]);
    arguments
}

/// Returns the arguments that partition the disk, install the built system with the extra files, and reboot into it.
/// The installer accepts root on port 22, regardless of the machine's former settings. `files` are the paths of the extra
/// files on the new machine.
#[must_use]
pub fn install<'a>(
    machine: &Machine,
    disko: &StorePath,
    system: &StorePath,
    extra_files: &Path,
    files: impl Iterator<Item = &'a str> + Clone,
) -> Vec<String> {
    let mut arguments = strings(&["--phases", "disko,install,reboot", "--build-on", "local", "--store-paths"]);
    arguments.extend([disko.to_string(), system.to_string()]);
    arguments.extend([String::from("--extra-files"), extra_files.display().to_string()]);
    let is_there = |directory: &&&str| files.clone().any(|file| Path::new(file).starts_with(directory));
    for path in OWNED_BY_ROOT.iter().filter(is_there) {
        arguments.extend(strings(&["--chown", path, "0:0"]));
    }
    arguments.extend(identity(machine));
    arguments.extend([String::from("--target-host"), format!("root@{}", machine.host)]);
    arguments
}

fn identity(machine: &Machine) -> Vec<String> {
    let path = machine.identity.as_ref().map(|path| path.display().to_string());
    path.map(|path| vec!["-i".to_owned(), path]).unwrap_or_default()
}

fn strings(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::path::Path;

    use expect_test::{Expect, expect};
    use machinist_model::NodeName;
    use machinist_nix::StorePath;

    use super::{Machine, boot_installer, install};

    fn machine() -> Machine {
        Machine {
            node: NodeName::parse("cp1").unwrap(),
            host: "192.0.2.7".to_owned(),
            port: 2222,
            user: "nixos".to_owned(),
            identity: Some("/k".into()),
        }
    }

    #[track_caller]
    fn check(arguments: &[String], expect: &Expect) {
        expect.assert_eq(&arguments.join(" "));
    }

    #[test]
    fn the_installer_is_booted_as_the_machine_is_reached_now_and_tells_its_hardware() {
        check(
            &boot_installer(&machine(), "git+file:///c", Some(Path::new("nodes/cp1/hardware-configuration.nix"))),
            &expect![
                "--phases kexec --build-on local --no-use-machine-substituters --flake git+file:///c#cp1 --generate-hardware-config nixos-generate-config nodes/cp1/hardware-configuration.nix -p 2222 -i /k --target-host nixos@192.0.2.7"
            ],
        );
    }

    #[test]
    fn the_system_is_installed_from_store_paths_as_root_on_the_installer_s_port() {
        let path =
            |name: &str| StorePath::parse(&format!("/nix/store/0123456789abcdfghijklmnpqrsvwxyz-{name}")).unwrap();
        let host_key = "/etc/ssh/ssh_host_ed25519_key";
        let arguments = |files: &[&str]| {
            install(&machine(), &path("disko"), &path("system"), Path::new("/x"), files.iter().copied())
        };
        check(
            &arguments(&["/var/lib/machinist/keys/a", host_key]),
            &expect![
                "--phases disko,install,reboot --build-on local --store-paths /nix/store/0123456789abcdfghijklmnpqrsvwxyz-disko /nix/store/0123456789abcdfghijklmnpqrsvwxyz-system --extra-files /x --chown /var/lib/machinist 0:0 --chown /etc/ssh 0:0 -i /k --target-host root@192.0.2.7"
            ],
        );
        // A machine of a fleet has no keys: nixos-anywhere would fail at a directory that is not there.
        check(
            &arguments(&[host_key]),
            &expect![
                "--phases disko,install,reboot --build-on local --store-paths /nix/store/0123456789abcdfghijklmnpqrsvwxyz-disko /nix/store/0123456789abcdfghijklmnpqrsvwxyz-system --extra-files /x --chown /etc/ssh 0:0 -i /k --target-host root@192.0.2.7"
            ],
        );
    }
}
