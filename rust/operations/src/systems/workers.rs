//! Number of parallel nix evaluations, and the distribution of nodes over them.

use std::{fs, num::NonZeroUsize, thread};

use machinist_model::NodeName;

/// Free memory required per process: NixOS evaluations take one to two GiB.
const MEMORY: u64 = 2 << 30;

/// Minimum number of nodes per process: each process repeats the evaluation of what its nodes have in common. Measured
/// with nixos-lite on two cores: 2 + 2 nodes take 0.8 times as long as 4 in one process.
const NODES: usize = 4;

/// Maximum number of processes: more would only wait for each other at nix' database.
const MOST: usize = 16;

/// Splits the nodes in order over as many processes as are useful, or as requested.
pub fn chunks(nodes: &[NodeName], asked: Option<NonZeroUsize>) -> Vec<&[NodeName]> {
    let cores = thread::available_parallelism().map_or(1, NonZeroUsize::get);
    let memory = fs::read_to_string("/proc/meminfo").ok().and_then(|text| available(&text));
    let count = asked.map_or_else(|| workers(nodes.len(), cores, memory), NonZeroUsize::get);
    split(nodes, count)
}

/// Returns `MemAvailable` in bytes.
fn available(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

fn workers(nodes: usize, cores: usize, memory: Option<u64>) -> usize {
    let fit = memory.map_or(MOST, |bytes| usize::try_from(bytes / MEMORY).unwrap_or(MOST));
    (nodes / NODES).min(cores).min(fit).clamp(1, MOST)
}

/// Returns non-empty parts of nearly equal size.
fn split<T>(items: &[T], count: usize) -> Vec<&[T]> {
    let count = count.clamp(1, items.len().max(1));
    let mut rest = items;
    let mut parts = Vec::new();
    for left in (1..=count).rev() {
        let (part, after) = rest.split_at(rest.len().div_ceil(left));
        parts.push(part);
        rest = after;
    }
    parts.retain(|part| !part.is_empty());
    parts
}

#[cfg(test)]
mod tests {
    use super::{available, split, workers};

    const GIB: u64 = 1 << 30;

    #[test]
    fn cores_memory_and_nodes_each_bound_the_processes() {
        for (nodes, cores, memory, expected) in [
            (1, 8, Some(64 * GIB), 1),
            (7, 8, Some(64 * GIB), 1),
            (8, 8, Some(64 * GIB), 2),
            (100, 2, Some(64 * GIB), 2),
            (100, 8, Some(5 * GIB), 2),
            (100, 8, Some(GIB), 1),
            (1000, 64, Some(640 * GIB), 16),
            (1000, 64, None, 16),
            (0, 8, None, 1),
        ] {
            assert_eq!(workers(nodes, cores, memory), expected, "{nodes} nodes, {cores} cores, {memory:?}");
        }
    }

    #[test]
    fn nodes_are_split_evenly_and_in_order() {
        assert_eq!(split(&[1, 2, 3, 4, 5], 2), [&[1, 2, 3] as &[i32], &[4, 5]]);
        assert_eq!(split(&[1, 2], 5), [&[1] as &[i32], &[2]]);
        assert!(split::<i32>(&[], 3).is_empty());
    }

    #[test]
    fn free_memory_is_read_in_bytes() {
        assert_eq!(available("MemTotal: 9 kB\nMemAvailable:    2048 kB\n"), Some(2 << 20));
        assert_eq!(available("MemAvailable: much"), None);
    }
}
