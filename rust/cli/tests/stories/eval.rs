//! Stories of `eval`.

use std::process::Command;

use expect_test::expect;
use serde_json::Value;

use super::environment::{ETCD, environment};

#[test]
fn facts_are_those_of_generate_and_nothing_is_written() {
    let environment = environment(ETCD).with_flake();
    let evaluated: Value = serde_json::from_str(&environment.stdout(&["eval"], 0)).unwrap();
    assert!(environment.read("generated/casper.nix").is_none(), "an evaluation writes nothing");
    environment.stdout(&["generate"], 0);
    for node in ["balthazar", "casper", "melchior"] {
        let file = environment.directory().join(format!("generated/{node}.nix"));
        let output = Command::new("nix-instantiate").args(["--eval", "--strict", "--json"]).arg(file).output().unwrap();
        let written: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(evaluated["facts"][node], written, "{node}");
    }
    assert_eq!(evaluated["cluster"]["nodes"]["casper"]["ip"], "10.13.13.3");
}

#[test]
fn facts_of_the_targets_only_but_the_whole_cluster() {
    let environment = environment(ETCD);
    environment.write("generated/kept.nix", "{ }\n");
    let evaluated: Value = serde_json::from_str(&environment.stdout(&["eval", "c*", "--json"], 0)).unwrap();
    let names = |value: &Value| value.as_object().unwrap().keys().cloned().collect::<Vec<_>>().join(" ");
    assert_eq!(names(&evaluated), "cluster facts schema shared");
    assert_eq!(names(&evaluated["facts"]), "casper");
    assert_eq!(names(&evaluated["cluster"]["nodes"]), "balthazar casper melchior");
    environment.check(
        &["eval", "caspar"],
        &expect![[r#"
            exit code 2
            --- stderr
            error: caspar matches no node
              hint: did you mean casper?
        "#]],
    );
}

#[test]
fn a_file_that_git_ignores_is_read() {
    let environment = environment("import ./ignored/cluster.nix").with_flake();
    environment.write(".gitignore", "ignored\nmachines.nix\n");
    environment.write("ignored/cluster.nix", ETCD);
    let evaluated: Value = serde_json::from_str(&environment.stdout(&["eval"], 0)).unwrap();
    assert_eq!(evaluated["cluster"]["name"], "magi");
}

#[test]
fn the_raw_value_needs_no_valid_cluster() {
    let environment = environment("{ cluster.name = \"a\" + \"b\"; machines.x.ip = 1; }");
    environment.check(
        &["eval", "--raw"],
        &expect![[r#"
            exit code 0
            --- stdout
            {
              "cluster": {
                "name": "ab"
              },
              "machines": {
                "x": {
                  "ip": 1
                }
              }
            }
        "#]],
    );
    environment.check(
        &["eval"],
        &expect![[r#"
            exit code 2
            --- stderr
            M003

              × network.nodes: required attribute is missing
               ╭─[machines.nix:1:1]
             1 │ { cluster.name = "a" + "b"; machines.x.ip = 1; }
               · ┬
               · ╰── prefix lengths and firewall rules are derived from it
               ╰────
              help: write nodes = "10.13.13.0/24";
            M039

              ⚠ cluster.operators: the cluster has no operators
               ╭─[machines.nix:1:3]
             1 │ { cluster.name = "a" + "b"; machines.x.ip = 1; }
               ·   ───┬───
               ·      ╰── no one could log in to the nodes or decrypt the cluster's private keys
               ╰────
              help: write cluster.operators = [ { name = "ops"; ssh = "ssh-ed25519 ..."; age = "age1..."; } ]
            M061

              ⚠ machines.x: x has no disk
               ╭─[machines.nix:1:38]
             1 │ { cluster.name = "a" + "b"; machines.x.ip = 1; }
               ·                                      ┬
               ·                                      ╰── NixOS cannot build a system without a root file system
               ╰────
              help: set disk = "/dev/disk/by-id/...", or define file systems and boot loader in nodes/x.nix
            M001

              × machines.x.ip: expected an IP address in a string, or a list of two for dual stack, found the number 1
               ╭─[machines.nix:1:40]
             1 │ { cluster.name = "a" + "b"; machines.x.ip = 1; }
               ·                                        ───┬──
               ·                                           ╰── a value of another type cannot be used here
               ╰────
              help: write "1"
            2 errors in <root>/cluster/machines.nix; `machinist explain CODE` says more
        "#]],
    );
}
