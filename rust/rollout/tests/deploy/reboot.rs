//! Reboots: after a wave has changed and was confirmed, before the next one begins.

use std::sync::Arc;

use expect_test::expect;
use machinist_rollout::waves::{Limit, Reboots};
use machinist_testkit::cluster::Reboot;

use crate::environment::{Environment, Pods, name, words};

fn rebooting() -> Environment {
    let mut environment = Environment::new("a b c", "w1 w2");
    environment.policy.spread.max_unavailable = Some(Limit::Nodes(1));
    environment.policy.spread.reboots = Reboots::Always;
    environment
}

fn behaves(environment: &Environment, node: &str, reboot: Reboot) {
    environment.cluster.world().hosts.get_mut(&name(node)).unwrap().reboot = reboot;
}

#[test]
fn each_node_is_rebooted_once_and_runs_its_new_system() {
    let environment = rebooting();
    let ran = environment.deploy("a b w1 w2");
    ran.check(&expect![[r#"
        a changed
        b changed
        w1 changed
        w2 changed
        etcd 3 of 3
    "#]]);
    assert_eq!(words(ran.report.rebooted.iter()), "a b w1 w2");
    for node in ["a", "b", "w1", "w2"] {
        assert_eq!(environment.cluster.host(&name(node)).reboots, 1, "{node}");
    }
    assert_eq!(environment.changed(), "a b w1 w2");
    assert_eq!(environment.locked(), "");
}

#[test]
fn a_node_that_does_not_come_back_ends_the_run() {
    let environment = rebooting();
    behaves(&environment, "w1", Reboot::StaysAway);
    let ran = environment.deploy("w1 w2");
    ran.check(&expect![[r#"
        w1 failed, Away: rebooted, and not back: no other boot within 1 s: w1: cannot connect to root@192.0.2.1:22
        w2 not started: a wave before it failed
    "#]]);
    assert_eq!(environment.activated(), "w1");
}

#[test]
fn a_member_whose_etcd_does_not_start_after_the_reboot_ends_the_run() {
    let environment = rebooting();
    behaves(&environment, "b", Reboot::LosesEtcd);
    let ran = environment.deploy("a b w1");
    ran.check(&expect![[r#"
        a not started: a wave before it failed
        b failed, Confirmed: rebooted, and not well: gate closed: no response from etcd: Error: context deadline exceeded
        w1 not started: a wave before it failed
        etcd 2 of 3
    "#]]);
    assert_eq!(environment.activated(), "b");
}

#[test]
fn a_member_is_not_rebooted_when_another_one_went_down_since_it_changed() {
    let environment = rebooting();
    // The second wait is for the confirmation: after it the member is checked again, before its reboot.
    environment.cluster.at(&name("b"), "wait for the activation", 2, |cluster| {
        cluster.world().hosts.get_mut(&name("c")).unwrap().member.as_mut().unwrap().runs = false;
    });
    let ran = environment.deploy("b w1");
    ran.check(&expect![[r#"
        b failed, Confirmed: not rebooted: without b only 1 of 3 etcd members would be healthy, a quorum needs 2 (c does not answer)
        w1 not started: a wave before it failed
        etcd 2 of 3
    "#]]);
    assert_eq!(environment.cluster.host(&name("b")).reboots, 0);
}

#[test]
fn a_node_is_drained_before_its_reboot_and_takes_work_again_after_it() {
    let mut environment = rebooting();
    let pods = Arc::new(Pods::default());
    environment.workload = Some(pods.clone());
    environment.deploy("w1 w2");
    let said = pods.said.lock().unwrap().join(", ");
    assert_eq!(said, "leave w1, come back to w1, leave w2, come back to w2");
}

#[test]
fn a_node_that_cannot_be_drained_is_not_rebooted() {
    let mut environment = rebooting();
    environment.workload = Some(Arc::new(Pods { stays_on: Some(name("w1")), ..Pods::default() }));
    let ran = environment.deploy("w1 w2");
    ran.check(&expect![[r#"
        w1 failed, Confirmed: not rebooted: not drained: a pod stays
        w2 not started: a wave before it failed
    "#]]);
    assert_eq!(environment.cluster.host(&name("w1")).reboots, 0);
}
