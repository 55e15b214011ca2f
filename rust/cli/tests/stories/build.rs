//! Stories of `build`, with systems that a shell makes in place of NixOS.

use std::{
    fs,
    io::{BufRead as _, BufReader},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use expect_test::expect;
use serde_json::Value;

use super::environment::{ETCD, Environment, environment};

/// Returns a cluster whose systems are made by these shell commands, by node; `DEP` is a derivation that fails. `salt`
/// makes the derivations of a test its own, so that no earlier run has built them.
fn cluster(salt: &str, commands: [(&str, &str); 3]) -> Environment {
    let environment = environment(ETCD).with_flake();
    let make = "name: text: derivation { inherit name; system = builtins.currentSystem or \"x86_64-linux\"; \
                builder = \"/bin/sh\"; args = [ \"-c\" \"PATH=/bin:/usr/bin; ${text}\" ]; }";
    let salted = format!("{salt}-{}", std::process::id());
    let systems: String = commands
        .iter()
        .map(|(node, text)| {
            let value = match text.strip_prefix("throw ") {
                Some(words) => format!("throw \"{words}\""),
                None => format!("make \"nixos-system-{node}\" ''# {salted}\n{}''", text.replace("DEP", "${bad}")),
            };
            format!("  nixosConfigurations.{node}.config.system.build.toplevel = {value};\n")
        })
        .collect();
    let bad = format!("make \"bad-1.0\" ''# {salted}\necho one; echo two; exit 3''");
    environment
        .write("flake.nix", &format!("{{ outputs = _: let make = {make}; bad = {bad}; in {{\n{systems}}}; }}\n"));
    environment
}

const GOOD: [(&str, &str); 3] =
    [("balthazar", "echo b >$out"), ("casper", "echo c >$out"), ("melchior", "echo m >$out")];

fn json(environment: &Environment, arguments: &[&str], code: i32) -> Value {
    serde_json::from_str(&environment.stdout(arguments, code)).unwrap()
}

#[test]
fn systems_are_built_once_and_then_cached() {
    let environment = cluster("good", GOOD);
    environment.check(&["build"], &expect![[r#"
        exit code 0
        --- stdout
        balthazar built  /nix/store/<hash>-nixos-system-balthazar
        casper    built  /nix/store/<hash>-nixos-system-casper
        melchior  built  /nix/store/<hash>-nixos-system-melchior
        --- stderr
        warning: generated/ is stale: 3 of its files would change. These are the systems of the facts as they will be
        warning: a deploy needs certificates, and refuses without: the targets' certificates are not ready: etcd-ca (missing: missing), etcd-healthcheck-client-balthazar (missing: missing), etcd-healthcheck-client-casper (missing: missing), etcd-healthcheck-client-melchior (missing: missing), etcd-operator (missing: missing), etcd-peer-balthazar (missing: missing) and 5 more
        built 3 systems in <time> s
    "#]]);
    environment.check(&["build", "c*", "balthazar"], &expect![[r#"
        exit code 0
        --- stdout
        balthazar cached /nix/store/<hash>-nixos-system-balthazar
        casper    cached /nix/store/<hash>-nixos-system-casper
        --- stderr
        warning: generated/ is stale: 3 of its files would change. These are the systems of the facts as they will be
        warning: a deploy needs certificates, and refuses without: the targets' certificates are not ready: etcd-ca (missing: missing), etcd-healthcheck-client-balthazar (missing: missing), etcd-healthcheck-client-casper (missing: missing), etcd-operator (missing: missing), etcd-peer-balthazar (missing: missing), etcd-peer-casper (missing: missing) and 2 more
        2 systems as before, not evaluated
    "#]]);
    assert!(environment.read("generated/casper.nix").is_none(), "a build writes no facts");
    let built = json(&environment, &["build", "casper", "--json"], 0);
    let casper = &built["nodes"]["casper"];
    assert_eq!(casper["state"], "cached");
    assert!(casper["system"].as_str().unwrap().ends_with("-nixos-system-casper"), "{built}");
    assert!(casper["derivation"].as_str().unwrap().ends_with("-nixos-system-casper.drv"), "{built}");
    let again = json(&environment, &["build", "casper", "--json", "--no-cache"], 0);
    assert_eq!(
        (&again["nodes"]["casper"]["state"], &again["nodes"]["casper"]["system"]),
        (&"built".into(), &casper["system"])
    );
    // The systems were built from a copy with the facts as they will be. Its digest is that of the directory with them.
    environment.stdout(&["generate"], 0);
    let plan = environment.command(&["plan"]).output().unwrap();
    let told = String::from_utf8(plan.stderr).unwrap();
    assert!(told.contains("3 systems as before, not evaluated"), "{told}");
    environment.check(
        &["build", "caspar"],
        &expect![[r#"
        exit code 2
        --- stderr
        error: caspar matches no node
          hint: did you mean casper?
    "#]],
    );
}

#[test]
fn a_build_that_fails_names_its_nodes_with_the_log_and_the_others_are_built() {
    let environment = cluster("failing", [GOOD[0], ("casper", "echo DEP >$out"), ("melchior", "echo DEP m >$out")]);
    environment.check(&["build"], &expect![[r#"
        exit code 1
        --- stdout
        balthazar built  /nix/store/<hash>-nixos-system-balthazar
        casper    failed builder for '/nix/store/<hash>-bad-1.0.drv' failed with exit code 3
        melchior  failed builder for '/nix/store/<hash>-bad-1.0.drv' failed with exit code 3
        --- stderr
        warning: generated/ is stale: 3 of its files would change. These are the systems of the facts as they will be
        warning: a deploy needs certificates, and refuses without: the targets' certificates are not ready: etcd-ca (missing: missing), etcd-healthcheck-client-balthazar (missing: missing), etcd-healthcheck-client-casper (missing: missing), etcd-healthcheck-client-melchior (missing: missing), etcd-operator (missing: missing), etcd-peer-balthazar (missing: missing) and 5 more
        built 1 system in <time> s
        casper, melchior builder for '/nix/store/<hash>-bad-1.0.drv' failed with exit code 3;
          last 2 log lines:
          > one
          > two
          hint: `nix log /nix/store/<hash>-bad-1.0.drv` prints the complete log
    "#]]);
    let built = json(&environment, &["build", "--json"], 1);
    assert_eq!(built["nodes"]["balthazar"]["state"], "cached");
    assert!(built["nodes"]["casper"]["error"].as_str().unwrap().contains("> two"), "{built}");
}

#[test]
fn an_evaluation_that_fails_names_its_node_and_the_others_are_built() {
    let environment = cluster("throwing", [GOOD[0], ("casper", "throw no disk"), GOOD[2]]);
    environment.check(&["build"], &expect![[r#"
        exit code 1
        --- stdout
        balthazar built  /nix/store/<hash>-nixos-system-balthazar
        casper    failed no disk
        melchior  built  /nix/store/<hash>-nixos-system-melchior
        --- stderr
        warning: generated/ is stale: 3 of its files would change. These are the systems of the facts as they will be
        warning: a deploy needs certificates, and refuses without: the targets' certificates are not ready: etcd-ca (missing: missing), etcd-healthcheck-client-balthazar (missing: missing), etcd-healthcheck-client-casper (missing: missing), etcd-healthcheck-client-melchior (missing: missing), etcd-operator (missing: missing), etcd-peer-balthazar (missing: missing) and 5 more
        built 2 systems in <time> s
        casper no disk
    "#]]);
}

#[test]
fn a_foreign_platform_is_explained_before_a_build_is_tried() {
    let environment = cluster("foreign", GOOD);
    let arm = ETCD.replace("machines.casper = {", "machines.casper = { system = \"aarch64-linux\";");
    environment.write("machines.nix", &arm);
    let flake = environment.read("flake.nix").unwrap();
    let foreign = flake.replace("make \"nixos-system-casper\"", "foreign \"nixos-system-casper\"").replace(
        "let make",
        "let foreign = name: text: derivation { inherit name; system = \"aarch64-linux\"; builder = \"/bin/sh\"; \
         args = [ \"-c\" text ]; }; make",
    );
    environment.write("flake.nix", &foreign);
    environment.check(&["build", "casper"], &expect![[r#"
        exit code 3
        --- stdout
        casper failed the system is for aarch64-linux, for which nix cannot build on this computer (x86_64-linux): no emulation is configured, and no remote builder
        --- stderr
        warning: generated/ is stale: 3 of its files would change. These are the systems of the facts as they will be
        warning: a deploy needs certificates, and refuses without: the targets' certificates are not ready: etcd-ca (missing: missing), etcd-healthcheck-client-casper (missing: missing), etcd-operator (missing: missing), etcd-peer-casper (missing: missing), etcd-server-casper (missing: missing)
        casper the system is for aarch64-linux, for which nix cannot build on this computer (x86_64-linux): no emulation is configured, and no remote builder
          hint: emulation, slow but simple: on NixOS `boot.binfmt.emulatedSystems = [ "aarch64-linux" ];`; elsewhere QEMU's user emulation registered in binfmt_misc with the flag F, and `extra-platforms = aarch64-linux` in nix.conf
          hint: a remote builder: `builders = ssh://root@HOST aarch64-linux` in nix.conf
          hint: for a deploy: `--build-on target` builds each system on its own machine, `--build-on NODE` on a node of aarch64-linux; `--store-path` deploys what was built elsewhere
    "#]]);
    environment.check(&["build"], &expect![[r#"
        exit code 1
        --- stdout
        balthazar built  /nix/store/<hash>-nixos-system-balthazar
        casper    failed the system is for aarch64-linux, for which nix cannot build on this computer (x86_64-linux): no emulation is configured, and no remote builder
        melchior  built  /nix/store/<hash>-nixos-system-melchior
        --- stderr
        warning: generated/ is stale: 3 of its files would change. These are the systems of the facts as they will be
        warning: a deploy needs certificates, and refuses without: the targets' certificates are not ready: etcd-ca (missing: missing), etcd-healthcheck-client-balthazar (missing: missing), etcd-healthcheck-client-casper (missing: missing), etcd-healthcheck-client-melchior (missing: missing), etcd-operator (missing: missing), etcd-peer-balthazar (missing: missing) and 5 more
        built 2 systems in <time> s
        casper the system is for aarch64-linux, for which nix cannot build on this computer (x86_64-linux): no emulation is configured, and no remote builder
          hint: emulation, slow but simple: on NixOS `boot.binfmt.emulatedSystems = [ "aarch64-linux" ];`; elsewhere QEMU's user emulation registered in binfmt_misc with the flag F, and `extra-platforms = aarch64-linux` in nix.conf
          hint: a remote builder: `builders = ssh://root@HOST aarch64-linux` in nix.conf
          hint: for a deploy: `--build-on target` builds each system on its own machine, `--build-on NODE` on a node of aarch64-linux; `--store-path` deploys what was built elsewhere
    "#]]);
    environment.check(&["plan"], &expect![[r#"
        exit code 3
        --- stderr
        2 systems as before, not evaluated
        error: casper: the system is for aarch64-linux, for which nix cannot build on this computer (x86_64-linux): no emulation is configured, and no remote builder
          hint: emulation, slow but simple: on NixOS `boot.binfmt.emulatedSystems = [ "aarch64-linux" ];`; elsewhere QEMU's user emulation registered in binfmt_misc with the flag F, and `extra-platforms = aarch64-linux` in nix.conf
          hint: a remote builder: `builders = ssh://root@HOST aarch64-linux` in nix.conf
          hint: for a deploy: `--build-on target` builds each system on its own machine, `--build-on NODE` on a node of aarch64-linux; `--store-path` deploys what was built elsewhere
    "#]]);
    // What is in the store already needs no builder.
    let emulated = format!("{}\nextra-platforms = aarch64-linux", super::environment::NIX_CONFIG);
    let output = environment.command(&["build", "casper"]).env("NIX_CONFIG", emulated).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    environment.check(&["build", "casper", "--no-cache"], &expect![[r#"
        exit code 0
        --- stdout
        casper built  /nix/store/<hash>-nixos-system-casper
        --- stderr
        warning: generated/ is stale: 3 of its files would change. These are the systems of the facts as they will be
        warning: a deploy needs certificates, and refuses without: the targets' certificates are not ready: etcd-ca (missing: missing), etcd-healthcheck-client-casper (missing: missing), etcd-operator (missing: missing), etcd-peer-casper (missing: missing), etcd-server-casper (missing: missing)
        built 1 system in <time> s
    "#]]);
}

#[test]
fn links_protect_the_systems() {
    let environment = cluster("linked", GOOD);
    let links = environment.directory().join("result");
    let built = json(&environment, &["build", "--json", "--out-link", links.to_str().unwrap()], 0);
    for node in ["balthazar", "casper", "melchior"] {
        let link = links.join(node);
        assert_eq!(fs::read_link(&link).unwrap().to_str(), built["nodes"][node]["system"].as_str());
        assert_eq!(built["nodes"][node]["link"].as_str(), link.to_str());
        let roots = Command::new("nix-store").args(["--query", "--roots"]).arg(&link).output().unwrap();
        let roots = String::from_utf8(roots.stdout).unwrap();
        assert!(roots.contains(link.to_str().unwrap()), "{roots}");
    }
    let file = environment.directory().join("machines.nix");
    environment.check(
        &["build", "casper", "--out-link", file.to_str().unwrap()],
        &expect![[r#"
        exit code 2
        --- stderr
        error: --out-link: <root>/cluster/machines.nix cannot be used as a directory: File exists (os error 17)
    "#]],
    );
}

#[test]
fn a_build_that_is_interrupted_leaves_nothing_running() {
    // A duration that no other process has.
    let sleep = format!("sleep 300.{}", std::process::id());
    let environment = cluster("slow", [GOOD[0], ("casper", &format!("exec {sleep}")), GOOD[2]]);
    let temporary = environment.directory().join("../tmp");
    fs::create_dir(&temporary).unwrap();
    let mut command = environment.command(&["build"]);
    let mut child = command.env("TMPDIR", &temporary).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    let building = |line: &String| line.contains("nixos-system-casper");
    let begun = lines.by_ref().map(Result::unwrap).find(building);
    assert!(begun.is_some(), "progress is reported within seconds");
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    let stopped = Instant::now();
    assert_eq!(child.wait().unwrap().code(), Some(143));
    assert!(stopped.elapsed() < Duration::from_secs(5));
    let rest: Vec<String> = lines.map(Result::unwrap).collect();
    assert!(rest.iter().any(|line| line.starts_with("interrupted")), "{rest:?}");
    assert_eq!(fs::read_dir(&temporary).unwrap().count(), 0, "no copy of the directory is left");
    let left = Command::new("pgrep").args(["-f", &sleep]).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&left.stdout), "");
}
