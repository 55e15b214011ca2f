//! Which failures pass by themselves, and how long that is waited for.

use std::{future::Future, time::Duration};

use kube::Error;
use tokio::time::Instant;

/// The first pause; each is twice as long as the one before.
const FIRST: Duration = Duration::from_millis(200);
/// The longest pause.
const LONGEST: Duration = Duration::from_secs(4);
/// How long one request may take. The API server itself gives up on most after a minute.
const REQUEST: Duration = Duration::from_secs(30);

/// Whether the same request may succeed later: nobody answered, the server is overloaded or not up yet, or somebody whom it asks
/// (a webhook) is not there yet.
#[must_use]
pub fn is_transient(error: &Error) -> bool {
    match error {
        Error::Api(status) => {
            matches!(status.code, 408 | 429 | 502 | 503 | 504)
                || (status.code == 500 && !status.message.contains("field not declared in schema"))
                // Right after the first start, the server's own namespaces are not there for a moment.
                || (status.code == 404 && status.message.starts_with("namespaces \"kube-"))
        }
        Error::HyperError(_) | Error::Service(_) => true,
        _ => false,
    }
}

/// Asks until there is an answer that counts, at the latest until `deadline`; then the last error stands.
///
/// # Errors
/// The last answer of the server, or that there was none.
pub async fn until<T, F: Future<Output = Result<T, Error>>>(
    deadline: Instant,
    mut ask: impl FnMut() -> F,
) -> Result<T, Error> {
    let mut pause = FIRST;
    loop {
        let answer = match tokio::time::timeout(REQUEST, ask()).await {
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
