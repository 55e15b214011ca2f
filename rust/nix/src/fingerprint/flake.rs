//! Forms of a cluster's `flake.nix` with a known reach, although they pass on all inputs and the complete directory.

use std::collections::BTreeSet;

use super::reach::{Token, scan_tokens, tokens};

/// Location of a cluster's modules.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Library {
    /// In its own directory: `import ./nix/cluster.nix { ... }`.
    Vendored,
    /// In an input: `inputs.machinist.lib.mkCluster { ... }`.
    Input,
}

const VENDORED: &[&str] = &["import", "./nix/cluster.nix"];
const INPUT: &[&str] = &["inputs", ".", "machinist", ".", "lib", ".", "mkCluster"];
const ARGUMENT: &[&str] = &["{", "inherit", "inputs", ";", "root", "=", "./.", ";", "}"];

/// Returns the location of the modules, and the path literals besides the call that `machinist init` writes. Files
/// reached through that call are not included.
///
/// # Errors
/// The file reaches further; the message names the construct.
pub(super) fn scan(text: &str) -> Result<(Library, BTreeSet<String>), String> {
    let tokens = tokens(text);
    let ([_], [_]) =
        (places(&tokens, &["outputs", "=", "inputs", ":"]).as_slice(), places(&tokens, &["outputs", "="]).as_slice())
    else {
        return Err("its outputs are not a function of `inputs`".to_owned());
    };
    for (library, callee) in [(Library::Vendored, VENDORED), (Library::Input, INPUT)] {
        let call = [callee, ARGUMENT].concat();
        if let [at] = places(&tokens, &call).as_slice() {
            let mut literals = scan_tokens(&tokens[..*at])?;
            literals.extend(scan_tokens(&tokens[at + call.len()..])?);
            return Ok((library, literals));
        }
    }
    Err("it does not call the modules as `machinist init` writes it".to_owned())
}

/// Returns the positions of this sequence of words.
fn places(tokens: &[Token<'_>], words: &[&str]) -> Vec<usize> {
    let is_same = |window: &[Token<'_>]| window.iter().map(|(_, text)| *text).eq(words.iter().copied());
    tokens.windows(words.len()).enumerate().filter(|(_, window)| is_same(window)).map(|(at, _)| at).collect()
}
