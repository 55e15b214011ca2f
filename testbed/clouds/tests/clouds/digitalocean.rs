//! DigitalOcean: droplets and what belongs to them.

use serde_json::{Value, json};

use crate::api::{Answer, Api, key, merged, new_droplet};

fn act(api: &mut Api, droplet: u64, body: Value) -> Answer {
    api.send("POST", &format!("/droplets/{droplet}/actions"), body)
}

fn droplet(api: &mut Api, id: u64) -> Value {
    api.get(&format!("/droplets/{id}"))["droplet"].clone()
}

#[test]
fn the_networks_of_a_new_droplet_are_empty_at_first() {
    let mut api = Api::digitalocean();
    let made = api.send("POST", "/droplets", new_droplet("a", json!({"ipv6": true}))).is(202);
    let id = made["droplet"]["id"].as_u64().unwrap();
    assert_eq!(made["droplet"]["networks"], json!({"v4": [], "v6": []}));
    assert_eq!(made["links"]["actions"][0]["rel"], "create");
    let mut seen = Vec::new();
    for _ in 0..4 {
        let shown = droplet(&mut api, id);
        let networks = shown["networks"]["v4"].as_array().unwrap().len();
        seen.push((shown["status"].as_str().unwrap().to_owned(), networks, shown["locked"] == true));
        api.now += 90;
    }
    // Networks are shown after 100 ms, the action ends after 250 ms.
    let expected = [("new", 0, true), ("new", 0, true), ("new", 2, true), ("active", 2, false)];
    assert_eq!(seen, expected.map(|(status, count, locked)| (status.to_owned(), count, locked)));
    let networks = &droplet(&mut api, id)["networks"];
    let kinds: Vec<&Value> = networks["v4"].as_array().unwrap().iter().map(|one| &one["type"]).collect();
    assert_eq!(kinds, ["public", "private"]);
    assert_eq!(networks["v6"][0]["netmask"], 64);
    let action = made["links"]["actions"][0]["id"].clone();
    let action = &api.get(&format!("/actions/{action}"))["action"];
    assert_eq!((&action["status"], &action["resource_id"]), (&json!("completed"), &json!(id)));
}

#[test]
fn names_are_not_unique_and_several_droplets_are_made_at_once() {
    let mut api = Api::digitalocean();
    api.droplet("a", json!({}));
    let body = json!({"names": ["a", "b"], "size": "s-1vcpu-1gb", "image": 8001, "region": "fra1"});
    let made = api.send("POST", "/droplets", body).is(202);
    assert_eq!(
        (made["droplets"].as_array().unwrap().len(), made["links"]["actions"].as_array().unwrap().len()),
        (2, 2)
    );
    api.finish();
    let shown = api.get("/droplets");
    let ips: std::collections::BTreeSet<String> = shown["droplets"]
        .as_array()
        .unwrap()
        .iter()
        .flat_map(|one| one["networks"]["v4"].as_array().unwrap().iter())
        .map(|net| net["ip_address"].to_string())
        .collect();
    assert_eq!(ips.len(), 6, "{ips:?}");
}

#[test]
fn a_droplet_without_public_network_has_only_a_private_address() {
    let mut api = Api::digitalocean();
    let id = api.droplet("a", json!({"public_networking": false}));
    let networks = droplet(&mut api, id)["networks"]["v4"].clone();
    assert_eq!((networks.as_array().unwrap().len(), &networks[0]["type"]), (1, &json!("private")));
}

#[test]
fn actions_change_a_droplet_and_exclude_each_other() {
    let mut api = Api::digitalocean();
    let id = api.droplet("a", json!({}));
    let cases = [
        (json!({"type": "power_off"}), 201, "off"),
        (json!({"type": "reboot"}), 422, "off"),
        (json!({"type": "resize", "size": "s-1vcpu-2gb"}), 201, "off"),
        (json!({"type": "resize", "size": "s-1vcpu-1gb"}), 422, "off"),
        (json!({"type": "power_on"}), 201, "active"),
        (json!({"type": "resize", "size": "s-2vcpu-4gb"}), 422, "active"),
        (json!({"type": "rename"}), 422, "active"),
        (json!({"type": "rename", "name": "b"}), 201, "active"),
        (json!({"type": "power_on", "name": "b"}), 422, "active"),
        (json!({"type": "rebuild", "image": "nothing"}), 422, "active"),
        (json!({"type": "rebuild", "image": "debian-13-x64"}), 201, "active"),
        (json!({"type": "shutdown"}), 201, "off"),
        (json!({"type": "power_cycle"}), 201, "active"),
        (json!({"type": "enable_ipv6"}), 201, "active"),
        (json!({"type": "explode"}), 422, "active"),
    ];
    for (body, code, after) in cases {
        act(&mut api, id, body.clone()).is(code);
        if code == 201 {
            act(&mut api, id, json!({"type": "power_on"})).refuses(422, "unprocessable_entity");
        }
        api.finish();
        assert_eq!(droplet(&mut api, id)["status"], after, "{body}");
    }
    let shown = droplet(&mut api, id);
    let found = [&shown["name"], &shown["size_slug"], &shown["image"]["slug"]];
    assert_eq!(found, ["b", "s-1vcpu-2gb", "debian-13-x64"]);
    assert_eq!(shown["networks"]["v6"].as_array().unwrap().len(), 1);
    let actions = api.get(&format!("/droplets/{id}/actions"));
    assert_eq!((&actions["actions"][0]["type"], actions["meta"]["total"].as_u64()), (&json!("enable_ipv6"), Some(9)));
}

#[test]
fn keys_are_named_by_id_or_fingerprint_and_are_unique() {
    let mut api = Api::digitalocean();
    let made = api.send("POST", "/account/keys", json!({"name": "k", "public_key": key(1)})).is(201)["ssh_key"].clone();
    api.send("POST", "/account/keys", json!({"name": "l", "public_key": key(1)})).refuses(422, "unprocessable_entity");
    let path = format!("/account/keys/{}", made["fingerprint"].as_str().unwrap());
    api.send("PUT", &path, json!({"name": "m"})).is(200);
    assert_eq!(api.get(&format!("/account/keys/{}", made["id"]))["ssh_key"]["name"], "m");
    api.droplet("a", json!({"ssh_keys": [made["id"], made["fingerprint"]]}));
    api.send("DELETE", &path, Value::Null).is(204);
    api.send("DELETE", &path, Value::Null).refuses(404, "not_found");
}

#[test]
fn a_vpc_with_members_and_a_default_one_stay() {
    let mut api = Api::digitalocean();
    let new = json!({"name": "v", "region": "fra1", "ip_range": "10.10.0.0/24"});
    let vpc = api.send("POST", "/vpcs", new.clone()).is(201)["vpc"].clone();
    let path = format!("/vpcs/{}", vpc["id"].as_str().unwrap());
    api.send("POST", "/vpcs", merged(new.clone(), json!({"name": "w"}))).refuses(422, "unprocessable_entity");
    api.send("POST", "/vpcs", merged(new, json!({"ip_range": "10.11.0.0/24"}))).refuses(422, "unprocessable_entity");
    let elsewhere = new_droplet("a", json!({"vpc_uuid": vpc["id"], "region": "nyc3"}));
    api.send("POST", "/droplets", elsewhere).refuses(422, "unprocessable_entity");
    let id = api.droplet("a", json!({"vpc_uuid": vpc["id"]}));
    let private = &droplet(&mut api, id)["networks"]["v4"][1];
    assert_eq!((&private["ip_address"], &private["gateway"]), (&json!("10.10.0.2"), &json!("10.10.0.1")));
    assert_eq!(api.get(&format!("{path}/members"))["members"][0]["urn"], format!("do:droplet:{id}"));
    api.send("DELETE", &path, Value::Null).refuses(403, "forbidden");
    api.send("DELETE", &format!("/droplets/{id}"), Value::Null).is(204);
    api.finish();
    api.send("PATCH", &path, json!({"description": "d"})).is(200);
    api.send("DELETE", &path, Value::Null).is(204);
    let id = api.droplet("b", json!({}));
    api.send("DELETE", &format!("/droplets/{id}"), Value::Null).is(204);
    api.finish();
    let default = api.get("/vpcs")["vpcs"][0].clone();
    assert_eq!(default["default"], true);
    let default = format!("/vpcs/{}", default["id"].as_str().unwrap());
    api.send("DELETE", &default, Value::Null).refuses(403, "forbidden");
}

#[test]
fn a_firewall_has_rules_for_tags_that_exist() {
    let mut api = Api::digitalocean();
    api.post("/tags", json!({"name": "web"}));
    let id = api.droplet("a", json!({"tags": ["web"]}));
    let rule = json!({"protocol": "tcp", "ports": "all", "sources": {"addresses": ["0.0.0.0/0"], "tags": ["web"]}});
    let new = json!({"name": "fw", "inbound_rules": [rule], "droplet_ids": [id], "tags": ["web"]});
    let made = api.send("POST", "/firewalls", new.clone()).is(202)["firewall"].clone();
    assert_eq!((&made["status"], &made["inbound_rules"][0]["ports"]), (&json!("waiting"), &json!("0")));
    assert_eq!(made["pending_changes"].as_array().unwrap().len(), 1);
    api.send("POST", "/firewalls", new.clone()).refuses(409, "conflict");
    api.send("POST", "/firewalls", json!({"name": "empty"})).refuses(400, "bad_request");
    let path = format!("/firewalls/{}", made["id"].as_str().unwrap());
    api.finish();
    assert_eq!(api.get(&path)["firewall"]["status"], "succeeded");
    api.send("POST", &format!("{path}/droplets"), json!({"droplet_ids": [5]})).refuses(422, "unprocessable_entity");
    api.send("DELETE", &format!("{path}/droplets"), json!({"droplet_ids": [id]})).is(204);
    api.send("POST", &format!("{path}/tags"), json!({"tags": ["db"]})).refuses(422, "unprocessable_entity");
    let out = json!({"protocol": "udp", "ports": "53", "destinations": {"addresses": ["::/0"]}});
    api.send("POST", &format!("{path}/rules"), json!({"outbound_rules": [out]})).is(204);
    assert_eq!(api.get(&path)["firewall"]["outbound_rules"].as_array().unwrap().len(), 1);
    // A PUT is the whole firewall: what it does not name is gone.
    let less = json!({"name": "fw", "inbound_rules": new["inbound_rules"]});
    let put = api.send("PUT", &path, less).is(200)["firewall"].clone();
    assert_eq!(
        (&put["outbound_rules"], &put["tags"], &put["created_at"]),
        (&json!([]), &json!([]), &made["created_at"])
    );
    api.send("DELETE", &path, Value::Null).is(204);
}

#[test]
fn a_destroyed_droplet_leaves_volumes_and_reserved_ips() {
    let mut api = Api::digitalocean();
    let id = api.droplet("a", json!({}));
    let volume =
        api.post("/volumes", json!({"name": "v", "region": "fra1", "size_gigabytes": 5}))["volume"]["id"].clone();
    let path = format!("/volumes/{}/actions", volume.as_str().unwrap());
    api.send("POST", &path, json!({"type": "attach", "droplet_id": id, "region": "nyc3"}))
        .refuses(422, "unprocessable_entity");
    api.send("POST", &path, json!({"type": "attach", "droplet_id": id})).is(202);
    api.finish();
    api.send("POST", "/reserved_ips", json!({"droplet_id": id})).is(202);
    api.finish();
    assert_eq!(droplet(&mut api, id)["volume_ids"], json!([volume]));
    assert_eq!(api.get("/reserved_ips")["reserved_ips"][0]["droplet"]["id"], id);
    api.send("DELETE", &format!("/volumes/{}", volume.as_str().unwrap()), Value::Null).refuses(409, "conflict");
    api.send("DELETE", &format!("/droplets/{id}"), Value::Null).is(204);
    api.send("DELETE", &format!("/droplets/{id}"), Value::Null).refuses(422, "unprocessable_entity");
    api.finish();
    api.send("DELETE", &format!("/droplets/{id}"), Value::Null).refuses(404, "not_found");
    assert_eq!(api.get("/volumes")["volumes"][0]["droplet_ids"], json!([]));
    let left = &api.get("/reserved_ips")["reserved_ips"][0];
    assert_eq!((left["ip"].is_string(), &left["droplet"]), (true, &Value::Null));
}

#[test]
fn a_droplet_is_destroyed_with_the_named_resources_only() {
    let mut api = Api::digitalocean();
    let id = api.droplet("a", json!({}));
    let mut volumes = Vec::new();
    for name in ["gone", "kept"] {
        let volume =
            api.post("/volumes", json!({"name": name, "region": "fra1", "size_gigabytes": 5}))["volume"]["id"].clone();
        let path = format!("/volumes/{}/actions", volume.as_str().unwrap());
        api.send("POST", &path, json!({"type": "attach", "droplet_id": id})).is(202);
        api.finish();
        volumes.push(volume);
    }
    let path = format!("/droplets/{id}/destroy_with_associated_resources/selective");
    api.send("DELETE", &path, json!({"volumes": ["another"]})).refuses(422, "unprocessable_entity");
    api.send("DELETE", &path, json!({"volumes": [volumes[0]]})).is(202);
    api.finish();
    let left = api.get("/volumes");
    assert_eq!((left["meta"]["total"].as_u64(), &left["volumes"][0]["id"]), (Some(1), &volumes[1]));
}

#[test]
fn volumes_have_unique_names_in_a_region_and_grow() {
    let mut api = Api::digitalocean();
    let new = json!({"name": "v", "region": "fra1", "size_gigabytes": 5, "filesystem_type": "ext4", "tags": ["t"]});
    let volume = api.send("POST", "/volumes", new.clone()).is(201)["volume"]["id"].clone();
    api.send("POST", "/volumes", new.clone()).refuses(409, "conflict");
    api.send("POST", "/volumes", merged(new, json!({"region": "nyc3"}))).is(201);
    assert_eq!(api.get("/volumes?name=v&region=nyc3")["meta"]["total"], 1);
    let path = format!("/volumes/{}/actions", volume.as_str().unwrap());
    api.send("POST", &path, json!({"type": "resize", "size_gigabytes": 5})).refuses(422, "unprocessable_entity");
    let action =
        api.send("POST", &path, json!({"type": "resize", "size_gigabytes": 9})).is(202)["action"]["id"].clone();
    api.send("POST", &path, json!({"type": "resize", "size_gigabytes": 10})).refuses(422, "unprocessable_entity");
    api.finish();
    assert_eq!(api.get(&format!("{path}/{action}"))["action"]["status"], "completed");
    assert_eq!(api.get("/tags/t")["tag"]["resources"]["volumes"]["count"], 2);
}

#[test]
fn a_reserved_ip_leads_to_one_droplet_of_its_region() {
    let mut api = Api::digitalocean();
    let (one, far) = (api.droplet("a", json!({})), api.droplet("b", json!({"region": "nyc3"})));
    let ip = api.send("POST", "/reserved_ips", json!({"region": "fra1"})).is(202)["reserved_ip"]["ip"].clone();
    let path = format!("/reserved_ips/{}/actions", ip.as_str().unwrap());
    for body in [
        json!({"type": "unassign"}),
        json!({"type": "assign"}),
        json!({"type": "assign", "droplet_id": far}),
        json!({"type": "assign", "droplet_id": 5}),
    ] {
        api.send("POST", &path, body).refuses(422, "unprocessable_entity");
    }
    let action = api.send("POST", &path, json!({"type": "assign", "droplet_id": one})).is(201)["action"].clone();
    assert!(action["resource_id"].is_u64());
    api.send("POST", &path, json!({"type": "assign", "droplet_id": one})).refuses(422, "unprocessable_entity");
    api.finish();
    assert_eq!(api.get(&format!("{path}/{}", action["id"]))["action"]["status"], "completed");
    api.send("POST", "/reserved_ips", json!({"droplet_id": one})).refuses(422, "unprocessable_entity");
    api.send("POST", &path, json!({"type": "unassign"})).is(201);
    api.finish();
    api.send("DELETE", &format!("/reserved_ips/{}", ip.as_str().unwrap()), Value::Null).is(204);
}

#[test]
fn tags_are_made_by_their_use_and_leave_with_their_deletion() {
    let mut api = Api::digitalocean();
    let id = api.droplet("a", json!({"tags": ["one"]}));
    let resources = json!({"resources": [{"resource_id": id.to_string(), "resource_type": "droplet"}]});
    api.send("POST", "/tags/two/resources", resources.clone()).refuses(404, "not_found");
    api.post("/tags", json!({"name": "two"}));
    api.send("POST", "/tags/two/resources", resources.clone()).is(204);
    assert_eq!(droplet(&mut api, id)["tags"], json!(["one", "two"]));
    let unknown = json!({"resources": [{"resource_id": "5", "resource_type": "droplet"}]});
    api.send("POST", "/tags/two/resources", unknown).refuses(404, "not_found");
    api.send("DELETE", "/tags/two/resources", resources).is(204);
    api.send("DELETE", "/tags/one", Value::Null).is(204);
    assert_eq!(droplet(&mut api, id)["tags"], json!([]));
}

#[test]
fn records_are_found_by_their_full_name() {
    let mut api = Api::digitalocean();
    api.send("POST", "/domains", json!({"name": "example.org", "ip_address": "192.0.2.1"})).is(201);
    api.send("POST", "/domains", json!({"name": "example.org"})).refuses(422, "unprocessable_entity");
    let path = "/domains/example.org/records";
    let record = |kind: &str, data: &str| json!({"type": kind, "name": "www", "data": data, "ttl": 60});
    let cases = [
        (record("A", "192.0.2.2"), true),
        (record("A", "2001:db8::1"), false),
        (record("AAAA", "2001:db8::1"), true),
        (record("CNAME", "other"), false),
        (record("CNAME", "other.example.org."), true),
        (record("MX", "mail.example.org."), false),
        (merged(record("MX", "mail.example.org."), json!({"priority": 10})), true),
        (record("TXT", "any text"), true),
        (merged(record("A", "192.0.2.3"), json!({"ttl": 29})), false),
        (merged(record("A", "192.0.2.3"), json!({"name": "www.example.org."})), false),
    ];
    for (body, valid) in cases {
        let answer = api.send("POST", path, body.clone());
        assert_eq!(answer.reply.status, if valid { 201 } else { 422 }, "{body} {answer:?}");
    }
    assert_eq!(api.get(&format!("{path}?name=www&type=A"))["meta"]["total"], 0, "a relative name finds nothing");
    let found = api.get(&format!("{path}?name=www.example.org&type=A"));
    assert_eq!(found["meta"]["total"], 1);
    let one = format!("{path}/{}", found["domain_records"][0]["id"]);
    api.send("PATCH", &one, json!({"type": "A", "data": "nonsense"})).refuses(422, "unprocessable_entity");
    assert_eq!(api.send("PATCH", &one, json!({"type": "A", "ttl": 300})).is(200)["domain_record"]["ttl"], 300);
    api.send("DELETE", &one, Value::Null).is(204);
    api.send("DELETE", &one, Value::Null).refuses(404, "not_found");
}

#[test]
fn quotas_and_stock_refuse_droplets() {
    let mut api = Api::digitalocean();
    api.settings(json!({"digitalocean": {"quotas": {"droplets": 1}, "sold_out": [["s-1vcpu-1gb", "fra1"]]}}));
    assert_eq!(api.get("/account")["account"]["droplet_limit"], 1);
    api.send("POST", "/droplets", new_droplet("a", json!({}))).refuses(422, "unprocessable_entity");
    let sizes = api.get("/sizes");
    let regions = sizes["sizes"][0]["regions"].as_array().unwrap();
    assert!(!regions.contains(&json!("fra1")) && regions.contains(&json!("nyc3")));
    assert!(sizes["sizes"][0]["price_monthly"].is_f64(), "prices are numbers here");
    api.droplet("a", json!({"region": "nyc3"}));
    api.send("POST", "/droplets", new_droplet("b", json!({"region": "nyc3"}))).refuses(422, "unprocessable_entity");
}

#[test]
fn images_are_found_by_slug_and_id() {
    let mut api = Api::digitalocean();
    for path in ["/images/debian-12-x64", "/images/8001"] {
        assert_eq!(api.get(path)["image"]["slug"], "debian-12-x64", "{path}");
    }
    api.send("DELETE", "/images/8001", Value::Null).refuses(403, "forbidden");
    assert_eq!(api.get("/images?private=true")["meta"]["total"], 0);
    let id = api.droplet("a", json!({}));
    act(&mut api, id, json!({"type": "snapshot", "name": "s"})).is(201);
    api.finish();
    let image = api.get("/images?private=true")["images"][0].clone();
    assert_eq!((&image["type"], &image["name"]), (&json!("snapshot"), &json!("s")));
    api.send("DELETE", &format!("/images/{}", image["id"]), Value::Null).is(204);
}
