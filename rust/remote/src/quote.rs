//! Quoting of one word for a POSIX shell.

/// Returns `word` so that any POSIX shell reads it back as exactly this one word.
///
/// Words of harmless characters are unchanged; others are put in single quotes. A NUL byte cannot be part of a shell
/// word: [`Request`](crate::Request)s that contain one are rejected before anything is sent.
pub fn quote(word: &str) -> String {
    let harmless =
        |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '/' | ':' | '@' | '%' | '+' | ',' | '=');
    // A leading `=` means command lookup to zsh, a leading `~` (never harmless here) a home directory.
    if !word.is_empty() && word.chars().all(harmless) && !word.starts_with('=') {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]

    use super::*;
    use proptest::prelude::*;
    use std::process::Command;

    #[track_caller]
    fn check(word: &str) {
        let script = format!("printf %s {}", quote(word));
        let output = Command::new("/bin/sh").arg("-c").arg(script).output().unwrap();
        assert_eq!(String::from_utf8(output.stdout).unwrap(), word);
    }

    #[test]
    fn awkward_words_survive_a_shell() {
        for word in [
            "",
            "a b",
            "it's",
            "''",
            "$HOME",
            "`id`",
            "a\nb",
            "\\",
            "*",
            "~",
            "=ls",
            "-n",
            "#x",
            "ä€😀",
            "a=b",
            "{a,b}",
            "!x",
        ] {
            check(word);
        }
    }

    #[test]
    fn harmless_words_stay_readable() {
        assert_eq!(quote("/nix/store/abc-1.0_x"), "/nix/store/abc-1.0_x");
        assert_eq!(quote("two words"), "'two words'");
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]
        #[test]
        fn any_word_without_nul_survives_a_shell(word in "[^\\x00]{0,40}") {
            check(&word);
        }
    }
}
