//! The record of requests and answers.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::message::{Body, Provider, Reply, Request};
use crate::time::Moment;

/// Entries that are kept; the oldest go first.
const KEPT: usize = 20_000;

/// One request with its answer.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Entry {
    /// The cloud.
    pub provider: Provider,
    /// Milliseconds since 1970.
    pub at: Moment,
    /// Upper case.
    pub method: String,
    /// Without the query.
    pub path: String,
    /// Names and values.
    pub query: Vec<(String, String)>,
    /// The header with its token masked; null without one.
    pub authorization: Option<String>,
    /// JSON, or the text if it is not JSON; null without a body.
    pub request: Value,
    /// HTTP status.
    pub status: u16,
    /// JSON, or the text of HTML; null without a body.
    pub answer: Value,
    /// `answered`, `dropped` or `hung`.
    pub delivery: String,
    /// True for a request that a client must never send.
    pub forbidden: bool,
}

/// The record, with its counts.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Log {
    /// Oldest first.
    pub entries: Vec<Entry>,
    /// Requests since the start, with those that are not kept any more.
    pub requests: u64,
    /// Requests that a client must never send.
    pub forbidden: u64,
    /// Requests that the contract refused.
    pub refused: u64,
    /// Answers of ours that violate the contract, with the reason: a bug of the test cloud.
    pub violations: Vec<String>,
}

impl Log {
    /// Adds a request with its answer.
    pub fn add(&mut self, request: &Request, at: Moment, reply: &Reply, delivery: &str, forbidden: bool) {
        self.requests += 1;
        self.forbidden += u64::from(forbidden);
        if self.entries.len() >= KEPT {
            self.entries.remove(0);
        }
        self.entries.push(Entry {
            provider: request.provider,
            at,
            method: request.method.clone(),
            path: request.path.clone(),
            query: request.query.clone(),
            authorization: request.authorization.as_deref().map(masked),
            request: content(&request.body),
            status: reply.status,
            answer: match &reply.body {
                Body::Empty => Value::Null,
                Body::Json(value) => value.clone(),
                Body::Html(text) => Value::String(text.clone()),
            },
            delivery: delivery.to_owned(),
            forbidden,
        });
    }
}

fn masked(header: &str) -> String {
    header.split_once(' ').map_or_else(|| "***".to_owned(), |(scheme, _)| format!("{scheme} ***"))
}

fn content(body: &[u8]) -> Value {
    if body.is_empty() {
        return Value::Null;
    }
    serde_json::from_slice(body).unwrap_or_else(|_| Value::String(String::from_utf8_lossy(body).into_owned()))
}
