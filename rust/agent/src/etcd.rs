//! Connections to etcd, one member at a time; on failure the next one is used.

mod page;

use std::{
    fs, io,
    path::PathBuf,
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use etcd_client::{
    Certificate, Client, Compare, CompareOp, ConnectOptions, GetOptions, Identity, KeyValue, PutOptions, TlsOptions,
    Txn, TxnOp, TxnOpResponse,
};
use machinist_mesh::{Operation, Pair, Transaction};
use thiserror::Error;
use tokio::time::timeout;

use self::page::Page;
use crate::config::Config;

/// Timeout of a request. An election takes 1 to 2 s.
const WITHIN: Duration = Duration::from_secs(3);

/// Endpoints and certificates of etcd.
#[derive(Debug)]
pub struct Etcd {
    endpoints: Vec<String>,
    files: [PathBuf; 3],
    turn: AtomicUsize,
}

/// Error of a request to etcd.
#[derive(Debug, Error)]
pub enum EtcdError {
    /// A certificate or key is unreadable.
    #[error("cannot read {}", path.display())]
    File {
        /// The certificate or key.
        path: PathBuf,
        /// The I/O error.
        source: io::Error,
    },
    /// No response in time.
    #[error("{0} did not answer in time")]
    Silent(String),
    /// The member rejected the request, or the connection failed.
    #[error("request to {endpoint} failed")]
    Refused {
        /// URL of the member.
        endpoint: String,
        /// The client's error.
        source: Box<etcd_client::Error>,
    },
    /// No endpoint is configured.
    #[error("no etcd member is configured")]
    Nobody,
    /// The server closed the stream.
    #[error("{0} closed the stream")]
    Ended(String),
    /// The lease has expired.
    #[error("the lease of this node has expired")]
    NoLease,
    /// The revision after the last one seen has been compacted.
    #[error("etcd has compacted the missed revisions")]
    Compacted,
}

/// gRPC's `OUT_OF_RANGE`: the client's code for a response that exceeds the message size.
const OUT_OF_RANGE: i32 = 11;

impl EtcdError {
    fn is_out_of_range(&self) -> bool {
        let Self::Refused { source, .. } = self else { return false };
        matches!(&**source, etcd_client::Error::GRpcStatus(status) if i32::from(status.code()) == OUT_OF_RANGE)
    }
}

/// A connection to one member.
#[derive(Clone)]
pub struct Member {
    /// URL of the member.
    pub endpoint: String,
    /// Client of the member.
    pub client: Client,
}

/// Result of a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Written {
    /// Committed at this revision.
    Done(i64),
    /// Another writer changed the key, at this revision; 0 if the key was deleted.
    Conflict(i64),
}

impl Etcd {
    /// Takes the members. Each node starts with a different one.
    pub fn new(config: &Config) -> Self {
        let first = config.node.bytes().fold(0_usize, |sum, byte| sum.wrapping_mul(31).wrapping_add(usize::from(byte)));
        Self {
            endpoints: config.endpoints.clone(),
            files: [config.ca.clone(), config.certificate.clone(), config.key.clone()],
            turn: AtomicUsize::new(first),
        }
    }

    /// Connects to the next member. The certificates are read each time, since they may have been renewed.
    pub async fn next(&self) -> Result<Member, EtcdError> {
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        let endpoint = self.endpoints.get(turn % self.endpoints.len().max(1)).ok_or(EtcdError::Nobody)?.clone();
        let read = |path: &PathBuf| fs::read(path).map_err(|source| EtcdError::File { path: path.clone(), source });
        let [ca, certificate, key] = &self.files;
        let identity = Identity::from_pem(read(certificate)?, read(key)?);
        let tls = TlsOptions::new().ca_certificate(Certificate::from_pem(read(ca)?)).identity(identity);
        let options = ConnectOptions::new()
            .with_tls(tls)
            .with_connect_timeout(Duration::from_secs(2))
            // A member with an unplugged cable sends nothing: without keep-alive, its connection would stay open for
            // minutes.
            .with_keep_alive(Duration::from_secs(2), Duration::from_secs(2))
            .with_keep_alive_while_idle(true)
            // A member without a leader would keep the watch open without receiving changes.
            .with_require_leader(true);
        let connected = timeout(WITHIN, Client::connect([&*endpoint], Some(options))).await;
        match connected {
            Ok(Ok(client)) => Ok(Member { endpoint, client }),
            Ok(Err(error)) => Err(EtcdError::Refused { endpoint, source: Box::new(error) }),
            Err(_) => Err(EtcdError::Silent(endpoint)),
        }
    }
}

impl Member {
    /// Sends one request with a timeout.
    pub async fn request<R>(
        &mut self,
        question: impl AsyncFnOnce(&mut Client) -> Result<R, etcd_client::Error>,
    ) -> Result<R, EtcdError> {
        match timeout(WITHIN, question(&mut self.client)).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) => Err(self.refused(error)),
            Err(_) => Err(EtcdError::Silent(self.endpoint.clone())),
        }
    }

    /// Wraps a client error with this member's endpoint.
    pub fn refused(&self, error: etcd_client::Error) -> EtcdError {
        EtcdError::Refused { endpoint: self.endpoint.clone(), source: Box::new(error) }
    }

    /// Returns all keys with the prefix, at one consistent revision, and that revision.
    pub async fn list(&mut self, prefix: &str) -> Result<(Vec<Pair>, i64), EtcdError> {
        let mut pairs = Vec::new();
        let mut from = prefix.as_bytes().to_vec();
        let mut end = from.clone();
        // The first key after all those with the prefix; our prefixes end with `/`.
        if let Some(last) = end.last_mut() {
            *last = last.saturating_add(1);
        }
        let mut revision = 0;
        let mut page = Page::first();
        loop {
            let options = GetOptions::new().with_range(end.clone()).with_limit(page.limit()).with_revision(revision);
            let answer = match self.request(async |client| client.get(from.clone(), Some(options)).await).await {
                Err(error) if error.is_out_of_range() => match page.shorter() {
                    Some(shorter) => {
                        page = shorter;
                        continue;
                    }
                    None => return Err(error),
                },
                answer => answer?,
            };
            if revision == 0 {
                revision = answer.header().map_or(0, etcd_client::ResponseHeader::revision);
            }
            let found = answer.kvs();
            page = page.after(found.len(), found.iter().map(|found| found.key().len() + found.value().len()).sum());
            pairs.extend(found.iter().map(pair));
            match found.last() {
                Some(last) if answer.more() => from = [last.key(), b"\0"].concat(),
                _ => return Ok((pairs, revision)),
            }
        }
    }

    /// Writes a transaction.
    pub async fn write(&mut self, transaction: &Transaction) -> Result<Written, EtcdError> {
        let compares: Vec<Compare> = transaction
            .compare
            .iter()
            .map(|compare| Compare::mod_revision(compare.key.as_str(), CompareOp::Equal, compare.modified))
            .collect();
        let operations = |operations: &[Operation]| operations.iter().map(operation).collect::<Vec<TxnOp>>();
        let txn = Txn::new()
            .when(compares)
            .and_then(operations(&transaction.then))
            .or_else(operations(&transaction.otherwise));
        let answer = self.request(async |client| client.txn(txn).await).await?;
        if answer.succeeded() {
            return Ok(Written::Done(answer.header().map_or(0, etcd_client::ResponseHeader::revision)));
        }
        let found = answer.op_responses().into_iter().find_map(|response| match response {
            TxnOpResponse::Get(get) => get.kvs().first().map(KeyValue::mod_revision),
            _ => None,
        });
        Ok(Written::Conflict(found.unwrap_or(0)))
    }
}

fn operation(operation: &Operation) -> TxnOp {
    match operation {
        Operation::Put { key, value, lease } => {
            TxnOp::put(key.as_str(), value.as_str(), Some(PutOptions::new().with_lease(*lease)))
        }
        Operation::Delete(key) => TxnOp::delete(key.as_str(), None),
        Operation::Get(key) => TxnOp::get(key.as_str(), None),
    }
}

/// Converts a key and its value. Bytes that are not UTF-8 become replacement characters, which occur in none of our
/// names and JSON values.
pub fn pair(found: &KeyValue) -> Pair {
    Pair {
        key: String::from_utf8_lossy(found.key()).into_owned(),
        value: String::from_utf8_lossy(found.value()).into_owned(),
        created: found.create_revision(),
        modified: found.mod_revision(),
    }
}
