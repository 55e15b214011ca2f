//! Links of the Markdown files: each leads to a tracked file and to an existing heading, and each page of docs/ is in
//! its index.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Component, Path, PathBuf},
    process::Command,
};

/// Sources of generated pages: their links are relative to the page.
const SOURCES: [&str; 2] = ["rust/model/src/codes", "rust/model/src/docs"];
const REFERENCE: &str = "docs/reference";

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn tracked() -> BTreeSet<String> {
    let output = Command::new("git").arg("-C").arg(root()).args(["ls-files", "-z"]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let names = String::from_utf8(output.stdout).unwrap();
    names.split('\0').filter(|name| !name.is_empty()).map(str::to_owned).collect()
}

/// Returns the lines outside fenced code blocks, with their numbers.
fn prose(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut is_code = false;
    text.lines().zip(1..).filter_map(move |(line, number)| {
        let is_fence = line.trim_start().starts_with("```");
        is_code ^= is_fence;
        (!is_code && !is_fence).then_some((number, line))
    })
}

/// Returns the targets of the inline links and images of a line. Code spans are skipped.
fn targets(line: &str) -> Vec<String> {
    let text: String = line.split('`').step_by(2).collect::<Vec<_>>().join("`");
    let found = text.match_indices("](").filter_map(|(at, _)| text[at + 2..].split_once(')'));
    found.map(|(target, _)| target.to_owned()).collect()
}

/// Returns the anchor that GitHub and mdBook assign to a heading.
fn anchor(heading: &str) -> String {
    let letters = heading.trim().to_lowercase();
    let kept = letters.chars().filter(|letter| letter.is_alphanumeric() || " -_".contains(*letter));
    kept.map(|letter| if letter == ' ' { '-' } else { letter }).collect()
}

fn anchors(text: &str) -> BTreeSet<String> {
    let headings = prose(text).filter_map(|(_, line)| line.strip_prefix('#'));
    headings.map(|heading| anchor(heading.trim_start_matches('#'))).collect()
}

/// Returns the path of a link's target from the root of the repository; `None` if it leads out of it.
fn resolve(page: &str, target: &str) -> Option<String> {
    let is_source = SOURCES.iter().any(|source| page.starts_with(source));
    let folder = if is_source { Path::new(REFERENCE) } else { Path::new(page).parent().unwrap() };
    let mut path: Vec<&str> = Vec::new();
    let joined = folder.join(target);
    for component in joined.components() {
        match component {
            Component::Normal(name) => path.push(name.to_str().unwrap()),
            Component::ParentDir => drop(path.pop()?),
            Component::CurDir => {}
            Component::RootDir | Component::Prefix(_) => return None,
        }
    }
    Some(path.join("/"))
}

/// Returns why a link is dead; `None` if it is not.
fn problem(
    page: &str,
    target: &str,
    files: &BTreeSet<String>,
    known: &BTreeMap<String, BTreeSet<String>>,
) -> Option<String> {
    if target.contains("://") || target.starts_with("mailto:") {
        return None;
    }
    let (path, fragment) = target.split_once('#').unwrap_or((target, ""));
    let file = if path.is_empty() { Some(page.to_owned()) } else { resolve(page, path) };
    let Some(file) = file else { return Some("it leads out of the repository".to_owned()) };
    if !files.contains(&file) {
        return Some(format!("there is no {file}"));
    }
    let is_missing = !fragment.is_empty() && !known.get(&file).is_some_and(|known| known.contains(fragment));
    is_missing.then(|| format!("{file} has no heading #{fragment}"))
}

#[test]
fn every_link_leads_somewhere() {
    let files = tracked();
    let pages: BTreeMap<&String, String> = files
        .iter()
        .filter(|file| file.ends_with(".md"))
        .map(|file| (file, fs::read_to_string(root().join(file)).unwrap()))
        .collect();
    assert!(pages.len() > 50, "only {} pages were found", pages.len());
    let known = pages.iter().map(|(file, text)| ((*file).clone(), anchors(text))).collect();
    let mut dead = Vec::new();
    let mut count = 0;
    for (page, text) in &pages {
        for (number, line) in prose(text) {
            for target in targets(line) {
                count += 1;
                if let Some(problem) = problem(page, &target, &files, &known) {
                    dead.push(format!("{page}:{number}: {target}: {problem}"));
                }
            }
        }
    }
    assert!(count > 100, "only {count} links were found");
    assert!(dead.is_empty(), "{}", dead.join("\n"));
}

#[test]
fn every_page_is_in_the_index() {
    let index = "docs/index.md";
    let text = fs::read_to_string(root().join(index)).unwrap();
    let linked: BTreeSet<String> =
        prose(&text).flat_map(|(_, line)| targets(line)).filter_map(|target| resolve(index, &target)).collect();
    let pages = tracked().into_iter().filter(|file| file.starts_with("docs/") && file.ends_with(".md"));
    let missing: Vec<String> = pages.filter(|page| page != index && !linked.contains(page)).collect();
    assert!(missing.is_empty(), "{index} does not link {missing:?}");
}

#[test]
fn a_dead_link_is_found() {
    let files = BTreeSet::from(["docs/a.md".to_owned(), "docs/b/c.md".to_owned()]);
    let known =
        BTreeMap::from([("docs/a.md".to_owned(), anchors("# A page\n```\n# no heading\n```\n## Who's `x`?\n"))]);
    let problem = |page: &str, target: &str| problem(page, target, &files, &known);
    for target in ["../a.md", "../a.md#a-page", "../a.md#whos-x", "https://example.org/x", "c.md"] {
        assert_eq!(problem("docs/b/c.md", target), None, "{target}");
    }
    for target in ["a.md", "../a.md#b-page", "../a.md#no-heading", "#anything", "../../../a.md"] {
        assert!(problem("docs/b/c.md", target).is_some(), "{target}");
    }
    assert_eq!(targets("see [a](a.md#x) and ![b](b.svg), not `[c](c.md)`"), ["a.md#x", "b.svg"]);
}
