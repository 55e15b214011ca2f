//! Listeners: HTTP/1.1 on loopback in front of the state.

use std::sync::Arc;
use std::time::Duration;

use http_body_util::{BodyExt, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request as HttpRequest, Response};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;

use crate::cloud::encode;
use crate::control;
use crate::fault::Delivery;
use crate::message::{Provider, Reply, Request};
use crate::shared::Shared;

/// Largest body, in bytes. The providers refuse large `user_data` themselves.
const BODY: usize = 4 << 20;
/// A connection that a fault lets hang ends after this time.
const HANG: Duration = Duration::from_secs(600);

/// The service of a listener.
#[derive(Debug, Clone, Copy)]
pub enum Service {
    /// The API of a cloud.
    Cloud(Provider),
    /// The API of tests.
    Control,
}

/// The connection is closed without an answer.
#[derive(Debug, thiserror::Error)]
#[error("connection closed without an answer, as ordered")]
struct Closed;

/// Serves until the task is aborted.
pub async fn serve(listener: TcpListener, service: Service, shared: Arc<Shared>) {
    loop {
        // An error concerns one connection only, or passes.
        let Ok((stream, _)) = listener.accept().await else {
            tokio::time::sleep(Duration::from_millis(10)).await;
            continue;
        };
        let shared = Arc::clone(&shared);
        let handle = service_fn(move |request| answer(request, service, Arc::clone(&shared)));
        tokio::spawn(async move {
            // The client sees the end of its connection, and is the only one to see it.
            let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), handle).await;
        });
    }
}

async fn answer(
    request: HttpRequest<Incoming>,
    service: Service,
    shared: Arc<Shared>,
) -> Result<Response<Full<Bytes>>, Closed> {
    let request = read(request, service).await?;
    let (reply, delivery) = match service {
        Service::Cloud(_) => {
            let latency = shared.with(|cloud, _| cloud.settings.latency_ms);
            if latency > 0 {
                tokio::time::sleep(Duration::from_millis(latency)).await;
            }
            let answer = shared.with(|cloud, now| cloud.handle(now, &request));
            shared.after(request.method != "GET");
            answer
        }
        Service::Control => {
            let reply = shared.with(|cloud, now| control::handle(cloud, now, &request));
            shared.after(request.method != "GET");
            (reply, Delivery::Answer)
        }
    };
    match delivery {
        Delivery::Answer => respond(&reply),
        Delivery::Drop => Err(Closed),
        Delivery::Hang => {
            tokio::time::sleep(HANG).await;
            Err(Closed)
        }
    }
}

async fn read(request: HttpRequest<Incoming>, service: Service) -> Result<Request, Closed> {
    let (parts, body) = request.into_parts();
    let body = Limited::new(body, BODY).collect().await.map_err(|_| Closed)?.to_bytes().to_vec();
    let query = parts.uri.query().unwrap_or_default().split('&').filter(|pair| !pair.is_empty());
    let pair = |pair: &str| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        (decoded(name, true), decoded(value, true))
    };
    Ok(Request {
        provider: match service {
            Service::Cloud(provider) => provider,
            Service::Control => Provider::Hetzner,
        },
        method: parts.method.as_str().to_owned(),
        path: decoded(parts.uri.path(), false),
        query: query.map(pair).collect(),
        authorization: parts.headers.get("authorization").and_then(|value| value.to_str().ok()).map(str::to_owned),
        body,
    })
}

fn respond(reply: &Reply) -> Result<Response<Full<Bytes>>, Closed> {
    let (bytes, kind) = encode(&reply.body);
    let mut response = Response::builder().status(reply.status);
    if let Some(kind) = kind {
        response = response.header("content-type", kind);
    }
    for (name, value) in &reply.headers {
        response = response.header(*name, value);
    }
    response.body(Full::new(Bytes::from(bytes))).map_err(|_| Closed)
}

/// Percent-decoding; a plus is a space in a query.
fn decoded(text: &str, query: bool) -> String {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        let hex = bytes.get(at + 1..at + 3).and_then(|pair| std::str::from_utf8(pair).ok());
        match (byte, hex.and_then(|hex| u8::from_str_radix(hex, 16).ok())) {
            (b'%', Some(value)) => {
                out.push(value);
                at += 3;
                continue;
            }
            (b'+', _) if query => out.push(b' '),
            (byte, _) => out.push(*byte),
        }
        at += 1;
    }
    String::from_utf8_lossy(&out).into_owned()
}

#[cfg(test)]
mod tests {
    use super::decoded;

    #[test]
    fn percent_encoding_is_decoded() {
        let cases =
            [("a%20b+c", true, "a b c"), ("a+b", false, "a+b"), ("%zz%4", false, "%zz%4"), ("%C3%A9", true, "é")];
        for (text, query, expected) in cases {
            assert_eq!(decoded(text, query), expected);
        }
    }
}
