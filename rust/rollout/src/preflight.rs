//! Preconditions of a host, checked before anything is changed anywhere. Pure.

use machinist_model::NodeName;
use machinist_nix::StorePath;

use crate::{
    HostFacts,
    lock::{self, Decision, Moment},
    text::mebibytes,
};

pub use crate::problem::{Problem, ProblemKind};

/// Clock offset above which a warning is printed, in milliseconds: etcd itself warns at a second, and leases and logs
/// of several machines become inconsistent.
const CLOCK_WARNS: u64 = 5_000;

/// Clock offset above which the host is refused, in milliseconds: certificates are valid from five minutes before they
/// are issued, and a drifting clock keeps drifting.
const CLOCK_REFUSES: u64 = 60_000;

/// Remedy for a full boot partition.
pub const FEWER_GENERATIONS: &str = "fewer old generations on the host: `machinist gc NODE --keep 3`";

/// Minimum free bytes in the directory of records, locks and keys: they are small, but services write there, too.
const VAR_NEEDED: u64 = 16 << 20;

/// Minimum free bytes in /run, where an activation keeps its state and systemd its transient units.
const RUN_NEEDED: u64 = 4 << 20;

/// Minimum number of files that can still be created in either.
const FILES_NEEDED: u64 = 256;

/// One host and the changes planned for it.
#[derive(Debug)]
pub struct Candidate<'a> {
    /// The node.
    pub node: &'a NodeName,
    /// Facts about it.
    pub facts: &'a HostFacts,
    /// The Nix system that machines.nix names, such as `x86_64-linux`. Empty if unknown.
    pub platform: &'a str,
    /// The system that it will run.
    pub system: &'a StorePath,
    /// Minimum free bytes in the store.
    pub store_needed: u64,
    /// Minimum free bytes on the boot loader's mount: the size of the kernel and initrd, unless they are there.
    pub boot_needed: u64,
    /// Identifier of the run that checks.
    pub run: &'a str,
    /// True if that run already holds the lock there.
    pub is_ours: bool,
    /// The host's state apart from its lock.
    pub moment: Moment,
}

/// Returns all problems of a host.
#[must_use]
pub fn find_problems(candidate: &Candidate<'_>, accept_drift: bool) -> Vec<Problem> {
    let problem = |kind, refuses, text, hint: &str| Problem {
        node: candidate.node.clone(),
        kind,
        refuses,
        text,
        hint: (!hint.is_empty()).then(|| hint.to_owned()),
    };
    let mut problems = Vec::new();
    if let Some(text) = architecture(candidate) {
        problems.push(problem(ProblemKind::Architecture, true, text, "set `system` of the machine in machines.nix"));
    }
    if let Some((refuses, text)) = clock(candidate.facts.clock_offset) {
        problems.push(problem(
            ProblemKind::Clock,
            refuses,
            text,
            "is systemd-timesyncd running there, and reaching a server?",
        ));
    }
    for (place, free, needed, hint) in [
        (
            "/nix/store",
            candidate.facts.store_free,
            candidate.store_needed,
            "`nix-collect-garbage --delete-older-than 14d` on the host",
        ),
        (
            candidate.facts.boot_at.as_deref().unwrap_or("/boot"),
            candidate.facts.boot_free,
            candidate.boot_needed,
            FEWER_GENERATIONS,
        ),
    ] {
        if let Some(free) = free.filter(|free| *free < needed) {
            let text = format!("{place} has {} free, the system needs {}", mebibytes(free), mebibytes(needed));
            problems.push(problem(ProblemKind::Space, true, text, hint));
        }
    }
    problems.extend(room(candidate.facts).map(|(text, hint)| problem(ProblemKind::Space, true, text, hint)));
    if let (false, Decision::Refuse { why }) =
        (candidate.is_ours, lock::decide(&candidate.facts.lock, candidate.run, &candidate.moment))
    {
        let hint = "wait, or see who it is and what the node does: `machinist unlock`";
        problems.push(problem(ProblemKind::Lock, true, format!("locked: {why}"), hint));
    }
    if let Some(text) = drift(candidate.facts, candidate.system) {
        let hint = if accept_drift { "" } else { "look what someone changed there; `--accept-drift` deploys over it" };
        problems.push(problem(ProblemKind::Drift, !accept_drift, text, hint));
    }
    problems
}

/// Returns the directories that are too full for machinist's own records, locks and scripts, with a remedy each.
fn room(facts: &HostFacts) -> impl Iterator<Item = (String, &'static str)> {
    facts.room.iter().filter_map(|(place, room)| {
        let (needed, hint) = match place.as_str() {
            "/run" => (RUN_NEEDED, "something fills the host's memory file system: `du -xh -d2 /run`"),
            _ => (VAR_NEEDED, "`journalctl --vacuum-size=200M` on the host, or see what fills it: `du -xh -d3 /var`"),
        };
        if room.bytes < needed {
            return Some((
                format!("{place} has {} free, a deploy needs {}", mebibytes(room.bytes), mebibytes(needed)),
                hint,
            ));
        }
        let files = room.files.filter(|files| *files < FILES_NEEDED)?;
        Some((format!("{place} has room for {files} more files, a deploy needs {FILES_NEEDED}"), hint))
    })
}

fn architecture(candidate: &Candidate<'_>) -> Option<String> {
    let (wanted, _) = candidate.platform.split_once('-')?;
    let found = candidate.facts.arch.as_str();
    // An x86_64 processor can run an i686 system, but not the other way round.
    let fits = found.is_empty() || found == wanted || (wanted == "i686" && found == "x86_64");
    (!fits).then(|| format!("the machine is {found}, machines.nix says {}", candidate.platform))
}

fn clock(offset: Option<i64>) -> Option<(bool, String)> {
    let offset = offset?;
    let off = offset.unsigned_abs();
    let way = if offset > 0 { "ahead of" } else { "behind" };
    (off > CLOCK_WARNS).then(|| {
        let text = format!("its clock is {} s {way} this computer's", off / 1000);
        (off > CLOCK_REFUSES, text)
    })
}

/// Compares the running and booting systems with the one that the last deploy confirmed there. The results of our own
/// unfinished activation do not count as drift.
fn drift(facts: &HostFacts, system: &StorePath) -> Option<String> {
    let confirmed = facts.confirmed.as_ref()?;
    let last = facts.last.as_ref().filter(|last| last.state != "confirmed");
    let ours = |path: &StorePath| {
        path == confirmed
            || path == system
            || last.is_some_and(|last| last.new.as_ref() == Some(path) || last.old.as_ref() == Some(path))
    };
    let foreign = |path: &Option<StorePath>, verb: &str| {
        let path = path.as_ref().filter(|path| !ours(path))?;
        Some(format!("{verb} {path}"))
    };
    let found: Vec<String> =
        [foreign(&facts.running, "runs"), foreign(&facts.profile, "boots")].into_iter().flatten().collect();
    (!found.is_empty()).then(|| format!("drift: it {}, the last deploy confirmed {confirmed}", found.join(" and ")))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use machinist_model::NodeName;
    use machinist_nix::StorePath;

    use super::{CLOCK_REFUSES, CLOCK_WARNS, Candidate, FILES_NEEDED, Problem, RUN_NEEDED, find_problems};
    use crate::{
        HostFacts,
        host::{Last, Room},
        lock::{Lock, Moment},
    };

    fn path(name: &str) -> StorePath {
        StorePath::parse(&format!("/nix/store/0123456789abcdfghijklmnpqrsvwxyz-{name}")).unwrap()
    }

    /// A host without problems.
    fn well() -> HostFacts {
        HostFacts {
            arch: "x86_64".to_owned(),
            running: Some(path("old")),
            profile: Some(path("old")),
            confirmed: Some(path("old")),
            store_free: Some(1000 << 20),
            clock_offset: Some(0),
            ..HostFacts::default()
        }
    }

    fn problems(facts: &HostFacts, accept_drift: bool) -> Vec<Problem> {
        let node = NodeName::parse("a").unwrap();
        let system = path("new");
        let candidate = Candidate {
            node: &node,
            facts,
            platform: "x86_64-linux",
            system: &system,
            store_needed: 100 << 20,
            boot_needed: 30 << 20,
            run: "r2",
            is_ours: false,
            moment: Moment::default(),
        };
        find_problems(&candidate, accept_drift)
    }

    #[track_caller]
    fn check(change: impl FnOnce(&mut HostFacts), expect: &[&str]) {
        let mut facts = well();
        change(&mut facts);
        let show =
            |problem: Problem| format!("{}: {}", if problem.refuses { "refuses" } else { "warns" }, problem.text);
        assert_eq!(problems(&facts, false).into_iter().map(show).collect::<Vec<_>>(), expect);
    }

    #[test]
    fn a_host_that_is_well_has_no_problems() {
        check(|_| {}, &[]);
        check(|facts| *facts = HostFacts::default(), &[]);
    }

    #[test]
    fn a_full_var_or_run_is_refused_before_anything_is_changed() {
        let full = |place: &str, bytes, files| {
            let (place, files) = (place.to_owned(), files);
            move |facts: &mut HostFacts| facts.room.extend([(place, Room { bytes, files })])
        };
        check(full("/run", 1 << 20, Some(9999)), &["refuses: /run has 1 MiB free, a deploy needs 4 MiB"]);
        check(full("/var", 0, None), &["refuses: /var has 0 MiB free, a deploy needs 16 MiB"]);
        check(full("/var", 1 << 30, Some(3)), &["refuses: /var has room for 3 more files, a deploy needs 256"]);
        check(full("/var", 1 << 30, None), &[]);
    }

    #[test]
    fn another_processor_is_refused() {
        check(|f| f.arch = "aarch64".to_owned(), &["refuses: the machine is aarch64, machines.nix says x86_64-linux"]);
    }

    #[test]
    fn a_clock_that_is_off_warns_and_one_that_breaks_certificates_is_refused() {
        check(|f| f.clock_offset = Some(4_999), &[]);
        check(|f| f.clock_offset = Some(-7_300), &["warns: its clock is 7 s behind this computer's"]);
        check(|f| f.clock_offset = Some(61_000), &["refuses: its clock is 61 s ahead of this computer's"]);
        check(
            |f| f.clock_offset = Some(i64::MIN),
            &["refuses: its clock is 9223372036854775 s behind this computer's"],
        );
    }

    #[test]
    fn too_little_room_is_refused_in_the_store_and_where_boot_is_a_mount() {
        check(|f| f.store_free = Some(99 << 20), &["refuses: /nix/store has 99 MiB free, the system needs 100 MiB"]);
        check(|f| f.boot_free = Some(10 << 20), &["refuses: /boot has 10 MiB free, the system needs 30 MiB"]);
        check(
            |f| (f.boot_at, f.boot_free) = (Some("/efi".to_owned()), Some(10 << 20)),
            &["refuses: /efi has 10 MiB free, the system needs 30 MiB"],
        );
        check(|f| f.boot_free = None, &[]);
    }

    #[test]
    fn what_no_deploy_brought_is_drift() {
        let old = path("old");
        check(
            |f| f.running = Some(path("x")),
            &[&format!("refuses: drift: it runs {}, the last deploy confirmed {old}", path("x"))],
        );
        check(
            |f| f.profile = Some(path("x")),
            &[&format!("refuses: drift: it boots {}, the last deploy confirmed {old}", path("x"))],
        );
        let mut facts = well();
        facts.running = Some(path("x"));
        assert!(!problems(&facts, true)[0].refuses, "accepted");
        assert_eq!(problems(&facts, true)[0].hint, None);
        assert!(problems(&facts, false)[0].hint.as_ref().unwrap().contains("--accept-drift"));
    }

    #[test]
    fn exactly_what_is_needed_is_enough() {
        check(|f| f.store_free = Some(100 << 20), &[]);
        check(|f| f.boot_free = Some(30 << 20), &[]);
        check(|f| f.room.extend([("/run".to_owned(), Room { bytes: RUN_NEEDED, files: Some(FILES_NEEDED) })]), &[]);
        check(|f| f.clock_offset = Some(i64::try_from(CLOCK_WARNS).unwrap()), &[]);
        let limit = i64::try_from(CLOCK_REFUSES).unwrap();
        check(|f| f.clock_offset = Some(limit), &["warns: its clock is 60 s ahead of this computer's"]);
    }

    #[test]
    fn a_machine_runs_a_system_of_its_processor_or_one_that_the_processor_can_run_too() {
        let on = |platform, arch: &str| {
            let facts = HostFacts { arch: arch.to_owned(), ..well() };
            let system = path("old");
            let node = NodeName::parse("a").unwrap();
            let candidate = Candidate {
                node: &node,
                facts: &facts,
                platform,
                system: &system,
                store_needed: 0,
                boot_needed: 0,
                run: "r2",
                is_ours: false,
                moment: Moment::default(),
            };
            find_problems(&candidate, false).is_empty()
        };
        assert!(on("x86_64-linux", "x86_64") && on("i686-linux", "x86_64") && on("aarch64-linux", ""));
        assert!(!on("x86_64-linux", "i686") && !on("i686-linux", "aarch64") && !on("aarch64-linux", "x86_64"));
    }

    #[test]
    fn what_is_wanted_anyway_or_was_left_by_an_unfinished_activation_is_no_drift() {
        check(|f| f.running = Some(path("new")), &[]);
        let last = |state: &str| {
            Some(Last { new: Some(path("half")), old: Some(path("old")), state: state.to_owned(), ..Last::default() })
        };
        check(|f| (f.running, f.last) = (Some(path("half")), last("broken")), &[]);
        let back = Last { old: Some(path("before")), state: "reverted".to_owned(), ..Last::default() };
        check(|f| (f.running, f.last) = (Some(path("before")), Some(back)), &[]);
        let old = path("old");
        check(
            |f| (f.running, f.last) = (Some(path("half")), last("confirmed")),
            &[&format!("refuses: drift: it runs {}, the last deploy confirmed {old}", path("half"))],
        );
    }

    #[test]
    fn a_lock_is_one_of_the_problems_and_all_are_told_at_once() {
        check(
            |f| {
                f.arch = "aarch64".to_owned();
                f.lock = Lock::parse("fence=1\nrun=r1\nwho=ann@desk\nsince=T\nlasts=90\nexpires=50\n");
            },
            &[
                "refuses: the machine is aarch64, machines.nix says x86_64-linux",
                "refuses: locked: ann@desk has been changing it since T (run r1); the lock expires in 50 s unless it is renewed",
            ],
        );
    }
}
