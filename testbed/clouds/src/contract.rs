//! The contract: endpoints, fields, enums and statuses of a provider's API, and whether a request or an answer keeps to it.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use jsonschema::Validator;
use jsonschema::error::ValidationErrorKind;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::message::{Body, Provider, Reply};

/// The table of one provider, `contract/NAME.json`.
pub struct Contract {
    /// The document that the table was compared with.
    pub document: Value,
    /// Differences from the document, each with its reason.
    pub deviations: Vec<Value>,
    endpoints: Vec<Endpoint>,
    definitions: Value,
    error: OnceLock<Option<Validator>>,
}

/// One method of one path.
pub struct Endpoint {
    /// Upper case.
    pub method: String,
    /// With parameters in braces: `/servers/{id}`.
    pub path: String,
    /// Why a client must never send this request.
    pub forbidden: Option<String>,
    /// Schemas of the query's parameters.
    pub query: BTreeMap<String, Value>,
    body: Option<Value>,
    answers: BTreeMap<u16, Option<Value>>,
    checks: Checks,
}

/// Compiled at the first use: compiling all of them takes longer than most tests.
#[derive(Default)]
struct Checks {
    query: OnceLock<Option<Validator>>,
    body: OnceLock<Option<Validator>>,
    answers: OnceLock<BTreeMap<u16, Option<Validator>>>,
}

/// A field that does not keep to the contract.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// The field, with dots and indices: `public_net.ipv4`, `rules.0.port`.
    pub field: String,
    /// For people.
    pub message: String,
}

/// The result of looking for an endpoint.
pub enum Found<'a> {
    /// The endpoint with the values of the path's parameters.
    Endpoint(&'a Endpoint, Vec<String>),
    /// The path has other methods.
    OtherMethod,
    /// No endpoint has this path.
    Unknown,
}

#[derive(Deserialize)]
struct Table {
    document: Value,
    deviations: Vec<Value>,
    #[serde(rename = "$defs")]
    definitions: Value,
    endpoints: Vec<Row>,
}

#[derive(Deserialize)]
struct Row {
    method: String,
    path: String,
    forbidden: Option<String>,
    #[serde(default)]
    query: BTreeMap<String, Value>,
    body: Option<Value>,
    answers: BTreeMap<u16, Option<Value>>,
}

impl Contract {
    /// The text of a provider's table.
    pub fn source(provider: Provider) -> &'static str {
        match provider {
            Provider::Hetzner => include_str!("../contract/hetzner.json"),
            Provider::Digitalocean => include_str!("../contract/digitalocean.json"),
        }
    }

    /// Reads a provider's table.
    ///
    /// # Errors
    ///
    /// The table is not valid JSON of this shape.
    pub fn load(provider: Provider) -> Result<Contract, serde_json::Error> {
        let table: Table = serde_json::from_str(Contract::source(provider))?;
        let endpoints = table.endpoints.into_iter().map(|row| Endpoint {
            method: row.method,
            path: row.path,
            forbidden: row.forbidden,
            query: row.query,
            body: row.body,
            answers: row.answers,
            checks: Checks::default(),
        });
        Ok(Contract {
            document: table.document,
            deviations: table.deviations,
            endpoints: endpoints.collect(),
            definitions: table.definitions,
            error: OnceLock::new(),
        })
    }

    /// All endpoints, in the order of the table.
    pub fn endpoints(&self) -> &[Endpoint] {
        &self.endpoints
    }

    /// The endpoint for a method and a path.
    pub fn find(&self, method: &str, path: &str) -> Found<'_> {
        let mut other = false;
        for endpoint in &self.endpoints {
            if let Some(parameters) = parameters(&endpoint.path, path) {
                if endpoint.method == method {
                    return Found::Endpoint(endpoint, parameters);
                }
                other = true;
            }
        }
        if other { Found::OtherMethod } else { Found::Unknown }
    }

    /// The query as an object whose values have the types of the contract, with what is wrong with it.
    pub fn query(&self, endpoint: &Endpoint, query: &[(String, String)]) -> (Value, Vec<Violation>) {
        let mut object = Map::new();
        let mut violations = Vec::new();
        for (name, text) in query {
            let value = match endpoint.query.get(name) {
                Some(schema) if schema["type"] == "array" => typed(&self.resolve(&schema["items"])["type"], text),
                Some(schema) => typed(&self.resolve(schema)["type"], text),
                None => Value::String(text.clone()),
            };
            let repeats = endpoint.query.get(name).is_some_and(|schema| schema["type"] == "array");
            match object.get_mut(name) {
                Some(Value::Array(values)) if repeats => values.push(value),
                Some(_) => violations.push(Violation { field: name.clone(), message: "given more than once".into() }),
                None if repeats => drop(object.insert(name.clone(), json!([value]))),
                None => drop(object.insert(name.clone(), value)),
            }
        }
        let object = Value::Object(object);
        let schema = json!({"type": "object", "properties": endpoint.query, "additionalProperties": false});
        let check = endpoint.checks.query.get_or_init(|| self.compile(&schema));
        violations.extend(violations_of(check.as_ref(), &object));
        (object, violations)
    }

    /// The violations of a request's body; `None` is a request without one.
    pub fn body(&self, endpoint: &Endpoint, body: Option<&Value>) -> Vec<Violation> {
        let Some(schema) = &endpoint.body else {
            // Clients send `{}` where an action takes no arguments.
            let empty = body.is_none_or(|body| body.as_object().is_some_and(Map::is_empty));
            let violation = Violation { field: "body".into(), message: "this request takes no body".into() };
            return if empty { Vec::new() } else { vec![violation] };
        };
        let Some(body) = body else {
            return vec![Violation { field: "body".into(), message: "missing".into() }];
        };
        let check = endpoint.checks.body.get_or_init(|| self.compile(schema));
        violations_of(check.as_ref(), body)
    }

    /// The violations of an answer of ours: an unexpected status, or JSON of another shape.
    pub fn answer(&self, endpoint: Option<&Endpoint>, reply: &Reply) -> Vec<Violation> {
        let stated = endpoint.and_then(|endpoint| {
            let checks = endpoint.checks.answers.get_or_init(|| {
                let compile = |schema: &Option<Value>| schema.as_ref().and_then(|schema| self.compile(schema));
                endpoint.answers.iter().map(|(status, schema)| (*status, compile(schema))).collect()
            });
            let schema = endpoint.answers.get(&reply.status)?;
            Some((schema.is_some(), checks.get(&reply.status)?.as_ref()))
        });
        match (stated, &reply.body) {
            (Some((false, _)), Body::Empty) => Vec::new(),
            (Some((true, check)), Body::Json(value)) => violations_of(check, value),
            (_, Body::Json(value)) if reply.status >= 400 => {
                let check = self.error.get_or_init(|| self.compile(&json!({"$ref": "#/$defs/Error"})));
                violations_of(check.as_ref(), value)
            }
            _ => vec![Violation {
                field: "status".into(),
                message: format!("{} with this content is not in the contract", reply.status),
            }],
        }
    }

    /// Every schema compiles.
    pub fn compiles(&self) -> bool {
        self.endpoints.iter().all(|endpoint| {
            let schemas = endpoint.query.values().chain(endpoint.body.iter());
            schemas.chain(endpoint.answers.values().flatten()).all(|schema| self.compile(schema).is_some())
        })
    }

    fn resolve<'a>(&'a self, schema: &'a Value) -> &'a Value {
        let name = schema["$ref"].as_str().and_then(|reference| reference.strip_prefix("#/$defs/"));
        name.map_or(schema, |name| &self.definitions[name])
    }

    fn compile(&self, schema: &Value) -> Option<Validator> {
        let mut schema = schema.as_object()?.clone();
        schema.insert("$defs".into(), self.definitions.clone());
        jsonschema::options().should_validate_formats(true).build(&Value::Object(schema)).ok()
    }
}

/// The values of a template's parameters if the path fits it.
fn parameters(template: &str, path: &str) -> Option<Vec<String>> {
    let wanted: Vec<&str> = template.split('/').collect();
    let given: Vec<&str> = path.split('/').collect();
    if wanted.len() != given.len() {
        return None;
    }
    let mut values = Vec::new();
    for (wanted, given) in wanted.iter().zip(given) {
        if wanted.starts_with('{') && !given.is_empty() {
            values.push(given.to_owned());
        } else if *wanted != given {
            return None;
        }
    }
    Some(values)
}

/// A text of the query as the type that a schema names; the text itself if it is not of that type.
fn typed(kind: &Value, text: &str) -> Value {
    let parsed = match kind.as_str() {
        Some("integer") => text.parse::<i64>().ok().map(Value::from),
        Some("boolean") => text.parse::<bool>().ok().map(Value::from),
        _ => None,
    };
    parsed.unwrap_or_else(|| Value::String(text.to_owned()))
}

fn violations_of(check: Option<&Validator>, value: &Value) -> Vec<Violation> {
    let Some(check) = check else {
        return vec![Violation { field: "contract".into(), message: "its schema does not compile".into() }];
    };
    check.iter_errors(value).flat_map(|error| violation(error.instance_path().as_str(), error.kind(), &error)).collect()
}

fn violation(pointer: &str, kind: &ValidationErrorKind, message: &impl ToString) -> Vec<Violation> {
    let below = |name: &str| {
        let path: Vec<&str> = pointer.split('/').filter(|part| !part.is_empty()).chain([name]).collect();
        path.join(".").trim_end_matches('.').to_owned()
    };
    let one = |name: &str, message: &str| Violation { field: below(name), message: message.to_owned() };
    match kind {
        ValidationErrorKind::AdditionalProperties { unexpected } => {
            unexpected.iter().map(|name| one(name, "unknown field")).collect()
        }
        ValidationErrorKind::Required { property } => vec![one(property.as_str().unwrap_or_default(), "missing")],
        _ => vec![Violation { field: below(""), message: message.to_string() }],
    }
}
