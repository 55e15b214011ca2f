//! Benchmark of a large cluster's certificates: issued, found unchanged, listed and decrypted for one node.
//!
//! Usage: `issue_many [NODES]`, by default 1,000 members with three certificates each. Keys are encrypted for two
//! operators. The temporary directory (below `TMPDIR`) is removed at the end.

#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout)]

use std::{collections::BTreeMap, net::Ipv4Addr, time::Instant};

use machinist_model::{Cluster, NodeName, Operator, fixtures};
use machinist_pki::{Inventory, Policy, report, survey, update};
use machinist_secrets::{Identities, generate_identity, no_prompt, write_private};
use time::OffsetDateTime;

fn cluster(n_nodes: u32, operators: Vec<Operator>) -> Cluster {
    let mut cluster = fixtures::three_member_etcd();
    let model = cluster.nodes["casper"].clone();
    let first = u32::from(Ipv4Addr::new(10, 13, 0, 0));
    let node = |index: u32| {
        let name = NodeName::parse(&format!("node{index}")).unwrap();
        let mut node = model.clone();
        node.name = name.clone();
        node.ip = Ipv4Addr::from(first + index).into();
        (name, node)
    };
    cluster.nodes = (1..=n_nodes).map(node).collect::<BTreeMap<_, _>>();
    cluster.operators = operators;
    cluster
}

fn timed<T>(what: &str, work: impl FnOnce() -> T) -> T {
    let start = Instant::now();
    let result = work();
    println!("{what:<34} {:>8.3} s", start.elapsed().as_secs_f64());
    result
}

fn main() {
    let n_nodes = std::env::args().nth(1).map_or(1000, |argument| argument.parse().unwrap());
    let directory = tempfile::tempdir().unwrap();
    let (root, certs) = (directory.path().to_owned(), directory.path().join("certs"));
    let (identity, other) = (generate_identity(), generate_identity());
    write_private(&root.join("identity.txt"), identity.secret().as_bytes()).unwrap();
    let operators = [identity.recipient(), other.recipient()];
    let operators: Vec<_> = operators
        .iter()
        .map(|age| Operator { name: (*age).to_owned(), ssh: None, age: Some((*age).to_owned()) })
        .collect();
    let cluster = cluster(n_nodes, operators.clone());
    let load = || Identities::load(&[root.join("identity.txt")], &no_prompt());
    let (now, policy) = (OffsetDateTime::now_utc(), Policy::default());

    println!("{n_nodes} nodes, {} threads", rayon::current_num_threads());
    timed("make", || update(&certs, &cluster, &policy, now, load).unwrap());
    timed("make again: nothing to do", || update(&certs, &cluster, &policy, now, load).unwrap());
    let survey = timed("survey", || survey(&certs, &cluster, &policy, now).unwrap());
    assert!(!survey.plan.makes_any());
    let rows = timed("list", || report::list(&survey));
    assert_eq!(rows.len(), 3 * n_nodes as usize + 2);
    let inventory = timed("inventory", || Inventory::read(&root).unwrap());
    let node = inventory.nodes.keys().next().unwrap();
    timed("decrypt the keys of one node", || {
        inventory.node_keys(&machinist_pki::table(&cluster), node, &load().unwrap(), &operators).unwrap()
    });
}
