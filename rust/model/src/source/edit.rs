//! Edits of machines.nix that preserve everything else as its author wrote it. They apply only where the text is
//! literal.

use std::ops::Range;

use rnix::{
    Root,
    ast::{AttrSet, AttrpathValue, Entry, Expr, HasEntry, List},
};
use rowan::ast::AstNode;
use thiserror::Error;

use super::{body, depth, plain_name, quoted_name, range_of};

/// The change to an application's placement on a machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Placement {
    /// Adds the application to the machine.
    Add,
    /// Removes it from the machine.
    Remove,
}

/// The text is not literal at the place that would have to change.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("machines.nix does not spell out machines.{machine}.apps as a plain list")]
pub struct NotPlain {
    /// The machine whose applications are computed, or given by anything but a list of strings.
    pub machine: String,
}

/// Returns the text with the application added to the machine or removed from it. A text that already has this
/// placement is returned unchanged.
///
/// # Errors
/// The machine or its list is computed, given twice, or has a comment in the part that would be removed.
pub fn place_app(text: &str, machine: &str, app: &str, placement: Placement) -> Result<String, NotPlain> {
    let refused = || NotPlain { machine: machine.to_owned() };
    if depth::is_too_deep(text) {
        return Err(refused());
    }
    let root = Root::parse(text);
    let expression = root.tree().expr().filter(|_| root.errors().is_empty()).ok_or_else(refused)?;
    let edit = match only(&expression, &["machines", machine, "apps"]) {
        Found::One(Expr::List(list)) => change_list(text, &list, app, placement),
        Found::None if placement == Placement::Remove => return Ok(text.to_owned()),
        Found::None => match only(&expression, &["machines", machine]) {
            Found::One(value) => match body(value, 0) {
                Expr::AttrSet(set) => add_attribute(text, &set, app),
                _ => None,
            },
            _ => None,
        },
        _ => None,
    };
    let (range, new) = edit.ok_or_else(refused)?;
    let mut changed = text.to_owned();
    changed.replace_range(range, &new);
    Ok(changed)
}

/// Result of following a path.
enum Found {
    None,
    One(Expr),
    /// More than one value, or a computed one.
    Unclear,
}

fn only(expression: &Expr, path: &[&str]) -> Found {
    let mut values = Vec::new();
    if collect(expression, path, &mut values).is_none() || values.len() > 1 {
        return Found::Unclear;
    }
    values.pop().map_or(Found::None, Found::One)
}

/// Collects the values that bindings assign to the path. `None` if part of it is computed. Recursion is bounded by the
/// path and the wrappers around each part.
fn collect(expression: &Expr, path: &[&str], values: &mut Vec<Expr>) -> Option<()> {
    if path.is_empty() {
        values.push(expression.clone());
        return Some(());
    }
    let Expr::AttrSet(set) = body(expression.clone(), 0) else { return None };
    for entry in set.entries() {
        let Entry::AttrpathValue(binding) = entry else {
            // `inherit machines;` defines the value elsewhere.
            let Entry::Inherit(inherit) = entry else { continue };
            let names_it = inherit.attrs().any(|attribute| plain_name(&attribute).as_deref() == Some(path[0]));
            if names_it {
                return None;
            }
            continue;
        };
        let names: Vec<String> = names(&binding)?;
        let shared = names.iter().zip(path).take_while(|(name, part)| name.as_str() == **part).count();
        if shared == names.len() {
            collect(&binding.value()?, path.get(shared..).unwrap_or_default(), values)?;
        }
    }
    Some(())
}

/// Returns the parts of a binding's name; `None` if one is computed.
fn names(binding: &AttrpathValue) -> Option<Vec<String>> {
    binding.attrpath()?.attrs().map(|attribute| plain_name(&attribute)).collect()
}

type Edit = (Range<usize>, String);

fn change_list(text: &str, list: &List, app: &str, placement: Placement) -> Option<Edit> {
    let mut items: Vec<(Range<usize>, String)> = Vec::new();
    for item in list.items() {
        let Expr::Str(string) = &item else { return None };
        items.push((range_of(item.syntax()), quoted_name(string)?));
    }
    let whole = range_of(list.syntax());
    let at = items.iter().position(|(_, name)| name == app);
    match (placement, at, items.last()) {
        (Placement::Add, Some(_), _) | (Placement::Remove, None, _) => Some((whole.end..whole.end, String::new())),
        (Placement::Add, None, None) => Some((whole, format!("[ \"{app}\" ]"))),
        (Placement::Add, None, Some((last, _))) => {
            let rest = text.get(last.end..whole.end)?;
            Some(match rest.find('\n') {
                // A comment after the last item stays with it.
                Some(line) => (last.end + line..last.end + line, format!("\n{}\"{app}\"", indent(text, last.start)?)),
                None => (last.end..last.end, format!(" \"{app}\"")),
            })
        }
        (Placement::Remove, Some(at), _) => {
            let range = match (at.checked_sub(1).and_then(|before| items.get(before)), items.get(at + 1)) {
                (Some((before, _)), _) => before.end..items.get(at)?.0.end,
                (None, Some((after, _))) => items.get(at)?.0.start..after.start,
                (None, None) => whole.start + 1..whole.end - 1,
            };
            let has_comment = text.get(range.clone())?.contains(['#', '*']);
            let left = if items.len() == 1 { " " } else { "" };
            (!has_comment).then(|| (range, left.to_owned()))
        }
    }
}

/// Returns the edit that adds `apps` after the machine's roles, or at the end of its set.
fn add_attribute(text: &str, set: &AttrSet, app: &str) -> Option<Edit> {
    let whole = range_of(set.syntax());
    let bindings: Vec<AttrpathValue> = set.attrpath_values().collect();
    let has_name = |binding: &&AttrpathValue| names(binding).is_some_and(|names| names == ["roles"]);
    let attribute = format!("apps = [ \"{app}\" ];");
    let Some(behind) = bindings.iter().find(has_name).or(bindings.last()) else {
        return (text.get(whole.start + 1..whole.end - 1)?.trim().is_empty())
            .then(|| (whole, format!("{{ {attribute} }}")));
    };
    let behind = range_of(behind.syntax());
    let line = text.get(whole.start..behind.start)?.contains('\n').then(|| indent(text, behind.start)).flatten();
    let between = line.map_or_else(|| " ".to_owned(), |indent| format!("\n{indent}"));
    Some((behind.end..behind.end, format!("{between}{attribute}")))
}

/// Returns the white space at the start of the line.
fn indent(text: &str, at: usize) -> Option<&str> {
    let line = text.get(text.get(..at)?.rfind('\n')? + 1..)?;
    line.get(..line.len() - line.trim_start().len())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::{Placement, place_app};

    #[track_caller]
    fn check(before: &str, placement: Placement, after: &str) {
        assert_eq!(place_app(before, "w1", "web", placement).unwrap(), after);
        assert_eq!(place_app(after, "w1", "web", placement).unwrap(), after, "a second time changes nothing");
    }

    #[test]
    fn an_application_is_written_where_a_person_would() {
        for (before, after) in [
            (
                "{ machines.w1 = { ip = \"1\"; apps = [ ]; }; }",
                "{ machines.w1 = { ip = \"1\"; apps = [ \"web\" ]; }; }",
            ),
            (
                "{ machines.w1.apps = [ \"db\" ]; machines.w1.ip = \"1\"; }",
                "{ machines.w1.apps = [ \"db\" \"web\" ]; machines.w1.ip = \"1\"; }",
            ),
            (
                "{ machines = { w1 = { roles = [ \"worker\" ]; ip = \"1\"; }; }; }",
                "{ machines = { w1 = { roles = [ \"worker\" ]; apps = [ \"web\" ]; ip = \"1\"; }; }; }",
            ),
            ("{ machines.w1 = { ip = \"1\"; }; }", "{ machines.w1 = { ip = \"1\"; apps = [ \"web\" ]; }; }"),
            (
                "let a = 1; in { machines.\"w1\" = { }; }",
                "let a = 1; in { machines.\"w1\" = { apps = [ \"web\" ]; }; }",
            ),
            (
                "{\n  machines.w1 = {\n    roles = [ \"worker\" ];\n    ip = \"1\";\n  };\n}",
                "{\n  machines.w1 = {\n    roles = [ \"worker\" ];\n    apps = [ \"web\" ];\n    ip = \"1\";\n  };\n}",
            ),
            (
                "{\n  machines.w1.apps = [\n    \"db\" # ours\n  ];\n}",
                "{\n  machines.w1.apps = [\n    \"db\" # ours\n    \"web\"\n  ];\n}",
            ),
        ] {
            check(before, Placement::Add, after);
        }
    }

    #[test]
    fn an_application_is_taken_out_and_nothing_else() {
        for (before, after) in [
            ("{ machines.w1.apps = [ \"web\" ]; }", "{ machines.w1.apps = [ ]; }"),
            ("{ machines.w1.apps = [ \"web\" \"db\" ]; }", "{ machines.w1.apps = [ \"db\" ]; }"),
            ("{ machines.w1.apps = [ \"db\" \"web\" ]; }", "{ machines.w1.apps = [ \"db\" ]; }"),
            ("{ machines.w1.ip = \"1\"; }", "{ machines.w1.ip = \"1\"; }"),
            (
                "{\n  machines.w1.apps = [\n    \"db\" # ours\n    \"x\"\n    \"web\"\n  ];\n}",
                "{\n  machines.w1.apps = [\n    \"db\" # ours\n    \"x\"\n  ];\n}",
            ),
        ] {
            check(before, Placement::Remove, after);
        }
    }

    #[test]
    fn what_is_computed_is_left_to_its_author() {
        for text in [
            "{ machines = { w1.apps = [ ]; } // more; }",
            "{ machines.w1 = worker 5; }",
            "{ machines.w1.apps = all; }",
            "{ machines.w1.apps = [ all ]; }",
            "{ machines.w1.apps = [ \"${x}\" ]; }",
            "{ machines.w1.apps = [ \"a\" ] ++ all; }",
            "{ machines.${x} = { apps = [ ]; }; machines.w1.ip = \"1\"; }",
            "{ machines.w1 = { inherit apps; }; }",
            "{ inherit machines; }",
            "{ machines.w2.apps = [ ]; }",
            "{ machines.w1.ip = \"1\"; }",
            "{ w1.apps = [ ]; }",
            "{ machines.w1.apps = [ ",
            "",
        ] {
            assert!(place_app(text, "w1", "web", Placement::Add).is_err(), "{text}");
        }
        let comment = "{\n  machines.w1.apps = [\n    \"db\" # ours\n    \"web\"\n  ];\n}";
        assert!(place_app(comment, "w1", "web", Placement::Remove).is_err(), "it is unclear whose comment it is");
    }
}
