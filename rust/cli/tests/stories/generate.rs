//! Stories of `generate`.

use expect_test::expect;

use super::environment::{ETCD, environment};

#[test]
fn facts_are_written_once_and_then_unchanged() {
    let environment = environment(ETCD).with_flake();
    environment.check(
        &["generate"],
        &expect![[r#"
        exit code 0
        --- stdout
        create   generated/balthazar.nix
        create   generated/casper.nix
        create   generated/melchior.nix
    "#]],
    );
    let facts = environment.read("generated/casper.nix").unwrap();
    environment.check(
        &["generate"],
        &expect![[r#"
        exit code 0
        --- stdout
        unchanged: 3 files in generated/
    "#]],
    );
    environment.check(
        &["generate", "--check"],
        &expect![[r#"
        exit code 0
    "#]],
    );
    assert_eq!(environment.read("generated/casper.nix").unwrap(), facts);
}

#[test]
fn a_check_shows_what_is_stale_and_writes_nothing() {
    let environment = environment(ETCD).with_flake();
    environment.check(
        &["generate", "--json"],
        &expect![[r#"
        exit code 0
        --- stdout
        {
          "balthazar.nix": "create",
          "casper.nix": "create",
          "melchior.nix": "create"
        }
    "#]],
    );
    environment.write("machines.nix", &ETCD.replace("10.13.13.4", "10.13.13.5"));
    let before = environment.read("generated/melchior.nix");
    environment.check(
        &["generate", "--check"],
        &expect![[r#"
        exit code 1
        --- stdout
        --- a/generated/balthazar.nix
        +++ b/generated/balthazar.nix
        @@ -13,7 +13,7 @@
               members = {
                 balthazar = "10.13.13.2";
                 casper = "10.13.13.3";
        -        melchior = "10.13.13.4";
        +        melchior = "10.13.13.5";
               };
               snapshots.recipients = [ "age1lqk39lsxe6gvstlz0z4t4sglfh0rkpjar5e3tl22zkqpkqh4d0mq2yqpvu" ];
               token = "magi";
        @@ -27,7 +27,7 @@
                 "casper.magi.internal"
                 "casper"
               ];
        -      "10.13.13.4" = [
        +      "10.13.13.5" = [
                 "melchior.magi.internal"
                 "melchior"
               ];
        --- a/generated/casper.nix
        +++ b/generated/casper.nix
        @@ -13,7 +13,7 @@
               members = {
                 balthazar = "10.13.13.2";
                 casper = "10.13.13.3";
        -        melchior = "10.13.13.4";
        +        melchior = "10.13.13.5";
               };
               snapshots.recipients = [ "age1lqk39lsxe6gvstlz0z4t4sglfh0rkpjar5e3tl22zkqpkqh4d0mq2yqpvu" ];
               token = "magi";
        @@ -27,7 +27,7 @@
                 "casper.magi.internal"
                 "casper"
               ];
        -      "10.13.13.4" = [
        +      "10.13.13.5" = [
                 "melchior.magi.internal"
                 "melchior"
               ];
        --- a/generated/melchior.nix
        +++ b/generated/melchior.nix
        @@ -13,7 +13,7 @@
               members = {
                 balthazar = "10.13.13.2";
                 casper = "10.13.13.3";
        -        melchior = "10.13.13.4";
        +        melchior = "10.13.13.5";
               };
               snapshots.recipients = [ "age1lqk39lsxe6gvstlz0z4t4sglfh0rkpjar5e3tl22zkqpkqh4d0mq2yqpvu" ];
               token = "magi";
        @@ -27,13 +27,13 @@
                 "casper.magi.internal"
                 "casper"
               ];
        -      "10.13.13.4" = [
        +      "10.13.13.5" = [
                 "melchior.magi.internal"
                 "melchior"
               ];
             };
             network = {
        -      address = "10.13.13.4";
        +      address = "10.13.13.5";
               nodes = "10.13.13.0/24";
               prefixLength = 24;
               sshPort = 3;
        --- stderr
        error: generated/ is stale: 3 of its files would change
          hint: `machinist generate` writes them
    "#]],
    );
    environment.check(
        &["generate", "--check", "--json"],
        &expect![[r#"
        exit code 1
        --- stdout
        {
          "balthazar.nix": "update",
          "casper.nix": "update",
          "melchior.nix": "update"
        }
    "#]],
    );
    assert_eq!(environment.read("generated/melchior.nix"), before);
}

#[test]
fn a_file_that_machinist_did_not_write_is_not_overwritten() {
    let environment = environment(ETCD).with_flake();
    environment.write("generated/casper.nix", "{ }\n");
    environment.check(
        &["generate"],
        &expect![[r#"
        exit code 2
        --- stderr
        error: generated/ holds files that machinist did not write: generated/casper.nix
          hint: a person's own module for a node belongs in nodes/<name>.nix; move them there, nothing was overwritten
    "#]],
    );
    assert_eq!(environment.read("generated/casper.nix").unwrap(), "{ }\n");
    assert!(environment.read("generated/balthazar.nix").is_none());
}
