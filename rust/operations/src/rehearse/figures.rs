//! Figures of a load: what was answered, and how long nothing was. Pure.

use std::{collections::BTreeMap, time::Duration};

use serde::{Serialize, Serializer};

/// Time without an acknowledged write from which on etcd counts as without a quorum: longer than the pause between two
/// writes, shorter than an election (etcd's election timeout is 1 s).
const WITHOUT_QUORUM: Duration = Duration::from_secs(1);

/// Kind of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Sort {
    /// A write to etcd.
    Write,
    /// A linearizable read from etcd.
    Read,
    /// An HTTP request.
    Http,
}

/// A request of the load, with times since the load began.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attempt {
    /// Recipient: the name of a member, or a URL.
    pub to: String,
    /// Kind of the request.
    pub sort: Sort,
    /// Time of its end.
    pub ended: Duration,
    /// True if it was answered as it should be.
    pub answered: bool,
}

/// A part of the load's time, such as that of the deploy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// Its begin, since the load began.
    pub from: Duration,
    /// Its end.
    pub to: Duration,
}

/// Answers to one kind of request in a span.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Answers {
    /// Number of requests that were answered.
    pub answered: usize,
    /// Number of requests that failed or were not answered in time.
    pub lost: usize,
    /// Longest time without an answered request, in seconds.
    #[serde(rename = "longestGap", serialize_with = "seconds")]
    pub longest_gap: Duration,
}

/// Figures of etcd in a span.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Etcd {
    /// Writes through all members. A write is lost to its client if its member did not acknowledge it in time.
    pub writes: Answers,
    /// Linearizable reads through all members.
    pub reads: Answers,
    /// Time in which no member acknowledged a write, in seconds: the sum of all gaps above a second.
    #[serde(rename = "withoutQuorum", serialize_with = "seconds")]
    pub without_quorum: Duration,
    /// Longest time in which a member answered nothing, by member, in seconds.
    #[serde(rename = "longestGapOf", serialize_with = "all_seconds")]
    pub longest_gap_of: BTreeMap<String, Duration>,
}

/// Serializes a duration in seconds, with two decimals.
pub(super) fn seconds<S: Serializer>(time: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64(rounded(*time))
}

fn all_seconds<S: Serializer>(times: &BTreeMap<String, Duration>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_map(times.iter().map(|(name, time)| (name, rounded(*time))))
}

fn rounded(time: Duration) -> f64 {
    (time.as_secs_f64() * 100.0).round() / 100.0
}

/// Returns etcd's figures in the span.
#[must_use]
pub fn etcd(attempts: &[Attempt], members: &[String], span: Span) -> Etcd {
    let writes = of(attempts, span, |attempt| attempt.sort == Sort::Write);
    let reads = of(attempts, span, |attempt| attempt.sort == Sort::Read);
    let acknowledged = times(attempts, span, |attempt| attempt.sort == Sort::Write);
    let without_quorum = gaps(&acknowledged, span).filter(|gap| *gap > WITHOUT_QUORUM).sum();
    let of_member = |member: &String| {
        let times = times(attempts, span, |attempt| attempt.sort != Sort::Http && attempt.to == *member);
        (member.clone(), gaps(&times, span).max().unwrap_or_default())
    };
    Etcd { writes, reads, without_quorum, longest_gap_of: members.iter().map(of_member).collect() }
}

/// Returns the figures of HTTP requests in the span, by URL.
#[must_use]
pub fn http(attempts: &[Attempt], urls: &[String], span: Span) -> BTreeMap<String, Answers> {
    let of_url = |url: &String| of(attempts, span, |attempt| attempt.sort == Sort::Http && attempt.to == *url);
    urls.iter().map(|url| (url.clone(), of_url(url))).collect()
}

fn of(attempts: &[Attempt], span: Span, wanted: impl Fn(&Attempt) -> bool + Copy) -> Answers {
    let lost = attempts.iter().filter(|attempt| span.holds(attempt) && wanted(attempt) && !attempt.answered).count();
    let times = times(attempts, span, wanted);
    Answers { answered: times.len(), lost, longest_gap: gaps(&times, span).max().unwrap_or_default() }
}

/// Returns the times of the span's answered requests, sorted.
fn times(attempts: &[Attempt], span: Span, wanted: impl Fn(&Attempt) -> bool) -> Vec<Duration> {
    let answered = attempts.iter().filter(|attempt| attempt.answered && span.holds(attempt) && wanted(attempt));
    let mut times: Vec<Duration> = answered.map(|attempt| attempt.ended).collect();
    times.sort_unstable();
    times
}

/// Returns the times between answers, with those from the begin of the span and to its end.
fn gaps(times: &[Duration], span: Span) -> impl Iterator<Item = Duration> {
    let begins = std::iter::once(span.from).chain(times.iter().copied());
    let ends = times.iter().copied().chain(std::iter::once(span.to));
    begins.zip(ends).map(|(begin, end)| end.saturating_sub(begin))
}

impl Span {
    fn holds(&self, attempt: &Attempt) -> bool {
        (self.from..=self.to).contains(&attempt.ended)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Attempt, Sort, Span, etcd, http};

    fn at(seconds: f64) -> Duration {
        Duration::from_secs_f64(seconds)
    }

    fn attempt(to: &str, sort: Sort, ended: f64, answered: bool) -> Attempt {
        Attempt { to: to.to_owned(), sort, ended: at(ended), answered }
    }

    fn span(from: f64, to: f64) -> Span {
        Span { from: at(from), to: at(to) }
    }

    #[test]
    fn a_member_that_restarts_is_no_time_without_a_quorum() {
        let mut attempts = Vec::new();
        for tenth in 0..=100_u32 {
            let time = f64::from(tenth) / 10.0;
            attempts.push(attempt("a", Sort::Write, time, true));
            attempts.push(attempt("b", Sort::Write, time, !(3.0..6.0).contains(&time)));
        }
        let figures = etcd(&attempts, &["a".to_owned(), "b".to_owned()], span(0.0, 10.0));
        assert_eq!(figures.writes.lost, 30);
        assert_eq!(figures.without_quorum, Duration::ZERO);
        assert_eq!(figures.longest_gap_of["b"].as_millis(), 3100);
        assert_eq!(figures.longest_gap_of["a"].as_millis(), 100);
    }

    #[test]
    fn gaps_above_a_second_add_up_and_reach_to_both_ends_of_the_span() {
        let attempts: Vec<Attempt> =
            [3.0, 3.5, 6.0, 6.5].map(|time| attempt("a", Sort::Write, time, true)).into_iter().collect();
        let figures = etcd(&attempts, &[], span(0.0, 8.5));
        // 0 to 3, 3.5 to 6, and 6.5 to the end.
        assert_eq!(figures.without_quorum, at(7.5));
        assert_eq!(figures.writes.longest_gap, at(3.0));
        let silent = etcd(&[], &[], span(1.0, 4.0));
        assert_eq!((silent.without_quorum, silent.writes.answered), (at(3.0), 0));
    }

    #[test]
    fn only_the_spans_own_requests_count() {
        let attempts = [
            attempt("a", Sort::Write, 0.5, false),
            attempt("a", Sort::Write, 1.5, true),
            attempt("a", Sort::Read, 1.6, false),
            attempt("http://x/", Sort::Http, 1.7, true),
            attempt("a", Sort::Write, 2.5, false),
        ];
        let figures = etcd(&attempts, &["a".to_owned()], span(1.0, 2.0));
        assert_eq!((figures.writes.answered, figures.writes.lost, figures.reads.lost), (1, 0, 1));
        let pages = http(&attempts, &["http://x/".to_owned()], span(1.0, 2.0));
        assert_eq!(pages["http://x/"].answered, 1);
    }
}
