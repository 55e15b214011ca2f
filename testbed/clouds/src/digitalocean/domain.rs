//! Domains and their records.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, Ipv6Addr};

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::DigitalOcean;
use super::errors::{id_of, missing, refused};
use super::list::list;
use crate::message::{Call, Handled, Problem, Reply};
use crate::route::Route;

/// Endpoints.
pub const ROUTES: &[Route<DigitalOcean>] = &[
    ("GET", "/v2/domains", all),
    ("POST", "/v2/domains", create),
    ("GET", "/v2/domains/{domain_name}", one),
    ("DELETE", "/v2/domains/{domain_name}", delete),
    ("GET", "/v2/domains/{domain_name}/records", records),
    ("POST", "/v2/domains/{domain_name}/records", create_record),
    ("GET", "/v2/domains/{domain_name}/records/{domain_record_id}", one_record),
    ("PUT", "/v2/domains/{domain_name}/records/{domain_record_id}", update_record),
    ("PATCH", "/v2/domains/{domain_name}/records/{domain_record_id}", update_record),
    ("DELETE", "/v2/domains/{domain_name}/records/{domain_record_id}", delete_record),
];

const TTL: u64 = 1800;
/// Fields of a record that only some types have.
const OPTIONAL: [&str; 5] = ["priority", "port", "weight", "flags", "tag"];

/// A domain.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Domain {
    name: String,
    /// In the form of answers, by id.
    records: BTreeMap<u64, Value>,
}

impl Domain {
    /// The form of answers.
    pub fn json(&self) -> Value {
        json!({"name": self.name, "ttl": TTL, "zone_file": format!("$ORIGIN {}.\n", self.name)})
    }

    /// Its records in the form of answers.
    pub fn records_json(&self) -> Vec<Value> {
        self.records.values().cloned().collect()
    }
}

impl DigitalOcean {
    fn domain(&mut self, call: &Call) -> Result<&mut Domain, Problem> {
        self.domains.get_mut(call.parameter(0)).ok_or_else(|| missing("domain"))
    }

    fn record(&mut self, call: &Call) -> Result<&mut Value, Problem> {
        let id = id_of(call, 1, "record")?;
        self.domain(call)?.records.get_mut(&id).ok_or_else(|| missing("record"))
    }

    fn add_record(&mut self, domain: &str, mut record: Value) -> Value {
        let id = self.id();
        record["id"] = id.into();
        if let Some(domain) = self.domains.get_mut(domain) {
            domain.records.insert(id, record.clone());
        }
        record
    }
}

fn all(state: &mut DigitalOcean, call: &Call) -> Handled {
    list(call, "domains", state.domains.values().map(Domain::json).collect())
}

fn one(state: &mut DigitalOcean, call: &Call) -> Handled {
    Ok(Reply::json(200, json!({"domain": state.domain(call)?.json()})))
}

fn create(state: &mut DigitalOcean, call: &Call) -> Handled {
    let name = call.required("name").to_owned();
    if !name.contains('.') || !crate::hetzner::is_host_name(&name) {
        return Err(refused("name: not a domain"));
    }
    if state.domains.contains_key(&name) {
        return Err(refused("name: the domain exists"));
    }
    let address = call.text("ip_address");
    if address.is_some_and(|address| address.parse::<Ipv4Addr>().is_err()) {
        return Err(refused("ip_address: not an address"));
    }
    state.domains.insert(name.clone(), Domain { name: name.clone(), records: BTreeMap::new() });
    state.add_record(&name, plain("SOA", "1800"));
    for server in ["ns1.example.com", "ns2.example.com", "ns3.example.com"] {
        state.add_record(&name, plain("NS", server));
    }
    if let Some(address) = address {
        state.add_record(&name, plain("A", address));
    }
    let json = json!({"name": name, "ttl": null, "zone_file": null});
    Ok(Reply::json(201, json!({"domain": json})))
}

fn plain(kind: &str, data: &str) -> Value {
    json!({
        "type": kind, "name": "@", "data": data, "ttl": TTL, "priority": null, "port": null, "weight": null,
        "flags": null, "tag": null,
    })
}

fn delete(state: &mut DigitalOcean, call: &Call) -> Handled {
    state.domain(call)?;
    state.domains.remove(call.parameter(0));
    Ok(Reply::empty())
}

/// The filter by name takes a full name, although records have relative ones.
fn records(state: &mut DigitalOcean, call: &Call) -> Handled {
    let domain = state.domain(call)?;
    let full = |record: &Value| match record["name"].as_str() {
        Some("@") | None => domain.name.clone(),
        Some(name) => format!("{name}.{}", domain.name),
    };
    let chosen = domain.records.values().filter(|record| {
        call.query_text("name").is_none_or(|name| full(record) == name)
            && call.query_text("type").is_none_or(|kind| record["type"] == kind)
    });
    list(call, "domain_records", chosen.cloned().collect())
}

fn one_record(state: &mut DigitalOcean, call: &Call) -> Handled {
    Ok(Reply::json(200, json!({"domain_record": state.record(call)?})))
}

fn create_record(state: &mut DigitalOcean, call: &Call) -> Handled {
    state.domain(call)?;
    let record = changed(plain(call.required("type"), ""), call);
    if call.text("name").is_none() || call.text("data").is_none() {
        return Err(refused("name and data: missing"));
    }
    is_valid(&record)?;
    let record = state.add_record(call.parameter(0), record);
    Ok(Reply::json(201, json!({"domain_record": record})))
}

fn update_record(state: &mut DigitalOcean, call: &Call) -> Handled {
    let record = state.record(call)?;
    if call.required("type") != record["type"] {
        return Err(refused("type: a record keeps it"));
    }
    let new = changed(record.clone(), call);
    is_valid(&new)?;
    *record = new;
    one_record(state, call)
}

fn delete_record(state: &mut DigitalOcean, call: &Call) -> Handled {
    let id = id_of(call, 1, "record")?;
    let removed = state.domain(call)?.records.remove(&id);
    removed.map(|_| Reply::empty()).ok_or_else(|| missing("record"))
}

/// A record with the fields of a body.
fn changed(mut record: Value, call: &Call) -> Value {
    for field in ["name", "data", "ttl"].iter().chain(&OPTIONAL) {
        if let Some(value) = call.body.get(*field) {
            record[*field] = value.clone();
        }
    }
    record
}

fn is_valid(record: &Value) -> Result<(), Problem> {
    let data = record["data"].as_str().unwrap_or_default();
    let name = record["name"].as_str().unwrap_or_default();
    let kind = record["type"].as_str().unwrap_or_default();
    let needed: &[&str] = match kind {
        "MX" => &["priority"],
        "SRV" => &["priority", "port", "weight"],
        "CAA" => &["flags", "tag"],
        _ => &[],
    };
    if let Some(field) = needed.iter().find(|field| record[**field].is_null()) {
        return Err(refused(&format!("{field}: missing for this type")));
    }
    if name.is_empty() || name.ends_with('.') {
        return Err(refused("name: not relative to the domain"));
    }
    let valid = match kind {
        "A" => data.parse::<Ipv4Addr>().is_ok(),
        "AAAA" => data.parse::<Ipv6Addr>().is_ok(),
        // A host name is relative to the domain without its final dot.
        "CNAME" | "MX" => data == "@" || data.ends_with('.'),
        _ => !data.is_empty(),
    };
    if valid { Ok(()) } else { Err(refused("data: invalid for this type")) }
}
