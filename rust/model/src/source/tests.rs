#![allow(clippy::unwrap_used)]
use super::SourceIndex;
use crate::path::AttrPath;

/// Checks the text at the attribute's position.
#[track_caller]
fn check(source: &str, path: &str, expect: &str) {
    let found = SourceIndex::parse(source).locate(&AttrPath::of(path));
    assert_eq!(source.get(found).unwrap(), expect, "{path} in {source}");
}

#[test]
fn nested_and_dotted_attributes_are_found() {
    check(r#"{ a.b = { c = 1; }; }"#, "a.b.c", "c = 1");
    check(r#"{ a.b.c = 1; a.d = 2; }"#, "a.d", "d = 2");
    check(r#"{ a = { b = 1; }; a.c = 2; }"#, "a.b", "b = 1");
    check(r#"{ machines."cp 1".ip = "x"; }"#, "machines.cp 1.ip", r#"ip = "x""#);
}

#[test]
fn the_body_of_functions_and_bindings_counts() {
    for head in [
        "pkgs: ",
        "{ lib, ... }: ",
        "let x = 1; in ",
        "with {}; ",
        "assert true; ",
        "rec ",
        "{ lib }: let y = 2; in with y; ",
    ] {
        check(&format!("{head}{{ a.b = 1; }}"), "a.b", "b = 1");
    }
    check("({ a = 1; })", "a", "a = 1");
}

#[test]
fn of_a_merge_the_right_side_wins_and_the_left_one_is_still_found() {
    check("{ a = 1; b = 2; } // { a = 3; }", "a", "a = 3");
    check("{ a = 1; b = 2; } // { a = 3; }", "b", "b = 2");
    check("{ a = { x = 1; }; } // { a = { y = 2; }; }", "a.y", "y = 2");
    check("{ m = { a = 1; } // f 2; }", "m.a", "a = 1");
}

#[test]
fn elements_of_lists_are_found() {
    check(r#"{ roles = [ "etcd" "worker" ]; }"#, "roles.1", r#""worker""#);
    check(r#"{ roles = [ "etcd" ] ++ [ "worker" ]; }"#, "roles.1", r#""worker""#);
    check(r#"{ operators = [ { name = "a"; } { name = "b"; } ]; }"#, "operators.1.name", r#"name = "b""#);
}

#[test]
fn an_inherited_attribute_is_found_where_it_is_inherited() {
    check("let ip = 1; in { a = { inherit ip; }; }", "a.ip", "ip");
    check("{ inherit (import ./x.nix) cluster; }", "cluster.name", "cluster");
}

#[test]
fn a_computed_attribute_gives_the_nearest_enclosing_position() {
    check(
        "{ machines = builtins.mapAttrs f { a = 1; }; }",
        "machines.a.ip",
        "machines = builtins.mapAttrs f { a = 1; }",
    );
    check("{ a.${x} = 1; b = 2; }", "a.x", "a");
    check("{ a =\n  f 1; }", "a.b", "a");
    check("x: { b = 2; }", "a", "{");
}

#[test]
fn a_text_that_is_no_nix_gives_no_panic() {
    for text in ["", "{", "}", "{ a = ", "\"", "''", "{ a = \"${", "ä", "[ [ [ {"] {
        let found = SourceIndex::parse(text).locate(&AttrPath::of("a.b"));
        assert!(text.get(found).is_some(), "{text:?}");
    }
}
