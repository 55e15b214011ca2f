//! Requests, answers and refusals, apart from HTTP.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::time::Moment;

/// One of the two clouds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Provider {
    /// Hetzner Cloud, `/v1`.
    Hetzner,
    /// DigitalOcean, `/v2`.
    Digitalocean,
}

/// A request as it arrived.
#[derive(Debug, Clone)]
pub struct Request {
    /// The cloud whose listener received it.
    pub provider: Provider,
    /// Upper case.
    pub method: String,
    /// Decoded, with its leading slash and without the query.
    pub path: String,
    /// Decoded names and values in their order.
    pub query: Vec<(String, String)>,
    /// The value of the `Authorization` header.
    pub authorization: Option<String>,
    /// The body's bytes; empty without one.
    pub body: Vec<u8>,
}

/// An answer.
#[derive(Debug, Clone, PartialEq)]
pub struct Reply {
    /// HTTP status.
    pub status: u16,
    /// Names in lower case, with their values.
    pub headers: Vec<(&'static str, String)>,
    /// The content.
    pub body: Body,
}

/// The content of an answer.
#[derive(Debug, Clone, PartialEq)]
pub enum Body {
    /// No content, as with status 204.
    Empty,
    /// `application/json`.
    Json(Value),
    /// `text/html`, as a proxy in front of a cloud answers.
    Html(String),
}

impl Reply {
    /// An answer with JSON.
    pub fn json(status: u16, value: Value) -> Reply {
        Reply { status, headers: Vec::new(), body: Body::Json(value) }
    }

    /// Status 204.
    pub fn empty() -> Reply {
        Reply { status: 204, headers: Vec::new(), body: Body::Empty }
    }

    /// The JSON, or null.
    pub fn value(&self) -> &Value {
        match &self.body {
            Body::Json(value) => value,
            Body::Empty | Body::Html(_) => &Value::Null,
        }
    }
}

/// A refusal.
#[derive(Debug, Clone, PartialEq)]
pub struct Problem {
    /// HTTP status.
    pub status: u16,
    /// The provider's code, such as `uniqueness_error` or `unprocessable_entity`.
    pub code: String,
    /// For people.
    pub message: String,
    /// Hetzner's `details`.
    pub details: Option<Value>,
}

impl Problem {
    /// A refusal without details.
    pub fn new(status: u16, code: &str, message: impl Into<String>) -> Problem {
        Problem { status, code: code.to_owned(), message: message.into(), details: None }
    }

    /// The answer in the provider's form.
    pub fn reply(&self, provider: Provider) -> Reply {
        let body = match provider {
            Provider::Hetzner => {
                json!({"error": {"code": self.code, "message": self.message, "details": self.details}})
            }
            Provider::Digitalocean => {
                json!({"id": self.code, "message": self.message, "request_id": "00000000-0000-4000-8000-000000000000"})
            }
        };
        Reply::json(self.status, body)
    }
}

/// A request that kept to the contract, as a handler sees it.
#[derive(Debug, Clone)]
pub struct Call {
    /// The moment of the request.
    pub now: Moment,
    /// The duration of an action, in milliseconds.
    pub action_ms: i64,
    /// The time until the networks of a new droplet are in answers, in milliseconds.
    pub networks_ms: i64,
    /// Origin of the links in answers, such as `https://api.digitalocean.invalid`.
    pub origin: String,
    /// The path of the request, with the prefix of the version.
    pub path: String,
    /// Values of the path's parameters, in their order.
    pub parameters: Vec<String>,
    /// An object: each parameter of the query with the type that the contract gives it.
    pub query: Value,
    /// The JSON of the body, or null.
    pub body: Value,
}

/// The result of a handler.
pub type Handled = Result<Reply, Problem>;

impl Call {
    /// A parameter of the path, or an empty text.
    pub fn parameter(&self, index: usize) -> &str {
        self.parameters.get(index).map_or("", String::as_str)
    }

    /// A text of the body.
    pub fn text(&self, field: &str) -> Option<&str> {
        self.body.get(field)?.as_str()
    }

    /// A text that the contract requires, or an empty one.
    pub fn required(&self, field: &str) -> &str {
        self.text(field).unwrap_or_default()
    }

    /// A number of the body.
    pub fn number(&self, field: &str) -> Option<u64> {
        self.body.get(field)?.as_u64()
    }

    /// A boolean of the body, or the default.
    pub fn flag(&self, field: &str, default: bool) -> bool {
        self.body.get(field).and_then(Value::as_bool).unwrap_or(default)
    }

    /// Elements of a list in the body; none if it is missing or null.
    pub fn list(&self, field: &str) -> &[Value] {
        self.body.get(field).and_then(Value::as_array).map_or(&[], Vec::as_slice)
    }

    /// Texts of a list in the body.
    pub fn texts(&self, field: &str) -> Vec<String> {
        self.list(field).iter().filter_map(Value::as_str).map(str::to_owned).collect()
    }

    /// Numbers of a list in the body.
    pub fn numbers(&self, field: &str) -> Vec<u64> {
        self.list(field).iter().filter_map(Value::as_u64).collect()
    }

    /// A text of the query.
    pub fn query_text(&self, name: &str) -> Option<&str> {
        self.query.get(name)?.as_str()
    }

    /// A number of the query, or the default.
    pub fn query_number(&self, name: &str, default: u64) -> u64 {
        self.query.get(name).and_then(Value::as_u64).unwrap_or(default)
    }
}

/// A number of an object that fits.
pub fn number(value: &Value, field: &str) -> Option<u32> {
    value[field].as_u64().and_then(|number| u32::try_from(number).ok())
}
