//! The sandbox with real machines: needs root, and a Debian root in the shared cache (built by the first run).
#![allow(clippy::unwrap_used, clippy::panic)]

mod rig;

use std::{
    fs,
    net::Ipv4Addr,
    path::Path,
    process::Command,
    thread,
    time::{Duration, Instant},
};

use machinist_sandbox::{
    DEFAULT_CACHE_DIR, Error, Event, Link, MachineSpec, MachineState, SandboxSpec, Status, SystemFile, down, reboot,
    remove, set_link, start, stop, up,
};
use rig::{Rig, host_network, kill, processes_with, run, wait_for};

#[test]
fn three_machines_come_up_and_a_second_up_changes_nothing_and_down_leaves_nothing() {
    let names = ["balthazar", "casper", "melchior"];
    let Some(rig) = Rig::new("test-three", 1, &names) else { return };
    let before = host_network();
    let (report, _) = rig.up();
    assert_eq!(report.operator_ip.to_string(), "10.97.1.254");
    assert_eq!(report.machines.iter().map(|machine| machine.started).collect::<Vec<_>>(), [true; 3]);
    for name in names {
        assert_eq!(rig.ssh(name, "systemctl is-system-running --wait"), "running", "{name}");
        assert_eq!(rig.ssh(name, "hostname; cat /proc/1/comm"), format!("{name}\nsystemd"));
        assert!(rig.ssh(name, "nix --version").contains(" 2.26."));
        for other in names {
            rig.ssh(name, &format!("ping -c1 -W2 {}", rig.ip(other)));
        }
        // None of Debian's services runs or could be started: a deployed system installs its own units.
        assert!(!rig.try_ssh(name, "systemctl cat etcd.service haproxy.service ssh.service").status.success());
        assert_eq!(rig.ssh(name, "ip route show default"), "", "no way out");
    }
    let ids: Vec<String> = names.iter().map(|name| rig.ssh(name, "cat /etc/machine-id")).collect();
    assert!(ids[0] != ids[1] && ids[1] != ids[2], "{ids:?}");

    let pids = |status: Status| status.machines.iter().map(|machine| machine.pid.unwrap()).collect::<Vec<_>>();
    let first = pids(rig.status());
    let (again, events) = rig.up();
    assert_eq!(events.len(), 3);
    assert!(events.iter().all(|event| matches!(event, Event::Unchanged { .. })), "{events:?}");
    assert!(again.machines.iter().all(|machine| !machine.started));
    assert_eq!(pids(rig.status()), first);
    assert_eq!(host_network(), before, "the host's own network changed");

    down(&rig.spec.state_dir, &|_| ()).unwrap();
    rig.check_nothing_is_left();
    assert_eq!(host_network(), before);
    down(&rig.spec.state_dir, &|_| ()).unwrap();
}

#[test]
fn a_reboot_keeps_the_state_and_clears_the_network() {
    let Some(mut rig) = Rig::new("test-reboot", 2, &["casper"]) else { return };
    let file = SystemFile { path: "/etc/first/file".into(), contents: b"one".to_vec(), mode: 0o640 };
    rig.spec.machines[0].files = vec![file];
    let (first, _) = rig.up();
    let state = &rig.spec.state_dir;
    assert_eq!(rig.ssh("casper", "stat -c %a /etc/first/file; cat /etc/first/file"), "640\none");
    // State that a reboot clears: a file in /run, a firewall rule, an address.
    let hello = "echo kept > /root/state; nix store add-file --name kept /root/state; touch /run/gone; \
                 nft add table inet test; ip address add 10.97.2.77/24 dev eth0; sync";
    let path = rig.ssh("casper", hello);
    let check = |how: &str| {
        let found = rig.ssh(
            "casper",
            &format!("cat /root/state {path}; ls /run/gone; nft list tables; ip -o -4 address show eth0; true"),
        );
        assert!(found.starts_with("kept\nkept\n"), "{how}: {found}");
        assert!(!found.contains("gone") && !found.contains("table inet") && !found.contains(".77"), "{how}: {found}");
    };
    let pid = || rig.status().machines[0].pid;

    let before = pid();
    let _ = rig.try_ssh("casper", "systemctl reboot");
    wait_for("systemctl reboot", || pid().is_some_and(|pid| Some(pid) != before));
    start(state, "casper", &|_| ()).unwrap();
    check("systemctl reboot");

    reboot(state, "casper", &|_| ()).unwrap();
    check("reboot");

    let _ = rig.try_ssh("casper", "systemctl poweroff");
    wait_for("systemctl poweroff", || rig.state_of("casper") == MachineState::Stopped);
    assert!(matches!(reboot(state, "casper", &|_| ()), Err(Error::NotRunning { .. })));
    let (second, _) = rig.up();
    check("systemctl poweroff");
    assert_eq!(second.machines[0].host_key, first.machines[0].host_key);

    for pull_the_plug in [false, true] {
        stop(state, "casper", pull_the_plug, &|_| ()).unwrap();
        assert_eq!(rig.state_of("casper"), MachineState::Stopped);
        start(state, "casper", &|_| ()).unwrap();
        check("stop");
    }
}

#[test]
fn a_killed_supervisor_is_seen_and_healed_and_down_ends_the_orphans() {
    let Some(rig) = Rig::new("test-kill", 3, &["casper", "melchior"]) else { return };
    rig.up();
    rig.ssh("casper", "echo kept > /root/state; sync");
    let kill_keepers = |machine: &str| {
        let directory = rig.spec.state_dir.join("machines").join(machine);
        let keepers = processes_with(&directory.display().to_string());
        assert!(keepers.len() >= 2, "supervisor and nspawn: {keepers:?}");
        keepers.into_iter().for_each(kill);
    };
    kill_keepers("casper");
    wait_for("the kill", || rig.state_of("casper") == MachineState::Unsupervised);
    assert!(rig.status().machines[0].pid.is_some(), "the machine itself survives");
    let other = rig.status().machines[1].pid;

    let (report, events) = rig.up();
    assert!(
        events.contains(&Event::Restarting { machine: "casper".into(), reason: "its supervisor is gone" }),
        "{events:?}"
    );
    assert_eq!(report.machines.iter().map(|machine| machine.started).collect::<Vec<_>>(), [true, false]);
    assert_eq!(rig.ssh("casper", "cat /root/state"), "kept");
    assert_eq!((rig.state_of("casper"), rig.status().machines[1].pid), (MachineState::Running, other));

    kill_keepers("melchior");
    down(&rig.spec.state_dir, &|_| ()).unwrap();
    rig.check_nothing_is_left();
}

#[test]
fn a_record_without_the_things_is_healed_or_removed() {
    let Some(rig) = Rig::new("test-record", 4, &["casper"]) else { return };
    rig.up();
    let record = rig.spec.state_dir.join("sandbox.json");
    let text = fs::read(&record).unwrap();
    down(&rig.spec.state_dir, &|_| ()).unwrap();

    // Leaves the state of a run that was killed right after it wrote the record.
    let only_the_record = || {
        fs::create_dir_all(&rig.spec.state_dir).unwrap();
        fs::write(&record, &text).unwrap();
    };
    only_the_record();
    let found = rig.status();
    assert!(!found.has_switch && found.machines[0].state == MachineState::Stopped);
    down(&rig.spec.state_dir, &|_| ()).unwrap();
    rig.check_nothing_is_left();
    only_the_record();
    rig.up();
    assert_eq!(rig.ssh("casper", "echo up"), "up");

    // The switch is removed under a running machine, and a plain file takes the place of a namespace.
    let switch = Path::new("/run/netns").join(format!("mch-{}._switch", rig.spec.cluster));
    run(Command::new("umount").arg("-l").arg(&switch));
    assert!(!rig.status().has_switch);
    let (_, events) = rig.up();
    assert!(
        events.contains(&Event::Restarting { machine: "casper".into(), reason: "the switch was recreated" }),
        "{events:?}"
    );
    assert_eq!(rig.ssh("casper", "echo up"), "up");

    fs::write(&record, "{").unwrap();
    assert!(matches!(down(&rig.spec.state_dir, &|_| ()), Err(Error::Record { .. })));
    fs::write(&record, &text).unwrap();
    down(&rig.spec.state_dir, &|_| ()).unwrap();
    rig.check_nothing_is_left();
}

#[test]
fn a_pulled_cable_cuts_a_machine_off_until_it_is_plugged_in() {
    let Some(rig) = Rig::new("test-link", 5, &["casper", "melchior"]) else { return };
    rig.up();
    let state = &rig.spec.state_dir;
    set_link(state, "casper", Link::Down).unwrap();
    assert_eq!(rig.status().machines[0].link, Link::Down);
    assert_eq!(rig.try_ssh("casper", "true").status.code(), Some(255), "ssh: no connection");
    assert!(!rig.try_ssh("melchior", &format!("ping -c1 -W1 {}", rig.ip("casper"))).status.success());
    set_link(state, "casper", Link::Up).unwrap();
    rig.ssh("casper", "true");
    let error = set_link(state, "balthazar", Link::Down).unwrap_err();
    assert_eq!(error.hint().unwrap(), "machines of this sandbox: casper, melchior");
}

#[test]
fn changed_settings_and_keys_reach_a_machine_that_exists() {
    let Some(mut rig) = Rig::new("test-change", 6, &["casper", "melchior"]) else { return };
    rig.up();
    rig.ssh("casper", "echo kept > /root/state; sync");

    // A changed key takes effect at once, without a restart.
    let old = fs::read_to_string(rig.directory.path().join("id.pub")).unwrap();
    for name in ["id", "id.pub"] {
        fs::remove_file(rig.directory.path().join(name)).unwrap();
    }
    run(Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(rig.directory.path().join("id")));
    let public = fs::read_to_string(rig.directory.path().join("id.pub")).unwrap().trim().to_owned();
    assert_eq!(rig.try_ssh("casper", "true").status.code(), Some(255), "the machine does not accept the new key yet");
    rig.spec.machines[0].authorized_keys = vec![public];
    let (report, _) = rig.up();
    assert!(!report.machines[0].started);
    assert!(!rig.ssh("casper", "cat /root/.ssh/authorized_keys").contains(old.trim()));

    // A machine takes the operator's address and another port: it is restarted, and the operator moves.
    rig.spec.machines[0].ip = "10.97.6.254".parse().unwrap();
    let (report, _) = rig.up();
    assert_eq!(report.operator_ip.to_string(), "10.97.6.253");
    assert_eq!(rig.ssh("casper", "cat /root/state"), "kept");

    let gone = rig.spec.machines.remove(1);
    let (report, _) = rig.up();
    assert_eq!(report.machines.len(), 1);
    assert_eq!(rig.state_of("melchior"), MachineState::Running, "a machine that is not requested is left alone");
    rig.spec.machines.push(MachineSpec { name: "balthazar".into(), ..gone });
    assert!(matches!(up(&rig.spec, &|_| ()), Err(Error::AddressTaken { .. })));
    remove(&rig.spec.state_dir, "melchior", &|_| ()).unwrap();
    let begun = Instant::now();
    rig.up();
    assert!(
        begun.elapsed() < Duration::from_secs(60),
        "an address that another machine had a moment ago: {:?}",
        begun.elapsed()
    );
}

#[test]
fn what_another_sandbox_made_is_not_taken_over() {
    let Some(rig) = Rig::new("test-taken", 7, &["casper"]) else { return };
    rig.up();
    let mut other = rig.spec.clone();
    other.state_dir = rig.directory.path().join("other");
    let error = up(&other, &|_| ()).unwrap_err();
    assert!(matches!(error, Error::NameTaken { .. }), "{error}");
    down(&other.state_dir, &|_| ()).unwrap();
    assert_eq!(rig.ssh("casper", "echo up"), "up", "the first one is unharmed");
}

#[test]
fn a_machine_that_cannot_start_is_reported_with_its_last_words() {
    let Some(mut rig) = Rig::new("test-words", 8, &["casper", "melchior"]) else { return };
    // A deployed system whose process 1 exits at once.
    let broken = rig.spec.state_dir.join("machines/casper/nix/var/nix/profiles/system");
    fs::create_dir_all(&broken).unwrap();
    fs::write(broken.join("init"), "#!/bin/sh\necho no such closure\nexit 1\n").unwrap();
    run(Command::new("chmod").arg("755").arg(broken.join("init")));
    let error = up(&rig.spec, &|_| ()).unwrap_err().to_string();
    assert!(error.contains("1 of 2 machines failed: casper: ended before its sshd answered"), "{error}");
    assert!(error.contains("no such closure"), "{error}");
    assert_eq!(rig.state_of("melchior"), MachineState::Running, "the other one is up");
    fs::write(broken.join("init"), "#!/bin/sh\ntouch /etc/activated\nexec /usr/lib/systemd/systemd\n").unwrap();
    rig.spec.machines.truncate(1);
    rig.up();
    assert_eq!(rig.ssh("casper", "ls /etc/activated; cat /proc/1/comm"), "/etc/activated\nsystemd");
}

#[test]
fn a_machine_that_ended_says_how() {
    let Some(rig) = Rig::new("test-end", 11, &["casper"]) else { return };
    let broken = rig.spec.state_dir.join("machines/casper/nix/var/nix/profiles/system");
    fs::create_dir_all(&broken).unwrap();
    fs::write(broken.join("init"), "#!/bin/sh\necho no such closure\nexit 1\n").unwrap();
    run(Command::new("chmod").arg("755").arg(broken.join("init")));
    up(&rig.spec, &|_| ()).unwrap_err();
    let machine = rig.status().machines.remove(0);
    assert_eq!(machine.state, MachineState::Stopped);
    let end = machine.end.unwrap();
    assert_eq!(end.status, 1);
    assert!(end.last_words.contains("no such closure"), "{}", end.last_words);
}

#[test]
fn a_supervisor_that_comes_late_gives_way() {
    let Some(rig) = Rig::new("test-late", 9, &["casper"]) else { return };
    rig.up();
    let (state, pid) = (&rig.spec.state_dir, rig.status().machines[0].pid);
    run(Command::new(state.join("supervise")).arg(state.join("machines/casper")).arg("an-earlier-launch"));
    assert_eq!((rig.state_of("casper"), rig.status().machines[0].pid), (MachineState::Running, pid));
    assert_eq!(rig.ssh("casper", "echo up"), "up");
}

/// Environment variable with the verb of `run_to_be_killed`, which does nothing without it.
const VERB: &str = "SANDBOX_TEST_VERB";

fn rig_to_be_killed(state_dir: &Path) -> SandboxSpec {
    let machine = |index: u8| MachineSpec::new(&format!("m{index}"), Ipv4Addr::new(10, 97, 10, index).into(), &[]);
    SandboxSpec {
        cluster: "test-killed".into(),
        network: "10.97.10.0/24".parse().unwrap(),
        reserved: Vec::new(),
        machines: vec![machine(1), machine(2)],
        state_dir: state_dir.to_owned(),
        cache_dir: DEFAULT_CACHE_DIR.into(),
    }
}

#[test]
fn run_to_be_killed() {
    let Ok(verb) = std::env::var(VERB) else { return };
    let (verb, state_dir) = verb.split_once(' ').unwrap();
    let spec = rig_to_be_killed(Path::new(state_dir));
    let _ = if verb == "up" { up(&spec, &|_| ()).map(|_| ()) } else { down(&spec.state_dir, &|_| ()) };
}

#[test]
fn a_run_that_is_killed_at_any_moment_is_finished_by_the_next_one() {
    let Some(mut rig) = Rig::new("test-killed", 10, &[]) else { return };
    rig.spec = rig_to_be_killed(&rig.spec.state_dir);
    let killed_after = |verb: &str, milliseconds: u64| {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "run_to_be_killed"])
            .env(VERB, format!("{verb} {}", rig.spec.state_dir.display()))
            .stdout(std::process::Stdio::null())
            .spawn()
            .unwrap();
        thread::sleep(Duration::from_millis(milliseconds));
        let _ = child.kill();
        child.wait().unwrap();
    };
    for round in 0..8 {
        killed_after("up", 12 + round * 35);
        if round % 2 == 0 {
            rig.up();
            killed_after("down", 12 + round * 20);
            let (report, _) = rig.up();
            assert_eq!(report.machines.len(), 2);
        }
        down(&rig.spec.state_dir, &|_| ()).unwrap();
        rig.check_nothing_is_left();
    }
}
