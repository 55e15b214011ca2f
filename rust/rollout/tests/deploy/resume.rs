//! Resumption of a run that was cut off.

use std::sync::{Arc, Mutex};

use expect_test::expect;
use machinist_rollout::waves::{Limit, Reboots};

use crate::environment::{Environment, name};

fn one_by_one() -> Environment {
    let mut environment = Environment::new("a b c", "w1 w2 w3");
    environment.policy.spread.max_unavailable = Some(Limit::Nodes(1));
    environment
}

/// Deploys w1, w2 and w3, and returns the state that a crash at the `n`th request with this label on w2 would have
/// left.
fn cut_off(environment: Environment, label: &str, n: usize) -> Environment {
    let environment = Arc::new(environment);
    let left = Arc::new(Mutex::new(None));
    environment.cluster.at(&name("w2"), label, n, {
        let environment = Arc::clone(&environment);
        let left = Arc::clone(&left);
        move |_| *left.lock().unwrap() = Some(environment.after_a_crash())
    });
    environment.deploy("w1 w2 w3");
    let left = left.lock().unwrap().take();
    left.unwrap()
}

#[test]
fn a_run_that_was_cut_off_between_two_waves_continues_with_the_next() {
    let after = cut_off(one_by_one(), "start the activation", 1);
    assert_eq!(after.locked(), "w1 w2 w3");
    let ran = after.resume();
    ran.check(&expect![[r#"
        w1 unchanged
        w2 changed
        w3 changed
    "#]]);
    assert_eq!(after.activated(), "w2 w3");
    assert_eq!(after.changed(), "w1 w2 w3");
    assert_eq!(after.locked(), "w1", "there was nothing left to do on w1, so its lock expires by itself");
    assert!(after.record().ended);
}

#[test]
fn an_activation_that_had_begun_is_confirmed_and_not_begun_again() {
    let after = cut_off(one_by_one(), "wait for the activation", 2);
    let ran = after.resume();
    ran.check(&expect![[r#"
        w1 unchanged
        w2 changed
        w3 changed
    "#]]);
    assert_eq!(after.activated(), "w3", "that of w2 still waits for its confirmation");
    assert_eq!(after.changed(), "w1 w2 w3");
}

#[test]
fn a_reboot_that_had_begun_is_not_begun_again() {
    let mut environment = one_by_one();
    environment.policy.spread.reboots = Reboots::Always;
    // The first request starts the reboot, the second one finds the node up again.
    let after = cut_off(environment, "reboot", 2);
    let ran = after.resume();
    ran.check(&expect![[r#"
        w1 unchanged
        w2 changed
        w3 changed
    "#]]);
    for node in ["w1", "w2", "w3"] {
        assert_eq!(after.cluster.host(&name(node)).reboots, 1, "{node}");
    }
}

#[test]
fn a_run_whose_first_process_may_be_alive_is_not_resumed() {
    let after = cut_off(one_by_one(), "start the activation", 1);
    for host in after.cluster.world().hosts.values_mut() {
        host.lock.text = host.lock.text.replace("4194305", &std::process::id().to_string());
    }
    let ran = after.resume();
    ran.check(&expect![[r#"
        w1 unchanged
        w2 refused: locked: run r1 still goes on at ann@desk; the lock expires in 90 s unless it is renewed
        w3 refused: locked: run r1 still goes on at ann@desk; the lock expires in 90 s unless it is renewed
    "#]]);
    assert_eq!(after.activated(), "");
    assert!(!after.record().ended, "it can be resumed later");
}
