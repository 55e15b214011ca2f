//! Phases of an installation, recognised by what nixos-anywhere prints, and the deadline of each: nixos-anywhere itself
//! waits for ever for a machine that does not come back. Pure.

use std::time::Duration;

use serde::Serialize;

/// A phase of an installation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    /// nixos-anywhere logs in and puts its key there.
    Connect,
    /// The installer's image is fetched and started by kexec.
    Kexec,
    /// The machine is away, and comes back as the installer.
    Installer,
    /// The hardware configuration is read.
    Hardware,
    /// The programs that partition are copied into the installer's memory.
    Tools,
    /// The disk is partitioned.
    Disko,
    /// The system is copied to the disk.
    Copy,
    /// The boot loader is installed, and the system activated.
    Install,
    /// The machine goes down.
    Reboot,
    /// The installed system boots.
    Boot,
}

impl Phase {
    /// All phases, in order.
    pub const ALL: [Self; 10] = [
        Self::Connect,
        Self::Kexec,
        Self::Installer,
        Self::Hardware,
        Self::Tools,
        Self::Disko,
        Self::Copy,
        Self::Install,
        Self::Reboot,
        Self::Boot,
    ];

    /// Returns the name, by which `--deadline` takes it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::Kexec => "kexec",
            Self::Installer => "installer",
            Self::Hardware => "hardware",
            Self::Tools => "tools",
            Self::Disko => "disko",
            Self::Copy => "copy",
            Self::Install => "install",
            Self::Reboot => "reboot",
            Self::Boot => "boot",
        }
    }

    /// Returns the phase of this name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|phase| phase.name() == name)
    }

    /// Returns what happens in the phase, as a part of a sentence.
    #[must_use]
    pub const fn words(self) -> &'static str {
        match self {
            Self::Connect => "connecting",
            Self::Kexec => "fetching the installer and starting it by kexec",
            Self::Installer => "waiting for the installer to answer",
            Self::Hardware => "reading the hardware",
            Self::Tools => "copying the programs that partition",
            Self::Disko => "partitioning the disk",
            Self::Copy => "copying the system",
            Self::Install => "installing the system and its boot loader",
            Self::Reboot => "rebooting",
            Self::Boot => "waiting for the installed system",
        }
    }

    /// Returns the default deadline: several times what a slow machine with a slow line needs.
    #[must_use]
    pub const fn deadline(self) -> Duration {
        let minutes = match self {
            Self::Hardware | Self::Reboot => 5,
            Self::Connect => 10,
            // Firmware and memory tests of servers take minutes.
            Self::Installer | Self::Boot => 15,
            Self::Disko | Self::Install => 20,
            Self::Kexec | Self::Tools => 30,
            Self::Copy => 120,
        };
        Duration::from_secs(minutes * 60)
    }

    /// Returns what is true of the machine when the phase did not end, and how to go on.
    #[must_use]
    pub const fn way_on(self) -> &'static str {
        match self {
            Self::Connect => {
                "nothing was changed; check the address, the login (`ssh` by hand), and that the user is root or has sudo \
                 without a password; then run it again"
            }
            Self::Kexec => {
                "nothing was erased, and the old system runs, or starts again after a reset; the machine fetches the \
                 installer from github.com, so check its way there and its memory; then run it again"
            }
            Self::Installer => {
                "nothing was erased: a reset brings the old system back; look at the console: an installer that runs \
                 without network needs another driver or a static address; or boot the NixOS installer from the \
                 provider's rescue system or a USB stick, and run it again"
            }
            Self::Hardware => {
                "nothing was erased, and the installer runs: run it again, or with --no-hardware-config; a reset brings \
                 the old system back"
            }
            Self::Tools => {
                "nothing was erased, and the installer runs: check the line and its memory, and run it again"
            }
            Self::Disko => {
                "the disk may be erased in part, so no reset brings the old system back; the installer runs: log in as \
                 root (`lsblk`, `dmesg`), and run it again, which starts over"
            }
            Self::Copy | Self::Install => {
                "the disk is erased, and the installer runs: run it again, which starts over; after a reset the machine \
                 needs the provider's rescue system or a USB stick first"
            }
            Self::Reboot => {
                "the system is installed, and the machine does not go down: reset it, then `machinist status` asks whether \
                 it came up"
            }
            Self::Boot => {
                "look at its console: the boot order (the disk first, no USB stick or rescue system), the boot loader, the \
                 network; `machinist status` asks again; from the rescue system, `machinist install` starts over"
            }
        }
    }
}

/// Follows the phases by the lines of nixos-anywhere's output. A phase never goes back to an earlier one.
#[derive(Clone, Debug)]
pub struct Follower {
    phase: Phase,
    /// True for the call that boots the installer; the other begins in it.
    boots: bool,
    /// True after the machine's facts were read.
    has_facts: bool,
}

impl Follower {
    /// Follows a call; `boots` for the one that boots the installer.
    #[must_use]
    pub const fn new(boots: bool) -> Self {
        Self { phase: Phase::Connect, boots, has_facts: false }
    }

    /// Returns the current phase.
    #[must_use]
    pub const fn phase(&self) -> Phase {
        self.phase
    }

    /// Reads a line, and returns the phase if it begins.
    pub fn read(&mut self, line: &str) -> Option<Phase> {
        let next = self.next(line.trim())?;
        if next <= self.phase {
            return None;
        }
        self.phase = next;
        Some(next)
    }

    fn next(&mut self, line: &str) -> Option<Phase> {
        // The last words of the installer's own script before it starts the kernel.
        if self.boots && line.contains("machine will boot into nixos") {
            return Some(Phase::Installer);
        }
        let step = line.strip_prefix("### ")?.strip_suffix(" ###")?;
        match step {
            // What follows it has no line of its own in the second call.
            "Gathering machine facts" if !self.boots && !self.has_facts => {
                self.has_facts = true;
                Some(Phase::Tools)
            }
            "Switching system into kexec" => Some(Phase::Kexec),
            "Formatting hard drive with disko" => Some(Phase::Disko),
            "Uploading the system closure" => Some(Phase::Copy),
            "Copying extra files" | "Installing NixOS" => Some(Phase::Install),
            "Rebooting" | "Waiting for the machine to become unreachable due to reboot" => Some(Phase::Reboot),
            _ if step.starts_with("Generating ") => Some(Phase::Hardware),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use expect_test::{Expect, expect};

    use super::{Follower, Phase};

    #[track_caller]
    fn check(boots: bool, lines: &[&str], expect: &Expect) {
        let mut follower = Follower::new(boots);
        let phases: Vec<&str> = lines.iter().filter_map(|line| follower.read(line)).map(Phase::name).collect();
        expect.assert_eq(&phases.join(" "));
    }

    #[test]
    fn the_steps_of_nixos_anywhere_are_phases() {
        check(
            true,
            &[
                "### Uploading install SSH keys ###",
                "### Gathering machine facts ###",
                "### Switching system into kexec ###",
                "Downloading kexec tarball, this may take a moment...",
                "machine will boot into nixos in 6s...",
                "### Gathering machine facts ###",
                "### Generating hardware-configuration.nix using nixos-generate-config ###",
                "### Done! ###",
            ],
            &expect!["kexec installer hardware"],
        );
        check(
            false,
            &[
                "### Uploading install SSH keys ###",
                "### Gathering machine facts ###",
                "### Formatting hard drive with disko ###",
                "### Uploading the system closure ###",
                "### Copying extra files ###",
                "### Installing NixOS ###",
                "### Rebooting ###",
                "### Waiting for the machine to become unreachable due to reboot ###",
                "### Done! ###",
            ],
            &expect!["tools disko copy install reboot"],
        );
    }

    #[test]
    fn a_machine_cannot_go_back_a_phase_by_what_it_prints() {
        check(
            false,
            &["### Installing NixOS ###", "### Formatting hard drive with disko ###", "### Copying extra files ###"],
            &expect!["install"],
        );
        check(false, &["machine will boot into nixos", "###  ###", "### ###", "###"], &expect![""]);
    }

    #[test]
    fn each_phase_has_a_name_a_deadline_and_a_way_on_in_the_guide() {
        let guide =
            std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/guides/install.md")).unwrap();
        for phase in Phase::ALL {
            assert_eq!(Phase::parse(phase.name()), Some(phase));
            let row = format!("| `{}` | {} min |", phase.name(), phase.deadline().as_secs() / 60);
            assert!(guide.contains(&row), "{row}");
        }
    }
}
