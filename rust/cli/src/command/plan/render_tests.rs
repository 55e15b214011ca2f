#![allow(clippy::unwrap_used)]
use std::collections::BTreeMap;

use expect_test::{Expect, expect};
use machinist_model::{Conflict, NodeName};
use machinist_nix::StorePath;
use machinist_operations::plan::{Certificate, FactsChange, Report};
use machinist_pki::report::State;
use machinist_rollout::{
    boot_once::Loader,
    plan::{
        Action, Bytes, Changes, ClosureDiff, FullBoot, NodePlan, Package, Plan, PlannedBoot, QuorumRisk, Reboot,
        UnitChange, Verdict, VersionChange,
    },
    preflight::{Problem, ProblemKind},
    waves::{Wave, WaveKind},
};

use crate::ui::Ui;

fn name(text: &str) -> NodeName {
    NodeName::parse(text).unwrap()
}

fn system(letter: &str) -> StorePath {
    StorePath::parse(&format!("/nix/store/{}-nixos-system", letter.repeat(32))).unwrap()
}

fn unit(unit: &str, action: Action, why: &[&str]) -> UnitChange {
    UnitChange { unit: unit.to_owned(), action, why: why.iter().map(|&word| word.to_owned()).collect() }
}

fn package(name: &str, version: &str, growth: Option<i64>) -> Package {
    Package { name: name.to_owned(), versions: version.split_whitespace().map(str::to_owned).collect(), growth }
}

fn changes() -> Changes {
    let mut units = vec![
        unit("old.service", Action::Stop, &["the new system does not have it"]),
        unit("etcd.service", Action::Restart, &["Service.ExecStart", "Unit.X-Restart-Triggers"]),
        unit("nftables.service", Action::Reload, &["Unit.X-Reload-Triggers"]),
        unit("keygen.service", Action::Again, &["it is not running now"]),
    ];
    units.extend((1..=8).map(|number| unit(&format!("n{number}.service"), Action::Start, &["it is new"])));
    let changed = vec![VersionChange {
        name: "etcd".to_owned(),
        from: vec!["3.5.16".to_owned()],
        to: vec!["3.5.17".to_owned()],
        growth: Some(2 << 20),
    }];
    let (added, removed) = (
        vec![package("jq", "1.7.1", Some(1 << 20)), package("unit-n1.service", "", Some(300))],
        vec![package("htop", "3.3", Some(-500_000))],
    );
    Changes {
        running: Some(system("a")),
        boots: Some(system("a")),
        system: system("b"),
        paths: 412,
        paths_to_send: 14,
        bytes_to_send: 2_500_000,
        too_little_room: None,
        full_boot: None,
        keys: vec!["etcd-server-0123456789abcdef.key".to_owned()],
        closure: Some(ClosureDiff {
            added,
            removed,
            changed,
            rebuilt: vec![package("etc", "", Some(-10))],
            bytes: Some(Bytes { from: 851_000_000, to: 853_645_728 }),
        }),
        units,
        systemd_reexec: true,
        reboot: Some(Reboot { why: vec!["kernel 6.12.1 -> 6.12.3".to_owned()], was_due: false }),
        reboots: false,
        boot: None,
        virtual_address: false,
        dry_run: Some("would stop the following units: etcd.service\nwould activate the configuration...".to_owned()),
    }
}

fn first() -> Changes {
    Changes {
        running: None,
        boots: None,
        dry_run: None,
        closure: None,
        units: Vec::new(),
        keys: Vec::new(),
        systemd_reexec: false,
        reboot: None,
        reboots: false,
        ..changes()
    }
}

fn told(nodes: Vec<(&str, NodePlan)>) -> Report {
    let nodes = nodes.into_iter().map(|(node, plan)| (name(node), plan)).collect();
    Report {
        cluster: "magi".to_owned(),
        generated: BTreeMap::new(),
        certificates: Vec::new(),
        rotations: Vec::new(),
        conflicts: Vec::new(),
        plan: Plan { nodes, ..Plan::default() },
    }
}

#[track_caller]
fn check(report: &Report, verbose: bool, exit_code: u8, expect: &Expect) {
    expect.assert_eq(&super::report(report, Ui::new(false, verbose)));
    assert_eq!(super::super::exit_code(report), exit_code);
}

#[test]
fn nothing_to_do_is_said_in_a_line_a_node() {
    let unchanged = || NodePlan::Unchanged { system: system("a") };
    check(
        &told(vec![("a", unchanged()), ("b", unchanged())]),
        false,
        0,
        &expect![[r#"
        a nothing to do
        b nothing to do

        0 to change, 2 unchanged"#]],
    );
}

#[test]
fn a_growth_of_a_few_bytes_is_not_shown() {
    let mut few = changes();
    few.closure.as_mut().unwrap().bytes = Some(Bytes { from: 1 << 30, to: (1 << 30) + 24 });
    let text = super::report(&told(vec![("a", NodePlan::Changes(Box::new(few)))]), Ui::new(false, true));
    assert!(!text.contains("closure") && text.contains("packages"), "{text}");
}

#[test]
fn long_lists_are_cut_with_a_count() {
    check(
        &told(vec![("a", NodePlan::Changes(Box::new(changes())))]),
        false,
        4,
        &expect![[r#"
            a
              system    aaaaaaaa -> bbbbbbbb
              send      14 of 412 paths, 2.4 MiB
              keys      to put in place: etcd-server
              closure   811.6 MiB -> 814.1 MiB (+2.5 MiB)
              packages  etcd 3.5.16 -> 3.5.17 (+2.0 MiB), + jq 1.7.1 (+1.0 MiB), - htop 3.3 (-489 KiB); 2 other paths differ without another version
              stop      old.service (the new system does not have it)
              restart   etcd.service (Service.ExecStart, Unit.X-Restart-Triggers)
              reload    nftables.service (Unit.X-Reload-Triggers)
              start     n1.service, n2.service, n3.service, n4.service, n5.service, n6.service and 2 more
              systemd   executes itself anew; units run on meanwhile
              reboot    is needed for kernel 6.12.1 -> 6.12.3; `--reboot auto` does that
              dry run   would stop the following units: etcd.service
                        would activate the configuration...

            1 to change, 0 unchanged"#]],
    );
}

#[test]
fn verbose_says_everything_with_its_reason() {
    check(
        &told(vec![("a", NodePlan::Changes(Box::new(changes())))]),
        true,
        4,
        &expect![[r#"
            a
              system    aaaaaaaa -> bbbbbbbb
              send      14 of 412 paths, 2.4 MiB
              keys      to put in place: etcd-server
              closure   811.6 MiB -> 814.1 MiB (+2.5 MiB)
              packages  etcd 3.5.16 -> 3.5.17 (+2.0 MiB)
                        + jq 1.7.1 (+1.0 MiB)
                        + unit-n1.service
                        - htop 3.3 (-489 KiB)
                        ~ etc
              stop      old.service (the new system does not have it)
              restart   etcd.service (Service.ExecStart, Unit.X-Restart-Triggers)
              reload    nftables.service (Unit.X-Reload-Triggers)
              start     n1.service (it is new)
                        n2.service (it is new)
                        n3.service (it is new)
                        n4.service (it is new)
                        n5.service (it is new)
                        n6.service (it is new)
                        n7.service (it is new)
                        n8.service (it is new)
              again     keygen.service (it is not running now)
              systemd   executes itself anew; units run on meanwhile
              reboot    is needed for kernel 6.12.1 -> 6.12.3; `--reboot auto` does that
              dry run   would stop the following units: etcd.service
                        would activate the configuration...

            1 to change, 0 unchanged"#]],
    );
}

#[test]
fn a_first_deploy_starts_everything() {
    check(
        &told(vec![("a", NodePlan::Changes(Box::new(first())))]),
        false,
        4,
        &expect![[r#"
        a
          system    bbbbbbbb, the first one
          send      14 of 412 paths, 2.4 MiB
          start     everything: it is the first deploy

        1 to change, 0 unchanged"#]],
    );
}

#[test]
fn a_host_that_cannot_be_asked_is_named_and_the_rest_is_shown() {
    let silent = NodePlan::Silent { why: "no route".to_owned(), hint: Some("look at the cable".to_owned()) };
    let report = told(vec![("a", silent), ("b", NodePlan::Unchanged { system: system("a") })]);
    check(
        &report,
        false,
        1,
        &expect![[r#"
        a could not be asked: no route
          hint      look at the cable
        b nothing to do

        0 to change, 1 unchanged, 1 not known"#]],
    );
}

#[test]
fn facts_certificates_waves_and_the_quorum_are_about_all() {
    let mut report = told(vec![("a", NodePlan::Unchanged { system: system("a") })]);
    let diff = "--- a/generated/a.nix\n+++ b/generated/a.nix\n@@ -1 +1 @@\n-x\n+y\n".to_owned();
    report.generated.insert("a.nix".to_owned(), FactsChange { change: "update", diff });
    let because = "12 days left".to_owned();
    report.certificates.push(Certificate { name: "etcd-server-a".to_owned(), state: State::Renew, because });
    report.rotations.push("etcd-ca: it is being rotated".to_owned());
    report.plan.waves = ["b", "a"].map(|node| Wave { kind: WaveKind::Member, nodes: vec![name(node)] }).into();
    report.plan.quorum = Some(QuorumRisk { verdict: Verdict::Held, words: "2 of 3 stay".to_owned() });
    check(
        &report,
        false,
        4,
        &expect![[r#"
        generated/ is stale. This plan is of the facts as they will be; `machinist generate` or a deploy writes them.
        --- a/generated/a.nix
        +++ b/generated/a.nix
        @@ -1 +1 @@
        -x
        +y

        a nothing to do

          certs     etcd-server-a (renew: 12 days left)
                    `machinist certs gen` makes them
          rotation  etcd-ca: it is being rotated
          waves     1. b, 2. a
          quorum    2 of 3 stay
        0 to change, 1 unchanged"#]],
    );
}

#[test]
fn versions_that_may_not_run_beside_each_other_are_told() {
    let mut report = told(vec![("a", NodePlan::Changes(Box::new(first())))]);
    let problem = |refuses, text: &str, hint: Option<&str>| Problem {
        node: name("a"),
        kind: ProblemKind::Skew,
        refuses,
        text: text.to_owned(),
        hint: hint.map(str::to_owned),
    };
    report.plan.skew = vec![
        problem(true, "its API server would go from Kubernetes 1.34 to 1.36 in one step", Some("deploy 1.35 first")),
        problem(false, "its version of Kubernetes is not known: no route", None),
    ];
    check(
        &report,
        false,
        4,
        &expect![[r#"
        a
          system    bbbbbbbb, the first one
          send      14 of 412 paths, 2.4 MiB
          start     everything: it is the first deploy

          versions  a: its API server would go from Kubernetes 1.34 to 1.36 in one step. A deploy refuses that
                    a: its version of Kubernetes is not known: no route
          hint      deploy 1.35 first
        1 to change, 0 unchanged"#]],
    );
}

#[test]
fn an_order_that_is_not_safe_is_told() {
    let mut report = told(vec![("a", NodePlan::Changes(Box::new(first())))]);
    report.plan.refusal = Some("a new etcd cluster of 3 members needs 2 members at once".to_owned());
    check(
        &report,
        false,
        4,
        &expect![[r#"
        a
          system    bbbbbbbb, the first one
          send      14 of 412 paths, 2.4 MiB
          start     everything: it is the first deploy

          refused   a new etcd cluster of 3 members needs 2 members at once
        1 to change, 0 unchanged"#]],
    );
}

#[test]
fn a_full_boot_and_what_the_running_cluster_cannot_take_are_announced() {
    let full_boot = Some(FullBoot { at: "/efi".to_owned(), free: 10 << 20, needed: 42 << 20 });
    let mut report = told(vec![("a", NodePlan::Changes(Box::new(Changes { full_boot, ..first() })))]);
    let [path, running, wanted, remedy] =
        ["machines.a.ip", "10.0.0.1", "10.0.0.9", "restore the recorded address"].map(str::to_owned);
    report.conflicts.push(Conflict { path, running, wanted, remedy });
    check(
        &report,
        false,
        4,
        &expect![[r#"
        a
          system    bbbbbbbb, the first one
          send      14 of 412 paths, 2.4 MiB
          boot      only 10.0 MiB free in /efi, kernel and initrd need 42.0 MiB: a deploy refuses that
          hint      fewer old generations on the host: `machinist gc NODE --keep 3`
          start     everything: it is the first deploy

          refused   machines.a.ip: 10.0.0.1 -> 10.0.0.9: the running cluster cannot take that
          hint      restore the recorded address
        1 to change, 0 unchanged"#]],
    );
}

#[test]
fn a_system_that_only_a_boot_can_bring_is_told_with_the_reason_and_the_way() {
    let loader = |cannot: Option<&str>| Loader { name: "systemd-boot".to_owned(), cannot: cannot.map(str::to_owned) };
    let boot = PlannedBoot {
        why: vec![
            "dbus-implementation: dbus -> broker".to_owned(),
            "init interface: systemd 2 -> systemd 3".to_owned(),
        ],
        required: true,
        left_after: Some(1800),
        loader: loader(None),
        refused: None,
        hint: None,
    };
    let only = Changes { boot: Some(boot.clone()), reboots: true, units: Vec::new(), reboot: None, ..first() };
    let only = Changes { running: Some(system("a")), paths_to_send: 0, ..only };
    check(
        &told(vec![("a", NodePlan::Changes(Box::new(only.clone())))]),
        false,
        4,
        &expect![[r#"
            a
              system    aaaaaaaa -> bbbbbbbb
              boot      needs a reboot, because only a boot can bring this system:
                        dbus-implementation: dbus -> broker
                        init interface: systemd 2 -> systemd 3
              then      systemd-boot boots it once; confirmed, it is the default; any other boot is the old system
              or else   the machine leaves a boot that is not confirmed within 1800 s by itself

            1 to change, 0 unchanged"#]],
    );
    let kernel = PlannedBoot {
        why: vec!["kernel 6.12.1 -> 6.12.9".to_owned()],
        required: false,
        left_after: None,
        ..boot.clone()
    };
    check(
        &told(vec![("a", NodePlan::Changes(Box::new(Changes { boot: Some(kernel), ..only.clone() })))]),
        false,
        4,
        &expect![[r#"
            a
              system    aaaaaaaa -> bbbbbbbb
              boot      reboots, for kernel 6.12.1 -> 6.12.9
              then      systemd-boot boots it once; confirmed, it is the default; any other boot is the old system
              or else   only a person at its console leaves a boot that does not come up: see `machinist.boot.fallback`

            1 to change, 0 unchanged"#]],
    );
    let [refused, hint] = ["only a boot can bring its system: x", "`--reboot auto` boots it once"].map(str::to_owned);
    let never = PlannedBoot { refused: Some(refused), hint: Some(hint), ..boot.clone() };
    check(
        &told(vec![("a", NodePlan::Changes(Box::new(Changes { boot: Some(never.clone()), ..only.clone() })))]),
        false,
        4,
        &expect![[r#"
            a
              system    aaaaaaaa -> bbbbbbbb
              boot      needs a reboot, because only a boot can bring this system:
                        dbus-implementation: dbus -> broker
                        init interface: systemd 2 -> systemd 3
              refused   by a deploy that does not reboot
              hint      `--reboot auto` boots it once

            1 to change, 0 unchanged"#]],
    );
    let cannot = PlannedBoot { loader: loader(Some("its default is unknown")), ..never };
    check(
        &told(vec![("a", NodePlan::Changes(Box::new(Changes { boot: Some(cannot), ..only })))]),
        false,
        4,
        &expect![[r#"
            a
              system    aaaaaaaa -> bbbbbbbb
              boot      needs a reboot, because only a boot can bring this system:
                        dbus-implementation: dbus -> broker
                        init interface: systemd 2 -> systemd 3
              refused   its boot loader (systemd-boot) cannot boot it once: its default is unknown
              hint      `--reboot auto` boots it once

            1 to change, 0 unchanged"#]],
    );
}

#[test]
fn a_system_that_runs_already_only_boots_or_gets_its_keys() {
    let mut boots = Changes {
        running: Some(system("b")),
        units: Vec::new(),
        closure: None,
        paths_to_send: 0,
        systemd_reexec: false,
        reboot: None,
        reboots: false,
        ..changes()
    };
    let both = |changes: &Changes| told(vec![("a", NodePlan::Changes(Box::new(changes.clone())))]);
    check(
        &both(&boots),
        false,
        4,
        &expect![[r#"
            a
              system    bbbbbbbb runs already and will boot
              keys      to put in place: etcd-server
              units     none stops, starts, restarts or reloads
              dry run   would stop the following units: etcd.service
                        would activate the configuration...

            1 to change, 0 unchanged"#]],
    );
    boots.boots = Some(system("b"));
    check(
        &both(&boots),
        false,
        4,
        &expect![[r#"
            a
              system    bbbbbbbb runs and boots already
              keys      to put in place: etcd-server
              units     none stops, starts, restarts or reloads
              dry run   would stop the following units: etcd.service
                        would activate the configuration...

            1 to change, 0 unchanged"#]],
    );
}
