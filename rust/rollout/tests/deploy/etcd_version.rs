//! Versions of etcd that a deploy refuses, before anything is touched. Members run 3.6.0.

use expect_test::expect;

use crate::environment::{Environment, name, new, old};

const MINE: &str = "/opt/etcd/bin/etcd";

/// Sets etcd's program in the system that a node has, or is to get.
fn starts(environment: &Environment, node: &str, is_new: bool, program: &str) {
    let system = if is_new { new(&name(node)) } else { old(&name(node)) };
    let mut world = environment.cluster.world();
    world.hosts.get_mut(&name(node)).unwrap().etcd.insert(system, program.to_owned());
}

#[test]
fn an_etcd_whose_version_is_not_recognised_is_refused_before_anything_is_touched() {
    let environment = Environment::new("a b c", "");
    starts(&environment, "b", true, MINE);
    let ran = environment.deploy("a b c");
    ran.check(&expect![[r#"
        a not started: another node is not ready, so nothing was changed
        b refused: its etcd would be /opt/etcd/bin/etcd, whose version cannot be recognised: it may not start on the data
        c not started: another node is not ready, so nothing was changed
        etcd 3 of 3
    "#]]);
    assert_eq!(environment.activated(), "");
}

#[test]
fn an_etcd_whose_version_is_not_recognised_may_stay() {
    let environment = Environment::new("a b c", "");
    starts(&environment, "b", false, MINE);
    starts(&environment, "b", true, MINE);
    environment.deploy("a b c");
    assert_eq!(environment.activated(), "b c a");
}

#[test]
fn an_older_etcd_is_refused() {
    let environment = Environment::new("a b c", "");
    starts(&environment, "b", true, &format!("/nix/store/{}-etcd-3.5.26/bin/etcd", "1".repeat(32)));
    let ran = environment.deploy("b");
    ran.check(&expect![[r#"
        b refused: its etcd would go back to 3.5.26, and the cluster's data has the format of 3.6
        etcd 3 of 3
    "#]]);
    assert_eq!(environment.activated(), "");
}
