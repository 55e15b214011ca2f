//! The members of etcd, asked in turns. Each question is bounded, and one that fails is not asked again: the next member
//! is asked the next one.

use std::time::{Duration, Instant};

use etcd_client::{
    Certificate, Client, ConnectOptions, Error, GetOptions, GetResponse, Identity, SortOrder, SortTarget, TlsOptions,
    Txn, TxnOp,
};
use tokio::time::{sleep, timeout};

use crate::error::LedgerError;

/// For one write or read: more than an election takes (etcd's election timeout is 1 s), so that none is given up that
/// would only have waited for it.
const WITHIN: Duration = Duration::from_secs(2);

/// For reading everything at the end, all attempts together.
const AT_THE_END: Duration = Duration::from_secs(60);

/// Keys in one answer.
const PAGE: i64 = 2000;

/// The members, each with its connection.
#[derive(Clone)]
pub struct Members {
    members: Vec<(String, Option<Client>)>,
    options: ConnectOptions,
    next: usize,
}

/// What a member answered to a linearizable read.
pub struct Answer {
    /// Who answered.
    pub endpoint: String,
    /// The store's revision.
    pub store: i64,
    /// The revision at which the key was written last; 0 if there is none.
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
            // A member whose cable is pulled says nothing: without this its connection would stand for minutes.
            .with_keep_alive(Duration::from_secs(1), Duration::from_secs(1));
        Self { members: endpoints.into_iter().map(|endpoint| (endpoint, None)).collect(), options, next: 0 }
    }

    /// Writes the number at both keys in one transaction through the next member. Returns the revision, if it was
    /// acknowledged; if not, it may still happen.
    pub async fn put(&mut self, key: &str, last: &str, number: u64) -> Option<i64> {
        let value = number.to_string();
        let puts = [TxnOp::put(key, value.clone(), None), TxnOp::put(last, value, None)];
        let (_, answer) = self.ask(async |client| client.txn(Txn::new().and_then(puts)).await).await?;
        answer.header().map(etcd_client::ResponseHeader::revision)
    }

    /// Reads a key through the next member, with the agreement of a quorum.
    pub async fn get(&mut self, key: &str) -> Option<Answer> {
        let (endpoint, answer) = self.ask(async |client| client.get(key, None).await).await?;
        let store = answer.header()?.revision();
        Some(Answer { endpoint, store, key: answer.kvs().first().map_or(0, etcd_client::KeyValue::mod_revision) })
    }

    /// Asks the next member one question.
    async fn ask<R>(&mut self, question: impl AsyncFnOnce(&mut Client) -> Result<R, Error>) -> Option<(String, R)> {
        let turn = self.next;
        self.next = (turn + 1) % self.members.len();
        let options = self.options.clone();
        let (endpoint, connection) = &mut self.members[turn];
        let asked = timeout(WITHIN, async {
            if connection.is_none() {
                *connection = Some(Client::connect([&*endpoint], Some(options)).await?);
            }
            match connection {
                Some(client) => question(client).await.map(Some),
                None => Ok(None),
            }
        });
        match asked.await {
            Ok(Ok(Some(answer))) => Some((endpoint.clone(), answer)),
            // The next time over a new connection.
            _ => {
                *connection = None;
                None
            }
        }
    }
}

/// Reads all numbered keys with the agreement of a quorum: number and revision. Asks until a member answers.
pub async fn read_all(members: &Members, prefix: &str) -> Result<Vec<(u64, i64)>, LedgerError> {
    let begun = Instant::now();
    let mut members = members.clone();
    loop {
        if let Some(found) = pages(&mut members, prefix).await {
            return Ok(found);
        }
        if begun.elapsed() > AT_THE_END {
            return Err(LedgerError::Unreadable(format!("no member answered within {} s", AT_THE_END.as_secs())));
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
            members.ask(async |client| client.get(from.clone(), Some(options.clone())).await).await?;
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
