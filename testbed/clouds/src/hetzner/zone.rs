//! DNS zones and their RRsets.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, Ipv6Addr};

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::errors::{invalid, labels_of, missing, refused, taken};
use super::list::list;
use super::{Effect, Hetzner};
use crate::labels::Labels;
use crate::message::{Call, Handled, Problem, Reply};
use crate::route::Route;
use crate::time::{self, Moment};

/// Endpoints of zones.
pub const ROUTES: &[Route<Hetzner>] = &[
    ("GET", "/zones", all),
    ("POST", "/zones", create),
    ("GET", "/zones/{id_or_name}", one),
    ("PUT", "/zones/{id_or_name}", update),
    ("DELETE", "/zones/{id_or_name}", delete),
];

/// Endpoints of RRsets.
pub const RRSETS: &[Route<Hetzner>] = &[
    ("GET", "/zones/{id_or_name}/rrsets", rrsets),
    ("POST", "/zones/{id_or_name}/rrsets", create_rrset),
    ("GET", "/zones/{id_or_name}/rrsets/{rr_name}/{rr_type}", one_rrset),
    ("PUT", "/zones/{id_or_name}/rrsets/{rr_name}/{rr_type}", update_rrset),
    ("DELETE", "/zones/{id_or_name}/rrsets/{rr_name}/{rr_type}", delete_rrset),
    ("POST", "/zones/{id_or_name}/rrsets/{rr_name}/{rr_type}/actions/set_records", set_records),
    ("POST", "/zones/{id_or_name}/rrsets/{rr_name}/{rr_type}/actions/add_records", add_records),
    ("POST", "/zones/{id_or_name}/rrsets/{rr_name}/{rr_type}/actions/remove_records", remove_records),
    ("POST", "/zones/{id_or_name}/rrsets/{rr_name}/{rr_type}/actions/change_ttl", change_ttl),
];

const NAME_SERVERS: [&str; 3] = ["hydrogen.ns.example.com.", "oxygen.ns.example.com.", "helium.ns.example.com."];

/// A zone.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Zone {
    /// Unique in the project.
    pub id: u64,
    /// The domain, without a final dot.
    pub name: String,
    mode: String,
    ttl: u64,
    labels: Labels,
    created: Moment,
    /// By `NAME/TYPE`.
    rrsets: BTreeMap<String, RrSet>,
}

/// Records of one name and type.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct RrSet {
    name: String,
    kind: String,
    ttl: Option<u64>,
    labels: Labels,
    records: Vec<Value>,
}

impl Zone {
    /// The form of answers.
    pub fn json(&self) -> Value {
        json!({
            "id": self.id,
            "name": self.name,
            "mode": self.mode,
            "ttl": self.ttl,
            "status": "ok",
            "record_count": self.rrsets.values().map(|set| set.records.len()).sum::<usize>(),
            "registrar": "other",
            "labels": self.labels,
            "protection": {"delete": false},
            "created": time::text(self.created),
            "authoritative_nameservers": {
                "assigned": NAME_SERVERS, "delegated": NAME_SERVERS, "delegation_last_check": null,
                "delegation_status": "valid",
            },
        })
    }

    /// Its RRsets in the form of answers.
    pub fn rrsets_json(&self) -> Vec<Value> {
        self.rrsets.values().map(|set| self.rrset_json(set)).collect()
    }

    fn rrset_json(&self, set: &RrSet) -> Value {
        json!({
            "id": format!("{}/{}", set.name, set.kind),
            "name": set.name,
            "type": set.kind,
            "ttl": set.ttl,
            "labels": set.labels,
            "protection": {"change": false},
            "records": set.records,
            "zone": self.id,
        })
    }
}

fn id_of(state: &Hetzner, call: &Call) -> Result<u64, Problem> {
    let wanted = call.parameter(0);
    let known = state.zones.values().find(|zone| zone.name == wanted || zone.id.to_string() == wanted);
    known.map(|zone| zone.id).ok_or_else(|| missing("zone", wanted))
}

fn zone<'a>(state: &'a mut Hetzner, call: &Call) -> Result<&'a mut Zone, Problem> {
    let id = id_of(state, call)?;
    state.zones.get_mut(&id).ok_or_else(|| missing("zone", id))
}

fn rrset<'a>(zone: &'a mut Zone, call: &Call) -> Result<&'a mut RrSet, Problem> {
    let key = key_of(call);
    zone.rrsets.get_mut(&key).ok_or_else(|| missing("RRset", key))
}

fn key_of(call: &Call) -> String {
    format!("{}/{}", call.parameter(1), call.parameter(2))
}

fn all(state: &mut Hetzner, call: &Call) -> Handled {
    list(call, "zones", state.zones.values().map(Zone::json).collect())
}

fn one(state: &mut Hetzner, call: &Call) -> Handled {
    Ok(Reply::json(200, json!({"zone": zone(state, call)?.json()})))
}

fn create(state: &mut Hetzner, call: &Call) -> Handled {
    let name = call.required("name");
    let labels = labels_of(call)?.unwrap_or_default();
    if name != name.to_lowercase() || !name.contains('.') || !super::server::is_host_name(name) {
        return Err(invalid("name", "not a domain in lower case without a final dot"));
    }
    if call.text("mode") == Some("secondary") {
        return Err(refused("unsupported_error", "the test cloud has no secondary zones"));
    }
    if state.zones.values().any(|zone| zone.name == name) {
        return Err(taken("name"));
    }
    state.within_quota("zones", state.zones.len(), 1)?;
    let id = state.id();
    let soa = format!("{} dns.example.com. 2026010100 86400 10800 3600000 3600", NAME_SERVERS[0]);
    let set = |kind: &str, values: &[&str]| {
        let records = values.iter().map(|value| json!({"value": value})).collect();
        let labels = Labels::new();
        (format!("@/{kind}"), RrSet { name: "@".to_owned(), kind: kind.to_owned(), ttl: None, labels, records })
    };
    let rrsets = BTreeMap::from([set("SOA", &[&soa]), set("NS", &NAME_SERVERS)]);
    let ttl = call.number("ttl").unwrap_or(3600);
    let mode = call.required("mode").to_owned();
    let zone = Zone { id, name: name.to_owned(), mode, ttl, labels, created: call.now, rrsets };
    let json = zone.json();
    state.zones.insert(id, zone);
    let action = state.begin(call, "create_zone", &[("zone", id)], Effect::None);
    Ok(Reply::json(201, json!({"zone": json, "action": action})))
}

fn update(state: &mut Hetzner, call: &Call) -> Handled {
    let labels = labels_of(call)?;
    let zone = zone(state, call)?;
    zone.labels = labels.unwrap_or_else(|| zone.labels.clone());
    one(state, call)
}

fn delete(state: &mut Hetzner, call: &Call) -> Handled {
    let id = id_of(state, call)?;
    state.zones.remove(&id);
    state.act(call, "delete_zone", &[("zone", id)], Effect::None)
}

fn rrsets(state: &mut Hetzner, call: &Call) -> Handled {
    list(call, "rrsets", zone(state, call)?.rrsets_json())
}

fn one_rrset(state: &mut Hetzner, call: &Call) -> Handled {
    let zone = zone(state, call)?;
    let set = rrset(zone, call)?.clone();
    Ok(Reply::json(200, json!({"rrset": zone.rrset_json(&set)})))
}

fn create_rrset(state: &mut Hetzner, call: &Call) -> Handled {
    let labels = labels_of(call)?.unwrap_or_default();
    let zone = zone(state, call)?;
    let (name, kind) = (call.required("name").to_owned(), call.required("type").to_owned());
    relative(&name, &zone.name)?;
    let key = format!("{name}/{kind}");
    if zone.rrsets.contains_key(&key) {
        return Err(taken("name"));
    }
    let same_name = |set: &RrSet| set.name == name;
    let alone = kind == "CNAME" && (name == "@" || zone.rrsets.values().any(same_name));
    if alone || zone.rrsets.contains_key(&format!("{name}/CNAME")) {
        return Err(invalid("type", "a CNAME is the only RRset of its name, and never of the zone itself"));
    }
    let records = records(call, &kind)?;
    let set = RrSet { name, kind, ttl: call.number("ttl"), labels, records };
    let json = zone.rrset_json(&set);
    let id = zone.id;
    zone.rrsets.insert(key, set);
    let action = state.begin(call, "create_rrset", &[("zone", id)], Effect::None);
    Ok(Reply::json(201, json!({"rrset": json, "action": action})))
}

fn update_rrset(state: &mut Hetzner, call: &Call) -> Handled {
    let labels = labels_of(call)?;
    let set = rrset(zone(state, call)?, call)?;
    set.labels = labels.unwrap_or_else(|| set.labels.clone());
    one_rrset(state, call)
}

fn delete_rrset(state: &mut Hetzner, call: &Call) -> Handled {
    let zone = zone(state, call)?;
    rrset(zone, call)?;
    if ["@/SOA", "@/NS"].contains(&key_of(call).as_str()) {
        return Err(refused("unsupported_error", "a zone keeps its SOA and NS"));
    }
    zone.rrsets.remove(&key_of(call));
    act(state, call, "delete_rrset")
}

fn act(state: &mut Hetzner, call: &Call, command: &str) -> Handled {
    let id = id_of(state, call)?;
    state.act(call, command, &[("zone", id)], Effect::None)
}

fn set_records(state: &mut Hetzner, call: &Call) -> Handled {
    let records = records(call, call.parameter(2))?;
    rrset(zone(state, call)?, call)?.records = records;
    act(state, call, "set_rrset_records")
}

/// "The name must be in lower case, and must not end with a dot or the Zone name."
fn relative(name: &str, zone: &str) -> Result<(), Problem> {
    let in_full = name == zone || name.strip_suffix(zone).is_some_and(|rest| rest.ends_with('.'));
    if name != name.to_lowercase() || name.is_empty() || name.ends_with('.') || in_full {
        return Err(invalid("name", "not relative to the zone and in lower case; the zone itself is @"));
    }
    Ok(())
}

/// Records of an RRset that does not exist make it. The time of one that exists cannot be changed on the way.
fn add_records(state: &mut Hetzner, call: &Call) -> Handled {
    let new = records(call, call.parameter(2))?;
    let zone = zone(state, call)?;
    relative(call.parameter(1), &zone.name)?;
    let own = zone.rrsets.get(&key_of(call)).and_then(|set| set.ttl);
    if own.zip(call.number("ttl")).is_some_and(|(own, new)| own != new) {
        return Err(invalid("ttl", "not that of the RRset"));
    }
    let empty = || RrSet {
        name: call.parameter(1).to_owned(),
        kind: call.parameter(2).to_owned(),
        ttl: call.number("ttl"),
        labels: Labels::new(),
        records: Vec::new(),
    };
    let set = zone.rrsets.entry(key_of(call)).or_insert_with(empty);
    if new.iter().any(|record| set.records.iter().any(|other| other["value"] == record["value"])) {
        return Err(taken("records"));
    }
    set.records.extend(new);
    act(state, call, "add_rrset_records")
}

/// An RRset without records ends.
fn remove_records(state: &mut Hetzner, call: &Call) -> Handled {
    let zone = zone(state, call)?;
    let set = rrset(zone, call)?;
    for record in call.list("records") {
        if !set.records.iter().any(|other| other["value"] == record["value"]) {
            return Err(missing("record", &record["value"]));
        }
    }
    set.records.retain(|other| !call.list("records").iter().any(|record| record["value"] == other["value"]));
    if set.records.is_empty() {
        zone.rrsets.remove(&key_of(call));
    }
    act(state, call, "remove_rrset_records")
}

fn change_ttl(state: &mut Hetzner, call: &Call) -> Handled {
    rrset(zone(state, call)?, call)?.ttl = call.number("ttl");
    act(state, call, "change_rrset_ttl")
}

fn records(call: &Call, kind: &str) -> Result<Vec<Value>, Problem> {
    let list = call.list("records");
    for (index, record) in list.iter().enumerate() {
        let value = record["value"].as_str().unwrap_or_default();
        if !is_value(kind, value) {
            return Err(invalid(&format!("records.{index}.value"), &format!("not a value of {kind}")));
        }
        if list.iter().take(index).any(|other| other["value"] == record["value"]) {
            return Err(invalid(&format!("records.{index}.value"), "given twice"));
        }
    }
    if kind == "CNAME" && list.len() > 1 {
        return Err(invalid("records", "a CNAME has one record"));
    }
    Ok(list.to_vec())
}

fn is_value(kind: &str, value: &str) -> bool {
    match kind {
        "A" => value.parse::<Ipv4Addr>().is_ok(),
        "AAAA" => value.parse::<Ipv6Addr>().is_ok(),
        // Quoted parts of at most 255 characters.
        "TXT" => {
            let inner = value.strip_prefix('"').and_then(|value| value.strip_suffix('"'));
            inner.is_some_and(|inner| inner.split("\" \"").all(|part| part.len() <= 255))
        }
        _ => !value.is_empty(),
    }
}
