//! The order of reads and writes of an apply, against an API server in memory. tests/kubernetes uses real ones.

#![allow(clippy::unwrap_used, clippy::panic)]

mod fake;

use std::{path::Path, time::Duration};

use fake::Fake;
use machinist_kubernetes::{
    apply::{ApplyError, Change, Marked, Options, Outcome, apply},
    desired::{Desired, desired},
    manifest,
};
use machinist_model::fixtures;
use serde_json::{Value, json};

const INVENTORY: &str = "/api/v1/namespaces/kube-system/configmaps/machinist-objects";
const SETTINGS: &str = "/api/v1/namespaces/shop/configmaps/settings";

fn with(text: &str) -> Desired {
    desired(&fixtures::ha_kubernetes(), &manifest::parse(Path::new("m.yaml"), text).unwrap()).unwrap()
}

fn settings(value: &str) -> String {
    format!(
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {{ name: settings, namespace: shop }}\ndata: {{ a: {value} }}\n"
    )
}

async fn run(fake: &Fake, desired: &Desired) -> Outcome {
    apply(&fake.server(Duration::from_secs(5)), desired, &Options::default()).await.unwrap()
}

fn digest(fake: &Fake) -> Value {
    fake.get(INVENTORY).unwrap()["data"]["digest"].clone()
}

#[tokio::test]
async fn objects_are_recorded_before_they_are_applied() {
    let fake = Fake::default();
    let outcome = run(&fake, &with("")).await;
    assert_eq!(outcome.count(Change::Created), 12);
    let writes: Vec<String> = fake.requests().into_iter().filter(|request| !request.starts_with("GET")).collect();
    assert_eq!(writes[0], "POST /api/v1/namespaces/kube-system/configmaps");
    assert_eq!(writes.last().unwrap(), &format!("PUT {INVENTORY}"));
    assert_eq!(digest(&fake), with("").digest());
}

#[tokio::test]
async fn a_run_with_nothing_to_do_makes_two_requests() {
    let fake = Fake::default();
    run(&fake, &with("")).await;
    fake.requests();
    let outcome = run(&fake, &with("")).await;
    assert!(outcome.by_digest);
    assert_eq!(fake.requests(), [format!("GET {INVENTORY}"), "GET /api/v1/nodes".to_owned()]);
}

#[tokio::test]
async fn an_apply_without_changes_does_not_touch_the_inventory() {
    let fake = Fake::default();
    run(&fake, &with("")).await;
    let before = fake.get(INVENTORY);
    let options = Options { thorough: true, ..Options::default() };
    let outcome = apply(&fake.server(Duration::from_secs(5)), &with(""), &options).await.unwrap();
    assert_eq!((outcome.count(Change::Unchanged), outcome.objects.len()), (12, 12));
    assert_eq!(fake.get(INVENTORY), before);
}

#[tokio::test]
async fn transient_failures_are_retried() {
    let fake = Fake::default();
    fake.fail("PATCH /apis/apps/v1", 503, "not yet", 2);
    fake.fail("PATCH /api/v1/namespaces/kube-system/services/", 500, "failed calling webhook: connection refused", 1);
    let outcome = run(&fake, &with("")).await;
    assert_eq!((outcome.count(Change::Created), outcome.problems.len()), (12, 0));
}

#[tokio::test]
async fn rejected_requests_are_not_retried_and_do_not_stop_others() {
    let fake = Fake::default();
    fake.fail("PATCH /apis/apps/v1", 422, "Deployment is invalid", 9);
    let outcome = run(&fake, &with("")).await;
    let texts: Vec<String> = outcome.problems.iter().map(|problem| format!("{problem}: {}", problem.source)).collect();
    let wanted = "machines.nix: Deployment kube-system/coredns cannot be applied: rejected by the API server: Deployment is invalid";
    assert_eq!(texts, [wanted]);
    assert_eq!(outcome.count(Change::Created), 11);
    let patches = fake.requests().iter().filter(|request| request.starts_with("PATCH /apis/apps/v1")).count();
    assert_eq!(patches, 1);
}

#[tokio::test]
async fn a_run_with_a_rejected_object_is_repeated_and_prunes_nothing() {
    let fake = Fake::default();
    run(&fake, &with(&settings("1"))).await;
    fake.fail("PATCH /apis/apps/v1", 422, "no", 1);
    // A different object, so that there is something to do.
    let wanted = with(&settings("2").replace("settings", "others"));
    assert_eq!(run(&fake, &wanted).await.problems.len(), 1);
    assert_eq!(digest(&fake), "", "a change back would be taken for done");
    assert!(fake.get(SETTINGS).is_some(), "the failed object may be its replacement");
    let again = run(&fake, &wanted).await;
    assert!(!again.by_digest);
    assert_eq!(again.count(Change::Removed), 1);
    assert!(fake.get(SETTINGS).is_none());
}

#[tokio::test]
async fn what_is_not_ours_any_more_is_left() {
    let fake = Fake::default();
    run(&fake, &with(&settings("1"))).await;
    let mut object = fake.get(SETTINGS).unwrap();
    object["metadata"]["labels"] = json!({ "machinist.dev/cluster": "another" });
    fake.put(SETTINGS, object);
    let outcome = run(&fake, &with("")).await;
    assert_eq!((outcome.count(Change::Left), outcome.count(Change::Removed)), (1, 0));
    assert!(fake.get(SETTINGS).is_some());
}

#[tokio::test]
async fn an_unknown_kind_stops_everything_before_it_begins() {
    let fake = Fake::default();
    let wanted = with("apiVersion: apps/v1\nkind: Deploymend\nmetadata: { name: a }\n");
    let error = apply(&fake.server(Duration::ZERO), &wanted, &Options::default()).await.unwrap_err();
    assert_eq!(error.to_string(), "m.yaml:1: this cluster has no kind Deploymend in apps/v1: did you mean Deployment?");
    assert!(matches!(error, ApplyError::UnknownKinds(_)));
    assert!(fake.requests().iter().all(|request| request.starts_with("GET")));
}

#[tokio::test]
async fn an_inventory_of_another_cluster_stops_everything_too() {
    let fake = Fake::default();
    fake.put(INVENTORY, json!({ "metadata": { "name": "machinist-objects" }, "data": {} }));
    let error = apply(&fake.server(Duration::ZERO), &with(""), &Options::default()).await.unwrap_err();
    assert!(error.to_string().contains("belongs to an unknown owner"), "{error}");
    assert_eq!(fake.requests(), [format!("GET {INVENTORY}")]);
}

#[tokio::test]
async fn nodes_are_marked_when_they_come_and_when_they_come_back_as_others() {
    let fake = Fake::default();
    let outcome = run(&fake, &with("")).await;
    assert_eq!(outcome.count_nodes(Marked::Absent), 4);
    assert!(fake.get("/api/v1/nodes/cp1").is_none(), "a node is the kubelet's to make");
    let node = json!({ "apiVersion": "v1", "kind": "Node", "metadata": { "name": "cp1" } });
    for _ in 0..2 {
        fake.put("/api/v1/nodes/cp1", Value::Null);
        fake.put("/api/v1/nodes/cp1", node.clone());
        let outcome = run(&fake, &with("")).await;
        assert!(outcome.by_digest);
        assert_eq!((outcome.count_nodes(Marked::Changed), outcome.count_nodes(Marked::Absent)), (1, 3));
        let labels = fake.get("/api/v1/nodes/cp1").unwrap()["metadata"]["labels"].clone();
        assert_eq!(labels["node-role.kubernetes.io/control-plane"], "");
        assert_eq!(run(&fake, &with("")).await.count_nodes(Marked::Unchanged), 1);
    }
}

#[tokio::test]
async fn a_silent_server_is_named_as_one() {
    let fake = Fake::default();
    fake.fail("GET", 503, "", 99);
    let error = apply(&fake.server(Duration::ZERO), &with(""), &Options::default()).await.unwrap_err();
    assert_eq!(error.to_string(), "cannot read what was applied before");
}
