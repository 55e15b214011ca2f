//! The API for tests: faults, the clock, foreign resources, the record.

use serde_json::{Value, json};
use test_cloud::control;
use test_cloud::fault::Delivery;
use test_cloud::message::{Body, Request};

use crate::api::{Api, new_server};

#[test]
fn a_fault_changes_the_delivery_and_says_whether_the_request_is_processed() {
    let cases = [
        (json!({"kind": "drop"}), Delivery::Drop, 1),
        (json!({"kind": "refuse"}), Delivery::Drop, 0),
        (json!({"kind": "hang"}), Delivery::Hang, 0),
        (json!({"kind": "hang", "process": true}), Delivery::Hang, 1),
        (json!({"kind": "html"}), Delivery::Answer, 0),
        (json!({"kind": "html", "process": true}), Delivery::Answer, 1),
        (json!({"kind": "status", "status": 503}), Delivery::Answer, 0),
        (json!({"kind": "status", "status": 500, "process": true}), Delivery::Answer, 1),
    ];
    for (fault, delivery, servers) in cases {
        let mut api = Api::hetzner();
        api.control("POST", "/faults", fault.clone());
        let answer = api.send("POST", "/servers", new_server("a", json!({})));
        assert_eq!(answer.delivery, delivery, "{fault}");
        let counts = api.control("GET", "/counts", json!({}));
        assert_eq!(counts["hetzner"]["servers"], servers, "{fault}");
        assert_eq!(api.control("GET", "/faults", json!({}))["faults"], json!([]), "it is used up");
    }
}

#[test]
fn an_ordered_error_has_the_providers_form() {
    let cases = [
        (500, "server_error"),
        (502, "bad_gateway"),
        (503, "unavailable"),
        (504, "timeout"),
        (409, "conflict"),
        (429, "rate_limit_exceeded"),
    ];
    let mut api = Api::hetzner();
    for (status, code) in cases {
        api.control("POST", "/faults", json!({"kind": "status", "status": status}));
        api.send("GET", "/servers", Value::Null).refuses(status, code);
    }
    api.control("POST", "/faults", json!({"kind": "status", "status": 412, "code": "resource_unavailable"}));
    api.send("GET", "/servers", Value::Null).refuses(412, "resource_unavailable");
    let mut api = Api::digitalocean();
    api.control("POST", "/faults", json!({"kind": "status", "status": 500}));
    api.send("GET", "/droplets", Value::Null).refuses(500, "server_error");
}

#[test]
fn html_comes_from_a_proxy() {
    let mut api = Api::hetzner();
    api.control("POST", "/faults", json!({"kind": "html"}));
    let answer = api.send("GET", "/servers", Value::Null);
    assert_eq!(answer.reply.status, 502);
    assert!(matches!(&answer.reply.body, Body::Html(text) if text.starts_with("<html>")));
}

#[test]
fn a_fault_waits_for_its_request_and_passes_some() {
    let mut api = Api::hetzner();
    let fault = json!({"provider": "hetzner", "method": "GET", "path": "/v1/servers*", "skip": 1, "times": 2,
        "kind": "status", "status": 503});
    api.control("POST", "/faults", fault);
    let mut seen = Vec::new();
    for path in ["/locations", "/servers", "/servers", "/servers?name=a", "/servers"] {
        seen.push(api.send("GET", path, Value::Null).reply.status);
    }
    api.send("POST", "/servers", new_server("a", json!({}))).is(201);
    assert_eq!(seen, [200, 200, 503, 503, 200]);
}

#[test]
fn an_answer_is_changed_to_what_a_newer_version_may_say() {
    let mut api = Api::hetzner();
    api.new_server("a", json!({}));
    let set = json!({"/servers/*/status": "hibernating", "/servers/0/new_field": {"x": 1}, "/servers/0/id": "text"});
    api.control("POST", "/faults", json!({"kind": "change", "set": set, "remove": ["/servers/0/labels"]}));
    let server = &api.get("/servers")["servers"][0];
    assert_eq!(
        (&server["status"], &server["new_field"]["x"], &server["id"]),
        (&json!("hibernating"), &json!(1), &json!("text"))
    );
    assert!(server.get("labels").is_none());
    assert_eq!(api.get("/servers")["servers"][0]["status"], "initializing");
}

#[test]
fn a_misspelt_order_is_refused() {
    let mut api = Api::hetzner();
    let cases = [
        ("POST", "/faults", json!({"kind": "drop", "time": 3})),
        ("POST", "/faults", json!({"kind": "explode"})),
        ("PATCH", "/settings", json!({"settings": {"action_seconds": 1}})),
        ("PATCH", "/settings", json!({"hetzner": {"quota": {}}})),
        ("PATCH", "/settings", json!({"aws": {}})),
        ("POST", "/clock", json!({"advance_ms": -1})),
        ("POST", "/foreign", json!({"provider": "hetzner", "kind": "moon", "body": {}})),
        ("POST", "/foreign", json!({"provider": "aws", "kind": "server", "body": {}})),
        ("GET", "/nothing", json!({})),
    ];
    for (method, path, body) in cases {
        let request =
            Request { path: path.to_owned(), body: body.to_string().into_bytes(), ..api.request(method, "", "") };
        let reply = control::handle(&mut api.cloud, api.now, &request);
        assert!((400..500).contains(&reply.status), "{method} {path} {body}: {reply:?}");
    }
}

#[test]
fn the_clock_and_finish_end_actions() {
    let mut api = Api::hetzner();
    api.settings(json!({"settings": {"action_ms": 60_000}}));
    let one = api.post("/servers", new_server("a", json!({"start_after_create": false})))["action"]["id"].clone();
    assert_eq!(api.get(&format!("/actions/{one}"))["action"]["status"], "running");
    api.control("POST", "/finish", json!({}));
    assert_eq!(api.get(&format!("/actions/{one}"))["action"]["status"], "success");
    let two = api.post("/servers", new_server("b", json!({"start_after_create": false})))["action"]["id"].clone();
    let now = api.control("POST", "/clock", json!({"advance_ms": 60_000}))["now_ms"].as_i64().unwrap();
    assert_eq!(now, api.now + 60_000);
    assert_eq!(api.cloud.ahead_ms, 60_000);
    assert_eq!(api.get(&format!("/actions/{two}"))["action"]["status"], "success");
}

#[test]
fn foreign_resources_are_in_the_way() {
    let mut api = Api::hetzner();
    let server = json!({"provider": "hetzner", "kind": "server", "body": new_server("cp1", json!({}))});
    api.control("POST", "/foreign", server);
    api.send("POST", "/servers", new_server("cp1", json!({}))).refuses(409, "uniqueness_error");
    let ip = json!({"name": "free", "type": "ipv4", "location": "fsn1"});
    api.control("POST", "/foreign", json!({"provider": "hetzner", "kind": "primary_ip", "body": ip}));
    let free = api.get("/primary_ips?name=free");
    assert_eq!(free["primary_ips"][0]["assignee_type"], "unassigned");
    let mut api = Api::digitalocean();
    let droplet = crate::api::new_droplet("cp1", json!({}));
    api.control("POST", "/foreign", json!({"provider": "digitalocean", "kind": "droplet", "body": droplet}));
    assert_eq!(api.get("/droplets?name=cp1")["meta"]["total"], 1);
}

#[test]
fn the_record_has_every_request_with_the_token_masked() {
    let mut api = Api::hetzner();
    api.get("/servers?name=a");
    api.send("POST", "/placement_groups", json!({"name": "g", "type": "spread"})).is(201);
    api.send_text("POST", "/servers", "not JSON").refuses(400, "json_error");
    let log = api.control("GET", "/log", json!({}));
    assert!(!log.to_string().contains("test-token"));
    let fields: Vec<Value> = log["requests"]
        .as_array()
        .unwrap()
        .iter()
        .map(|entry| {
            json!([entry["method"], entry["path"], entry["status"], entry["authorization"], entry["delivery"]])
        })
        .collect();
    let expected = [
        json!(["GET", "/v1/servers", 200, "Bearer ***", "answered"]),
        json!(["POST", "/v1/placement_groups", 201, "Bearer ***", "answered"]),
        json!(["POST", "/v1/servers", 400, "Bearer ***", "answered"]),
    ];
    assert_eq!(fields, expected);
    assert_eq!(log["requests"][1]["request"], json!({"name": "g", "type": "spread"}));
    assert_eq!(log["requests"][1]["answer"]["placement_group"]["name"], "g");
    assert_eq!(log["requests"][2]["request"], "not JSON");
    let calls = api.control("GET", "/calls", json!({}));
    assert_eq!((&calls["requests"], &calls["refused"], &calls["forbidden"]), (&json!(3), &json!(1), &json!(0)));
    api.control("DELETE", "/log", json!({}));
    assert_eq!(api.control("GET", "/calls", json!({}))["requests"], 0);
}

#[test]
fn an_answer_that_violates_the_contract_is_an_error_of_the_test_cloud() {
    let mut api = Api::hetzner();
    api.new_server("a", json!({}));
    // A location that the catalogue does not have makes an answer that the contract does not allow.
    api.cloud.hetzner.servers.values_mut().for_each(|server| server.location = "mars".to_owned());
    let request = api.request("GET", "/servers", "");
    let (reply, _) = api.cloud.handle(api.now, &request);
    assert_eq!((reply.status, &reply.value()["error"]["code"]), (500, &json!("test_cloud_bug")));
    assert!(api.cloud.log.violations[0].contains("servers.0.location"), "{:?}", api.cloud.log.violations);
    assert_eq!(api.control("GET", "/calls", json!({}))["violations"].as_array().unwrap().len(), 1);
}

#[test]
fn a_reset_removes_everything() {
    let mut api = Api::hetzner();
    api.new_server("a", json!({}));
    api.settings(json!({"settings": {"action_ms": 5}}));
    api.control("POST", "/reset", json!({}));
    let counts = api.control("GET", "/counts", json!({}));
    assert_eq!(counts["hetzner"]["servers"], 0);
    assert_eq!(api.control("GET", "/settings", json!({}))["settings"]["action_ms"], 250);
}
