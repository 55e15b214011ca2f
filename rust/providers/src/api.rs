//! Requests to a provider's API: token, repetition, bounds. Knows no resource.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use reqwest::{Client, Method, Url, header};
use serde_json::Value;
use tokio::{sync::Semaphore, time::Instant};
use zeroize::Zeroizing;

use crate::{
    error::{CloudError, cleaned},
    repeat::{Effect, Next, Outcome, next},
};

/// Time to connect.
const CONNECT: Duration = Duration::from_secs(10);
/// Time for one response.
const RESPONSE: Duration = Duration::from_secs(60);
/// Largest response, in bytes: 50 servers have about 200 KiB.
const LARGEST: usize = 16 << 20;
/// Requests at once.
const PARALLEL: usize = 8;

/// Meaning of a response: provider's error codes to ours.
pub trait Dialect: Send + Sync {
    /// The provider's name for people.
    fn provider(&self) -> &'static str;
    /// Classifies a response other than success.
    fn outcome(&self, reply: &Reply) -> Outcome;
    /// Explains a response other than success.
    fn error(&self, request: &str, reply: &Reply) -> CloudError;
}

/// A complete response.
#[derive(Clone, Debug)]
pub struct Reply {
    /// HTTP status.
    pub status: u16,
    /// JSON of the body; null if there is none.
    pub body: Value,
    /// Seconds of the header `Retry-After`.
    pub retry_after: Option<u64>,
}

/// One request.
#[derive(Clone, Debug)]
pub struct Request {
    /// HTTP method.
    pub method: Method,
    /// Path below the API's base URL, without a leading slash.
    pub path: String,
    /// Parameters in their order; names may recur.
    pub query: Vec<(String, String)>,
    /// JSON body.
    pub body: Option<Value>,
    /// What a second one would do.
    pub effect: Effect,
}

impl Request {
    /// Returns a request that reads.
    #[must_use]
    pub fn get(path: impl Into<String>) -> Self {
        Self { method: Method::GET, path: path.into(), query: Vec::new(), body: None, effect: Effect::Idempotent }
    }

    /// Returns a request that deletes.
    #[must_use]
    pub fn delete(path: impl Into<String>) -> Self {
        Self { method: Method::DELETE, ..Self::get(path) }
    }

    /// Returns a request that creates something.
    #[must_use]
    pub fn create(path: impl Into<String>, body: Value) -> Self {
        Self { method: Method::POST, body: Some(body), effect: Effect::Creates, ..Self::get(path) }
    }

    /// Returns a request for an action that may be repeated: the caller compares the state before.
    #[must_use]
    pub fn action(path: impl Into<String>, body: Value) -> Self {
        Self { effect: Effect::Idempotent, ..Self::create(path, body) }
    }

    /// Adds a parameter.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl ToString) -> Self {
        self.query.push((name.to_owned(), value.to_string()));
        self
    }

    fn words(&self) -> String {
        format!("{} /{}", self.method, self.path)
    }
}

/// Settings of a client.
#[derive(Clone)]
pub struct Settings {
    /// Base URL of the API.
    pub endpoint: Url,
    /// The token.
    pub token: Zeroizing<String>,
    /// True if the operator has interrupted the command.
    pub interrupted: Arc<dyn Fn() -> bool + Send + Sync>,
    /// Length of a second of waiting; shorter in tests.
    pub second: Duration,
}

/// Client of an API. Shared by reference between tasks.
pub struct Api {
    client: Client,
    settings: Settings,
    dialect: Box<dyn Dialect>,
    lane: Semaphore,
    requests: AtomicU64,
}

impl Api {
    /// Creates a client.
    ///
    /// # Errors
    /// TLS cannot be set up, or the token cannot be a header.
    pub fn new(settings: Settings, dialect: Box<dyn Dialect>) -> Result<Self, CloudError> {
        let provider = dialect.provider();
        let failed = |reason: String| CloudError::Unreachable { provider, request: "set up TLS".to_owned(), reason };
        let mut bearer = header::HeaderValue::from_str(&format!("Bearer {}", settings.token.as_str()))
            .map_err(|error| failed(error.to_string()))?;
        bearer.set_sensitive(true);
        let headers = [(header::AUTHORIZATION, bearer)].into_iter().collect();
        let client = Client::builder()
            .user_agent(concat!("machinist/", env!("CARGO_PKG_VERSION")))
            .default_headers(headers)
            .connect_timeout(CONNECT)
            .timeout(RESPONSE)
            // A redirect would take the token to another host.
            .redirect(reqwest::redirect::Policy::none());
        let client = if settings.endpoint.scheme() == "http" { client.no_proxy() } else { client };
        let client = client.build().map_err(|error| failed(error.to_string()))?;
        let lane = Semaphore::new(PARALLEL);
        Ok(Self { client, settings, dialect, lane, requests: AtomicU64::new(0) })
    }

    /// Returns the provider's name for people.
    #[must_use]
    pub fn provider(&self) -> &'static str {
        self.dialect.provider()
    }

    /// Returns the number of requests sent so far.
    #[must_use]
    pub fn requests(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }

    /// Waits for a number of seconds, or until the command is interrupted.
    ///
    /// # Errors
    /// The command was interrupted.
    pub async fn pause(&self, seconds: f64) -> Result<(), CloudError> {
        let end = Instant::now() + self.settings.second.mul_f64(seconds);
        loop {
            if (self.settings.interrupted)() {
                return Err(CloudError::Interrupted);
            }
            let rest = end.saturating_duration_since(Instant::now());
            if rest.is_zero() {
                return Ok(());
            }
            tokio::time::sleep(rest.min(Duration::from_millis(100))).await;
        }
    }

    /// Sends the request, again as often as that is safe. Returns the body of a success.
    ///
    /// # Errors
    /// The provider refused it, did not answer, or the command was interrupted. [`CloudError::Lost`] if the request
    /// creates something and its response was lost.
    pub async fn send(&self, request: &Request) -> Result<Value, CloudError> {
        let begun = Instant::now();
        let mut attempt = 1;
        loop {
            if (self.settings.interrupted)() {
                return Err(CloudError::Interrupted);
            }
            let (outcome, error) = match self.once(request).await {
                Ok(reply) if (200..300).contains(&reply.status) => return Ok(reply.body),
                Ok(reply) => (self.dialect.outcome(&reply), self.dialect.error(&request.words(), &reply)),
                Err(failure) => failure,
            };
            let waited = begun.elapsed().as_secs_f64() / self.settings.second.as_secs_f64().max(1e-6);
            match next(request.effect, outcome, attempt, waited as u64) {
                Next::Stop => return Err(error),
                Next::Look => {
                    return Err(CloudError::Lost { request: request.words(), reason: error.to_string() });
                }
                Next::Again(pause) => self.pause(pause.as_secs_f64()).await?,
            }
            attempt += 1;
        }
    }

    async fn once(&self, request: &Request) -> Result<Reply, (Outcome, CloudError)> {
        let provider = self.dialect.provider();
        let unreachable = |error: &reqwest::Error| CloudError::Unreachable {
            provider,
            request: request.words(),
            reason: cleaned(&chain(error)),
        };
        let _lane = self.lane.acquire().await;
        self.requests.fetch_add(1, Ordering::Relaxed);
        let mut url = self.settings.endpoint.clone();
        url.set_path(&format!("{}/{}", url.path().trim_end_matches('/'), request.path));
        if !request.query.is_empty() {
            url.query_pairs_mut().extend_pairs(&request.query);
        }
        let mut builder = self.client.request(request.method.clone(), url);
        if let Some(body) = &request.body {
            builder = builder.json(body);
        }
        let response = builder.send().await.map_err(|error| {
            let outcome = if error.is_connect() { Outcome::NotSent } else { Outcome::Unknown };
            (outcome, unreachable(&error))
        })?;
        let status = response.status().as_u16();
        let retry_after =
            response.headers().get(header::RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
        let text = body(response).await.map_err(|error| (Outcome::Unknown, unreachable(&error)))?;
        let not_the_api = || CloudError::NotTheApi { provider, request: request.words(), start: cleaned(&text) };
        // A gateway's page, or a proxy's: nothing is known about the request if it is one of a broken gateway.
        let body = match text.trim() {
            "" => Value::Null,
            text => serde_json::from_str(text).map_err(|_| {
                let outcome = if status >= 500 { Outcome::Unknown } else { Outcome::Final };
                (outcome, not_the_api())
            })?,
        };
        Ok(Reply { status, body, retry_after })
    }
}

/// Reads a body up to the largest size; the rest is cut, which is no JSON.
async fn body(mut response: reqwest::Response) -> Result<String, reqwest::Error> {
    let mut bytes = Vec::new();
    while let Some(chunk) = response.chunk().await? {
        if bytes.len() + chunk.len() > LARGEST {
            break;
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Returns an error with its causes, without the URL, which would repeat the request.
fn chain(error: &reqwest::Error) -> String {
    let mut words = Vec::new();
    let mut cause: Option<&dyn std::error::Error> = std::error::Error::source(error);
    while let Some(error) = cause {
        words.push(error.to_string());
        cause = error.source();
    }
    if words.is_empty() { "no response".to_owned() } else { words.join(": ") }
}
