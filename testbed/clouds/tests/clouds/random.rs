//! Random requests that keep to the contract, and whose answers have to keep to it, too.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};
use test_cloud::contract::Contract;
use test_cloud::message::Provider;

use crate::api::{Api, key};

const REQUESTS: usize = 4000;

/// A generator of requests from the schemas of a contract, and of what exists.
struct Generator {
    seed: u64,
    table: Value,
    /// Ids, or names that take their place in paths, by the kind of resource: `server`, `ssh_key`.
    known: BTreeMap<String, BTreeSet<String>>,
}

impl Generator {
    fn number(&mut self, below: usize) -> usize {
        // xorshift64
        self.seed ^= self.seed << 13;
        self.seed ^= self.seed >> 7;
        self.seed ^= self.seed << 17;
        usize::try_from(self.seed % below as u64).unwrap()
    }

    fn pick<T: Clone>(&mut self, values: &[T]) -> T {
        values[self.number(values.len())].clone()
    }

    /// A resource of the kind, seldom one of another kind.
    fn resource(&mut self, kind: &str) -> String {
        let kinds: Vec<String> = self.known.keys().cloned().collect();
        let kind = if kinds.is_empty() || self.number(20) > 0 { kind.to_owned() } else { self.pick(&kinds) };
        let ids: Vec<String> = self.known.get(&kind).into_iter().flatten().cloned().collect();
        if ids.is_empty() { "1".to_owned() } else { self.pick(&ids) }
    }

    fn id(&mut self, field: &str) -> u64 {
        let kind = match field {
            "assignee_id" => "server",
            "droplet_id" | "droplet_ids" => "droplet",
            "ipv4" | "ipv6" => "primary_ip",
            "volumes" => "volume",
            "networks" => "network",
            "ssh_keys" => "ssh_key",
            other => other,
        };
        self.resource(kind).parse().unwrap_or(1)
    }

    /// A text that the field may have.
    fn text(&mut self, field: &str) -> String {
        let number = self.number(30);
        let fixed: &[&str] = match field {
            "server_type" => &["cx23", "cx33", "cax11"],
            "load_balancer_type" => &["lb11", "lb21"],
            "image" => &["debian-12", "debian-12-x64"],
            "location" | "home_location" => &["fsn1", "fsn1", "hel1"],
            "network_zone" => &["eu-central"],
            "ip_range" | "destination" => &["10.0.0.0/16", "10.0.1.0/24", "10.1.0.0/16", "10.0.0.0/20"],
            "ip" | "gateway" | "alias_ips" | "data" | "ip_address" => &["10.0.1.5", "10.0.1.6", "198.18.0.3"],
            "selector" | "label_selector" => &["a=b", "a", "!a", "c in (d,e)"],
            "size" => &["s-1vcpu-1gb", "s-2vcpu-4gb"],
            "region" => &["fra1"],
            "ports" | "port" => &["22", "80-90", "0"],
            "addresses" | "source_ips" | "destination_ips" => &["0.0.0.0/0", "::/0"],
            "value" => &["192.0.2.1", "192.0.2.2", "\"text\""],
            "filesystem_type" | "format" => &["ext4", "xfs"],
            "tags" => &["t1", "t2"],
            "public_key" => return key(u8::try_from(number).unwrap()),
            "ssh_keys" => return self.resource("ssh_key"),
            "vpc_uuid" => return self.resource("vpc"),
            "volumes" => return self.resource("volume"),
            "reserved_ips" => return self.resource("reserved_ip"),
            "resource_id" => return self.resource("droplet"),
            "name" if self.number(2) == 0 => &["example.org", "example.com", "www", "@"],
            _ => return format!("n{number}"),
        };
        self.pick(fixed).to_owned()
    }

    fn value(&mut self, schema: &Value, field: &str) -> Value {
        let schema = match schema["$ref"].as_str() {
            Some(reference) => self.table.pointer(reference.trim_start_matches('#')).unwrap().clone(),
            None => schema.clone(),
        };
        for name in ["anyOf", "oneOf"] {
            if let Some(options) = schema[name].as_array() {
                let option = self.pick(options);
                return self.value(&option, field);
            }
        }
        if schema.get("then").is_some() {
            let branch = self.pick(&["then", "else"]);
            return self.value(&schema[branch], field);
        }
        if let Some(values) = schema["enum"].as_array() {
            return self.pick(values);
        }
        let kind = schema["type"].as_str().or(schema["type"][0].as_str()).unwrap_or("null").to_owned();
        match kind.as_str() {
            "object" => self.object(&schema, field),
            "array" => {
                let count = self.number(3).max(schema["minItems"].as_u64().unwrap_or(0) as usize);
                (0..count).map(|_| self.value(&schema["items"], field)).collect()
            }
            "integer" | "number" => match (schema["maximum"].as_i64(), schema["minimum"].as_i64()) {
                (Some(_), Some(least)) => json!(least + i64::try_from(self.number(3)).unwrap()),
                (Some(_), None) => json!(20),
                _ if field == "ttl" => json!(60),
                _ if field == "image" => json!(8001),
                _ if field.contains("size") => json!(10 + self.number(20)),
                _ => json!(self.id(field)),
            },
            "boolean" => json!(self.number(2) == 0),
            "string" => json!(self.text(field)),
            _ => Value::Null,
        }
    }

    fn object(&mut self, schema: &Value, parent: &str) -> Value {
        let mut object = json!({});
        let Some(properties) = schema["properties"].as_object() else { return json!({"a": "b"}) };
        let required: Vec<&str> =
            schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        for (name, field) in properties {
            if required.contains(&name.as_str()) || self.number(3) == 0 {
                object[name] = self.value(field, if name == "id" { parent } else { name });
            }
        }
        self.consistent(&mut object, properties);
        object
    }

    /// Fields that only go together: the object that a type names, the ranges of a direction.
    fn consistent(&mut self, object: &mut Value, properties: &Map<String, Value>) {
        let variants = ["server", "label_selector", "ip"];
        if let Some(kind) = object["type"]
            .as_str()
            .filter(|kind| variants.contains(kind) && properties.contains_key(*kind))
            .map(str::to_owned)
        {
            let fields = object.as_object_mut().unwrap();
            fields.retain(|name, _| !variants.contains(&name.as_str()) && name != "use_private_ip");
            object[&kind] = self.value(&properties[&kind], &kind);
        }
        if properties.contains_key("direction") {
            let own = if object["direction"] == "in" { "source_ips" } else { "destination_ips" };
            *object = json!({"direction": object["direction"], "protocol": "tcp", "port": "22", own: ["::/0"]});
        }
        if properties.contains_key("listen_port") && properties.contains_key("health_check") {
            object["protocol"] = "tcp".into();
            object["health_check"]["protocol"] = "tcp".into();
            object.as_object_mut().unwrap().remove("http");
            object["health_check"].as_object_mut().unwrap().remove("http");
        }
    }

    fn path(&mut self, template: &str) -> String {
        let mut parts: Vec<String> = Vec::new();
        for part in template.split('/') {
            let kind = parts.last().map(|before| before.trim_end_matches('s').to_owned()).unwrap_or_default();
            parts.push(match part {
                "{rr_type}" => self.pick(&["A", "TXT"]).to_owned(),
                "{rr_name}" => self.pick(&["www", "@"]).to_owned(),
                "{image_id}" => "debian-12-x64".to_owned(),
                part if part.starts_with('{') => self.resource(match kind.as_str() {
                    "key" => "ssh_key",
                    "record" => "domain_record",
                    other => other,
                }),
                part => part.to_owned(),
            });
        }
        parts.join("/")
    }

    /// Learns what exists.
    fn learn(&mut self, api: &mut Api) {
        let provider = if api.provider == Provider::Hetzner { "hetzner" } else { "digitalocean" };
        let resources = api.control("GET", "/resources", json!({}))[provider].clone();
        self.known.clear();
        for (kind, list) in resources.as_object().unwrap() {
            let kind = if kind == "keys" { "ssh_key" } else { kind.trim_end_matches('s') };
            let names = list.as_array().unwrap().iter().map(|one| {
                let id = [&one["id"], &one["ip"], &one["name"]].into_iter().find(|id| !id.is_null()).unwrap();
                id.as_str().map_or_else(|| id.to_string(), str::to_owned)
            });
            self.known.insert(kind.to_owned(), names.collect());
        }
        let (hetzner, digitalocean) = (api.cloud.hetzner.actions.keys(), api.cloud.digitalocean.actions.keys());
        let actions = hetzner.chain(digitalocean).map(u64::to_string);
        self.known.insert("action".to_owned(), actions.collect());
    }
}

/// The number of requests that succeeded.
fn run(mut api: Api, seed: u64) -> usize {
    let table: Value = serde_json::from_str(Contract::source(api.provider)).unwrap();
    let endpoints = table["endpoints"].as_array().unwrap().clone();
    let mut generator = Generator { seed, table, known: BTreeMap::new() };
    api.settings(json!({"digitalocean": {"quotas": {"droplets": 1000}}}));
    let mut succeeded = 0;
    for number in 0..REQUESTS {
        let endpoint = generator.pick(&endpoints);
        // Deletions are rarer, so that there is something to change.
        if endpoint["method"] == "DELETE" && generator.number(4) > 0 {
            continue;
        }
        let body = match endpoint.get("body") {
            Some(schema) => generator.value(schema, "").to_string(),
            None => String::new(),
        };
        let path = generator.path(endpoint["path"].as_str().unwrap());
        let path = path.strip_prefix("/v2").unwrap_or(&path);
        api.cloud.hetzner.bucket.set(3600, api.now);
        api.cloud.digitalocean.set_limits(api.now, &json!({"hour": 5000, "minute": 250, "keys": 10}));
        let method = endpoint["method"].as_str().unwrap();
        let answer = api.send_text(method, path, &body);
        assert!(answer.reply.status < 500, "seed {seed}: {method} {path} {body}: {answer:?}");
        succeeded += usize::from(answer.reply.status < 300);
        if number % 10 == 0 {
            generator.learn(&mut api);
        }
        api.now += [0, 0, 100, 1000][generator.number(4)];
    }
    succeeded
}

#[test]
fn every_answer_to_random_requests_keeps_to_the_contract() {
    for (seed, provider) in [(1, Provider::Hetzner), (2, Provider::Digitalocean)] {
        let api = Api { provider, ..Api::hetzner() };
        let succeeded = run(api, 0x9E37_79B9_7F4A_7C15 ^ seed);
        assert!(succeeded > REQUESTS / 8, "only {succeeded} of {REQUESTS} succeeded with seed {seed}");
    }
}
