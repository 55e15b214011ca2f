//! Plan for authorities. They are issued once. An existing but invalid one is left to the operator: everything that
//! trusts it would stop trusting what it signed.

use time::OffsetDateTime;

use super::{Action, Notice, Plan, Policy, Problem, Reason, Step, Steps, count, reason::day};
use crate::{AuthoritySpec, Certificate, KeyUsage, Table, Tree};

pub(super) struct Verdict {
    pub(super) step: Step,
    pub(super) problem: Option<Problem>,
    pub(super) notice: Option<Notice>,
}

impl Verdict {
    const fn step(step: Step) -> Self {
        Self { step, problem: None, notice: None }
    }
}

pub(super) fn decide(
    spec: &AuthoritySpec,
    table: &Table,
    tree: &Tree,
    policy: &Policy,
    now: OffsetDateTime,
) -> Verdict {
    let Some(certificate) = tree.certificate(&spec.files.certificate) else {
        return missing(spec, table, tree);
    };
    if let Some((what, hint)) = wrong(spec, certificate, tree, now) {
        let subject = spec.files.certificate.display().to_string();
        return Verdict { problem: Some(Problem { subject, what, hint }), ..Verdict::step(Step::Refuse) };
    }
    let left = certificate.not_after - now;
    let notice = (left < policy.leaf_life).then(|| Notice {
        subject: spec.name.clone(),
        what: format!(
            "the authority expires in {}, on {}, and what it signs expires with it: `machinist certs rotate-ca {}` \
             replaces it in stages, while the cluster keeps running",
            count(certificate.days_left(now)),
            day(certificate.not_after),
            spec.authority,
        ),
    });
    Verdict { notice, ..Verdict::step(Step::Keep) }
}

/// Plans an authority without a certificate. A lone key is left by an interrupted first run; nothing was signed with
/// it.
fn missing(spec: &AuthoritySpec, table: &Table, tree: &Tree) -> Verdict {
    if tree.get(&spec.files.certificate).is_some() {
        // It exists but is corrupt, which is a separate problem.
        return Verdict::step(Step::Refuse);
    }
    let signed = table
        .certificates
        .iter()
        .filter(|leaf| leaf.authority == spec.authority && tree.certificate(&leaf.files.certificate).is_some())
        .count();
    if signed == 0 {
        let reason = if tree.key(&spec.files.key).is_some() { Reason::NoCertificate } else { Reason::Missing };
        return Verdict::step(Step::Issue(vec![reason]));
    }
    let problem = Problem {
        subject: spec.files.certificate.display().to_string(),
        what: format!("the authority is missing, but certificates signed by it exist ({signed})"),
        hint:
            "restore it and its key from version control; to start with a new authority, move those certificates away \
               too; every machine must then get new ones at the same time"
                .to_owned(),
    };
    Verdict { problem: Some(problem), ..Verdict::step(Step::Refuse) }
}

/// Returns what is wrong with the authority, and the hint.
fn wrong(
    spec: &AuthoritySpec,
    certificate: &Certificate,
    tree: &Tree,
    now: OffsetDateTime,
) -> Option<(String, String)> {
    let restore = "restore the authority from version control".to_owned();
    if !certificate.is_authority || !certificate.usages.contains(&KeyUsage::KeyCertSign) {
        return Some(("it is not an authority: it cannot sign certificates".to_owned(), restore));
    }
    if certificate.common_name.as_ref() != Some(&spec.common_name) {
        let found = certificate.common_name.as_deref().unwrap_or("none");
        return Some((format!("it is another authority: its CN is `{found}`, not `{}`", spec.common_name), restore));
    }
    if !certificate.is_signed_by(certificate) {
        return Some(("it is not signed by its own key".to_owned(), restore));
    }
    if let Some(Some(found)) = tree.key(&spec.files.key)
        && *found != certificate.key_id
    {
        let what = format!("its private key belongs to another certificate: {found} instead of {}", certificate.key_id);
        let hint = if tree.rotation(spec.authority.as_str()).is_some() {
            format!("`machinist certs rotate-ca {}` continues the interrupted rotation", spec.authority)
        } else {
            "restore both files of the authority from the same commit".to_owned()
        };
        return Some((what, hint));
    }
    if certificate.not_before > now {
        let (from, today) = (day(certificate.not_before), day(now));
        let what = format!("it is not valid before {from}, and this computer's date is {today}");
        // The wrong one of the two clocks cannot be determined here.
        let hint = format!(
            "if {today} is wrong, set this computer's clock; if it is right, the authority was made with a wrong clock \
             and no machine accepts it before {from}: {}",
            start_over(spec)
        );
        return Some((what, hint));
    }
    if certificate.not_after <= now {
        let what = format!("it expired on {}, and what it signed is no longer accepted", day(certificate.not_after));
        let hint = start_over(spec);
        return Some((what, hint));
    }
    None
}

/// Returns the hint for an authority that nothing accepts: the certificates that it signed are useless too.
fn start_over(spec: &AuthoritySpec) -> String {
    format!(
        "move {}, its key and the certificates that it signed out of the directory, issue new ones, and deploy to all \
         machines at once",
        spec.files.certificate.display()
    )
}

/// Reports an authority that was put in the place of another one, which is deliberate and has consequences.
pub(super) fn successors(table: &Table, tree: &Tree, leaves: &[Action], plan: &mut Plan) {
    for spec in &table.authorities {
        // In a rotation the stage does this on purpose, and everything trusts both.
        if tree.rotation(spec.authority.as_str()).is_some() {
            continue;
        }
        let renewed = table.certificates.iter().zip(leaves).filter(|(leaf, _)| leaf.authority == spec.authority);
        let there: Vec<_> = renewed.filter(|(_, action)| !matches!(action.step, Step::Issue(_))).collect();
        let foreign = |action: &Action| action.step.reasons().iter().any(|why| matches!(why, Reason::Signer { .. }));
        if !there.is_empty() && there.iter().all(|(_, action)| foreign(action)) {
            let foreign = there.len();
            let what = format!(
                "it did not sign the existing certificates ({foreign}): machines that trust another authority refuse \
                 the new ones until all machines are deployed"
            );
            plan.notices.push(Notice { subject: spec.name.clone(), what });
        }
    }
}

/// Checks for the authorities' private keys, which may be stored elsewhere as long as nothing has to be signed.
pub(super) fn keys_at_hand(table: &Table, tree: &Tree, leaves: &[Action], steps: &Steps, plan: &mut Plan) {
    for spec in &table.authorities {
        if steps.get(&spec.authority) != Some(&Step::Keep) || tree.get(&spec.files.key).is_some() {
            continue;
        }
        let due = table
            .certificates
            .iter()
            .zip(leaves)
            .filter(|(leaf, action)| leaf.authority == spec.authority && action.step.makes_one())
            .count();
        let subject = spec.files.key.display().to_string();
        if due == 0 {
            plan.notices.push(Notice { subject, what: "the authority's private key is not here".to_owned() });
        } else {
            let what = format!("the authority's private key is missing, and certificates have to be signed ({due})");
            let hint = "restore it from version control".to_owned();
            plan.problems.push(Problem { subject, what, hint });
        }
    }
}
