//! The boot loader's side of a trial, run locally with fakes of bootctl, GRUB and the systems.
#![allow(clippy::unwrap_used)]

use std::{
    fs,
    os::unix::fs::{PermissionsExt, symlink},
    path::PathBuf,
    process::{Command, Output},
};

use super::{BOOT_GIVEN_UP, BOOT_ONCE, LOADER, with};

/// A host whose profile has the generations 1 (another system) and 2 (`old`).
struct Host {
    folder: tempfile::TempDir,
}

/// systemd-boot: the entry to boot once is in a file, as in the EFI variable.
const BOOTCTL: &str = r#"#!/bin/sh
case $1 in
  --print-esp-path | --print-boot-path) echo "$HOST/esp" ;;
  status) printf 'System:\n Firmware: UEFI\n\nCurrent Boot Loader:\n Product: systemd-boot 258\n\nRandom Seed:\n' ;;
  set-oneshot) [ ! -e "$HOST/broken" ] || { echo "Failed to update EFI variable" >&2; exit 1; }
    printf '%s' "$2" >"$HOST/oneshot" ;;
esac
"#;

const EDITENV: &str = r#"#!/bin/sh
file=$1
touch "$file"
case $2 in
  list) cat "$file" ;;
  set) printf '%s\n' "$3" >>"$file" ;;
  unset) grep -v "^$3=" "$file" >"$file.new"; mv "$file.new" "$file" ;;
esac
"#;

/// Writes the menu as NixOS' installers do: an entry for each generation, and the system itself as the default.
const INSTALLER: &str = r##"#!/bin/sh
[ "$1" = boot ] || exit 1
echo "$NAME boot" >>"$HOST/done"
mkdir -p "$HOST/esp/loader/entries"
rm -f "$HOST"/esp/loader/entries/*
default=
for link in "$HOST"/profile-*-link; do
  number=${link#"$HOST/profile-"}
  number=${number%-link}
  system=$(readlink "$link")
  [ -z "$ONLY_NEWEST" ] || rm -f "$HOST"/esp/loader/entries/*
  printf 'title NixOS\nversion Generation %s\noptions init=%s/init loglevel=4\n' "$number" "$system" \
    >"$HOST/esp/loader/entries/nixos-generation-$number$COUNTER.conf"
  [ "$system" != "$HOST/$NAME" ] || default=nixos-generation-$number.conf
done
[ -z "$ONLY_NEWEST" ] || default='nixos-*'
printf 'timeout 5\ndefault %s\neditor 0\n' "$default" >"$HOST/esp/loader/loader.conf"
"##;

impl Host {
    fn new() -> Self {
        let host = Self { folder: tempfile::tempdir().unwrap() };
        host.put("bin/bootctl", BOOTCTL);
        host.put("bin/journalctl", "#!/bin/sh\n");
        host.put("kept/lock", "fence=1\nrun=r\nlasts=99999999999\n");
        for name in ["older", "old", "new"] {
            host.installer(name, "", "");
        }
        symlink(host.path("older"), host.path("profile-1-link")).unwrap();
        symlink(host.path("old"), host.path("profile-2-link")).unwrap();
        symlink(host.path("profile-2-link"), host.path("profile")).unwrap();
        host.install("old");
        fs::remove_file(host.path("done")).unwrap();
        host
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap_or_default()
    }

    fn put(&self, name: &str, text: &str) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    }

    /// A system whose installer keeps only the newest generation, or puts a counter of tries into the entries' names.
    fn installer(&self, name: &str, only_newest: &str, counter: &str) {
        let settings = format!("NAME={name}\nONLY_NEWEST={only_newest}\nCOUNTER={counter}\n");
        let text = INSTALLER.replace("#!/bin/sh\n", &format!("#!/bin/sh\n{settings}"));
        self.put(&format!("{name}/bin/switch-to-configuration"), &text);
    }

    fn install(&self, name: &str) {
        let program = self.path(name).join("bin/switch-to-configuration");
        assert!(Command::new(program).arg("boot").env("HOST", self.folder.path()).status().unwrap().success());
    }

    fn shell(&self, script: &str) -> Output {
        let place = |name: &str| self.path(name).display().to_string();
        let script = script
            .replace("/run/current-system/sw/bin", &place("bin"))
            .replace("/nix/var/nix/profiles/system", &place("profile"))
            .replace("/var/lib/machinist", &place("kept"))
            .replace("/sys/firmware/efi/efivars", &place("efivars"))
            .replace("/run/systemd/container", &place("container"))
            .replace("/boot/", &place("boot/"));
        Command::new("sh").args(["-c", &script]).env("HOST", self.folder.path()).output().unwrap()
    }

    fn boot_once(&self) -> Result<String, String> {
        let [new, old] = ["new", "old"].map(|name| self.path(name).display().to_string());
        let variables = [
            ("new", new.as_str()),
            ("old", &old),
            ("before", &old),
            ("activation_bound", "9"),
            ("fence", "1"),
            ("margin", "30"),
            ("run", "r"),
        ];
        let output = self.shell(&with(&variables, BOOT_ONCE));
        let last = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap().lines().last().unwrap_or_default().to_owned();
        if output.status.success() { Ok(last(output.stdout)) } else { Err(last(output.stderr)) }
    }

    fn look(&self) -> String {
        String::from_utf8(self.shell(LOADER).stdout).unwrap().trim().replace('\n', "; ")
    }

    fn state(&self) -> String {
        let record = self.read("kept/activation");
        record.lines().find_map(|line| line.strip_prefix("state=")).unwrap_or("none").to_owned()
    }

    /// Nothing but the old system boots, and no generation is left.
    #[track_caller]
    fn is_as_before(&self) {
        assert_eq!(self.read("oneshot"), "");
        assert!(!self.path("profile-3-link").is_symlink());
        assert!(
            !self.read("esp/loader/loader.conf").contains("generation-3"),
            "{}",
            self.read("esp/loader/loader.conf")
        );
        assert_eq!(fs::read_link(self.path("profile")).unwrap(), self.path("profile-2-link"));
    }
}

#[test]
fn the_new_system_is_booted_once_and_the_old_one_stays_the_default() {
    let host = Host::new();
    assert_eq!(host.look(), "loader=systemd-boot");
    assert_eq!(host.boot_once().unwrap(), "entry=nixos-generation-3.conf");
    assert_eq!(host.read("oneshot"), "nixos-generation-3.conf");
    assert!(host.read("esp/loader/loader.conf").contains("default nixos-generation-2.conf"));
    assert_eq!(fs::read_link(host.path("profile")).unwrap(), host.path("profile-2-link"));
    assert_eq!(fs::read_link(host.path("profile-3-link")).unwrap(), host.path("new"), "it is no garbage");
    assert_eq!((host.state().as_str(), host.read("done").trim()), ("booting", "old boot"));
    // Once more, as a resumed run does.
    assert_eq!(host.boot_once().unwrap(), "entry=nixos-generation-3.conf");
    assert!(!host.path("profile-4-link").is_symlink());
}

#[test]
fn a_counter_of_tries_is_not_part_of_an_entry_s_name() {
    let host = Host::new();
    host.installer("old", "", "+3");
    host.install("old");
    assert_eq!(host.look(), "loader=systemd-boot");
    assert_eq!(host.boot_once().unwrap(), "entry=nixos-generation-3.conf");
}

#[test]
fn a_menu_that_would_boot_the_new_system_by_default_is_taken_back() {
    let host = Host::new();
    host.installer("old", "yes", "");
    let error = host.boot_once().unwrap_err();
    assert!(error.contains("would make the new system its default"), "{error}");
    host.is_as_before();
    assert_eq!((host.state().as_str(), host.read("done").trim()), ("none", "old boot\nold boot"));
}

#[test]
fn a_default_that_is_not_the_profile_s_system_is_not_trusted() {
    let host = Host::new();
    host.put("efivars/LoaderEntryDefault-4a67b082-0a4c-41cf-b6c7-440b29bb8c4f", "\u{7}\0\0\0n\0i\0x\0.\0");
    assert!(host.look().starts_with("loader=systemd-boot; once=its default is not the system of the profile"));
    assert!(host.boot_once().unwrap_err().contains("does not boot the system of the profile by default"));
    host.is_as_before();
}

#[test]
fn a_boot_loader_that_does_not_accept_the_entry_or_a_full_disk_leaves_nothing() {
    let host = Host::new();
    host.put("broken", "");
    let error = host.boot_once().unwrap_err();
    assert!(
        error.ends_with("did not accept the entry nixos-generation-3.conf: Failed to update EFI variable"),
        "{error}"
    );
    host.is_as_before();
    let host = Host::new();
    host.put("old/bin/switch-to-configuration", "#!/bin/sh\necho 'No space left on device' >&2\nexit 1\n");
    let error = host.boot_once().unwrap_err();
    assert_eq!(error, "the menu of its boot loader (systemd-boot) could not be written: No space left on device");
    host.is_as_before();
}

#[test]
fn the_new_system_s_own_check_may_refuse_the_boot_too() {
    let host = Host::new();
    host.put("check", "#!/bin/sh\n[ \"$2\" = boot ] && [ -d \"$1\" ] && echo 'the raid is degraded' && exit 1\n");
    let wrapper = format!("#!/bin/sh\nexport PRE_SWITCH_CHECK='{}'\n", host.path("check").display());
    host.put("new/bin/switch-to-configuration", &wrapper);
    assert_eq!(host.boot_once().unwrap_err(), "its own pre-switch check refuses it: the raid is degraded");
    host.is_as_before();
    assert_eq!(host.read("done"), "");
}

#[test]
fn without_the_lock_nothing_is_installed() {
    let host = Host::new();
    host.put("kept/lock", "fence=2\nrun=other\nwho=eve@desk\nlasts=99999999999\n");
    assert_eq!(host.boot_once().unwrap_err(), "the lock of this run is gone (eve@desk holds it now)");
    host.is_as_before();
}

#[test]
fn a_trial_that_is_given_up_is_recorded_and_not_booted_any_more() {
    let host = Host::new();
    host.boot_once().unwrap();
    host.put("bin/journalctl", "#!/bin/sh\ncase $* in *list-boots*) echo ' -1 abc Mon'; echo ' 0 def Tue' ;; *boot=abc*) echo 'no root device' ;; esac\n");
    let new = host.path("new").display().to_string();
    let said =
        host.shell(&with(&[("new", new.as_str()), ("words", "it did not come up"), ("boot", "b1")], BOOT_GIVEN_UP));
    assert_eq!(String::from_utf8(said.stdout).unwrap(), "  boot: no root device\n");
    assert_eq!((host.state().as_str(), host.read("oneshot").as_str()), ("reverted it did not come up", ""));
    // The boot before the trial is not the boot in between, and a record of another activation is left alone.
    host.put("kept/activation", "new=/x\nstate=booting\n");
    let said = host.shell(&with(&[("new", new.as_str()), ("words", "w"), ("boot", "a-b-c")], BOOT_GIVEN_UP));
    assert_eq!((said.stdout, host.state()), (Vec::new(), "booting".to_owned()));
}

/// GRUB's menu with the new system as generation 3, as nixpkgs' install-grub.pl writes it.
fn grub(host: &Host, default: &str, disk: &str) {
    host.put("bin/bootctl", "#!/bin/sh\nexit 1\n");
    host.put("bin/findmnt", &format!("#!/bin/sh\necho '{disk}'\n"));
    host.put("bin/grub-editenv", EDITENV);
    let writer = format!(
        r#"#!/bin/sh
entry() {{ printf 'menuentry "%s" --class nixos {{\nsearch --set=drive1 --fs-uuid x\n  linux ($drive1)/kernels/k init=%s/init loglevel=4\n  initrd ($drive1)/kernels/i\n}}\n\n' "$1" "$2"; }}
mkdir -p "$HOST/boot/grub"
{{
  printf 'if [ "${{next_entry}}" ]; then\n  set default="${{next_entry}}"\n  set next_entry=\n  save_env next_entry\nelse\n  set default={default}\n  set timeout=5\nfi\n\nfunction savedefault {{\n    if [ -z "${{boot_once}}"]; then\n    save_env saved_entry\n    fi\n}}\n'
  entry NixOS "$HOST/old"
  echo 'submenu "NixOS - All configurations" --class submenu {{'
  [ ! -L "$HOST/profile-3-link" ] || entry "NixOS - Configuration 3 (2026-11-30 - 26.05 > x)" "$HOST/new"
  entry "NixOS - Configuration 2 (2026-11-01 - 25.11)" "$HOST/old"
  echo 'submenu "NixOS - Configuration 1 (2026-10-01 - 25.11)" --class submenu {{'
  entry "NixOS - Configuration 1 - Default (2026-10-01 - 25.11)" "$HOST/older"
  echo '}}'
  echo '}}'
}} >"$HOST/boot/grub/grub.cfg"
"#
    );
    host.put("old/bin/switch-to-configuration", &writer);
    host.install("old");
}

#[test]
fn grub_boots_the_entry_once_by_the_titles_that_lead_to_it() {
    for default in ["0", "\"${saved_entry}\""] {
        let host = Host::new();
        grub(&host, default, "ext4 /dev/sda1");
        assert_eq!(host.look(), "loader=GRUB");
        let entry = "NixOS - All configurations>NixOS - Configuration 3 (2026-11-30 - 26.05 >> x)";
        assert_eq!(host.boot_once().unwrap(), format!("entry={entry}"));
        assert_eq!(host.read("boot/grub/grubenv"), format!("next_entry={entry}\n"));
        assert_eq!(host.state(), "booting");
    }
}

#[test]
fn grub_on_a_disk_that_it_cannot_write_or_with_another_default_is_refused() {
    for (disk, says) in [
        ("btrfs /dev/sda1", "GRUB cannot write to the file system of"),
        ("ext4 /dev/mapper/vg-boot", "GRUB cannot write to the disk of"),
        ("ext4 /dev/md0", "GRUB cannot write to the disk of"),
    ] {
        let host = Host::new();
        grub(&host, "0", disk);
        let look = host.look();
        assert!(look.starts_with(&format!("loader=GRUB; once={says}")), "{look}");
        assert!(host.boot_once().is_err());
        host.is_as_before();
    }
    let host = Host::new();
    grub(&host, "\"${saved_entry}\"", "ext4 /dev/sda1");
    host.put(
        "boot/grub/grubenv",
        "saved_entry=NixOS - All configurations>NixOS - Configuration 2 (2026-11-01 - 25.11)\n",
    );
    assert_eq!(host.look(), "loader=GRUB", "another entry of the same system");
    host.put("boot/grub/grubenv", "saved_entry=Windows\n");
    assert!(host.look().contains("once=its default is not the system of the profile"));
}

#[test]
fn other_boot_loaders_are_named() {
    let host = Host::new();
    host.put("bin/bootctl", "#!/bin/sh\nexit 1\n");
    assert_eq!(host.look(), "loader=unknown; once=it is neither systemd-boot nor GRUB");
    fs::create_dir_all(host.path("boot/extlinux")).unwrap();
    assert_eq!(host.look(), "loader=extlinux; once=it has no entry that is booted once");
    host.put("container", "");
    assert_eq!(host.look(), "loader=none; once=a container's host decides what it boots");
}
