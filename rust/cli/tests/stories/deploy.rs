//! Stories of commands that change machines, where they refuse before any host is contacted.

use expect_test::expect;

use super::environment::{ETCD, environment};

/// The cluster runs, with one member that machines.nix no longer has.
const RUNNING: &str =
    r#"{ "version": 1, "etcd": { "bootstrapped": true, "members": ["balthazar", "casper", "leliel"] } }"#;

#[test]
fn a_deploy_without_certificates_is_wrong_input() {
    environment(ETCD).with_flake().check(&["deploy", "--all"], &expect![[r#"
        exit code 2
        --- stderr
        error: the targets' certificates are not ready: etcd-ca (missing: missing), etcd-healthcheck-client-balthazar (missing: missing), etcd-healthcheck-client-casper (missing: missing), etcd-healthcheck-client-melchior (missing: missing), etcd-operator (missing: missing), etcd-peer-balthazar (missing: missing) and 5 more
          hint: `machinist certs gen` makes them
    "#]]);
}

#[test]
fn there_is_nothing_to_resume() {
    let environment = environment(ETCD);
    environment.check(
        &["deploy", "--resume"],
        &expect![[r#"
        exit code 0
        --- stdout
        the last run came to its end: there is nothing to resume
    "#]],
    );
    environment.check(
        &["deploy", "--resume", "--json"],
        &expect![[r#"
        exit code 0
        --- stdout
        {
          "resumed": null
        }
    "#]],
    );
    environment.check(
        &["deploy", "--resume", "20260101t000000-000"],
        &expect![[r#"
        exit code 2
        --- stderr
        error: there is no run `20260101t000000-000`
          hint: `machinist history` lists the runs
    "#]],
    );
}

#[test]
fn a_plan_file_of_another_cluster_is_wrong_input() {
    let environment = environment(ETCD);
    environment.write("plan.json", "{}");
    let plan = environment.directory().join("plan.json");
    environment.check(&["deploy", "--plan", plan.to_str().unwrap()], &expect![[r#"
        exit code 2
        --- stderr
        error: <root>/cluster/plan.json: it is not a plan that `machinist plan --out` wrote: missing field `version` at line 1 column 2
          hint: make a new plan and read it: `machinist plan --out FILE`
    "#]]);
}

#[test]
fn a_member_that_is_recorded_cannot_join() {
    let environment = environment(ETCD);
    environment.write("state/cluster.json", RUNNING);
    environment.check(
        &["node", "join", "casper"],
        &expect![[r#"
            exit code 2
            --- stderr
            error: casper is a recorded member already
              hint: `machinist status` says how it is; after its data was lost: `machinist node replace casper`
        "#]],
    );
    environment.check(
        &["node", "join", "melchior"],
        &expect![[r#"
            exit code 3
            --- stderr
            error: leliel is to leave etcd, and still votes
              hint: first: `machinist node remove leliel`
        "#]],
    );
    environment.check(
        &["node", "remove", "casper", "--json"],
        &expect![[r#"
            exit code 2
            --- stdout
            {
              "causes": [],
              "error": "machines.nix still gives casper the role \"etcd\"",
              "hints": [
                "take the role away there first; to let it join anew: `machinist node replace casper`"
              ]
            }
        "#]],
    );
}

#[test]
fn a_cluster_that_was_never_founded_has_no_members_to_change() {
    environment(ETCD).check(
        &["node", "replace", "casper"],
        &expect![[r#"
        exit code 2
        --- stderr
        error: there is no running etcd cluster yet
          hint: `machinist deploy --all` founds it with all the members that machines.nix names
    "#]],
    );
}

#[test]
fn a_sandbox_machine_is_not_installed() {
    let sandbox =
        ETCD.replace("disk = \"/dev/vda\"; ssh = { host = \"127.0.0.1\"; port = 2; };", "provider = \"sandbox\";");
    environment(&sandbox).check(
        &["install", "casper"],
        &expect![[r#"
        exit code 2
        --- stderr
        error: casper is a sandbox machine; it needs no installation
          hint: `machinist sandbox up`, then `machinist deploy casper`
    "#]],
    );
    environment(ETCD).check(&["install", "casper"], &expect![[r#"
        exit code 2
        --- stderr
        error: the targets' certificates are not ready: etcd-ca (missing: missing), etcd-healthcheck-client-casper (missing: missing), etcd-operator (missing: missing), etcd-peer-casper (missing: missing), etcd-server-casper (missing: missing)
          hint: `machinist certs gen` makes them
    "#]]);
}

#[test]
fn a_command_for_what_the_cluster_does_not_run_says_so() {
    let environment = environment(ETCD);
    environment.check(
        &["etcd", "members"],
        &expect![[r#"
        exit code 1
        --- stderr
        error: melchior: cannot connect to root@127.0.0.1:3
          cause: connection refused: the host is up, but nothing listens on this port
          hint: check that sshd runs on 127.0.0.1 and listens on port 3
    "#]],
    );
    environment.check(
        &["kubeconfig"],
        &expect![[r#"
        exit code 2
        --- stderr
        error: no kubeconfig was made: machines.nix describes no Kubernetes
          hint: write cluster.orchestrator = "kubernetes"
    "#]],
    );
    environment.check(
        &["objects", "show"],
        &expect![[r#"
        exit code 2
        --- stderr
        error: no objects were looked at: machines.nix describes no Kubernetes
          hint: write cluster.orchestrator = "kubernetes"
    "#]],
    );
}
