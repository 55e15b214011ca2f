//! Plan as text for people: the result of `machinist plan`, printed to stdout in full.

use machinist_model::NodeName;
use machinist_nix::StorePath;
use machinist_operations::plan::{Certificate, Report};
use machinist_rollout::{
    plan::{Action, Bytes, Changes, ClosureDiff, FullBoot, NodePlan, Package, Plan, PlannedBoot, UnitChange, Verdict},
    preflight::{FEWER_GENERATIONS, Problem},
};

use crate::ui::{Tone, Ui, indent};

/// Maximum number of list items without `--verbose`.
const SHOWN: usize = 6;

/// Maximum number of diff lines without `--verbose`.
const DIFF_LINES: usize = 24;

/// Smallest growth of a closure or a package that is shown, in bytes: most changes of a setting grow by a few.
const LEAST_GROWTH: u64 = 64 << 10;

/// Width of the label column.
const LABEL: usize = 10;

/// Returns the complete text.
pub fn report(report: &Report, ui: Ui) -> String {
    let mut lines = Vec::new();
    facts(report, ui, &mut lines);
    for (node, plan) in &report.plan.nodes {
        self::node(node, plan, ui, &mut lines);
    }
    lines.push(String::new());
    whole(report, ui, &mut lines);
    lines.push(summary(&report.plan, ui));
    lines.join("\n")
}

fn label(ui: Ui, name: &str, text: &str) -> String {
    let label = ui.paint(Tone::Faint, &format!("{name:<LABEL$}"));
    format!("  {label}{}", indent(text, &" ".repeat(LABEL + 2)))
}

fn facts(report: &Report, ui: Ui, lines: &mut Vec<String>) {
    if report.generated.is_empty() {
        return;
    }
    lines.push(
        "generated/ is stale. This plan is of the facts as they will be; `machinist generate` or a deploy writes them."
            .to_owned(),
    );
    let diffs: Vec<&str> = report.generated.values().flat_map(|change| change.diff.lines()).collect();
    let shown = if ui.verbose { diffs.len() } else { diffs.len().min(DIFF_LINES) };
    lines.extend(diffs[..shown].iter().map(|line| colored(ui, line)));
    if shown < diffs.len() {
        lines.push(format!("({} more lines: --verbose, or `machinist generate --check`)", diffs.len() - shown));
    }
    lines.push(String::new());
}

fn colored(ui: Ui, line: &str) -> String {
    match line.as_bytes().first() {
        Some(b'+') => ui.paint(Tone::Good, line),
        Some(b'-') => ui.paint(Tone::Bad, line),
        _ => line.to_owned(),
    }
}

fn node(name: &NodeName, plan: &NodePlan, ui: Ui, lines: &mut Vec<String>) {
    let strong = ui.paint(Tone::Strong, name.as_str());
    let (what, why, hint) = match plan {
        NodePlan::Unchanged { .. } => return lines.push(format!("{strong} {}", ui.paint(Tone::Good, "nothing to do"))),
        NodePlan::Changes(changes) => {
            lines.push(strong);
            return self::changes(changes, ui, lines);
        }
        NodePlan::Silent { why, hint } => ("could not be asked:", why, hint),
        NodePlan::NotReady { why, hint } => ("is not ready:", why, hint),
    };
    lines.push(format!("{strong} {} {}", ui.paint(Tone::Bad, what), indent(why, "  ")));
    lines.extend(hint.iter().map(|hint| label(ui, "hint", hint)));
}

fn changes(changes: &Changes, ui: Ui, lines: &mut Vec<String>) {
    let mut say = |name: &str, text: &str| lines.push(label(ui, name, text));
    say("system", &system(changes));
    if changes.paths_to_send > 0 {
        let (count, all, bytes) = (changes.paths_to_send, changes.paths, size(changes.bytes_to_send));
        say("send", &format!("{count} of {all} paths, {bytes}"));
    }
    if let Some(free) = changes.too_little_room {
        say("room", &ui.paint(Tone::Bad, &format!("only {} free in /nix/store: a deploy refuses that", size(free))));
    }
    if let Some(FullBoot { at, free, needed }) = &changes.full_boot {
        let (free, needed) = (size(*free), size(*needed));
        let text = format!("only {free} free in {at}, kernel and initrd need {needed}: a deploy refuses that");
        say("boot", &ui.paint(Tone::Bad, &text));
        say("hint", FEWER_GENERATIONS);
    }
    if !changes.keys.is_empty() {
        let leaves: Vec<String> = changes.keys.iter().map(|key| leaf(key)).collect();
        say("keys", &format!("to put in place: {}", list(leaves, false)));
    }
    if let Some(closure) = &changes.closure {
        if let Some(bytes) = closure.bytes.filter(|bytes| bytes.growth().unsigned_abs() >= LEAST_GROWTH) {
            say("closure", &total(bytes));
        }
        for text in packages(closure, ui.verbose) {
            say("packages", &text);
        }
    }
    if changes.running.is_none() {
        say("start", "everything: it is the first deploy");
    }
    if let Some(boot) = &changes.boot {
        self::boot(boot, ui, &mut say);
    } else {
        units(changes, ui, &mut say);
    }
    if changes.systemd_reexec {
        say("systemd", "executes itself anew; units run on meanwhile");
    }
    if let Some(text) = reboot(changes) {
        say("reboot", &ui.paint(Tone::Careful, &text));
    }
    if let Some(text) = &changes.dry_run {
        say("dry run", text);
    }
}

fn boot(boot: &PlannedBoot, ui: Ui, say: &mut impl FnMut(&str, &str)) {
    let why = boot.why.join("\n");
    let reason = if boot.required {
        format!("needs a reboot, because only a boot can bring this system:\n{why}")
    } else {
        format!("reboots, for {}", boot.why.join(", "))
    };
    say("boot", &ui.paint(Tone::Careful, &reason));
    let loader = &boot.loader;
    if boot.refused.is_some() {
        let text = loader.cannot.as_ref().map_or_else(
            || "by a deploy that does not reboot".to_owned(),
            |cannot| format!("its boot loader ({}) cannot boot it once: {cannot}", loader.name),
        );
        say("refused", &ui.paint(Tone::Bad, &text));
        return boot.hint.iter().for_each(|hint| say("hint", hint));
    }
    let text = format!("{} boots it once; confirmed, it is the default; any other boot is the old system", loader.name);
    say("then", &text);
    let text = boot.left_after.map_or_else(
        || "only a person at its console leaves a boot that does not come up: see `machinist.boot.fallback`".to_owned(),
        |seconds| format!("the machine leaves a boot that is not confirmed within {seconds} s by itself"),
    );
    say("or else", &text);
}

fn reboot(changes: &Changes) -> Option<String> {
    if changes.boot.is_some() {
        return None;
    }
    let why = changes.reboot.as_ref().map(|reboot| reboot.why.join(", "));
    let was_due = changes.reboot.as_ref().is_some_and(|reboot| reboot.was_due);
    Some(match (changes.reboots, why) {
        (true, Some(why)) => format!("after the change, for {why}"),
        (true, None) => "after the change, because it is asked for".to_owned(),
        (false, Some(why)) if was_due => format!("was needed before already, for {why}; `--reboot auto` does that"),
        (false, Some(why)) => format!("is needed for {why}; `--reboot auto` does that"),
        (false, None) => return None,
    })
}

fn units(changes: &Changes, ui: Ui, say: &mut impl FnMut(&str, &str)) {
    let kinds = [
        (Action::Stop, "stop"),
        (Action::Restart, "restart"),
        (Action::Reload, "reload"),
        (Action::Start, "start"),
        (Action::Keep, "keep"),
    ];
    let mut any = false;
    for (action, verb) in kinds {
        let units: Vec<&UnitChange> = changes.units_that(action).collect();
        if !units.is_empty() {
            any = true;
            say(verb, &told(&units, ui.verbose));
        }
    }
    let again: Vec<&UnitChange> = changes.units_that(Action::Again).collect();
    if ui.verbose && !again.is_empty() {
        say("again", &told(&again, true));
    }
    if !any && changes.running.is_some() {
        say("units", "none stops, starts, restarts or reloads");
    }
}

/// Lists units, with their reasons if the list is short.
fn told(units: &[&UnitChange], verbose: bool) -> String {
    let reasons = verbose || units.len() <= 3;
    let word = |change: &&UnitChange| match change.why.as_slice() {
        why if reasons && !why.is_empty() => format!("{} ({})", change.unit, list_of(why, verbose)),
        _ => change.unit.clone(),
    };
    list(units.iter().map(word).collect(), verbose)
}

fn list_of(why: &[String], verbose: bool) -> String {
    let shown = if verbose { why.len() } else { why.len().min(3) };
    let more = if shown < why.len() { format!(", {} more", why.len() - shown) } else { String::new() };
    why[..shown].join(", ") + &more
}

fn list(items: Vec<String>, verbose: bool) -> String {
    if verbose {
        return items.join("\n");
    }
    let more = items.len().saturating_sub(SHOWN);
    let shown = items.into_iter().take(SHOWN).collect::<Vec<_>>().join(", ");
    if more > 0 { format!("{shown} and {more} more") } else { shown }
}

fn system(changes: &Changes) -> String {
    let new = short(&changes.system);
    match &changes.running {
        None => format!("{new}, the first one"),
        Some(running) if *running != changes.system => format!("{} -> {new}", short(running)),
        Some(_) if changes.boots.as_ref() == Some(&changes.system) => format!("{new} runs and boots already"),
        Some(_) => format!("{new} runs already and will boot"),
    }
}

/// Returns a prefix of the hash, which is enough to distinguish systems.
fn short(path: &StorePath) -> String {
    path.as_str().trim_start_matches("/nix/store/").chars().take(8).collect()
}

/// Returns `etcd-server` for `etcd-server-0123456789abcdef.key`.
fn leaf(key: &str) -> String {
    let stem = key.strip_suffix(".key").unwrap_or(key);
    stem.rsplit_once('-').map_or(stem, |(leaf, _)| leaf).to_owned()
}

fn size(bytes: u64) -> String {
    match bytes {
        0..1024 => format!("{bytes} B"),
        1024..1_048_576 => format!("{} KiB", bytes.div_ceil(1024)),
        _ => format!("{:.1} MiB", bytes as f64 / 1_048_576.0),
    }
}

/// Formats the sizes of both closures, such as `812.3 MiB -> 824.0 MiB (+11.7 MiB)`.
fn total(bytes: Bytes) -> String {
    format!("{} -> {} ({})", size(bytes.from), size(bytes.to), signed(bytes.growth()))
}

fn signed(bytes: i64) -> String {
    format!("{}{}", if bytes < 0 { "-" } else { "+" }, size(bytes.unsigned_abs()))
}

/// Returns the growth in parentheses. Changes of a few KiB say nothing and are left out.
fn grown(growth: Option<i64>) -> String {
    growth
        .filter(|bytes| bytes.unsigned_abs() >= LEAST_GROWTH)
        .map_or_else(String::new, |bytes| format!(" ({})", signed(bytes)))
}

/// Packages with versions are listed by name. Configuration files have no version and are only counted without
/// `--verbose`.
fn packages(diff: &ClosureDiff, verbose: bool) -> Vec<String> {
    let versions = |versions: &[String]| if versions.is_empty() { "none".to_owned() } else { versions.join(", ") };
    let named = |sign: &str, package: &Package| {
        let name = format!("{sign} {} {}", package.name, package.versions.join(", "));
        format!("{}{}", name.trim_end(), grown(package.growth))
    };
    let mut items = Vec::new();
    let mut counted = 0;
    for change in &diff.changed {
        let growth = grown(change.growth);
        items.push(format!("{} {} -> {}{growth}", change.name, versions(&change.from), versions(&change.to)));
    }
    for (sign, packages) in [("+", &diff.added), ("-", &diff.removed), ("~", &diff.rebuilt)] {
        for package in packages {
            if verbose || (!package.versions.is_empty() && sign != "~") {
                items.push(named(sign, package));
            } else {
                counted += 1;
            }
        }
    }
    let mut texts = Vec::new();
    if !items.is_empty() {
        texts.push(list(items, verbose));
    }
    if counted > 0 {
        let noun = if counted == 1 { "path differs" } else { "paths differ" };
        texts.push(format!("{counted} other {noun} without another version"));
    }
    if texts.len() == 2 && !verbose { vec![texts.join("; ")] } else { texts }
}

/// Renders the part that concerns all nodes.
fn whole(report: &Report, ui: Ui, lines: &mut Vec<String>) {
    let plan = &report.plan;
    if !report.certificates.is_empty() {
        let word = |certificate: &Certificate| {
            format!("{} ({}: {})", certificate.name, certificate.state, certificate.because)
        };
        let text = list(report.certificates.iter().map(word).collect(), ui.verbose);
        let text = format!("{text}\n`machinist certs gen` makes them");
        lines.push(label(ui, "certs", &ui.paint(Tone::Careful, &text)));
    }
    if !report.rotations.is_empty() {
        let text = list(report.rotations.clone(), ui.verbose);
        lines.push(label(ui, "rotation", &ui.paint(Tone::Careful, &text)));
    }
    for conflict in &report.conflicts {
        let text = format!("{conflict}: the running cluster cannot take that");
        lines.push(label(ui, "refused", &ui.paint(Tone::Bad, &text)));
        lines.push(label(ui, "hint", &conflict.remedy));
    }
    if let Some(refusal) = &plan.refusal {
        lines.push(label(ui, "refused", &ui.paint(Tone::Bad, refusal)));
    }
    if !plan.waves.is_empty() {
        let wave = |(number, wave): (usize, &machinist_rollout::waves::Wave)| {
            let nodes: Vec<&str> = wave.nodes.iter().map(NodeName::as_str).collect();
            format!("{number}. {}", nodes.join(" "))
        };
        let waves: Vec<String> = (1..).zip(&plan.waves).map(wave).collect();
        lines.push(label(ui, "waves", &list(waves, ui.verbose)));
    }
    if !plan.skew.is_empty() {
        let refusal = |refuses: bool| if refuses { ". A deploy refuses that" } else { "" };
        let text = |problem: &Problem| format!("{}: {}{}", problem.node, problem.text, refusal(problem.refuses));
        let tone = if plan.skew.iter().any(|problem| problem.refuses) { Tone::Bad } else { Tone::Careful };
        let text = plan.skew.iter().map(text).collect::<Vec<_>>().join("\n");
        lines.push(label(ui, "versions", &ui.paint(tone, &text)));
        let hint = plan.skew.iter().find_map(|problem| problem.hint.as_deref());
        lines.extend(hint.map(|hint| label(ui, "hint", hint)));
    }
    if let Some(quorum) = &plan.quorum {
        let tone = match quorum.verdict {
            Verdict::Untouched | Verdict::Held | Verdict::New => Tone::Good,
            Verdict::Interrupted | Verdict::Unknown => Tone::Careful,
            Verdict::Refused => Tone::Bad,
        };
        lines.push(label(ui, "quorum", &ui.paint(tone, &quorum.words)));
    }
}

fn summary(plan: &Plan, ui: Ui) -> String {
    let count = |wanted: fn(&NodePlan) -> bool| plan.nodes.values().filter(|node| wanted(node)).count();
    let changing = count(|node| matches!(node, NodePlan::Changes(_)));
    let unchanged = count(|node| matches!(node, NodePlan::Unchanged { .. }));
    let unknown = plan.nodes.len() - changing - unchanged;
    let unknown = if unknown > 0 { ui.paint(Tone::Bad, &format!(", {unknown} not known")) } else { String::new() };
    format!("{changing} to change, {unchanged} unchanged{unknown}")
}

#[cfg(test)]
#[path = "render_tests.rs"]
mod tests;
