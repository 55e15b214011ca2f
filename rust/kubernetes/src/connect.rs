//! Client of one API server, over streams that the caller opens: nothing here knows an address.

use std::{io, os::unix::net::UnixStream, sync::Arc};

use base64::{Engine, engine::general_purpose::STANDARD};
use hyper_util::rt::{TokioExecutor, TokioIo};
use kube::{
    Client, Config,
    client::{Body, ClientBuilder, ConfigExt},
};
use serde_json::json;
use thiserror::Error;
use zeroize::Zeroizing;

/// Opens a stream to the API server. Blocking; called from threads that may block.
pub type Dial = Arc<dyn Fn() -> io::Result<UnixStream> + Send + Sync>;

/// Credentials for the API server, and the trust anchor for its certificate.
pub struct Access {
    /// The CA certificates that may have signed the API server's certificate, PEM.
    pub authority: String,
    /// The user's certificate, PEM.
    pub certificate: String,
    /// The user's private key, PEM.
    pub key: Zeroizing<String>,
}

/// Error building a client.
#[derive(Debug, Error)]
pub enum ConnectError {
    /// The CA certificate is unreadable.
    #[error("the certificate of the Kubernetes authority cannot be read")]
    Authority,
    /// The user's certificate or key is invalid.
    #[error("the certificate for the API server cannot be used")]
    Credentials(#[source] serde_json::Error),
    /// TLS rejects the certificate or key.
    #[error("the certificate for the API server cannot be used")]
    Tls(#[source] kube::Error),
}

/// The address of an API server from its own node, contained in its certificate.
const SERVER: &str = "https://127.0.0.1/";

/// Returns a client of the API server that `dial` connects to. The server's certificate is verified against the
/// authority, and must be valid for the loopback address: all that `dial` reaches is assumed to be one node.
///
/// # Errors
/// The certificates or the key are invalid.
pub fn client(access: &Access, dial: Dial) -> Result<Client, ConnectError> {
    let mut config = Config::new(http::Uri::from_static(SERVER));
    config.root_cert = Some(certificates(&access.authority)?);
    // The key is a secret of the client's own type, which only its deserializer constructs.
    config.auth_info = serde_json::from_value(json!({
        "client-certificate-data": STANDARD.encode(&access.certificate),
        "client-key-data": STANDARD.encode(access.key.as_bytes()),
    }))
    .map_err(ConnectError::Credentials)?;
    let connector = tower::service_fn(move |_: http::Uri| {
        let dial = Arc::clone(&dial);
        async move {
            let stream = tokio::task::spawn_blocking(move || dial()).await.map_err(io::Error::other)??;
            stream.set_nonblocking(true)?;
            tokio::net::UnixStream::from_std(stream).map(TokioIo::new)
        }
    });
    let https = config.rustls_https_connector_with_connector(connector).map_err(ConnectError::Tls)?;
    let http: hyper_util::client::legacy::Client<_, Body> =
        hyper_util::client::legacy::Client::builder(TokioExecutor::new()).build(https);
    let service = tower::ServiceBuilder::new().layer(config.base_uri_layer()).service(http);
    Ok(ClientBuilder::new(service, config.default_namespace).build())
}

fn certificates(pem: &str) -> Result<Vec<Vec<u8>>, ConnectError> {
    let found: Result<Vec<Vec<u8>>, _> = x509_parser::pem::Pem::iter_from_buffer(pem.as_bytes())
        .map(|block| block.map(|block| block.contents))
        .collect();
    found.ok().filter(|found| !found.is_empty()).ok_or(ConnectError::Authority)
}
