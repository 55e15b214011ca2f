//! Recipients of encrypted files: the operators' public keys.

use std::fmt;

use age::{
    plugin::{self, RecipientPluginV1},
    ssh::ParseRecipientKeyError,
};
use machinist_model::Operator;
use ssh_key::{HashAlg, PublicKey};
use thiserror::Error;

/// The recipients of the operators, at least one, without duplicates.
pub struct Recipients {
    entries: Vec<Entry>,
}

pub(crate) struct Entry {
    label: String,
    key: Box<dyn age::Recipient + Send + Sync>,
}

/// Reason why the operators' keys cannot be used as recipients.
#[allow(
    missing_docs,
    reason = "`operator` and `plugin` are names, `age` is the operator's text, `why` a message without its subject"
)]
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum RecipientError {
    /// There is no operator.
    #[error("no operators: the cluster's private keys cannot be encrypted")]
    NoOperator,
    /// The operator has neither an age recipient nor an SSH key.
    #[error("operator `{operator}` has neither `age` nor `ssh`")]
    NoKey { operator: String },
    /// The operator's `age` is not a recipient.
    #[error("operator `{operator}`: `age = \"{age}\"` is not an age recipient: {why}")]
    Age { operator: String, age: String, why: &'static str },
    /// The operator's `age` belongs to a plugin that is not installed here.
    #[error("operator `{operator}`: age-plugin-{plugin}, which encrypts to its `age`, is not on PATH")]
    Plugin { operator: String, plugin: String },
    /// age cannot encrypt to the operator's SSH key.
    #[error("operator `{operator}`: age cannot encrypt to the SSH key: {why}")]
    Ssh { operator: String, why: String },
}

impl RecipientError {
    /// Returns the way to fix it.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        let age = "`age-keygen` creates one, and `age-keygen -y FILE` prints its recipient";
        Some(match self {
            Self::NoOperator => format!("add `{{ name = \"me\"; age = \"age1...\"; }}` to `cluster.operators`; {age}"),
            Self::NoKey { operator } | Self::Ssh { operator, .. } => {
                format!("give operator `{operator}` an `age = \"age1...\"`; {age}")
            }
            Self::Plugin { plugin, .. } => {
                format!("install age-plugin-{plugin}, or let an operator who has it run this")
            }
            Self::Age { .. } => format!("write the public part of an age identity, `age1...`; {age}"),
        })
    }
}

impl Recipients {
    /// Returns the recipients of the operators: `age` if an operator has it, otherwise the SSH key (ed25519 or RSA).
    ///
    /// # Errors
    /// There is no operator, or one of them has no key that age can encrypt to. No operator is left out silently.
    pub fn from_operators(operators: &[Operator]) -> Result<Self, RecipientError> {
        let mut entries: Vec<Entry> = Vec::new();
        for operator in operators {
            let entry = Entry::of(operator)?;
            if entries.iter().all(|other| other.label != entry.label) {
                entries.push(entry);
            }
        }
        if entries.is_empty() { Err(RecipientError::NoOperator) } else { Ok(Self { entries }) }
    }

    /// Returns the reasons why age cannot encrypt to operators, one per operator. A missing plugin does not count: it
    /// may be installed on another computer.
    #[must_use]
    pub fn problems(operators: &[Operator]) -> Vec<RecipientError> {
        let problem = |operator| Entry::of(operator).err();
        let elsewhere = |error: &RecipientError| matches!(error, RecipientError::Plugin { .. });
        operators.iter().filter_map(problem).filter(|error| !elsewhere(error)).collect()
    }

    /// Returns the recipients in readable form: `age1...`, or type and fingerprint of an SSH key.
    pub fn labels(&self) -> impl Iterator<Item = &str> {
        self.entries.iter().map(|entry| entry.label.as_str())
    }

    pub(crate) fn keys(&self) -> impl Iterator<Item = &dyn age::Recipient> {
        self.entries.iter().map(|entry| &*entry.key as &dyn age::Recipient)
    }
}

impl fmt::Debug for Recipients {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_list().entries(self.labels()).finish()
    }
}

impl Entry {
    pub(crate) fn into_key(self) -> Box<dyn age::Recipient + Send + Sync> {
        self.key
    }

    pub(crate) fn of(operator: &Operator) -> Result<Self, RecipientError> {
        match (&operator.age, &operator.ssh) {
            (Some(age), _) => Self::age(&operator.name, age.trim()),
            (None, Some(line)) => Self::ssh(&operator.name, line.trim()),
            (None, None) => Err(RecipientError::NoKey { operator: operator.name.clone() }),
        }
    }

    fn age(operator: &str, text: &str) -> Result<Self, RecipientError> {
        if text.starts_with("AGE-SECRET-KEY") {
            // The text is a secret: it must not appear in an error message.
            let (age, why) = ("AGE-SECRET-KEY-...".to_owned(), "it is a secret key, which must not be in machines.nix");
            return Err(RecipientError::Age { operator: operator.to_owned(), age, why });
        }
        let why = match text.parse::<age::x25519::Recipient>() {
            Ok(key) => return Ok(Self { label: key.to_string(), key: Box::new(key) }),
            Err(why) => why,
        };
        let label = text.to_owned();
        if let Ok(key) = text.parse::<age::tag::Recipient>() {
            return Ok(Self { label, key: Box::new(key) });
        }
        if let Ok(key) = text.parse::<age::tagpq::Recipient>() {
            return Ok(Self { label, key: Box::new(key) });
        }
        let Ok(recipient) = text.parse::<plugin::Recipient>() else {
            return Err(RecipientError::Age { operator: operator.to_owned(), age: label, why });
        };
        let name = recipient.plugin().to_owned();
        match RecipientPluginV1::new(&name, &[recipient], &[], age::NoCallbacks) {
            Ok(key) => Ok(Self { label, key: Box::new(key) }),
            Err(_) => Err(RecipientError::Plugin { operator: operator.to_owned(), plugin: name }),
        }
    }

    fn ssh(operator: &str, line: &str) -> Result<Self, RecipientError> {
        let failed = |why: String| RecipientError::Ssh { operator: operator.to_owned(), why };
        let key: age::ssh::Recipient = line.parse().map_err(|error| failed(explain(&error)))?;
        let label = ssh_label(line).ok_or_else(|| failed("it is not an OpenSSH public key".to_owned()))?;
        Ok(Self { label, key: Box::new(key) })
    }
}

/// Returns the readable form of the operator's recipient, if there is one.
pub(crate) fn label(operator: &Operator) -> Option<String> {
    match (&operator.age, &operator.ssh) {
        (Some(age), _) => Some(age.trim().to_owned()),
        (None, Some(line)) => ssh_label(line),
        (None, None) => None,
    }
}

/// Returns type and fingerprint without a space, the latter as printed by `ssh-keygen -l`: the public key itself is too
/// long for a message.
fn ssh_label(line: &str) -> Option<String> {
    let key = PublicKey::from_openssh(line.trim()).ok()?;
    Some(format!("{}:{}", key.algorithm(), key.fingerprint(HashAlg::Sha256)))
}

fn explain(error: &ParseRecipientKeyError) -> String {
    match error {
        ParseRecipientKeyError::Ignore => "keys of this type are not supported, only ed25519 and RSA".to_owned(),
        // The type is right, but the data is not a key, such as a point that is not on the curve.
        ParseRecipientKeyError::Unsupported(kind) if ["ssh-ed25519", "ssh-rsa"].contains(&kind.as_str()) => {
            "the key is damaged".to_owned()
        }
        ParseRecipientKeyError::Unsupported(kind) => {
            format!("keys of type `{kind}` are not supported, only ed25519 and RSA")
        }
        ParseRecipientKeyError::RsaModulusTooLarge => "the RSA key has more than 4096 bits".to_owned(),
        ParseRecipientKeyError::RsaModulusTooSmall => "the RSA key has less than 2048 bits".to_owned(),
        _ => "it is not an OpenSSH public key".to_owned(),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic)]
mod tests {
    use machinist_model::Operator;

    use super::Recipients;

    const ED25519: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIHsKLqeplhpW+uObz5dvMgjz1OxfM/XXUB+VHtZ6isGN alice@rust";
    const AGE: &str = "age1t7rxyev2z3rw82stdlrrepyc39nvn86l5078zqkf5uasdy86jp6svpy7pa";

    fn operator(name: &str, ssh: Option<&str>, age: Option<&str>) -> Operator {
        Operator { name: name.to_owned(), ssh: ssh.map(str::to_owned), age: age.map(str::to_owned) }
    }

    #[track_caller]
    fn check(operators: &[Operator], expect: &str) {
        let found = match Recipients::from_operators(operators) {
            Ok(recipients) => recipients.labels().collect::<Vec<_>>().join(" "),
            Err(error) => error.to_string(),
        };
        assert_eq!(found, expect);
    }

    #[test]
    fn an_operators_age_recipient_goes_before_its_ssh_key() {
        check(&[operator("ops", Some(ED25519), Some(AGE))], AGE);
        check(
            &[operator("ops", Some(ED25519), None)],
            "ssh-ed25519:SHA256:PYX4o9UfGwCwG76hFcLAEkmMS0PtIBtV9MNmVgW16Oc",
        );
    }

    #[test]
    fn one_key_of_two_operators_is_one_recipient() {
        check(&[operator("a", None, Some(AGE)), operator("b", None, Some(AGE))], AGE);
    }

    #[test]
    fn an_error_names_the_operator() {
        check(&[], "no operators: the cluster's private keys cannot be encrypted");
        check(&[operator("eve", None, None)], "operator `eve` has neither `age` nor `ssh`");
        check(
            &[operator("eve", None, Some("age1oops"))],
            "operator `eve`: `age = \"age1oops\"` is not an age recipient: invalid Bech32 encoding",
        );
        let ecdsa = "ecdsa-sha2-nistp256 AAAAE2VjZHNhLXNoYTItbmlzdHAyNTYAAAAIbmlzdHAyNTYAAABBBHwf2HMM5TRXvo2SQJjsNkiDD5KqiiNjrGVv3UUh+mMT5RHxiRtOnlqvjhQtBq0VpmpCV/PwUdhOig4vkbqAcEc= a";
        check(
            &[operator("ops", None, Some(AGE)), operator("eve", Some(ecdsa), None)],
            "operator `eve`: age cannot encrypt to the SSH key: keys of type `ecdsa-sha2-nistp256` are not supported, only \
             ed25519 and RSA",
        );
    }

    #[test]
    fn a_secret_key_in_machines_nix_is_refused_and_not_shown() {
        check(
            &[operator("eve", None, Some("AGE-SECRET-KEY-1ABCDEF"))],
            "operator `eve`: `age = \"AGE-SECRET-KEY-...\"` is not an age recipient: it is a secret key, which must not be in \
             machines.nix",
        );
    }

    #[test]
    fn a_key_that_only_encryption_finds_wrong_is_a_problem() {
        // The first 4 bytes of the point's length are right, the point is not one of the curve.
        let no_point = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAIAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA eve";
        let problems = Recipients::problems(&[operator("ops", None, Some(AGE)), operator("eve", Some(no_point), None)]);
        let words: Vec<String> = problems.iter().map(ToString::to_string).collect();
        assert_eq!(words, ["operator `eve`: age cannot encrypt to the SSH key: the key is damaged"]);
    }
}
