//! Interruption of a run by the user.

use expect_test::expect;
use machinist_rollout::waves::Limit;

use crate::environment::{Environment, name};

fn one_by_one() -> Environment {
    let mut environment = Environment::new("a b c", "w1 w2 w3");
    environment.policy.spread.max_unavailable = Some(Limit::Nodes(1));
    environment
}

fn stopped_at(node: &str, label: &str) -> Environment {
    let environment = one_by_one();
    let interrupt = environment.interrupt.clone();
    environment.cluster.at(&name(node), label, 1, move |_| interrupt.set());
    environment
}

#[test]
fn a_run_that_is_stopped_before_it_changes_anything_changes_nothing() {
    let environment = stopped_at("w1", "take the lock");
    let ran = environment.deploy("w1 w2");
    ran.check(&expect![[r#"
        w1 not started: interrupted before anything was activated here
        w2 not started: interrupted before anything was activated here
        interrupted
    "#]]);
    assert_eq!(environment.activated(), "");
    assert_eq!(environment.locked(), "");
}

#[test]
fn a_host_in_the_middle_goes_back_and_the_next_wave_does_not_begin() {
    let environment = stopped_at("w2", "start the activation");
    let ran = environment.deploy("w1 w2 w3");
    ran.check(&expect![[r#"
        w1 changed
        w2 failed, Reverted: reverted to the system that ran before: the operator stopped the run
        w3 not started: a wave before it failed
        interrupted
    "#]]);
    assert_eq!(environment.changed(), "w1", "what was confirmed before stays");
    assert_eq!(environment.activated(), "w1 w2");
    assert_eq!(environment.locked(), "");
    assert!(environment.record().ended);
}

#[test]
fn a_wave_that_is_being_confirmed_is_finished_and_the_next_one_does_not_begin() {
    let environment = one_by_one();
    let interrupt = environment.interrupt.clone();
    // The first wait is for the gates, the second one for the confirmation.
    environment.cluster.at(&name("w1"), "wait for the activation", 2, move |_| interrupt.set());
    let ran = environment.deploy("w1 w2");
    ran.check(&expect![[r#"
        w1 changed
        w2 not started: the run was stopped
        interrupted
    "#]]);
    assert_eq!(environment.changed(), "w1");
    assert_eq!(environment.activated(), "w1");
}
