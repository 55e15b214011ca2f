//! The host's side of an activation, run locally with fakes of systemd, nix and the systems.
#![allow(clippy::unwrap_used)]

use std::{
    fs,
    os::unix::fs::{PermissionsExt, symlink},
    path::{Path, PathBuf},
    process::Command,
};

use super::{ACTIVATE, AWAIT, CONFIRM, LOCK, with};

/// A host on which everything works, unless a test changes it.
struct Host {
    folder: tempfile::TempDir,
}

/// Result of an activation.
struct End {
    /// The state that the operator reads.
    state: String,
    /// The state in the record that survives a reset.
    record: String,
    /// The system that the profile links to.
    profile: PathBuf,
    /// The actions in order: `new test`, `new boot`, `old test`, `old boot`.
    done: Vec<String>,
}

const SYSTEMD: &str = r#"#!/bin/sh
case "$*" in
  list-units*) cat "$HOST/failed" 2>/dev/null; exit 0 ;;
  *--value*) cat "$HOST/active"; exit 0 ;;
  show*) [ -x "$HOST/services" ] && "$HOST/services"; exit 0 ;;
esac
"#;

const NIX_ENV: &str = "#!/bin/sh\nln -sfn \"$4\" \"$2\"\n";

impl Host {
    fn new() -> Self {
        let host = Self { folder: tempfile::tempdir().unwrap() };
        host.put("bin/systemctl", SYSTEMD);
        host.put("bin/nix-env", NIX_ENV);
        host.put("bin/journalctl", "#!/bin/sh\n");
        host.put("active", "active\n");
        host.put("kept/lock", "fence=1\nrun=r\nlasts=99999999999\n");
        host.put("kept/confirmed", &format!("{}\n", host.path("old").display()));
        host.put("run/confirm", "");
        for system in ["old", "new"] {
            host.system(system, "");
        }
        symlink(host.path("old"), host.path("profile")).unwrap();
        host
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn put(&self, name: &str, text: &str) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    }

    /// Makes a system's switch-to-configuration run this script, with `$1` as its action.
    fn system(&self, name: &str, text: &str) {
        let script = format!("#!/bin/sh\necho \"{name} $1\" >>\"$HOST/done\"\n{text}\n");
        self.put(&format!("{name}/bin/switch-to-configuration"), &script);
    }

    /// Makes systemd report services: a shell script that prints `systemctl show`'s paragraphs. `$count` is the number
    /// of the call, from 1; the first call precedes the activation.
    fn services(&self, text: &str) {
        let count = "count=$(($(cat \"$HOST/count\" 2>/dev/null || echo 0) + 1)); echo $count >\"$HOST/count\"";
        let service = "service() { printf 'Id=%s\\nNRestarts=%s\\nSubState=%s\\nResult=%s\\nExecMainStartTimestampMonotonic=%s\\n\\n' \"$@\"; }";
        self.put("services", &format!("#!/bin/sh\n{count}\n{service}\n{text}\n"));
    }

    /// Makes every later write of a record fail.
    fn fill(folder: &str) -> String {
        ["activation.new", "confirmed.new", "confirmed.next.new", "activation.confirmed.new", "lock.new"]
            .map(|name| format!("ln -sf /dev/full {folder}/kept/{name}\n"))
            .concat()
    }

    fn shell(&self, script: &str) -> std::process::Output {
        let place = |name: &str| self.path(name).display().to_string();
        let script = script
            .replace("/run/current-system/sw/bin", &place("bin"))
            .replace("/nix/var/nix/profiles/system", &place("profile"))
            .replace("/var/lib/machinist", &place("kept"))
            .replace("quiet_first=3", "quiet_first=1")
            .replace("quiet_later=15", "quiet_later=3")
            .replace("settling=60", "settling=5");
        Command::new("sh").args(["-c", &script]).env("HOST", self.folder.path()).output().unwrap()
    }

    fn activate(&self) -> End {
        self.activate_as(&[("trial", "no"), ("unwell_before", "")])
    }

    fn activate_as(&self, kind: &[(&str, &str)]) -> End {
        let place = |name: &str| self.path(name).display().to_string();
        let (new, old, run) = (place("new"), place("old"), place("run"));
        let variables = [
            ("new", new.as_str()),
            ("old", &old),
            ("before", &old),
            ("directory", &run),
            ("activation_bound", "2"),
            ("confirm_bound", "2"),
            ("gates", "no"),
            ("fence", "1"),
            // The lock in the fixture is from another boot, so only its duration counts: it never expires.
            ("margin", "30"),
            ("run", "r"),
        ];
        self.shell(&with(&[&variables, kind].concat(), ACTIVATE));
        let read = |name: &str| fs::read_to_string(self.path(name)).unwrap_or_default();
        let record = read("kept/activation");
        End {
            state: read("run/state").trim().to_owned(),
            record: record.lines().find_map(|line| line.strip_prefix("state=")).unwrap_or("none").to_owned(),
            profile: fs::read_link(self.path("profile")).unwrap_or_default(),
            done: read("done").lines().map(str::to_owned).collect(),
        }
    }
}

#[track_caller]
fn confirmed(host: &Host) {
    let end = host.activate();
    assert_eq!((end.state.as_str(), end.record.as_str()), ("confirmed", "confirmed"));
    assert_eq!(end.done, ["new test", "new boot"]);
    assert_eq!(end.profile, host.path("new"));
    let recorded = fs::read_to_string(host.path("kept/confirmed")).unwrap();
    assert_eq!(recorded.trim_end(), host.path("new").to_str().unwrap());
}

#[track_caller]
fn reverted(host: &Host, why: &str, done: &[&str]) {
    let end = host.activate();
    assert_eq!(end.state, format!("reverted {why}"));
    assert_eq!(end.record.trim_end(), end.state);
    assert_eq!(end.done, done);
    assert_eq!(end.profile, host.path("old"));
    let recorded = fs::read_to_string(host.path("kept/confirmed")).unwrap();
    assert_eq!(recorded.trim_end(), host.path("old").to_str().unwrap());
}

const WENT_BACK: [&str; 2] = ["new test", "old test"];

#[test]
fn a_system_on_which_all_is_well_is_confirmed() {
    let host = Host::new();
    host.services("service a.service 0 running success 1000000");
    confirmed(&host);
}

#[test]
fn a_service_that_fails_and_is_started_again_and_again_is_not_confirmed() {
    let host = Host::new();
    host.system("new", "echo 'warning: the following units failed: loop.service' >&2; [ \"$1\" = boot ] || exit 4");
    host.services("[ $count = 1 ] || service loop.service $count auto-restart exit-code ${count}000000");
    reverted(&host, "services do not stay up: loop.service", &WENT_BACK);
}

#[test]
fn a_service_that_was_well_and_restarts_now_is_not_confirmed() {
    let host = Host::new();
    // It is running each time it is checked: only the number of restarts differs.
    host.services("service a.service $((count - 1)) running success ${count}000000");
    reverted(&host, "services do not stay up: a.service", &WENT_BACK);
}

#[test]
fn a_service_that_has_failed_once_is_watched_for_longer() {
    let host = Host::new();
    // It fails again only after the shorter time for which services without a failure are watched.
    host.services("[ $count = 1 ] || service a.service $((count < 5 ? 1 : count)) running success ${count}000000");
    reverted(&host, "services do not stay up: a.service", &WENT_BACK);
}

#[test]
fn a_service_that_needs_a_second_try_settles() {
    let host = Host::new();
    host.system("new", "echo 'warning: the following units failed: late.service' >&2; [ \"$1\" = boot ] || exit 4");
    host.services(
        "case $count in 1) ;; 2) service late.service 0 auto-restart exit-code 9 ;; *) service late.service 1 running success 9 ;; esac",
    );
    confirmed(&host);
}

#[test]
fn what_was_not_well_before_does_not_count() {
    let host = Host::new();
    host.put("failed", "old.service loaded failed failed\n");
    host.system(
        "new",
        "echo 'warning: the following units failed: loop.service, old.service' >&2; [ \"$1\" = boot ] || exit 4",
    );
    host.services("service loop.service $count auto-restart exit-code 9");
    confirmed(&host);
}

#[test]
fn a_service_that_ends_well_and_is_started_again_is_no_failure() {
    let host = Host::new();
    host.services("service timer.service $count auto-restart success 9");
    confirmed(&host);
}

#[test]
fn a_unit_that_switch_to_configuration_names_as_failed_is_not_confirmed() {
    for said in [
        "Failed to start x.service: Unit is masked",
        "Failed to restart x.service",
        "Job for x.service failed because the control process exited with error code.",
        "warning: the following units failed: x.service",
    ] {
        let host = Host::new();
        host.put("active", "inactive\n");
        host.system("new", &format!("echo '{said}' >&2; [ \"$1\" = boot ] || exit 4"));
        reverted(&host, "units failed: x.service", &WENT_BACK);
    }
    let host = Host::new();
    host.system("new", "echo 'Failed to run activate script' >&2; [ \"$1\" = boot ] || exit 4");
    reverted(&host, "the activation script failed", &WENT_BACK);
}

#[test]
fn a_boot_loader_that_fails_is_installed_again_for_the_old_system() {
    let done = ["new test", "new boot", "old boot", "old test"];
    let host = Host::new();
    host.system("new", "[ \"$1\" != boot ] || { echo 'no space left on the ESP' >&2; exit 1; }");
    reverted(&host, "the boot loader could not be installed: no space left on the ESP", &done);
    let host = Host::new();
    host.system("new", "[ \"$1\" != boot ] || exec sleep 60");
    reverted(&host, "the boot loader could not be installed within 2 s", &done);
}

#[test]
fn a_boot_loader_that_fails_for_both_systems_is_reported() {
    let host = Host::new();
    for system in ["old", "new"] {
        host.system(system, "[ \"$1\" != boot ] || { echo 'input/output error' >&2; exit 1; }");
    }
    let end = host.activate();
    let cause = "the boot loader could not be installed: input/output error";
    let expected = format!(
        "broken {cause}; what boots next is uncertain, because the old system could not be made the one that boots: {cause}"
    );
    assert_eq!((end.state, end.record), (expected.clone(), expected));
    assert_eq!(end.done, ["new test", "new boot", "old boot", "old test"]);
}

#[test]
fn a_disk_that_is_full_before_an_activation_leaves_the_host_unchanged() {
    let host = Host::new();
    host.shell(&Host::fill("$HOST"));
    let end = host.activate();
    assert!(end.state.starts_with("reverted nothing was changed: cannot write "), "{}", end.state);
    assert_eq!((end.done.len(), end.profile), (0, host.path("old")));
}

#[test]
fn a_disk_that_is_full_during_an_activation_truncates_no_record() {
    let host = Host::new();
    host.system("new", &Host::fill("$HOST"));
    confirmed(&host);
    // Nor if the activation reverts: the first record stays intact.
    let host = Host::new();
    host.system("new", &format!("{}[ \"$1\" = boot ] || exit 1", Host::fill("$HOST")));
    let end = host.activate();
    assert_eq!(end.record, "activating");
    assert!(
        end.state.starts_with("reverted switch-to-configuration ended with status 1; it could not"),
        "{}",
        end.state
    );
}

#[test]
fn a_full_run_ends_an_activation_and_its_record_is_read_in_place_of_the_state() {
    let host = Host::new();
    host.system("new", "ln -sf /dev/full $HOST/run/state.new");
    let end = host.activate();
    let why = format!("reverted {} cannot be written", host.path("run/state").display());
    assert_eq!((end.state.as_str(), &end.record), ("activating", &why));
    assert_eq!(end.done, WENT_BACK);
    // The unit has exited.
    host.put("bin/systemctl", "#!/bin/sh\nexit 3\n");
    let (run, new) = (host.path("run").display().to_string(), host.path("new").display().to_string());
    let passing = ("passing", "starting|activating|reverting");
    let variables = [("directory", run.as_str()), ("unit", "x"), passing, ("run", "r"), ("new", &new)];
    let output = host.shell(&with(&variables, AWAIT));
    assert_eq!(String::from_utf8(output.stdout).unwrap().trim_end(), why);
    // The same holds after a reset, which clears the directory.
    fs::remove_dir_all(&run).unwrap();
    let output = host.shell(&with(&variables, &[CONFIRM, AWAIT].concat()));
    assert_eq!(String::from_utf8(output.stdout).unwrap().trim_end(), why);
}

#[test]
fn a_lock_on_a_full_disk_is_not_taken_and_not_lost() {
    let check = |variables: &[(&str, &str)]| {
        let host = Host::new();
        let before = fs::read(host.path("kept/lock")).unwrap();
        let output = host.shell(&format!("{}{}", Host::fill("$HOST"), with(variables, LOCK)));
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(stderr.contains("lock; is its file system full?"), "{stderr}");
        assert_eq!((output.status.code(), output.stdout), (Some(1), Vec::new()));
        assert_eq!(fs::read(host.path("kept/lock")).unwrap(), before);
        assert!(!Path::new(&host.path("kept/lock.new")).exists());
    };
    check(&[
        ("action", "take"),
        ("expected", "fence=1\nrun=r\nlasts=99999999999"),
        ("claim", "fence=2\nrun=s"),
        ("lasts", "90"),
    ]);
    check(&[("action", "renew"), ("fence", "1"), ("run", "r"), ("lasts", "90")]);
    check(&[("action", "release"), ("fence", "1"), ("run", "r")]);
}

/// Runs the activation of a system that was booted on trial: `$HOST/reboots` counts the reboots.
fn on_trial(host: &Host, unwell: &str) -> (End, String) {
    let state = "case \"$*\" in reboot) echo reboot >>\"$HOST/done\"; exit 0 ;; is-system-running) cat \"$HOST/boot\"; exit 0 ;; esac\n";
    host.put("bin/systemctl", &SYSTEMD.replace("case \"$*\" in\n", &format!("{state}case \"$*\" in\n")));
    if !host.path("boot").exists() {
        host.put("boot", "running\n");
    }
    let end = host.activate_as(&[("trial", "yes"), ("unwell_before", unwell)]);
    let boots = fs::read_link(host.path("profile")).unwrap_or_default();
    let name = boots.file_name().unwrap_or_default().to_string_lossy().into_owned();
    (end, name)
}

#[test]
fn a_system_on_trial_is_not_activated_again_and_becomes_the_default_when_it_is_confirmed() {
    let host = Host::new();
    let (end, boots) = on_trial(&host, "");
    assert_eq!((end.state.as_str(), end.record.as_str(), boots.as_str()), ("confirmed", "confirmed", "new"));
    assert_eq!(end.done, ["new boot"]);
}

#[test]
fn a_trial_that_is_not_confirmed_in_time_ends_with_a_reboot_into_the_old_system() {
    let host = Host::new();
    fs::remove_file(host.path("run/confirm")).unwrap();
    let (end, boots) = on_trial(&host, "");
    let why = "reverted no confirmation came over a fresh connection within 2 s";
    assert_eq!((end.record.as_str(), boots.as_str()), (why, "old"));
    assert_eq!(end.done, ["reboot"], "the boot loader was never touched");
    // A confirmation that comes now finds the record, and not a host that waits.
    host.put("run/confirm", "");
    fs::remove_file(host.path("run/state")).unwrap();
    let run = host.path("run").display().to_string();
    let new = host.path("new").display().to_string();
    let variables = [("directory", run.as_str()), ("unit", "u"), ("passing", "waiting"), ("run", "r"), ("new", &new)];
    let said = host.shell(&with(&variables, AWAIT));
    assert_eq!(String::from_utf8(said.stdout).unwrap().trim(), why);
}

#[test]
fn a_unit_that_fails_in_the_boot_ends_the_trial_unless_it_had_failed_before() {
    let host = Host::new();
    host.put("bin/journalctl", "#!/bin/sh\ncase $* in *x.service*) echo 'its last line' ;; esac\n");
    host.put("failed", "x.service loaded failed\n");
    let (end, boots) = on_trial(&host, "y.service");
    assert_eq!((end.record.trim(), boots.as_str()), ("reverted units failed: x.service", "old"));
    assert_eq!(end.done, ["reboot"]);
    assert!(fs::read_to_string(host.path("kept/activation.words")).unwrap().contains("x.service: its last line"));
    let host = Host::new();
    host.put("failed", "x.service loaded failed\n");
    assert_eq!(on_trial(&host, "y.service\nx.service").1, "new");
}

#[test]
fn a_boot_that_does_not_finish_ends_the_trial() {
    let host = Host::new();
    host.put("boot", "starting\n");
    let (end, _) = on_trial(&host, "");
    assert!(end.record.starts_with("reverted its boot is not over: systemd is starting"), "{}", end.record);
    host.put("boot", "maintenance\n");
    assert_eq!(on_trial(&host, "").0.record, "reverted it is in rescue or emergency mode");
}

#[test]
fn a_trial_whose_boot_loader_cannot_be_installed_keeps_running_when_the_old_one_cannot_either() {
    let host = Host::new();
    host.system("new", "[ \"$1\" != boot ] || { echo no room; exit 1; }");
    let (end, boots) = on_trial(&host, "");
    assert_eq!(end.record, "reverted the boot loader could not be installed: no room");
    assert_eq!(
        (end.done.as_slice(), boots.as_str()),
        (["new boot", "old boot", "reboot"].map(str::to_owned).as_slice(), "old")
    );
    let host = Host::new();
    for system in ["new", "old"] {
        host.system(system, "[ \"$1\" != boot ] || { echo no room; exit 1; }");
    }
    let (end, _) = on_trial(&host, "");
    assert!(
        end.record.starts_with("broken the boot loader could not be installed: no room; what boots next is uncertain")
    );
    assert_eq!(end.done, ["new boot", "old boot"], "what a reboot would boot is not known");
}

#[test]
fn a_switch_that_the_new_system_refuses_has_changed_nothing() {
    let host = Host::new();
    host.system(
        "new",
        "echo 'There are changes to critical components of the system:'; echo 'bus : dbus -> broker'\n\
         echo \"Pre-switch check 'switchInhibitors' failed\"; echo 'Pre-switch checks failed'; exit 1",
    );
    reverted(&host, "nothing was changed: its own pre-switch check switchInhibitors refuses a switch", &["new test"]);
    let words = fs::read_to_string(host.path("run/words")).unwrap();
    assert!(words.contains("bus : dbus -> broker"), "{words}");
    let host = Host::new();
    host.system("new", "echo 'Warning: the new NixOS configuration has an init that is'; exit 100");
    reverted(&host, "nothing was changed: its init interface differs, so that only a boot can bring it", &["new test"]);
    let host = Host::new();
    host.system("new", "[ \"$1\" != test ] || { echo 'Could not acquire lock'; exit 1; }");
    reverted(&host, "switch-to-configuration ended with status 1", &WENT_BACK);
}
