//! Metrics and health over HTTP, on loopback.

use std::{convert::Infallible, io, net::SocketAddr, sync::Arc, time::Duration};

use http_body_util::Full;
use hyper::{
    Method, Request, Response, StatusCode,
    body::{Bytes, Incoming},
    header::{CONTENT_TYPE, HeaderValue},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use tokio::{
    net::TcpListener,
    time::{sleep, timeout},
};

use crate::status::Status;

/// Maximum lifetime of a connection.
const CONNECTION: Duration = Duration::from_secs(30);

/// Serves for ever. If the port is taken, it retries: routing continues without metrics.
pub async fn serve(address: SocketAddr, status: Arc<Status>) {
    loop {
        let result = listen(address, &status).await;
        status.trouble("metrics", result.err().map(|error| format!("{address}: {error}")));
        sleep(Duration::from_secs(5)).await;
    }
}

async fn listen(address: SocketAddr, status: &Arc<Status>) -> io::Result<()> {
    let listener = TcpListener::bind(address).await?;
    status.trouble("metrics", None);
    loop {
        let (stream, _) = listener.accept().await?;
        let status = Arc::clone(status);
        tokio::spawn(async move {
            let service = service_fn(|request: Request<Incoming>| {
                let response = answer(request.method(), request.uri().path(), &status);
                async { Ok::<_, Infallible>(response) }
            });
            // A client that disconnects needs no error.
            let _ = timeout(CONNECTION, http1::Builder::new().serve_connection(TokioIo::new(stream), service)).await;
        });
    }
}

fn answer(method: &Method, path: &str, status: &Status) -> Response<Full<Bytes>> {
    const TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";
    let (code, kind, body) = match (method, path) {
        (&Method::GET, "/metrics") => (StatusCode::OK, TEXT, status.metrics()),
        (&Method::GET, "/status") => (StatusCode::OK, "application/json", status.json()),
        (&Method::GET, "/routing") => (StatusCode::OK, "application/json", status.routing()),
        (&Method::GET, "/healthz") if status.is_healthy() => (StatusCode::OK, TEXT, "ok\n".to_owned()),
        (&Method::GET, "/healthz") => (StatusCode::SERVICE_UNAVAILABLE, TEXT, "not routing\n".to_owned()),
        _ => (StatusCode::NOT_FOUND, TEXT, "paths: /metrics, /status, /routing, /healthz\n".to_owned()),
    };
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = code;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}

#[cfg(test)]
mod tests {
    use hyper::Method;

    use super::{Status, answer};

    #[test]
    fn healthy_means_that_haproxy_routes_with_or_without_etcd() {
        let status = Status::new();
        assert_eq!(answer(&Method::GET, "/healthz", &status).status(), 503);
        status.with(|facts| facts.haproxy = true);
        assert_eq!(answer(&Method::GET, "/healthz", &status).status(), 200);
        assert_eq!(answer(&Method::GET, "/metrics", &status).status(), 200);
        assert_eq!(answer(&Method::POST, "/metrics", &status).status(), 404);
    }
}
