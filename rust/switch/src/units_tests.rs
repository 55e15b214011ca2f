#![allow(clippy::unwrap_used)]
use std::collections::BTreeSet;

use super::{Active, Switch, UnitTree, Units, decide};
use crate::consequences::{Action, consequences};

/// Builds a tree from lines: `a.service: Service.X=1 Unit.Y=2`, `m.target.wants/a.service`, `masked: a.service`,
/// `alias: b.service a.service`. Words that begin with a section's name are its keys.
fn tree(text: &str) -> UnitTree {
    let mut tree = UnitTree::default();
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
        match line.split_once(':') {
            None => drop(tree.links.insert(line.to_owned())),
            Some(("masked", unit)) => drop(tree.masked.insert(unit.trim().to_owned())),
            Some(("alias", names)) => {
                let (alias, name) = names.trim().split_once(' ').unwrap();
                tree.aliases.insert(alias.to_owned(), name.to_owned());
            }
            Some((path, keys)) => {
                let mut file = String::new();
                for key in keys.split_whitespace() {
                    let (section, assignment) = key.split_once('.').unwrap();
                    file.push_str(&format!("[{section}]\n{assignment}\n"));
                }
                tree.files.insert(path.to_owned(), file);
            }
        }
    }
    tree
}

/// `a.service` is active; `a.service=failed` is in that state; `a.service>/run/x` has its file there.
fn units(active: &str, old: &str) -> Units {
    let mut units = Units { tree: tree(old), ..Units::default() };
    for word in active.split_whitespace() {
        let (word, fragment) = word.split_once(">").unwrap_or((word, "/etc/systemd/system"));
        let (name, state) = word.split_once('=').unwrap_or((word, "active"));
        units
            .active
            .insert(name.to_owned(), Active { state: state.to_owned(), fragment: format!("{fragment}/{name}") });
    }
    units
}

/// The sets of a switch as text, without the targets that every switch starts again.
fn sets(switch: &Switch) -> String {
    let shown = |set: &BTreeSet<String>| {
        set.iter().filter(|unit| !switch.targets.contains(*unit)).cloned().collect::<Vec<_>>().join(" ")
    };
    let kinds = [
        ("stop", &switch.stop),
        ("keep", &switch.keep),
        ("reload", &switch.reload),
        ("restart", &switch.restart),
        ("start", &switch.start),
    ];
    let words: Vec<String> = kinds
        .iter()
        .map(|(kind, set)| (kind, shown(set)))
        .filter(|(_, set)| !set.is_empty())
        .map(|(kind, set)| format!("{kind} {set}"))
        .collect();
    words.join(", ")
}

#[track_caller]
fn check(active: &str, old: &str, new: &str, expect: &str) {
    assert_eq!(sets(&decide(&units(active, old), &tree(new))), expect, "\n{old}\n->\n{new}");
}

/// Checks the final effects on the units.
#[track_caller]
fn check_end(active: &str, old: &str, new: &str, expect: &str) {
    let (units, new) = (units(active, old), tree(new));
    let changes = consequences(&decide(&units, &new), &units, &new);
    let words: Vec<String> = changes
        .iter()
        .map(|change| {
            let verb = match change.action {
                Action::Stop => "stop",
                Action::Restart => "restart",
                Action::Reload => "reload",
                Action::Start => "start",
                Action::Keep => "keep",
                Action::Again => "again",
            };
            format!("{verb} {} ({})", change.unit, change.why.join("; "))
        })
        .collect();
    assert_eq!(words.join(", "), expect);
}

#[test]
fn an_unchanged_unit_is_left_alone() {
    check("a.service", "a.service: Service.ExecStart=1", "a.service: Service.ExecStart=1", "");
}

#[test]
fn a_changed_service_is_stopped_before_and_started_after_the_activation() {
    check(
        "a.service",
        "a.service: Service.ExecStart=1",
        "a.service: Service.ExecStart=2",
        "stop a.service, start a.service",
    );
}

#[test]
fn a_service_that_is_starting_counts_as_running_and_a_failed_one_does_not() {
    let (old, new) = ("a.service: Service.ExecStart=1", "a.service: Service.ExecStart=2");
    check("a.service=activating", old, new, "stop a.service, start a.service");
    check("a.service=failed", old, new, "");
    check("", old, new, "");
}

#[test]
fn without_stop_if_changed_it_is_restarted() {
    let new = "a.service: Service.ExecStart=2 Service.X-StopIfChanged=false";
    check("a.service", "a.service: Service.ExecStart=1", new, "restart a.service");
}

#[test]
fn with_reload_if_changed_it_is_reloaded() {
    let new = "a.service: Service.ExecStart=2 Service.X-ReloadIfChanged=true";
    check("a.service", "a.service: Service.ExecStart=1", new, "reload a.service");
}

#[test]
fn without_restart_if_changed_it_runs_on() {
    let old = "a.service: Service.ExecStart=1";
    check("a.service", old, "a.service: Service.ExecStart=2 Service.X-RestartIfChanged=false", "keep a.service");
    check("a.service", old, "a.service: Service.ExecStart=2 Unit.RefuseManualStop=true", "keep a.service");
    check("a.service", old, "a.service: Service.ExecStart=2 Unit.X-OnlyManualStart=true", "keep a.service");
}

#[test]
fn triggers_restart_or_reload_as_they_say() {
    let trigger = |kind: &str, value: u8| format!("a.service: Unit.X-{kind}-Triggers={value}");
    check("a.service", &trigger("Restart", 1), &trigger("Restart", 2), "stop a.service, start a.service");
    check("a.service", &trigger("Reload", 1), &trigger("Reload", 2), "reload a.service");
}

#[test]
fn a_oneshot_that_remains_is_run_again_when_it_changes_and_one_that_ended_is_not_asked() {
    let remains =
        |value: u8| format!("a.service: Service.Type=oneshot Service.RemainAfterExit=true Service.ExecStart={value}");
    check("a.service", &remains(1), &remains(2), "stop a.service, start a.service");
    check("", &remains(1), &remains(2), "");
}

#[test]
fn a_unit_that_is_gone_or_masked_stops_unless_it_says_otherwise() {
    check("a.service", "a.service: Service.ExecStart=1", "", "stop a.service");
    check("a.service", "a.service: Service.ExecStart=1", "masked: a.service", "stop a.service");
    check("a.service", "a.service: Unit.X-StopOnRemoval=false", "", "");
}

#[test]
fn a_change_of_who_wants_it_is_none_of_the_unit() {
    check(
        "a.service m.target",
        "a.service: Service.ExecStart=1\nm.target:",
        "a.service: Service.ExecStart=1\nm.target:\nm.target.wants/a.service",
        "",
    );
}

#[test]
fn what_extends_a_unit_counts_as_the_unit() {
    let old = "a.service: Service.ExecStart=1";
    check("a.service", old, &format!("{old}\na.service.d/x.conf: Service.User=x"), "stop a.service, start a.service");
    let extended = |value: u8| format!("{old}\na.service.d/x.conf: Service.Nice={value}");
    check("a.service", &extended(1), &extended(2), "stop a.service, start a.service");
    check("a.service", &extended(1), &extended(1), "");
    let reload = format!("{old}\na.service.d/x.conf: Service.Nice=2 Service.X-ReloadIfChanged=true");
    check("a.service", &extended(1), &reload, "reload a.service");
}

#[test]
fn an_instance_is_compared_by_its_template() {
    check(
        "a@1.service a@2.service",
        "a@.service: Service.A=1",
        "a@.service: Service.A=2",
        "stop a@1.service a@2.service, start a@1.service a@2.service",
    );
    check(
        "a@1.service",
        "a@.service: Service.A=1\na@1.service.d/x.conf: Service.B=1",
        "a@.service: Service.A=1\na@1.service.d/x.conf: Service.B=2",
        "stop a@1.service, start a@1.service",
    );
}

#[test]
fn an_instance_that_only_drop_ins_made_goes_with_them_and_one_started_by_hand_stays() {
    let template = "a@.service: Service.A=1";
    check(
        "a@1.service a@2.service",
        &format!("{template}\na@1.service.d/x.conf: Service.B=1"),
        template,
        "stop a@1.service",
    );
}

#[test]
fn a_socket_takes_the_place_of_its_service() {
    let (old, new) = ("a.service: Service.A=1\na.socket:", "a.service: Service.A=2\na.socket:");
    check("a.service a.socket", old, new, "stop a.service a.socket, start a.socket");
    check("a.service", "a.service: Service.A=1", new, "stop a.service");
    check("a.service a.socket", old, "a.service: Service.A=2", "stop a.service a.socket, start a.service");
    let opts_out = "a.service: Service.A=2 Service.X-NotSocketActivated=true\na.socket:";
    check("a.service a.socket", old, opts_out, "stop a.service a.socket, start a.service a.socket");
}

#[test]
fn sockets_that_the_service_names_count_and_a_template_s_socket_has_no_at() {
    let new = "a.service: Service.A=2 Service.Sockets=x.socket\nx.socket:";
    check("a.service x.socket", "a.service: Service.A=1\nx.socket:", new, "stop a.service x.socket, start x.socket");
    check(
        "a@1.service a.socket",
        "a@.service: Service.A=1\na.socket:",
        "a@.service: Service.A=2\na.socket:",
        "stop a.socket a@1.service, start a.socket",
    );
}

#[test]
fn slices_paths_and_sockets_are_not_restarted() {
    check(
        "a.slice a.path a.socket",
        "a.slice: Slice.A=1\na.path: Path.A=1\na.socket: Socket.A=1",
        "a.slice: Slice.A=2\na.path: Path.A=2\na.socket: Socket.A=2",
        "",
    );
}

#[test]
fn timers_are_restarted() {
    check("a.timer", "a.timer: Timer.OnCalendar=1", "a.timer: Timer.OnCalendar=2", "restart a.timer");
}

#[test]
fn mounts_are_mounted_anew_or_remounted_and_the_ones_in_use_are_not_unmounted() {
    check("x.mount", "x.mount: Mount.What=1", "x.mount: Mount.What=2", "restart x.mount");
    check("x.mount", "x.mount: Mount.Options=1", "x.mount: Mount.Options=2", "reload x.mount");
    check(
        "nix.mount -.mount",
        "nix.mount: Mount.What=1\n-.mount: Mount.What=1",
        "nix.mount: Mount.What=2\n-.mount: Mount.What=2",
        "reload -.mount nix.mount",
    );
}

#[test]
fn active_targets_are_started_again_without_a_word() {
    let switch = decide(
        &units("m.target s.target suspend.target", "m.target:\ns.target: Unit.RefuseManualStart=true\nsuspend.target:"),
        &tree("m.target:\ns.target: Unit.RefuseManualStart=true\nsuspend.target:"),
    );
    assert_eq!(switch.targets.into_iter().collect::<Vec<_>>(), ["m.target"]);
}

#[test]
fn units_of_generators_and_of_people_are_not_touched() {
    check("a.mount>/run/systemd/generator", "a.mount: Mount.A=1", "a.mount: Mount.A=2", "");
    check("a.service>/run/systemd/transient", "", "a.service: Service.A=2", "");
    check("a.service", "", "", "");
}

#[test]
fn on_another_distribution_its_own_files_lie_beneath() {
    let mut units = units("s.service>/usr/lib/systemd/system t.service>/usr/lib/systemd/system", "");
    units.machine.insert("s.service".to_owned(), "[Service]\nExecStart=1\n".to_owned());
    units.machine.insert("t.service".to_owned(), "[Unit]\nRefuseManualStop=yes\n".to_owned());
    let extended = "s.service.d/x.conf: Service.Nice=1\nt.service.d/x.conf: Service.Nice=1";
    assert_eq!(sets(&decide(&units, &tree(extended))), "stop s.service, keep t.service, start s.service");
    units.tree = tree(extended);
    assert_eq!(sets(&decide(&units, &tree(extended))), "");
    assert_eq!(sets(&decide(&units, &tree(""))), "stop s.service, keep t.service, start s.service");
}

#[test]
fn what_an_interrupted_switch_had_to_do_is_still_to_be_done() {
    let mut units = units("a.service", "a.service:");
    units.interrupted.restart.insert("a.service".to_owned());
    assert_eq!(sets(&decide(&units, &tree("a.service:"))), "restart a.service");
}

#[test]
fn stopped_and_started_is_a_restart_with_the_keys_that_differ() {
    check_end(
        "a.service",
        "a.service: Service.A=1 Unit.After=x",
        "a.service: Service.A=2",
        "restart a.service (Service.A; Unit.After)",
    );
}

#[test]
fn a_service_behind_a_socket_waits_for_its_next_caller() {
    check_end(
        "a.service a.socket",
        "a.service: Service.A=1\na.socket:",
        "a.service: Service.A=2\na.socket:",
        "stop a.service (Service.A; a socket starts it again when it is asked for), restart a.socket (a.service changes)",
    );
}

#[test]
fn a_unit_that_runs_on_says_which_rule_keeps_it() {
    check_end(
        "a.service",
        "a.service: Service.A=1",
        "a.service: Service.A=2 Unit.RefuseManualStop=true",
        "keep a.service (it refuses to be stopped; differs in Service.A)",
    );
}

#[test]
fn a_new_unit_starts_if_an_active_target_wants_it_by_whatever_way() {
    let start = "start n.service (it is new)";
    check_end("m.target", "m.target:", "m.target:\nn.service:\nm.target.wants/n.service", start);
    check_end("m.target", "m.target:", "m.target:\nn.service:\nm.target.requires/n.service", start);
    check_end("m.target", "m.target:", "m.target: Unit.Wants=n.service\nn.service:", start);
    check_end(
        "m.target",
        "m.target:",
        "m.target:\nx.target:\nm.target.wants/x.target\nx.target.wants/n.service\nn.service:",
        "start n.service (it is new), start x.target (it is new)",
    );
    check_end("m.target", "m.target:", "m.target:\nn.service:", "");
    check_end("m.target", "m.target:", "m.target:\nmasked: n.service\nm.target.wants/n.service", "");
}

#[test]
fn a_unit_that_is_newly_wanted_starts() {
    check_end(
        "m.target",
        "m.target:\na.service:",
        "m.target:\na.service:\nm.target.wants/a.service",
        "start a.service (it is wanted now)",
    );
    check_end("m.target a.service", "m.target:\na.service:", "m.target:\na.service:\nm.target.wants/a.service", "");
}

#[test]
fn an_alias_is_the_unit_that_it_stands_for() {
    check_end(
        "m.target a.service",
        "m.target:\na.service:",
        "m.target:\na.service:\nalias: z.service a.service\nm.target.wants/z.service",
        "",
    );
}

#[test]
fn failed_and_stopped_units_are_tried_again_and_ended_oneshots_run_again() {
    let same = "m.target:\na.service:\nb.service:\nc.service: Service.Type=oneshot\nd.service: Unit.ConditionPathExists=/x\n\
                m.target.wants/a.service\nm.target.wants/b.service\nm.target.wants/c.service\nm.target.wants/d.service";
    check_end(
        "m.target a.service=failed",
        same,
        same,
        "start a.service (it has failed and is tried again), start b.service (it is not running now), \
         again c.service (it is not running now), again d.service (it is not running now)",
    );
}

#[test]
fn what_is_bound_to_a_unit_goes_down_with_it_and_comes_back_if_it_is_wanted() {
    let text = |value: u8| {
        format!(
            "m.target:\na.service: Service.A={value}\nb.service: Unit.Requires=a.service\nc.service: Unit.PartOf=b.service\nd.service: Unit.After=a.service Unit.Wants=a.service\n\
                 m.target.wants/a.service\nm.target.wants/b.service\nm.target.wants/c.service"
        )
    };
    check_end(
        "m.target a.service b.service c.service d.service",
        &text(1),
        &text(2),
        "restart a.service (Service.A), restart b.service (with a.service), restart c.service (with b.service)",
    );
}

#[test]
fn what_needs_a_unit_that_is_gone_stops_with_it() {
    check_end(
        "a.service b.service",
        "a.service:\nb.service: Unit.BindsTo=a.service",
        "b.service: Unit.BindsTo=a.service",
        "stop a.service (the new system does not have it), stop b.service (with a.service)",
    );
}

#[test]
fn what_needs_a_unit_that_is_gone_cannot_come_back_even_if_it_is_wanted() {
    let rest = "m.target:\nb.service: Unit.Requires=a.service\nc.service: Unit.BindsTo=b.service\n\
                m.target.wants/b.service\nm.target.wants/c.service";
    check_end(
        "m.target a.service b.service c.service",
        &format!("a.service:\n{rest}"),
        rest,
        "stop a.service (the new system does not have it), stop b.service (with a.service), stop c.service (with b.service)",
    );
}
