//! Requests that violate the contract, tokens, methods, and the limits of rates.

use serde_json::{Value, json};
use test_cloud::message::Provider;

use crate::api::{Api, key, merged, new_droplet, new_server};

#[test]
fn hetzner_refuses_a_body_that_violates_the_contract_and_names_the_field() {
    let server = |more: Value| new_server("a", more);
    let firewall = |rule: Value| json!({"name": "f", "rules": [rule]});
    let cases = [
        ("/servers", server(json!({"placement-group": 1})), "placement-group"),
        ("/servers", server(json!({"placement_group": "1"})), "placement_group"),
        ("/servers", server(json!({"datacenter": "fsn1-dc14"})), "datacenter"),
        ("/servers", server(json!({"public_net": {"ipv4_enabled": true}})), "public_net.ipv4_enabled"),
        ("/servers", server(json!({"firewalls": [1]})), "firewalls.0"),
        ("/servers", server(json!({"ssh_keys": [1]})), "ssh_keys.0"),
        ("/servers", json!({"name": "a", "image": "debian-12"}), "server_type"),
        ("/servers", server(json!({"name": "under_score"})), "name"),
        ("/servers", server(json!({"server_type": "cx999"})), "server_type"),
        ("/servers", server(json!({"image": "debian-99"})), "image"),
        ("/servers", server(json!({"location": "mars"})), "location"),
        ("/servers", server(json!({"location": "ash"})), "location"),
        ("/servers", server(json!({"user_data": "x".repeat(32 * 1024 + 1)})), "user_data"),
        ("/servers", server(json!({"labels": {"-a": "b"}})), "labels"),
        ("/servers", server(json!({"labels": {"a": 1}})), "labels.a"),
        ("/servers", server(json!({"public_net": {"enable_ipv4": false, "enable_ipv6": false}})), "public_net"),
        ("/placement_groups", json!({"name": "p", "type": "pack"}), "type"),
        ("/networks", json!({"name": "n", "ip_range": "10.0.0.1/16"}), "ip_range"),
        ("/networks", json!({"name": "n", "ip_range": "8.8.0.0/16"}), "ip_range"),
        ("/networks", json!({"name": "n", "ip_range": "10.0.0.0/25"}), "ip_range"),
        ("/volumes", json!({"name": "v", "size": 5, "location": "fsn1"}), "size"),
        ("/volumes", json!({"name": "v", "size": 10}), "location"),
        ("/primary_ips", json!({"name": "p", "type": "ipv4", "datacenter": "fsn1-dc14"}), "datacenter"),
        ("/primary_ips", json!({"name": "p", "type": "ipv4"}), "location"),
        ("/ssh_keys", json!({"name": "k", "public_key": "ssh-rsa nonsense"}), "public_key"),
        ("/zones", json!({"name": "Example.org", "mode": "primary"}), "name"),
        (
            "/firewalls",
            firewall(json!({"direction": "in", "protocol": "tcp", "port": "22", "source_ips": ["192.0.2.1/24"]})),
            "rules.0.source_ips",
        ),
        (
            "/firewalls",
            firewall(json!({"direction": "in", "protocol": "tcp", "source_ips": ["0.0.0.0/0"]})),
            "rules.0.port",
        ),
        (
            "/firewalls",
            firewall(json!({"direction": "in", "protocol": "icmp", "port": "1", "source_ips": ["0.0.0.0/0"]})),
            "rules.0.port",
        ),
        (
            "/firewalls",
            firewall(json!({"direction": "in", "protocol": "tcp", "port": "5-1", "source_ips": ["0.0.0.0/0"]})),
            "rules.0.port",
        ),
        (
            "/firewalls",
            firewall(json!({"direction": "in", "protocol": "tcp", "port": "22", "destination_ips": ["::/0"]})),
            "rules.0.source_ips",
        ),
    ];
    let mut api = Api::hetzner();
    for (path, body, field) in cases {
        let error = api.send("POST", path, body.clone()).refuses(422, "invalid_input");
        assert_eq!(error["error"]["details"]["fields"][0]["name"], field, "{path} {body}");
    }
    let counts = api.control("GET", "/counts", json!({}));
    assert!(counts["hetzner"].as_object().unwrap().values().all(|count| *count == 0), "{counts}");
}

#[test]
fn digitalocean_refuses_a_body_that_violates_the_contract_and_names_the_field() {
    let droplet = |more: Value| new_droplet("a", more);
    let rule = |rule: Value| json!({"name": "fw", "inbound_rules": [rule]});
    let many: Vec<String> = (0..11).map(|number| format!("n{number}")).collect();
    let volume = json!({"name": "v", "region": "fra1", "size_gigabytes": 1});
    let cases = [
        ("/droplets", droplet(json!({"sshkeys": []})), "sshkeys"),
        ("/droplets", droplet(json!({"vpc_uuid": 1})), "vpc_uuid"),
        ("/droplets", droplet(json!({"name": "a_b"})), "name"),
        ("/droplets", droplet(json!({"size": "huge"})), "size"),
        ("/droplets", droplet(json!({"region": "mars"})), "region"),
        ("/droplets", droplet(json!({"image": "nixos"})), "image"),
        ("/droplets", droplet(json!({"ssh_keys": [7]})), "ssh_keys"),
        ("/droplets", droplet(json!({"user_data": "x".repeat(64 * 1024 + 1)})), "user_data"),
        ("/droplets", droplet(json!({"tags": ["a b"]})), "tags"),
        ("/droplets", droplet(json!({"vpc_uuid": "d0000000-0000-4000-8000-000000000009"})), "vpc_uuid"),
        ("/droplets", droplet(json!({"names": ["b"]})), "name"),
        ("/droplets", json!({"names": many, "size": "s-1vcpu-1gb", "image": 8001}), "names"),
        ("/vpcs", json!({"name": "v", "region": "fra1", "ip_range": "10.0.0.0/8"}), "ip_range"),
        ("/vpcs", json!({"name": "v", "region": "fra1", "ip_range": "10.0.0.1/24"}), "ip_range"),
        ("/volumes", merged(volume.clone(), json!({"name": "Upper"})), "name"),
        ("/volumes", merged(volume, json!({"filesystem_label": "x"})), "filesystem_label"),
        ("/firewalls", rule(json!({"protocol": "esp", "ports": "0", "sources": {}})), "inbound_rules.0.protocol"),
        ("/firewalls", rule(json!({"protocol": "tcp", "ports": "0", "sources": {}})), "sources"),
        ("/firewalls", rule(json!({"protocol": "tcp", "ports": "9-8", "sources": {"addresses": ["::/0"]}})), "ports"),
        ("/firewalls", rule(json!({"protocol": "tcp", "ports": "22", "sources": {"tags": ["missing"]}})), "tags"),
        ("/reserved_ips", json!({"region": "fra1", "droplet_id": 1}), ""),
        ("/tags", json!({"name": "a.b"}), "name"),
        ("/account/keys", json!({"name": "k", "public_key": "nonsense"}), "public_key"),
    ];
    let mut api = Api::digitalocean();
    for (path, body, field) in cases {
        let error = api.send("POST", path, body.clone()).refuses(422, "unprocessable_entity");
        assert!(error["message"].as_str().unwrap().contains(field), "{path} {body}: {error}");
    }
    let counts = api.control("GET", "/counts", json!({}));
    assert!(counts["digitalocean"].as_object().unwrap().values().all(|count| *count == 0), "{counts}");
}

#[test]
fn a_query_is_as_strict_as_a_body() {
    let mut api = Api::hetzner();
    let cases = [
        ("/servers?nam=a", "nam"),
        ("/servers?per_page=51", "per_page"),
        ("/servers?per_page=0", "per_page"),
        ("/servers?page=one", "page"),
        ("/servers?status=sleeping", "status.0"),
        ("/servers?sort=size", "sort.0"),
        ("/servers?name=a&name=b", "name"),
        ("/servers?label_selector=a%3D(", "label_selector"),
        ("/images?architecture=sparc", "architecture"),
    ];
    for (path, field) in cases {
        let error = api.send("GET", path, Value::Null).refuses(422, "invalid_input");
        assert_eq!(error["error"]["details"]["fields"][0]["name"], field, "{path}");
    }
    let mut api = Api::digitalocean();
    for path in ["/droplets?per_page=201", "/droplets?tag=x", "/droplets?tag_name=a&name=b"] {
        api.send("GET", path, Value::Null).refuses(422, "unprocessable_entity");
    }
}

#[test]
fn a_body_that_is_not_json_and_a_body_that_does_not_belong_there_are_refused() {
    let mut api = Api::hetzner();
    api.send_text("POST", "/servers", "{\"name\":").refuses(400, "json_error");
    api.send_text("POST", "/servers", "").refuses(422, "invalid_input");
    let id = api.server("a");
    api.send("POST", &format!("/servers/{id}/actions/poweron"), json!({"force": true})).refuses(422, "invalid_input");
    let mut api = Api::digitalocean();
    api.send_text("POST", "/droplets", "{").refuses(400, "bad_request");
}

#[test]
fn a_token_is_needed_and_one_for_reading_does_not_write() {
    for (mut api, code) in [(Api::hetzner(), (401, "token_readonly")), (Api::digitalocean(), (403, "forbidden"))] {
        let path = if api.provider == Provider::Hetzner { "/ssh_keys" } else { "/account/keys" };
        api.token = "another";
        api.send("GET", path, Value::Null).refuses(401, "unauthorized");
        api.token = "test-token-read";
        api.get(path);
        api.send("POST", path, json!({"name": "k", "public_key": key(1)})).refuses(code.0, code.1);
        api.token = "test-token";
        api.post(path, json!({"name": "k", "public_key": key(1)}));
    }
}

#[test]
fn paths_and_methods_that_do_not_exist_are_refused() {
    let mut api = Api::hetzner();
    api.send("GET", "/isos", Value::Null).refuses(404, "not_found");
    api.send("GET", "/servers/12", Value::Null).refuses(404, "not_found");
    api.send("GET", "/servers/twelve", Value::Null).refuses(404, "not_found");
    api.send("PATCH", "/servers", json!({})).refuses(405, "method_not_allowed");
    let error = api.send("GET", "/datacenters", Value::Null).refuses(410, "deprecated_api_endpoint");
    assert!(error["error"]["details"]["announcement"].as_str().unwrap().starts_with("https://"));
    let mut api = Api::digitalocean();
    api.send("PATCH", "/droplets", json!({})).refuses(404, "not_found");
    api.send("GET", "/droplets/12", Value::Null).refuses(404, "not_found");
}

#[test]
fn hetzners_limit_refills_by_one_a_second_and_its_headers_are_on_every_answer() {
    let mut api = Api::hetzner();
    api.settings(json!({"hetzner_limit": {"remaining": 2}}));
    let header = |api: &mut Api, name: &str| api.send("GET", "/servers", Value::Null).header(name).unwrap();
    assert_eq!(header(&mut api, "ratelimit-remaining"), "1");
    assert_eq!(header(&mut api, "ratelimit-remaining"), "0");
    let refused = api.send("GET", "/servers", Value::Null);
    // 3600 requests are missing: the bucket is full in an hour, but not before then empty.
    assert_eq!(refused.header("ratelimit-reset").unwrap(), (api.now / 1000 + 3600).to_string());
    assert_eq!(refused.header("ratelimit-limit").unwrap(), "3600");
    assert_eq!(refused.header("retry-after"), None);
    refused.refuses(429, "rate_limit_exceeded");
    api.now += 999;
    api.send("GET", "/servers", Value::Null).refuses(429, "rate_limit_exceeded");
    api.now += 1;
    api.get("/servers");
    let problem = api.send("GET", "/nowhere", Value::Null);
    assert!(problem.header("ratelimit-limit").is_some());
}

#[test]
fn a_request_without_a_token_does_not_use_the_limit() {
    let mut api = Api::hetzner();
    api.settings(json!({"hetzner_limit": {"remaining": 1}}));
    api.token = "another";
    api.send("GET", "/servers", Value::Null).refuses(401, "unauthorized");
    api.token = "test-token";
    api.get("/servers");
}

#[test]
fn digitaloceans_limits_are_windows_and_only_the_burst_says_when_to_retry() {
    let mut api = Api::digitalocean();
    for number in 0..250 {
        let answer = api.send("GET", "/regions", Value::Null);
        assert_eq!(answer.header("ratelimit-remaining").unwrap(), (4999 - number).to_string());
        answer.is(200);
    }
    let refused = api.send("GET", "/regions", Value::Null);
    assert_eq!(refused.header("retry-after").unwrap(), "61");
    refused.refuses(429, "too_many_requests");
    api.now += 60_000;
    api.get("/regions");
    api.settings(json!({"digitalocean_limit": {"hour": 0}}));
    let refused = api.send("GET", "/regions", Value::Null);
    assert_eq!(refused.header("retry-after"), None);
    assert_eq!(refused.header("ratelimit-reset").unwrap(), ((api.now + 3_600_000) / 1000).to_string());
    refused.refuses(429, "too_many_requests");
}

#[test]
fn the_list_of_keys_has_a_limit_of_its_own() {
    let mut api = Api::digitalocean();
    for _ in 0..10 {
        api.get("/account/keys");
    }
    api.send("GET", "/account/keys", Value::Null).refuses(429, "too_many_requests");
    api.post("/account/keys", json!({"name": "k", "public_key": key(1)}));
    api.now += 60_000;
    api.get("/account/keys");
}

#[test]
fn destroying_droplets_by_tag_is_refused_and_counted() {
    let mut api = Api::digitalocean();
    api.droplet("a", json!({"tags": ["t"]}));
    assert_eq!(api.control("GET", "/calls", json!({}))["forbidden"], 0);
    api.send("DELETE", "/droplets?tag_name=t", Value::Null).refuses(403, "forbidden");
    api.send("DELETE", "/droplets", Value::Null).refuses(403, "forbidden");
    let calls = api.control("GET", "/calls", json!({}));
    assert_eq!(calls["forbidden"], 2);
    assert_eq!(api.get("/droplets")["meta"]["total"], 1);
    let log = api.control("GET", "/log", json!({}));
    let marked: Vec<&Value> =
        log["requests"].as_array().unwrap().iter().filter(|entry| entry["forbidden"] == true).collect();
    assert_eq!(marked.len(), 2);
    assert_eq!(marked[0]["query"], json!([["tag_name", "t"]]));
}
