//! Follows etcd: what there is once, then each change from that revision on, over whichever member answers.

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

/// How long etcd may take to begin a watch.
const BEGIN: Duration = Duration::from_secs(3);

/// What is new in etcd.
#[derive(Debug)]
pub enum News {
    /// All there is, in the place of all that was known.
    All(Vec<Pair>),
    /// What has changed since.
    Changes(Vec<Change>),
}

/// Follows etcd for as long as anyone listens.
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
    // In fragments: what many keys have become at once may be longer than a message may be.
    let options =
        WatchOptions::new().with_prefix().with_start_revision(from + 1).with_progress_notify().with_fragment();
    let mut stream = member.ask(async |client| client.watch(PREFIX, Some(options)).await).await?;
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
        // A store that was restored from a snapshot is behind what was seen: nothing would ever come.
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
        // Answers with changes may tell the store's revision, which others on their way belong to; without any, all up to
        // it is known. A fragment may end within the changes of a revision: these may come twice, which changes nothing.
        // The answer to the request itself tells a revision whose changes may still come.
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
