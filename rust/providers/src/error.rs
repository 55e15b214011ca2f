//! Reasons why a provider did not do what was asked of it.

use machinist_text::{bounded, visible};
use thiserror::Error;

/// Longest text of a provider in an error, in bytes.
const LONGEST: usize = 400;

/// Failure of a request to a provider.
#[allow(
    missing_docs,
    reason = "`request` is method and path, `status` the HTTP status, `code` and `message` the provider's own, cleaned"
)]
#[derive(Debug, Error)]
pub enum CloudError {
    /// There is no token.
    #[error("no API token of {provider}")]
    NoToken { provider: &'static str, variable: &'static str },
    /// The token's file cannot be read, or its content is not a token.
    #[error("the API token of {provider} is not usable: {reason}")]
    BadToken { provider: &'static str, variable: &'static str, reason: String },
    /// The endpoint would receive the token in clear text, or is not a URL.
    #[error("{endpoint} is not an API endpoint: {reason}")]
    BadEndpoint { endpoint: String, variable: &'static str, reason: &'static str },
    /// The provider does not know the token.
    #[error("{provider} does not accept the API token ({message})")]
    Unauthorized { provider: &'static str, variable: &'static str, message: String },
    /// The token may only read.
    #[error("the API token of {provider} may not do this ({request}: {message})")]
    ReadOnly { provider: &'static str, variable: &'static str, request: String, message: String },
    /// A limit of the project or account.
    #[error("{provider} refuses more of {what}: the limit is reached ({message})")]
    Quota { provider: &'static str, what: String, message: String },
    /// The type is sold out, or the location is closed to this project.
    #[error("{provider} has none left ({message})")]
    SoldOut { provider: &'static str, message: String },
    /// Another refusal.
    #[error("{provider} refused {request}: {message} ({status} {code})")]
    Refused { provider: &'static str, request: String, status: u16, code: String, message: String },
    /// An action that the provider began did not succeed.
    #[error("{provider} could not {command}: {message} ({code})")]
    Action { provider: &'static str, command: String, code: String, message: String },
    /// An action, or a wait, took too long.
    #[error("{provider} did not finish within {seconds} s: {what}")]
    Slow { provider: &'static str, what: String, seconds: u64 },
    /// The response is not that of the API.
    #[error("{request} was answered by something that is not the API of {provider}: {start}")]
    NotTheApi { provider: &'static str, request: String, start: String },
    /// The response has another shape than the API's documentation says.
    #[error("the response to {request} cannot be read: {reason}")]
    Shape { request: String, reason: String },
    /// There was no response to a request that may be repeated, or the provider is out of order.
    #[error("{provider} cannot be reached: {reason}")]
    Unreachable { provider: &'static str, request: String, reason: String },
    /// There was no response to a request that creates something: it may exist.
    #[error("the response to {request} was lost: {reason}")]
    Lost { request: String, reason: String },
    /// The run ended before it came to this.
    #[error("not begun, because the run ended before")]
    NotBegun,
    /// Something that servers share is missing, so none is created without it.
    #[error("{what} is missing at {provider}")]
    Missing { provider: &'static str, what: String },
    /// The operator interrupted the command.
    #[error("interrupted; what is created stays, and the next run continues with it")]
    Interrupted,
}

impl CloudError {
    /// Returns the way to fix it.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::NoToken { variable, .. } => {
                format!("export {variable}=..., or name a file that holds it: export {variable}_FILE=PATH")
            }
            Self::BadToken { variable, .. } => format!("check {variable}, or the file that {variable}_FILE names"),
            Self::BadEndpoint { variable, .. } => format!("unset {variable}, or write https://HOST/PATH"),
            Self::Unauthorized { variable, .. } => {
                format!("make a new token in the provider's console, and export it as {variable}")
            }
            Self::ReadOnly { variable, .. } => {
                format!("make a token that may read and write, and export it as {variable}")
            }
            Self::Quota { .. } => {
                "request a higher limit in the provider's console, or remove what is not needed".to_owned()
            }
            Self::SoldOut { .. } => {
                "write another type or location in machines.nix; `machinist provision --plan` lists them".to_owned()
            }
            Self::NotTheApi { .. } => "a proxy or a login page answers; check HTTPS_PROXY and the network".to_owned(),
            Self::Shape { .. } => "the API has changed; look for a newer machinist".to_owned(),
            Self::NotBegun => return None,
            Self::Slow { .. } | Self::Action { .. } | Self::Lost { .. } | Self::Missing { .. } | Self::Interrupted => {
                "run the same command again: it continues with what exists".to_owned()
            }
            Self::Unreachable { .. } => "check the network, then run the same command again".to_owned(),
            Self::Refused { .. } => return None,
        };
        Some(hint)
    }

    /// Returns true if the request may have had an effect that is not known.
    #[must_use]
    pub const fn is_lost(&self) -> bool {
        matches!(self, Self::Lost { .. })
    }

    /// Returns true if the provider says that the thing does not exist.
    #[must_use]
    pub const fn is_not_found(&self) -> bool {
        matches!(self, Self::Refused { status: 404, .. })
    }

    /// Returns true if no other server of the same run could be created either.
    #[must_use]
    pub const fn is_final_for_all(&self) -> bool {
        matches!(
            self,
            Self::NoToken { .. }
                | Self::BadToken { .. }
                | Self::BadEndpoint { .. }
                | Self::Unauthorized { .. }
                | Self::ReadOnly { .. }
                | Self::Quota { .. }
                | Self::NotTheApi { .. }
                | Self::Interrupted
        )
    }
}

/// Returns text of a provider in a form that is safe to print: one line, bounded, without control characters.
#[must_use]
pub fn cleaned(text: &str) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    bounded(&visible(&line), LONGEST).into_owned()
}
