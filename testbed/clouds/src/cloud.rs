//! Both clouds as one state, and the path of a request through it. No IO: the time is an argument.

use std::sync::OnceLock;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::contract::{Contract, Endpoint, Found, Violation};
use crate::digitalocean::{self, DigitalOcean};
use crate::fault::{self, Delivery, Fault, Kind};
use crate::hetzner::{self, Hetzner};
use crate::log::Log;
use crate::machines::{Job, Outcome};
use crate::message::{Body, Call, Handled, Problem, Provider, Reply, Request};
use crate::route::Router;
use crate::time::Moment;

/// The state of both clouds.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Cloud {
    /// Milliseconds that the clouds' clock is ahead of the computer's.
    pub ahead_ms: i64,
    /// Settings for both clouds.
    pub settings: Settings,
    /// Hetzner Cloud.
    pub hetzner: Hetzner,
    /// DigitalOcean.
    pub digitalocean: DigitalOcean,
    /// Faults that are to come, in their order.
    #[serde(skip)]
    pub faults: Vec<Fault>,
    /// Requests and answers.
    #[serde(skip)]
    pub log: Log,
}

/// Settings for both clouds.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Duration of an action, in milliseconds.
    pub action_ms: i64,
    /// Time before each answer, in milliseconds.
    pub latency_ms: u64,
    /// Time until the networks of a new droplet are in answers, in milliseconds.
    pub networks_ms: i64,
    /// Token that may read and write.
    pub token: String,
    /// Token that may only read.
    pub read_token: String,
    /// Origin of the links in DigitalOcean's answers. The default resolves nowhere: a client must put its own base there.
    pub links_origin: String,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            action_ms: 250,
            latency_ms: 0,
            networks_ms: 100,
            token: "test-token".to_owned(),
            read_token: "test-token-read".to_owned(),
            links_origin: "https://api.digitalocean.invalid".to_owned(),
        }
    }
}

/// Contracts and handlers, which no request changes.
struct Tables {
    contracts: [Contract; 2],
    hetzner: Router<Hetzner>,
    digitalocean: Router<DigitalOcean>,
}

fn tables() -> Result<&'static Tables, String> {
    static TABLES: OnceLock<Result<Tables, String>> = OnceLock::new();
    let load = || {
        let contract = |provider| Contract::load(provider).map_err(|error| format!("contract: {error}"));
        Ok(Tables {
            contracts: [contract(Provider::Hetzner)?, contract(Provider::Digitalocean)?],
            hetzner: hetzner::router(),
            digitalocean: digitalocean::router(),
        })
    };
    TABLES.get_or_init(load).as_ref().map_err(Clone::clone)
}

impl Tables {
    fn contract(&self, provider: Provider) -> &Contract {
        let [hetzner, digitalocean] = &self.contracts;
        match provider {
            Provider::Hetzner => hetzner,
            Provider::Digitalocean => digitalocean,
        }
    }
}

/// The path as the contract has it: Hetzner's without `/v1`.
fn contract_path(request: &Request) -> Option<&str> {
    match request.provider {
        Provider::Hetzner => request.path.strip_prefix("/v1"),
        Provider::Digitalocean => Some(&request.path),
    }
}

impl Cloud {
    /// Answers a request at a moment of the clouds' clock, and records both.
    pub fn handle(&mut self, now: Moment, request: &Request) -> (Reply, Delivery) {
        self.tick(now);
        let kind = fault::take(&mut self.faults, request);
        let processes = kind.as_ref().is_none_or(Kind::processes);
        let (reply, forbidden) = match tables() {
            Ok(tables) => self.answer(tables, now, request, processes),
            Err(reason) => (Problem::new(500, "server_error", reason).reply(request.provider), false),
        };
        let (reply, delivery) = match kind {
            Some(kind) => kind.apply(request.provider, reply),
            None => (reply, Delivery::Answer),
        };
        let label = match delivery {
            Delivery::Answer => "answered",
            Delivery::Drop => "dropped",
            Delivery::Hang => "hung",
        };
        self.log.add(request, now, &reply, label, forbidden);
        (reply, delivery)
    }

    /// Ends the actions whose time has come.
    pub fn tick(&mut self, now: Moment) {
        self.hetzner.tick(now);
        self.digitalocean.tick(now);
    }

    /// Ends every action that does not wait for a machine.
    pub fn finish(&mut self, now: Moment) {
        self.hetzner.finish(now);
        self.digitalocean.finish(now);
    }

    /// Calls of the machines' command that have not been started; they count as started now.
    pub fn new_jobs(&mut self) -> Vec<Job> {
        let jobs = self.hetzner.jobs.iter_mut().chain(&mut self.digitalocean.jobs);
        let new: Vec<Job> = jobs
            .filter(|job| !job.started)
            .map(|job| {
                job.started = true;
                job.clone()
            })
            .collect();
        new
    }

    /// True while the action of a job still waits for it: an earlier failure ends those that follow.
    pub fn wants(&self, job: &Job) -> bool {
        let jobs = match job.provider {
            Provider::Hetzner => &self.hetzner.jobs,
            Provider::Digitalocean => &self.digitalocean.jobs,
        };
        jobs.iter().any(|other| other.action == job.action)
    }

    /// Records the end of a call of the machines' command.
    pub fn machine_ended(&mut self, now: Moment, job: &Job, outcome: Outcome) {
        match job.provider {
            Provider::Hetzner => self.hetzner.machine_ended(job, outcome),
            Provider::Digitalocean => self.digitalocean.machine_ended(job, outcome),
        }
        self.tick(now);
    }

    /// A call of a test, which no contract limits.
    pub fn call(&self, now: Moment, body: Value) -> Call {
        Call {
            now,
            action_ms: self.settings.action_ms,
            networks_ms: self.settings.networks_ms,
            origin: self.settings.links_origin.clone(),
            path: String::new(),
            parameters: Vec::new(),
            query: json!({}),
            body,
        }
    }

    /// Creates a resource as another user of the account may have.
    ///
    /// # Errors
    ///
    /// The provider refuses it.
    pub fn foreign(&mut self, now: Moment, provider: Provider, kind: &str, body: Value) -> Handled {
        let call = self.call(now, body);
        match provider {
            Provider::Hetzner => self.hetzner.foreign(kind, &call),
            Provider::Digitalocean => self.digitalocean.foreign(kind, &call),
        }
    }

    /// The answer with the headers of the rate limit, and whether the request is forbidden to clients.
    fn answer(&mut self, tables: &Tables, now: Moment, request: &Request, processes: bool) -> (Reply, bool) {
        let contract = tables.contract(request.provider);
        let found = contract_path(request).map_or(Found::Unknown, |path| contract.find(&request.method, path));
        let endpoint = match &found {
            Found::Endpoint(endpoint, _) => Some(*endpoint),
            _ => None,
        };
        let forbidden = endpoint.is_some_and(|endpoint| endpoint.forbidden.is_some());
        let limited = self.admit(request).and_then(|()| self.limit(now, request));
        let reply = limited.and_then(|()| match processes {
            true => self.process(tables, now, request, found),
            false => Ok(Reply::empty()),
        });
        let mut reply = reply.unwrap_or_else(|problem| problem.reply(request.provider));
        let violations = if processes { contract.answer(endpoint, &reply) } else { Vec::new() };
        if !violations.is_empty() {
            reply = self.violated(request, &violations);
        }
        reply.headers.extend(self.limit_headers(now, request.provider, reply.status));
        (reply, forbidden)
    }

    fn violated(&mut self, request: &Request, violations: &[Violation]) -> Reply {
        let list: Vec<String> = violations.iter().map(|one| format!("{}: {}", one.field, one.message)).collect();
        let reason =
            format!("{} {}: the answer violates the contract: {}", request.method, request.path, list.join("; "));
        self.log.violations.push(reason.clone());
        Problem::new(500, "test_cloud_bug", reason).reply(request.provider)
    }

    /// Refuses a request without a token that allows it.
    fn admit(&self, request: &Request) -> Result<(), Problem> {
        let token = request.authorization.as_deref().and_then(|header| header.strip_prefix("Bearer "));
        let reads = request.method == "GET";
        let hetzner = request.provider == Provider::Hetzner;
        match token {
            Some(token) if token == self.settings.token => Ok(()),
            Some(token) if token == self.settings.read_token && reads => Ok(()),
            Some(token) if token == self.settings.read_token && hetzner => {
                Err(Problem::new(401, "token_readonly", "the token may only read"))
            }
            Some(token) if token == self.settings.read_token => {
                Err(Problem::new(403, "forbidden", "the token does not have the scope for this request"))
            }
            _ => Err(Problem::new(401, "unauthorized", "the token is missing or unknown")),
        }
    }

    fn limit(&mut self, now: Moment, request: &Request) -> Result<(), Problem> {
        match request.provider {
            Provider::Hetzner if self.hetzner.bucket.take(now) => Ok(()),
            Provider::Hetzner => Err(Problem::new(429, "rate_limit_exceeded", "the hourly limit is used up")),
            Provider::Digitalocean => self.digitalocean.limit(now, request),
        }
    }

    fn limit_headers(&self, now: Moment, provider: Provider, status: u16) -> Vec<(&'static str, String)> {
        match provider {
            Provider::Hetzner => self.hetzner.bucket.headers(now),
            Provider::Digitalocean => self.digitalocean.limit_headers(now, status),
        }
    }

    fn process(&mut self, tables: &Tables, now: Moment, request: &Request, found: Found<'_>) -> Handled {
        let provider = request.provider;
        let (endpoint, parameters) = match found {
            Found::Endpoint(endpoint, parameters) => (endpoint, parameters),
            Found::OtherMethod if provider == Provider::Hetzner => {
                return Err(Problem::new(405, "method_not_allowed", "the path does not have this method"));
            }
            Found::OtherMethod | Found::Unknown => return Err(Problem::new(404, "not_found", "no such path")),
        };
        if endpoint.forbidden.is_some() {
            return Err(Problem::new(403, "forbidden", "the test cloud refuses this request"));
        }
        let call = self.checked(tables.contract(provider), now, request, endpoint, parameters)?;
        let missing = || Problem::new(500, "test_cloud_bug", "the endpoint has no handler");
        match provider {
            Provider::Hetzner => {
                let handler = tables.hetzner.handler(&endpoint.method, &endpoint.path).ok_or_else(missing)?;
                handler(&mut self.hetzner, &call)
            }
            Provider::Digitalocean => {
                let handler = tables.digitalocean.handler(&endpoint.method, &endpoint.path).ok_or_else(missing)?;
                handler(&mut self.digitalocean, &call)
            }
        }
    }

    /// The request as a call, if it keeps to the contract.
    fn checked(
        &mut self,
        contract: &Contract,
        now: Moment,
        request: &Request,
        endpoint: &Endpoint,
        parameters: Vec<String>,
    ) -> Result<Call, Problem> {
        let provider = request.provider;
        let body = match request.body.as_slice() {
            [] => None,
            bytes => match serde_json::from_slice::<Value>(bytes) {
                Ok(value) => Some(value),
                Err(error) => {
                    self.log.refused += 1;
                    let code = if provider == Provider::Hetzner { "json_error" } else { "bad_request" };
                    return Err(Problem::new(400, code, format!("the body is not JSON: {error}")));
                }
            },
        };
        let (query, mut violations) = contract.query(endpoint, &request.query);
        violations.extend(contract.body(endpoint, body.as_ref()));
        if !violations.is_empty() {
            self.log.refused += 1;
            return Err(match provider {
                Provider::Hetzner => hetzner::violated(&violations),
                Provider::Digitalocean => digitalocean::violated(&violations),
            });
        }
        let body = body.unwrap_or(Value::Object(Map::new()));
        Ok(Call { path: request.path.clone(), parameters, query, ..self.call(now, body) })
    }
}

/// The content of an answer as bytes, with its media type.
pub fn encode(body: &Body) -> (Vec<u8>, Option<&'static str>) {
    match body {
        Body::Empty => (Vec::new(), None),
        Body::Json(value) => (value.to_string().into_bytes(), Some("application/json")),
        Body::Html(text) => (text.clone().into_bytes(), Some("text/html")),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::collections::BTreeSet;

    use super::tables;

    #[test]
    fn every_endpoint_of_a_contract_has_a_handler_and_every_handler_an_endpoint() {
        let tables = tables().unwrap();
        let routes: [BTreeSet<_>; 2] =
            [tables.hetzner.endpoints().collect(), tables.digitalocean.endpoints().collect()];
        for (contract, routes) in tables.contracts.iter().zip(routes) {
            let wanted = contract.endpoints().iter().filter(|endpoint| endpoint.forbidden.is_none());
            let wanted: BTreeSet<_> =
                wanted.map(|endpoint| (endpoint.method.as_str(), endpoint.path.as_str())).collect();
            assert_eq!(wanted, routes);
        }
    }

    #[test]
    fn every_schema_of_the_contracts_compiles() {
        assert!(tables().unwrap().contracts.iter().all(crate::contract::Contract::compiles));
    }
}
