//! Operators and their keys. No message repeats a key, which may be a private one by mistake.

use std::ops::RangeInclusive;

use base64::{Engine, engine::general_purpose::STANDARD};
use bech32::{Bech32, Checksum, primitives::decode::CheckedHrpstring};

use super::Context;
use crate::{
    codes::Code,
    path::AttrPath,
    report::{Finding, Report},
    shape::OperatorShape,
};

/// Types of SSH keys that a NixOS machine accepts for a login.
const SSH_TYPES: [&str; 7] = [
    "ssh-ed25519",
    "ssh-rsa",
    "ecdsa-sha2-nistp256",
    "ecdsa-sha2-nistp384",
    "ecdsa-sha2-nistp521",
    "sk-ssh-ed25519@openssh.com",
    "sk-ecdsa-sha2-nistp256@openssh.com",
];
/// Types of SSH keys that age encrypts to (age(1), "SSH keys").
const AGE_SSH_TYPES: [&str; 2] = ["ssh-ed25519", "ssh-rsa"];

/// Sizes of RSA keys that age encrypts to, in bits.
const AGE_RSA_BITS: RangeInclusive<usize> = 2048..=4096;

/// Bech32 (BIP 173) of any length: recipients of plugins may exceed its limit of 90 characters.
enum LongBech32 {}

impl Checksum for LongBech32 {
    type MidstateRepr = u32;
    const CODE_LENGTH: usize = usize::MAX;
    const CHECKSUM_LENGTH: usize = Bech32::CHECKSUM_LENGTH;
    const GENERATOR_SH: [u32; 5] = Bech32::GENERATOR_SH;
    const TARGET_RESIDUE: u32 = Bech32::TARGET_RESIDUE;
}

/// Checks that each operator has a valid key, and that there are keys for logins and for decryption.
pub fn keys(context: &Context<'_>, report: &mut Report) {
    let list = AttrPath::of("cluster.operators");
    let operators = &context.shape.cluster.operators;
    for (position, operator) in operators.iter().enumerate() {
        let path = list.join(position);
        if let Some(key) = operator.ssh.as_deref() {
            let problem = ssh_problem(key).or_else(|| operator.age.is_none().then(|| age_ssh_problem(key)).flatten());
            report_key(path.join("ssh"), key, problem, report);
        }
        if let Some(key) = operator.age.as_deref() {
            report_key(path.join("age"), key, age_problem(key), report);
        }
        let is_broken = report.is_broken(&path) || ["ssh", "age"].iter().any(|key| report.is_broken(&path.join(*key)));
        if operator.ssh.is_none() && operator.age.is_none() && !is_broken {
            let message = "this operator has no key";
            let why = "without a key an operator can neither log in nor decrypt";
            let finding = Finding::new(Code::OperatorWithoutKey, path, message, why);
            report.push(finding.help("write ssh = \"ssh-ed25519 ...\" or age = \"age1...\", or both"));
        }
    }
    if !report.is_broken(&list) {
        anyone(operators, list, report);
    }
}

fn report_key(path: AttrPath, key: &str, problem: Option<(&'static str, &'static str)>, report: &mut Report) {
    let Some((message, help)) = problem else { return };
    let is_private = key.contains("PRIVATE KEY") || key.to_ascii_uppercase().contains("AGE-SECRET-KEY");
    if is_private {
        let why = "anyone who can read machines.nix or the Nix store can use it";
        let finding = Finding::new(Code::BadOperatorKey, path, "this is a private key", why);
        report.push(finding.help("write the public key of a new pair: this one is no longer private"));
    } else {
        let why = "an invalid key locks its owner out";
        report.push(Finding::new(Code::BadOperatorKey, path, message, why).help(help));
    }
}

/// Returns what is wrong with an SSH public key, and the help.
fn ssh_problem(key: &str) -> Option<(&'static str, &'static str)> {
    const HELP: &str = "copy the complete line of the .pub file; `ssh-keygen -lf FILE` checks it";
    let key = key.trim();
    if key.lines().count() != 1 {
        return Some(("an SSH public key must be one line", HELP));
    }
    let mut words = key.split_ascii_whitespace();
    let (key_type, Some(blob)) = (words.next().unwrap_or_default(), words.next()) else {
        return Some(("an SSH public key must be a type, then base64", HELP));
    };
    if !SSH_TYPES.contains(&key_type) {
        return Some(("unknown type of SSH key", "write a key of type ssh-ed25519"));
    }
    let Ok(bytes) = STANDARD.decode(blob) else { return Some(("invalid base64 in this SSH key", HELP)) };
    // The blob begins with the type's length and the type again (RFC 4253, 6.6); of ed25519 the total length is known.
    let expected = [&(key_type.len() as u32).to_be_bytes()[..], key_type.as_bytes()].concat();
    let is_cut = bytes.len() <= expected.len() || key_type == "ssh-ed25519" && bytes.len() != 51;
    (!bytes.starts_with(&expected) || is_cut).then_some(("this SSH key is damaged", HELP))
}

/// Returns what is wrong with an age recipient, and the help.
fn age_problem(key: &str) -> Option<(&'static str, &'static str)> {
    const HELP: &str =
        "write what `age-keygen -y IDENTITY` prints: age1 and 58 more characters; or a plugin's recipient";
    let key = key.trim();
    let Ok(checked) = CheckedHrpstring::new::<LongBech32>(key) else {
        return Some(("this is not an age recipient, or it is mistyped", HELP));
    };
    let hrp = checked.hrp();
    let is_x25519 = hrp.as_str() == "age" && checked.byte_iter().count() == 32;
    let is_of_plugin = hrp.as_str().strip_prefix("age1").is_some_and(is_plugin_name);
    (!is_x25519 && !is_of_plugin).then_some(("this age recipient is neither an X25519 one nor a plugin's", HELP))
}

/// Returns true if the text can be the NAME of a program `age-plugin-NAME`.
fn is_plugin_name(name: &str) -> bool {
    !name.is_empty()
        && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"+-._".contains(&byte))
}

/// Returns why age cannot encrypt to a valid SSH key, and the help. Private keys are encrypted to every operator at
/// once, so one such key would block all of them.
fn age_ssh_problem(key: &str) -> Option<(&'static str, &'static str)> {
    const HELP: &str = "write age = \"age1...\" beside it: `age-keygen` makes one; logins still use the SSH key";
    let mut words = key.split_ascii_whitespace();
    let key_type = words.next().unwrap_or_default();
    if !AGE_SSH_TYPES.contains(&key_type) {
        return Some(("age cannot encrypt to an SSH key of this type, and this operator has no age recipient", HELP));
    }
    let blob = STANDARD.decode(words.next().unwrap_or_default()).ok()?;
    let bits = (key_type == "ssh-rsa").then(|| rsa_bits(&blob)).flatten()?;
    (!AGE_RSA_BITS.contains(&bits))
        .then_some(("age encrypts only to RSA keys of 2048 to 4096 bits, and this operator has no age recipient", HELP))
}

/// Returns the size of an RSA key in bits: the blob is its type, the exponent and the modulus, each after its length
/// (RFC 4253, 6.6).
fn rsa_bits(blob: &[u8]) -> Option<usize> {
    let mut rest = blob;
    let mut modulus: &[u8] = &[];
    for _ in 0..3 {
        let (length, after) = rest.split_at_checked(4)?;
        (modulus, rest) = after.split_at_checked(u32::from_be_bytes(length.try_into().ok()?) as usize)?;
    }
    let zeros = modulus.iter().take_while(|byte| **byte == 0).count();
    let first = modulus.get(zeros)?;
    Some((modulus.len() - zeros) * 8 - first.leading_zeros() as usize)
}

/// Checks that at least one operator can log in, and that one can decrypt.
fn anyone(operators: &[OperatorShape], path: AttrPath, report: &mut Report) {
    let (message, why) = match operators {
        [] => {
            ("the cluster has no operators", "no one could log in to the nodes or decrypt the cluster's private keys")
        }
        _ if operators.iter().all(|operator| operator.ssh.is_none() && operator.age.is_none()) => return,
        _ if operators.iter().all(|operator| operator.ssh.is_none()) => {
            ("no operator has an SSH key", "no one could log in to the nodes")
        }
        _ => return,
    };
    let help = "write cluster.operators = [ { name = \"ops\"; ssh = \"ssh-ed25519 ...\"; age = \"age1...\"; } ]";
    report.push(Finding::new(Code::NoOperators, path, message, why).help(help));
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use base64::{Engine, engine::general_purpose::STANDARD};

    use super::{LongBech32, age_problem, age_ssh_problem, ssh_problem};

    const SSH: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIL+Ei1DgdJ0PK2RG3FAKYtGL7OQjrssbvvgem59iU7ci";
    const AGE: &str = "age1lqk39lsxe6gvstlz0z4t4sglfh0rkpjar5e3tl22zkqpkqh4d0mq2yqpvu";

    #[test]
    fn a_whole_ssh_key_is_accepted_and_a_damaged_one_is_not() {
        for key in [SSH.to_owned(), format!("{SSH} ops@example\n")] {
            assert_eq!(ssh_problem(&key), None, "{key}");
        }
        let cut = &SSH[..SSH.len() - 4];
        let other_type = SSH.replacen("ssh-ed25519", "ssh-rsa", 1);
        for key in ["", "ssh-ed25519", cut, &other_type, "ssh-dss AAAA", "x\ny", "ssh-ed25519 !!!"] {
            assert!(ssh_problem(key).is_some(), "{key}");
        }
    }

    #[test]
    fn an_age_recipient_with_a_typing_error_is_found() {
        assert_eq!(age_problem(AGE), None);
        let mistyped = AGE.replacen("lqk3", "lqk4", 1);
        for key in ["", "age1", "AGE-SECRET-KEY-1QQQ", &mistyped, "bc1qar0srrr7xfkvy5l643lydnw9re59gtzzwf5mdq"] {
            assert!(age_problem(key).is_some(), "{key}");
        }
    }

    #[test]
    fn a_recipient_of_an_age_plugin_is_one_of_any_length() {
        for length in [33, 1184] {
            let recipient =
                |hrp| bech32::encode_lower::<LongBech32>(bech32::Hrp::parse(hrp).unwrap(), &vec![7; length]);
            assert_eq!(age_problem(&recipient("age1yubikey").unwrap()), None);
            for hrp in ["age", "age1", "age1a/b", "bc"] {
                assert!(age_problem(&recipient(hrp).unwrap()).is_some(), "{hrp}");
            }
        }
    }

    #[test]
    fn an_ssh_key_that_age_cannot_use_needs_an_age_recipient_beside_it() {
        let rsa = |bits: usize| {
            let mut blob = Vec::new();
            for part in [b"ssh-rsa".to_vec(), vec![1, 0, 1], [vec![0; 1], vec![0xff; bits / 8]].concat()] {
                blob.extend((part.len() as u32).to_be_bytes());
                blob.extend(part);
            }
            format!("ssh-rsa {} ops", STANDARD.encode(blob))
        };
        for (key, usable) in [(rsa(1024), false), (rsa(2048), true), (rsa(4096), true), (rsa(8192), false)] {
            assert_eq!(ssh_problem(&key), None);
            assert_eq!(age_ssh_problem(&key).is_none(), usable, "{key}");
        }
        assert!(age_ssh_problem("sk-ssh-ed25519@openssh.com AAAA").is_some());
        assert_eq!(age_ssh_problem(SSH), None);
    }
}
