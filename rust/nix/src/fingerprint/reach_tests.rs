#![allow(clippy::unwrap_used)]

use super::{climbs, resolve, scan};

#[test]
fn paths_of_a_text_are_found_wherever_nix_would_see_them() {
    for (text, paths) in [
        ("[ ./a.nix ../b a/c ]", vec!["../b", "./a.nix", "a/c"]),
        ("# ../comment\n/* ./other */ { ... }: \"a/b ./c\"", vec![]),
        ("\"${./a}\" ./b/${x}/y", vec!["./a", "./b", "/y"]),
        ("literalExpression \"../example\"", vec![]),
    ] {
        let found: Vec<String> = scan(text).unwrap().into_iter().collect();
        assert_eq!(found, paths, "{text}");
    }
}

#[test]
fn a_path_is_resolved_from_its_file_and_does_not_leave_the_work_tree() {
    assert_eq!(resolve("c/nodes/a.nix", "../certs/./x").as_deref(), Some("c/certs/x"));
    assert_eq!(resolve("c/a.nix", "./.").as_deref(), Some("c"));
    assert_eq!(resolve("a.nix", "../x"), None);
}

#[test]
fn two_dots_climb_only_as_a_whole_part_of_a_path() {
    for (text, expected) in
        [("..", true), ("/../x", true), ("a/..", true), ("...", false), ("1..2", false), ("a..b", false)]
    {
        assert_eq!(climbs(text), expected, "{text}");
    }
}
