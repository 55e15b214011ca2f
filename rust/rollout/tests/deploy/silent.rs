//! Hosts that do not respond, or stop responding.

use expect_test::expect;
use machinist_remote::Fault;
use machinist_rollout::waves::Limit;

use crate::environment::{Environment, name};

fn one_by_one() -> Environment {
    let mut environment = Environment::new("a b c", "w1 w2 w3");
    environment.policy.spread.max_unavailable = Some(Limit::Nodes(1));
    environment
}

#[test]
fn a_host_that_does_not_answer_fails_alone() {
    let environment = one_by_one();
    environment.cluster.world().hosts.get_mut(&name("w1")).unwrap().is_up = false;
    let ran = environment.deploy("w1 w2 w3");
    ran.check(&expect![[r#"
        w1 failed, Untouched: cannot connect to root@192.0.2.1:22: no answer within 10 s
        w2 changed
        w3 changed
    "#]]);
    assert_eq!(environment.changed(), "w2 w3");
}

#[test]
fn a_connection_that_the_activation_cuts_is_opened_again() {
    let environment = one_by_one();
    environment.cluster.fail(&name("w1"), "wait for the activation", 1, Fault::ConnectionLost);
    let ran = environment.deploy("w1");
    ran.check(&expect![[r#"
        w1 changed
    "#]]);
}

#[test]
fn of_an_activation_whose_start_was_not_answered_nothing_is_claimed() {
    let environment = one_by_one();
    environment.cluster.fail(&name("w1"), "start the activation", 1, Fault::AnswerLost);
    let ran = environment.deploy("w1 w2");
    ran.check(&expect![[r#"
        w1 failed, Unknown: the verdict is unknown: connection to root@192.0.2.1:22 lost during `start the activation` after 0.0 s: the host is gone
        w2 not started: a wave before it failed
    "#]]);
    assert_eq!(environment.activated(), "w1");
}

#[test]
fn a_host_that_falls_silent_in_the_middle_is_given_up_in_time_and_ends_the_run() {
    let environment = one_by_one();
    environment.cluster.at(&name("w1"), "wait for the activation", 1, |cluster| {
        cluster.world().hosts.get_mut(&name("w1")).unwrap().is_up = false;
    });
    let ran = environment.deploy("w1 w2");
    ran.check(&expect![[r#"
        w1 failed, Unknown: the verdict is unknown: the host does not answer: w1: cannot connect to root@192.0.2.1:22
        w2 not started: a wave before it failed
    "#]]);
    assert_eq!(environment.activated(), "w1");
}
