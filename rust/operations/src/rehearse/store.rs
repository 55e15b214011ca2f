//! Client of etcd for the load. Each request has a time limit and is never repeated: a client without retries notices
//! what a client with retries would only wait for.

use std::{collections::BTreeSet, time::Duration};

use etcd_client::{
    Certificate, Client as Etcd, ConnectOptions, Error, GetOptions, Identity, SortOrder, SortTarget, TlsOptions,
};
use tokio::time::timeout;
use zeroize::Zeroizing;

/// Time limit of a request: longer than an election (etcd's election timeout is 1 s), so that a request that only waits
/// for one is answered.
const WITHIN: Duration = Duration::from_secs(2);

/// Keys per response.
const PAGE: i64 = 2000;

/// Client certificate of an operator, all PEM.
#[derive(Clone)]
pub struct Credentials {
    /// Authority of etcd's server certificates.
    pub authority: Vec<u8>,
    /// Client certificate.
    pub certificate: Vec<u8>,
    /// Its private key.
    pub key: Zeroizing<Vec<u8>>,
}

/// End of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// etcd acknowledged it.
    Given,
    /// It failed or took too long.
    Missing,
}

/// A client of one member.
pub struct Client {
    url: String,
    options: ConnectOptions,
    connection: Option<Etcd>,
}

impl Client {
    /// Returns a client without a connection.
    pub fn new(url: &str, credentials: &Credentials) -> Self {
        let tls = TlsOptions::new()
            .ca_certificate(Certificate::from_pem(&credentials.authority))
            .identity(Identity::from_pem(&credentials.certificate, &credentials.key[..]));
        let options = ConnectOptions::new()
            .with_tls(tls)
            .with_connect_timeout(Duration::from_secs(1))
            .with_keep_alive(Duration::from_secs(1), Duration::from_secs(1));
        Self { url: url.to_owned(), options, connection: None }
    }

    /// Writes a key.
    pub async fn put(&mut self, key: &str) -> Answer {
        self.query(async |etcd| etcd.put(key, "x", None).await).await.map_or(Answer::Missing, |_| Answer::Given)
    }

    /// Reads a key, linearizably; whether it exists does not matter.
    pub async fn get(&mut self, key: &str) -> Answer {
        self.query(async |etcd| etcd.get(key, None).await).await.map_or(Answer::Missing, |_| Answer::Given)
    }

    /// Reads the names of all keys with the prefix; `None` if a request fails.
    pub async fn keys(&mut self, prefix: &str) -> Option<BTreeSet<String>> {
        let mut found = BTreeSet::new();
        let mut from = prefix.as_bytes().to_vec();
        // The prefix ends with a slash, which `0` follows.
        let end = format!("{}0", prefix.trim_end_matches('/')).into_bytes();
        loop {
            let options = GetOptions::new()
                .with_range(end.clone())
                .with_keys_only()
                .with_limit(PAGE)
                .with_sort(SortTarget::Key, SortOrder::Ascend);
            let page = self.query(async |etcd| etcd.get(from.clone(), Some(options.clone())).await).await?;
            found.extend(page.kvs().iter().filter_map(|pair| pair.key_str().ok().map(str::to_owned)));
            match page.kvs().last() {
                // The smallest key after it.
                Some(last) if page.more() => from = [last.key(), b"\0"].concat(),
                _ => return Some(found),
            }
        }
    }

    async fn query<R>(&mut self, question: impl AsyncFnOnce(&mut Etcd) -> Result<R, Error>) -> Option<R> {
        let response = timeout(WITHIN, async {
            if self.connection.is_none() {
                self.connection = Some(Etcd::connect([&self.url], Some(self.options.clone())).await?);
            }
            match &mut self.connection {
                Some(etcd) => question(etcd).await.map(Some),
                None => Ok(None),
            }
        });
        match response.await {
            Ok(Ok(Some(answer))) => Some(answer),
            // The next time over a new connection.
            _ => {
                self.connection = None;
                None
            }
        }
    }
}
