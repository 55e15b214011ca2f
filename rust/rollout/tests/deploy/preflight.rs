//! Inspection of all hosts before the first one is changed.

use expect_test::expect;

use crate::environment::{Environment, name, new};

#[test]
fn one_node_with_drift_keeps_the_whole_run_from_beginning() {
    let drifted = || {
        let environment = Environment::new("a b c", "w1 w2");
        let someone = new(&name("a"));
        environment.cluster.world().hosts.get_mut(&name("w1")).unwrap().running = Some(someone);
        environment
    };
    let environment = drifted();
    let ran = environment.deploy("w1 w2");
    ran.check(&expect![[r#"
        w1 refused: drift: it runs /nix/store/11111111111111111111111111111111-nixos-system-a-2, the last deploy confirmed /nix/store/00000000000000000000000000000000-nixos-system-w1-1
        w2 not started: another node is not ready, so nothing was changed
    "#]]);
    assert_eq!(environment.activated(), "");
    assert_eq!(environment.cluster.requested("take the lock"), []);
    let mut environment = drifted();
    environment.policy.accept_drift = true;
    environment.deploy("w1 w2");
    assert_eq!(environment.changed(), "w1 w2");
}

#[test]
fn a_system_that_a_host_has_lost_fails_that_host_before_anything_is_activated_there() {
    let environment = Environment::new("a b c", "w1 w2");
    let system = new(&name("w1")).to_string();
    environment.cluster.world().hosts.get_mut(&name("w1")).unwrap().missing.insert(system);
    let ran = environment.deploy("w1 w2");
    ran.check(&expect![[r#"
        w1 failed, Untouched: the host lacks /nix/store/11111111111111111111111111111111-nixos-system-w1-2: it was removed by garbage collection
        w2 changed
    "#]]);
    assert_eq!(environment.activated(), "w2");
}

#[test]
fn a_node_that_another_run_changed_after_it_was_looked_at_is_not_touched() {
    let environment = Environment::new("a b c", "w1 w2");
    environment.cluster.at(&name("w1"), "take the lock", 1, |cluster| {
        let system = new(&name("a"));
        let mut world = cluster.world();
        let host = world.hosts.get_mut(&name("w1")).unwrap();
        host.running = Some(system.clone());
        host.profile = Some(system);
    });
    let ran = environment.deploy("w1 w2");
    ran.check(&expect![[r#"
        w1 refused: locked: another run has changed it since this one looked: run the same command again
        w2 not started: another node was changed meanwhile, so nothing was done
    "#]]);
    assert_eq!(environment.activated(), "");
    assert_eq!(environment.locked(), "");
}
