//! Hetzner: servers and what belongs to them.

use serde_json::{Value, json};

use crate::api::{Api, key, new_server};

fn action(api: &mut Api, server: u64, name: &str, body: Value) -> crate::api::Answer {
    api.send("POST", &format!("/servers/{server}/actions/{name}"), body)
}

fn status(api: &mut Api, server: u64) -> String {
    api.get(&format!("/servers/{server}"))["server"]["status"].as_str().unwrap().to_owned()
}

#[test]
fn a_new_server_is_created_and_started_one_action_after_the_other() {
    let mut api = Api::hetzner();
    api.post("/ssh_keys", json!({"name": "k", "public_key": key(1)}));
    let made = api.post("/servers", new_server("a", json!({"ssh_keys": ["k"]})));
    assert_eq!(made["root_password"], Value::Null);
    assert_eq!(
        (&made["action"]["command"], &made["next_actions"][0]["command"]),
        (&json!("create_server"), &json!("start_server"))
    );
    let server = made["server"]["id"].as_u64().unwrap();
    let ids = format!("/actions?id={}&id={}", made["action"]["id"], made["next_actions"][0]["id"]);
    let mut seen = Vec::new();
    for _ in 0..4 {
        let actions = api.get(&ids);
        let states: Vec<String> = (0..2).map(|at| format!("{}", actions["actions"][at]["status"])).collect();
        seen.push(format!("{} {}", states.join(" "), status(&mut api, server)));
        api.now += 200;
    }
    // Actions last 250 ms: the first ends at 250 and the second at 500.
    let expected = [
        "\"running\" \"running\" initializing",
        "\"running\" \"running\" initializing",
        "\"success\" \"running\" off",
        "\"success\" \"success\" running",
    ];
    assert_eq!(seen, expected);
}

#[test]
fn the_progress_of_an_action_grows_and_ends_at_100() {
    let mut api = Api::hetzner();
    let made = api.post("/servers", new_server("a", json!({"start_after_create": false})));
    assert_eq!(made["next_actions"], json!([]));
    let path = format!("/actions/{}", made["action"]["id"]);
    let mut seen = Vec::new();
    for _ in 0..4 {
        let action = &api.get(&path)["action"];
        seen.push(action["progress"].as_i64().unwrap());
        assert_eq!(action["finished"].is_null(), action["status"] == "running");
        api.now += 100;
    }
    assert_eq!(seen, [0, 40, 80, 100]);
    api.send("GET", "/actions", Value::Null).refuses(410, "deprecated_api_endpoint");
    assert_eq!(api.get("/actions?id=1")["actions"], json!([]), "an unknown action is left out");
}

#[test]
fn without_a_key_the_answer_has_a_password() {
    let mut api = Api::hetzner();
    assert!(api.post("/servers", new_server("a", json!({})))["root_password"].is_string());
}

#[test]
fn a_server_is_locked_while_an_action_runs() {
    let mut api = Api::hetzner();
    let id = api.new_server("a", json!({}));
    assert_eq!(api.get(&format!("/servers/{id}"))["server"]["locked"], true);
    action(&mut api, id, "poweroff", Value::Null).refuses(423, "locked");
    api.send("DELETE", &format!("/servers/{id}"), Value::Null).refuses(423, "locked");
    api.finish();
    assert_eq!(api.get(&format!("/servers/{id}"))["server"]["locked"], false);
    action(&mut api, id, "poweroff", Value::Null).is(201);
}

#[test]
fn power_actions_end_in_their_status() {
    let cases = [
        ("poweroff", "stopping", "off"),
        ("poweron", "starting", "running"),
        ("shutdown", "stopping", "off"),
        ("reset", "running", "running"),
        ("reboot", "running", "running"),
        ("poweron", "running", "running"),
    ];
    let mut api = Api::hetzner();
    let id = api.new_server("a", json!({}));
    api.finish();
    for (name, during, after) in cases {
        action(&mut api, id, name, Value::Null).is(201);
        assert_eq!(status(&mut api, id), during, "{name}");
        api.finish();
        assert_eq!(status(&mut api, id), after, "{name}");
    }
}

#[test]
fn names_and_public_keys_are_unique() {
    let mut api = Api::hetzner();
    let pairs = [
        ("/servers", new_server("a", json!({}))),
        ("/placement_groups", json!({"name": "a", "type": "spread"})),
        ("/networks", json!({"name": "a", "ip_range": "10.0.0.0/16"})),
        ("/firewalls", json!({"name": "a"})),
        ("/volumes", json!({"name": "a", "size": 10, "location": "fsn1"})),
        ("/primary_ips", json!({"name": "a", "type": "ipv4", "location": "fsn1"})),
        ("/floating_ips", json!({"name": "a", "type": "ipv4", "home_location": "fsn1"})),
        ("/load_balancers", json!({"name": "a", "load_balancer_type": "lb11", "location": "fsn1"})),
        ("/zones", json!({"name": "example.org", "mode": "primary"})),
    ];
    for (path, body) in pairs {
        api.post(path, body.clone());
        let error = api.send("POST", path, body).refuses(409, "uniqueness_error");
        assert_eq!(error["error"]["details"]["fields"], json!([{"name": "name"}]), "{path}");
    }
    api.post("/ssh_keys", json!({"name": "k", "public_key": key(1)}));
    // The comment is not a part of the key.
    let same = key(1).replace(" test", " other");
    let error =
        api.send("POST", "/ssh_keys", json!({"name": "l", "public_key": same})).refuses(409, "uniqueness_error");
    assert_eq!(error["error"]["details"]["fields"], json!([{"name": "public_key"}]));
    api.send("POST", "/ssh_keys", json!({"name": "k", "public_key": key(2)})).refuses(409, "uniqueness_error");
    let fingerprint = api.get("/ssh_keys")["ssh_keys"][0]["fingerprint"].as_str().unwrap().to_owned();
    assert_eq!(api.get(&format!("/ssh_keys?fingerprint={fingerprint}"))["ssh_keys"].as_array().unwrap().len(), 1);
}

#[test]
fn a_put_replaces_all_labels_and_keeps_what_it_does_not_name() {
    let mut api = Api::hetzner();
    let id = api.new_server("a", json!({"labels": {"x": "1", "y": "2"}}));
    let put = |api: &mut Api, body: Value| api.send("PUT", &format!("/servers/{id}"), body).is(200)["server"].clone();
    let server = put(&mut api, json!({"name": "b"}));
    assert_eq!((&server["name"], &server["labels"]), (&json!("b"), &json!({"x": "1", "y": "2"})));
    let server = put(&mut api, json!({"labels": {"z": "3"}}));
    assert_eq!((&server["name"], &server["labels"]), (&json!("b"), &json!({"z": "3"})));
    api.new_server("c", json!({}));
    api.send("PUT", &format!("/servers/{id}"), json!({"name": "c"})).refuses(409, "uniqueness_error");
}

#[test]
fn a_placement_group_takes_ten_servers_and_an_existing_one_only_when_it_is_off() {
    let mut api = Api::hetzner();
    let group = api.post("/placement_groups", json!({"name": "g", "type": "spread"}))["placement_group"]["id"].clone();
    let running = api.new_server("running", json!({}));
    for number in 0..9 {
        api.new_server(&format!("n{number}"), json!({"placement_group": group, "start_after_create": false}));
    }
    api.finish();
    let body = json!({"placement_group": group});
    action(&mut api, running, "add_to_placement_group", body.clone()).refuses(422, "server_not_stopped");
    action(&mut api, running, "poweroff", Value::Null).is(201);
    api.finish();
    action(&mut api, running, "add_to_placement_group", body.clone()).is(201);
    api.finish();
    let server = api.get(&format!("/servers/{running}"));
    assert_eq!(server["server"]["placement_group"]["servers"].as_array().unwrap().len(), 10);
    action(&mut api, running, "add_to_placement_group", body.clone()).refuses(422, "placement_error");
    api.send("POST", "/servers", new_server("eleventh", body)).refuses(422, "placement_error");
    let path = format!("/placement_groups/{group}");
    api.send("DELETE", &path, Value::Null).refuses(422, "resource_in_use");
    action(&mut api, running, "remove_from_placement_group", Value::Null).is(201);
    api.finish();
    assert_eq!(api.get(&path)["placement_group"]["servers"].as_array().unwrap().len(), 9);
}

#[test]
fn a_primary_ip_is_assigned_only_while_the_server_is_off() {
    let mut api = Api::hetzner();
    let server = api.new_server("a", json!({"public_net": {"enable_ipv4": false}}));
    api.finish();
    let made = api.post("/primary_ips", json!({"name": "p", "type": "ipv4", "location": "fsn1"}));
    let ip = &made["primary_ip"];
    assert_eq!((&ip["assignee_type"], &ip["assignee_id"]), (&json!("unassigned"), &Value::Null));
    let path = format!("/primary_ips/{}/actions", ip["id"]);
    let body = json!({"assignee_id": server, "assignee_type": "server"});
    api.send("POST", &format!("{path}/assign"), body.clone()).refuses(422, "server_not_stopped");
    action(&mut api, server, "poweroff", Value::Null).is(201);
    api.finish();
    api.send("POST", &format!("{path}/assign"), body.clone()).is(201);
    api.send("POST", &format!("{path}/assign"), body.clone()).refuses(422, "primary_ip_already_assigned");
    api.finish();
    let net = &api.get(&format!("/servers/{server}"))["server"]["public_net"];
    assert_eq!(net["ipv4"]["ip"], ip["ip"]);
    api.send("DELETE", &format!("/primary_ips/{}", ip["id"]), Value::Null).refuses(422, "must_be_unassigned");
    action(&mut api, server, "poweron", Value::Null).is(201);
    api.finish();
    api.send("POST", &format!("{path}/unassign"), Value::Null).refuses(422, "server_not_stopped");
    action(&mut api, server, "poweroff", Value::Null).is(201);
    api.finish();
    api.send("POST", &format!("{path}/unassign"), Value::Null).is(201);
    api.finish();
    assert_eq!(api.get(&format!("/primary_ips/{}", ip["id"]))["primary_ip"]["assignee_type"], "unassigned");
}

#[test]
fn a_server_is_created_with_existing_primary_ips_that_fit() {
    let mut api = Api::hetzner();
    let primary = |api: &mut Api, name: &str, kind: &str, location: &str| {
        api.post("/primary_ips", json!({"name": name, "type": kind, "location": location}))["primary_ip"]["id"].clone()
    };
    let (fits, six, far) = (
        primary(&mut api, "fits", "ipv4", "fsn1"),
        primary(&mut api, "six", "ipv6", "fsn1"),
        primary(&mut api, "far", "ipv4", "hel1"),
    );
    let with = |ip: &Value| new_server("a", json!({"public_net": {"ipv4": ip, "enable_ipv6": false}}));
    api.send("POST", "/servers", with(&six)).refuses(412, "primary_ip_version_mismatch");
    api.send("POST", "/servers", with(&far)).refuses(422, "primary_ip_datacenter_mismatch");
    api.send("POST", "/servers", with(&json!(12))).refuses(404, "not_found");
    let server = &api.post("/servers", with(&fits))["server"];
    assert_eq!((&server["public_net"]["ipv4"]["id"], &server["public_net"]["ipv6"]), (&fits, &Value::Null));
    let again = new_server("b", json!({"public_net": {"ipv4": fits, "enable_ipv6": false}}));
    api.send("POST", "/servers", again).refuses(422, "primary_ip_assigned");
}

#[test]
fn a_deleted_server_leaves_volumes_floating_ips_and_kept_primary_ips() {
    let mut api = Api::hetzner();
    let kept =
        api.post("/primary_ips", json!({"name": "kept", "type": "ipv4", "location": "fsn1"}))["primary_ip"]["id"]
            .clone();
    let server = api.new_server("a", json!({"public_net": {"ipv4": kept}}));
    api.finish();
    api.post("/volumes", json!({"name": "v", "size": 10, "server": server, "format": "ext4"}));
    api.finish();
    api.post("/floating_ips", json!({"type": "ipv4", "server": server}));
    api.finish();
    assert_eq!(api.get("/volumes")["volumes"][0]["server"], server);
    assert_eq!(api.get("/primary_ips")["primary_ips"].as_array().unwrap().len(), 2, "the IPv6 address is new");
    api.send("DELETE", &format!("/servers/{server}"), Value::Null).is(200);
    assert_eq!(status(&mut api, server), "deleting");
    api.finish();
    api.send("GET", &format!("/servers/{server}"), Value::Null).refuses(404, "not_found");
    let (volume, floating) = (&api.get("/volumes")["volumes"][0], &api.get("/floating_ips")["floating_ips"][0]);
    assert_eq!((&volume["name"], &volume["server"]), (&json!("v"), &Value::Null));
    assert_eq!((floating["ip"].is_string(), &floating["server"]), (true, &Value::Null));
    let left = api.get("/primary_ips");
    assert_eq!((left["primary_ips"].as_array().unwrap().len(), &left["primary_ips"][0]["id"]), (1, &kept));
}

#[test]
fn a_volume_is_attached_to_one_server_of_its_location() {
    let mut api = Api::hetzner();
    let (near, other) = (api.server("near"), api.server("other"));
    let far = api.new_server("far", json!({"location": "hel1"}));
    api.finish();
    let volume = api.post("/volumes", json!({"name": "v", "size": 10, "location": "fsn1"}))["volume"].clone();
    assert_eq!(volume["linux_device"], format!("/dev/disk/by-id/scsi-0HC_Volume_{}", volume["id"]));
    api.finish();
    let path = format!("/volumes/{}", volume["id"]);
    api.send("POST", &format!("{path}/actions/attach"), json!({"server": far})).refuses(422, "invalid_input");
    api.send("POST", &format!("{path}/actions/attach"), json!({"server": near})).is(201);
    assert_eq!(api.get(&path)["volume"]["server"], Value::Null, "only when the action has ended");
    api.finish();
    api.send("POST", &format!("{path}/actions/attach"), json!({"server": other}))
        .refuses(422, "volume_already_attached");
    api.send("DELETE", &path, Value::Null).refuses(422, "resource_in_use");
    api.send("POST", &format!("{path}/actions/resize"), json!({"size": 10})).refuses(422, "invalid_input");
    api.send("POST", &format!("{path}/actions/detach"), Value::Null).is(201);
    api.finish();
    api.send("POST", &format!("{path}/actions/resize"), json!({"size": 20})).is(201);
    api.finish();
    api.send("DELETE", &path, Value::Null).is(204);
}

#[test]
fn the_rescue_system_boots_once_and_only_within_an_hour() {
    let mut api = Api::hetzner();
    let server = api.server("a");
    let enabled = |api: &mut Api| api.get(&format!("/servers/{server}"))["server"]["rescue_enabled"].clone();
    action(&mut api, server, "enable_rescue", json!({"type": "linux32"})).refuses(422, "invalid_input");
    action(&mut api, server, "enable_rescue", json!({"type": "linux64", "ssh_keys": [1]})).refuses(404, "not_found");
    let answer = action(&mut api, server, "enable_rescue", json!({"type": "linux64"})).is(201);
    assert!(answer["root_password"].is_string());
    api.finish();
    assert_eq!(enabled(&mut api), true);
    action(&mut api, server, "poweron", Value::Null).is(201);
    api.finish();
    assert_eq!(enabled(&mut api), false);
}

#[test]
fn a_rebuild_gives_the_server_an_image_of_its_architecture() {
    let mut api = Api::hetzner();
    let server = api.server("a");
    let arm = api.get("/images?architecture=arm&name=debian-13")["images"][0]["id"].to_string();
    action(&mut api, server, "rebuild", json!({"image": arm})).refuses(422, "invalid_input");
    action(&mut api, server, "rebuild", json!({"image": "ubuntu-24.04"})).is(201);
    assert_eq!(status(&mut api, server), "rebuilding");
    api.finish();
    let server = &api.get(&format!("/servers/{server}"))["server"];
    assert_eq!((&server["status"], &server["image"]["name"]), (&json!("running"), &json!("ubuntu-24.04")));
}

#[test]
fn a_type_is_changed_while_the_server_is_off_and_never_to_a_smaller_disk() {
    let mut api = Api::hetzner();
    let server = api.new_server("a", json!({"server_type": "cx33"}));
    api.finish();
    let to = |name: &str| json!({"server_type": name, "upgrade_disk": false});
    action(&mut api, server, "change_type", to("cx43")).refuses(422, "server_not_stopped");
    action(&mut api, server, "poweroff", Value::Null).is(201);
    api.finish();
    action(&mut api, server, "change_type", to("cx23")).refuses(422, "invalid_server_type");
    action(&mut api, server, "change_type", to("cax21")).refuses(422, "invalid_server_type");
    action(&mut api, server, "change_type", to("cx43")).is(201);
    api.finish();
    let server = &api.get(&format!("/servers/{server}"))["server"];
    assert_eq!((&server["server_type"]["name"], &server["primary_disk_size"]), (&json!("cx43"), &json!(80)));
}

#[test]
fn a_protected_server_is_neither_deleted_nor_rebuilt() {
    let mut api = Api::hetzner();
    let server = api.server("a");
    action(&mut api, server, "change_protection", json!({"delete": true, "rebuild": true})).is(201);
    api.finish();
    api.send("DELETE", &format!("/servers/{server}"), Value::Null).refuses(423, "protected");
    action(&mut api, server, "rebuild", json!({"image": "debian-12"})).refuses(423, "protected");
}

#[test]
fn quotas_stock_and_deprecation_refuse_a_server() {
    let mut api = Api::hetzner();
    api.settings(json!({"hetzner": {"quotas": {"servers": 1}, "sold_out": [["cx23", "fsn1"]]}}));
    api.send("POST", "/servers", new_server("a", json!({}))).refuses(412, "resource_unavailable");
    let types = api.get("/server_types?name=cx23");
    let locations = types["server_types"][0]["locations"].as_array().unwrap();
    let available: Vec<&Value> = locations.iter().map(|one| &one["available"]).collect();
    assert_eq!(json!(available), json!([false, true, true]));
    let mut elsewhere = new_server("a", json!({}));
    elsewhere.as_object_mut().unwrap().remove("location");
    assert_eq!(api.post("/servers", elsewhere)["server"]["location"]["name"], "nbg1");
    let second = new_server("b", json!({"location": "hel1"}));
    let error = api.send("POST", "/servers", second).refuses(403, "resource_limit_exceeded");
    assert_eq!(error["error"]["details"], json!({"limits": [{"name": "server_limit"}]}));
    let soon = api.now + 60_000;
    api.settings(json!({"hetzner": {"quotas": {}, "deprecated": {"cx33": soon}}}));
    let kind = &api.get("/server_types?name=cx33")["server_types"][0];
    assert!(kind["locations"][0]["deprecation"]["unavailable_after"].is_string());
    api.new_server("b", json!({"server_type": "cx33"}));
    api.now += 60_000;
    api.send("POST", "/servers", new_server("c", json!({"server_type": "cx33"}))).refuses(412, "resource_unavailable");
}

#[test]
fn prices_are_texts_for_each_location_and_addresses_are_priced_apart() {
    let mut api = Api::hetzner();
    let pricing = &api.get("/pricing")["pricing"];
    let four = pricing["primary_ips"].as_array().unwrap().iter().find(|one| one["type"] == "ipv4").unwrap();
    let (net, gross) = (&four["prices"][0]["price_monthly"]["net"], &four["prices"][0]["price_monthly"]["gross"]);
    assert_eq!((net, gross), (&json!("0.6000000000"), &json!("0.7140000000")));
    let kind = &pricing["server_types"][0];
    assert_eq!(kind["prices"].as_array().unwrap().len(), 3);
    assert!(kind["prices"][0]["price_hourly"]["net"].as_str().unwrap().parse::<f64>().unwrap() > 0.0);
}

#[test]
fn images_of_the_provider_stay_and_snapshots_are_deleted() {
    let mut api = Api::hetzner();
    let system = api.get("/images?name=debian-12")["images"][0]["id"].clone();
    api.send("DELETE", &format!("/images/{system}"), Value::Null).refuses(403, "forbidden");
    let body = json!({"provider": "hetzner", "kind": "snapshot", "body": {"labels": {"machinist": "image"}}});
    let snapshot = api.control("POST", "/foreign", body)["image"]["id"].clone();
    assert_eq!(api.get("/images?type=snapshot&label_selector=machinist=image")["images"][0]["id"], snapshot);
    api.new_server("a", json!({"image": snapshot.to_string()}));
    api.send("DELETE", &format!("/images/{snapshot}"), Value::Null).is(204);
    let server = &api.get("/servers")["servers"][0];
    assert_eq!((&server["name"], &server["image"]), (&json!("a"), &Value::Null));
}
