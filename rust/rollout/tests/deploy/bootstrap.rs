//! The first deploy of a cluster: its members start together.

use expect_test::expect;
use machinist_rollout::deploy::{Outcome, Verdict};
use machinist_testkit::cluster::Behaviour;

use crate::environment::{Environment, name};

/// Members without data, on machines that run an earlier system without etcd.
fn new_cluster() -> Environment {
    let mut environment = Environment::new("a b c", "w1");
    environment.bootstrapped = false;
    for host in environment.cluster.world().hosts.values_mut() {
        if let Some(member) = &mut host.member {
            member.has_data = false;
            member.runs = false;
            let before = host.running.clone();
            host.behaviours.extend(before.map(|system| (system, Behaviour::WithoutEtcd)));
        }
    }
    environment
}

#[test]
fn the_members_of_a_new_cluster_start_together_and_workers_follow() {
    let environment = new_cluster();
    let ran = environment.deploy("a b c w1");
    ran.check(&expect![[r#"
        a changed
        b changed
        c changed
        w1 changed
        etcd 3 of 3
    "#]]);
    assert!(environment.activated().ends_with(" w1"), "{}", environment.activated());
    assert_eq!(ran.report.waves[0].nodes, ["a", "b", "c"].map(name));
}

#[test]
fn a_new_cluster_of_which_one_member_fails_is_not_left_with_two() {
    let environment = new_cluster().behaves("c", Behaviour::FailsUnit("etcd.service".to_owned()));
    let ran = environment.deploy("a b c w1");
    let went_back = |node| {
        let outcome = ran.report.nodes.get(&name(node));
        matches!(outcome, Some(Outcome::Failed { verdict: Verdict::Reverted, .. }))
    };
    assert!(["a", "b", "c"].into_iter().all(went_back), "{:?}", ran.report.nodes);
    assert_eq!(environment.activated().split_whitespace().count(), 3, "w1 waits for a cluster");
    assert_eq!(environment.unchanged(), "a b c w1");
}

#[test]
fn a_new_cluster_of_three_does_not_begin_with_one() {
    let environment = new_cluster();
    let error = environment.refused("a w1").to_string();
    assert_eq!(error, "a new etcd cluster of 3 needs 2 members at once, only 1 of them are to be deployed");
    assert_eq!(environment.activated(), "");
    assert!(environment.record().ended);
}
