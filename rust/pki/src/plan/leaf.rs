//! Plan for leaf certificates: they are renewed whenever they differ from the table.

use rayon::prelude::*;
use time::OffsetDateTime;

use super::{Action, Policy, Reason, Step, Steps};
use crate::{AuthoritySpec, Certificate, CertificateSpec, Table, Tree};

/// Plans all rows, in the table's order. In parallel: verifying a signature takes 0.1 ms.
pub(super) fn decide_all(
    table: &Table,
    tree: &Tree,
    policy: &Policy,
    now: OffsetDateTime,
    authorities: &Steps,
) -> Vec<Action> {
    table
        .certificates
        .par_iter()
        .map(|spec| {
            let authority = table.authorities.iter().find(|authority| authority.authority == spec.authority);
            let step = match authorities.get(&spec.authority) {
                None | Some(Step::Refuse) => Step::Refuse,
                Some(step) => decide(spec, authority, step, tree, policy, now),
            };
            Action { name: spec.name.clone(), step }
        })
        .collect()
}

fn decide(
    spec: &CertificateSpec,
    authority: Option<&AuthoritySpec>,
    authority_step: &Step,
    tree: &Tree,
    policy: &Policy,
    now: OffsetDateTime,
) -> Step {
    let key = tree.key(&spec.files.key);
    let certificate = match (tree.get(&spec.files.certificate), tree.certificate(&spec.files.certificate)) {
        (None, _) if key.is_some() => return Step::Issue(vec![Reason::NoCertificate]),
        (None, _) => return Step::Issue(vec![Reason::Missing]),
        // Corrupt, which is a separate problem.
        (Some(_), None) => return Step::Refuse,
        (Some(_), Some(certificate)) => certificate,
    };
    let mut reasons = Vec::new();
    match key {
        None => reasons.push(Reason::NoKey),
        Some(Some(found)) if *found != certificate.key_id => {
            reasons.push(Reason::ForeignKey { found: found.clone(), wanted: certificate.key_id.clone() });
        }
        Some(_) => {}
    }
    let signer = authority.and_then(|authority| tree.certificate(&authority.files.certificate));
    reasons.extend(signature(spec, certificate, signer, authority_step));
    reasons.extend(drift(spec, certificate));
    // Near its authority's end a new certificate would expire no later than this one, so renewals would never end.
    let renewed = signer.map_or(now + policy.leaf_life, |signer| signer.not_after.min(now + policy.leaf_life));
    reasons.extend(age(certificate.not_before, certificate.not_after, renewed, now));
    if reasons.is_empty() && policy.renewal.includes(&spec.name) {
        reasons.push(Reason::Requested);
    }
    if reasons.is_empty() { Step::Keep } else { Step::Renew(reasons) }
}

fn signature(
    spec: &CertificateSpec,
    certificate: &Certificate,
    signer: Option<&Certificate>,
    authority_step: &Step,
) -> Option<Reason> {
    if authority_step.makes_one() {
        return Some(Reason::NewAuthority(spec.authority));
    }
    if signer.is_some_and(|signer| certificate.is_signed_by(signer)) {
        return None;
    }
    let other_name = signer.is_none_or(|signer| signer.subject != certificate.issuer);
    Some(Reason::Signer { wanted: spec.authority, issuer: other_name.then(|| certificate.issuer.clone()) })
}

/// Compares the certificate's fields with the row.
fn drift(spec: &CertificateSpec, certificate: &Certificate) -> Vec<Reason> {
    let mut reasons = Vec::new();
    if certificate.common_name.as_ref() != Some(&spec.common_name) {
        let found = certificate.common_name.clone();
        reasons.push(Reason::CommonName { found, wanted: spec.common_name.clone() });
    }
    if !certificate.organizations.iter().eq(&spec.organization) {
        let found = certificate.organizations.clone();
        reasons.push(Reason::Organization { found, wanted: spec.organization.clone() });
    }
    if certificate.sans != spec.sans {
        reasons.push(Reason::Sans { added: &spec.sans - &certificate.sans, removed: &certificate.sans - &spec.sans });
    }
    if certificate.extended_usages != spec.extended_usages {
        let found = certificate.extended_usages.clone();
        reasons.push(Reason::ExtendedUsages { found, wanted: spec.extended_usages.clone() });
    }
    let wanted = spec.wanted_usages(certificate.is_rsa);
    if certificate.usages != wanted {
        reasons.push(Reason::Usages { found: certificate.usages.clone(), wanted });
    }
    if certificate.is_authority {
        reasons.push(Reason::IsAuthority);
    }
    reasons
}

/// Compares a validity with the clock. `renewed` is the end of a certificate that is issued now.
pub(crate) fn age(
    not_before: OffsetDateTime,
    not_after: OffsetDateTime,
    renewed: OffsetDateTime,
    now: OffsetDateTime,
) -> Option<Reason> {
    let left = not_after - now;
    let life = not_after - not_before;
    if not_before > now {
        return Some(Reason::NotYetValid { from: not_before });
    }
    if not_after <= now {
        return Some(Reason::Expired { days: (-left).whole_days() });
    }
    let due = left * 3 < life && renewed > not_after;
    due.then(|| Reason::Due { days: left.whole_seconds().div_euclid(24 * 3600), life: life.whole_days() })
}
