//! Stories of `status`, `drift`, `history` and `unlock`, where no host answers.

use expect_test::expect;

use super::environment::{ETCD, environment};

#[test]
fn nodes_that_do_not_answer_are_named_with_the_reason() {
    let environment = environment(ETCD);
    environment.check(&["status"], &expect![[r#"
        exit code 1
        --- stdout
        NODE       ADDRESS     ROLES  HOST       SYSTEM  ETCD
        balthazar  10.13.13.2  etcd   no answer  -       etcd gives no answer
        casper     10.13.13.3  etcd   no answer  -       etcd gives no answer
        melchior   10.13.13.4  etcd   no answer  -       etcd gives no answer
        --- stderr
        balthazar cannot connect to root@127.0.0.1:1: connection refused: the host is up, but nothing listens on this port
          hint: check that sshd runs on 127.0.0.1 and listens on port 1
        casper cannot connect to root@127.0.0.1:2: connection refused: the host is up, but nothing listens on this port
          hint: check that sshd runs on 127.0.0.1 and listens on port 2
        melchior cannot connect to root@127.0.0.1:3: connection refused: the host is up, but nothing listens on this port
          hint: check that sshd runs on 127.0.0.1 and listens on port 3
    "#]]);
    environment.check(&["status", "casper", "--json"], &expect![[r#"
        exit code 1
        --- stdout
        {
          "etcdAlarm": null,
          "healthy": false,
          "nodes": [
            {
              "node": "casper",
              "ip": "10.13.13.3",
              "roles": [
                "etcd"
              ],
              "state": "silent",
              "why": "cannot connect to root@127.0.0.1:2: connection refused: the host is up, but nothing listens on this port",
              "hint": "check that sshd runs on 127.0.0.1 and listens on port 2",
              "etcd": {
                "healthy": false,
                "leader": false,
                "problems": [
                  "etcd gives no answer"
                ],
                "version": null,
                "database_bytes": null
              }
            }
          ],
          "unmanagedEtcdMembers": []
        }
    "#]]);
}

#[test]
fn a_name_that_no_machine_has_is_wrong_input() {
    environment(ETCD).check(
        &["status", "nobody"],
        &expect![[r#"
            exit code 2
            --- stderr
            error: nobody matches no node
              hint: available: balthazar, casper, melchior
        "#]],
    );
}

#[test]
fn drift_of_a_node_that_does_not_answer_is_unknown() {
    environment(ETCD).check(&["drift", "--recorded", "casper"], &expect![[r#"
        exit code 1
        --- stdout
        casper could not be asked: cannot connect to root@127.0.0.1:2: connection refused: the host is up, but nothing listens on this port
          hint: check that sshd runs on 127.0.0.1 and listens on port 2
    "#]]);
}

#[test]
fn a_directory_without_runs_has_no_history() {
    let environment = environment(ETCD);
    environment.check(
        &["history"],
        &expect![[r#"
        exit code 0
        --- stdout
        nothing was deployed from this directory yet
    "#]],
    );
    environment.check(
        &["history", "--json"],
        &expect![[r#"
        exit code 0
        --- stdout
        {
          "runs": [],
          "unreadable": []
        }
    "#]],
    );
}

#[test]
fn a_node_that_does_not_answer_may_be_locked() {
    environment(ETCD).check(&["unlock", "casper"], &expect![[r#"
        exit code 1
        --- stdout
        no node could be reached: whether one is locked is unknown
        --- stderr
        warning: casper: cannot connect to root@127.0.0.1:2: connection refused: the host is up, but nothing listens on this port
    "#]]);
}
