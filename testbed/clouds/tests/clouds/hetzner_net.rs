//! Hetzner: networks, firewalls, load balancers, floating IPs and zones.

use serde_json::{Value, json};

use crate::api::{Answer, Api, merged};

fn attach(api: &mut Api, server: u64, body: Value) -> Answer {
    api.send("POST", &format!("/servers/{server}/actions/attach_to_network"), body)
}

#[test]
fn a_server_gets_the_wanted_private_address_or_the_lowest_free_one() {
    let mut api = Api::hetzner();
    let network = api.network("n", "10.0.0.0/24");
    let (first, second) = (api.server("a"), api.server("b"));
    for (ip, status, code) in
        [("10.0.0.1", 422, "ip_not_available"), ("10.1.0.5", 422, "invalid_input"), ("ten", 422, "invalid_input")]
    {
        attach(&mut api, first, json!({"network": network, "ip": ip})).refuses(status, code);
    }
    let wanted = json!({"network": network, "ip": "10.0.0.5", "alias_ips": ["10.0.0.9"]});
    attach(&mut api, first, wanted).is(201);
    // The network and the server change: neither takes another action.
    attach(&mut api, second, json!({"network": network})).refuses(409, "conflict");
    assert_eq!(api.get(&format!("/servers/{first}"))["server"]["private_net"], json!([]));
    api.finish();
    attach(&mut api, first, json!({"network": network})).refuses(422, "server_already_attached");
    for ip in ["10.0.0.5", "10.0.0.9"] {
        attach(&mut api, second, json!({"network": network, "ip": ip})).refuses(422, "ip_not_available");
    }
    attach(&mut api, second, json!({"network": network})).is(201);
    api.finish();
    let net = |api: &mut Api, server: u64| api.get(&format!("/servers/{server}"))["server"]["private_net"][0].clone();
    assert_eq!(
        (net(&mut api, first)["ip"].clone(), net(&mut api, second)["ip"].clone()),
        (json!("10.0.0.5"), json!("10.0.0.2"))
    );
    assert_ne!(net(&mut api, first)["mac_address"], net(&mut api, second)["mac_address"]);
    assert_eq!(api.get(&format!("/networks/{network}"))["network"]["servers"], json!([first, second]));
}

#[test]
fn alias_addresses_are_changed_and_free() {
    let mut api = Api::hetzner();
    let network = api.network("n", "10.0.0.0/24");
    let (one, other) = (api.server("a"), api.server("b"));
    for (server, ip) in [(one, "10.0.0.5"), (other, "10.0.0.6")] {
        attach(&mut api, server, json!({"network": network, "ip": ip})).is(201);
        api.finish();
    }
    let path = format!("/servers/{one}/actions/change_alias_ips");
    let change = |aliases: &[&str]| json!({"network": network, "alias_ips": aliases});
    api.send("POST", &path, change(&["10.0.0.6"])).refuses(422, "ip_not_available");
    api.send("POST", &path, change(&["10.0.0.8", "10.0.0.9"])).is(201);
    api.finish();
    // An alias that the server has may stay.
    api.send("POST", &path, change(&["10.0.0.9"])).is(201);
    api.finish();
    assert_eq!(api.get(&format!("/servers/{one}"))["server"]["private_net"][0]["alias_ips"], json!(["10.0.0.9"]));
}

#[test]
fn a_server_leaves_a_network() {
    let mut api = Api::hetzner();
    let network = api.network("n", "10.0.0.0/24");
    let server = api.server("a");
    let path = format!("/servers/{server}/actions/detach_from_network");
    api.send("POST", &path, json!({"network": network})).refuses(422, "server_not_attached_to_network");
    attach(&mut api, server, json!({"network": network})).is(201);
    api.finish();
    api.send("POST", &path, json!({"network": network})).is(201);
    api.finish();
    assert_eq!(api.get(&format!("/servers/{server}"))["server"]["private_net"], json!([]));
}

#[test]
fn networks_of_one_server_do_not_overlap_and_have_a_subnet_in_its_zone() {
    let mut api = Api::hetzner();
    let (one, same) = (api.network("one", "10.0.0.0/24"), api.network("same", "10.0.0.0/16"));
    let empty =
        api.post("/networks", json!({"name": "empty", "ip_range": "10.9.0.0/16"}))["network"]["id"].as_u64().unwrap();
    let far = api.post(
        "/networks",
        json!({"name": "far", "ip_range": "10.8.0.0/16",
        "subnets": [{"type": "cloud", "network_zone": "us-east", "ip_range": "10.8.0.0/24"}]}),
    )["network"]["id"]
        .as_u64()
        .unwrap();
    let server = api.server("a");
    attach(&mut api, server, json!({"network": empty})).refuses(422, "no_subnet_available");
    attach(&mut api, server, json!({"network": far})).refuses(422, "no_subnet_available");
    attach(&mut api, server, json!({"network": 5})).refuses(404, "not_found");
    attach(&mut api, server, json!({"network": one})).is(201);
    api.finish();
    attach(&mut api, server, json!({"network": same})).refuses(422, "networks_overlap");
}

#[test]
fn a_small_subnet_has_no_more_addresses_than_it_has() {
    let mut api = Api::hetzner();
    let network = json!({"name": "n", "ip_range": "10.0.0.0/24",
        "subnets": [{"type": "cloud", "network_zone": "eu-central", "ip_range": "10.0.0.0/30"}]});
    let network = api.post("/networks", network)["network"]["id"].as_u64().unwrap();
    let (one, other) = (api.server("a"), api.server("b"));
    attach(&mut api, one, json!({"network": network})).is(201);
    api.finish();
    attach(&mut api, other, json!({"network": network})).refuses(422, "no_subnet_available");
}

#[test]
fn subnets_and_routes_are_within_their_network() {
    let mut api = Api::hetzner();
    let network = api.network("n", "10.0.0.0/16");
    let path = format!("/networks/{network}/actions");
    let subnet = |range: &str| json!({"type": "cloud", "network_zone": "eu-central", "ip_range": range});
    api.send("POST", &format!("{path}/delete_subnet"), json!({"ip_range": "10.0.0.0/16"})).is(201);
    api.send("POST", &format!("{path}/add_subnet"), subnet("10.0.1.0/24")).refuses(409, "conflict");
    api.finish();
    for range in ["10.1.0.0/24", "10.0.1.1/24", "10.0.1.0/31"] {
        api.send("POST", &format!("{path}/add_subnet"), subnet(range)).refuses(422, "invalid_input");
    }
    api.send("POST", &format!("{path}/add_subnet"), subnet("10.0.1.0/24")).is(201);
    api.finish();
    api.send("POST", &format!("{path}/add_subnet"), subnet("10.0.1.128/25")).refuses(422, "invalid_input");
    let unknown = json!({"type": "cloud", "network_zone": "mars"});
    api.send("POST", &format!("{path}/add_subnet"), unknown).refuses(422, "invalid_input");
    // Without a range the lowest free /24 is taken.
    api.send("POST", &format!("{path}/add_subnet"), json!({"type": "cloud", "network_zone": "eu-central"})).is(201);
    api.finish();
    assert_eq!(api.get(&format!("/networks/{network}"))["network"]["subnets"][1]["ip_range"], "10.0.0.0/24");
    for (destination, gateway) in [("0.0.0.0/0", "10.9.0.2"), ("0.0.0.0/0", "10.0.0.1"), ("10.0.0.1/8", "10.0.1.2")] {
        let route = json!({"destination": destination, "gateway": gateway});
        api.send("POST", &format!("{path}/add_route"), route).refuses(422, "invalid_input");
    }
    let route = json!({"destination": "0.0.0.0/0", "gateway": "10.0.1.2"});
    api.send("POST", &format!("{path}/add_route"), route.clone()).is(201);
    api.finish();
    assert_eq!(api.get(&format!("/networks/{network}"))["network"]["routes"], json!([route]));
    let server = api.server("a");
    attach(&mut api, server, json!({"network": network, "ip": "10.0.1.5"})).is(201);
    api.finish();
    let used = json!({"ip_range": "10.0.1.0/24"});
    api.send("POST", &format!("{path}/delete_subnet"), used).refuses(422, "resource_in_use");
    api.send("DELETE", &format!("/networks/{network}"), Value::Null).is(204);
    assert_eq!(api.get(&format!("/servers/{server}"))["server"]["private_net"], json!([]));
}

#[test]
fn a_firewall_is_applied_once_and_not_deleted_while_it_is() {
    let mut api = Api::hetzner();
    let rule = json!({"direction": "in", "protocol": "tcp", "port": "22", "source_ips": ["0.0.0.0/0", "::/0"]});
    let firewall = api.post("/firewalls", json!({"name": "f", "rules": [rule]}))["firewall"].clone();
    assert_eq!(firewall["rules"][0]["destination_ips"], json!([]));
    let (server, private) = (api.server("a"), api.network("n", "10.0.0.0/24"));
    let hidden = json!({"networks": [private], "public_net": {"enable_ipv4": false, "enable_ipv6": false}});
    let hidden = api.new_server("hidden", hidden);
    let path = format!("/firewalls/{}", firewall["id"]);
    let apply = |server: u64| json!({"apply_to": [{"type": "server", "server": {"id": server}}]});
    let wrong = json!({"apply_to": [{"type": "server", "label_selector": {"selector": "a=b"}}]});
    api.send("POST", &format!("{path}/actions/apply_to_resources"), wrong).refuses(422, "invalid_input");
    let at = format!("{path}/actions/apply_to_resources");
    api.send("POST", &at, apply(hidden)).refuses(422, "private_net_only_server");
    api.send("POST", &at, apply(server)).is(201);
    let firewalls = |api: &mut Api| api.get(&format!("/servers/{server}"))["server"]["public_net"]["firewalls"].clone();
    assert_eq!(firewalls(&mut api), json!([{"id": firewall["id"], "status": "pending"}]));
    api.finish();
    assert_eq!(firewalls(&mut api), json!([{"id": firewall["id"], "status": "applied"}]));
    api.send("POST", &at, apply(server)).refuses(422, "firewall_already_applied");
    api.send("DELETE", &path, Value::Null).refuses(422, "resource_in_use");
    let remove = json!({"remove_from": [{"type": "server", "server": {"id": server}}]});
    api.send("POST", &format!("{path}/actions/remove_from_resources"), remove.clone()).is(201);
    api.finish();
    api.send("POST", &format!("{path}/actions/remove_from_resources"), remove)
        .refuses(404, "firewall_resource_not_found");
    api.send("DELETE", &path, Value::Null).is(204);
}

#[test]
fn a_selector_covers_servers_that_come_later_and_five_firewalls_are_enough() {
    let mut api = Api::hetzner();
    let mut ids = Vec::new();
    for number in 0..6 {
        let to = json!([{"type": "label_selector", "label_selector": {"selector": format!("f{number}=yes")}}]);
        let made = api.post(
            "/firewalls",
            json!({"name": format!("f{number}"), "apply_to": if number < 5 { to } else { json!([]) }}),
        );
        ids.push(made["firewall"]["id"].clone());
    }
    api.finish();
    let labels: Value = json!({"f0": "yes", "f1": "yes", "f2": "yes", "f3": "yes", "f4": "yes"});
    let server = api.new_server("a", json!({"labels": labels}));
    api.finish();
    let covered = api.get(&format!("/servers/{server}"))["server"]["public_net"]["firewalls"].as_array().unwrap().len();
    assert_eq!(covered, 5);
    let applied = &api.get(&format!("/firewalls/{}", ids[0]))["firewall"]["applied_to"][0];
    assert_eq!(applied["applied_to_resources"], json!([{"type": "server", "server": {"id": server}}]));
    let to = json!({"apply_to": [{"type": "server", "server": {"id": server}}]});
    let path = format!("/firewalls/{}/actions/apply_to_resources", ids[5]);
    api.send("POST", &path, to).refuses(422, "resource_limit_exceeded");
}

#[test]
fn rules_are_replaced_and_their_ranges_are_counted() {
    let mut api = Api::hetzner();
    let firewall = api.post("/firewalls", json!({"name": "f"}))["firewall"]["id"].clone();
    let path = format!("/firewalls/{firewall}/actions/set_rules");
    let ranges: Vec<String> = (0..100).map(|number| format!("10.0.{number}.0/24")).collect();
    let rule = json!({"direction": "in", "protocol": "tcp", "port": "1024-5000", "source_ips": ranges});
    api.send("POST", &path, json!({"rules": vec![rule.clone(); 5]})).is(201);
    assert_eq!(api.get("/firewalls")["firewalls"][0]["rules"].as_array().unwrap().len(), 5);
    api.send("POST", &path, json!({"rules": vec![rule.clone(); 6]})).refuses(422, "invalid_input");
    let small = merged(rule, json!({"source_ips": ["10.0.0.0/8"]}));
    api.send("POST", &path, json!({"rules": vec![small.clone(); 51]})).refuses(422, "invalid_input");
    api.send("POST", &path, json!({"rules": [small]})).is(201);
    assert_eq!(api.get("/firewalls")["firewalls"][0]["rules"].as_array().unwrap().len(), 1);
}

#[test]
fn a_load_balancer_needs_the_network_of_its_private_targets() {
    let mut api = Api::hetzner();
    let network = api.network("n", "10.0.0.0/24");
    let server = api.server("a");
    let check = json!({"protocol": "tcp", "port": 6443, "interval": 5, "timeout": 5, "retries": 3});
    let service = json!({"protocol": "tcp", "listen_port": 6443, "destination_port": 6443, "proxyprotocol": false,
        "health_check": check});
    let new = json!({"name": "lb", "load_balancer_type": "lb11", "network_zone": "eu-central", "services": [service]});
    let balancer = api.post("/load_balancers", new)["load_balancer"]["id"].clone();
    api.finish();
    let path = format!("/load_balancers/{balancer}/actions");
    let mut act = |name: &str, body: Value| {
        let answer = api.send("POST", &format!("{path}/{name}"), body);
        api.finish();
        answer
    };
    let target = json!({"type": "server", "server": {"id": server}, "use_private_ip": true});
    act("add_target", target.clone()).refuses(422, "load_balancer_not_attached_to_network");
    act("attach_to_network", json!({"network": network, "ip": "10.0.0.7"})).is(201);
    act("attach_to_network", json!({"network": network})).refuses(422, "load_balancer_already_attached");
    act("add_target", target.clone()).refuses(422, "resolve_cloud_private_targets_error");
    act("add_service", service.clone()).refuses(412, "source_port_already_used");
    act("add_service", merged(service.clone(), json!({"listen_port": 80, "protocol": "http"})))
        .refuses(422, "invalid_input");
    act("add_service", merged(service, json!({"listen_port": 443}))).is(201);
    attach(&mut api, server, json!({"network": network, "ip": "10.0.0.7"})).refuses(422, "ip_not_available");
    attach(&mut api, server, json!({"network": network})).is(201);
    api.finish();
    let mut act = |name: &str, body: Value| {
        let answer = api.send("POST", &format!("{path}/{name}"), body);
        api.finish();
        answer
    };
    act("add_target", target.clone()).is(201);
    act("add_target", target).refuses(422, "target_already_defined");
    act("detach_from_network", json!({"network": network})).refuses(422, "targets_without_use_private_ip");
    let shown = &api.get(&format!("/load_balancers/{balancer}"))["load_balancer"];
    assert_eq!(shown["targets"][0]["health_status"][0], json!({"listen_port": 6443, "status": "healthy"}));
    assert_eq!(shown["private_net"], json!([{"network": network, "ip": "10.0.0.7"}]));
    assert_eq!(api.get(&format!("/servers/{server}"))["server"]["load_balancers"], json!([balancer]));
    api.send("DELETE", &format!("/servers/{server}"), Value::Null).is(200);
    api.finish();
    assert_eq!(api.get(&format!("/load_balancers/{balancer}"))["load_balancer"]["targets"], json!([]));
    api.send("DELETE", &format!("/load_balancers/{balancer}"), Value::Null).is(204);
}

#[test]
fn a_floating_ip_moves_between_servers() {
    let mut api = Api::hetzner();
    let (one, other) = (api.server("a"), api.server("b"));
    let ip = api.post("/floating_ips", json!({"type": "ipv4", "home_location": "fsn1"}))["floating_ip"]["id"].clone();
    let path = format!("/floating_ips/{ip}/actions");
    api.send("POST", &format!("{path}/unassign"), Value::Null).refuses(422, "floating_ip_not_assigned");
    for server in [one, other] {
        api.send("POST", &format!("{path}/assign"), json!({"server": server})).is(201);
        api.send("POST", &format!("{path}/assign"), json!({"server": server})).refuses(423, "locked");
        api.finish();
        assert_eq!(api.get(&format!("/servers/{server}"))["server"]["public_net"]["floating_ips"], json!([ip]));
        api.send("POST", &format!("{path}/assign"), json!({"server": other})).refuses(422, "floating_ip_assigned");
        api.send("DELETE", &format!("/floating_ips/{ip}"), Value::Null).refuses(422, "must_be_unassigned");
        api.send("POST", &format!("{path}/unassign"), Value::Null).is(201);
        api.finish();
        assert_eq!(api.get("/floating_ips")["floating_ips"][0]["server"], Value::Null);
    }
    api.send("DELETE", &format!("/floating_ips/{ip}"), Value::Null).is(204);
}

#[test]
fn targets_by_public_address_need_one_and_keep_it() {
    let mut api = Api::hetzner();
    let network = api.network("n", "10.0.0.0/24");
    let server = api.server("a");
    let hidden = json!({"networks": [network], "public_net": {"enable_ipv4": false, "enable_ipv6": false}});
    let hidden = api.new_server("hidden", merged(hidden, json!({"start_after_create": false})));
    let new = |name: &str, public: bool| {
        json!({"name": name, "load_balancer_type": "lb11", "location": "fsn1", "public_interface": public,
            "network": network})
    };
    let open = api.post("/load_balancers", new("open", true))["load_balancer"]["id"].clone();
    let closed = api.post("/load_balancers", new("closed", false))["load_balancer"]["id"].clone();
    api.finish();
    let target = |server: u64| json!({"type": "server", "server": {"id": server}});
    let address = |ip: &Value| json!({"type": "ip", "ip": {"ip": ip}});
    let own = api.get(&format!("/servers/{server}"))["server"]["public_net"]["ipv4"].clone();
    let cases = [
        (&closed, target(server), Some("load_balancer_public_interface_disabled")),
        (&open, target(hidden), Some("resolve_cloud_public_targets_error")),
        (&open, address(&json!("192.0.2.1")), Some("ip_not_owned")),
        (&open, address(&own["ip"]), None),
        (&open, target(server), None),
    ];
    for (balancer, body, code) in cases {
        let answer = api.send("POST", &format!("/load_balancers/{balancer}/actions/add_target"), body);
        match code {
            Some(code) => drop(answer.refuses(422, code)),
            None => drop(answer.is(201)),
        }
        api.finish();
    }
    let path = format!("/primary_ips/{}/actions/unassign", own["id"]);
    api.send("POST", &path, Value::Null).refuses(422, "server_is_load_balancer_target");
}

#[test]
fn an_unknown_or_repeated_resource_is_refused_by_firewalls() {
    let mut api = Api::hetzner();
    let to = |id: u64| json!({"type": "server", "server": {"id": id}});
    let server = api.new_server("a", json!({"labels": {"f": "yes"}}));
    api.finish();
    let new = |apply: Value| json!({"name": "f", "apply_to": apply});
    api.send("POST", "/firewalls", new(json!([to(5)]))).refuses(422, "firewall_resource_not_found");
    api.send("POST", "/firewalls", new(json!([to(server), to(server)]))).refuses(422, "server_already_added");
    let selector = json!([{"type": "label_selector", "label_selector": {"selector": "f=yes"}}]);
    let firewall = api.post("/firewalls", new(selector))["firewall"]["id"].clone();
    api.finish();
    let path = format!("/firewalls/{firewall}/actions");
    let unknown = json!({"apply_to": [to(5)]});
    api.send("POST", &format!("{path}/apply_to_resources"), unknown).refuses(404, "firewall_resource_not_found");
    let selected = json!({"remove_from": [to(server)]});
    let answer = api.send("POST", &format!("{path}/remove_from_resources"), selected);
    answer.refuses(422, "firewall_managed_by_label_selector");
}

#[test]
fn rrsets_have_the_syntax_of_their_type() {
    let mut api = Api::hetzner();
    api.post("/zones", json!({"name": "example.org", "mode": "primary"}));
    let set = |name: &str, kind: &str, value: &str| json!({"name": name, "type": kind, "records": [{"value": value}]});
    let cases = [
        ("www", "A", "192.0.2.1", true),
        ("@", "A", "192.0.2.1", true),
        ("www", "AAAA", "192.0.2.1", false),
        ("t", "TXT", "unquoted", false),
        ("t", "TXT", "\"quoted\"", true),
        ("Www", "A", "192.0.2.1", false),
        ("full.example.org.", "A", "192.0.2.1", false),
        ("@", "CNAME", "www.example.org.", false),
        ("alias", "CNAME", "www.example.org.", true),
        ("alias", "A", "192.0.2.1", false),
        ("www", "CNAME", "alias.example.org.", false),
    ];
    for (name, kind, value, valid) in cases {
        let answer = api.send("POST", "/zones/example.org/rrsets", set(name, kind, value));
        assert_eq!(answer.reply.status, if valid { 201 } else { 422 }, "{name} {kind} {value}: {answer:?}");
    }
    api.send("POST", "/zones/example.org/rrsets", set("www", "A", "192.0.2.2")).refuses(409, "uniqueness_error");
    api.send("POST", "/zones/example.org/rrsets", set("www", "BOGUS", "x")).refuses(422, "invalid_input");
    api.send("POST", "/zones/example.com/rrsets", set("www", "A", "192.0.2.2")).refuses(404, "not_found");
}

#[test]
fn records_are_set_added_and_removed() {
    let mut api = Api::hetzner();
    let zone = api.post("/zones", json!({"name": "example.org", "mode": "primary"}))["zone"]["id"].clone();
    let path = "/zones/example.org/rrsets/www/A";
    let records = |values: &[&str]| {
        let records: Vec<Value> = values.iter().map(|value| json!({"value": value, "comment": "by test"})).collect();
        json!({"records": records})
    };
    let values = |api: &mut Api| -> Vec<String> {
        let list = api.get(path)["rrset"]["records"].clone();
        list.as_array().unwrap().iter().map(|one| one["value"].as_str().unwrap().to_owned()).collect()
    };
    api.send("POST", &format!("{path}/actions/set_records"), records(&["192.0.2.1"])).refuses(404, "not_found");
    api.send("POST", &format!("{path}/actions/add_records"), records(&["192.0.2.1"])).is(201);
    api.send("POST", &format!("{path}/actions/add_records"), records(&["192.0.2.1"])).refuses(409, "uniqueness_error");
    api.send("POST", &format!("{path}/actions/set_records"), records(&[])).refuses(422, "invalid_input");
    api.send("POST", &format!("{path}/actions/set_records"), records(&["192.0.2.2", "192.0.2.3"])).is(201);
    assert_eq!(values(&mut api), ["192.0.2.2", "192.0.2.3"]);
    api.send("POST", &format!("{path}/actions/change_ttl"), json!({"ttl": 59})).refuses(422, "invalid_input");
    api.send("POST", &format!("{path}/actions/change_ttl"), json!({"ttl": 60})).is(201);
    assert_eq!(api.get(&format!("/zones/{zone}/rrsets/www/A"))["rrset"]["ttl"], 60);
    let timed = merged(records(&["192.0.2.9"]), json!({"ttl": 300}));
    api.send("POST", &format!("{path}/actions/add_records"), timed).refuses(422, "invalid_input");
    for name in ["www.example.org", "example.org", "WWW", "www."] {
        let set = merged(records(&["192.0.2.1"]), json!({"name": name, "type": "A"}));
        api.send("POST", "/zones/example.org/rrsets", set).refuses(422, "invalid_input");
    }
    api.send("POST", &format!("{path}/actions/remove_records"), records(&["192.0.2.2"])).is(201);
    assert_eq!(values(&mut api), ["192.0.2.3"]);
    api.send("POST", &format!("{path}/actions/remove_records"), records(&["192.0.2.3"])).is(201);
    api.send("GET", path, Value::Null).refuses(404, "not_found");
    api.send("DELETE", "/zones/example.org/rrsets/@/SOA", Value::Null).refuses(422, "unsupported_error");
    api.send("DELETE", "/zones/example.org", Value::Null).is(201);
    api.send("GET", "/zones/example.org", Value::Null).refuses(404, "not_found");
}
