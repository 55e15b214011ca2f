//! Plan for host certificates. Pure: the hosts, the tree and the clock in, the plan out.

use std::path::PathBuf;

use time::OffsetDateTime;

use super::{Host, HostCertificate, NAME, SshPublicKey, certificate_file, files, notice};
use crate::{
    Authority, Notice, Plan, Policy, Problem, Reason, Tree,
    plan::{Action, Step, age},
    report::{Row, State},
};

/// Compares the needed host certificates with the existing ones. The first action is the authority's, if there is
/// anything to sign.
#[must_use]
pub fn plan(hosts: &[Host], tree: &Tree, policy: &Policy, now: OffsetDateTime) -> Plan {
    let mut plan = Plan { orphans: orphans(hosts, tree), ..Plan::default() };
    let Some(step) = authority(hosts, tree, &mut plan) else { return plan };
    let leaves: Vec<Action> = hosts.iter().filter_map(|host| action(host, tree, &step, policy, now)).collect();
    key_at_hand(tree, &step, &leaves, &mut plan);
    plan.notices.extend(notice(tree, hosts).map(|what| Notice { subject: NAME.to_owned(), what }));
    plan.actions.push(Action { name: NAME.to_owned(), step });
    plan.actions.extend(leaves);
    plan
}

/// Plans the authority. It is made together with its first certificate.
fn authority(hosts: &[Host], tree: &Tree, plan: &mut Plan) -> Option<Step> {
    let files = files();
    let signed = tree.host_certificates().count();
    let Some(signing) = tree.ssh_authority().first() else {
        if tree.get(&files.certificate).is_some() {
            // Corrupt, which is a separate problem.
            return Some(Step::Refuse);
        }
        if signed == 0 {
            let reason = if tree.key(&files.key).is_some() { Reason::NoPublicHalf } else { Reason::Missing };
            return hosts.iter().any(|host| host.key.is_some()).then(|| Step::Issue(vec![reason]));
        }
        let what = format!("the SSH authority is missing, but host certificates signed by it exist ({signed})");
        let hint = "restore it and its key from version control; to start with a new authority, move those certificates \
                    away too, and give everyone the new output of `machinist ssh --print-known-hosts`";
        plan.problems.push(problem(&files.certificate, what, hint));
        return Some(Step::Refuse);
    };
    let Some((what, hint)) = wrong(signing, tree) else { return Some(Step::Keep) };
    plan.problems.push(problem(&files.key, what, hint));
    Some(Step::Refuse)
}

/// Returns what is wrong with the authority's files, and the hint.
fn wrong(signing: &SshPublicKey, tree: &Tree) -> Option<(String, &'static str)> {
    let is_rotating = tree.rotation(Authority::Ssh.as_str()).is_some();
    let found = tree.key(&files().key).flatten();
    if let Some(found) = found.filter(|found| **found != signing.id()) {
        let what = format!("the SSH authority's private key is that of {found}, the public one is {}", signing.id());
        let hint = if is_rotating {
            "`machinist certs rotate-ca ssh` continues the interrupted rotation"
        } else {
            "restore both files of the authority from the same commit"
        };
        return Some((what, hint));
    }
    let trusted = tree.ssh_authority().len();
    let expected = if is_rotating { 2 } else { 1 };
    (trusted > expected).then(|| {
        let what = format!("{trusted} SSH authorities are trusted where {expected} is expected");
        (what, "restore authorities/ssh.pub and rotations.json from the same commit")
    })
}

/// Checks for the authority's private key, which may be stored elsewhere as long as nothing has to be signed.
fn key_at_hand(tree: &Tree, step: &Step, leaves: &[Action], plan: &mut Plan) {
    let key = files().key;
    if *step != Step::Keep || tree.get(&key).is_some() {
        return;
    }
    let due = leaves.iter().filter(|action| action.step.makes_one()).count();
    if due == 0 {
        let what = "the SSH authority's private key is not here".to_owned();
        plan.notices.push(Notice { subject: key.display().to_string(), what });
    } else {
        let what = format!("the SSH authority's private key is missing, and host keys have to be signed ({due})");
        plan.problems.push(problem(&key, what, "restore it from version control"));
    }
}

fn problem(file: &std::path::Path, what: String, hint: &str) -> Problem {
    Problem { subject: file.display().to_string(), what, hint: hint.to_owned() }
}

/// Plans the certificate of one host. A host whose key is unknown has none, or keeps the one that it has.
fn action(host: &Host, tree: &Tree, authority: &Step, policy: &Policy, now: OffsetDateTime) -> Option<Action> {
    let is_there = tree.get(&certificate_file(&host.node)).is_some();
    let step = match (&host.key, tree.host_certificate(&host.node)) {
        (None, _) if !is_there => return None,
        (None, _) => Step::Keep,
        _ if *authority == Step::Refuse => Step::Refuse,
        (Some(_), None) if !is_there => Step::Issue(vec![Reason::Missing]),
        // Corrupt, which is a separate problem.
        (Some(_), None) => Step::Refuse,
        (Some(key), Some(certificate)) => renewal(host, key, certificate, tree, policy, now),
    };
    Some(Action { name: host.name(), step })
}

fn renewal(
    host: &Host,
    key: &SshPublicKey,
    certificate: &HostCertificate,
    tree: &Tree,
    policy: &Policy,
    now: OffsetDateTime,
) -> Step {
    let mut reasons = Vec::new();
    if certificate.key().as_ref() != Some(key) {
        reasons.push(Reason::HostKey { wanted: key.fingerprint() });
    }
    if !tree.ssh_authority().first().is_some_and(|signing| certificate.is_signed_by(signing)) {
        reasons.push(Reason::Signer { wanted: Authority::Ssh, issuer: None });
    }
    let names = certificate.names();
    if names != host.names {
        reasons.push(Reason::HostNames { added: &host.names - &names, removed: &names - &host.names });
    }
    reasons.extend(age(certificate.not_before(), certificate.not_after(), now + policy.leaf_life, now));
    if reasons.is_empty() && policy.renewal.includes(&host.name()) {
        reasons.push(Reason::Requested);
    }
    if reasons.is_empty() { Step::Keep } else { Step::Renew(reasons) }
}

/// Returns the certificates of nodes that the cluster no longer has.
fn orphans(hosts: &[Host], tree: &Tree) -> Vec<PathBuf> {
    let wanted: Vec<PathBuf> = hosts.iter().map(|host| certificate_file(&host.node)).collect();
    let all = tree.host_certificates().map(|(path, _)| path.to_owned());
    all.filter(|path| !wanted.contains(path)).collect()
}

/// Returns the rows of `certs list`, the authority first.
#[must_use]
pub fn rows(hosts: &[Host], tree: &Tree, policy: &Policy, now: OffsetDateTime) -> Vec<Row> {
    let plan = plan(hosts, tree, policy, now);
    let row = |action: &Action| {
        let host = hosts.iter().find(|host| host.name() == action.name);
        let not_after = host.and_then(|host| tree.host_certificate(&host.node)).map(HostCertificate::not_after);
        let problem = plan.problems.first().map(|problem| problem.what.clone());
        let refused = || problem.unwrap_or_else(|| "its file is not readable".to_owned());
        let rotation = || notice(tree, hosts).filter(|_| host.is_none()).unwrap_or_default();
        Row {
            name: action.name.clone(),
            authority: Authority::Ssh.to_string(),
            node: host.map(|host| host.node.to_string()),
            not_after,
            days_left: not_after.map(|end| (end - now).whole_seconds().div_euclid(24 * 3600)),
            state: State::of(&action.step),
            because: match action.step {
                Step::Refuse => refused(),
                Step::Keep => rotation(),
                _ => action.step.because(),
            },
            file: host.map_or_else(|| files().certificate, |host| certificate_file(&host.node)),
        }
    };
    plan.actions.iter().map(row).collect()
}
