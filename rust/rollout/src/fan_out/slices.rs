//! Paths for many hosts, cut into slices that one host can serve to another. Pure.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet, BinaryHeap},
    sync::Arc,
};

use machinist_model::NodeName;
use machinist_nix::{PathInfo, StorePath};

use crate::step::copy::Delta;

/// Paths that are missing on the same hosts, sent as one stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Slice {
    /// The paths, references before referrers.
    pub paths: Vec<Arc<PathInfo>>,
    /// Their size in bytes.
    pub bytes: u64,
}

/// A part of the paths that are missing on a host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part {
    /// A slice that is missing on other hosts too, by its index.
    Shared(usize),
    /// Paths that the operator sends to this host.
    Own(Vec<Arc<PathInfo>>),
}

/// Contents and order of the transfers to each host.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Parts {
    /// The slices.
    pub slices: Vec<Slice>,
    /// Each host's parts; the references of a path are in an earlier part or earlier in the same part.
    pub hosts: BTreeMap<NodeName, Vec<Part>>,
}

/// Minimum gain at which hosts fetch from each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Threshold {
    /// Number of hosts with missing paths that are missing on others too.
    pub hosts: usize,
    /// Number of bytes that would otherwise cross the operator's link more than once.
    pub saved: u64,
    /// Number of bytes that the same hosts are missing; smaller amounts are sent by the operator.
    pub bytes: u64,
}

/// Size of a slice in bytes: an eighth of the bytes that its hosts share, within these bounds. While the operator sends
/// a slice, the hosts exchange the previous ones, and each slice costs a command on each host.
const SLICE: std::ops::RangeInclusive<u64> = (4 << 20)..=(64 << 20);

/// Cuts the missing paths of hosts into parts. Only `peers` serve slices; the others receive everything from the
/// operator.
#[must_use]
pub fn cut(deltas: &BTreeMap<NodeName, Arc<Delta>>, peers: &BTreeSet<NodeName>, threshold: Threshold) -> Parts {
    let groups = Groups::new(deltas, peers);
    let (sharing, saved) = groups.gain();
    let is_worth_it = sharing >= threshold.hosts && saved >= threshold.saved;
    let mut parts = Parts::default();
    for (node, delta) in deltas {
        parts.hosts.insert(node.clone(), Vec::new());
        if !peers.contains(node) {
            parts.own(node, &delta.paths);
        }
    }
    // The slice being filled, and its hosts.
    let mut open: Option<(&BTreeSet<NodeName>, Slice)> = None;
    for info in groups.ordered() {
        let hosts = groups.of(&info.path);
        let total = groups.bytes.get(hosts).copied().unwrap_or(0);
        let is_shared = is_worth_it && hosts.len() >= 2 && total >= threshold.bytes;
        let limit = (total / 8).clamp(*SLICE.start(), *SLICE.end());
        let continues = |(whose, slice): &(&BTreeSet<NodeName>, Slice)| {
            is_shared && *whose == hosts && slice.bytes + info.size <= limit
        };
        if !open.as_ref().is_some_and(continues)
            && let Some((whose, slice)) = open.take()
        {
            parts.shared(whose, slice);
        }
        if is_shared {
            let (_, slice) = open.get_or_insert((hosts, Slice { paths: Vec::new(), bytes: 0 }));
            slice.bytes += info.size;
            slice.paths.push(info);
        } else {
            for host in hosts {
                parts.own(host, std::slice::from_ref(&info));
            }
        }
    }
    if let Some((whose, slice)) = open {
        parts.shared(whose, slice);
    }
    parts
}

impl Parts {
    fn shared(&mut self, hosts: &BTreeSet<NodeName>, slice: Slice) {
        self.slices.push(slice);
        for host in hosts {
            self.hosts.entry(host.clone()).or_default().push(Part::Shared(self.slices.len() - 1));
        }
    }

    fn own(&mut self, host: &NodeName, paths: &[Arc<PathInfo>]) {
        if paths.is_empty() {
            return;
        }
        let parts = self.hosts.entry(host.clone()).or_default();
        match parts.last_mut() {
            Some(Part::Own(own)) => own.extend_from_slice(paths),
            _ => parts.push(Part::Own(paths.to_vec())),
        }
    }

    /// Returns the hosts that have a part in a slice.
    #[must_use]
    pub fn sharing(&self) -> BTreeSet<NodeName> {
        let shares = |parts: &[Part]| parts.iter().any(|part| matches!(part, Part::Shared(_)));
        self.hosts.iter().filter(|(_, parts)| shares(parts)).map(|(node, _)| node.clone()).collect()
    }
}

/// Peers, grouped by their missing paths.
struct Groups {
    paths: BTreeMap<StorePath, (Arc<PathInfo>, BTreeSet<NodeName>)>,
    /// Number of bytes that are missing on exactly this set of hosts.
    bytes: BTreeMap<BTreeSet<NodeName>, u64>,
    nobody: BTreeSet<NodeName>,
}

impl Groups {
    fn new(deltas: &BTreeMap<NodeName, Arc<Delta>>, peers: &BTreeSet<NodeName>) -> Self {
        let mut paths: BTreeMap<StorePath, (Arc<PathInfo>, BTreeSet<NodeName>)> = BTreeMap::new();
        for (node, delta) in deltas.iter().filter(|(node, _)| peers.contains(*node)) {
            for info in &delta.paths {
                let entry = paths.entry(info.path.clone()).or_insert_with(|| (Arc::clone(info), BTreeSet::new()));
                entry.1.insert(node.clone());
            }
        }
        let mut bytes: BTreeMap<BTreeSet<NodeName>, u64> = BTreeMap::new();
        for (info, hosts) in paths.values() {
            *bytes.entry(hosts.clone()).or_default() += info.size;
        }
        Self { paths, bytes, nobody: BTreeSet::new() }
    }

    /// Returns the number of hosts with paths that are missing on others too, and the number of bytes that would be
    /// sent repeatedly.
    fn gain(&self) -> (usize, u64) {
        let shared = || self.bytes.iter().filter(|(hosts, _)| hosts.len() >= 2);
        let hosts: BTreeSet<&NodeName> = shared().flat_map(|(hosts, _)| hosts).collect();
        (hosts.len(), shared().map(|(hosts, bytes)| (hosts.len() as u64 - 1) * bytes).sum())
    }

    fn of(&self, path: &StorePath) -> &BTreeSet<NodeName> {
        self.paths.get(path).map_or(&self.nobody, |(_, hosts)| hosts)
    }

    /// Returns all paths, references before referrers; within this order, paths that are missing on the most hosts come
    /// first, and paths of the same hosts are adjacent.
    fn ordered(&self) -> Vec<Arc<PathInfo>> {
        let mut waits: BTreeMap<&StorePath, usize> = BTreeMap::new();
        let mut waiting: BTreeMap<&StorePath, Vec<&StorePath>> = BTreeMap::new();
        for (path, (info, _)) in &self.paths {
            let needed = info.references.iter().filter(|other| *other != path && self.paths.contains_key(*other));
            let count = needed.map(|other| waiting.entry(other).or_default().push(path)).count();
            waits.insert(path, count);
        }
        let rank = |path| {
            let hosts = self.of(path);
            Reverse((Reverse(hosts.len()), hosts, path))
        };
        let free = waits.iter().filter(|(_, count)| **count == 0).map(|(path, _)| rank(*path));
        let mut free: BinaryHeap<_> = free.collect();
        let mut ordered = Vec::with_capacity(self.paths.len());
        while let Some(Reverse((_, _, path))) = free.pop() {
            ordered.extend(self.paths.get(path).map(|(info, _)| Arc::clone(info)));
            for other in waiting.remove(path).unwrap_or_default() {
                if let Some(count) = waits.get_mut(other) {
                    *count -= 1;
                    if *count == 0 {
                        free.push(rank(other));
                    }
                }
            }
        }
        ordered
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::{
        collections::{BTreeMap, BTreeSet},
        sync::Arc,
    };

    use machinist_model::NodeName;
    use machinist_nix::{PathInfo, StorePath};

    use super::{Part, Parts, Threshold, cut};
    use crate::step::copy::Delta;

    const MIB: u64 = 1 << 20;

    fn node(name: &str) -> NodeName {
        NodeName::parse(name).unwrap()
    }

    fn path(name: &str) -> StorePath {
        StorePath::parse(&format!("/nix/store/{}-{name}", "0".repeat(32))).unwrap()
    }

    fn info(name: &str, mebibytes: u64, references: &[&str]) -> Arc<PathInfo> {
        let references = references.iter().map(|name| path(name)).collect();
        Arc::new(PathInfo { path: path(name), digest: String::new(), size: mebibytes * MIB, deriver: None, references })
    }

    fn deltas(hosts: &[(&str, &[&Arc<PathInfo>])]) -> BTreeMap<NodeName, Arc<Delta>> {
        let delta = |paths: &[&Arc<PathInfo>]| {
            let paths: Vec<Arc<PathInfo>> = paths.iter().map(|info| Arc::clone(info)).collect();
            Arc::new(Delta { bytes: paths.iter().map(|info| info.size).sum(), paths })
        };
        hosts.iter().map(|(name, paths)| (node(name), delta(paths))).collect()
    }

    fn all(deltas: &BTreeMap<NodeName, Arc<Delta>>) -> BTreeSet<NodeName> {
        deltas.keys().cloned().collect()
    }

    /// Returns the names of the paths that a host receives, with shared slices in brackets.
    fn told(parts: &Parts, host: &str) -> String {
        let names = |paths: &[Arc<PathInfo>]| {
            let name = |info: &Arc<PathInfo>| info.path.as_str()[44..].to_owned();
            paths.iter().map(name).collect::<Vec<_>>().join(" ")
        };
        let part = |part: &Part| match part {
            Part::Shared(slice) => format!("[{}]", names(&parts.slices[*slice].paths)),
            Part::Own(paths) => names(paths),
        };
        parts.hosts[&node(host)].iter().map(part).collect::<Vec<_>>().join(" ")
    }

    const ALWAYS: Threshold = Threshold { hosts: 2, saved: 0, bytes: 0 };

    #[test]
    fn what_most_lack_comes_first_and_what_one_lacks_last() {
        let (libc, etcd) = (info("libc", 1, &[]), info("etcd", 1, &["libc"]));
        let (a, b, c) = (info("a", 1, &["etcd"]), info("b", 1, &["etcd"]), info("c", 1, &["libc"]));
        let deltas = deltas(&[("a", &[&libc, &etcd, &a]), ("b", &[&libc, &etcd, &b]), ("c", &[&libc, &c])]);
        let parts = cut(&deltas, &all(&deltas), ALWAYS);
        assert_eq!(told(&parts, "a"), "[libc] [etcd] a");
        assert_eq!(told(&parts, "b"), "[libc] [etcd] b");
        assert_eq!(told(&parts, "c"), "[libc] c");
        assert_eq!(parts.sharing(), all(&deltas));
    }

    #[test]
    fn a_path_never_comes_before_what_it_refers_to() {
        // `shared` is missing on both hosts and refers to a path that is missing on only one.
        let (own, shared) = (info("own", 1, &[]), info("shared", 1, &["own", "shared"]));
        let deltas = deltas(&[("a", &[&own, &shared]), ("b", &[&shared])]);
        let parts = cut(&deltas, &all(&deltas), ALWAYS);
        assert_eq!((told(&parts, "a"), told(&parts, "b")), ("own [shared]".to_owned(), "[shared]".to_owned()));
    }

    #[test]
    fn slices_are_an_eighth_of_what_is_shared_and_not_too_small() {
        let paths: Vec<Arc<PathInfo>> = (10..74).map(|number| info(&format!("p{number}"), 1, &[])).collect();
        let lacked: Vec<&Arc<PathInfo>> = paths.iter().collect();
        let many = deltas(&[("a", &lacked), ("b", &lacked)]);
        let sizes = |parts: Parts| parts.slices.iter().map(|slice| slice.bytes / MIB).collect::<Vec<_>>();
        assert_eq!(sizes(cut(&many, &all(&many), ALWAYS)), [8; 8]);
        let few = deltas(&[("a", &lacked[..6]), ("b", &lacked[..6])]);
        assert_eq!(sizes(cut(&few, &all(&few), ALWAYS)), [4, 2]);
        let big = info("big", 1000, &[]);
        let huge = deltas(&[("a", &[&big]), ("b", &[&big])]);
        assert_eq!(sizes(cut(&huge, &all(&huge), ALWAYS)), [1000]);
    }

    #[test]
    fn below_the_threshold_and_for_others_than_peers_the_operator_sends_all() {
        let (libc, etcd) = (info("libc", 15, &[]), info("etcd", 1, &["libc"]));
        let deltas = deltas(&[("a", &[&libc, &etcd]), ("b", &[&libc, &etcd]), ("c", &[&libc]), ("d", &[])]);
        let cut = |peers: &[&str], hosts, saved, bytes| {
            let peers = peers.iter().map(|name| node(name)).collect();
            cut(&deltas, &peers, Threshold { hosts, saved: saved * MIB, bytes: bytes * MIB })
        };
        let parts = cut(&["a", "b", "c"], 3, 31, 2);
        assert_eq!((told(&parts, "a"), told(&parts, "c")), ("[libc] etcd".to_owned(), "[libc]".to_owned()));
        assert_eq!(told(&parts, "d"), "");
        assert_eq!(told(&cut(&["a", "b", "c"], 3, 32, 2), "a"), "libc etcd");
        assert_eq!(told(&cut(&["a", "b", "c"], 4, 31, 2), "a"), "libc etcd");
        let parts = cut(&["a", "b"], 2, 16, 1);
        assert_eq!((told(&parts, "a"), told(&parts, "c")), ("[libc] [etcd]".to_owned(), "libc".to_owned()));
        assert_eq!(cut(&["a"], 1, 0, 0).slices, []);
    }
}
