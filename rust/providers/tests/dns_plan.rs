//! Properties of the changes of a zone, on a zone in memory: whatever it has, nothing of others is touched, a second run
//! has nothing to do, and a run that is cut off anywhere is continued by the next one.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Mutex,
};

use machinist_providers::{
    CloudError,
    dns::{
        Zone, apply,
        desired::Desired,
        owner,
        plan::{self, Plan, Verb},
        zone::{Contents, FoundRecord, FoundSet, Key, Kind, Set},
    },
};
use proptest::prelude::*;

/// Sets by name and type: time and values.
type Sets = BTreeMap<(String, String), (u32, BTreeSet<String>)>;

/// A zone that takes a number of changes, and then none any more.
struct Memory {
    sets: Mutex<Sets>,
    left: Mutex<usize>,
}

impl Memory {
    fn new(sets: Sets) -> Self {
        Self { sets: Mutex::new(sets), left: Mutex::new(usize::MAX) }
    }

    fn change(&self, change: impl FnOnce(&mut Sets)) -> Result<(), CloudError> {
        let mut left = self.left.lock().unwrap();
        if *left == 0 {
            return Err(CloudError::Interrupted);
        }
        *left -= 1;
        change(&mut self.sets.lock().unwrap());
        Ok(())
    }

    fn now(&self) -> Sets {
        self.sets.lock().unwrap().clone()
    }
}

fn found(((name, kind), (ttl, values)): (&(String, String), &(u32, BTreeSet<String>))) -> FoundSet {
    let record = |value: &String| FoundRecord { value: value.clone(), id: None, ttl: None };
    FoundSet {
        name: name.clone(),
        kind: kind.clone(),
        ttl: Some(*ttl),
        records: values.iter().map(record).collect(),
        protected: false,
    }
}

impl Zone for Memory {
    fn provider(&self) -> &'static str {
        "memory"
    }

    fn requests(&self) -> u64 {
        0
    }

    async fn contents(&self, _zone: &str) -> Result<Option<Contents>, CloudError> {
        let sets = self.now().iter().map(found).collect();
        Ok(Some(Contents { sets, ..Contents::default() }))
    }

    async fn write(&self, _zone: &str, set: &Set, _found: Option<&FoundSet>) -> Result<(), CloudError> {
        let key = (set.key.name.clone(), set.key.kind.to_string());
        self.change(|sets| drop(sets.insert(key, (set.ttl, set.values.clone()))))
    }

    async fn erase(&self, _zone: &str, found: &FoundSet) -> Result<(), CloudError> {
        self.change(|sets| drop(sets.remove(&(found.name.clone(), found.kind.clone()))))
    }

    async fn add_text(&self, _zone: &str, name: &str, text: &str, ttl: u32) -> Result<(), CloudError> {
        self.change(|sets| {
            let set = sets.entry((name.to_owned(), "TXT".to_owned())).or_insert_with(|| (ttl, BTreeSet::new()));
            set.1.insert(text.to_owned());
        })
    }

    async fn remove_text(&self, _zone: &str, found: &FoundSet, text: &str) -> Result<(), CloudError> {
        self.change(|sets| {
            let key = (found.name.clone(), "TXT".to_owned());
            let Some(set) = sets.get_mut(&key) else { return };
            set.1.remove(text);
            if set.1.is_empty() {
                sets.remove(&key);
            }
        })
    }
}

const CLUSTER: &str = "magi";
const NAMES: [&str; 5] = ["@", "www", "*", "a.b", "b"];

fn set() -> impl Strategy<Value = (Key, BTreeSet<String>)> {
    let kind = prop_oneof![Just(Kind::A), Just(Kind::Aaaa)];
    (prop::sample::select(NAMES.to_vec()), kind, prop::collection::btree_set(1_u8..4, 1..3)).prop_map(
        |(name, kind, hosts)| {
            let value = |host: u8| match kind {
                Kind::A => format!("203.0.113.{host}"),
                Kind::Aaaa => format!("2001:db8::{host}"),
            };
            (Key { name: name.to_owned(), kind }, hosts.into_iter().map(value).collect())
        },
    )
}

fn desired() -> impl Strategy<Value = Desired> {
    (prop::collection::vec(set(), 0..6), prop::sample::select(vec![60, 300])).prop_map(|(sets, ttl)| Desired {
        cluster: CLUSTER.to_owned(),
        zone: "example.com".to_owned(),
        ttl,
        sets: sets.into_iter().collect(),
        notes: Vec::new(),
    })
}

/// A zone of others: addresses, aliases, texts at names of owners, delegations, and claims of another cluster.
fn others() -> impl Strategy<Value = Sets> {
    let kind = prop::sample::select(vec!["A", "AAAA", "CNAME", "TXT", "MX", "NS"]);
    let set = (prop::sample::select(NAMES.to_vec()), kind, 0_u8..3);
    prop::collection::vec(set, 0..4).prop_map(|sets| {
        let mut all = Sets::new();
        for (name, kind, number) in sets {
            let (name, value) = match (kind, number) {
                ("A", _) => (name.to_owned(), format!("198.51.100.{number}")),
                ("AAAA", _) => (name.to_owned(), format!("2001:db8:1::{number}")),
                ("TXT", 0) => (owner::name(name), "v=spf1 -all".to_owned()),
                ("TXT", 1) => (owner::name(name), owner::text("other", Kind::A)),
                _ => (name.to_owned(), format!("text {number}")),
            };
            all.insert((name, kind.to_owned()), (3600, [value].into()));
        }
        all
    })
}

fn run<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(work)
}

/// Plans, and makes the changes if nothing is refused.
fn once(zone: &Memory, desired: &Desired) -> Result<Plan, Vec<plan::Problem>> {
    run(async {
        let contents = zone.contents(&desired.zone).await.unwrap().unwrap();
        let plan = plan::plan(desired, &contents)?;
        apply::apply(zone, desired, &plan, &contents, &|_| {}).await;
        Ok(plan)
    })
}

/// What of the zone is ours: addresses that are claimed, and the claims.
fn without_ours(sets: &Sets) -> Sets {
    let contents = Contents { sets: sets.iter().map(found).collect(), ..Contents::default() };
    let claims = contents.sets.iter().flat_map(owner::claims).filter(|claim| claim.cluster == CLUSTER);
    let ours: BTreeSet<(String, String)> = claims.map(|claim| (claim.key.name, claim.key.kind.to_string())).collect();
    let mut rest: Sets =
        sets.iter().filter(|(key, _)| !ours.contains(key)).map(|(k, v)| (k.clone(), v.clone())).collect();
    for set in rest.values_mut() {
        set.1.retain(|value| !value.contains("machinist/cluster=magi,"));
    }
    rest.retain(|_, set| !set.1.is_empty());
    rest
}

proptest! {
    #[test]
    fn a_second_run_has_nothing_to_do_and_nothing_of_others_is_touched(
        foreign in others(), first in desired(), second in desired(),
    ) {
        let zone = Memory::new(foreign.clone());
        for wanted in [&first, &second] {
            let before = zone.now();
            match once(&zone, wanted) {
                Ok(_) => {
                    for set in wanted.sets() {
                        let now = zone.now();
                        let found = now.get(&(set.key.name.clone(), set.key.kind.to_string())).unwrap();
                        prop_assert_eq!(found, &(set.ttl, set.values.clone()));
                    }
                    prop_assert!(once(&zone, wanted).unwrap().is_empty());
                }
                Err(problems) => {
                    prop_assert!(!problems.is_empty());
                    prop_assert_eq!(zone.now(), before, "refused, and changed");
                }
            }
            prop_assert_eq!(without_ours(&zone.now()), foreign.clone());
        }
        let none = Desired { sets: BTreeMap::new(), ..first };
        once(&zone, &none).unwrap();
        prop_assert_eq!(zone.now(), foreign, "not all of ours is gone");
    }

    #[test]
    fn a_run_that_is_cut_off_anywhere_is_continued_by_the_next_one(
        foreign in others(), first in desired(), second in desired(), moments in prop::collection::vec(0_usize..6, 1..5),
    ) {
        let zone = Memory::new(foreign.clone());
        prop_assume!(once(&zone, &first).is_ok());
        let whole = Memory::new(zone.now());
        prop_assume!(once(&whole, &second).is_ok());
        for moment in moments {
            *zone.left.lock().unwrap() = moment;
            once(&zone, &second).unwrap();
            prop_assert_eq!(without_ours(&zone.now()), foreign.clone());
        }
        *zone.left.lock().unwrap() = usize::MAX;
        once(&zone, &second).unwrap();
        prop_assert_eq!(zone.now(), whole.now());
    }
}

fn wanted(sets: &[(&str, Kind, &str)]) -> Desired {
    let set = |(name, kind, value): &(&str, Kind, &str)| {
        (Key { name: (*name).to_owned(), kind: *kind }, BTreeSet::from([(*value).to_owned()]))
    };
    Desired {
        cluster: CLUSTER.to_owned(),
        zone: "example.com".to_owned(),
        ttl: 300,
        sets: sets.iter().map(set).collect(),
        notes: Vec::new(),
    }
}

fn zone(sets: &[(&str, &str, &str)]) -> Memory {
    let set = |(name, kind, value): &(&str, &str, &str)| {
        (((*name).to_owned(), (*kind).to_owned()), (300, BTreeSet::from([(*value).to_owned()])))
    };
    Memory::new(sets.iter().map(set).collect())
}

#[track_caller]
fn refused(sets: &[(&str, &str, &str)], expect: &str) {
    let problems = once(&zone(sets), &wanted(&[("a.www", Kind::A, "203.0.113.1")])).unwrap_err();
    let texts: Vec<String> = problems.iter().map(|problem| format!("{}; {}", problem.message, problem.hint)).collect();
    assert!(texts.len() == 1 && texts[0].contains(expect), "{texts:?}");
}

#[test]
fn a_record_without_our_owner_s_is_refused_with_the_way_to_hand_it_over() {
    let text = "_machinist.a.www.example.com \"heritage=machinist,machinist/cluster=magi,machinist/type=A\"";
    refused(&[("a.www", "A", "203.0.113.1")], text);
}

#[test]
fn a_name_of_another_cluster_is_refused() {
    let other = owner::text("other", Kind::A);
    refused(&[("_machinist.a.www", "TXT", &other)], "belongs to the cluster other");
}

#[test]
fn an_alias_excludes_addresses() {
    refused(&[("a.www", "CNAME", "elsewhere.example.org.")], "is an alias (CNAME)");
}

#[test]
fn a_name_below_a_delegation_would_not_be_found() {
    refused(&[("www", "NS", "ns.example.org.")], "www.example.com is delegated");
    let plan = once(&zone(&[("ww", "NS", "ns.example.org.")]), &wanted(&[("a.www", Kind::A, "203.0.113.1")])).unwrap();
    assert_eq!(plan.count(Verb::Create), 1);
}

#[test]
fn an_owner_s_record_without_a_record_is_removed() {
    let zone = zone(&[("_machinist.gone", "TXT", &owner::text(CLUSTER, Kind::A))]);
    let plan = once(&zone, &wanted(&[])).unwrap();
    assert_eq!(plan.count(Verb::Delete), 1);
    assert!(zone.now().is_empty());
}
