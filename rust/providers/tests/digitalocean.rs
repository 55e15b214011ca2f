//! The client of DigitalOcean against the test cloud (testbed/clouds), which speaks the documented API strictly and
//! compares every request and response with its contract. Each hazard of the API has a test.

#![allow(clippy::unwrap_used, clippy::panic)]

mod lab;

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, atomic::Ordering},
    time::Duration,
};

use lab::{KEY, Side, all, boot};
use machinist_model::{Cluster, DigitaloceanServer, NodeName, Provider, fixtures};
use machinist_providers::{
    Cloud, CloudError,
    desired::{self, Desired},
    digitalocean::DigitalOcean,
    plan::{Step, Wanted},
    provision::{self, Happening},
};
use reqwest::Method;
use serde_json::{Value, json};

type Lab = lab::Lab<DigitalOcean>;

async fn new() -> Lab {
    Lab::new(Side { name: "digitalocean", version: "v2", client: DigitalOcean::new }).await
}

fn cluster() -> Cluster {
    let mut cluster = fixtures::three_member_etcd();
    cluster.operators[0].ssh = Some(KEY.to_owned());
    for node in cluster.nodes.values_mut().filter(|node| node.nixos) {
        node.provider = Provider::Digitalocean;
        node.digitalocean = Some(DigitaloceanServer {
            size: "s-2vcpu-4gb".to_owned(),
            region: "fra1".to_owned(),
            image: "debian-13-x64".to_owned(),
            ipv6: true,
            address: None,
            is_declared: false,
        });
    }
    cluster
}

fn desired() -> Desired {
    desired::at_digitalocean(&cluster()).unwrap()
}

/// A cluster of `count` workers and no voters.
fn many(count: u8) -> Desired {
    let mut desired = desired();
    let first = desired.servers.remove(0);
    desired.servers = (0..count)
        .map(|number| {
            let node = NodeName::parse(&format!("w{number}")).unwrap();
            desired::Server { name: format!("magi-{node}"), node, ..first.clone() }
        })
        .collect();
    desired
}

async fn destroy(lab: &Lab) -> machinist_providers::cloud::Removed {
    for server in lab.observe().await.servers {
        lab.client.delete(&server.id).await.unwrap();
        // Deleting again is no error: an earlier response may have been lost.
        lab.client.delete(&server.id).await.unwrap();
    }
    lab.client.delete_shared(&lab.observe().await, "magi").await.unwrap()
}

async fn log(lab: &Lab) -> Vec<(String, String)> {
    let log = lab.control(Method::GET, "log", Value::Null).await;
    let entries = log["requests"].as_array().cloned().unwrap_or_default();
    let text = |entry: &Value, field: &str| entry[field].as_str().unwrap_or_default().to_owned();
    entries.iter().map(|entry| (text(entry, "method"), text(entry, "path"))).collect()
}

#[tokio::test]
async fn three_droplets_get_addresses_of_the_provider_and_a_second_run_has_nothing_to_do() {
    let lab = new().await;
    let desired = desired();
    let ends = lab.run(&desired).await.unwrap();
    let mut addresses = BTreeSet::new();
    for end in &ends {
        let found = end.result.as_ref().unwrap();
        assert!(found.on && found.public().is_some() && found.node.as_ref() == Some(&end.node), "{found:?}");
        assert_eq!(found.first_key.as_deref(), Some("0a1b"));
        let fixed = found.fixed.as_ref().unwrap();
        // Hazard 7: no DHCP, so each address has its network, and the public ones a gateway.
        let (public, private) = (fixed.public.as_ref().unwrap(), fixed.private.as_ref().unwrap());
        assert!(public.gateway.is_some() && public.prefix_length == 24, "{fixed:?}");
        assert!(private.gateway.is_none() && private.prefix_length == 24, "{fixed:?}");
        assert!(fixed.public6.as_ref().is_some_and(|public| public.prefix_length == 64), "{fixed:?}");
        assert!(desired.network.range.contains(&found.private[0].ip));
        addresses.insert(found.private[0].ip);
    }
    assert_eq!(addresses.len(), 3);
    let plan = lab.plan(&desired).await.unwrap().unwrap();
    assert!(plan.is_empty(), "{plan:?}");
    assert_eq!((plan.before, plan.currency.as_str()), (plan.after, "USD"));
    assert!(plan.after.monthly > 0.0 && plan.after.hourly > 0.0);
    assert_eq!(lab.counts().await["droplets"], 3);
    lab.assert_contract().await;
}

#[tokio::test]
async fn nothing_is_left_after_the_cluster_is_destroyed_and_nothing_foreign_is_touched() {
    let lab = new().await;
    // Hazard: names are not unique. Another droplet may have the name of one of ours.
    let body = json!({ "name": "magi-casper", "region": "fra1", "size": "s-1vcpu-1gb", "image": "debian-13-x64" });
    lab.foreign("droplet", body).await;
    lab.control(Method::POST, "finish", Value::Null).await;
    let before = lab.counts().await;
    lab.run(&desired()).await.unwrap();
    assert_eq!(lab.observe().await.servers.len(), 3);
    let removed = destroy(&lab).await;
    assert!(removed.kept.is_empty(), "{removed:?}");
    assert_eq!(lab.counts().await, before);
    // Hazard: `DELETE /droplets?tag_name=` deletes what others have tagged.
    let log = log(&lab).await;
    assert!(log.iter().any(|(method, path)| method == "DELETE" && path.starts_with("/v2/droplets/")), "{log:?}");
    assert!(!log.iter().any(|(method, path)| method == "DELETE" && path == "/v2/droplets"), "{log:?}");
    lab.assert_contract().await;
}

#[tokio::test]
async fn the_default_network_of_a_region_stays_and_the_rest_is_deleted() {
    let lab = new().await;
    lab.run(&desired()).await.unwrap();
    lab.cloud.with(|cloud, _| cloud.digitalocean.vpcs.values_mut().for_each(|vpc| vpc.default = true));
    let removed = destroy(&lab).await;
    assert_eq!(removed.kept, ["network magi"]);
    assert!(removed.deleted.iter().any(|words| words.starts_with("ssh key")), "{removed:?}");
    // The next cluster uses it.
    lab.run(&desired()).await.unwrap();
    assert_eq!(lab.observe().await.servers.len(), 3);
}

#[tokio::test]
async fn a_firewall_lets_the_private_network_in_and_everything_out_and_covers_a_droplet_from_its_first_moment() {
    let lab = new().await;
    lab.run(&desired()).await.unwrap();
    let resources = lab.control(Method::GET, "resources", Value::Null).await["digitalocean"].clone();
    let firewall = &resources["firewalls"][0];
    let inbound = firewall["inbound_rules"].as_array().unwrap();
    // Hazard: the firewall filters the VPC's interface, too, where etcd and the overlay are.
    let inside = |protocol: &str| {
        inbound.iter().any(|rule| {
            rule["protocol"] == protocol
                && rule["ports"] == "0"
                && rule["sources"]["addresses"] == json!(["10.13.13.0/24"])
        })
    };
    assert!(["tcp", "udp", "icmp"].iter().all(|protocol| inside(protocol)), "{firewall}");
    let open: Vec<&Value> = inbound
        .iter()
        .filter(|rule| rule["sources"]["addresses"] == json!(["0.0.0.0/0", "::/0"]))
        .map(|rule| &rule["ports"])
        .collect();
    assert_eq!(open, [&json!("0"), &json!("22")], "icmp and SSH only: {firewall}");
    // Hazard: outbound rules have to be listed, or all is blocked.
    assert_eq!(firewall["outbound_rules"].as_array().unwrap().len(), 3, "{firewall}");
    // Hazard: a firewall takes ten droplets by number. It covers a tag, which droplets have at their creation.
    assert_eq!(firewall["droplet_ids"], json!([]), "{firewall}");
    let tag = firewall["tags"][0].as_str().unwrap();
    for droplet in resources["droplets"].as_array().unwrap() {
        assert!(droplet["tags"].as_array().unwrap().contains(&json!(tag)), "{droplet}");
    }
}

#[tokio::test]
async fn rules_that_someone_changed_are_restored_and_what_others_put_behind_the_firewall_stays() {
    let lab = new().await;
    let desired = desired();
    lab.run(&desired).await.unwrap();
    let body = json!({ "name": "somebody", "region": "fra1", "size": "s-1vcpu-1gb", "image": "debian-13-x64" });
    lab.foreign("droplet", body).await;
    lab.control(Method::POST, "finish", Value::Null).await;
    let resources = lab.control(Method::GET, "resources", Value::Null).await["digitalocean"].clone();
    let other =
        resources["droplets"].as_array().unwrap().iter().find(|one| one["name"] == "somebody").unwrap()["id"].clone();
    let id = resources["firewalls"][0]["id"].as_str().unwrap();
    let request = |method: Method, path: String, body: Value| {
        lab.http.request(method, lab.url(&path)).bearer_auth("test-token").json(&body).send()
    };
    let all = json!({ "outbound_rules": [{ "protocol": "tcp", "ports": "0", "destinations": { "addresses": ["0.0.0.0/0", "::/0"] } }] });
    request(Method::DELETE, format!("firewalls/{id}/rules"), all).await.unwrap().error_for_status().unwrap();
    let droplets = json!({ "droplet_ids": [other] });
    request(Method::POST, format!("firewalls/{id}/droplets"), droplets).await.unwrap().error_for_status().unwrap();
    let plan = lab.plan(&desired).await.unwrap().unwrap();
    assert_eq!(plan.shared.iter().map(|change| change.verb).collect::<Vec<_>>(), ["update"], "{plan:?}");
    lab.converge(&desired).await;
    let firewall = lab.control(Method::GET, "resources", Value::Null).await["digitalocean"]["firewalls"][0].clone();
    assert_eq!((firewall["outbound_rules"].as_array().unwrap().len(), &firewall["droplet_ids"][0]), (3, &other));
    // It stays, because somebody uses it; its own tag, too.
    assert!(destroy(&lab).await.kept.contains(&"firewall magi-nodes".to_owned()));
    lab.assert_contract().await;
}

#[tokio::test]
async fn a_droplet_that_lost_its_firewall_is_put_behind_it_again() {
    let lab = new().await;
    let desired = desired();
    lab.run(&desired).await.unwrap();
    let server = lab.observe().await.servers[0].clone();
    let url = lab.url("tags/machinist:magi:firewall:magi-nodes/resources");
    let body = json!({ "resources": [{ "resource_id": server.id.0, "resource_type": "droplet" }] });
    lab.http.delete(url).bearer_auth("test-token").json(&body).send().await.unwrap().error_for_status().unwrap();
    let plan = lab.plan(&desired).await.unwrap().unwrap();
    assert!(plan.servers.iter().any(|change| change.steps == [Step::Protect]), "{plan:?}");
    lab.converge(&desired).await;
    lab.assert_contract().await;
}

#[tokio::test]
async fn networks_that_are_empty_right_after_a_creation_are_waited_for() {
    let lab = new().await;
    lab.set(json!({ "settings": { "networks_ms": 600 } })).await;
    let ends = lab.run(&desired()).await.unwrap();
    assert!(ends.iter().all(|end| end.result.as_ref().unwrap().public().is_some()), "{ends:?}");
    // Also by a run that finds the droplet without them.
    lab.set(json!({ "settings": { "networks_ms": 60000 } })).await;
    let desired = many(1);
    let first = lab.run(&desired);
    let _ = tokio::time::timeout(Duration::from_millis(800), first).await;
    let plan = lab.plan(&desired).await.unwrap().unwrap();
    assert_eq!(plan.servers[0].steps, [Step::Attach], "{plan:?}");
    lab.control(Method::POST, "clock", json!({ "advance_ms": 60_000 })).await;
    lab.converge(&desired).await;
    assert_eq!(lab.counts().await["droplets"], 4);
}

#[tokio::test]
async fn unknown_values_and_fields_of_the_api_are_read() {
    let lab = new().await;
    lab.run(&desired()).await.unwrap();
    lab.fault(json!({
        "provider": "digitalocean", "method": "GET", "path": "/v2/droplets", "times": 9,
        "kind": "change",
        "set": { "/droplets/*/status": "frozen", "/droplets/*/quantum": true },
        "remove": ["/droplets/*/created_at"],
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
        "provider": "digitalocean", "method": "GET", "path": "/v2/droplets", "times": 1,
        "kind": "change", "set": { "/droplets/*/id": "no number" },
    }))
    .await;
    let error = lab.client.observe("magi").await.unwrap_err();
    assert!(matches!(error, CloudError::Shape { .. }), "{error}");
}

#[tokio::test]
async fn a_lost_answer_to_a_create_leads_to_a_look_and_not_to_a_second_droplet() {
    let lab = new().await;
    for path in ["droplets", "vpcs", "firewalls", "account/keys"] {
        let path = format!("/v2/{path}");
        lab.fault(json!({ "provider": "digitalocean", "method": "POST", "path": path, "times": 1, "kind": "drop" }))
            .await;
    }
    // Hazard: tags come after the droplet, so the first look by tag may miss it.
    lab.fault(json!({
        "provider": "digitalocean", "method": "GET", "path": "/v2/droplets", "skip": 4, "times": 1,
        "kind": "change", "set": { "/droplets/*/tags": [] },
    }))
    .await;
    let ends = lab.run(&desired()).await.unwrap();
    assert!(ends.iter().all(|end| end.result.is_ok()), "{ends:?}");
    let counts = lab.counts().await;
    for kind in ["firewalls", "keys", "vpcs"] {
        assert_eq!(counts[kind], 1, "{kind}: {counts}");
    }
    assert_eq!(counts["droplets"], 3, "{counts}");
    lab.assert_contract().await;
}

#[tokio::test]
async fn a_gateway_that_answers_in_the_api_s_place_creates_nothing_twice() {
    let lab = new().await;
    for process in [true, false] {
        lab.fault(json!({
            "provider": "digitalocean", "method": "POST", "path": "/v2/droplets", "times": 1,
            "kind": "html", "process": process,
        }))
        .await;
    }
    lab.converge(&desired()).await;
    assert_eq!(lab.counts().await["droplets"], 3);
}

#[tokio::test]
async fn the_droplet_limit_is_compared_before_the_first_request_that_costs() {
    let lab = new().await;
    lab.set(json!({ "digitalocean": { "quotas": { "droplets": 2 } } })).await;
    let problems = lab.plan(&desired()).await.unwrap().unwrap_err();
    assert_eq!(problems[0].message, "3 servers would be created, but 0 of the account's 2 exist");
    // Somebody else may use it up in between: the provider's own refusal ends the run.
    lab.set(json!({ "digitalocean": { "quotas": { "droplets": 25 } } })).await;
    let desired = desired();
    let plan = lab.plan(&desired).await.unwrap().unwrap();
    let observed = provision::shared(&lab.client, &desired, &plan, &|_| {}).await.unwrap();
    lab.set(json!({ "digitalocean": { "quotas": { "droplets": 1 } } })).await;
    let user_data = |node: &NodeName| Ok(boot(node));
    let ends = provision::servers(&lab.client, &desired, &plan, &observed, &user_data, &|_| {}).await;
    let error = ends.iter().find_map(|end| end.result.as_ref().err()).unwrap();
    assert!(matches!(error, CloudError::Quota { .. }), "{error}");
    assert_eq!(lab.counts().await["droplets"], 1);
}

#[tokio::test]
async fn a_size_that_a_region_has_not_is_refused_with_others_before_anything_is_created() {
    let lab = new().await;
    lab.set(json!({ "digitalocean": { "sold_out": [["s-2vcpu-4gb", "fra1"]] } })).await;
    let problems = lab.plan(&desired()).await.unwrap().unwrap_err();
    assert!(problems[0].message.contains("s-2vcpu-4gb cannot be had in fra1"), "{problems:?}");
    assert!(problems[0].hint.as_deref().unwrap().contains("USD a month"), "{problems:?}");
    assert_eq!(lab.counts().await["droplets"], 0);
}

#[tokio::test]
async fn droplets_of_two_regions_are_refused_because_a_vpc_has_one() {
    let lab = new().await;
    let mut desired = desired();
    desired.servers[1].location = "ams3".to_owned();
    let problems = lab.plan(&desired).await.unwrap().unwrap_err();
    assert!(problems[0].message.contains("ams3, fra1"), "{problems:?}");
}

#[tokio::test]
async fn an_address_that_machines_nix_says_is_refused_before_the_droplet_exists_and_compared_after() {
    let lab = new().await;
    let mut written = desired();
    written.servers[0].ip = Some([10, 13, 13, 200].into());
    written.servers[0].is_declared = true;
    let problems = lab.plan(&written).await.unwrap().unwrap_err();
    assert!(problems[0].message.contains("10.13.13.200 cannot be asked for"), "{problems:?}");
    lab.run(&desired()).await.unwrap();
    let given = lab.observe().await.servers;
    let given = given.iter().find(|server| server.name == written.servers[0].name).unwrap().private[0].ip;
    let problems = lab.plan(&written).await.unwrap().unwrap_err();
    assert_eq!(
        problems[0].hint.as_deref().unwrap(),
        format!("write ip = \"{given}\"; provision moves no server that exists")
    );
    written.servers[0].ip = Some(given);
    assert!(lab.plan(&written).await.unwrap().unwrap().is_empty());
}

#[tokio::test]
async fn a_network_or_firewall_of_others_with_our_name_is_refused_and_not_used() {
    let lab = new().await;
    let post = async |path: &str, body: Value| {
        let sent = lab.http.post(lab.url(path)).bearer_auth("test-token").json(&body).send().await.unwrap();
        sent.error_for_status().unwrap();
    };
    post("vpcs", json!({ "name": "magi", "region": "fra1", "ip_range": "10.99.0.0/24" })).await;
    let inbound = json!([{ "protocol": "tcp", "ports": "22", "sources": { "addresses": ["0.0.0.0/0"] } }]);
    post("firewalls", json!({ "name": "magi-nodes", "inbound_rules": inbound })).await;
    let problems = lab.plan(&desired()).await.unwrap().unwrap_err();
    let words: Vec<&str> = problems.iter().map(|problem| problem.message.as_str()).collect();
    assert_eq!(
        words,
        [
            "the firewall magi-nodes is not this cluster's, which needs one of that name",
            "the network magi is not this cluster's, which needs one of that name"
        ]
    );
}

#[tokio::test]
async fn an_ssh_key_that_the_account_has_under_another_name_is_used_and_stays() {
    let lab = new().await;
    let line = KEY.rsplit_once(' ').unwrap().0;
    let body = json!({ "name": "laptop", "public_key": line });
    let sent = lab.http.post(lab.url("account/keys")).bearer_auth("test-token").json(&body).send().await.unwrap();
    sent.error_for_status().unwrap();
    lab.run(&desired()).await.unwrap();
    assert_eq!(lab.counts().await["keys"], 1);
    destroy(&lab).await;
    assert_eq!(lab.counts().await["keys"], 1);
}

#[tokio::test]
async fn the_keys_are_listed_rarely_and_their_own_limit_is_waited_for() {
    let lab = new().await;
    lab.run(&desired()).await.unwrap();
    let lists = log(&lab).await.iter().filter(|(method, path)| method == "GET" && path == "/v2/account/keys").count();
    assert!(lists <= 2, "{lists}");
    // Hazard: only ten lists a minute, without `retry-after`.
    lab.set(json!({ "digitalocean_limit": { "keys": 0 } })).await;
    let other = lab.other("test-token", Duration::from_millis(20));
    let clock = async {
        tokio::time::sleep(Duration::from_millis(150)).await;
        lab.control(Method::POST, "clock", json!({ "advance_ms": 60_000 })).await;
    };
    let (observed, ()) = tokio::join!(other.observe("magi"), clock);
    assert_eq!(observed.unwrap().servers.len(), 3);
}

#[tokio::test]
async fn the_limit_of_a_minute_is_waited_for_as_long_as_the_provider_says() {
    let lab = new().await;
    lab.set(json!({ "digitalocean_limit": { "minute": 4 } })).await;
    let desired = desired();
    let run = lab.run(&desired);
    let clock = async {
        for _ in 0..3000 {
            lab.control(Method::POST, "clock", json!({ "advance_ms": 1000 })).await;
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let ends = tokio::select! {
        ends = run => ends.unwrap(),
        () = clock => panic!("not done within a minute"),
    };
    assert!(ends.iter().all(|end| end.result.is_ok()), "{ends:?}");
    assert_eq!(lab.counts().await["droplets"], 3);
}

#[tokio::test]
async fn a_token_that_may_only_read_or_is_unknown_is_named() {
    let lab = new().await;
    let unknown = lab.other("another", Duration::from_millis(20)).observe("magi").await.unwrap_err();
    assert!(matches!(unknown, CloudError::Unauthorized { variable: "DIGITALOCEAN_TOKEN", .. }), "{unknown}");
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
async fn lists_of_several_pages_are_read_whole_from_the_configured_host() {
    // Hazard: the links of a list name the provider's host, whatever the base is.
    let lab = new().await;
    lab.set(json!({ "digitalocean": { "quotas": { "droplets": 1000 } } })).await;
    let desired = desired();
    for number in 0..230 {
        let body = json!({
            "name": format!("other-{number}"), "region": "fra1", "size": "s-1vcpu-1gb", "image": "debian-13-x64",
            "tags": ["machinist:magi"],
        });
        lab.foreign("droplet", body).await;
    }
    lab.control(Method::POST, "finish", Value::Null).await;
    assert_eq!(lab.client.observe("magi").await.unwrap().servers.len(), 230);
    // They are not of machines.nix, so the plan names them, and no run touches them.
    let plan = lab.plan(&desired).await.unwrap().unwrap();
    assert_eq!(plan.notes.len(), 230);
    lab.assert_contract().await;
}

#[tokio::test]
async fn a_droplet_that_someone_switched_off_is_switched_on() {
    let lab = new().await;
    let desired = desired();
    lab.run(&desired).await.unwrap();
    let id = lab.observe().await.servers[0].id.0.clone();
    let url = lab.url(&format!("droplets/{id}/actions"));
    let body = json!({ "type": "power_off" });
    lab.http.post(url).bearer_auth("test-token").json(&body).send().await.unwrap().error_for_status().unwrap();
    lab.control(Method::POST, "finish", Value::Null).await;
    let plan = lab.plan(&desired).await.unwrap().unwrap();
    assert!(plan.servers.iter().any(|change| change.steps == [Step::PowerOn]), "{plan:?}");
    lab.converge(&desired).await;
    lab.assert_contract().await;
}

#[tokio::test]
async fn a_droplet_with_a_pending_event_is_deleted_when_that_has_ended() {
    let lab = new().await;
    lab.run(&desired()).await.unwrap();
    lab.set(json!({ "settings": { "action_ms": 300 } })).await;
    let id = lab.observe().await.servers[0].id.clone();
    let url = lab.url(&format!("droplets/{}/actions", id.0));
    let body = json!({ "type": "reboot" });
    lab.http.post(url).bearer_auth("test-token").json(&body).send().await.unwrap().error_for_status().unwrap();
    lab.client.delete(&id).await.unwrap();
    assert_eq!(lab.counts().await["droplets"], 2);
}

#[tokio::test]
async fn a_vpc_that_droplets_of_others_use_stays() {
    // Hazard: a VPC with members is refused with 403, as a token without its scope is.
    let lab = new().await;
    lab.run(&desired()).await.unwrap();
    let vpc = lab.observe().await.network.unwrap().id.0;
    let body = json!({
        "name": "somebody", "region": "fra1", "size": "s-1vcpu-1gb", "image": "debian-13-x64", "vpc_uuid": vpc,
    });
    lab.foreign("droplet", body).await;
    lab.control(Method::POST, "finish", Value::Null).await;
    let removed = destroy(&lab).await;
    assert_eq!(removed.kept, ["network magi"]);
    assert_eq!(lab.counts().await["vpcs"], 1);
}

#[tokio::test]
async fn volumes_and_reserved_addresses_that_stay_are_named() {
    let lab = new().await;
    lab.run(&desired()).await.unwrap();
    let id: u64 = lab.observe().await.servers[0].id.0.parse().unwrap();
    lab.foreign("reserved_ip", json!({ "droplet_id": id })).await;
    lab.control(Method::POST, "finish", Value::Null).await;
    let leftovers = lab.observe().await.leftovers;
    assert_eq!(leftovers.iter().map(|leftover| leftover.kind.as_str()).collect::<Vec<_>>(), ["reserved IP"]);
}

#[tokio::test]
async fn an_interrupted_run_continues_and_nothing_is_there_twice() {
    let lab = new().await;
    let desired = desired();
    // Interrupted at the n-th thing that happens.
    for stop in 0..10 {
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
        assert!(counts["droplets"].as_u64().unwrap() <= 3, "{counts}");
    }
    lab.converge(&desired).await;
    let counts = lab.counts().await;
    assert_eq!((&counts["droplets"], &counts["vpcs"], &counts["firewalls"]), (&json!(3), &json!(1), &json!(1)));
    lab.assert_contract().await;
}

#[tokio::test]
async fn twenty_droplets_take_fewer_requests_than_a_minute_has() {
    let mut lab = new().await;
    lab.client = lab.other("test-token", Duration::from_millis(200));
    lab.set(json!({ "settings": { "action_ms": 1500, "latency_ms": 5, "networks_ms": 300 } })).await;
    let one = many(1);
    let begun = std::time::Instant::now();
    assert!(lab.run(&one).await.unwrap()[0].result.is_ok());
    let single = begun.elapsed();
    let requests = lab.client.requests();
    let begun = std::time::Instant::now();
    let ends = lab.run(&many(21)).await.unwrap();
    assert!(ends.iter().all(|end| end.result.is_ok()), "{ends:?}");
    println!(
        "one droplet: {single:.2?}, {requests} requests; twenty more: {:.2?}, {} requests",
        begun.elapsed(),
        lab.client.requests() - requests
    );
    assert!(lab.client.requests() - requests < 250);
    lab.assert_contract().await;
}

#[tokio::test]
async fn a_droplet_of_the_record_without_its_tag_is_not_created_a_second_time() {
    let lab = new().await;
    let desired = desired();
    lab.run(&desired).await.unwrap();
    let server = lab.observe().await.servers[0].clone();
    let url = lab.url("tags/machinist:magi/resources");
    let body = json!({ "resources": [{ "resource_id": server.id.0, "resource_type": "droplet" }] });
    lab.http.delete(url).bearer_auth("test-token").json(&body).send().await.unwrap().error_for_status().unwrap();
    let observed = lab.observe().await;
    let catalogue = lab.client.catalogue().await.unwrap();
    let recorded = [(server.node.clone().unwrap(), server.id.clone())].into();
    let wanted = Wanted { recorded, ..all(&desired) };
    let problems = machinist_providers::plan::plan(&desired, &wanted, &observed, &catalogue).unwrap_err();
    assert!(problems[0].message.contains("is not in this project"), "{problems:?}");
}
