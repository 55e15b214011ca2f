//! A client of one API server, over streams that somebody else opens: nothing here knows an address.

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

/// Opens a stream to the API server. Blocks, and is called from threads that may.
pub type Dial = Arc<dyn Fn() -> io::Result<UnixStream> + Send + Sync>;

/// Who asks, and whom it believes.
pub struct Access {
    /// The authorities that may have signed the API server's certificate, PEM.
    pub authority: String,
    /// The user's certificate, PEM.
    pub certificate: String,
    /// The user's private key, PEM.
    pub key: Zeroizing<String>,
}

/// Why there is no client.
#[derive(Debug, Error)]
pub enum ConnectError {
    /// The authority's certificate cannot be read.
    #[error("the certificate of the Kubernetes authority cannot be read")]
    Authority,
    /// The user's certificate or key cannot be used.
    #[error("the certificate for the API server cannot be used")]
    Credentials(#[source] serde_json::Error),
    /// TLS does not take what it is given.
    #[error("the certificate for the API server cannot be used")]
    Tls(#[source] kube::Error),
}

/// The address of an API server as seen from its own node. It is in its certificate.
const SERVER: &str = "https://127.0.0.1/";

/// Returns a client of the API server that `dial` leads to. Its certificate is checked against the authority, and must be for the
/// loopback address: all that is behind `dial` is believed to be one node.
///
/// # Errors
/// The certificates or the key cannot be used.
pub fn client(access: &Access, dial: Dial) -> Result<Client, ConnectError> {
    let mut config = Config::new(http::Uri::from_static(SERVER));
    config.root_cert = Some(certificates(&access.authority)?);
    // The key is a secret of the client's own type, which only its deserializer makes.
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
