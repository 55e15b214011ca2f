//! Deletes old system generations of a host, and collects the garbage of its store.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use machinist_nix::StorePath;
use machinist_remote::Remote;
use serde::Serialize;

use super::StepError;
use crate::{
    HostFacts,
    generations::Generations,
    lock::{Token, run_under},
    script,
};

/// Time limit of one collection.
const BOUND: Duration = Duration::from_secs(3600);

/// Reason why a generation is kept, beyond the number of generations to keep.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kept {
    /// It is among the newest.
    Newest,
    /// It is the one that boots.
    Boots,
    /// It runs.
    Runs,
    /// It was booted, so its kernel modules are in use.
    Booted,
    /// `machinist rollback` returns to it.
    Rollback,
    /// A deploy confirmed it last.
    Confirmed,
    /// The last activation began or ended with it.
    Activation,
}

/// Generations of a host, by what becomes of them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Collection {
    /// Generations that are kept, with the reasons.
    pub kept: BTreeMap<u64, BTreeSet<Kept>>,
    /// Generations to delete.
    pub deleted: BTreeMap<u64, StorePath>,
    /// Systems in use, which are not collected even if no generation has them.
    #[serde(skip)]
    in_use: BTreeSet<StorePath>,
    #[serde(skip)]
    current: Option<StorePath>,
    #[serde(skip)]
    boot_at: Option<String>,
}

/// Returns which generations to delete and which to keep: the newest `keep`, and all that the host may still need. An
/// error is the reason why nothing may be collected there now, with a hint.
///
/// # Errors
/// A system is being activated, or is on trial; or the host has no system of ours.
pub fn collection(facts: &HostFacts, found: &Generations, keep: usize) -> Result<Collection, (String, &'static str)> {
    if let Some(unit) = facts.activations.first() {
        return Err((
            format!("{unit} activates a system now"),
            "wait until it has ended; `machinist unlock` shows whose it is",
        ));
    }
    if facts.trial().is_some() {
        let why = "a system was installed for one boot and is not confirmed yet".to_owned();
        return Err((why, "`machinist deploy --resume`, or a deploy, finishes that"));
    }
    let current = found.current.and_then(|number| Some((number, found.systems.get(&number)?)));
    let Some((current, boots)) = current else {
        return Err(("its system profile has no current generation".to_owned(), "`machinist deploy` makes one"));
    };
    if facts.profile.as_ref() != Some(boots) {
        return Err(("its system profile changed while it was read".to_owned(), "try again"));
    }
    let mut kept: BTreeMap<u64, BTreeSet<Kept>> = BTreeMap::new();
    let newest = found.systems.keys().rev().take(keep.max(1));
    for number in newest {
        kept.entry(*number).or_default().insert(Kept::Newest);
    }
    let last = facts.last.iter().flat_map(|last| [&last.new, &last.old]).flatten();
    let in_use = [
        (Kept::Boots, Some(boots)),
        (Kept::Runs, facts.running.as_ref()),
        (Kept::Booted, facts.booted_system.as_ref()),
        (Kept::Confirmed, facts.confirmed.as_ref()),
    ];
    let in_use = in_use.into_iter().filter_map(|(why, path)| Some((why, path?)));
    let in_use: Vec<(Kept, &StorePath)> = in_use.chain(last.map(|path| (Kept::Activation, path))).collect();
    for (number, path) in &found.systems {
        for (why, _) in in_use.iter().filter(|(_, used)| *used == path) {
            kept.entry(*number).or_default().insert(*why);
        }
    }
    // The first one with another system, even one that a rollback refuses for now.
    if let Some((number, _)) = found.systems.range(..current).rev().find(|(_, path)| *path != boots) {
        kept.entry(*number).or_default().insert(Kept::Rollback);
    }
    let deleted = found.systems.iter().filter(|(number, _)| !kept.contains_key(number));
    Ok(Collection {
        deleted: deleted.map(|(number, path)| (*number, path.clone())).collect(),
        in_use: in_use.into_iter().map(|(_, path)| path.clone()).collect(),
        current: Some(boots.clone()),
        boot_at: facts.boot_at.clone(),
        kept,
    })
}

/// Result of a collection on one host.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Collected {
    /// Bytes that nix has freed in the store; none if it does not say so.
    pub freed: Option<u64>,
    /// Store paths that were deleted.
    pub paths: Option<u64>,
    /// Bytes that were freed on the boot loader's mount, if it has one of its own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub boot_freed: Option<i64>,
}

/// Deletes the generations, writes the boot loader's menu without them, and collects garbage, under the lock.
///
/// # Errors
/// The connection fails, the lock is gone, a generation changed meanwhile, or a command of the host fails: then the
/// generations are as before, unless only the collection failed.
pub fn collect(
    remote: &dyn Remote,
    token: &Token,
    wanted: &Collection,
    bound: Duration,
) -> Result<Collected, StepError> {
    let current = wanted.current.as_ref().map(ToString::to_string).unwrap_or_default();
    let delete: Vec<String> = wanted.deleted.iter().map(|(number, path)| format!("{number} {path}")).collect();
    let keep: Vec<&str> = wanted.in_use.iter().map(StorePath::as_str).collect();
    let variables = [
        ("current", current.as_str()),
        ("delete", &delete.join("\n")),
        ("keep", &keep.join(" ")),
        ("boot_at", wanted.boot_at.as_deref().unwrap_or_default()),
        ("activation_bound", &bound.as_secs().to_string()),
    ];
    let output = run_under(remote, token, "collect garbage", &script::with(&variables, script::GC), BOUND)?;
    Ok(parse(&output.stdout_text()))
}

fn parse(output: &str) -> Collected {
    let mut collected = Collected::default();
    for (key, value) in output.lines().filter_map(|line| line.split_once('=')) {
        match key {
            "collected" => (collected.paths, collected.freed) = summary(value),
            "boot" => collected.boot_freed = value.parse().ok(),
            _ => {}
        }
    }
    collected
}

/// Reads nix's summary, such as `12 store paths deleted, 3.50 MiB freed`.
fn summary(text: &str) -> (Option<u64>, Option<u64>) {
    let paths = text.split_once(" store path").and_then(|(count, _)| count.trim().parse().ok());
    let amount = text.split_once(", ").and_then(|(_, amount)| amount.strip_suffix(" freed"));
    let freed = amount.and_then(|amount| {
        let (number, unit) = amount.trim().split_once(' ')?;
        let power = ["bytes", "KiB", "MiB", "GiB", "TiB"].iter().position(|known| *known == unit)?;
        let bytes = number.parse::<f64>().ok()? * 1024_f64.powi(i32::try_from(power).ok()?);
        // Negative or absurd numbers saturate.
        Some(bytes as u64)
    });
    (paths, freed)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use machinist_nix::StorePath;

    use super::{Collected, Kept, collection, parse, summary};
    use crate::{
        HostFacts,
        generations::Generations,
        host::{BOOTING, Last},
    };

    fn path(number: u64) -> StorePath {
        StorePath::parse(&format!("/nix/store/0123456789abcdfghijklmnpqrsvwxyz-{number}")).unwrap()
    }

    /// A host with generations 1 to 9 that runs, boots and has booted the last one.
    fn host() -> (HostFacts, Generations) {
        let last = || Some(path(9));
        let facts = HostFacts {
            running: last(),
            profile: last(),
            booted_system: last(),
            confirmed: last(),
            ..HostFacts::default()
        };
        let systems = (1..=9).map(|number| (number, path(number))).collect();
        (facts, Generations { current: Some(9), systems, ..Generations::default() })
    }

    #[track_caller]
    fn check(change: impl FnOnce(&mut HostFacts, &mut Generations), keep: usize, expect: &[u64]) {
        let (mut facts, mut found) = host();
        change(&mut facts, &mut found);
        let kept: Vec<u64> = collection(&facts, &found, keep).unwrap().kept.into_keys().collect();
        assert_eq!(kept, expect);
    }

    #[test]
    fn the_newest_are_kept_and_the_one_to_roll_back_to() {
        check(|_, _| {}, 3, &[7, 8, 9]);
        check(|_, _| {}, 1, &[8, 9]);
        check(|_, _| {}, 0, &[8, 9]);
        check(|_, _| {}, 100, &[1, 2, 3, 4, 5, 6, 7, 8, 9]);
    }

    #[test]
    fn no_generation_that_is_in_use_is_deleted() {
        check(|facts, _| facts.running = Some(path(2)), 1, &[2, 8, 9]);
        check(|facts, _| facts.booted_system = Some(path(3)), 1, &[3, 8, 9]);
        check(|facts, _| facts.confirmed = Some(path(4)), 1, &[4, 8, 9]);
        let last = Last { new: Some(path(5)), old: Some(path(6)), state: "activating".to_owned(), ..Last::default() };
        check(|facts, _| facts.last = Some(last), 1, &[5, 6, 8, 9]);
        // The default of the boot loader, which does not run: a deploy for the next boot was taken back.
        check(|facts, found| (facts.profile, found.current) = (Some(path(5)), Some(5)), 1, &[4, 5, 9]);
        // After a rollback the newest is not the current one.
        check(
            |facts, found| (facts.profile, facts.running, found.current) = (Some(path(4)), Some(path(4)), Some(4)),
            1,
            &[3, 4, 9],
        );
    }

    #[test]
    fn a_rollback_goes_to_another_system_and_not_to_the_same_under_an_older_number() {
        check(
            |_, found| {
                found.systems.insert(8, path(9));
                found.systems.insert(7, path(9));
            },
            1,
            &[6, 7, 8, 9],
        );
    }

    #[test]
    fn nothing_is_collected_during_an_activation_or_a_trial() {
        let (mut facts, found) = host();
        facts.activations.insert("machinist-activate-x.service".to_owned());
        assert!(collection(&facts, &found, 1).unwrap_err().0.contains("activates"));
        let (mut facts, found) = host();
        facts.last = Some(Last { new: Some(path(9)), state: BOOTING.to_owned(), ..Last::default() });
        assert!(collection(&facts, &found, 1).unwrap_err().0.contains("not confirmed"));
        let (facts, mut found) = host();
        found.current = Some(12);
        assert!(collection(&facts, &found, 1).is_err());
        let (mut facts, found) = host();
        facts.profile = Some(path(1));
        assert!(collection(&facts, &found, 1).is_err());
    }

    #[test]
    fn each_generation_that_is_kept_has_its_reasons() {
        let (facts, found) = host();
        let kept = collection(&facts, &found, 1).unwrap().kept;
        assert_eq!(kept[&8], [Kept::Rollback].into());
        assert_eq!(kept[&9], [Kept::Newest, Kept::Boots, Kept::Runs, Kept::Booted, Kept::Confirmed].into());
    }

    #[test]
    fn the_words_of_nix_are_numbers() {
        assert_eq!(summary("12 store paths deleted, 3.50 MiB freed"), (Some(12), Some(3_670_016)));
        assert_eq!(summary("1 store path deleted, 0.00 MiB freed"), (Some(1), Some(0)));
        assert_eq!(summary("what?"), (None, None));
        let collected = parse("collected=2 store paths deleted, 1.00 GiB freed\nboot=-3\n");
        assert_eq!(collected, Collected { freed: Some(1 << 30), paths: Some(2), boot_freed: Some(-3) });
    }
}
