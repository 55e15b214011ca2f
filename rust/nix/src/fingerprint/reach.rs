//! Set of files in a work tree that an evaluation can read, starting from the files that it certainly reads.
//!
//! A flake is pure, so it reads only paths from literals in the files that it has read. If a text could construct a
//! path in another way, the result is that anything may be read: too much costs an evaluation, too little would keep an
//! outdated system.

use std::collections::BTreeSet;

use rnix::SyntaxKind as Kind;

/// Content of a file, with regard to the files it refers to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Source {
    /// Nix, which is searched for paths.
    Nix(String),
    /// Text with known paths, relative to the file.
    Known(BTreeSet<String>),
    /// Text that Nix may read and parse, such as JSON.
    Data(String),
    /// No references to other files.
    Leaf,
}

/// Names that give access to the complete source, or to a path that no literal contains.
const REACH_FURTHER: [&str; 10] = [
    "__curPos",
    "self",
    "sourceInfo",
    "getFlake",
    "dirOf",
    "unsafeGetAttrPos",
    "includeAllModules",
    "toPath",
    "storePath",
    "__toPath",
];

/// Returns the files reachable from the roots, without those in `known`. A root or a literal that names a directory
/// stands for all files in it.
///
/// # Errors
/// Anything may be read; the message gives the reason.
pub(super) fn reach(
    roots: &[String],
    files: &BTreeSet<String>,
    known: &BTreeSet<String>,
    source: &mut impl FnMut(&str) -> Source,
) -> Result<BTreeSet<String>, String> {
    let mut reached = BTreeSet::new();
    let mut open: Vec<String> = roots.to_vec();
    while let Some(path) = open.pop() {
        for file in under(&path, files) {
            if known.contains(file) || !reached.insert(file.clone()) {
                continue;
            }
            let literals = match source(file) {
                Source::Nix(text) => scan(&text).map_err(|why| format!("{file}: {why}"))?,
                Source::Known(literals) => literals,
                Source::Data(text) if climbs(&text) => return Err(format!("{file}: text with `..`")),
                Source::Data(_) | Source::Leaf => continue,
            };
            for literal in literals {
                let target =
                    resolve(file, &literal).ok_or_else(|| format!("{file}: {literal} leads out of the tree"))?;
                open.push(target);
            }
        }
    }
    Ok(reached)
}

/// Returns the file itself, or all files of the directory.
fn under<'f>(path: &'f str, files: &'f BTreeSet<String>) -> impl Iterator<Item = &'f String> {
    let prefix = if path.is_empty() { String::new() } else { format!("{path}/") };
    let below = files.range(prefix.clone()..).take_while(move |file| file.starts_with(&prefix));
    files.get(path).into_iter().chain(below)
}

/// Resolves a literal of a file, both relative to the work tree. `None` if it leads out of it.
fn resolve(file: &str, literal: &str) -> Option<String> {
    let mut parts: Vec<&str> = file.split('/').collect();
    parts.pop();
    for part in literal.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()?),
            name => parts.push(name),
        }
    }
    Some(parts.join("/"))
}

/// Returns true if a word of the text has `..` as a path component.
fn climbs(text: &str) -> bool {
    let outside = |c: Option<char>| !c.is_some_and(|c| c.is_alphanumeric() || c == '.' || c == '_' || c == '-');
    text.match_indices("..").any(|(at, _)| {
        outside(text.get(..at).and_then(|before| before.chars().next_back()))
            && outside(text.get(at + 2..).and_then(|after| after.chars().next()))
    })
}

/// A token of a Nix text with its kind.
pub(super) type Token<'t> = (Kind, &'t str);

/// Returns the tokens of a Nix text, without white space and comments.
pub(super) fn tokens(text: &str) -> Vec<Token<'_>> {
    let trivia = |kind: Kind| matches!(kind, Kind::TOKEN_WHITESPACE | Kind::TOKEN_COMMENT);
    rnix::tokenize(text).filter(|(kind, _)| !trivia(*kind)).collect()
}

/// Returns the path literals of a Nix text. A literal that continues with `${` stands for its directory.
///
/// # Errors
/// The text could reach more than its literals; the message names the construct.
pub(super) fn scan(text: &str) -> Result<BTreeSet<String>, String> {
    scan_tokens(&tokens(text))
}

/// Returns the path literals of these tokens.
///
/// # Errors
/// As [`scan`].
pub(super) fn scan_tokens(tokens: &[Token<'_>]) -> Result<BTreeSet<String>, String> {
    let mut literals = BTreeSet::new();
    for (at, (kind, text)) in tokens.iter().enumerate() {
        let next = |n: usize| tokens.get(at + n).copied();
        match kind {
            // The part after `${x}` is relative to an unknown value.
            Kind::TOKEN_PATH_REL if follows_interpolation(tokens, at) && climbs(text) => {
                return Err(format!("{text} after an interpolation"));
            }
            Kind::TOKEN_PATH_REL => {
                if is_made_text(tokens, at) {
                    return Err(format!("toString {text}"));
                }
                let open = matches!(next(1), Some((Kind::TOKEN_INTERPOL_START, _)));
                let literal = if open { text.rsplit_once('/').map_or(".", |(directory, _)| directory) } else { text };
                literals.insert(literal.to_owned());
            }
            Kind::TOKEN_PATH_ABS | Kind::TOKEN_PATH_HOME | Kind::TOKEN_PATH_SEARCH => return Err((*text).to_owned()),
            Kind::TOKEN_ERROR => return Err((*text).to_owned()),
            Kind::TOKEN_STRING_CONTENT if !is_example(tokens, at) && (climbs(text) || is_relative_input(text)) => {
                return Err(format!("the string {text:?}"));
            }
            Kind::TOKEN_IDENT if REACH_FURTHER.contains(text) => return Err(format!("`{text}`")),
            Kind::TOKEN_IDENT if *text == "inputs" && !names_one_input(next(1), next(2)) => {
                return Err("all inputs as one value, including the flake itself".to_owned());
            }
            _ => {}
        }
    }
    Ok(literals)
}

fn follows_interpolation(tokens: &[(Kind, &str)], at: usize) -> bool {
    let before = at.checked_sub(1).and_then(|before| tokens.get(before));
    matches!(before, Some((Kind::TOKEN_INTERPOL_END, _)))
}

/// Returns true for `toString ./x`, the path of the complete source with a name appended.
fn is_made_text(tokens: &[(Kind, &str)], at: usize) -> bool {
    let before = tokens[..at].iter().rev().find(|(kind, _)| *kind != Kind::TOKEN_L_PAREN);
    matches!(before, Some((Kind::TOKEN_IDENT, "toString")))
}

/// Returns true for `literalExpression "..."`, which is text for the manual.
fn is_example(tokens: &[(Kind, &str)], at: usize) -> bool {
    let before = tokens[..at].split_last().map(|(start, before)| (start.0, before.last()));
    matches!(before, Some((Kind::TOKEN_STRING_START, Some((Kind::TOKEN_IDENT, "literalExpression")))))
}

/// Returns true for an input of the flake in its own tree: not a literal, but read all the same.
fn is_relative_input(text: &str) -> bool {
    text.starts_with("./") || text.strip_prefix("path:").is_some_and(|path| !path.starts_with('/'))
}

/// Returns true if only one input is used: `inputs.name`, `inputs = ...` and `inputs: ...` pass nothing on; `inputs`
/// alone includes `self`.
fn names_one_input(first: Option<(Kind, &str)>, second: Option<(Kind, &str)>) -> bool {
    match first {
        Some((Kind::TOKEN_ASSIGN | Kind::TOKEN_COLON, _)) => true,
        Some((Kind::TOKEN_DOT, _)) => matches!(second, Some((Kind::TOKEN_IDENT, name)) if name != "self"),
        _ => false,
    }
}

#[cfg(test)]
#[path = "reach_tests.rs"]
mod tests;
