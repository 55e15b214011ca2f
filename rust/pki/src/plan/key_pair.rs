//! Plan for shared key pairs. They are generated once: holders of a new pair reject what the old one signed. Only a
//! password may be replaced, on an explicit request for it.

use super::{Policy, Problem, Reason, Renewal, Step};
use crate::{KeyPairSpec, KeyUse, Table, Tree, encryption, rotation};

pub(super) fn decide(spec: &KeyPairSpec, table: &Table, tree: &Tree, policy: &Policy) -> (Step, Option<Problem>) {
    if spec.used_as == KeyUse::Encryption {
        return decide_encryption(spec, table, tree);
    }
    let (public, key) = (&spec.files.certificate, &spec.files.key);
    let refuse = |subject: &std::path::Path, what: String| {
        let hint = match spec.used_as {
            KeyUse::KeyPair => {
                "restore both halves from version control; to start with a new pair, move the remaining half away: every \
                 existing service account token is then rejected, and all control planes must be deployed together"
            }
            KeyUse::Token => {
                "restore both halves from version control: the nodes of the running cluster authenticate by the token \
                 derived from it"
            }
            KeyUse::Password => {
                "restore both halves from version control, or move the remaining half away and run `machinist certs gen`: \
                 that creates a new password, which the other side must be configured with"
            }
            KeyUse::Tinc | KeyUse::Wireguard => {
                "restore both halves from version control; to start with a new pair, move the remaining half away: the \
                 other nodes do not accept its holder until they are deployed with the new one"
            }
            KeyUse::Encryption => "restore both halves from version control: encrypted data cannot be read without it",
        }
        .to_owned();
        (Step::Refuse, Some(Problem { subject: subject.display().to_string(), what, hint }))
    };
    // Only by its name: `--all` is about certificates, and its user does not expect a change on the Router.
    let is_requested = spec.used_as == KeyUse::Password
        && matches!(&policy.renewal, Renewal::Named(names) if names.contains(&spec.name));
    let (found_public, found_key) = (tree.get(public), tree.get(key));
    match (found_public, tree.public_key(public), found_key, tree.key(key)) {
        (None, _, None, _) => (Step::Issue(vec![Reason::Missing]), None),
        // An interrupted replacement. The old half is obsolete anyway.
        (_, Some(public), _, Some(Some(of_key))) if public != of_key && spec.used_as == KeyUse::Password => {
            (Step::Renew(vec![Reason::ForeignKey { found: of_key.clone(), wanted: public.clone() }]), None)
        }
        (_, Some(public), _, Some(Some(of_key))) if public != of_key => {
            let (step, problem) =
                refuse(key, format!("the private key is that of {of_key}, the public one is {public}"));
            let command = rotation::Subject::KeyPair(spec).command();
            let continue_it = format!("`{command}` continues the interrupted rotation");
            let rotating = tree.rotation(&spec.name).is_some();
            (step, problem.map(|problem| if rotating { Problem { hint: continue_it, ..problem } } else { problem }))
        }
        (_, Some(_), _, Some(_)) if is_requested => (Step::Renew(vec![Reason::Requested]), None),
        (_, Some(_), _, Some(_)) => (Step::Keep, None),
        // Left by an interrupted first run. The public half is derived from the private one.
        (None, _, _, Some(_)) => (Step::Issue(vec![Reason::NoPublicHalf]), None),
        (_, _, None, _) => refuse(key, "the private half of the key pair is missing".to_owned()),
        // Corrupt, which is a separate problem.
        _ => (Step::Refuse, None),
    }
}

/// Plans the keys that encrypt Secrets. Only a new cluster gets its first key directly: API servers without a key could
/// not read what the first one with the key encrypts, so a running cluster proceeds in stages.
fn decide_encryption(spec: &KeyPairSpec, table: &Table, tree: &Tree) -> (Step, Option<Problem>) {
    let files = &spec.files;
    if tree.get(&files.certificate).is_none() {
        return match tree.key(&files.key) {
            // Left by an interrupted first run.
            Some(_) => (Step::Issue(vec![Reason::NoPublicHalf]), None),
            None if rotation::is_plain_text(table, tree) || tree.rotation(&spec.name).is_some() => (Step::Keep, None),
            None => (Step::Issue(vec![Reason::Missing]), None),
        };
    }
    let missing = encryption::missing(tree, files);
    let Some(id) = missing.first() else {
        let is_list = !tree.public_keys(&files.certificate).is_empty();
        // Otherwise corrupt, which is a separate problem.
        return (if is_list { Step::Keep } else { Step::Refuse }, None);
    };
    let problem = Problem {
        subject: files.certificate.display().to_string(),
        what: format!("the private half of {id} is missing"),
        hint: match tree.rotation(&spec.name) {
            Some(_) => {
                "`machinist certs rotate-encryption` finishes an interrupted rotation; otherwise restore it \
                        from version control: Secrets that it encrypted cannot be read without it"
            }
            None => "restore it from version control: Secrets that it encrypted cannot be read without it",
        }
        .to_owned(),
    };
    (Step::Refuse, Some(problem))
}
