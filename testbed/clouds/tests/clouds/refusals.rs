//! Requests that keep to the contract, and are refused because of what exists.

use serde_json::{Value, json};

use crate::api::{Api, merged, new_droplet, new_server};

/// Sends requests in their order; each ends all actions, and is answered with the status, and the code if it is refused.
#[track_caller]
fn check(api: &mut Api, cases: &[(&str, String, Value, u16, &str)]) {
    for (method, path, body, status, code) in cases {
        let answer = api.send(method, path, body.clone());
        let value = answer.reply.value().clone();
        assert_eq!(answer.reply.status, *status, "{method} {path} {body}: {value}");
        if *status >= 400 {
            let found = value["error"]["code"].as_str().or(value["id"].as_str());
            assert_eq!(found, Some(*code), "{method} {path} {body}: {value}");
        }
        api.finish();
    }
}

#[test]
fn placement_groups_and_names() {
    let mut api = Api::hetzner();
    let group = |name: &str| json!({"name": name, "type": "spread"});
    let one = api.post("/placement_groups", group("one"))["placement_group"]["id"].clone();
    let other = api.post("/placement_groups", group("other"))["placement_group"]["id"].clone();
    let server = api.server("a");
    let add = format!("/servers/{server}/actions/add_to_placement_group");
    let remove = format!("/servers/{server}/actions/remove_from_placement_group");
    check(
        &mut api,
        &[
            ("POST", remove, Value::Null, 422, "not_in_placement_group"),
            ("POST", add.clone(), json!({"placement_group": one}), 201, ""),
            ("POST", add.clone(), json!({"placement_group": other}), 422, "already_in_placement_group"),
            ("POST", add, json!({"placement_group": 5}), 404, "not_found"),
            ("PUT", format!("/placement_groups/{one}"), json!({"name": ""}), 422, "invalid_input"),
            ("PUT", format!("/placement_groups/{one}"), json!({"name": "other"}), 409, "uniqueness_error"),
            ("PUT", format!("/placement_groups/{one}"), json!({"labels": {"-": "x"}}), 422, "invalid_input"),
        ],
    );
    for number in 2..50 {
        api.post("/placement_groups", group(&format!("g{number}")));
    }
    api.send("POST", "/placement_groups", group("fifty-first")).refuses(403, "resource_limit_exceeded");
}

#[test]
fn what_a_new_server_takes_with_it() {
    let mut api = Api::hetzner();
    let other = api.server("other");
    let volume = |name: &str, location: &str| json!({"name": name, "size": 10, "location": location});
    let far = api.post("/volumes", volume("far", "hel1"))["volume"]["id"].clone();
    let used = api.post("/volumes", json!({"name": "used", "size": 10, "server": other}))["volume"]["id"].clone();
    let firewalls: Vec<Value> = (0..6)
        .map(|number| api.post("/firewalls", json!({"name": format!("f{number}")}))["firewall"]["id"].clone())
        .collect();
    let listed = |count: usize| -> Value { firewalls.iter().take(count).map(|id| json!({"firewall": id})).collect() };
    api.finish();
    let network = api.network("n", "10.0.0.0/24");
    let closed = json!({"enable_ipv4": false, "enable_ipv6": false});
    let hidden = json!({"firewalls": listed(1), "networks": [network], "public_net": closed});
    let server = |more: Value| new_server("a", more);
    let path = || "/servers".to_owned();
    check(
        &mut api,
        &[
            ("POST", path(), server(json!({"volumes": [far]})), 422, "invalid_input"),
            ("POST", path(), server(json!({"volumes": [used]})), 422, "volume_already_attached"),
            ("POST", path(), server(json!({"volumes": [5]})), 404, "not_found"),
            ("POST", path(), server(json!({"firewalls": listed(6)})), 422, "resource_limit_exceeded"),
            ("POST", path(), server(hidden), 422, "invalid_input"),
            ("POST", path(), server(json!({"ssh_keys": ["missing"]})), 404, "not_found"),
            ("POST", path(), server(json!({"networks": [5]})), 404, "not_found"),
            ("POST", path(), server(json!({"firewalls": listed(5)})), 201, ""),
            ("GET", "/servers/5/actions".to_owned(), Value::Null, 404, "not_found"),
        ],
    );
    let long = json!({"image": "debian-12", "user_data": "x".repeat(32 * 1024 + 1)});
    let rebuild = format!("/servers/{other}/actions/rebuild");
    api.send("POST", &rebuild, long).refuses(422, "invalid_input");
}

#[test]
fn volumes_of_hetzner() {
    let mut api = Api::hetzner();
    let server = api.server("a");
    let new = |more: Value| merged(json!({"name": "v", "size": 10, "location": "fsn1"}), more);
    let path = || "/volumes".to_owned();
    check(
        &mut api,
        &[
            ("POST", path(), new(json!({"format": "btrfs"})), 422, "invalid_input"),
            ("POST", path(), new(json!({"automount": true})), 422, "invalid_input"),
            ("POST", path(), new(json!({"server": server})), 422, "invalid_input"),
            ("POST", path(), new(json!({"location": "mars"})), 422, "invalid_input"),
        ],
    );
    for number in 0..16 {
        api.post("/volumes", json!({"name": format!("v{number}"), "size": 10, "server": server}));
        api.finish();
    }
    let last = json!({"name": "last", "size": 10, "server": server});
    api.send("POST", "/volumes", last).refuses(422, "resource_limit_exceeded");
}

#[test]
fn addresses_of_hetzner() {
    let mut api = Api::hetzner();
    let server = api.new_server("a", json!({"public_net": {"enable_ipv4": false}, "start_after_create": false}));
    api.finish();
    let ip = |name: &str, location: &str| json!({"name": name, "type": "ipv4", "location": location});
    let far = api.post("/primary_ips", ip("far", "hel1"))["primary_ip"]["id"].clone();
    let near = api.post("/primary_ips", ip("near", "fsn1"))["primary_ip"]["id"].clone();
    let second = api.post("/primary_ips", ip("second", "fsn1"))["primary_ip"]["id"].clone();
    let body = json!({"assignee_id": server, "assignee_type": "server"});
    let assign = |id: &Value| format!("/primary_ips/{id}/actions/assign");
    let unassign = format!("/primary_ips/{near}/actions/unassign");
    check(
        &mut api,
        &[
            ("POST", assign(&far), body.clone(), 422, "invalid_input"),
            ("POST", unassign, Value::Null, 422, "primary_ip_not_assigned"),
            ("POST", assign(&near), body.clone(), 201, ""),
            ("POST", assign(&second), body, 422, "server_has_ipv4"),
            ("DELETE", format!("/primary_ips/{second}"), Value::Null, 204, ""),
        ],
    );
}

#[test]
fn private_networks_of_hetzner() {
    let mut api = Api::hetzner();
    let network = api.network("n", "10.0.0.0/16");
    let empty = api.post("/networks", json!({"name": "e", "ip_range": "10.9.0.0/16"}))["network"]["id"].clone();
    let (one, other) = (api.server("a"), api.server("b"));
    let attach = |server: u64| format!("/servers/{server}/actions/attach_to_network");
    let with = |aliases: &[&str]| json!({"network": network, "ip": "10.0.0.5", "alias_ips": aliases});
    let act = |name: &str| format!("/networks/{network}/actions/{name}");
    let route = |destination: &str| json!({"destination": destination, "gateway": "10.0.0.5"});
    let vswitch = json!({"type": "vswitch", "network_zone": "eu-central", "ip_range": "10.0.0.0/24"});
    let numbered = json!({"type": "cloud", "network_zone": "eu-central", "vswitch_id": 5});
    check(
        &mut api,
        &[
            ("POST", attach(one), json!({"network": empty, "ip": "10.9.0.5"}), 422, "no_subnet_available"),
            ("POST", attach(one), with(&["10.1.0.5"]), 422, "invalid_input"),
            ("POST", attach(one), with(&["10.0.0.5"]), 422, "ip_not_available"),
            ("POST", attach(one), with(&["10.0.0.6", "10.0.0.6"]), 422, "ip_not_available"),
            ("POST", attach(one), with(&["10.0.0.6"]), 201, ""),
            ("POST", attach(other), json!({"network": network, "alias_ips": ["10.0.0.6"]}), 422, "ip_not_available"),
            ("POST", act("delete_subnet"), json!({"ip_range": "10.0.9.0/24"}), 404, "not_found"),
            ("POST", act("delete_route"), route("10.5.0.0/16"), 404, "not_found"),
            ("POST", act("add_route"), route("10.5.0.0/16"), 201, ""),
            ("POST", act("add_route"), route("10.5.0.0/16"), 422, "invalid_input"),
            ("POST", act("delete_route"), route("10.5.0.0/16"), 201, ""),
            ("POST", format!("/networks/{empty}/actions/add_subnet"), vswitch, 422, "invalid_input"),
            ("POST", format!("/networks/{empty}/actions/add_subnet"), numbered, 422, "invalid_input"),
        ],
    );
    let more = |subnet: Value| ("POST", format!("/networks/{empty}/actions/add_subnet"), subnet);
    for number in 0..51 {
        let subnet = json!({"type": "cloud", "network_zone": "eu-central", "ip_range": format!("10.9.{number}.0/24")});
        let (status, code) = if number < 50 { (201, "") } else { (422, "resource_limit_exceeded") };
        let (method, path, body) = more(subnet);
        check(&mut api, &[(method, path, body, status, code)]);
    }
    for number in 0..101 {
        let (status, code) = if number < 100 { (201, "") } else { (422, "resource_limit_exceeded") };
        check(&mut api, &[("POST", act("add_route"), route(&format!("172.16.{number}.0/24")), status, code)]);
    }
}

#[test]
fn load_balancers_of_hetzner() {
    let mut api = Api::hetzner();
    let new = json!({"name": "lb", "load_balancer_type": "lb11", "location": "fsn1"});
    let balancer = api.post("/load_balancers", new.clone())["load_balancer"]["id"].clone();
    let network = api.network("n", "10.0.0.0/24");
    api.finish();
    let act = |name: &str| format!("/load_balancers/{balancer}/actions/{name}");
    let check_tcp = json!({"protocol": "tcp", "port": 80, "interval": 5, "timeout": 5, "retries": 3});
    let check_http = merged(check_tcp.clone(), json!({"protocol": "http"}));
    let service = |port: u64, more: Value| {
        let base = json!({"protocol": "tcp", "listen_port": port, "destination_port": 80, "proxyprotocol": false,
            "health_check": check_tcp});
        merged(base, more)
    };
    let sessions = json!({"cookie_name": "c", "cookie_lifetime": 300, "sticky_sessions": false, "timeout_idle": 60});
    let tls = |certificates: Value| {
        let http = merged(sessions.clone(), json!({"certificates": certificates, "redirect_http": false}));
        service(443, json!({"protocol": "https", "http": http}))
    };
    let selector = |text: &str| json!({"type": "label_selector", "label_selector": {"selector": text}});
    let both = merged(new.clone(), json!({"name": "two", "network_zone": "eu-central"}));
    check(
        &mut api,
        &[
            ("POST", "/load_balancers".to_owned(), both, 422, "invalid_input"),
            (
                "POST",
                act("detach_from_network"),
                json!({"network": network}),
                422,
                "load_balancer_not_attached_to_network",
            ),
            ("POST", act("remove_target"), selector("a=b"), 422, "load_balancer_target_not_found"),
            ("POST", act("delete_service"), json!({"listen_port": 80}), 404, "not_found"),
            ("POST", act("add_target"), selector("a=("), 422, "invalid_input"),
            ("POST", act("add_service"), service(80, json!({"health_check": check_http})), 422, "invalid_input"),
            ("POST", act("add_service"), tls(json!([])), 422, "invalid_input"),
            ("POST", act("add_service"), tls(json!([5])), 201, ""),
            ("POST", act("add_service"), service(81, json!({})), 201, ""),
            ("POST", act("add_service"), service(82, json!({})), 201, ""),
            ("POST", act("add_service"), service(83, json!({})), 201, ""),
            ("POST", act("add_service"), service(84, json!({})), 201, ""),
            ("POST", act("add_service"), service(85, json!({})), 422, "resource_limit_exceeded"),
            ("POST", act("delete_service"), json!({"listen_port": 84}), 201, ""),
        ],
    );
    for number in 0..26 {
        let (status, code) = if number < 25 { (201, "") } else { (422, "resource_limit_exceeded") };
        check(&mut api, &[("POST", act("add_target"), selector(&format!("a=n{number}")), status, code)]);
    }
    check(&mut api, &[("POST", act("remove_target"), selector("a=n0"), 201, "")]);
}

#[test]
fn firewalls_and_zones_of_hetzner() {
    let mut api = Api::hetzner();
    let firewall = api.post("/firewalls", json!({"name": "f"}))["firewall"]["id"].clone();
    api.post("/zones", json!({"name": "example.org", "mode": "primary"}));
    api.finish();
    let to =
        |selector: &str| json!({"apply_to": [{"type": "label_selector", "label_selector": {"selector": selector}}]});
    let apply = || format!("/firewalls/{firewall}/actions/apply_to_resources");
    let records = |values: &[&str]| -> Value { values.iter().map(|value| json!({"value": value})).collect() };
    let set = |name: &str, kind: &str, values: &[&str]| json!({"name": name, "type": kind, "records": records(values)});
    let rrsets = || "/zones/example.org/rrsets".to_owned();
    let remove = || "/zones/example.org/rrsets/www/A/actions/remove_records".to_owned();
    check(
        &mut api,
        &[
            ("POST", apply(), to("a in b"), 422, "invalid_input"),
            ("POST", apply(), to("a=b"), 201, ""),
            ("POST", apply(), to("a=b"), 422, "firewall_already_applied"),
            ("POST", "/zones".to_owned(), json!({"name": "s.example", "mode": "secondary"}), 422, "unsupported_error"),
            ("POST", rrsets(), set("c", "CNAME", &["a.example.", "b.example."]), 422, "invalid_input"),
            ("POST", rrsets(), set("www", "A", &["192.0.2.1", "192.0.2.1"]), 422, "invalid_input"),
            ("POST", rrsets(), set("www", "A", &["192.0.2.1", "192.0.2.2"]), 201, ""),
            ("POST", remove(), json!({"records": records(&["192.0.2.1", "192.0.2.9"])}), 404, "not_found"),
            ("GET", "/zones/example.org/rrsets/mail/A".to_owned(), Value::Null, 404, "not_found"),
        ],
    );
    let left = api.get("/zones/example.org/rrsets/www/A");
    assert_eq!(left["rrset"]["records"].as_array().unwrap().len(), 2, "a refusal changes nothing");
}

#[test]
fn regions_domains_and_rules_of_digitalocean() {
    let mut api = Api::digitalocean();
    api.post("/domains", json!({"name": "example.org"}));
    let made = api.post("/domains/example.org/records", json!({"type": "TXT", "name": "t", "data": "x"}));
    let record = format!("/domains/example.org/records/{}", made["domain_record"]["id"]);
    let rule = |address: &str| {
        let rule = json!({"protocol": "tcp", "ports": "22", "sources": {"addresses": [address]}});
        json!({"name": "fw", "inbound_rules": [rule]})
    };
    let refused = "unprocessable_entity";
    let records = || "/domains/example.org/records".to_owned();
    check(
        &mut api,
        &[
            ("POST", "/vpcs".to_owned(), json!({"name": "v", "region": "mars"}), 422, refused),
            ("POST", "/reserved_ips".to_owned(), json!({"region": "mars"}), 422, refused),
            ("POST", "/domains".to_owned(), json!({"name": "nodot"}), 422, refused),
            ("POST", "/domains".to_owned(), json!({"name": "a_b.org"}), 422, refused),
            ("POST", "/domains".to_owned(), json!({"name": "a.org", "ip_address": "::1"}), 422, refused),
            ("POST", records(), json!({"type": "TXT", "name": "t"}), 422, refused),
            ("POST", records(), json!({"type": "TXT", "data": "t"}), 422, refused),
            ("PUT", record, json!({"type": "A", "data": "192.0.2.1"}), 422, refused),
            ("POST", "/firewalls".to_owned(), rule("192.0.2.1/24"), 422, refused),
            ("POST", "/firewalls".to_owned(), rule("192.0.2.1"), 202, ""),
        ],
    );
}

#[test]
fn volumes_and_addresses_of_digitalocean() {
    let mut api = Api::digitalocean();
    let (one, other) = (api.droplet("a", json!({})), api.droplet("b", json!({})));
    let new = |name: &str, more: Value| merged(json!({"name": name, "region": "fra1", "size_gigabytes": 1}), more);
    let mut volumes = Vec::new();
    for number in 0..8 {
        let volume = api.post("/volumes", new(&format!("v{number}"), json!({})))["volume"]["id"].clone();
        volumes.push(format!("/volumes/{}/actions", volume.as_str().unwrap()));
    }
    let id = volumes[0].split('/').nth(2).unwrap().to_owned();
    let attach = |droplet: u64| json!({"type": "attach", "droplet_id": droplet});
    let refused = "unprocessable_entity";
    let many = json!({"names": ["x", "y"], "size": "s-1vcpu-1gb", "image": 8001, "region": "fra1", "volumes": [id]});
    let selective = format!("/droplets/{one}/destroy_with_associated_resources/selective");
    check(
        &mut api,
        &[
            ("POST", "/droplets".to_owned(), many, 422, refused),
            ("POST", "/volumes".to_owned(), new("s", json!({"snapshot_id": "s"})), 422, refused),
            ("POST", "/volumes".to_owned(), new("z", json!({"filesystem_type": "zfs"})), 422, refused),
            ("POST", volumes[0].clone(), json!({"type": "detach", "droplet_id": one}), 422, refused),
            ("POST", volumes[0].clone(), attach(one), 202, ""),
            ("POST", volumes[0].clone(), attach(other), 422, refused),
            ("DELETE", selective, json!({"snapshots": ["s"]}), 422, refused),
            ("POST", "/droplets".to_owned(), new_droplet("c", json!({"volumes": [id]})), 422, refused),
        ],
    );
    for (number, path) in volumes.iter().enumerate().skip(1) {
        let (status, code) = if number < 7 { (202, "") } else { (422, refused) };
        check(&mut api, &[("POST", path.clone(), attach(one), status, code)]);
    }
    let ip = api.post("/reserved_ips", json!({"droplet_id": one}))["reserved_ip"]["ip"].clone();
    let path = format!("/reserved_ips/{}", ip.as_str().unwrap());
    // Its assignment has not ended.
    api.send("DELETE", &path, Value::Null).refuses(422, refused);
    let unassign = json!({"type": "unassign"});
    let message = api.send("POST", &format!("{path}/actions"), unassign.clone()).refuses(422, refused);
    assert_eq!(message["message"], "the reserved IP has a pending event");
    api.finish();
    api.send("POST", &format!("{path}/actions"), unassign).is(201);
}
