//! Picture of the crates, `docs/internals/crates.svg`: drawn from `cargo metadata`. `UPDATE_EXPECT=1` rewrites it.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

use std::{
    collections::{BTreeMap, BTreeSet},
    env,
    fmt::Write as _,
    fs,
    path::PathBuf,
};

use cargo_metadata::{DependencyKind, MetadataCommand};

const BOX_WIDTH: usize = 110;
const BOX_HEIGHT: usize = 34;
const GAP: usize = 24;
const ROW: usize = 92;
const MARGIN: usize = 20;

const STYLE: &str = "  <style>
    rect.page { fill: #ffffff; }
    rect.crate { fill: #b6e3ff; stroke: #afb8c1; }
    text { font: bold 13px monospace; fill: #24292f; text-anchor: middle; }
    .arrow { stroke: #57606a; stroke-width: 1.2; fill: none; marker-end: url(#tip); }
  </style>
  <defs><marker id=\"tip\" viewBox=\"0 0 8 8\" refX=\"7\" refY=\"4\" markerWidth=\"7\" markerHeight=\"7\" orient=\"auto\">\
<path d=\"M 0 0 L 8 4 L 0 8 z\" fill=\"#57606a\"/></marker></defs>
  <rect class=\"page\" width=\"100%\" height=\"100%\"/>
";

/// Dependencies of each crate on other crates of the workspace, without the prefix of their names.
type Crates = BTreeMap<String, BTreeSet<String>>;

fn crates() -> Crates {
    let options = ["--offline", "--no-deps"].map(str::to_owned).to_vec();
    let metadata = MetadataCommand::new().other_options(options).exec().unwrap();
    let short = |name: &str| name.strip_prefix("machinist-").map(str::to_owned);
    let packages = metadata.workspace_packages().into_iter();
    packages
        .map(|package| {
            let used = package.dependencies.iter().filter(|used| used.kind != DependencyKind::Development);
            (short(&package.name).unwrap(), used.filter_map(|used| short(&used.name)).collect())
        })
        .collect()
}

/// Returns all direct and indirect dependencies of a crate, without itself.
fn reachable(crates: &Crates, from: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut open: Vec<&str> = vec![from];
    while let Some(name) = open.pop() {
        for used in crates.get(name).into_iter().flatten() {
            if found.insert(used.clone()) {
                open.push(used);
            }
        }
    }
    found
}

/// Removes dependencies that are implied by others.
fn reduced(crates: &Crates) -> Crates {
    let is_implied = |used: &BTreeSet<String>, name: &str| {
        used.iter().any(|other| other != name && reachable(crates, other).contains(name))
    };
    let keep = |used: &BTreeSet<String>| used.iter().filter(|name| !is_implied(used, name)).cloned().collect();
    crates.iter().map(|(name, used)| (name.clone(), keep(used))).collect()
}

/// Returns the length of the longest path down: the row of a crate, counted from below.
fn height(crates: &Crates, name: &str) -> usize {
    crates[name].iter().map(|used| height(crates, used) + 1).max().unwrap_or(0)
}

/// Returns the crates of each row from left to right, the lowest row first. Each crate is placed near its dependencies;
/// crates without any neighbour come last.
fn rows(crates: &Crates) -> Vec<Vec<String>> {
    let used_by_any: BTreeSet<&String> = crates.values().flatten().collect();
    let mut rows: Vec<Vec<String>> = Vec::new();
    for name in crates.keys() {
        let row = height(crates, name);
        rows.resize(rows.len().max(row + 1), Vec::new());
        rows[row].push(name.clone());
    }
    rows[0].sort_by_key(|name| (!used_by_any.contains(name), name.clone()));
    let mut place: BTreeMap<String, usize> = BTreeMap::new();
    for row in &mut rows {
        // The mean of the places below, in hundredths of a box.
        let mean = |name: &String| {
            let below: Vec<usize> = crates[name].iter().filter_map(|used| place.get(used).copied()).collect();
            if below.is_empty() { None } else { Some(below.iter().sum::<usize>() * 100 / below.len()) }
        };
        if row.iter().any(|name| mean(name).is_some()) {
            row.sort_by_key(|name| (mean(name), name.clone()));
        }
        for (index, name) in row.iter().enumerate() {
            place.insert(name.clone(), index * 100 / row.len());
        }
    }
    rows
}

fn picture(crates: &Crates) -> String {
    let crates = reduced(crates);
    let rows = rows(&crates);
    let widest = rows.iter().map(Vec::len).max().unwrap_or(1);
    let width = 2 * MARGIN + widest * (BOX_WIDTH + GAP) - GAP;
    let height = 2 * MARGIN + (rows.len() - 1) * ROW + BOX_HEIGHT;
    let mut left_top: BTreeMap<&str, (usize, usize)> = BTreeMap::new();
    for (number, row) in rows.iter().enumerate() {
        let step = (width - 2 * MARGIN) / row.len();
        for (index, name) in row.iter().enumerate() {
            let left = MARGIN + index * step + (step - BOX_WIDTH) / 2;
            left_top.insert(name, (left, MARGIN + (rows.len() - 1 - number) * ROW));
        }
    }
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" role=\"img\" \
         aria-label=\"The crates and their dependencies\">\n{STYLE}"
    );
    for (name, used) in &crates {
        let (left, top) = left_top[name.as_str()];
        for used in used {
            let (to, below) = left_top[used.as_str()];
            // Writing to a String cannot fail.
            let _ = writeln!(
                svg,
                "  <path class=\"arrow\" d=\"M {} {} L {} {below}\"/>",
                left + BOX_WIDTH / 2,
                top + BOX_HEIGHT,
                to + BOX_WIDTH / 2,
            );
        }
    }
    for (name, (left, top)) in &left_top {
        let _ = writeln!(
            svg,
            "  <rect class=\"crate\" x=\"{left}\" y=\"{top}\" width=\"{BOX_WIDTH}\" height=\"{BOX_HEIGHT}\" rx=\"4\"/>\n  \
             <text x=\"{}\" y=\"{}\">{name}</text>",
            left + BOX_WIDTH / 2,
            top + BOX_HEIGHT / 2 + 4,
        );
    }
    svg.push_str("</svg>\n");
    svg
}

#[test]
fn the_picture_of_the_crates_is_current() {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../docs/internals/crates.svg");
    let drawn = picture(&crates());
    if env::var_os("UPDATE_EXPECT").is_some() {
        fs::write(&path, &drawn).unwrap();
    }
    let committed = fs::read_to_string(&path).unwrap_or_default();
    assert!(committed == drawn, "docs/internals/crates.svg is not current: run with UPDATE_EXPECT=1");
}

#[test]
fn a_dependency_that_follows_from_others_is_left_out() {
    let uses = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    let crates = Crates::from([
        ("cli".to_owned(), uses(&["model", "rollout", "text"])),
        ("model".to_owned(), uses(&[])),
        ("rollout".to_owned(), uses(&["model"])),
        ("text".to_owned(), uses(&[])),
    ]);
    assert_eq!(reduced(&crates)["cli"], uses(&["rollout", "text"]));
    assert_eq!(rows(&reduced(&crates)), [vec!["model", "text"], vec!["rollout"], vec!["cli"]]);
}
