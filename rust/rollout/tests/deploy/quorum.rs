//! Quorum of etcd, checked right before a member changes.

use expect_test::expect;
use machinist_testkit::cluster::{Behaviour, FakeHost};

use crate::environment::{Environment, name, new, old};

fn stop_etcd(environment: &Environment, node: &str) {
    environment.cluster.world().hosts.get_mut(&name(node)).unwrap().member.as_mut().unwrap().runs = false;
}

#[test]
fn a_member_is_not_touched_while_another_one_is_down() {
    let environment = Environment::new("a b c", "w1");
    stop_etcd(&environment, "c");
    let ran = environment.deploy("a w1");
    ran.check(&expect![[r#"
        a refused: without a only 1 of 3 etcd members would be healthy, a quorum needs 2 (c does not answer)
        w1 not started: a wave before it failed
        etcd 2 of 3
    "#]]);
    assert_eq!(environment.activated(), "");
    assert_eq!(environment.unchanged(), "a b c w1");
}

#[test]
fn the_member_that_is_down_may_change_and_goes_first() {
    let environment = Environment::new("a b c", "");
    stop_etcd(&environment, "c");
    let ran = environment.deploy("a b c");
    ran.check(&expect![[r#"
        a changed
        b changed
        c changed
        etcd 3 of 3
    "#]]);
    assert_eq!(environment.activated(), "c b a");
    // The first member is queried first and does not respond; then b is the leader, and changes last.
    let environment = Environment::new("a b c", "");
    stop_etcd(&environment, "a");
    environment.deploy("a b c");
    assert_eq!(environment.activated(), "a c b");
}

#[test]
fn a_member_that_is_down_may_change_although_the_others_hold_no_quorum() {
    let environment = Environment::new("a b c", "");
    stop_etcd(&environment, "c");
    {
        let mut world = environment.cluster.world();
        world.hosts.get_mut(&name("b")).unwrap().member.as_mut().unwrap().hangs = true;
        let a = world.hosts.get_mut(&name("a")).unwrap();
        *a = FakeHost { member: a.member.clone(), ..FakeHost::on(&new(&name("a"))) };
    }
    let ran = environment.deploy("a c");
    ran.check(&expect![[r#"
        a unchanged
        c changed
        etcd 2 of 3
    "#]]);
    assert_eq!(environment.activated(), "c");
}

#[test]
fn a_member_that_goes_down_during_the_run_keeps_the_next_from_changing() {
    let environment = Environment::new("a b c", "");
    // The second wait is for the confirmation: b fails right after its gates were open.
    environment.cluster.at(&name("b"), "wait for the activation", 2, |cluster| {
        cluster.world().hosts.get_mut(&name("b")).unwrap().member.as_mut().unwrap().runs = false;
    });
    let ran = environment.deploy("a b c");
    ran.check(&expect![[r#"
        a not started: a wave before it failed
        b changed
        c refused: without c only 1 of 3 etcd members would be healthy, a quorum needs 2 (b does not answer)
        etcd 2 of 3
    "#]]);
    assert_eq!(environment.changed(), "b");
    assert_eq!(environment.activated(), "b");
}

#[test]
fn a_member_whose_etcd_does_not_start_goes_back_and_ends_the_run() {
    let environment = Environment::new("a b c", "w1").behaves("b", Behaviour::WithoutEtcd);
    let ran = environment.deploy("a b c w1");
    ran.check(&expect![[r#"
        a not started: a wave before it failed
        b failed, Reverted: reverted to the system that ran before: gate closed: no response from etcd: Error: context deadline exceeded
        c not started: a wave before it failed
        w1 not started: a wave before it failed
        etcd 3 of 3
    "#]]);
}

#[test]
fn a_member_whose_data_is_gone_is_not_started_with_an_empty_disk() {
    let environment = Environment::new("a b c", "");
    environment.cluster.world().hosts.get_mut(&name("c")).unwrap().member.as_mut().unwrap().has_data = false;
    let ran = environment.deploy("c");
    ran.check(&expect![[r#"
        c refused: c is a member of the running etcd cluster, but its data is gone: it may not vote without what it has acknowledged. Let it join anew: `machinist node replace c`
        etcd 3 of 3
    "#]]);
    assert_eq!(environment.activated(), "");
}

#[test]
fn a_member_is_not_touched_when_the_locks_of_a_majority_cannot_be_had() {
    let environment = Environment::new("a b c", "");
    for node in ["b", "c"] {
        environment.cluster.world().hosts.get_mut(&name(node)).unwrap().is_up = false;
    }
    let ran = environment.deploy("a");
    ran.check(&expect![[r#"
        a refused: b, which votes in etcd: only 1 of 3 voters can be locked, a majority is 2 (not locked: b, c); c, which votes in etcd: only 1 of 3 voters can be locked, a majority is 2 (not locked: b, c)
        etcd 0 of 3
    "#]]);
    assert_eq!(environment.activated(), "");
}

/// The other members accept no connection from here, but etcd reaches them.
fn alone() -> Environment {
    let environment = Environment::new("a b c", "");
    for node in ["b", "c"] {
        let node = name(node);
        let mut world = environment.cluster.world();
        world.hosts.get_mut(&node).unwrap().behaviours.insert(old(&node), Behaviour::RefusesConnections);
    }
    environment
}

#[test]
fn a_voter_changes_without_the_locks_of_the_others_only_on_request() {
    let mut environment = alone();
    let ran = environment.deploy("a");
    ran.check(&expect![[r#"
        a refused: b, which votes in etcd: only 1 of 3 voters can be locked, a majority is 2 (not locked: b, c); c, which votes in etcd: only 1 of 3 voters can be locked, a majority is 2 (not locked: b, c)
        etcd 3 of 3
    "#]]);
    assert_eq!(environment.activated(), "");
    environment = alone();
    environment.policy.unlocked_voters = true;
    let ran = environment.deploy("a");
    ran.check(&expect![[r#"
        a changed
        etcd 3 of 3
    "#]]);
    assert!(ran.notes.iter().any(|note| note.contains("only 1 of them are locked, as requested")), "{:?}", ran.notes);
}

#[test]
fn the_quorum_is_required_without_the_locks_of_the_others_too() {
    let mut environment = alone();
    environment.policy.unlocked_voters = true;
    stop_etcd(&environment, "c");
    let ran = environment.deploy("a");
    ran.check(&expect![[r#"
        a refused: without a only 1 of 3 etcd members would be healthy, a quorum needs 2 (c does not answer)
        etcd 2 of 3
    "#]]);
    assert_eq!(environment.activated(), "");
}
