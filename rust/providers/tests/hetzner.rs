//! The client of Hetzner against the test cloud (testbed/clouds), which speaks the documented API strictly and compares
//! every request and response with its contract. Each hazard of the API that has cost other tools a server has a test.

#![allow(clippy::unwrap_used, clippy::panic)]

mod lab;

use std::{
    sync::{Arc, Mutex, atomic::Ordering},
    time::Duration,
};

use lab::{KEY, Side, boot};
use machinist_model::{Cluster, HetznerServer, NodeName, Provider, fixtures};
use machinist_providers::{
    Cloud, CloudError,
    desired::{self, Desired},
    hetzner::Hetzner,
    provision::{self, Happening},
};
use serde_json::{Value, json};

type Lab = lab::Lab<Hetzner>;

async fn new() -> Lab {
    Lab::new(Side { name: "hetzner", version: "v1", client: Hetzner::new }).await
}

fn cluster() -> Cluster {
    let mut cluster = fixtures::three_member_etcd();
    cluster.operators[0].ssh = Some(KEY.to_owned());
    for node in cluster.nodes.values_mut().filter(|node| node.nixos) {
        node.provider = Provider::Hetzner;
        node.hetzner = Some(HetznerServer {
            server_type: "cx23".to_owned(),
            location: "nbg1".to_owned(),
            image: "debian-13".to_owned(),
            ipv4: true,
            ipv6: true,
        });
    }
    cluster
}

fn desired() -> Desired {
    desired::at_hetzner(&cluster()).unwrap()
}

/// A cluster of `count` workers and no voters.
fn many(count: u8) -> Desired {
    let mut desired = desired();
    let first = desired.servers.remove(0);
    desired.groups.clear();
    desired.servers = (0..count)
        .map(|number| {
            let node = NodeName::parse(&format!("w{number}")).unwrap();
            let name = format!("magi-{node}");
            let ip = Some([10, 13, 13, 100 + number].into());
            desired::Server { node, name, ip, group: None, ..first.clone() }
        })
        .collect();
    desired
}

#[tokio::test]
async fn three_servers_are_created_with_fixed_addresses_and_a_second_run_has_nothing_to_do() {
    let lab = new().await;
    let desired = desired();
    let ends = lab.run(&desired).await.unwrap();
    for (end, server) in ends.iter().zip(&desired.servers) {
        let found = end.result.as_ref().unwrap();
        assert!(found.on && found.public().is_some(), "{found:?}");
        assert_eq!(found.private.iter().map(|interface| interface.ip).collect::<Vec<_>>(), [server.ip.unwrap()]);
        assert!(found.private[0].mac.as_ref().is_some_and(|mac| !mac.is_empty()));
    }
    let plan = lab.plan(&desired).await.unwrap().unwrap();
    assert!(plan.is_empty(), "{plan:?}");
    assert_eq!(plan.before, plan.after);
    assert!(plan.after.monthly > 0.0);
    let counts = lab.counts().await;
    assert_eq!(counts["servers"], 3, "{counts}");
    assert_eq!(counts["placement_groups"], 1, "{counts}");
    lab.assert_contract().await;
}

#[tokio::test]
async fn nothing_is_left_after_the_cluster_is_destroyed_and_nothing_foreign_is_touched() {
    let lab = new().await;
    lab.foreign("server", json!({ "name": "somebody", "server_type": "cx23", "image": "debian-13" })).await;
    lab.foreign("primary_ip", json!({ "name": "free", "type": "ipv4", "location": "nbg1" })).await;
    let before = lab.counts().await;
    lab.run(&desired()).await.unwrap();
    for server in lab.observe().await.servers {
        lab.client.delete(&server.id).await.unwrap();
        // Deleting again is no error: an earlier response may have been lost.
        lab.client.delete(&server.id).await.unwrap();
    }
    let deleted = lab.client.delete_shared(&lab.observe().await, "magi").await.unwrap();
    assert_eq!((deleted.deleted.len(), deleted.kept.len()), (4, 0), "{deleted:?}");
    assert_eq!(lab.counts().await, before);
    assert!(lab.observe().await.foreign.contains_key("somebody"));
    lab.assert_contract().await;
}

#[tokio::test]
async fn a_free_primary_ip_does_not_break_the_list() {
    // The crate's own reading fails on `assignee_type = "unassigned"`, which Hetzner sends since 2026-08-01.
    let lab = new().await;
    lab.foreign("primary_ip", json!({ "name": "free", "type": "ipv4", "location": "nbg1" })).await;
    lab.fault(json!({
        "provider": "hetzner", "method": "GET", "path": "/v1/primary_ips", "times": 9,
        "kind": "change", "set": { "/primary_ips/*/assignee_type": "unassigned" },
    }))
    .await;
    assert_eq!(lab.observe().await.leftovers, []);
}

#[tokio::test]
async fn unknown_values_and_fields_of_the_api_are_read() {
    let lab = new().await;
    lab.run(&desired()).await.unwrap();
    lab.fault(json!({
        "provider": "hetzner", "method": "GET", "path": "/v1/servers", "times": 9,
        "kind": "change",
        "set": { "/servers/*/status": "frozen", "/servers/*/quantum": true },
        "remove": ["/servers/*/created"],
    }))
    .await;
    let servers = lab.observe().await.servers;
    assert_eq!(servers.len(), 3);
    assert!(servers.iter().all(|server| server.state == "frozen" && server.on));
}

#[tokio::test]
async fn a_type_that_changes_under_us_is_an_error_that_names_the_request() {
    let lab = new().await;
    lab.run(&desired()).await.unwrap();
    lab.fault(json!({
        "provider": "hetzner", "method": "GET", "path": "/v1/servers", "times": 1,
        "kind": "change", "set": { "/servers/*/id": "no number" },
    }))
    .await;
    let error = lab.client.observe("magi").await.unwrap_err();
    assert!(matches!(error, CloudError::Shape { .. }), "{error}");
}

#[tokio::test]
async fn a_lost_answer_to_a_create_leads_to_a_look_and_not_to_a_second_server() {
    let lab = new().await;
    for path in ["/servers", "/networks", "/firewalls", "/placement_groups", "/ssh_keys"] {
        lab.fault(json!({ "provider": "hetzner", "method": "POST", "path": format!("/v1{path}"), "times": 1, "kind": "drop" })).await;
    }
    let ends = lab.run(&desired()).await.unwrap();
    assert!(ends.iter().all(|end| end.result.is_ok()), "{ends:?}");
    let counts = lab.counts().await;
    for kind in ["networks", "firewalls", "placement_groups", "ssh_keys"] {
        assert_eq!(counts[kind], 1, "{kind}: {counts}");
    }
    assert_eq!(counts["servers"], 3, "{counts}");
    lab.assert_contract().await;
}

#[tokio::test]
async fn a_gateway_that_answers_in_the_api_s_place_creates_nothing_twice() {
    let lab = new().await;
    for process in [true, false] {
        lab.fault(json!({
            "provider": "hetzner", "method": "POST", "path": "/v1/servers", "times": 1,
            "kind": "html", "process": process,
        }))
        .await;
    }
    lab.converge(&desired()).await;
    assert_eq!(lab.counts().await["servers"], 3);
}

#[tokio::test]
async fn a_login_page_is_named_and_not_repeated() {
    let lab = new().await;
    lab.fault(json!({
        "provider": "hetzner", "method": "GET", "path": "/v1/servers", "times": 99, "kind": "html",
    }))
    .await;
    let error = lab.client.observe("magi").await.unwrap_err();
    assert!(matches!(error, CloudError::NotTheApi { .. }), "{error}");
    assert!(!error.to_string().contains('\n'), "{error}");
}

#[tokio::test]
async fn a_quota_stops_the_run_says_which_limit_and_creates_no_more() {
    let lab = new().await;
    lab.set(json!({ "hetzner": { "quotas": { "servers": 2 } } })).await;
    let ends = lab.run(&desired()).await.unwrap();
    let error = ends.iter().find_map(|end| end.result.as_ref().err()).unwrap();
    assert!(matches!(error, CloudError::Quota { .. }), "{error}");
    assert!(error.to_string().contains("server"), "{error}");
    assert_eq!(lab.counts().await["servers"], 2);
    // With a higher limit, the next run continues.
    lab.set(json!({ "hetzner": { "quotas": { "servers": 10 } } })).await;
    lab.converge(&desired()).await;
    assert_eq!(lab.counts().await["servers"], 3);
}

#[tokio::test]
async fn a_type_that_is_sold_out_is_refused_before_anything_is_created() {
    let lab = new().await;
    lab.set(json!({ "hetzner": { "sold_out": [["cx23", "nbg1"]] } })).await;
    let problems = lab.plan(&desired()).await.unwrap().unwrap_err();
    assert!(problems[0].message.contains("cx23 is sold out in nbg1"), "{problems:?}");
    assert!(problems[0].hint.as_deref().unwrap().contains("a month"), "{problems:?}");
    assert_eq!(lab.counts().await["servers"], 0);
    // It can be sold out in the moment between the plan and the request, too.
    lab.set(json!({ "hetzner": { "sold_out": [] } })).await;
    let desired = desired();
    let plan = lab.plan(&desired).await.unwrap().unwrap();
    let observed = provision::shared(&lab.client, &desired, &plan, &|_| {}).await.unwrap();
    lab.set(json!({ "hetzner": { "sold_out": [["cx23", "nbg1"]] } })).await;
    let user_data = |node: &NodeName| Ok(boot(node));
    let ends = provision::servers(&lab.client, &desired, &plan, &observed, &user_data, &|_| {}).await;
    assert!(ends.iter().all(|end| matches!(end.result, Err(CloudError::SoldOut { .. }))), "{ends:?}");
}

#[tokio::test]
async fn a_name_that_a_server_of_others_has_is_refused() {
    let lab = new().await;
    lab.foreign("server", json!({ "name": "magi-casper", "server_type": "cx23", "image": "debian-13" })).await;
    let problems = lab.plan(&desired()).await.unwrap().unwrap_err();
    assert!(problems[0].message.contains("magi-casper"), "{problems:?}");
}

#[tokio::test]
async fn an_ssh_key_that_the_project_has_under_another_name_is_used_and_stays() {
    let lab = new().await;
    let line = KEY.rsplit_once(' ').unwrap().0;
    let url = format!("http://{}/v1/ssh_keys", lab.cloud.hetzner);
    let body = json!({ "name": "laptop", "public_key": line });
    lab.http.post(url).bearer_auth("test-token").json(&body).send().await.unwrap().error_for_status().unwrap();
    lab.run(&desired()).await.unwrap();
    assert_eq!(lab.counts().await["ssh_keys"], 1);
    for server in lab.observe().await.servers {
        lab.client.delete(&server.id).await.unwrap();
    }
    lab.client.delete_shared(&lab.observe().await, "magi").await.unwrap();
    assert_eq!(lab.counts().await["ssh_keys"], 1);
}

#[tokio::test]
async fn the_rate_limit_is_waited_for_a_second_at_a_time() {
    let lab = new().await;
    lab.set(json!({ "hetzner_limit": { "limit": 3600, "remaining": 6 } })).await;
    // The limit refills by the second: the cloud's clock goes as fast as the client's.
    let desired = desired();
    let run = lab.run(&desired);
    let clock = async {
        for _ in 0..3000 {
            lab.control(reqwest::Method::POST, "clock", json!({ "advance_ms": 1000 })).await;
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let ends = tokio::select! {
        ends = run => ends.unwrap(),
        () = clock => panic!("not done within a minute"),
    };
    assert!(ends.iter().all(|end| end.result.is_ok()), "{ends:?}");
    assert_eq!(lab.counts().await["servers"], 3);
}

#[tokio::test]
async fn a_token_that_may_only_read_or_is_unknown_is_named() {
    let lab = new().await;
    let unknown = lab.other("another", Duration::from_millis(20)).observe("magi").await.unwrap_err();
    assert!(matches!(unknown, CloudError::Unauthorized { variable: "HCLOUD_TOKEN", .. }), "{unknown}");
    let desired = desired();
    let reading = lab.other("test-token-read", Duration::from_millis(20));
    let plan = lab.plan(&desired).await.unwrap().unwrap();
    let error = provision::shared(&reading, &desired, &plan, &|_| {}).await.unwrap_err();
    assert!(matches!(error, CloudError::ReadOnly { .. }), "{error}");
    for error in [unknown, error] {
        let text = format!("{error} {error:?} {}", error.hint().unwrap());
        assert!(!text.contains("test-token") && !text.contains("another"), "{text}");
    }
}

#[tokio::test]
async fn a_project_with_more_servers_than_a_page_is_seen_whole() {
    let lab = new().await;
    for number in 0..60 {
        let name = format!("other-{number}");
        lab.foreign("server", json!({ "name": name, "server_type": "cx23", "image": "debian-13" })).await;
    }
    assert_eq!(lab.observe().await.foreign.len(), 60);
}

#[tokio::test]
async fn a_server_that_someone_switched_off_or_detached_is_brought_back() {
    let lab = new().await;
    let desired = desired();
    lab.run(&desired).await.unwrap();
    let server = lab.observe().await.servers[0].id.0.clone();
    let base = format!("http://{}/v1/servers/{server}/actions", lab.cloud.hetzner);
    let network = lab.observe().await.network.unwrap().id.0.parse::<u64>().unwrap();
    for (action, body) in [("poweroff", json!({})), ("detach_from_network", json!({ "network": network }))] {
        let url = format!("{base}/{action}");
        lab.http.post(url).bearer_auth("test-token").json(&body).send().await.unwrap().error_for_status().unwrap();
        lab.control(reqwest::Method::POST, "finish", Value::Null).await;
    }
    let plan = lab.plan(&desired).await.unwrap().unwrap();
    assert!(!plan.is_empty());
    lab.converge(&desired).await;
}

#[tokio::test]
async fn twenty_servers_take_few_requests_and_little_more_time_than_one() {
    let mut lab = new().await;
    lab.client = lab.other("test-token", Duration::from_millis(200));
    lab.set(json!({ "settings": { "action_ms": 400, "latency_ms": 5 } })).await;
    let one = many(1);
    let begun = std::time::Instant::now();
    assert!(lab.run(&one).await.unwrap()[0].result.is_ok());
    let single = begun.elapsed();
    let requests = lab.client.requests();
    let begun = std::time::Instant::now();
    let ends = lab.run(&many(21)).await.unwrap();
    assert!(ends.iter().all(|end| end.result.is_ok()), "{ends:?}");
    println!(
        "one server: {single:.2?}, {requests} requests; twenty more: {:.2?}, {} requests",
        begun.elapsed(),
        lab.client.requests() - requests
    );
    // An hour has 3600; the polls are shared.
    assert!(lab.client.requests() - requests < 200);
    lab.assert_contract().await;
}

#[tokio::test]
async fn an_interrupted_run_continues_and_nothing_is_there_twice() {
    let lab = new().await;
    let desired = desired();
    // Interrupted at the n-th thing that happens.
    for stop in 0..14 {
        let count = Mutex::new(0);
        let interrupted = Arc::clone(&lab.interrupted);
        let report = |_: Happening| {
            let mut count = count.lock().unwrap();
            *count += 1;
            if *count > stop {
                interrupted.store(true, Ordering::Relaxed);
            }
        };
        let _ = lab.run_told(&desired, &report).await;
        lab.interrupted.store(false, Ordering::Relaxed);
        let counts = lab.counts().await;
        assert!(counts["servers"].as_u64().unwrap() <= 3, "{counts}");
    }
    lab.converge(&desired).await;
    let counts = lab.counts().await;
    assert_eq!((&counts["servers"], &counts["networks"], &counts["firewalls"]), (&json!(3), &json!(1), &json!(1)));
    lab.assert_contract().await;
}

#[tokio::test]
async fn a_network_that_servers_of_others_use_stays() {
    let lab = new().await;
    lab.run(&desired()).await.unwrap();
    lab.foreign("server", json!({ "name": "somebody", "server_type": "cx23", "image": "debian-13" })).await;
    lab.control(reqwest::Method::POST, "finish", Value::Null).await;
    let observed = lab.observe().await;
    let (network, other) = (observed.network.unwrap().id.0, observed.foreign["somebody"].0.clone());
    let url = format!("http://{}/v1/servers/{other}/actions/attach_to_network", lab.cloud.hetzner);
    let body = json!({ "network": network.parse::<u64>().unwrap() });
    lab.http.post(url).bearer_auth("test-token").json(&body).send().await.unwrap().error_for_status().unwrap();
    lab.control(reqwest::Method::POST, "finish", Value::Null).await;
    for server in observed.servers {
        lab.client.delete(&server.id).await.unwrap();
    }
    let removed = lab.client.delete_shared(&lab.observe().await, "magi").await.unwrap();
    assert_eq!(removed.kept, ["network magi"]);
    assert_eq!(lab.counts().await["networks"], 1);
}
