//! Members of etcd, queried in turn. Each request has a time limit, and a failed one is not repeated: the next request
//! goes to the next member.

use std::time::{Duration, Instant};

use etcd_client::{
    Certificate, Client, ConnectOptions, Error, GetOptions, GetResponse, Identity, SortOrder, SortTarget, TlsOptions,
    Txn, TxnOp,
};
use tokio::time::{sleep, timeout};

use crate::error::LedgerError;

/// Time limit of one write or read: longer than an election (etcd's election timeout is 1 s), so that a request that
/// only waits for one is not abandoned.
const WITHIN: Duration = Duration::from_secs(2);

/// Time limit of the final read, all attempts together.
const AT_THE_END: Duration = Duration::from_secs(60);

/// Keys per response.
const PAGE: i64 = 2000;

/// The members, each with its connection.
#[derive(Clone)]
pub struct Members {
    members: Vec<(String, Option<Client>)>,
    options: ConnectOptions,
    next: usize,
}

/// A member's response to a linearizable read.
pub struct Answer {
    /// The URL of the member.
    pub endpoint: String,
    /// The store's revision.
    pub store: i64,
    /// The revision at which the key was last written; 0 if it does not exist.
    pub key: i64,
}

impl Members {
    /// Returns the members without a connection.
    pub fn new(endpoints: Vec<String>, ca: &[u8], certificate: &[u8], key: &[u8]) -> Self {
        let tls =
            TlsOptions::new().ca_certificate(Certificate::from_pem(ca)).identity(Identity::from_pem(certificate, key));
        let options = ConnectOptions::new()
            .with_tls(tls)
            .with_connect_timeout(Duration::from_secs(1))
            // A member whose cable is unplugged does not respond: without this its connection would stay open for
            // minutes.
            .with_keep_alive(Duration::from_secs(1), Duration::from_secs(1));
        Self { members: endpoints.into_iter().map(|endpoint| (endpoint, None)).collect(), options, next: 0 }
    }

    /// Writes the number to both keys in one transaction through the next member. Returns the revision if it was
    /// acknowledged; otherwise it may still take effect.
    pub async fn put(&mut self, key: &str, last: &str, number: u64) -> Option<i64> {
        let value = number.to_string();
        let puts = [TxnOp::put(key, value.clone(), None), TxnOp::put(last, value, None)];
        let (_, answer) = self.query(async |client| client.txn(Txn::new().and_then(puts)).await).await?;
        answer.header().map(etcd_client::ResponseHeader::revision)
    }

    /// Reads a key through the next member, linearizably.
    pub async fn get(&mut self, key: &str) -> Option<Answer> {
        let (endpoint, answer) = self.query(async |client| client.get(key, None).await).await?;
        let store = answer.header()?.revision();
        Some(Answer { endpoint, store, key: answer.kvs().first().map_or(0, etcd_client::KeyValue::mod_revision) })
    }

    /// Sends one request to the next member.
    async fn query<R>(&mut self, question: impl AsyncFnOnce(&mut Client) -> Result<R, Error>) -> Option<(String, R)> {
        let turn = self.next;
        self.next = (turn + 1) % self.members.len();
        let options = self.options.clone();
        let (endpoint, connection) = &mut self.members[turn];
        let response = timeout(WITHIN, async {
            if connection.is_none() {
                *connection = Some(Client::connect([&*endpoint], Some(options)).await?);
            }
            match connection {
                Some(client) => question(client).await.map(Some),
                None => Ok(None),
            }
        });
        match response.await {
            Ok(Ok(Some(answer))) => Some((endpoint.clone(), answer)),
            // The next time over a new connection.
            _ => {
                *connection = None;
                None
            }
        }
    }
}

/// Reads all numbered keys linearizably: number and revision. Retries until a member responds.
pub async fn read_all(members: &Members, prefix: &str) -> Result<Vec<(u64, i64)>, LedgerError> {
    let begun = Instant::now();
    let mut members = members.clone();
    loop {
        if let Some(found) = pages(&mut members, prefix).await {
            return Ok(found);
        }
        if begun.elapsed() > AT_THE_END {
            return Err(LedgerError::Unreadable(format!("no member responded within {} s", AT_THE_END.as_secs())));
        }
        sleep(Duration::from_millis(200)).await;
    }
}

async fn pages(members: &mut Members, prefix: &str) -> Option<Vec<(u64, i64)>> {
    let mut found = Vec::new();
    let (mut from, end) = (format!("{prefix}/key/").into_bytes(), format!("{prefix}/key0").into_bytes());
    loop {
        let options =
            GetOptions::new().with_range(end.clone()).with_limit(PAGE).with_sort(SortTarget::Key, SortOrder::Ascend);
        let (_, page): (String, GetResponse) =
            members.query(async |client| client.get(from.clone(), Some(options.clone())).await).await?;
        for pair in page.kvs() {
            found.push((pair.value_str().ok()?.parse().ok()?, pair.mod_revision()));
        }
        match page.kvs().last() {
            // The smallest key after it.
            Some(last) if page.more() => from = [last.key(), b"\0"].concat(),
            _ => return Some(found),
        }
    }
}
