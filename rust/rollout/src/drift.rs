//! Drift: differences of a machine from the last deploy and from the configuration. Pure, but for [`ask`].

use std::time::Duration;

use machinist_nix::StorePath;
use machinist_remote::{Remote, Request};
use machinist_switch::{BootFiles, boot::reboot};
use serde::Serialize;

use crate::{HostFacts, expiry, plan::inspect, script::DRIFT, step::StepError};

/// Report of a host about its own files, as `script/drift.sh` prints it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Traces {
    /// Paths of unit files, drop-ins and masks that do not belong to the active system.
    pub units: Vec<String>,
    /// Files of the active system that were replaced in /etc, relative to it.
    pub etc: Vec<String>,
    /// The files that were booted.
    pub booted: BootFiles,
    /// The files that the active system would boot.
    pub running: BootFiles,
}

/// One deviation from the expected state.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// Kind of the deviation.
    pub kind: FindingKind,
    /// Description.
    pub text: String,
    /// A remedy, if there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<&'static str>,
}

/// Kinds of drift.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum FindingKind {
    /// The machine never ran a system of ours.
    NeverDeployed,
    /// It runs a system that was not confirmed by a deploy there.
    Runs,
    /// It will boot a system that differs from the running one.
    Boots,
    /// The configuration evaluates to a different system.
    Directory,
    /// It has booted a kernel, initrd or kernel parameters that differ from its system's.
    Booted,
    /// A unit file, drop-in or mask was written by hand.
    Unit,
    /// A file in /etc was replaced by hand.
    Etc,
    /// A unit has failed, or keeps failing and restarting.
    Failed,
    /// A certificate expires soon, or has expired.
    Certificate,
}

/// Queries the host, in one request.
///
/// # Errors
/// The connection fails, or the response is cut off.
pub fn ask(remote: &dyn Remote) -> Result<Traces, StepError> {
    let output = remote.run_checked(Request::new("ask for drift", DRIFT).timeout(Duration::from_secs(60)))?;
    parse(&output.stdout_text()).ok_or_else(|| StepError::Unknown { why: "its answer is cut off".to_owned() })
}

/// Targets of unit links that were not made by hand: in the system itself, and in the underlying distribution.
const NOT_BY_HAND: [&str; 4] = ["/nix/store/", "/etc/static/", "/usr/lib/systemd/", "/lib/systemd/"];

fn parse(output: &str) -> Option<Traces> {
    let sections = inspect::sections(output);
    sections.get("end")?;
    let lines = |name: &str| sections.get(name).map_or(&[] as &[&str], Vec::as_slice);
    let by_hand = |line: &&str| {
        let (path, link) = line.split_once('\t')?;
        let ours = NOT_BY_HAND.iter().any(|place| link.starts_with(place));
        (!ours).then(|| path.to_owned())
    };
    let mut units: Vec<String> = lines("units").iter().filter_map(by_hand).collect();
    units.sort();
    let mut etc: Vec<String> = lines("etc").iter().map(|&line| line.to_owned()).collect();
    etc.sort();
    let (booted, running) = (BootFiles::from_lines(lines("booted")), BootFiles::from_lines(lines("current")));
    Some(Traces { units, etc, booted, running })
}

/// Remedy for a system on trial.
const ON_TRIAL: &str =
    "it was booted once and not confirmed: `machinist deploy --resume`, or a deploy, finishes that; a reboot leaves it";

/// Returns all deviations, those of systems first. `expected` is the system that the configuration evaluates to, if it
/// was evaluated.
#[must_use]
pub fn findings(facts: &HostFacts, traces: &Traces, expected: Option<&StorePath>) -> Vec<Finding> {
    let finding = |kind, text, hint| Finding { kind, text, hint };
    let mut found = Vec::new();
    let Some(running) = &facts.running else {
        let text = "no system of ours runs there".to_owned();
        found.push(finding(FindingKind::NeverDeployed, text, Some("`machinist deploy` or `machinist install`")));
        return found;
    };
    if let Some(confirmed) = facts.confirmed.as_ref().filter(|confirmed| *confirmed != running) {
        found.push(finding(FindingKind::Runs, runs(facts, running, confirmed), Some("`machinist deploy` says more")));
    }
    if let Some(profile) = facts.profile.as_ref().filter(|profile| *profile != running) {
        let (how, hint) = if facts.on_trial().is_some() { (" on trial", Some(ON_TRIAL)) } else { ("", None) };
        found.push(finding(FindingKind::Boots, format!("it will boot {profile}, it runs {running}{how}"), hint));
    }
    if let Some(expected) = expected.filter(|expected| *expected != running) {
        let text = format!("the directory says {expected}, it runs {running}");
        found.push(finding(FindingKind::Directory, text, Some("`machinist plan` shows what differs")));
    }
    if let Some(due) = reboot(&traces.booted, &traces.running, &traces.running) {
        let text = format!("only a reboot brings {}", due.why.join(", "));
        found.push(finding(FindingKind::Booted, text, None));
    }
    let units = traces.units.iter().map(|path| (FindingKind::Unit, format!("{path} was written by hand")));
    let etc = traces.etc.iter().map(|file| (FindingKind::Etc, format!("/etc/{file} was replaced by hand")));
    let by_hand = "put it into nodes/<name>.nix, or remove it there: a deploy does not";
    found.extend(units.map(|(kind, text)| finding(kind, text, Some(by_hand))));
    found.extend(etc.map(|(kind, text)| finding(kind, text, Some("put it into nodes/<name>.nix"))));
    let journal = Some("`journalctl -u UNIT` on the machine");
    found.extend(facts.failed.iter().map(|unit| finding(FindingKind::Failed, format!("{unit} has failed"), journal)));
    let certificates = expiry::expiring(facts).into_iter();
    found.extend(certificates.map(|text| finding(FindingKind::Certificate, text, Some(expiry::HINT))));
    let restarting = facts.restarting.iter().map(|unit| format!("{unit} fails and is started again and again"));
    found.extend(restarting.map(|text| finding(FindingKind::Failed, text, journal)));
    found
}

/// An unfinished activation of ours does not count as a manual change.
fn runs(facts: &HostFacts, running: &StorePath, confirmed: &StorePath) -> String {
    let last = facts.last.as_ref().filter(|last| last.new.as_ref() == Some(running) && last.state != "confirmed");
    match last {
        Some(last) => {
            format!("it runs {running}, which run {} left there ({}); confirmed was {confirmed}", last.run, last.state)
        }
        None => format!("it runs {running}, the last deploy confirmed {confirmed}"),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use machinist_nix::StorePath;
    use machinist_remote::FakeRemote;
    use machinist_switch::BootFiles;

    use super::{FindingKind, Traces, ask, findings, parse};
    use crate::{HostFacts, host::Last};

    fn path(name: &str) -> StorePath {
        StorePath::parse(&format!("/nix/store/0123456789abcdfghijklmnpqrsvwxyz-{name}")).unwrap()
    }

    /// A host without drift from the system `a`.
    fn well() -> (HostFacts, Traces) {
        let at = || Some(path("a"));
        (HostFacts { running: at(), profile: at(), confirmed: at(), ..HostFacts::default() }, Traces::default())
    }

    #[track_caller]
    fn check(change: impl FnOnce(&mut HostFacts, &mut Traces), expect: &[String]) {
        let (mut facts, mut traces) = well();
        change(&mut facts, &mut traces);
        let found: Vec<String> =
            findings(&facts, &traces, Some(&path("a"))).into_iter().map(|finding| finding.text).collect();
        assert_eq!(found, expect);
    }

    #[test]
    fn a_machine_that_is_as_it_was_left_has_not_drifted() {
        check(|_, _| {}, &[]);
        let (facts, traces) = well();
        assert!(findings(&HostFacts { confirmed: None, ..facts }, &traces, None).is_empty());
    }

    #[test]
    fn another_system_is_drift_and_so_is_one_that_boots_or_that_the_directory_says() {
        let (a, x) = (path("a"), path("x"));
        check(
            |facts, _| (facts.running, facts.profile) = (Some(x.clone()), Some(x.clone())),
            &[format!("it runs {x}, the last deploy confirmed {a}"), format!("the directory says {a}, it runs {x}")],
        );
        check(|facts, _| facts.profile = Some(x.clone()), &[format!("it will boot {x}, it runs {a}")]);
        check(|facts, _| facts.running = None, &["no system of ours runs there".to_owned()]);
    }

    #[test]
    fn a_system_on_trial_is_told_from_one_that_someone_activated() {
        let (a, x) = (path("a"), path("x"));
        let last = |new: &StorePath| {
            Some(Last { run: "r1".to_owned(), new: Some(new.clone()), state: "booting".to_owned(), ..Last::default() })
        };
        let (mut facts, traces) = well();
        (facts.running, facts.last) = (Some(x.clone()), last(&x));
        let found = findings(&facts, &traces, None);
        let boots = found.iter().find(|finding| finding.kind == FindingKind::Boots).unwrap();
        assert_eq!(boots.text, format!("it will boot {a}, it runs {x} on trial"));
        assert!(boots.hint.is_some_and(|hint| hint.contains("--resume")));
        facts.last = last(&a);
        assert!(findings(&facts, &traces, None).iter().all(|finding| !finding.text.contains("trial")));
    }

    #[test]
    fn what_our_own_run_left_is_told_as_that() {
        let (a, x) = (path("a"), path("x"));
        let last =
            Last { run: "r1".to_owned(), new: Some(x.clone()), state: "activating".to_owned(), ..Last::default() };
        check(
            |facts, _| (facts.running, facts.profile, facts.last) = (Some(x.clone()), Some(x.clone()), Some(last)),
            &[
                format!("it runs {x}, which run r1 left there (activating); confirmed was {a}"),
                format!("the directory says {a}, it runs {x}"),
            ],
        );
    }

    #[test]
    fn what_a_person_wrote_what_failed_and_an_old_kernel_are_told() {
        let params = |text: &str| BootFiles { params: Some(text.to_owned()), ..BootFiles::default() };
        check(
            |facts, traces| {
                facts.failed.insert("x.service".to_owned());
                facts.restarting.insert("z.service".to_owned());
                traces.units.push("/etc/systemd/system/y.service".to_owned());
                traces.etc.push("hosts".to_owned());
                (traces.booted, traces.running) = (params("quiet"), params("quiet nosmt"));
            },
            &[
                "only a reboot brings kernel parameters +nosmt".to_owned(),
                "/etc/systemd/system/y.service was written by hand".to_owned(),
                "/etc/hosts was replaced by hand".to_owned(),
                "x.service has failed".to_owned(),
                "z.service fails and is started again and again".to_owned(),
            ],
        );
    }

    #[test]
    fn a_certificate_that_expires_soon_is_told() {
        check(
            |facts, _| {
                facts.clock = Some(1_795_260_000_000);
                facts.certificates = [("etcd-server".to_owned(), 1_795_260_000 + 86_400 * 5)].into();
            },
            &["certificate etcd-server expires in 5 days".to_owned()],
        );
    }

    #[test]
    fn links_of_the_system_and_of_the_distribution_beneath_are_nobody_s_hand() {
        let text = "Welcome!\n== units\n/etc/systemd/system/a.service\t/etc/static/systemd/system/a.service\n\
                    /etc/systemd/system/default.target\t/usr/lib/systemd/system/multi-user.target\n\
                    /run/systemd/system/m.service\t/dev/null\n/etc/systemd/system.control/b.service.d/50.conf\t\n\
                    == etc\nhosts\n== booted\n== current\n== end\n";
        let traces = parse(text).unwrap();
        assert_eq!(traces.units, ["/etc/systemd/system.control/b.service.d/50.conf", "/run/systemd/system/m.service"]);
        assert_eq!(traces.etc, ["hosts"]);
    }

    #[test]
    fn an_answer_that_is_cut_off_is_not_a_machine_without_drift() {
        let remote = FakeRemote::new("a").answer("ask for drift", 0, "== units\n", "");
        assert!(ask(&remote).unwrap_err().to_string().contains("cut off"));
    }
}
