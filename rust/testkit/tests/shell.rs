//! Checks of the workspace's shell scripts: each one parses, and no check of a test passes because its probe fails.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

/// Returns the files below these folders that git tracks or would add.
fn files(folders: &[&str]) -> Vec<PathBuf> {
    let list = Command::new("git")
        .args(["ls-files", "--cached", "--others", "--exclude-standard", "--"])
        .args(folders)
        .current_dir(root())
        .output()
        .unwrap();
    assert!(list.status.success(), "{list:?}");
    let paths = String::from_utf8(list.stdout).unwrap();
    let paths = paths.lines().map(|path| root().join(path)).filter(|path| path.is_file());
    paths.collect()
}

/// Returns the shell that a script is for; `None` for other files.
fn shell(path: &Path) -> Option<&'static str> {
    let text = fs::read_to_string(path).ok()?;
    let head: String = text.lines().take(4).collect::<Vec<_>>().join("\n");
    match path.extension().and_then(|extension| extension.to_str()) {
        // Scripts for hosts must run in any shell; elsewhere a bash script sources the file, or Nix wraps it in one.
        Some("sh") if path.starts_with(root().join("rust")) => Some("sh"),
        Some("sh") => Some("bash"),
        None if head.starts_with("#!/usr/bin/env bash") || head.contains("shellcheck shell=bash") => Some("bash"),
        None if head.starts_with("#!/bin/sh") => Some("sh"),
        _ => None,
    }
}

#[test]
fn every_script_is_valid_shell() {
    let scripts: Vec<_> = files(&["."]).into_iter().filter_map(|path| Some((shell(&path)?, path))).collect();
    let on_hosts = scripts.iter().filter(|(_, path)| path.starts_with(root().join("rust"))).count();
    assert!(on_hosts >= 21 && scripts.len() >= 100, "only {on_hosts} of {} scripts are in rust/", scripts.len());
    for (shell, path) in scripts {
        let output = Command::new(shell).arg("-n").arg(&path).output().unwrap();
        assert!(output.status.success(), "{}: {}", path.display(), String::from_utf8_lossy(&output.stderr));
    }
}

/// Returns the script's lines with their numbers; a line that ends with a backslash is joined with the next.
fn logical_lines(text: &str) -> Vec<(usize, String)> {
    let mut lines: Vec<(usize, String)> = Vec::new();
    let mut continues = false;
    for (number, line) in text.lines().enumerate() {
        let (line, more) = line.strip_suffix('\\').map_or((line, false), |line| (line, true));
        match lines.last_mut() {
            Some((_, last)) if continues => last.push_str(line.trim_start()),
            _ => lines.push((number + 1, line.trim().to_owned())),
        }
        continues = more;
    }
    lines
}

/// Returns why a check passes even if its probe fails; `None` if it does not.
fn is_blind(line: &str) -> Option<&'static str> {
    let compares = line.starts_with("equal ") || line.starts_with("eventually ");
    if compares && line.contains("$(") && [" \"\"", " ''", " 0", " none"].iter().any(|end| line.ends_with(end)) {
        return Some(
            "a failed probe gives the expected value: use `without` or a value that only a probe that works gives",
        );
    }
    if line.starts_with("eventually ") && line.contains(" '' ") {
        return Some("a failed probe prints nothing, too");
    }
    if line.starts_with("equal ") && line.contains("$([ \"$(") && line.contains(" != ") {
        return Some("the output of a failed probe differs, too: use `changed`");
    }
    if line.starts_with("equal ")
        && ["|| echo none", "|| echo gone", "|| echo absent"].iter().any(|or| line.contains(or))
    {
        return Some("any failure of the probe gives the expected value");
    }
    (line.starts_with("check_exit ") && line.contains("refuse") && line.contains("deadline"))
        .then_some("a server that does not answer has not refused")
}

#[test]
fn no_check_passes_because_its_probe_fails() {
    let mut blind = Vec::new();
    let mut n_checks = 0;
    for path in files(&["tests", "testbed"]).iter().filter(|path| shell(path) == Some("bash")) {
        for (number, line) in logical_lines(&fs::read_to_string(path).unwrap()) {
            n_checks += usize::from(line.starts_with("equal "));
            if let Some(reason) = is_blind(&line) {
                blind.push(format!("{}:{number}: {reason}\n    {line}", path.display()));
            }
        }
    }
    assert!(n_checks > 300, "only {n_checks} checks were looked at");
    assert!(blind.is_empty(), "{}", blind.join("\n"));
}

#[test]
fn a_check_that_compares_with_nothing_is_found() {
    for line in [
        r#"equal "nothing runs" "$(on w1 'systemctl list-units "app-*"')" """#,
        r#"equal "its user is gone" "$(etcd user list | grep -c w3)" 0"#,
        r#"equal "nothing is left" "$(grep -rla x /var || echo none)" none"#,
        r#"equal "it is another" "$([ "$(pid)" != "$before" ] && echo yes)" yes"#,
        r#"eventually "it goes" 20 '' peer_of w1"#,
        r#"check_exit "a client is refused" 1 'bad certificate|deadline' etcdctl"#,
    ] {
        assert!(is_blind(line).is_some(), "{line}");
    }
    for line in [
        r#"equal "all have it" "$(count)" 3"#,
        r#"equal "then it has all" "$?" 0"#,
        r#"without "its user is gone" w2 w3 etcd user list"#,
    ] {
        assert_eq!(is_blind(line), None, "{line}");
    }
}

/// Returns the functions that a script defines, by the lines `name() {`.
fn functions(text: &str) -> impl Iterator<Item = &str> {
    text.lines().filter_map(|line| {
        let (name, rest) = line.split_once("()")?;
        let is_name = !name.is_empty() && name.chars().all(|letter| letter.is_ascii_alphanumeric() || letter == '_');
        (is_name && rest.starts_with(" {")).then_some(name)
    })
}

/// Scripts that deliberately redefine a shared function, with its name.
const OWN: [(&str, &str); 13] = [
    // From the operator's namespace, and with other programs first on PATH.
    ("tests/cluster/control-mesh-cluster/network.sh", "m"),
    // Behind a mark, because the shells of these machines print.
    ("tests/faults/hosts", "on"),
    // A clock that is set differently, for certificates.
    ("tests/mesh/faults", "m"),
    // By way of the machine's namespace, and with other programs first on PATH.
    ("tests/install/run", "m"),
    ("tests/install/lost-quorum", "m"),
    // The same, with the token of a cloud.
    ("tests/machines/run", "m"),
    ("tests/machines/examples", "m"),
    ("tests/machines/digitalocean", "m"),
    ("tests/machines/replace", "m"),
    // Guests of QEMU have no sshd.
    ("tests/mesh/guest/guests.sh", "on"),
    // The client that verifies a certificate, not the server.
    ("tests/cluster/rotation", "answers"),
    // Sentences about values in one file of JSON: another kind of test.
    ("tests/modules/run", "check"),
    ("tests/modules/run", "equal"),
];

#[test]
fn no_script_has_a_copy_of_what_the_library_has() {
    let library = files(&["tests/lib"]);
    // The stages are ./test's own: no script of a test sources them.
    let sourced = library.iter().filter(|path| !path.ends_with("stages.sh"));
    let texts: Vec<String> = sourced.map(|path| fs::read_to_string(path).unwrap()).collect();
    let shared: Vec<&str> = texts.iter().flat_map(|text| functions(text)).collect();
    assert!(shared.len() > 50 && shared.contains(&"check_exit") && shared.contains(&"on"), "{shared:?}");
    let mut copies = Vec::new();
    for path in files(&["tests", "testbed/bench", "demo", "bench"]).iter().filter(|path| !library.contains(path)) {
        if shell(path) != Some("bash") {
            continue;
        }
        let name = path.strip_prefix(root()).unwrap().to_str().unwrap();
        let text = fs::read_to_string(path).unwrap();
        let is_copy = |function: &&str| shared.contains(function) && !OWN.contains(&(name, *function));
        copies.extend(functions(&text).filter(is_copy).map(|function| format!("{name}: {function}")));
    }
    assert!(copies.is_empty(), "tests/lib has these: {copies:?}");
}

/// Returns true if a line of a script runs the function.
fn calls(line: &str, function: &str) -> bool {
    const BEFORE: [&str; 8] = ["$(", "; ", "&& ", "|| ", "| ", "! ", "{ ", "until "];
    let line = line.trim_start();
    let is_call = |rest: &str| {
        rest.strip_prefix(function)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with([' ', ')']) && !rest.starts_with(" = "))
    };
    is_call(line) || BEFORE.iter().any(|before| line.split(before).skip(1).any(is_call))
}

/// Returns the libraries in these texts' directory that a script sources, with those that they source.
fn sourced(text: &str, libraries: &[(String, String)]) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    let mut texts = vec![text];
    while let Some(text) = texts.pop() {
        for (name, content) in libraries {
            if text.lines().any(|line| line.starts_with(". ") && line.contains(name.as_str())) && !found.contains(name)
            {
                found.push(name.clone());
                texts.push(content);
            }
        }
    }
    found
}

#[test]
fn every_function_of_the_library_is_sourced_where_it_is_used() {
    let scripts = files(&["tests", "testbed/bench"]);
    let read =
        |path: &PathBuf| (path.strip_prefix(root()).unwrap().to_str().unwrap().to_owned(), fs::read_to_string(path));
    let texts = scripts.iter().map(read).filter_map(|(name, text)| Some((name, text.ok()?)));
    let (libraries, scripts): (Vec<_>, Vec<_>) = texts.partition(|(name, _)| name.starts_with("tests/lib/"));
    let mut missing = Vec::new();
    let mut n_calls = 0;
    // A script that another one sources has that one's libraries.
    for (name, text) in scripts.iter().filter(|(_, text)| text.contains("tests/lib/")) {
        let has = sourced(text, &libraries);
        for (library, content) in &libraries {
            for function in functions(content).filter(|function| !functions(text).any(|own| own == *function)) {
                let used = text.lines().any(|line| calls(line, function));
                n_calls += usize::from(used);
                if used && !has.contains(library) {
                    missing.push(format!("{name}: {function} of {library}"));
                }
            }
        }
    }
    assert!(n_calls > 300, "only {n_calls} calls were found");
    assert!(missing.is_empty(), "used, and not sourced: {missing:#?}");
}
