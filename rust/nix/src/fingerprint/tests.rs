//! Table of changes and the digests that they change.
#![allow(clippy::unwrap_used)]

use std::{fs, path::Path, process::Command};

use super::{Fingerprints, Known, KnownFile, KnownInput};
use crate::{FlakeRef, Nix, Override};

const FLAKE: &str = include_str!("../../../../nix/template-flake.nix");
const CLUSTER: &str = include_str!("../../../../nix/cluster.nix");
const COMPUTED: &str = "import (../. + \"/one\")";
const KNOWN: Known<'_> = Known {
    files: &[
        KnownFile { path: "nix/cluster.nix", text: CLUSTER, reads: &["../modules"] },
        KnownFile { path: "nix/computed.nix", text: COMPUTED, reads: &["./of-it", "./not-there"] },
    ],
    input: KnownInput { name: "machinist", files: &[("flake.nix", "{ }"), ("nix/cluster.nix", CLUSTER)] },
};
/// A cluster's flake as written by `machinist init`.
const ONE_INPUT: &str = include_str!("../../../cli/src/template/flake.nix");

fn git(directory: &Path, arguments: &[&str]) {
    let identity = ["-c", "user.name=t", "-c", "user.email=t@localhost"];
    let status = Command::new("git").arg("-C").arg(directory).args(identity).args(arguments).status().unwrap();
    assert!(status.success(), "git {arguments:?}");
}

fn write(directory: &Path, name: &str, text: &str) {
    let path = directory.join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

/// Returns a directory as written by `machinist init`, with `more` files, in a folder of a committed work tree.
fn directory(more: &[(&str, &str)]) -> tempfile::TempDir {
    let worktree = tempfile::tempdir().unwrap();
    let cluster = worktree.path().join("c");
    git(worktree.path(), &["init", "-q"]);
    let files = [
        ("flake.nix", FLAKE),
        ("flake.lock", "{}"),
        ("nix/cluster.nix", CLUSTER),
        ("modules/default.nix", "{ imports = [ ./x.nix ]; }"),
        ("modules/x.nix", "{ lib, ... }: { }"),
        ("machines.nix", "{ }"),
        ("state/cluster.json", "{}"),
        ("certs/a.pem", "A"),
        ("certs/b.pem", "B"),
        ("generated/a.nix", "{ x = ../certs/a.pem; }"),
        ("generated/b.nix", "{ x = ../certs/b.pem; }"),
        ("nodes/a.nix", "{ imports = [ ../shared/of-a.nix ]; }"),
        ("nodes/b/disk.nix", "{ }"),
        ("shared/of-a.nix", "{ y = builtins.readFile ./text; }"),
        ("shared/text", "hello there"),
        ("README.md", "words"),
    ];
    for (name, text) in files.iter().chain(more) {
        write(&cluster, name, text);
    }
    git(worktree.path(), &["add", "-A"]);
    git(worktree.path(), &["commit", "-qm", "x"]);
    worktree
}

fn fingerprints(worktree: &Path, overrides: &[Override]) -> Fingerprints {
    let nix = Nix::find(overrides.to_vec()).unwrap();
    nix.fingerprints(&FlakeRef::find(&worktree.join("c")).unwrap(), KNOWN, &["a", "b"]).unwrap()
}

/// Returns the nodes whose digests the change changes.
fn changed(worktree: &Path, change: impl FnOnce(&Path)) -> String {
    changed_with(worktree, &[], change)
}

/// The same with replaced inputs.
fn changed_with(worktree: &Path, overrides: &[Override], change: impl FnOnce(&Path)) -> String {
    let before = fingerprints(worktree, overrides).of;
    change(&worktree.join("c"));
    let after = fingerprints(worktree, overrides).of;
    before.into_iter().filter(|(node, digest)| after.get(node) != Some(digest)).map(|(node, _)| node).collect()
}

/// Checks the digests that each changed file changes, first in the unmodified directory, then with the file named by
/// `with`.
#[track_caller]
fn check(with: &[(&str, &str)], table: &[(&str, &str)]) {
    for (file, nodes) in table {
        let worktree = directory(with);
        assert_eq!(changed(worktree.path(), |cluster| touch(cluster, file)), *nodes, "{file} changed, with {with:?}");
    }
}

fn touch(cluster: &Path, file: &str) {
    let text = fs::read_to_string(cluster.join(file)).unwrap_or_default();
    write(cluster, file, &format!("{text}\n"));
}

#[test]
fn a_file_counts_for_the_nodes_that_can_read_it() {
    check(
        &[],
        &[
            ("flake.nix", "ab"),
            ("flake.lock", "ab"),
            ("modules/default.nix", "ab"),
            ("modules/x.nix", "ab"),
            ("nix/cluster.nix", "ab"),
            ("generated/a.nix", "a"),
            ("generated/b.nix", "b"),
            ("certs/a.pem", "a"),
            ("certs/b.pem", "b"),
            ("nodes/a.nix", "a"),
            ("shared/of-a.nix", "a"),
            ("shared/text", "a"),
            ("nodes/b/disk.nix", "b"),
            ("machines.nix", ""),
            ("state/cluster.json", ""),
            ("README.md", ""),
            ("not-tracked", ""),
        ],
    );
}

#[test]
fn a_module_that_reads_more_makes_more_count() {
    check(&[("nodes/b/more.nix", "import ../../machines.nix")], &[("machines.nix", "b"), ("generated/a.nix", "a")]);
    check(&[("modules/more.nix", "import ../generated/a.nix")], &[("generated/a.nix", "ab"), ("certs/a.pem", "ab")]);
    check(&[("nodes/b/more.nix", "n: import ../../generated/${n}.nix")], &[("generated/a.nix", "ab")]);
    check(&[("nodes/b/more.nix", "builtins.readDir ../.")], &[("nodes/a.nix", "ab"), ("README.md", "")]);
}

#[test]
fn a_known_file_reads_what_is_known_of_it() {
    let more = [
        ("modules/more.nix", "import ../nix/computed.nix"),
        ("nix/computed.nix", COMPUTED),
        ("nix/of-it/x.rs", "mod a;"),
        ("nix/of-it/Cargo.toml", "path = \"../../..\""),
    ];
    let read = [("nix/of-it/x.rs", "ab"), ("nix/of-it/Cargo.toml", "ab"), ("nix/computed.nix", "ab")];
    check(&more, &read);
    check(&more, &[("README.md", ""), ("generated/a.nix", "a")]);
    let other = [more[0], ("nix/computed.nix", "import (../. + \"/two\")")];
    check(&other, &[("README.md", "ab")]);
}

#[test]
fn where_anything_may_be_read_everything_counts() {
    let everything = [("README.md", "ab"), ("generated/a.nix", "ab"), ("state/cluster.json", "ab")];
    for text in [
        "{ self, ... }: self.rev",
        "{ inputs, ... }: builtins.mapAttrs (_: flake: flake.outPath) inputs",
        "./. + \"/../README.md\"",
        "./. + (\"/\" + \"..\")",
        "builtins.readFile (builtins.dirOf ./. + \"/x\")",
        "toString ./default.nix",
        "toString (./default.nix)",
        "a: ./${a}/../x",
        "/. + \"x\"",
        "__curPos.file",
        "../../../x",
    ] {
        check(&[("modules/more.nix", text)], &everything);
    }
    // A construct in a file of only one node makes everything count for that node only.
    check(&[("nodes/b/more.nix", "{ self, ... }: { }")], &[("README.md", "b"), ("generated/a.nix", "ab")]);
}

#[test]
fn a_flake_of_a_persons_own_makes_everything_count() {
    let own = FLAKE.replace("inherit inputs;", "inherit inputs; own = inputs;");
    let alias = FLAKE.replace("inputs:\n", "all: let inputs = all; in\n");
    let relative = FLAKE.replace("github:Mic92/sops-nix", "path:./sops");
    for text in [own, alias, relative] {
        assert_ne!(text, FLAKE);
        check(&[("flake.nix", &text)], &[("README.md", "ab")]);
    }
    // References to single inputs and files pass nothing on.
    let more =
        FLAKE.replace("root = ./.;\n    };", "root = ./.;\n    } // { x = inputs.nixpkgs.lib; y = ./shared/text; };");
    check(&[("flake.nix", &more)], &[("README.md", ""), ("shared/text", "ab")]);
}

/// Returns a source of machinist in the form of an input, in a directory called `source` as in the store.
fn library() -> tempfile::TempDir {
    let parent = tempfile::tempdir().unwrap();
    for (file, text) in KNOWN.input.files {
        write(&parent.path().join("source"), file, text);
    }
    parent
}

/// The digests that each change affects if the modules come from an input with these texts.
const OF_THE_INPUT: [(&str, &str); 7] = [
    ("flake.nix", "ab"),
    ("flake.lock", "ab"),
    ("app_modules/own/default.nix", "ab"),
    ("generated/a.nix", "a"),
    ("shared/text", "a"),
    ("README.md", ""),
    ("machines.nix", ""),
];
const OWN_APP: (&str, &str) = ("app_modules/own/default.nix", "{ }");

#[test]
fn with_the_modules_in_a_replaced_input_the_same_files_count() {
    let library = library();
    let source = library.path().join("source");
    let overrides = [Override { input: "machinist".to_owned(), reference: format!("path:{}", source.display()) }];
    let with = [("flake.nix", ONE_INPUT), OWN_APP];
    for (file, nodes) in OF_THE_INPUT {
        let worktree = directory(&with);
        assert_eq!(changed_with(worktree.path(), &overrides, |cluster| touch(cluster, file)), nodes, "{file} changed");
    }
    let worktree = directory(&with);
    assert_eq!(changed_with(worktree.path(), &overrides, |_| write(&source, "modules/x.nix", "{ }")), "ab");
    // Another version of machinist may read other files.
    write(&source, "nix/cluster.nix", "{ inputs, root }: { }");
    assert_eq!(changed_with(worktree.path(), &overrides, |cluster| touch(cluster, "README.md")), "ab");
}

#[test]
fn with_the_modules_in_a_locked_input_the_lock_counts() {
    let library = library();
    let source = library.path().join("source");
    let nix = |program: &str, arguments: &[&str]| {
        let output = crate::program(program).args(arguments).arg(&source).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    };
    nix("nix-store", &["--add-fixed", "--recursive", "sha256"]);
    let digest = nix("nix", &["--extra-experimental-features", "nix-command", "hash", "path"]);
    let lock = |digest: &str| {
        format!(
            r#"{{"nodes":{{"root":{{"inputs":{{"machinist":"of-ours"}}}},"of-ours":{{"locked":{{"narHash":"{digest}"}}}}}},"root":"root"}}"#
        )
    };
    let locked = lock(&digest);
    let with = [("flake.nix", ONE_INPUT), ("flake.lock", locked.as_str()), OWN_APP];
    check(&with, &OF_THE_INPUT);
    // An input that is not in the store counts as unknown.
    let absent = lock("sha256-AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=");
    check(&[with[0], ("flake.lock", &absent)], &[("README.md", "ab"), ("generated/a.nix", "ab")]);
    // The input is updated: every system is evaluated again.
    let worktree = directory(&with);
    assert_eq!(changed(worktree.path(), |cluster| write(cluster, "flake.lock", &absent)), "ab");
}

#[test]
fn where_everything_counts_the_commit_does_too() {
    let commit = |cluster: &Path| git(cluster, &["commit", "-q", "--allow-empty", "-m", "y"]);
    assert_eq!(changed(directory(&[]).path(), commit), "");
    assert_eq!(changed(directory(&[("nodes/a/more.nix", "{ self }: { }")]).path(), commit), "a");
}

#[test]
fn a_file_that_appears_goes_or_becomes_executable_counts() {
    type Change = fn(&Path);
    let table: [(Change, &str); 5] = [
        (|c| fs::remove_file(c.join("certs/a.pem")).unwrap(), "a"),
        (|c| fs::remove_file(c.join("modules/x.nix")).unwrap(), "ab"),
        (
            |c| {
                write(c, "nodes/b.nix", "{ }");
                git(c, &["add", "--intent-to-add", "nodes/b.nix"]);
            },
            "b",
        ),
        (|c| write(c, "nodes/b.nix", "{ }"), ""),
        (
            |c| {
                use std::os::unix::fs::PermissionsExt;
                fs::set_permissions(c.join("shared/text"), fs::Permissions::from_mode(0o755)).unwrap();
            },
            "a",
        ),
    ];
    for (index, (change, nodes)) in table.into_iter().enumerate() {
        assert_eq!(changed(directory(&[]).path(), change), nodes, "change {index}");
    }
}

#[test]
fn a_link_makes_everything_count_and_a_submodule_ends_it() {
    let worktree = directory(&[]);
    std::os::unix::fs::symlink("../README.md", worktree.path().join("c/shared/link")).unwrap();
    git(worktree.path(), &["add", "-A"]);
    assert_eq!(changed(worktree.path(), |c| write(c, "README.md", "other")), "ab");
    let object = "0123456789012345678901234567890123456789";
    git(worktree.path(), &["update-index", "--add", "--cacheinfo", &format!("160000,{object},c/sub")]);
    let nix = Nix::find(Vec::new()).unwrap();
    let flake = FlakeRef::find(&worktree.path().join("c")).unwrap();
    let error = nix.fingerprints(&flake, KNOWN, &["a"]).unwrap_err();
    assert!(error.to_string().contains("submodule c/sub"), "{error}");
}
