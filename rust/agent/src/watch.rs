//! Watch on etcd: the full content once, then each change from that revision on, over any reachable member.

use std::sync::Arc;

use etcd_client::{EventType, WatchOptions};
use machinist_mesh::{Change, PREFIX, Pair};
use tokio::{
    sync::mpsc::Sender,
    time::{Duration, sleep, timeout},
};

use crate::{
    backoff::Backoff,
    config::chain,
    etcd::{Etcd, EtcdError, pair},
    status::Status,
};

/// Timeout until a watch is established.
const BEGIN: Duration = Duration::from_secs(3);

/// News from etcd.
#[derive(Debug)]
pub enum News {
    /// The full content, which replaces the previous one.
    All(Vec<Pair>),
    /// Changes since the previous news.
    Changes(Vec<Change>),
}

/// Follows etcd until the receiver is dropped.
pub async fn follow(etcd: Arc<Etcd>, status: Arc<Status>, to: Sender<News>) {
    let mut backoff = Backoff::default();
    let mut seen = None;
    while !to.is_closed() {
        let result = session(&etcd, &status, &to, &mut seen, &mut backoff).await;
        status.with(|facts| facts.watching = false);
        if let Err(error) = result {
            if matches!(error, EtcdError::Compacted) {
                seen = None;
            }
            status.trouble("watch on etcd", Some(chain(&error)));
        }
        sleep(backoff.wait()).await;
    }
}

/// One connection. `seen` is the last revision whose changes were passed on.
async fn session(
    etcd: &Etcd,
    status: &Status,
    to: &Sender<News>,
    seen: &mut Option<i64>,
    backoff: &mut Backoff,
) -> Result<(), EtcdError> {
    let mut member = etcd.next().await?;
    let from = match *seen {
        Some(revision) => revision,
        None => {
            let (pairs, revision) = member.list(PREFIX).await?;
            if to.send(News::All(pairs)).await.is_err() {
                return Ok(());
            }
            *seen = Some(revision);
            revision
        }
    };
    // In fragments: the changes of many keys may exceed the message size.
    let options =
        WatchOptions::new().with_prefix().with_start_revision(from + 1).with_progress_notify().with_fragment();
    let mut stream = member.request(async |client| client.watch(PREFIX, Some(options)).await).await?;
    let mut begun = false;
    loop {
        let next = async { stream.message().await.map_err(|error| member.refused(error)) };
        let answer = if begun {
            next.await?
        } else {
            timeout(BEGIN, next).await.map_err(|_| EtcdError::Silent(member.endpoint.clone()))??
        };
        let Some(answer) = answer else { return Err(EtcdError::Ended(member.endpoint.clone())) };
        let revision = answer.header().map_or(0, etcd_client::ResponseHeader::revision);
        // A store restored from a snapshot is behind the revision that was seen: no change would ever arrive.
        if answer.compact_revision() > 0 || (answer.created() && revision < from) {
            return Err(EtcdError::Compacted);
        }
        if answer.canceled() {
            return Err(EtcdError::Ended(format!("{} ({})", member.endpoint, answer.cancel_reason())));
        }
        if !begun {
            begun = true;
            backoff.reset();
            status.trouble("watch on etcd", None);
        }
        let last = answer.events().iter().filter_map(|event| event.kv()).map(etcd_client::KeyValue::mod_revision).max();
        let changes: Vec<Change> = answer.events().iter().filter_map(change).collect();
        if !changes.is_empty() && to.send(News::Changes(changes)).await.is_err() {
            return Ok(());
        }
        // A response with changes may carry the store's revision, of which further changes may still arrive; without
        // changes, all up to it are known. A fragment may end within the changes of a revision: these may arrive twice,
        // which is harmless. The response to the watch request itself carries a revision whose changes may still
        // arrive.
        match last {
            Some(last) => *seen = Some(last - 1),
            None if !answer.created() => *seen = Some(revision),
            None => {}
        }
        status.with(|facts| {
            facts.watching = true;
            facts.revision = revision;
        });
    }
}

fn change(event: &etcd_client::Event) -> Option<Change> {
    let found = event.kv()?;
    Some(match event.event_type() {
        EventType::Put => Change::Put(pair(found)),
        EventType::Delete => Change::Delete(String::from_utf8_lossy(found.key()).into_owned()),
    })
}
