//! The clients of both providers' zones against the test cloud (testbed/clouds), which compares every request and response
//! with its contract. Each hazard of the APIs has a test.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use machinist_providers::{
    CloudError,
    api::Settings,
    dns::{
        Zone, apply,
        desired::Desired,
        digitalocean::Domains,
        owner,
        plan::{self, Plan, Verb},
        zone::{Contents, Key, Kind, Set},
    },
    hetzner::Hetzner,
};
use serde_json::{Value, json};
use test_cloud::Running;
use zeroize::Zeroizing;

const ZONE: &str = "example.com";

struct Lab {
    cloud: Running,
    http: reqwest::Client,
}

fn settings(endpoint: String) -> Settings {
    Settings {
        endpoint: endpoint.parse().unwrap(),
        token: Zeroizing::new("test-token".to_owned()),
        interrupted: Arc::new(|| false),
        second: Duration::from_millis(20),
    }
}

impl Lab {
    /// A cloud with a zone at each provider.
    async fn new() -> Self {
        let cloud = test_cloud::start(test_cloud::Options::default()).await.unwrap();
        let lab = Self { cloud, http: reqwest::Client::builder().no_proxy().build().unwrap() };
        lab.control("PATCH", "settings", json!({ "settings": { "action_ms": 20 } })).await;
        lab.hetzner_raw("POST", "zones", json!({ "name": ZONE, "mode": "primary" })).await;
        lab.ocean_raw("POST", "domains", json!({ "name": ZONE })).await;
        lab
    }

    fn hetzner(&self) -> Hetzner {
        Hetzner::new(settings(format!("http://{}/v1", self.cloud.hetzner))).unwrap()
    }

    fn ocean(&self) -> Domains {
        Domains::new(settings(format!("http://{}/v2", self.cloud.digitalocean))).unwrap()
    }

    async fn send(&self, method: &str, url: String, body: Value) -> Value {
        let mut request = self.http.request(method.parse().unwrap(), &url).bearer_auth("test-token");
        if !body.is_null() {
            request = request.json(&body);
        }
        let response = request.send().await.unwrap();
        let status = response.status();
        let text = response.text().await.unwrap();
        assert!(status.is_success(), "{url}: {text}");
        serde_json::from_str(&text).unwrap_or_default()
    }

    async fn control(&self, method: &str, path: &str, body: Value) -> Value {
        self.send(method, format!("http://{}/{path}", self.cloud.control), body).await
    }

    async fn hetzner_raw(&self, method: &str, path: &str, body: Value) -> Value {
        self.send(method, format!("http://{}/v1/{path}", self.cloud.hetzner), body).await
    }

    async fn ocean_raw(&self, method: &str, path: &str, body: Value) -> Value {
        self.send(method, format!("http://{}/v2/{path}", self.cloud.digitalocean), body).await
    }

    async fn fault(&self, fault: Value) {
        self.control("POST", "faults", fault).await;
    }

    /// Every request of a test was one of the contract, and so was every answer.
    async fn assert_contract(&self) {
        let calls = self.control("GET", "calls", Value::Null).await;
        assert_eq!((&calls["violations"], &calls["refused"], &calls["forbidden"]), (&json!([]), &json!(0), &json!(0)));
    }
}

async fn contents<Z: Zone>(zone: &Z) -> Contents {
    zone.contents(ZONE).await.unwrap().unwrap()
}

async fn run<Z: Zone>(zone: &Z, desired: &Desired) -> (Plan, Vec<CloudError>) {
    let contents = contents(zone).await;
    let plan = plan::plan(desired, &contents).unwrap();
    let ends = apply::apply(zone, desired, &plan, &contents, &|_| {}).await;
    (plan, ends.into_iter().filter_map(|end| end.result.err()).collect())
}

fn desired(ttl: u32, sets: &[(&str, Kind, &[&str])]) -> Desired {
    let set = |(name, kind, values): &(&str, Kind, &[&str])| {
        let values: BTreeSet<String> = values.iter().map(|value| (*value).to_owned()).collect();
        (Key { name: (*name).to_owned(), kind: *kind }, values)
    };
    Desired {
        cluster: "magi".to_owned(),
        zone: ZONE.to_owned(),
        ttl,
        sets: sets.iter().map(set).collect(),
        notes: Vec::new(),
    }
}

fn first() -> Desired {
    desired(
        300,
        &[
            ("@", Kind::A, &["203.0.113.7", "203.0.113.8"]),
            ("@", Kind::Aaaa, &["2001:db8::7"]),
            ("*.apps", Kind::A, &["203.0.113.7"]),
            ("w1", Kind::A, &["203.0.113.7"]),
        ],
    )
}

fn second() -> Desired {
    desired(
        600,
        &[
            ("@", Kind::A, &["203.0.113.8", "203.0.113.9"]),
            ("w1", Kind::A, &["203.0.113.7"]),
            ("w1", Kind::Aaaa, &["2001:db8::7"]),
            ("w2", Kind::A, &["203.0.113.9"]),
        ],
    )
}

/// Creates, changes, and deletes, with records of others beside; each time a second run has nothing to do.
async fn life<Z: Zone>(zone: &Z) {
    let before = contents(zone).await;
    let (plan, errors) = run(zone, &first()).await;
    assert!(errors.is_empty(), "{errors:?}");
    assert_eq!(plan.count(Verb::Create), 4);
    assert!(run(zone, &first()).await.0.is_empty());
    let (plan, errors) = run(zone, &second()).await;
    assert!(errors.is_empty(), "{errors:?}");
    assert_eq!((plan.count(Verb::Create), plan.count(Verb::Change), plan.count(Verb::Delete)), (2, 2, 2), "{plan:?}");
    let again = run(zone, &second()).await.0;
    assert!(again.is_empty(), "{again:?}");
    let now = contents(zone).await;
    for set in second().sets() {
        assert!(now.set(&set.key.name, set.key.kind.name()).unwrap().is(&set), "{set:?}");
    }
    assert_eq!(now.set("_machinist.w1", "TXT").unwrap().records.len(), 2);
    let (_, errors) = run(zone, &desired(300, &[])).await;
    assert!(errors.is_empty(), "{errors:?}");
    assert_eq!(contents(zone).await, before);
}

#[tokio::test]
async fn records_of_hetzner_are_created_changed_and_deleted_and_others_stay() {
    let lab = Lab::new().await;
    let spf = json!({ "name": "@", "type": "TXT", "records": [{ "value": "\"v=spf1 -all\"" }] });
    lab.hetzner_raw("POST", "zones/example.com/rrsets", spf).await;
    let zone = lab.hetzner();
    assert_eq!(contents(&zone).await.set("@", "TXT").unwrap().records[0].value, "v=spf1 -all");
    life(&zone).await;
    lab.assert_contract().await;
}

#[tokio::test]
async fn records_of_digitalocean_are_created_changed_and_deleted_and_others_stay() {
    let lab = Lab::new().await;
    let spf = json!({ "name": "@", "type": "TXT", "data": "v=spf1 -all", "ttl": 3600 });
    lab.ocean_raw("POST", "domains/example.com/records", spf).await;
    life(&lab.ocean()).await;
    lab.assert_contract().await;
}

#[tokio::test]
async fn a_text_of_others_at_an_owner_s_name_stays_and_keeps_its_time() {
    let lab = Lab::new().await;
    let zone = lab.hetzner();
    let of_others =
        json!({ "name": "_machinist.w1", "type": "TXT", "ttl": 3600, "records": [{ "value": "\"of others\"" }] });
    lab.hetzner_raw("POST", "zones/example.com/rrsets", of_others).await;
    // Hetzner refuses a record with another time than its set has.
    assert!(run(&zone, &first()).await.1.is_empty());
    let texts = contents(&zone).await.set("_machinist.w1", "TXT").unwrap().clone();
    assert_eq!((texts.ttl, texts.records.len()), (Some(3600), 2), "{texts:?}");
    assert!(run(&zone, &desired(300, &[])).await.1.is_empty());
    let texts = contents(&zone).await.set("_machinist.w1", "TXT").unwrap().values();
    assert_eq!(texts, ["of others".to_owned()].into());
    lab.assert_contract().await;
}

#[tokio::test]
async fn texts_are_in_quotes_at_hetzner_and_are_compared_without() {
    let lab = Lab::new().await;
    let zone = lab.hetzner();
    zone.add_text(ZONE, "_machinist.w1", &owner::text("magi", Kind::A), 300).await.unwrap();
    let set = lab.hetzner_raw("GET", "zones/example.com/rrsets/_machinist.w1/TXT", Value::Null).await;
    let value = set["rrset"]["records"][0]["value"].as_str().unwrap();
    assert_eq!(value, "\"heritage=machinist,machinist/cluster=magi,machinist/type=A\"");
    // A second time is none.
    zone.add_text(ZONE, "_machinist.w1", &owner::text("magi", Kind::A), 600).await.unwrap();
    assert_eq!(owner::claims(contents(&zone).await.set("_machinist.w1", "TXT").unwrap()).len(), 1);
}

#[tokio::test]
async fn a_lost_answer_to_a_new_record_leads_to_a_look_and_not_to_a_second_one() {
    let lab = Lab::new().await;
    for (provider, path) in [("hetzner", "/v1/zones/*"), ("digitalocean", "/v2/domains/*")] {
        lab.fault(json!({ "provider": provider, "method": "POST", "path": path, "times": 4, "kind": "drop" })).await;
    }
    let wanted = desired(300, &[("w1", Kind::A, &["203.0.113.7"]), ("w2", Kind::A, &["203.0.113.8"])]);
    let (_, errors) = run(&lab.hetzner(), &wanted).await;
    assert!(errors.is_empty(), "{errors:?}");
    let (_, errors) = run(&lab.ocean(), &wanted).await;
    assert!(errors.is_empty(), "{errors:?}");
    for now in [contents(&lab.hetzner()).await, contents(&lab.ocean()).await] {
        assert_eq!(now.set("w1", "A").unwrap().records.len(), 1);
        assert_eq!(now.set("_machinist.w1", "TXT").unwrap().records.len(), 1);
    }
    lab.assert_contract().await;
}

#[tokio::test]
async fn a_record_that_digitalocean_has_twice_becomes_one() {
    let lab = Lab::new().await;
    let zone = lab.ocean();
    let wanted = desired(300, &[("w1", Kind::A, &["203.0.113.7"])]);
    run(&zone, &wanted).await;
    let twice = json!({ "name": "w1", "type": "A", "data": "203.0.113.7", "ttl": 30 });
    lab.ocean_raw("POST", "domains/example.com/records", twice).await;
    let (plan, errors) = run(&zone, &wanted).await;
    assert_eq!((plan.count(Verb::Change), errors.len()), (1, 0));
    assert_eq!(contents(&zone).await.set("w1", "A").unwrap().records.len(), 1);
    assert!(run(&zone, &wanted).await.0.is_empty());
}

#[tokio::test]
async fn a_domain_with_more_records_than_a_page_is_seen_whole() {
    let lab = Lab::new().await;
    for number in 0..60 {
        let name = format!("other-{number}");
        let set = json!({ "name": name, "type": "A", "records": [{ "value": "198.51.100.1" }] });
        lab.hetzner_raw("POST", "zones/example.com/rrsets", set).await;
    }
    for number in 0..210 {
        let record = json!({ "name": format!("other-{number}"), "type": "A", "data": "198.51.100.1", "ttl": 30 });
        lab.ocean_raw("POST", "domains/example.com/records", record).await;
        if number % 100 == 0 {
            lab.control("POST", "clock", json!({ "advance_ms": 60_000 })).await;
        }
    }
    assert!(contents(&lab.hetzner()).await.set("other-59", "A").is_some());
    assert!(contents(&lab.ocean()).await.set("other-209", "A").is_some());
}

#[tokio::test]
async fn a_zone_that_does_not_exist_is_none_and_a_secondary_one_is_refused() {
    let lab = Lab::new().await;
    assert_eq!(lab.hetzner().contents("example.org").await.unwrap(), None);
    assert_eq!(lab.ocean().contents("example.org").await.unwrap(), None);
    lab.fault(json!({
        "provider": "hetzner", "method": "GET", "path": "/v1/zones/example.com", "times": 1,
        "kind": "change", "set": { "/zone/mode": "secondary" },
    }))
    .await;
    let contents = contents(&lab.hetzner()).await;
    let problems = plan::plan(&first(), &contents).unwrap_err();
    assert!(problems[0].message.contains("secondary zone"), "{problems:?}");
}

#[tokio::test]
async fn a_wrong_delegation_is_a_warning_with_the_name_servers() {
    let lab = Lab::new().await;
    let zone = lab.hetzner();
    assert!(contents(&zone).await.warnings.is_empty());
    for (status, words) in [("invalid", "does not name"), ("lame", "do not know"), ("unregistered", "not registered")] {
        lab.fault(json!({
            "provider": "hetzner", "method": "GET", "path": "/v1/zones/example.com", "times": 1,
            "kind": "change", "set": { "/zone/authoritative_nameservers/delegation_status": status },
        }))
        .await;
        let warnings = contents(&zone).await.warnings;
        assert!(warnings[0].contains(words) && warnings[0].contains("hydrogen.ns.example.com,"), "{warnings:?}");
    }
    // Statuses of later versions of the API say nothing.
    lab.fault(json!({
        "provider": "hetzner", "method": "GET", "path": "/v1/zones/example.com", "times": 1,
        "kind": "change", "set": { "/zone/authoritative_nameservers/delegation_status": "dusty" },
    }))
    .await;
    assert!(contents(&zone).await.warnings.is_empty());
}

#[tokio::test]
async fn a_protected_set_is_refused_before_anything_is_changed() {
    let lab = Lab::new().await;
    let zone = lab.hetzner();
    run(&zone, &first()).await;
    lab.fault(json!({
        "provider": "hetzner", "method": "GET", "path": "/v1/zones/example.com/rrsets", "times": 1,
        "kind": "change", "set": { "/rrsets/*/protection/change": true },
    }))
    .await;
    let problems = plan::plan(&second(), &contents(&zone).await).unwrap_err();
    assert!(problems.iter().any(|problem| problem.message.contains("is protected")), "{problems:?}");
}

#[tokio::test]
async fn unknown_types_and_fields_of_the_apis_are_read() {
    let lab = Lab::new().await;
    lab.fault(json!({
        "provider": "hetzner", "method": "GET", "path": "/v1/zones/example.com/rrsets", "times": 1,
        "kind": "change", "set": { "/rrsets/*/type": "QUANTUM", "/rrsets/*/spin": 1 }, "remove": ["/rrsets/*/protection"],
    }))
    .await;
    lab.fault(json!({
        "provider": "digitalocean", "method": "GET", "path": "/v2/domains/example.com/records", "times": 1,
        "kind": "change", "set": { "/domain_records/*/type": "QUANTUM", "/domain_records/*/data": null },
    }))
    .await;
    assert!(contents(&lab.hetzner()).await.set("@", "QUANTUM").is_some());
    assert!(contents(&lab.ocean()).await.set("@", "QUANTUM").is_some());
}

#[tokio::test]
async fn a_run_that_is_cut_off_is_finished_by_the_next_one() {
    let lab = Lab::new().await;
    // The n-th request and all after it are lost, before or after the provider has processed them.
    for number in 0..10 {
        for (provider, path) in
            [("hetzner", "/v1/zones/example.com/rrsets*"), ("digitalocean", "/v2/domains/example.com/*")]
        {
            for method in ["POST", "DELETE", "PATCH"] {
                lab.fault(json!({
                    "provider": provider, "method": method, "path": path, "skip": number, "times": 40,
                    "kind": "status", "status": 403, "process": number % 2 == 0,
                }))
                .await;
            }
        }
        let wanted = if number % 3 == 0 { second() } else { first() };
        run(&lab.hetzner(), &wanted).await;
        run(&lab.ocean(), &wanted).await;
        lab.control("DELETE", "faults", Value::Null).await;
        assert!(run(&lab.hetzner(), &wanted).await.1.is_empty());
        assert!(run(&lab.ocean(), &wanted).await.1.is_empty());
        assert!(run(&lab.hetzner(), &wanted).await.0.is_empty());
        assert!(run(&lab.ocean(), &wanted).await.0.is_empty());
        lab.control("POST", "clock", json!({ "advance_ms": 600_000 })).await;
    }
    lab.assert_contract().await;
}

#[tokio::test]
async fn the_dead_api_of_the_old_console_is_never_called() {
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/src/hetzner");
    for file in std::fs::read_dir(source).unwrap() {
        let text = std::fs::read_to_string(file.unwrap().path()).unwrap();
        let code = text.lines().filter(|line| !line.trim_start().starts_with("//"));
        assert!(code.into_iter().all(|line| !line.contains("dns.hetzner.com")));
    }
    let set =
        Set { key: Key { name: "@".to_owned(), kind: Kind::A }, ttl: 60, values: ["203.0.113.7".to_owned()].into() };
    let lab = Lab::new().await;
    lab.hetzner().write(ZONE, &set, None).await.unwrap();
    assert!(contents(&lab.hetzner()).await.set("@", "A").unwrap().is(&set));
}
