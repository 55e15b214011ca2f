//! A client of the pure state, with its own clock.

use serde_json::{Value, json};
use test_cloud::cloud::Cloud;
use test_cloud::control;
use test_cloud::fault::Delivery;
use test_cloud::message::{Provider, Reply, Request};

/// A public key for each number.
pub fn key(number: u8) -> String {
    use base64::Engine;
    let mut blob = b"\0\0\0\x0bssh-ed25519\0\0\0\x20".to_vec();
    blob.extend([number; 32]);
    format!("ssh-ed25519 {} test", base64::engine::general_purpose::STANDARD.encode(blob))
}

/// A cloud with the moment that its requests arrive at.
pub struct Api {
    pub cloud: Cloud,
    pub now: i64,
    pub provider: Provider,
    pub token: &'static str,
}

/// An answer, for assertions.
#[derive(Debug)]
pub struct Answer {
    pub reply: Reply,
    pub delivery: Delivery,
}

impl Api {
    pub fn hetzner() -> Api {
        Api { cloud: Cloud::default(), now: 1_796_068_800_000, provider: Provider::Hetzner, token: "test-token" }
    }

    pub fn digitalocean() -> Api {
        Api { provider: Provider::Digitalocean, ..Api::hetzner() }
    }

    /// Sends a request; the path is the one of the provider's documentation, with its query.
    #[track_caller]
    pub fn send(&mut self, method: &str, path: &str, body: Value) -> Answer {
        let text = if body.is_null() { String::new() } else { body.to_string() };
        self.send_text(method, path, &text)
    }

    #[track_caller]
    pub fn send_text(&mut self, method: &str, path: &str, body: &str) -> Answer {
        let request = self.request(method, path, body);
        let (reply, delivery) = self.cloud.handle(self.now, &request);
        assert!(self.cloud.log.violations.is_empty(), "{:?}", self.cloud.log.violations);
        Answer { reply, delivery }
    }

    pub fn request(&self, method: &str, path: &str, body: &str) -> Request {
        let (path, query) = path.split_once('?').unwrap_or((path, ""));
        let version = if self.provider == Provider::Hetzner { "/v1" } else { "/v2" };
        let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
        Request {
            provider: self.provider,
            method: method.to_owned(),
            path: format!("{version}{path}"),
            query: pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect(),
            authorization: Some(format!("Bearer {}", self.token)),
            body: body.as_bytes().to_vec(),
        }
    }

    #[track_caller]
    pub fn get(&mut self, path: &str) -> Value {
        self.send("GET", path, Value::Null).is(200)
    }

    #[track_caller]
    pub fn post(&mut self, path: &str, body: Value) -> Value {
        let answer = self.send("POST", path, body);
        assert!((200..300).contains(&answer.reply.status), "{path}: {answer:?}");
        answer.reply.value().clone()
    }

    /// Sends a request to the API of tests.
    #[track_caller]
    pub fn control(&mut self, method: &str, path: &str, body: Value) -> Value {
        let request =
            Request { path: path.to_owned(), body: body.to_string().into_bytes(), ..self.request(method, "", "") };
        let reply = control::handle(&mut self.cloud, self.now, &request);
        assert!((200..300).contains(&reply.status), "{method} {path}: {reply:?}");
        reply.value().clone()
    }

    pub fn settings(&mut self, settings: Value) {
        self.control("PATCH", "/settings", settings);
    }

    /// Ends every action.
    pub fn finish(&mut self) {
        self.now += 10_000;
        self.cloud.tick(self.now);
    }

    /// A server of Hetzner that is off, and has a public key.
    #[track_caller]
    pub fn server(&mut self, name: &str) -> u64 {
        let id = self.new_server(name, json!({"start_after_create": false}));
        self.finish();
        id
    }

    /// A server of Hetzner with further fields; its creation has not ended.
    #[track_caller]
    pub fn new_server(&mut self, name: &str, more: Value) -> u64 {
        self.post("/servers", new_server(name, more))["server"]["id"].as_u64().unwrap()
    }

    #[track_caller]
    pub fn network(&mut self, name: &str, range: &str) -> u64 {
        let subnet = json!({"type": "cloud", "network_zone": "eu-central", "ip_range": range});
        let network = json!({"name": name, "ip_range": range, "subnets": [subnet]});
        self.post("/networks", network)["network"]["id"].as_u64().unwrap()
    }

    /// A droplet that runs.
    #[track_caller]
    pub fn droplet(&mut self, name: &str, more: Value) -> u64 {
        let id = self.post("/droplets", new_droplet(name, more))["droplet"]["id"].as_u64().unwrap();
        self.finish();
        id
    }
}

pub fn new_server(name: &str, more: Value) -> Value {
    merged(json!({"name": name, "server_type": "cx23", "image": "debian-12", "location": "fsn1"}), more)
}

pub fn new_droplet(name: &str, more: Value) -> Value {
    merged(json!({"name": name, "size": "s-1vcpu-1gb", "image": "debian-12-x64", "region": "fra1"}), more)
}

pub fn merged(mut one: Value, more: Value) -> Value {
    for (name, value) in more.as_object().cloned().unwrap_or_default() {
        one[name] = value;
    }
    one
}

impl Answer {
    /// The JSON of an answer with this status.
    #[track_caller]
    pub fn is(self, status: u16) -> Value {
        assert_eq!(self.reply.status, status, "{:?}", self.reply);
        self.reply.value().clone()
    }

    /// The answer refuses with this status and code.
    #[track_caller]
    pub fn refuses(self, status: u16, code: &str) -> Value {
        let value = self.is(status);
        let found = value["error"]["code"].as_str().or(value["id"].as_str());
        assert_eq!(found, Some(code), "{value}");
        value
    }

    pub fn header(&self, name: &str) -> Option<String> {
        self.reply.headers.iter().find(|(key, _)| *key == name).map(|(_, value)| value.clone())
    }
}
