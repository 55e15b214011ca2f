//! Classification of transient failures, and retries with exponential backoff.

use std::{future::Future, time::Duration};

use kube::Error;
use tokio::time::Instant;

/// The first pause; each later one is twice as long.
const FIRST: Duration = Duration::from_millis(200);
/// The longest pause.
const LONGEST: Duration = Duration::from_secs(4);
/// Timeout of one request. The API server itself cancels most after a minute.
const REQUEST: Duration = Duration::from_secs(30);

/// True if a retry may succeed: no response, the server is overloaded or starting, or a webhook that it calls is not up
/// yet.
#[must_use]
pub fn is_transient(error: &Error) -> bool {
    match error {
        Error::Api(status) => {
            matches!(status.code, 408 | 429 | 502 | 503 | 504)
                || (status.code == 500 && !status.message.contains("field not declared in schema"))
                // Right after the first start, the server's own namespaces are missing for a moment.
                || (status.code == 404 && status.message.starts_with("namespaces \"kube-"))
        }
        Error::HyperError(_) | Error::Service(_) => true,
        _ => false,
    }
}

/// Sends the request until it succeeds or fails permanently, at most until `deadline`; then returns the last error.
///
/// # Errors
/// The server's last error, or no response.
pub async fn until<T, F: Future<Output = Result<T, Error>>>(
    deadline: Instant,
    mut send: impl FnMut() -> F,
) -> Result<T, Error> {
    let mut pause = FIRST;
    loop {
        let answer = match tokio::time::timeout(REQUEST, send()).await {
            Ok(answer) => answer,
            Err(elapsed) => Err(Error::Service(elapsed.into())),
        };
        match answer {
            Err(error) if is_transient(&error) && Instant::now() + pause < deadline => {
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(LONGEST);
            }
            answer => return answer,
        }
    }
}
