//! Systems that only a boot can bring: booted once, confirmed, and only then the default.

use std::sync::{Arc, Mutex};

use expect_test::expect;
use machinist_model::NodeName;
use machinist_rollout::{
    deploy::Console,
    waves::{Limit, Reboots},
};
use machinist_testkit::cluster::{Behaviour, Reboot};

use crate::environment::{Environment, Pods, name, new, old};

/// A cluster in which the new systems of these nodes have another init interface.
fn booting(nodes: &str) -> Environment {
    let mut environment = Environment::new("a b c", "w1 w2");
    environment.policy.spread.max_unavailable = Some(Limit::Nodes(1));
    environment.policy.spread.reboots = Reboots::Auto;
    for node in nodes.split_whitespace().map(name) {
        let mut world = environment.cluster.world();
        world.hosts.get_mut(&node).unwrap().interfaces.insert(new(&node), "systemd 3".to_owned());
    }
    environment
}

fn boots(environment: &Environment, node: &str) -> usize {
    environment.cluster.host(&name(node)).reboots
}

#[test]
fn a_node_whose_init_interface_changes_is_booted_once_and_confirmed() {
    let environment = booting("b w1");
    let ran = environment.deploy("a b w1 w2");
    ran.check(&expect![[r#"
        a changed
        b changed
        w1 changed
        w2 changed
        etcd 3 of 3
    "#]]);
    assert_eq!(environment.changed(), "a b w1 w2");
    assert_eq!(["a", "b", "w1", "w2"].map(|node| boots(&environment, node)), [0, 1, 1, 0]);
    assert_eq!(ran.report.rebooted.iter().map(NodeName::as_str).collect::<Vec<_>>(), ["b", "w1"]);
    assert_eq!(environment.cluster.host(&name("w1")).confirmed, Some(new(&name("w1"))));
    assert_eq!(environment.locked(), "");
}

/// The same with other kernel parameters.
fn with_new_kernel(nodes: &str) -> Environment {
    let environment = booting("");
    for node in nodes.split_whitespace().map(name) {
        let mut world = environment.cluster.world();
        world.hosts.get_mut(&node).unwrap().parameters.insert(new(&node), "quiet new".to_owned());
    }
    environment
}

#[test]
fn a_new_kernel_is_booted_once_before_it_is_the_default() {
    let environment = with_new_kernel("b w1").behaves("w1", Behaviour::PanicsAtBoot);
    let ran = environment.deploy("b w1");
    ran.check(&expect![[r#"
        b changed
        w1 failed, Reverted: reverted to the system that ran before: the new system was booted once and did not come up, so the machine has booted the default
        etcd 3 of 3
    "#]]);
    assert_eq!(["b", "w1"].map(|node| boots(&environment, node)), [1, 2], "a panic, and the old system");
    let host = environment.cluster.host(&name("w1"));
    assert_eq!((host.running, host.profile, host.once), (Some(old(&name("w1"))), Some(old(&name("w1"))), None));
}

#[test]
fn a_new_kernel_is_activated_first_where_no_boot_loader_can_boot_it_once_or_no_reboot_is_wanted() {
    let environment = with_new_kernel("w1 w2");
    environment.cluster.world().hosts.get_mut(&name("w1")).unwrap().loader =
        Some("loader=none\nonce=a container's host decides what it boots\n".to_owned());
    let ran = environment.deploy("w1");
    ran.check(&expect![[r#"
        w1 changed
    "#]]);
    assert_eq!((environment.activated().as_str(), boots(&environment, "w1")), ("w1", 1));

    let mut environment = with_new_kernel("w2");
    environment.policy.spread.reboots = Reboots::Never;
    let ran = environment.deploy("w2");
    ran.check(&expect![[r#"
        w2 changed
    "#]]);
    assert_eq!((environment.activated().as_str(), boots(&environment, "w2")), ("w2", 0));
    assert_eq!(ran.report.reboot_due.len(), 1);
}

#[test]
fn without_a_reboot_it_is_refused_before_anything_is_touched() {
    let mut environment = booting("w1");
    environment.policy.spread.reboots = Reboots::Never;
    let ran = environment.deploy("a w1");
    ran.check(&expect![[r#"
        a not started: another node is not ready, so nothing was changed
        w1 refused: only a boot can bring its system: init interface: systemd 2 -> systemd 3
        etcd 3 of 3
    "#]]);
    assert_eq!(environment.activated(), "");
    assert_eq!(environment.cluster.requested("take the lock"), Vec::<NodeName>::new());
    assert_eq!(ran.report.preflight.iter().filter(|problem| problem.refuses).count(), 1);
}

#[test]
fn a_boot_loader_that_cannot_boot_once_is_refused_with_the_way_by_hand() {
    let environment = booting("w1");
    environment.cluster.world().hosts.get_mut(&name("w1")).unwrap().loader =
        Some("loader=extlinux\nonce=it has no entry that is booted once\n".to_owned());
    let ran = environment.deploy("w1 w2");
    ran.check(&expect![[r#"
        w1 refused: only a boot can bring its system: init interface: systemd 2 -> systemd 3; and its boot loader (extlinux) cannot boot it once: it has no entry that is booted once
        w2 not started: another node is not ready, so nothing was changed
    "#]]);
    let hint = ran.report.preflight[0].hint.clone().unwrap();
    assert!(hint.contains("switch-to-configuration boot"), "{hint}");
    assert_eq!(environment.unchanged(), "a b c w1 w2");
}

#[test]
fn a_system_that_panics_at_boot_leaves_the_old_one_and_ends_the_run() {
    let environment = booting("w1 w2").behaves("w1", Behaviour::PanicsAtBoot);
    let ran = environment.deploy("w1 w2");
    ran.check(&expect![[r#"
        w1 failed, Reverted: reverted to the system that ran before: the new system was booted once and did not come up, so the machine has booted the default
        w2 not started: a wave before it failed
    "#]]);
    assert_eq!(environment.unchanged(), "a b c w1 w2");
    let host = environment.cluster.host(&name("w1"));
    assert!(host.last.iter().any(|line| line.starts_with("state=reverted the new system was booted once")));
    assert_eq!(host.once, None);
}

#[test]
fn a_gate_that_stays_closed_after_the_boot_reboots_into_the_old_system() {
    for behaviour in
        [Behaviour::FailsUnit("x.service".to_owned()), Behaviour::WithoutEtcd, Behaviour::RefusesConnections]
    {
        let node = if behaviour == Behaviour::WithoutEtcd { "b" } else { "w1" };
        let environment = booting(node).behaves(node, behaviour.clone());
        let mut ran = environment.deploy(node);
        let outcome = format!("{:?}", ran.report.nodes.remove(&name(node)));
        if behaviour == Behaviour::RefusesConnections {
            // Nothing reaches it, so nothing can tell it to go back: a reset does.
            assert!(outcome.contains("Away"), "{outcome}");
            assert_eq!(environment.cluster.host(&name(node)).profile, Some(old(&name(node))));
        } else {
            assert!(outcome.contains("Reverted"), "{behaviour:?}: {outcome}");
            assert_eq!(boots(&environment, node), 2, "{behaviour:?}");
            assert_eq!(environment.unchanged(), "a b c w1 w2", "{behaviour:?}");
        }
    }
}

struct Screen;

impl Console for Screen {
    fn last_words(&self, node: &NodeName) -> Option<String> {
        (node.as_str() == "w1").then(|| "Mounting /sysroot\nmount: no such device".to_owned())
    }
}

#[test]
fn a_node_that_never_comes_back_is_named_with_what_its_console_said_last() {
    let mut environment = booting("w1 w2").behaves("w1", Behaviour::HangsAtBoot);
    environment.console = Some(Arc::new(Screen));
    let ran = environment.deploy("w1 w2");
    ran.check(&expect![[r#"
        w1 failed, Away: booted once, and not back: no other boot within 1 s: w1: cannot connect to root@192.0.2.1:22; its console says last:
          Mounting /sysroot
          mount: no such device
        w2 not started: a wave before it failed
    "#]]);
    assert_eq!(environment.cluster.host(&name("w1")).profile, Some(old(&name("w1"))), "a reset boots the old one");
}

#[test]
fn a_reboot_after_the_change_that_does_not_come_back_has_its_console_too() {
    let mut environment = booting("");
    environment.policy.spread.reboots = Reboots::Always;
    environment.console = Some(Arc::new(Screen));
    environment.cluster.world().hosts.get_mut(&name("w1")).unwrap().reboot = Reboot::StaysAway;
    let ran = environment.deploy("w1");
    ran.check(&expect![[r#"
        w1 failed, Away: rebooted, and not back: no other boot within 1 s: w1: cannot connect to root@192.0.2.1:22; its console says last:
          Mounting /sysroot
          mount: no such device
    "#]]);
}

#[test]
fn a_confirmation_that_comes_too_late_does_not_make_the_new_system_the_default() {
    let environment = booting("w1 w2");
    // The host has waited long enough: it has left the trial when the confirmation arrives.
    environment.cluster.at(&name("w1"), "wait for the activation", 2, |cluster| {
        cluster
            .world()
            .hosts
            .get_mut(&name("w1"))
            .unwrap()
            .revert("no confirmation came over a fresh connection within 120 s");
    });
    let ran = environment.deploy("w1 w2");
    ran.check(&expect![[r#"
        w1 failed, Reverted: reverted to the system that ran before: no confirmation came over a fresh connection within 120 s
        w2 not started: a wave before it failed
    "#]]);
    assert_eq!(environment.unchanged(), "a b c w1 w2");
}

#[test]
fn a_boot_that_takes_longer_than_a_lock_lasts_is_confirmed() {
    let environment = booting("w1");
    environment.cluster.world().hosts.get_mut(&name("w1")).unwrap().reboot = Reboot::OutlastsLock;
    let ran = environment.deploy("w1");
    ran.check(&expect![[r#"
        w1 changed
    "#]]);
    assert_eq!(environment.changed(), "w1");
}

#[test]
fn a_member_is_not_booted_while_another_one_is_down() {
    let environment = booting("b");
    environment.cluster.at(&name("b"), "install it for the next boot", 1, |cluster| {
        cluster.world().hosts.get_mut(&name("c")).unwrap().member.as_mut().unwrap().runs = false;
    });
    let ran = environment.deploy("b");
    ran.check(&expect![[r#"
        b refused: without b only 1 of 3 etcd members would be healthy, a quorum needs 2 (c does not answer)
        etcd 2 of 3
    "#]]);
    let host = environment.cluster.host(&name("b"));
    assert_eq!((host.reboots, host.once), (0, None), "it is taken out of the next boot again");
}

#[test]
fn a_node_is_drained_before_its_boot_and_takes_work_again_whatever_it_runs() {
    for behaviour in [Behaviour::Works, Behaviour::PanicsAtBoot, Behaviour::FailsUnit("x.service".to_owned())] {
        let mut environment = booting("w1").behaves("w1", behaviour);
        let pods = Arc::new(Pods::default());
        environment.workload = Some(pods.clone());
        environment.deploy("w1");
        assert_eq!(pods.said.lock().unwrap().join(", "), "leave w1, come back to w1");
    }
    let mut environment = booting("w1");
    environment.workload = Some(Arc::new(Pods { stays_on: Some(name("w1")), ..Pods::default() }));
    let ran = environment.deploy("w1");
    ran.check(&expect![[r#"
        w1 failed, Untouched: not booted: not drained: a pod stays
    "#]]);
    assert_eq!(boots(&environment, "w1"), 0);
}

#[test]
fn a_failed_wave_boots_the_old_system_of_its_other_nodes_again() {
    let mut environment = booting("w1 w2").behaves("w2", Behaviour::FailsUnit("x.service".to_owned()));
    environment.policy.spread.max_unavailable = Some(Limit::Nodes(2));
    let ran = environment.deploy("w1 w2");
    ran.check(&expect![[r#"
        w1 went back: another node of its wave failed
        w2 failed, Reverted: reverted to the system that ran before: units failed: x.service
    "#]]);
    assert_eq!(environment.unchanged(), "a b c w1 w2");
    assert_eq!(boots(&environment, "w1"), 2);
}

#[test]
fn an_interrupt_before_the_boot_leaves_nothing_installed_and_one_after_it_goes_back() {
    for (label, n, reboots) in [("install it for the next boot", 1, 0), ("wait for the activation", 1, 2)] {
        let environment = booting("w1 w2");
        let interrupt = environment.interrupt.clone();
        environment.cluster.at(&name("w1"), label, n, move |_| interrupt.set());
        environment.deploy("w1 w2");
        assert_eq!(environment.unchanged(), "a b c w1 w2", "{label}");
        assert_eq!(boots(&environment, "w1"), reboots, "{label}");
        assert_eq!(environment.cluster.host(&name("w1")).once, None, "{label}");
    }
}

/// Deploys w1 and w2, and returns the state that a crash at the `n`th request with this label on w1 would have left.
fn cut_off(environment: Environment, label: &str, n: usize) -> Environment {
    let environment = Arc::new(environment);
    let left = Arc::new(Mutex::new(None));
    environment.cluster.at(&name("w1"), label, n, {
        let (environment, left) = (Arc::clone(&environment), Arc::clone(&left));
        move |_| *left.lock().unwrap() = Some(environment.after_a_crash())
    });
    environment.deploy("w1 w2");
    let left = left.lock().unwrap().take();
    left.unwrap()
}

#[test]
fn a_run_that_was_cut_off_anywhere_in_a_boot_finishes_it_with_one_boot() {
    let steps = [
        ("install it for the next boot", 1),
        ("reboot", 1),
        ("reboot", 2),
        ("gather facts", 3),
        ("start the activation", 1),
        ("wait for the activation", 1),
        ("wait for the activation", 2),
        ("gather facts", 4),
    ];
    for (label, n) in steps {
        let after = cut_off(booting("w1 w2"), label, n);
        let ran = after.resume();
        ran.check(&expect![[r#"
            w1 changed
            w2 changed
        "#]]);
        assert_eq!(after.changed(), "w1 w2", "{label} {n}");
        assert_eq!(boots(&after, "w1"), 1, "{label} {n}");
    }
}

#[test]
fn a_unit_that_failed_in_the_boot_counts_for_a_resumed_run_too() {
    let environment = booting("w1").behaves("w1", Behaviour::FailsUnit("x.service".to_owned()));
    let ran = cut_off(environment, "start the activation", 1).resume();
    let outcome = format!("{:?}", ran.report.nodes[&name("w1")]);
    assert!(outcome.contains("units failed: x.service"), "{outcome}");
}

#[test]
fn a_boot_that_fell_back_while_no_one_watched_is_told_as_reverted() {
    let mut environment = booting("w1 w2").behaves("w1", Behaviour::PanicsAtBoot);
    let pods = Arc::new(Pods::default());
    environment.workload = Some(pods.clone());
    let after = cut_off(environment, "reboot", 2);
    pods.said.lock().unwrap().clear();
    let ran = after.resume();
    ran.check(&expect![[r#"
        w1 failed, Reverted: reverted to the system that ran before: the new system was booted once and did not come up, so the machine has booted the default
        w2 not started: a wave before it failed
    "#]]);
    assert_eq!(boots(&after, "w1"), 2, "it is not tried again by itself");
    assert_eq!(pods.said.lock().unwrap().join(", "), "come back to w1", "it was drained by the run that was cut off");
}
