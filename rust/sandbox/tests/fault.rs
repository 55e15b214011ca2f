//! Fault injection on real machines: needs root, and a Debian root in the shared cache (built by the first run).
#![allow(clippy::unwrap_used, clippy::panic)]
// Each test program compiles its own copy of the rig, and none uses all of it.
#[allow(dead_code)]
mod rig;

use std::{
    process::Command,
    time::{Duration, Instant},
};

use machinist_sandbox::{Error, Fault, MachineState, heal, inject, start, stop};
use rig::{Rig, run, wait_for};

const UNIT: &str = "printf '[Service]\\nExecStart=sleep infinity\\n' >/etc/systemd/system/nap.service
    systemctl daemon-reload && systemctl start nap";

fn give(rig: &Rig, fault: &Fault) {
    inject(&rig.spec.state_dir, "casper", fault, &|_| ()).unwrap_or_else(|error| panic!("{fault}: {error}"));
}

fn faults(rig: &Rig) -> Vec<String> {
    rig.status().machines[0].faults.iter().map(ToString::to_string).collect()
}

fn healed(rig: &Rig) -> Vec<String> {
    let healed = heal(&rig.spec.state_dir, "casper", None, &|_| ()).unwrap();
    assert_eq!(faults(rig), [""; 0]);
    healed.iter().map(ToString::to_string).collect()
}

/// Runs a command inside the machine through its process 1, without its sshd.
fn inside(rig: &Rig, command: &str) -> String {
    let pid = rig.status().machines[0].pid.unwrap().to_string();
    let enter = ["--target", &pid, "--mount", "--net", "--pid", "--root", "sh", "-c", command];
    run(Command::new("nsenter").args(enter)).trim().to_owned()
}

#[test]
fn what_lives_in_the_machine_is_healed_by_name_and_by_a_reboot() {
    let Some(rig) = Rig::new("test-fault", 21, &["casper"]) else { return };
    rig.up();
    rig.ssh("casper", UNIT);
    give(&rig, &Fault::Ssh);
    give(&rig, &Fault::Unit("nap.service".into()));
    assert_eq!(faults(&rig), ["ssh", "unit nap.service"]);
    assert!(!rig.try_ssh("casper", "true").status.success());
    assert_eq!(inside(&rig, "systemctl is-active nap || true"), "inactive");
    heal(&rig.spec.state_dir, "casper", Some(&Fault::Ssh), &|_| ()).unwrap();
    assert_eq!(faults(&rig), ["unit nap.service"]);
    assert_eq!(rig.ssh("casper", "nft list tables; systemctl is-active nap || true"), "inactive");
    assert_eq!(healed(&rig), ["unit nap.service"]);
    assert_eq!(rig.ssh("casper", "systemctl is-active nap"), "active");

    // A process with etcd's name stands in for etcd.
    let missing = inject(&rig.spec.state_dir, "casper", &Fault::Etcd, &|_| ()).unwrap_err();
    assert!(matches!(missing, Error::NoProcess { .. }), "{missing}");
    rig.ssh("casper", "cp /bin/sleep /tmp/etcd; systemd-run --quiet --property=Type=exec --unit=fake /tmp/etcd 1000");
    give(&rig, &Fault::Etcd);
    wait_for("the kill", || inside(&rig, "systemctl is-failed fake || true") == "failed");

    give(&rig, &Fault::Ssh);
    let boot = rig.status().machines[0].pid;
    give(&rig, &Fault::Reboot);
    assert_ne!(rig.status().machines[0].pid, boot);
    assert_eq!(faults(&rig), [""; 0], "a reboot starts with an empty network");
    rig.ssh("casper", "true");
}

#[test]
fn cable_and_disk_stay_as_they_are_over_a_reboot() {
    let Some(rig) = Rig::new("test-disk", 22, &["casper"]) else { return };
    rig.up();
    let path = rig.ssh("casper", "echo kept >/root/x; nix store add-file --name kept /root/x");
    give(&rig, &Fault::Bandwidth("500kbit".parse().unwrap()));
    // The switch's port to the machine limits everything that the operator sends to sshd.
    let begun = Instant::now();
    rig.ssh("casper", &format!("printf '%s' '{}' | wc -c", "x".repeat(100_000)));
    let slow = begun.elapsed();
    assert!(slow >= Duration::from_millis(1200), "{slow:?} for 0.8 Mbit");
    give(&rig, &Fault::Disk);
    let full = |how: &str| {
        let written = rig.try_ssh("casper", "head -c 5000 /dev/zero >/nix/store/x");
        let said = String::from_utf8_lossy(&written.stderr).into_owned();
        assert!(said.contains("No space left on device"), "{how}: {said}");
        assert!(
            !rig.try_ssh("casper", "head -c 9000 /dev/urandom >/root/y; nix store add-file /root/y").status.success()
        );
        assert_eq!(rig.ssh("casper", &format!("cat {path}")), "kept", "{how}");
        assert_eq!(faults(&rig), ["bandwidth 500kbit", "disk"], "{how}");
    };
    full("at once");
    give(&rig, &Fault::Reboot);
    full("after a reboot");
    stop(&rig.spec.state_dir, "casper", true, &|_| ()).unwrap();
    assert_eq!(rig.state_of("casper"), MachineState::Stopped);
    assert_eq!(healed(&rig), ["bandwidth 500kbit", "disk"]);
    start(&rig.spec.state_dir, "casper", &|_| ()).unwrap();
    assert_eq!(rig.ssh("casper", "rm -f /nix/store/x; nix store add-file /root/y >/dev/null; cat /root/x"), "kept");
}
