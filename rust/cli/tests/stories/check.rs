//! Stories of `check`.

use expect_test::expect;

use super::environment::{ETCD, environment};

#[test]
fn a_good_cluster_is_counted() {
    environment(ETCD).check(
        &["check"],
        &expect![[r#"
        exit code 0
        --- stdout
        magi: 3 machines, 3 to deploy, 3 etcd members
    "#]],
    );
}

#[test]
fn an_address_outside_the_network_is_shown_in_its_line() {
    let environment = environment(&ETCD.replace("10.13.13.4", "10.14.0.4"));
    environment.check(
        &["check"],
        &expect![[r#"
        exit code 2
        --- stderr
        M011

          × machines.melchior.ip: 10.14.0.4 is outside the node network 10.13.13.0/24
            ╭─[machines.nix:10:11]
          9 │   ];
         10 │   network.nodes = "10.13.13.0/24";
            ·           ───────────┬───────────
            ·                      ╰── the node network
         11 │   machines.balthazar = {
            ╰────
            ╭─[machines.nix:18:5]
         17 │   machines.melchior = {
         18 │     ip = "10.14.0.4"; roles = [ "etcd" ]; disk = "/dev/vda"; ssh = { host = "127.0.0.1"; port = 3; };
            ·     ────────┬───────
            ·             ╰── nodes reach each other on one network, without a gateway
         19 │   };
            ╰────
          help: write an address of 10.13.13.0/24, such as "10.13.13.4", or widen network.nodes
        1 error in <root>/cluster/machines.nix; `machinist explain CODE` says more
    "#]],
    );
    environment.check(
        &["check", "--json"],
        &expect![[r#"
        exit code 2
        --- stdout
        {
          "errors": [
            {
              "code": "M011",
              "column": 5,
              "file": "machines.nix",
              "help": "write an address of 10.13.13.0/24, such as \"10.13.13.4\", or widen network.nodes",
              "line": 18,
              "message": "10.14.0.4 is outside the node network 10.13.13.0/24",
              "path": "machines.melchior.ip",
              "related": [
                {
                  "column": 11,
                  "line": 10,
                  "message": "the node network",
                  "path": "network.nodes"
                }
              ],
              "severity": "error",
              "why": "nodes reach each other on one network, without a gateway"
            }
          ]
        }
    "#]],
    );
}

#[test]
fn a_value_that_nix_refuses_is_wrong_input() {
    environment("{ cluster.name = throw \"no name yet\"; }").check(
        &["check"],
        &expect![[r#"
            exit code 2
            --- stderr
            error: machines.nix has no value
              no name yet
        "#]],
    );
}

#[test]
fn a_member_that_moves_is_refused() {
    let environment = environment(ETCD);
    environment.write(
        "state/cluster.json",
        r#"{
  "version": 1,
  "etcd": { "bootstrapped": true, "members": ["balthazar", "casper", "melchior"] },
  "running": {
    "name": "magi",
    "addresses": { "balthazar": "10.13.13.9", "casper": "10.13.13.3", "melchior": "10.13.13.4" }
  }
}
"#,
    );
    environment.check(&["check"], &expect![[r#"
        exit code 3
        --- stderr
        error: machines.nix changes what the running cluster cannot take: machines.balthazar.ip: 10.13.13.9 -> 10.13.13.2
          hint: `machinist node readdress balthazar` moves the running machine (--plan shows the steps); another machine at the new address is installed: `machinist install balthazar`
          hint: after a change by hand, write it into `running` of state/cluster.json
    "#]]);
}
