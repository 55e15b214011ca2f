//! The API of tests: settings, faults, the clock, foreign resources, and what happened.

use serde_json::{Value, json};

use crate::cloud::Cloud;
use crate::fault::Fault;
use crate::message::{Handled, Problem, Provider, Reply, Request, number};
use crate::time::Moment;

/// Answers a request of a test.
pub fn handle(cloud: &mut Cloud, now: Moment, request: &Request) -> Reply {
    cloud.tick(now);
    let body = match request.body.as_slice() {
        [] => Ok(json!({})),
        bytes => serde_json::from_slice::<Value>(bytes),
    };
    let answer = match body {
        Ok(body) => route(cloud, now, request, body),
        Err(error) => Err(wrong(error)),
    };
    answer.unwrap_or_else(|problem| Reply::json(problem.status, json!({"error": problem.message})))
}

fn route(cloud: &mut Cloud, now: Moment, request: &Request, body: Value) -> Handled {
    match (request.method.as_str(), request.path.as_str()) {
        ("GET", "/resources") => Ok(Reply::json(200, resources(cloud, now))),
        ("GET", "/counts") => Ok(Reply::json(200, counts(cloud, now))),
        ("GET", "/log") => Ok(Reply::json(200, json!({"requests": cloud.log.entries}))),
        ("DELETE", "/log") => {
            cloud.log = Default::default();
            Ok(Reply::empty())
        }
        ("GET", "/calls") => Ok(Reply::json(200, calls(cloud))),
        ("GET", "/settings") => Ok(Reply::json(200, settings_json(cloud))),
        ("PATCH", "/settings") => settings(cloud, now, body),
        ("POST", "/faults") => {
            cloud.faults.push(fault(body)?);
            Ok(Reply::json(201, json!({"faults": cloud.faults})))
        }
        ("GET", "/faults") => Ok(Reply::json(200, json!({"faults": cloud.faults}))),
        ("DELETE", "/faults") => {
            cloud.faults.clear();
            Ok(Reply::empty())
        }
        ("POST", "/clock") => advance(cloud, now, &body),
        ("POST", "/finish") => {
            cloud.finish(now);
            Ok(Reply::empty())
        }
        ("POST", "/foreign") => foreign(cloud, now, &body),
        ("POST", "/reset") => {
            let rules = (cloud.hetzner.rules.machines, cloud.digitalocean.rules.machines);
            *cloud = Cloud::default();
            (cloud.hetzner.rules.machines, cloud.digitalocean.rules.machines) = rules;
            Ok(Reply::empty())
        }
        (method, path) => Err(Problem::new(404, "not_found", format!("{method} {path} does not exist"))),
    }
}

fn wrong(error: impl std::fmt::Display) -> Problem {
    Problem::new(422, "invalid_input", error.to_string())
}

fn resources(cloud: &Cloud, now: Moment) -> Value {
    json!({"hetzner": cloud.hetzner.resources(), "digitalocean": cloud.digitalocean.resources(now)})
}

fn counts(cloud: &Cloud, now: Moment) -> Value {
    let mut counts = resources(cloud, now);
    for provider in ["hetzner", "digitalocean"] {
        if let Some(kinds) = counts.get_mut(provider).and_then(Value::as_object_mut) {
            for list in kinds.values_mut() {
                *list = json!(list.as_array().map_or(0, Vec::len));
            }
        }
    }
    counts
}

fn calls(cloud: &Cloud) -> Value {
    json!({
        "requests": cloud.log.requests,
        "forbidden": cloud.log.forbidden,
        "refused": cloud.log.refused,
        "violations": cloud.log.violations,
    })
}

fn settings_json(cloud: &Cloud) -> Value {
    json!({
        "settings": cloud.settings,
        "hetzner": cloud.hetzner.rules,
        "digitalocean": cloud.digitalocean.rules,
    })
}

/// Changes the named settings: `settings`, the rules of each cloud, and the state of its rate limit.
fn settings(cloud: &mut Cloud, now: Moment, body: Value) -> Handled {
    let Value::Object(sections) = body else { return Err(wrong("not an object")) };
    for (section, change) in sections {
        match section.as_str() {
            "settings" => cloud.settings = merged(&cloud.settings, &change)?,
            "hetzner" => cloud.hetzner.rules = merged(&cloud.hetzner.rules, &change)?,
            "digitalocean" => cloud.digitalocean.rules = merged(&cloud.digitalocean.rules, &change)?,
            "hetzner_limit" => {
                let number = |field: &str| number(&change, field);
                if let Some(limit) = number("limit") {
                    cloud.hetzner.bucket.limit = limit;
                }
                cloud.hetzner.bucket.set(number("remaining").unwrap_or(cloud.hetzner.bucket.limit), now);
            }
            "digitalocean_limit" => cloud.digitalocean.set_limits(now, &change),
            other => return Err(wrong(format!("{other}: unknown section"))),
        }
    }
    Ok(Reply::json(200, settings_json(cloud)))
}

fn merged<T>(old: &T, change: &Value) -> Result<T, Problem>
where
    T: serde::Serialize + serde::de::DeserializeOwned,
{
    let mut value = serde_json::to_value(old).map_err(wrong)?;
    let changes = change.as_object().ok_or_else(|| wrong("not an object"))?;
    for (name, new) in changes {
        value[name] = new.clone();
    }
    serde_json::from_value(value).map_err(wrong)
}

/// A fault; a misspelt field would silently make another one.
fn fault(body: Value) -> Result<Fault, Problem> {
    const FIELDS: [&str; 10] =
        ["provider", "method", "path", "skip", "times", "kind", "process", "status", "code", "set"];
    let known = |name: &&String| FIELDS.contains(&name.as_str()) || *name == "remove";
    if let Some(name) = body.as_object().into_iter().flat_map(|object| object.keys()).find(|name| !known(name)) {
        return Err(wrong(format!("{name}: unknown field")));
    }
    serde_json::from_value(body).map_err(wrong)
}

fn advance(cloud: &mut Cloud, now: Moment, body: &Value) -> Handled {
    let by = body["advance_ms"].as_i64().filter(|by| *by >= 0).ok_or_else(|| wrong("advance_ms: missing"))?;
    cloud.ahead_ms += by;
    cloud.tick(now + by);
    Ok(Reply::json(200, json!({"now_ms": now + by})))
}

/// `{"provider", "kind", "body"}`: the body as the provider's own request has it.
fn foreign(cloud: &mut Cloud, now: Moment, body: &Value) -> Handled {
    let provider: Provider = serde_json::from_value(body["provider"].clone()).map_err(wrong)?;
    let kind = body["kind"].as_str().ok_or_else(|| wrong("kind: missing"))?;
    cloud.foreign(now, provider, kind, body["body"].clone())
}
