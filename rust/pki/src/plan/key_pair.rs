//! Key pairs that nodes share are made once. What one signed is refused by whoever gets another. Only a password may be
//! replaced, when a person asks for just that.

use super::{Policy, Problem, Reason, Renewal, Step};
use crate::{KeyPairSpec, KeyUse, Table, Tree, encryption, rotation};

pub(super) fn judge(spec: &KeyPairSpec, table: &Table, tree: &Tree, policy: &Policy) -> (Step, Option<Problem>) {
    if spec.used_as == KeyUse::Encryption {
        return judge_encryption(spec, table, tree);
    }
    let (public, key) = (&spec.files.certificate, &spec.files.key);
    let refuse = |subject: &std::path::Path, what: String| {
        let hint = match spec.used_as {
            KeyUse::KeyPair => {
                "restore both halves from version control; to begin with a new pair, move what is left away: every token of \
                 a service account that exists is refused then, and all control planes have to be deployed together"
            }
            KeyUse::Token => {
                "restore both halves from version control: the nodes of the running cluster know each other by the token \
                 that follows from it"
            }
            KeyUse::Password => {
                "restore both halves from version control, or move what is left away and run `machinist certs gen`: that makes \
                 a new password, which the other side has to be told"
            }
            KeyUse::Encryption => "restore both halves from version control: what is encrypted cannot be read without it",
        }
        .to_owned();
        (Step::Refuse, Some(Problem { subject: subject.display().to_string(), what, hint }))
    };
    // By its name only: `--all` is about certificates, and nobody who says it thinks of the Router.
    let is_asked_for = spec.used_as == KeyUse::Password
        && matches!(&policy.renewal, Renewal::Named(names) if names.contains(&spec.name));
    let (found_public, found_key) = (tree.get(public), tree.get(key));
    match (found_public, tree.public_key(public), found_key, tree.key(key)) {
        (None, _, None, _) => (Step::Issue(vec![Reason::Missing]), None),
        // A replacement that was cut off. What the old half was good for is over anyway.
        (_, Some(public), _, Some(Some(of_key))) if public != of_key && spec.used_as == KeyUse::Password => {
            (Step::Renew(vec![Reason::ForeignKey { found: of_key.clone(), wanted: public.clone() }]), None)
        }
        (_, Some(public), _, Some(Some(of_key))) if public != of_key => {
            let (step, problem) = refuse(key, format!("the private key is of {of_key}, the public one is {public}"));
            let goes_on = "`machinist certs rotate-sa` goes on with the rotation that was cut off";
            let rotating = tree.rotation(&spec.name).is_some();
            (
                step,
                problem.map(|problem| if rotating { Problem { hint: goes_on.to_owned(), ..problem } } else { problem }),
            )
        }
        (_, Some(_), _, Some(_)) if is_asked_for => (Step::Renew(vec![Reason::Asked]), None),
        (_, Some(_), _, Some(_)) => (Step::Keep, None),
        // What a first run leaves that was cut off. The public half follows from the private one.
        (None, _, _, Some(_)) => (Step::Issue(vec![Reason::NoPublicHalf]), None),
        (_, _, None, _) => refuse(key, "the private half of the key pair is missing".to_owned()),
        // Corrupt, which is a problem of its own.
        _ => (Step::Refuse, None),
    }
}

/// The keys that encrypt Secrets. Only a new cluster gets its first one by itself: API servers that have no key yet could not read
/// what the first one that has it encrypts, so a cluster that runs takes stages.
fn judge_encryption(spec: &KeyPairSpec, table: &Table, tree: &Tree) -> (Step, Option<Problem>) {
    let files = &spec.files;
    if tree.get(&files.certificate).is_none() {
        return match tree.key(&files.key) {
            // What a first run leaves that was cut off.
            Some(_) => (Step::Issue(vec![Reason::NoPublicHalf]), None),
            None if rotation::is_plain_text(table, tree) || tree.rotation(&spec.name).is_some() => (Step::Keep, None),
            None => (Step::Issue(vec![Reason::Missing]), None),
        };
    }
    let missing = encryption::missing(tree, files);
    let Some(id) = missing.first() else {
        let is_list = !tree.public_keys(&files.certificate).is_empty();
        // Otherwise corrupt, which is a problem of its own.
        return (if is_list { Step::Keep } else { Step::Refuse }, None);
    };
    let problem = Problem {
        subject: files.certificate.display().to_string(),
        what: format!("the private half of {id} is missing"),
        hint: match tree.rotation(&spec.name) {
            Some(_) => "`machinist certs rotate-encryption` finishes a rotation that was interrupted; otherwise restore it from \
                        version control: Secrets that it encrypted cannot be read without it",
            None => "restore it from version control: Secrets that it encrypted cannot be read without it",
        }
        .to_owned(),
    };
    (Step::Refuse, Some(problem))
}
