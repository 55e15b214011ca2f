//! Locks: all locks of a run or none, and the behaviour of a run that has lost one.

use expect_test::expect;
use machinist_rollout::waves::Limit;
use machinist_testkit::cluster::FakeCluster;

use crate::environment::{Environment, name};

const OTHER: &str =
    "fence=9\nfrom=9\nrun=r9\nwho=ben@desk\nprocess=x/1/1\nsince=T\nlasts=90\nboot=boot0\nexpires=100\n";

/// Makes another run take over a node's lock.
fn steal(cluster: &FakeCluster, node: &str) {
    OTHER.clone_into(&mut cluster.world().hosts.get_mut(&name(node)).unwrap().lock.text);
}

fn one_by_one() -> Environment {
    let mut environment = Environment::new("a b c", "w1 w2 w3");
    environment.policy.spread.max_unavailable = Some(Limit::Nodes(1));
    environment
}

#[test]
fn a_node_that_another_run_is_changing_keeps_the_whole_run_from_beginning() {
    let environment = one_by_one();
    steal(&environment.cluster, "w2");
    let ran = environment.deploy("w1 w2");
    ran.check(&expect![[r#"
        w1 not started: another node is not ready, so nothing was changed
        w2 refused: locked: ben@desk has been changing it since T (run r9); the lock expires in 90 s unless it is renewed
    "#]]);
    assert_eq!(environment.activated(), "");
    assert_eq!(environment.locked(), "w2");
}

#[test]
fn locks_that_were_taken_are_given_back_when_another_run_gets_one_of_them_first() {
    let environment = one_by_one();
    environment.cluster.at(&name("w2"), "take the lock", 1, |cluster| steal(cluster, "w2"));
    let ran = environment.deploy("w1 w2");
    ran.check(&expect![[r#"
        w1 not started: another node could not be locked, so nothing was changed
        w2 refused: locked: ben@desk has been changing it since T (run r9); the lock expires in 90 s unless it is renewed
    "#]]);
    assert_eq!(environment.activated(), "");
    assert_eq!(environment.locked(), "w2");
}

#[test]
fn a_run_that_changes_a_member_locks_all_of_them_and_one_that_does_not_locks_none() {
    let environment = one_by_one();
    environment.deploy("a");
    let mut locked = environment.cluster.requested("take the lock");
    assert_eq!(locked.first(), Some(&name("a")), "the first voter alone, so that of two runs one gets all");
    locked.sort();
    assert_eq!(locked, ["a", "b", "c"].map(name));
    let environment = one_by_one();
    environment.deploy("w1");
    assert_eq!(environment.cluster.requested("take the lock"), [name("w1")]);
}

#[test]
fn a_host_whose_lock_is_lost_refuses_and_the_run_ends() {
    let environment = one_by_one();
    environment.cluster.at(&name("w2"), "start the activation", 1, |cluster| steal(cluster, "w2"));
    let ran = environment.deploy("w1 w2 w3");
    ran.check(&expect![[r#"
        w1 changed
        w2 refused: locked: the lock of this run is gone (ben@desk holds it now)
        w3 not started: a wave before it failed
    "#]]);
    assert_eq!(environment.changed(), "w1");
    assert_eq!(environment.locked(), "w2", "nobody else's lock is released");
}

#[test]
fn a_lock_that_is_lost_before_the_confirmation_takes_the_host_back() {
    let environment = one_by_one();
    // The first wait is for the gates, the second one for the confirmation.
    environment.cluster.at(&name("w1"), "wait for the activation", 2, |cluster| steal(cluster, "w1"));
    let ran = environment.deploy("w1 w2");
    ran.check(&expect![[r#"
        w1 failed, Reverted: reverted to the system that ran before: the lock of this run is gone (ben@desk holds it now)
        w2 not started: a wave before it failed
    "#]]);
    assert_eq!(environment.changed(), "");
}
