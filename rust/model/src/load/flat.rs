//! Flat shape of the original project: machines beside `kubeMaster`, without sections.
//!
//! The value is rewritten in the sectioned shape: `etcd.enable = false` means not an etcd member, `node = false` not a
//! node. Missing attributes take the values that the original project had hard-coded: the /24 (IPv6: the /64) around
//! the machines' addresses, and BGP with AS 65000 on both sides towards `gateway`. A machine without `node = true` is
//! not deployed. The cluster is called `kubernetes`.

use std::net::IpAddr;

use ipnet::IpNet;
use serde_json::{Map, Value, json};

use crate::{
    codes::Code,
    near,
    path::{AttrPath, Segment},
    report::{Finding, Report},
};

/// The AS number of nodes and Router.
const AS_NUMBER: u32 = 65000;
/// Name of the cluster: the flat shape has none.
const CLUSTER_NAME: &str = "kubernetes";
/// Name of a Router that is known only by `kubeMaster.gateway`.
const ROUTER_NAME: &str = "router";

/// Attributes of a machine with the same meaning in the sectioned shape.
const SAME_TODAY: [&str; 11] =
    ["ip", "interface", "disk", "labels", "taints", "apps", "provider", "ssh", "system", "enable", "bgp"];
/// Attributes that are converted.
const READ: [&str; 4] = ["kubernetes", "etcd", "node", "localIp"];
/// Attributes of later versions of the original project that have no effect in machinist.
const MEANINGLESS: [&str; 7] = ["longhornInterface", "longhornIP", "master", "zfs", "nvidia", "hass", "octo"];
/// Attributes of `kubeMaster` with the same meaning in the sectioned shape.
const SAME_ENDPOINT: [&str; 6] = ["ip", "port", "name", "mode", "gateway", "as"];

/// A flat machines.nix, converted.
pub struct Converted {
    /// The value in the sectioned shape.
    pub json: Value,
    /// The name given to a Router that the file identifies only by its address.
    pub router: Option<String>,
}

/// Converts a value of the flat shape to the sectioned one. Returns `None` if it is not of the flat shape.
#[must_use]
pub fn convert_flat(json: &Value) -> Option<Value> {
    convert(json, &mut Report::default()).map(|converted| converted.json)
}

/// Converts a value of the flat shape and reports what is lost.
pub fn convert(json: &Value, report: &mut Report) -> Option<Converted> {
    let entries = json.as_object().filter(|entries| is_flat(entries))?;
    let mut machines = Map::new();
    for (name, value) in entries.iter().filter(|(name, _)| *name != "kubeMaster") {
        machines.insert(name.clone(), machine(name, value, report));
    }
    warn_of_vlan(entries, report);
    let mut network = Map::new();
    match node_network(&machines) {
        Some(nodes) => drop(network.insert("nodes".into(), json!(nodes.to_string()))),
        None => report.mark_broken(AttrPath::of("network.nodes")),
    }
    let mut router = None;
    let endpoint = entries.get("kubeMaster").filter(|value| !value.is_null()).map(|value| {
        let mut endpoint = endpoint(value, report);
        if let Some(settings) = endpoint.as_object_mut() {
            router = announce(settings, &mut machines, &mut network);
        }
        endpoint
    });
    let has_kubernetes = machines.values().any(|machine| has_role(machine, "control-plane"));
    let mut today = Map::new();
    let orchestrator = has_kubernetes.then_some("kubernetes");
    today.insert("cluster".into(), json!({ "name": CLUSTER_NAME, "orchestrator": orchestrator }));
    today.insert("network".into(), Value::Object(network));
    today.extend(endpoint.map(|endpoint| ("kubeMaster".to_owned(), endpoint)));
    today.insert("machines".into(), Value::Object(machines));
    Some(Converted { json: Value::Object(today), router })
}

/// Returns true if the value has no `machines` and, besides `kubeMaster`, at least one set with an `ip`.
fn is_flat(entries: &Map<String, Value>) -> bool {
    let is_section = |name: &str| entries.get(name).is_some_and(|value| value.get("ip").is_none());
    let has_machine = entries.iter().any(|(name, value)| name != "kubeMaster" && value.get("ip").is_some());
    has_machine && !entries.contains_key("machines") && !is_section("cluster") && !is_section("network")
}

fn has_role(machine: &Value, role: &str) -> bool {
    machine.get("roles").and_then(Value::as_array).is_some_and(|roles| roles.iter().any(|found| found == role))
}

fn machine(name: &str, value: &Value, report: &mut Report) -> Value {
    let Value::Object(attributes) = value else { return value.clone() };
    let base = AttrPath::root().join(name);
    let mut machine = Map::new();
    for (attribute, value) in attributes {
        if SAME_TODAY.contains(&attribute.as_str()) {
            machine.insert(attribute.clone(), value.clone());
        } else if !READ.contains(&attribute.as_str()) {
            warn_of_attribute(&base.join(attribute), attribute, value, report);
        }
    }
    if let Some(host) = attributes.get("localIp").filter(|host| !host.is_null()) {
        let ssh = machine.entry("ssh").or_insert_with(|| json!({}));
        if let Some(ssh) = ssh.as_object_mut() {
            ssh.entry("host").or_insert_with(|| host.clone());
        }
    }
    let is_node = flag(attributes.get("node"), &base.join("node"), report);
    let mut roles = Vec::new();
    for (attribute, granted) in [("etcd", &["etcd"][..]), ("kubernetes", &["control-plane", "worker"])] {
        let path = base.join(attribute).join("enable");
        if !flag(enable(attributes.get(attribute), &base.join(attribute), report), &path, report) {
            continue;
        }
        if is_node {
            roles.extend_from_slice(granted);
        } else {
            report.push(without_node(name, path));
        }
    }
    machine.insert("nixos".into(), json!(is_node));
    machine.insert("roles".into(), json!(roles));
    Value::Object(machine)
}

/// Returns the `enable` of `etcd` or `kubernetes`, which must be sets.
fn enable<'a>(value: Option<&'a Value>, path: &AttrPath, report: &mut Report) -> Option<&'a Value> {
    match value {
        Some(Value::Object(set)) => set.get("enable"),
        None | Some(Value::Null) => None,
        Some(_) => {
            mark_roles_broken(path, report);
            report.push(
                Finding::new(Code::WrongType, path.clone(), "expected an attribute set with `enable`", WRONG_TYPE)
                    .help("write `enable = true;` in it")
                    .in_own_words(),
            );
            None
        }
    }
}

const WRONG_TYPE: &str = "a value of another type cannot be used here";

/// Returns true if a flag is set; absent and null mean false.
fn flag(value: Option<&Value>, path: &AttrPath, report: &mut Report) -> bool {
    match value {
        Some(Value::Bool(flag)) => *flag,
        None | Some(Value::Null) => false,
        Some(_) => {
            let finding = Finding::new(Code::WrongType, path.clone(), "expected true or false", WRONG_TYPE);
            mark_roles_broken(path, report);
            report.push(finding.help("write true or false, without quotes").in_own_words());
            false
        }
    }
}

/// Marks the roles of the machine at the path, as written, as unreadable: counting them would be meaningless.
fn mark_roles_broken(path: &AttrPath, report: &mut Report) {
    if let Some(machine) = path.segments().first() {
        report.mark_broken(AttrPath::of("machines").join(machine.clone()).join("roles"));
    }
}

fn without_node(name: &str, path: AttrPath) -> Finding {
    let why = "in the flat shape only machines with `node = true` are deployed";
    Finding::new(Code::WithoutEffect, path, format!("{name} is not a node, so this has no effect"), why)
        .help(format!("write {name}.node = true, or leave this out"))
        .in_own_words()
}

fn warn_of_attribute(path: &AttrPath, attribute: &str, value: &Value, report: &mut Report) {
    if matches!(value, Value::Null | Value::Bool(false)) && MEANINGLESS.contains(&attribute) {
        return;
    }
    let known = SAME_TODAY.iter().chain(&READ).copied();
    let help = match near::nearest(attribute, known) {
        Some(near) if !MEANINGLESS.contains(&attribute) => format!("did you mean `{near}`?"),
        _ => "write it in nodes/<name>.nix, or leave it out".to_owned(),
    };
    let why = "machinist has no counterpart for it";
    let finding = Finding::new(Code::WithoutEffect, path.clone(), format!("`{attribute}` has no effect"), why);
    report.push(finding.help(help).in_own_words());
}

/// Warns that no VLAN is configured: the original project put `ip` on VLAN 100 of `interface`. One warning covers all
/// machines.
fn warn_of_vlan(entries: &Map<String, Value>, report: &mut Report) {
    let has_interface = |value: &&Value| value.get("interface").is_some_and(Value::is_string);
    if let Some((name, _)) = entries.iter().find(|(_, value)| has_interface(value)) {
        let why = "the original project of the flat shape put `ip` on VLAN 100 of it";
        let path = AttrPath::root().join(name).join("interface");
        let finding = Finding::new(Code::WithoutEffect, path, "no VLAN is configured on this interface", why);
        let help = "for a VLAN write its interface here, such as \"enp2s0.100\", and define it in nodes/<name>.nix";
        report.push(finding.help(help).in_own_words());
    }
}

/// Returns the /24 or /64 around the first node's address; without a node, around the first machine's.
fn node_network(machines: &Map<String, Value>) -> Option<IpNet> {
    let address = |machine: &Value| machine.get("ip")?.as_str()?.parse::<IpAddr>().ok();
    let nodes = machines.values().filter(|machine| machine.get("nixos") == Some(&Value::Bool(true)));
    let address = nodes.chain(machines.values()).find_map(address)?;
    IpNet::new(address, if address.is_ipv4() { 24 } else { 64 }).ok().map(|network| network.trunc())
}

fn endpoint(value: &Value, report: &mut Report) -> Value {
    let Value::Object(attributes) = value else { return value.clone() };
    let mut endpoint = Map::new();
    for (attribute, value) in attributes {
        if SAME_ENDPOINT.contains(&attribute.as_str()) {
            endpoint.insert(attribute.clone(), value.clone());
        } else {
            warn_of_attribute(&AttrPath::of("kubeMaster").join(attribute), attribute, value, report);
        }
    }
    Value::Object(endpoint)
}

/// Fills in BGP towards the Router. Returns the Router's name if it is not a machine of the file.
fn announce(
    endpoint: &mut Map<String, Value>,
    machines: &mut Map<String, Value>,
    network: &mut Map<String, Value>,
) -> Option<String> {
    let mode = endpoint.entry("mode").or_insert_with(|| json!("bgp"));
    if mode != "bgp" {
        return None;
    }
    endpoint.entry("as").or_insert_with(|| json!(AS_NUMBER));
    let mut added = None;
    let gateway = endpoint.get("gateway").and_then(Value::as_str);
    let router = match gateway.map(|gateway| (gateway, gateway.parse::<IpAddr>())) {
        Some((name, Err(_))) => Some(name.to_owned()),
        Some((text, Ok(address))) => {
            network.insert("nameservers".into(), json!([text]));
            let known =
                machines.iter().find(|(_, machine)| has_address(machine, address)).map(|(name, _)| name.clone());
            Some(known.unwrap_or_else(|| {
                let name = free_name(machines);
                machines.insert(name.clone(), json!({ "ip": text, "nixos": false }));
                added = Some(name.clone());
                name
            }))
        }
        None => only_router(machines),
    };
    if let Some(router) = router {
        if let Some(Value::Object(machine)) = machines.get_mut(&router) {
            machine.entry("bgp").or_insert_with(|| json!({ "as": AS_NUMBER }));
        }
        endpoint.insert("gateway".into(), json!(router));
    }
    added
}

fn has_address(machine: &Value, address: IpAddr) -> bool {
    machine.get("ip").and_then(Value::as_str).and_then(|text| text.parse::<IpAddr>().ok()) == Some(address)
}

fn free_name(machines: &Map<String, Value>) -> String {
    let mut name = ROUTER_NAME.to_owned();
    while machines.contains_key(&name) {
        name.push_str("-gateway");
    }
    name
}

/// Returns the machine that is not a node, if there is exactly one.
fn only_router(machines: &Map<String, Value>) -> Option<String> {
    let mut routers = machines.iter().filter(|(_, machine)| machine.get("nixos") == Some(&Value::Bool(false)));
    let (name, _) = routers.next()?;
    routers.next().is_none().then(|| name.clone())
}

/// Returns the flat file's spelling of a path of the sectioned shape.
pub fn spell(path: &AttrPath, router: Option<&str>) -> AttrPath {
    let root = AttrPath::root();
    match path.segments() {
        [Segment::Name(section), Segment::Name(machine), ..]
            if section == "machines" && Some(machine.as_str()) == router =>
        {
            AttrPath::of("kubeMaster.gateway")
        }
        [Segment::Name(section), machine, rest @ ..] if section == "machines" => {
            let machine = root.extend([machine.clone()]);
            match rest {
                [Segment::Name(ssh), Segment::Name(host), ..] if ssh == "ssh" && host == "host" => {
                    machine.join("localIp")
                }
                [Segment::Name(computed), ..] if computed == "roles" || computed == "nixos" => machine,
                _ => machine.extend(rest.iter().cloned()),
            }
        }
        [Segment::Name(section), ..] if section == "kubeMaster" => path.clone(),
        _ => root,
    }
}
