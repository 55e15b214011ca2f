//! Schedule of the transfers of slices between hosts. Pure: it returns the jobs that can begin, and receives their
//! results.
//!
//! A host receives its parts in order, one at a time. The operator sends a slice to the first host that needs it; from
//! then on its holders serve it to others, so the number of sources doubles while the operator's link already carries
//! the next slice. A failure between two hosts is compensated by the operator.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use machinist_model::NodeName;
use machinist_nix::PathInfo;

use super::slices::{Part, Parts};

/// Number of hosts that a host serves at the same time.
const UPLOADS: usize = 3;

/// Number of failures after which a host no longer fetches, or no longer serves.
const FAILURES: usize = 2;

/// A transfer that can begin now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Job {
    /// The operator sends paths to a host.
    Send {
        /// The receiver.
        host: NodeName,
        /// The paths to send, references before referrers.
        paths: Vec<Arc<PathInfo>>,
        /// The number of the slice, if the host is to serve it to others.
        slice: Option<usize>,
    },
    /// A host fetches a slice.
    Fetch {
        /// The receiver.
        host: NodeName,
        /// The source.
        from: NodeName,
        /// The number of the slice.
        slice: usize,
    },
}

impl Job {
    /// Returns the receiver.
    #[must_use]
    pub const fn host(&self) -> &NodeName {
        match self {
            Self::Send { host, .. } | Self::Fetch { host, .. } => host,
        }
    }
}

/// Result of a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The host has the paths, and serves them if requested.
    Done,
    /// The host has the paths, but cannot serve them.
    NotKept,
    /// The host does not have the paths.
    Failed,
}

/// Schedule of a copy to many hosts.
#[derive(Debug)]
pub struct Schedule {
    parts: Parts,
    hosts: BTreeMap<NodeName, Host>,
    slices: BTreeMap<usize, Spread>,
}

#[derive(Debug, Default)]
struct Host {
    /// Number of parts that it has received.
    got: usize,
    busy: bool,
    /// True if it was unreachable or had no room: nothing else is sent to it.
    lost: bool,
    /// Number of hosts that fetch from it at the moment.
    uploads: usize,
    /// Number of its failed fetches.
    failed: usize,
    /// Number of failed fetches of others from it.
    refused: usize,
    /// The slice that it failed to fetch, which the operator sends.
    owed: Option<usize>,
}

/// Distribution of a slice.
#[derive(Debug, Default)]
struct Spread {
    holders: BTreeSet<NodeName>,
    /// Number of running transfers from the operator to hosts that will serve the slice.
    sending: usize,
}

impl Schedule {
    /// Returns the schedule of a copy that has not begun.
    #[must_use]
    pub fn new(parts: Parts) -> Self {
        let hosts = parts.hosts.keys().map(|node| (node.clone(), Host::default())).collect();
        Self { parts, hosts, slices: BTreeMap::new() }
    }

    /// Returns the jobs that can begin now. The result of each job must be passed to [`Schedule::ended`].
    pub fn begin(&mut self) -> Vec<Job> {
        let idle = self.hosts.iter().filter(|(_, host)| !host.busy && !host.lost).map(|(node, _)| node.clone());
        let idle: Vec<NodeName> = idle.collect();
        idle.iter().filter_map(|node| self.job_for(node)).collect()
    }

    fn job_for(&mut self, node: &NodeName) -> Option<Job> {
        let host = self.hosts.get(node)?;
        let job = match self.parts.hosts.get(node)?.get(host.got)? {
            Part::Own(paths) => Job::Send { host: node.clone(), paths: paths.clone(), slice: None },
            Part::Shared(slice) => {
                let by_the_operator = host.owed == Some(*slice) || host.failed >= FAILURES;
                self.source(*slice, node, by_the_operator)?
            }
        };
        match &job {
            Job::Send { slice: Some(slice), .. } => self.slices.entry(*slice).or_default().sending += 1,
            Job::Fetch { from, .. } => self.with(from, |source| source.uploads += 1),
            Job::Send { .. } => {}
        }
        self.with(node, |host| host.busy = true);
        Some(job)
    }

    /// Returns the job by which the host gets the slice, `None` while it has to wait for another host.
    fn source(&self, slice: usize, node: &NodeName, by_the_operator: bool) -> Option<Job> {
        let serves = |node: &NodeName| self.hosts.get(node).is_some_and(|host| host.refused < FAILURES);
        let sent = || {
            let paths = self.parts.slices.get(slice).map(|slice| slice.paths.clone()).unwrap_or_default();
            Some(Job::Send { host: node.clone(), paths, slice: serves(node).then_some(slice) })
        };
        if by_the_operator {
            return sent();
        }
        let spread = self.slices.get(&slice);
        let holders: Vec<&NodeName> =
            spread.iter().flat_map(|spread| &spread.holders).filter(|node| serves(node)).collect();
        if holders.is_empty() {
            // A host that cannot serve waits for one that can.
            let another = |(other, host): (&NodeName, &Host)| !host.lost && serves(other) && self.lacks(other, slice);
            let waits =
                spread.is_some_and(|spread| spread.sending > 0) || (!serves(node) && self.hosts.iter().any(another));
            return if waits { None } else { sent() };
        }
        let uploads = |node: &&&NodeName| self.hosts.get(**node).map_or(0, |host| host.uploads);
        let from = holders.iter().min_by_key(uploads).filter(|node| uploads(node) < UPLOADS)?;
        Some(Job::Fetch { host: node.clone(), from: (*from).clone(), slice })
    }

    fn lacks(&self, node: &NodeName, slice: usize) -> bool {
        let got = self.hosts.get(node).map_or(0, |host| host.got);
        self.parts.hosts.get(node).is_some_and(|parts| parts.iter().skip(got).any(|part| *part == Part::Shared(slice)))
    }

    /// Records the result of a job.
    pub fn ended(&mut self, job: &Job, end: End) {
        let host = job.host();
        if let Job::Fetch { from, .. } = job {
            self.with(from, |source| source.uploads = source.uploads.saturating_sub(1));
        }
        if let Job::Send { slice: Some(slice), .. } = job {
            let spread = self.slices.entry(*slice).or_default();
            spread.sending = spread.sending.saturating_sub(1);
        }
        self.with(host, |host| host.busy = false);
        match (job, end) {
            (Job::Fetch { from, slice, .. }, End::Failed) => {
                self.with(from, |source| source.refused += 1);
                self.with(host, |host| {
                    host.failed += 1;
                    host.owed = Some(*slice);
                });
            }
            (Job::Send { .. }, End::Failed) => self.with(host, |host| host.lost = true),
            _ => self.with(host, |host| host.got += 1),
        }
        if let (End::Done, Job::Fetch { slice, .. } | Job::Send { slice: Some(slice), .. }) = (end, job) {
            self.slices.entry(*slice).or_default().holders.insert(host.clone());
        }
    }

    fn with(&mut self, node: &NodeName, change: impl FnOnce(&mut Host)) {
        if let Some(host) = self.hosts.get_mut(node) {
            change(host);
        }
    }

    /// Returns the hosts that have all of their parts.
    #[must_use]
    pub fn done(&self) -> BTreeSet<NodeName> {
        let total = |node: &NodeName| self.parts.hosts.get(node).map_or(0, Vec::len);
        self.hosts.iter().filter(|(node, host)| host.got == total(node)).map(|(node, _)| node.clone()).collect()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::collections::{BTreeMap, BTreeSet, VecDeque};

    use machinist_model::NodeName;

    use super::{
        super::slices::{Part, Parts, Slice},
        End, Job, Schedule, UPLOADS,
    };

    fn node(index: usize) -> NodeName {
        NodeName::parse(&format!("n{index}")).unwrap()
    }

    /// Returns the parts of hosts that need the same slices, and one part each that is not shared.
    fn parts(hosts: usize, slices: usize) -> Parts {
        let own = Part::Own(Vec::new());
        let parts: Vec<Part> = (0..slices).map(Part::Shared).chain([own]).collect();
        Parts {
            slices: vec![Slice { paths: Vec::new(), bytes: 1 }; slices],
            hosts: (0..hosts).map(|index| (node(index), parts.clone())).collect(),
        }
    }

    /// Statistics of a copy.
    #[derive(Default)]
    struct Story {
        /// Number of times that the operator sent each slice.
        sent: BTreeMap<usize, usize>,
        /// The largest number of hosts that one host served at the same time.
        uploads: usize,
        done: BTreeSet<NodeName>,
        /// Rounds of jobs that began together.
        rounds: usize,
    }

    /// Runs a copy to its end; each job takes one round. `judge` returns the result of a job.
    fn play(parts: Parts, judge: impl Fn(&Job) -> End) -> Story {
        let whole = parts.clone();
        let mut schedule = Schedule::new(parts);
        let mut story = Story::default();
        let mut running: VecDeque<Job> = VecDeque::new();
        loop {
            running.extend(schedule.begin());
            if running.is_empty() {
                break;
            }
            story.rounds += 1;
            let mut serves: BTreeMap<NodeName, usize> = BTreeMap::new();
            for job in &running {
                if let Job::Fetch { from, .. } = job {
                    *serves.entry(from.clone()).or_default() += 1;
                }
            }
            story.uploads = story.uploads.max(serves.values().max().copied().unwrap_or(0));
            for job in std::mem::take(&mut running) {
                let number = match &job {
                    Job::Send { host, paths, slice } => {
                        let state = &schedule.hosts[host];
                        let part = &whole.hosts[host][state.got];
                        assert!(paths.is_empty());
                        slice.or(if let Part::Shared(slice) = part { Some(*slice) } else { None })
                    }
                    Job::Fetch { host, from, slice } => {
                        assert!(schedule.slices[slice].holders.contains(from) && host != from);
                        None
                    }
                };
                if let Some(number) = number {
                    *story.sent.entry(number).or_default() += 1;
                }
                schedule.ended(&job, judge(&job));
            }
            assert!(story.rounds < 10_000, "it does not end");
        }
        story.done = schedule.done();
        story
    }

    #[test]
    fn the_operator_sends_each_slice_once_and_hosts_hand_it_on() {
        let story = play(parts(8, 8), |_| End::Done);
        assert!(story.sent.values().all(|count| *count == 1) && story.sent.len() == 8, "{:?}", story.sent);
        assert!(story.uploads <= UPLOADS);
        assert_eq!(story.done.len(), 8);
    }

    #[test]
    fn the_time_grows_by_a_few_rounds_where_the_hosts_grow_tenfold() {
        let rounds = |hosts| play(parts(hosts, 8), |_| End::Done).rounds;
        assert_eq!(rounds(1), 9);
        assert!(rounds(10) <= 14 && rounds(100) <= 20, "{} {}", rounds(10), rounds(100));
    }

    #[test]
    fn a_host_whose_port_is_closed_costs_two_failures_and_then_serves_nobody() {
        let bad = node(0);
        let judge =
            |job: &Job| if matches!(job, Job::Fetch { from, .. } if *from == bad) { End::Failed } else { End::Done };
        let story = play(parts(8, 8), judge);
        assert_eq!(story.done.len(), 8);
        let resent: usize = story.sent.values().map(|count| count - 1).sum();
        assert!((1..=UPLOADS + 1).contains(&resent), "{:?}", story.sent);
    }

    #[test]
    fn where_no_host_reaches_another_the_operator_sends_everything() {
        let judge = |job: &Job| if matches!(job, Job::Fetch { .. }) { End::Failed } else { End::Done };
        let story = play(parts(5, 3), judge);
        assert_eq!((story.done.len(), story.sent), (5, BTreeMap::from([(0, 5), (1, 5), (2, 5)])));
    }

    #[test]
    fn a_host_that_is_lost_while_it_gets_a_slice_is_replaced_by_another() {
        let lost = node(0);
        let judge = |job: &Job| if *job.host() == lost { End::Failed } else { End::Done };
        let story = play(parts(4, 2), judge);
        assert_eq!(story.done, (1..4).map(node).collect());
        assert_eq!(story.sent, BTreeMap::from([(0, 2), (1, 1)]));
    }

    #[test]
    fn a_host_that_cannot_keep_a_slice_has_it_and_does_not_serve_it() {
        let full = node(0);
        let judge = |job: &Job| if *job.host() == full { End::NotKept } else { End::Done };
        let story = play(parts(3, 2), judge);
        assert_eq!(story.done.len(), 3);
    }

    proptest::proptest! {
        #[test]
        fn whatever_fails_between_hosts_all_get_everything(
            hosts in 1_usize..12,
            slices in 0_usize..6,
            bad in proptest::collection::vec(0_u8..3, 144),
        ) {
            let index = |node: &NodeName| node.as_str()[1..].parse::<usize>().unwrap();
            let judge = |job: &Job| match job {
                Job::Fetch { host, from, .. } => match bad[index(host) * 12 + index(from)] {
                    0 => End::Failed,
                    1 => End::NotKept,
                    _ => End::Done,
                },
                Job::Send { host, .. } => if bad[index(host)] == 0 { End::NotKept } else { End::Done },
            };
            proptest::prop_assert_eq!(play(parts(hosts, slices), judge).done.len(), hosts);
        }
    }
}
