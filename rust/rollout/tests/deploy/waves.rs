//! Waves: their order, and the state of a failed one.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use expect_test::expect;
use machinist_rollout::waves::Limit;
use machinist_testkit::cluster::{Behaviour, FakeHost};

use crate::environment::{Environment, name, new};

fn fails() -> Behaviour {
    Behaviour::FailsUnit("web.service".to_owned())
}

/// Returns a cluster of three members and four workers, two of which change at a time.
fn environment() -> Environment {
    let mut environment = Environment::new("a b c", "w1 w2 w3 w4");
    environment.policy.spread.max_unavailable = Some(Limit::Nodes(2));
    environment
}

#[test]
fn members_change_one_by_one_with_the_leader_last_and_workers_follow_in_waves() {
    let environment = environment();
    let ran = environment.deploy("a b c w1 w2 w3 w4");
    ran.check(&expect![[r#"
        a changed
        b changed
        c changed
        w1 changed
        w2 changed
        w3 changed
        w4 changed
        etcd 3 of 3
    "#]]);
    let activated = environment.activated();
    assert!(activated.starts_with("b c a "), "a leads, so it goes last: {activated}");
    assert_eq!(environment.cluster.requested("move the leader"), [name("a")]);
    assert_eq!(ran.notes, ["a: handed the leadership of etcd over to b"]);
    assert_eq!(environment.changed(), "a b c w1 w2 w3 w4");
    assert_eq!(environment.locked(), "");
    assert!(environment.record().ended);
}

#[test]
fn nodes_that_run_their_systems_already_are_not_touched() {
    let environment = environment();
    environment.cluster.world().hosts.insert(name("w1"), FakeHost::on(&new(&name("w1"))));
    let ran = environment.deploy("w1 w2");
    ran.check(&expect![[r#"
        w1 unchanged
        w2 changed
    "#]]);
    assert_eq!(environment.activated(), "w2");
    assert_eq!(environment.cluster.requested("take the lock"), [name("w2")]);
}

#[test]
fn a_wave_that_fails_reverts_its_healthy_nodes_and_ends_the_run() {
    let environment = environment().behaves("w2", fails());
    let ran = environment.deploy("w1 w2 w3 w4");
    ran.check(&expect![[r#"
        w1 went back: another node of its wave failed
        w2 failed, Reverted: reverted to the system that ran before: units failed: web.service
        w3 not started: a wave before it failed
        w4 not started: a wave before it failed
    "#]]);
    assert_eq!(environment.unchanged(), "a b c w1 w2 w3 w4");
    assert_eq!(environment.locked(), "");
}

#[test]
fn healthy_nodes_of_a_failed_wave_stay_when_that_is_asked_for() {
    let mut environment = environment().behaves("w2", fails());
    environment.policy.no_revert = true;
    let ran = environment.deploy("w1 w2 w3");
    ran.check(&expect![[r#"
        w1 changed
        w2 failed, Reverted: reverted to the system that ran before: units failed: web.service
        w3 not started: a wave before it failed
    "#]]);
    assert_eq!(environment.changed(), "w1");
}

#[test]
fn a_canary_that_fails_keeps_the_others_from_changing() {
    let mut environment = environment().behaves("w1", fails());
    environment.policy.spread.canary = 1;
    let ran = environment.deploy("w1 w2 w3");
    ran.check(&expect![[r#"
        w1 failed, Reverted: reverted to the system that ran before: units failed: web.service
        w2 not started: a wave before it failed
        w3 not started: a wave before it failed
    "#]]);
    assert_eq!(environment.activated(), "w1");
}

#[test]
fn a_system_that_lets_no_new_connection_in_is_reverted_over_the_old_one() {
    let environment = environment().behaves("w1", Behaviour::RefusesConnections);
    let ran = environment.deploy("w1");
    ran.check(&expect![[r#"
        w1 failed, Reverted: reverted to the system that ran before: no fresh connection could be opened: w1: cannot connect to root@192.0.2.1:22
    "#]]);
    assert_eq!(environment.unchanged(), "a b c w1 w2 w3 w4");
}

#[test]
fn keys_are_put_on_a_node_before_its_system_is_activated() {
    let mut environment = environment();
    environment.keys = vec!["etcd-server-0f.key".to_owned()];
    let had_keys = Arc::new(AtomicBool::new(false));
    environment.cluster.at(&name("w1"), "start the activation", 1, {
        let had_keys = Arc::clone(&had_keys);
        move |cluster| {
            let keys = cluster.host(&name("w1")).keys;
            had_keys.store(keys.contains("etcd-server-0f.key"), Ordering::Relaxed);
        }
    });
    environment.deploy("w1");
    assert!(had_keys.load(Ordering::Relaxed));
    assert_eq!(environment.changed(), "w1");
}
