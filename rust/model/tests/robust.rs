//! Robustness of `load`: no input makes it panic.

#![allow(clippy::unwrap_used, clippy::panic)]

use machinist_model::{AttrPath, Diagnostic, Directory, load, source::SourceIndex};
use miette::GraphicalReportHandler;
use proptest::prelude::*;
use serde_json::{Map, Value, json};

/// Names with a meaning, so that arbitrary values reach the checks.
const NAMES: [&str; 33] = [
    "cluster",
    "network",
    "kubeMaster",
    "machines",
    "name",
    "domain",
    "orchestrator",
    "release",
    "operators",
    "ssh",
    "age",
    "nodes",
    "pods",
    "services",
    "dns",
    "overlay",
    "backend",
    "gateway",
    "ip",
    "port",
    "mode",
    "as",
    "nixos",
    "enable",
    "roles",
    "labels",
    "taints",
    "apps",
    "bgp",
    "etcd",
    "kubernetes",
    "node",
    "localIp",
];
const TEXTS: [&str; 22] = [
    "10.0.0.1",
    "10.0.0.0/24",
    "fd00::1",
    "fd00::/64",
    "0.0.0.0/0",
    "255.255.255.255/32",
    "::/0",
    "etcd",
    "control-plane",
    "kubernetes",
    "k3s",
    "mesh",
    "bgp",
    "arp",
    "a=b:NoSchedule",
    "26.05",
    "router",
    "vxlan",
    "true",
    "",
    "é\u{0}\n\"${",
    "age1",
];

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        (0_u32..70_000).prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        proptest::sample::select(&TEXTS[..]).prop_map(Value::from),
        any::<String>().prop_map(Value::from),
    ];
    leaf.prop_recursive(5, 64, 6, |inner| {
        let name = prop_oneof![9 => proptest::sample::select(&NAMES[..]).prop_map(str::to_owned), 1 => any::<String>()];
        prop_oneof![
            1 => proptest::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            3 => proptest::collection::btree_map(name, inner, 0..7)
                .prop_map(|set| Value::Object(set.into_iter().collect::<Map<_, _>>())),
        ]
    })
}

/// Returns a valid file with some attributes replaced, so that most checks run on odd values.
fn nearly_valid() -> impl Strategy<Value = Value> {
    let path = proptest::sample::select(&NAMES[..]);
    proptest::collection::vec((0_usize..5, path, value()), 1..4).prop_map(|changes| {
        let mut file = json!({
            "cluster": { "name": "c", "orchestrator": "kubernetes", "operators": [{ "name": "o", "age": "age1" }] },
            "network": { "nodes": ["10.0.0.0/24", "fd00::/64"], "overlay": { "backend": "vxlan", "network": "10.9.0.0/16" } },
            "kubeMaster": { "ip": "10.0.0.9", "mode": "bgp", "gateway": "r", "as": 1 },
            "machines": {
                "r": { "ip": "10.0.0.1", "nixos": false, "bgp": { "as": 2 } },
                "a": { "ip": ["10.0.0.2", "fd00::2"], "roles": ["etcd", "control-plane"], "ssh": { "host": "r" } },
            },
        });
        for (section, name, value) in changes {
            let section = match section {
                0 => &mut file["cluster"],
                1 => &mut file["network"],
                2 => &mut file["kubeMaster"],
                3 => &mut file["machines"]["a"],
                _ => &mut file["machines"]["r"],
            };
            section[name] = value;
        }
        file
    })
}

fn render(diagnostics: &[Diagnostic]) {
    for diagnostic in diagnostics {
        let mut text = String::new();
        GraphicalReportHandler::new().render_report(&mut text, diagnostic).unwrap();
        serde_json::to_string(diagnostic).unwrap();
    }
}

fn check(json: &Value, source: &str) {
    let directory = Directory { apps: ["nginx".to_owned()].into(), ..Directory::default() };
    match load(json, source, "machines.nix", &directory) {
        Ok(loaded) => render(&loaded.warnings),
        Err(diagnostics) => {
            assert!(!diagnostics.is_empty());
            render(&diagnostics);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(512) })]

    #[test]
    fn no_value_makes_load_panic(json in value(), source in any::<String>()) {
        check(&json, &source);
    }

    #[test]
    fn no_change_of_a_valid_file_makes_load_panic(json in nearly_valid()) {
        check(&json, "{ machines = { a = { ip = \"10.0.0.2\"; }; }; }");
    }

    #[test]
    fn no_text_makes_the_search_for_positions_panic(source in "[{}();=.a-z\"'$/ \n\\[\\]:,@?é]{0,80}") {
        let found = SourceIndex::parse(&source).locate(&AttrPath::of("a.b.0.c"));
        prop_assert!(source.get(found).is_some());
        check(&json!({ "a": 1 }), &source);
    }
}

#[test]
fn a_text_of_absurd_depth_is_survived() {
    for open in ["{ a = ", "[", "(", "a: ", "let x = 1; in ", "!", "a // ", "a ++ ", "if a then ", "\"${", "a ", "a.a "]
    {
        let source = open.repeat(20_000);
        let found = SourceIndex::parse(&source).locate(&AttrPath::of("a.a.a"));
        assert!(source.get(found).is_some(), "{open}");
    }
}
