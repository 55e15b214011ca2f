//! Stories of `apply-local`, on a computer that is no machine of the cluster.

use expect_test::expect;

use super::environment::{ETCD, environment};

#[test]
fn a_computer_that_is_no_machine_of_the_cluster_is_refused() {
    let environment = environment(ETCD);
    let host_name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
    let output = environment.command(&["apply-local"]).output().unwrap();
    assert_eq!(output.status.code(), Some(3));
    let told = String::from_utf8(output.stderr).unwrap().replace(host_name.trim(), "<host>");
    expect![[r#"
        error: this computer is `<host>` by its host name, and machines.nix deploys no such machine
          hint: run it on a machine of the cluster
    "#]]
    .assert_eq(&told);
    let output = environment.command(&["apply-local", "casper", "--json"]).output().unwrap();
    assert_eq!(output.status.code(), Some(3));
    let told = String::from_utf8(output.stdout).unwrap().replace(host_name.trim(), "<host>");
    expect![[r#"
        {
          "causes": [],
          "error": "this computer is `<host>` by its host name, and not casper",
          "hints": [
            "run it on casper itself; for another machine: `machinist deploy casper` from an operator's computer"
          ]
        }
    "#]]
    .assert_eq(&told);
    assert!(environment.read(".machinist").is_none() && !environment.directory().join(".machinist").exists());
}
