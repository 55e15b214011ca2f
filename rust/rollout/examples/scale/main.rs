//! Scaling of a deploy with the number of hosts: the deployer's time and memory for many FAKE hosts, and the time to
//! plan the waves:
//!
//! ```text
//! cargo run --release -p machinist-rollout --example scale [HOSTS] [PATHS]
//! ```
//!
//! The store, its closures and the nix programs are real ones of this computer; the connections are not, and a real
//! connection takes additional memory.

use std::{
    collections::{BTreeMap, BTreeSet},
    error::Error,
    fs,
    process::Command,
    sync::Arc,
    time::{Duration, Instant},
};

use machinist_model::NodeName;
use machinist_nix::{Nix, StorePath};
use machinist_rollout::{
    Events, Interrupt,
    deploy::{Context, Deploy, Outcome, Policy, Request, Target, Topology, Traits},
    journal::Journal,
    lock::{Keeper, claimant},
    step::activate::Bounds,
    waves::{Limit, Situation, Spread, waves},
};
use machinist_testkit::cluster::FakeCluster;

type Failure = Box<dyn Error + Send + Sync>;

fn main() -> Result<(), Failure> {
    let mut arguments = std::env::args().skip(1);
    let mut number = |default: usize| arguments.next().map_or(Ok(default), |text| text.parse());
    let (hosts, paths) = (number(200)?, number(1500)?);
    schedule(10_000)?;
    let before = systems(hosts, paths, "before")?;
    let after = systems(hosts, paths, "after")?;
    let cluster = FakeCluster::new(&before);
    for (what, wanted, changed) in [("no-op", &before, 0), ("one line changed on each", &after, hosts)] {
        // Resets the recorded peak.
        fs::write("/proc/self/clear_refs", "5")?;
        let begun = Instant::now();
        let report = deploy(&cluster, wanted, what)?;
        let took = begun.elapsed();
        let done = report.values().filter(|outcome| **outcome == Outcome::Changed).count();
        let whole = report.values().all(|outcome| matches!(outcome, Outcome::Changed | Outcome::Unchanged));
        if done != changed || !whole {
            return Err(format!("{what}: {report:?}").into());
        }
        println!("{hosts} fake hosts, {paths} paths each, {what}: {:.2} s, {} MB", took.as_secs_f64(), peak_memory()?);
    }
    Ok(())
}

fn names(count: usize) -> Result<Vec<NodeName>, Failure> {
    (1..=count).map(|index| NodeName::parse(&format!("n{index}")).map_err(Into::into)).collect()
}

/// Plans the waves of a cluster with three members in fifty zones.
fn schedule(count: usize) -> Result<(), Failure> {
    let names = names(count)?;
    let zones = names.iter().enumerate().map(|(index, name)| (name.clone(), format!("z{}", index % 50))).collect();
    let spread =
        Spread { max_unavailable: Some(Limit::Percent(1)), canary: 1, across_zones: false, ..Spread::default() };
    let situation = Situation {
        changing: names.iter().cloned().collect(),
        members: names.iter().take(3).cloned().collect(),
        bootstrapped: true,
        ingress: names.iter().rev().take(10).cloned().collect(),
        zones,
        spread,
        ..Situation::default()
    };
    let begun = Instant::now();
    let waves = waves(&situation)?;
    let took = begun.elapsed();
    let planned: BTreeSet<_> = waves.iter().flat_map(|wave| &wave.nodes).collect();
    if planned.len() != count {
        return Err(format!("{} of {count} nodes are in a wave", planned.len()).into());
    }
    println!("waves of {count} nodes: {:.4} s, {} waves", took.as_secs_f64(), waves.len());
    Ok(())
}

/// Writes a system for each host into the local store; all refer to the same paths.
fn systems(hosts: usize, paths: usize, what: &str) -> Result<BTreeMap<NodeName, StorePath>, Failure> {
    let expression = format!(
        "let paths = builtins.genList (i: builtins.toFile \"scale-path\" (toString i)) {paths};
         in builtins.concatStringsSep \"\\n\" (builtins.genList (i: builtins.toFile \"scale-system-n${{toString (i + 1)}}\"
              \"{what} ${{toString i}} ${{builtins.concatStringsSep \" \" paths}}\") {hosts})"
    );
    let output = Command::new("nix-instantiate")
        .args(["--eval", "--strict", "--json", "--read-write-mode", "-E", &expression])
        .output()?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into_owned().into());
    }
    let listing: String = serde_json::from_slice(&output.stdout)?;
    let systems = listing.lines().map(StorePath::parse).collect::<Result<Vec<_>, _>>()?;
    Ok(names(hosts)?.into_iter().zip(systems).collect())
}

fn deploy(
    cluster: &FakeCluster,
    systems: &BTreeMap<NodeName, StorePath>,
    what: &str,
) -> Result<BTreeMap<NodeName, Outcome>, Failure> {
    for (node, host) in &mut cluster.world().hosts {
        let wanted = systems.get(node).filter(|system| host.running.as_ref() != Some(*system));
        host.missing.extend(wanted.map(ToString::to_string));
    }
    let directory = tempfile::tempdir()?;
    let target = |(node, system): (&NodeName, &StorePath)| Target {
        node: node.clone(),
        system: system.clone(),
        keys: Vec::new(),
        installs_itself: false,
    };
    let traits = Traits { platform: "x86_64-linux".to_owned(), ..Traits::default() };
    let run = format!("scale-{}", what.len());
    let claimant = claimant(run.clone(), "scale@localhost".to_owned());
    let locks = Arc::new(Keeper::new(claimant, Arc::new(cluster.clone()), Interrupt::default()));
    let traits = systems.keys().map(|node| (node.clone(), traits.clone())).collect();
    let bounds =
        Bounds { activation: Duration::from_secs(60), confirmation: Duration::from_secs(60), ..Bounds::default() };
    let deploy = Deploy {
        context: Context {
            connector: Arc::new(cluster.clone()),
            locks: Arc::clone(&locks),
            keys: Arc::new(|_, _| Err("there are none".to_owned())),
            nix: Nix::find(Vec::new())?,
            workload: None,
            console: None,
            events: Events::new(drop),
            journal: Arc::new(Journal::begin(directory.path(), &run)?),
        },
        request: Request {
            run,
            targets: systems.iter().map(target).collect(),
            topology: Topology { traits, ..Topology::default() },
            from_host: false,
            planned: None,
            rebooted: BTreeSet::new(),
        },
        policy: Policy { bounds, ..Policy::default() },
        resume: None,
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let report = runtime.block_on(deploy.run());
    locks.release();
    Ok(report?.nodes)
}

/// Returns the peak memory of this process, in MiB.
fn peak_memory() -> Result<u64, Failure> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).ok_or("no VmHWM")?;
    let kilobytes: u64 = line.trim().trim_end_matches("kB").trim().parse()?;
    Ok(kilobytes / 1024)
}
