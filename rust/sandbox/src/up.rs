//! Creation and removal of a sandbox and its machines.

use std::{
    fs,
    net::IpAddr,
    path::{Path, PathBuf},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::Instant,
};

use super::{
    cgroup,
    error::{Error, MachineFailure},
    event::{Event, Events},
    file::{make_dir, remove_file, write},
    lock::{LOCK_WITHIN, Lock, lock_file},
    machine::{Machine, supervise_file},
    mountinfo, names, network,
    prepare::{self, Settings},
    programs,
    record::Record,
    root,
    spec::{MachineRoot, MachineSpec, SandboxSpec},
};

/// Machines that are started concurrently; more would only wait for the processors.
const AT_ONCE: usize = 24;

/// Directory in which systemd-nspawn keeps one directory per machine, which it leaves behind when it is killed.
const NSPAWN: &str = "/run/systemd/nspawn";

/// A running sandbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// The namespace in which a socket reaches every machine.
    pub operator_namespace: PathBuf,
    /// The operator's address in the node network.
    pub operator_ip: IpAddr,
    /// The requested machines, sorted by name.
    pub machines: Vec<MachineReport>,
}

/// A machine whose sshd answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MachineReport {
    /// Host name.
    pub name: String,
    /// Its address in the node network.
    pub ip: IpAddr,
    /// The port of its sshd.
    pub ssh_port: u16,
    /// Its network namespace.
    pub namespace: PathBuf,
    /// The host key it was created with: an OpenSSH public key line.
    pub host_key: String,
    /// True if this run started the machine, false if it was already running.
    pub started: bool,
}

/// Creates missing machines, starts stopped ones, restarts unhealthy ones, and leaves the others alone.
///
/// Machines that exist but are not requested are left unchanged. Every wait is bounded.
///
/// # Errors
/// The specification is invalid, a program is missing, or machines did not get ready ([`Error::Machines`] names them;
/// the others are up). Another `up` continues from there.
pub fn up(spec: &SandboxSpec, events: Events<'_>) -> Result<Report, Error> {
    spec.validate()?;
    require_root()?;
    programs::require(programs::TO_RUN)?;
    let cgroups = cgroup::hierarchy()?;
    make_dir(&spec.state_dir, 0o755)?;
    let lock = Lock::acquire(&lock_file(&spec.state_dir), LOCK_WITHIN, events)?;
    let old = Record::load(&spec.state_dir)?;
    let needs_debian = spec.machines.iter().any(|machine| machine.root == MachineRoot::Debian);
    let root = if needs_debian { Some(root::debian_root(&spec.cache_dir, events)?) } else { None };
    let mut record = Record::plan(old.as_ref(), spec, &cgroups, root.as_deref())?;
    check_names(old.as_ref(), &record)?;
    // Recorded before it is created: whatever happens from here on, `down` finds it.
    record.save(&spec.state_dir)?;
    let supervise = supervise_file(&spec.state_dir);
    if !fs::read_to_string(&supervise).is_ok_and(|text| text == prepare::SUPERVISE) {
        // A running sh keeps its file open: the new script is written under another name until it is complete.
        write(&supervise, prepare::SUPERVISE.as_bytes(), 0o755)?;
    }
    let is_cut_off = network::ensure_switch(&mut record, &spec.state_dir, &lock)?;
    let mut machines: Vec<&MachineSpec> = spec.machines.iter().collect();
    machines.sort_by(|one, other| one.name.cmp(&other.name));
    let machines = for_each(
        &machines,
        |spec| spec.name.clone(),
        |machine_spec| {
            let machine = Machine { record: &record, state_dir: &spec.state_dir, name: &machine_spec.name };
            bring_up(&machine, machine_spec, is_cut_off, events)
        },
    )?;
    Ok(Report {
        operator_namespace: network::path(&names::operator(&record.cluster)),
        operator_ip: record.operator_ip,
        machines,
    })
}

fn bring_up(
    machine: &Machine<'_>,
    spec: &MachineSpec,
    is_cut_off: bool,
    events: Events<'_>,
) -> Result<MachineReport, Error> {
    let begun = Instant::now();
    let name = || machine.name.to_owned();
    let settings = Settings::of(machine, &supervise_file(machine.state_dir))?;
    let mut started = true;
    match condition(machine, &settings, is_cut_off) {
        Condition::Fine => {
            prepare::sync_authorized_keys(machine, spec)?;
            // It may be powering off at this moment: then it is started after all.
            started = match machine.wait_until_ready() {
                Err(Error::Ended { .. }) => true,
                other => other.map(|()| false)?,
            };
        }
        Condition::Stopped => {}
        Condition::Broken(reason) => events(Event::Restarting { machine: name(), reason }),
    }
    if started {
        events(Event::Starting { machine: name() });
        machine.kill()?;
        prepare::make(machine, spec)?;
        // The host key, and the machine id derived from it, may be new.
        Settings::of(machine, &supervise_file(machine.state_dir))?.write(&machine.directory())?;
        prepare::sync_authorized_keys(machine, spec)?;
        machine.launch()?;
        machine.wait_until_ready()?;
        events(Event::Ready { machine: name(), took: begun.elapsed() });
    } else {
        events(Event::Unchanged { machine: name() });
    }
    Ok(MachineReport {
        name: name(),
        ip: spec.ip,
        ssh_port: spec.ssh_port,
        namespace: network::path(&machine.namespace()),
        host_key: prepare::host_key(&machine.directory()).unwrap_or_default(),
        started,
    })
}

/// Action that a machine needs.
enum Condition {
    /// None.
    Fine,
    /// A start.
    Stopped,
    /// A restart, with its cause.
    Broken(&'static str),
}

fn condition(machine: &Machine<'_>, settings: &Settings, is_cut_off: bool) -> Condition {
    if cgroup::processes(&machine.group()).is_empty() {
        return Condition::Stopped;
    }
    if machine.processes().supervisor.is_none() {
        return Condition::Broken("its supervisor is gone");
    }
    if is_cut_off {
        return Condition::Broken("the switch was recreated");
    }
    if !settings.are_in(&machine.directory()) {
        return Condition::Broken("its settings changed");
    }
    Condition::Fine
}

/// Refuses names that another sandbox or a person already uses: their resources are never taken over.
fn check_names(old: Option<&Record>, new: &Record) -> Result<(), Error> {
    let is_new = |name: &&String| old.is_none_or(|old| !old.machines.contains_key(*name));
    let mut paths: Vec<PathBuf> = Vec::new();
    for name in new.machines.keys().filter(is_new) {
        paths.extend([network::path(&names::machine(&new.cluster, name)), new.group(name)]);
    }
    if old.is_none() {
        paths.extend([names::switch(&new.cluster), names::operator(&new.cluster)].map(|name| network::path(&name)));
    }
    match paths.into_iter().find(|path| path.exists()) {
        Some(path) => Err(Error::NameTaken { path }),
        None => Ok(()),
    }
}

/// Ends and removes everything that the sandbox in `state_dir` created, including its machines' state. Succeeds if the
/// directory does not exist.
///
/// The Debian root in the cache directory is kept.
///
/// # Errors
/// Something could not be removed; the record is kept, and `down` can be run again.
pub fn down(state_dir: &Path, events: Events<'_>) -> Result<(), Error> {
    require_root()?;
    if !state_dir.exists() {
        return Ok(());
    }
    let lock = Lock::acquire(&lock_file(state_dir), LOCK_WITHIN, events)?;
    if let Some(record) = Record::load(state_dir)? {
        let names: Vec<&String> = record.machines.keys().collect();
        for_each(
            &names,
            |name| (*name).clone(),
            |name| tear_down(&Machine { record: &record, state_dir, name }, events),
        )?;
        network::delete(&names::switch(&record.cluster))?;
        network::delete(&names::operator(&record.cluster))?;
        network::tidy();
    }
    mountinfo::remove_tree(&state_dir.join("machines"))?;
    for file in ["supervise", "sandbox.json", "lock"] {
        remove_file(&state_dir.join(file))?;
    }
    // The lock is held: no other run writes here.
    machinist_durable::remove_leftovers(state_dir).map_err(Error::io("clean", state_dir))?;
    drop(lock);
    // The directory is kept if it contains files of others.
    let _ = fs::remove_dir(state_dir);
    Ok(())
}

/// Ends one machine and removes it with its state.
///
/// # Errors
/// No machine of this name, or something could not be removed.
pub fn remove(state_dir: &Path, machine: &str, events: Events<'_>) -> Result<(), Error> {
    require_root()?;
    Record::existing(state_dir)?;
    let _lock = Lock::acquire(&lock_file(state_dir), LOCK_WITHIN, events)?;
    let mut record = Record::existing(state_dir)?;
    record.machine(machine)?;
    tear_down(&Machine { record: &record, state_dir, name: machine }, events)?;
    record.machines.remove(machine);
    record.save(state_dir)
}

fn tear_down(machine: &Machine<'_>, events: Events<'_>) -> Result<(), Error> {
    machine.kill()?;
    network::delete(&machine.namespace())?;
    let container = names::container(&machine.record.cluster, machine.name);
    for kind in ["propagate", "unix-export"] {
        mountinfo::remove_tree(&Path::new(NSPAWN).join(kind).join(&container))?;
    }
    // The rename makes it no longer a machine's directory in one step: a run killed here leaves no partial state of a
    // machine.
    let directory = machine.directory();
    let removed = directory.with_extension("removed");
    mountinfo::remove_tree(&removed)?;
    if directory.exists() {
        fs::rename(&directory, &removed).map_err(Error::io("rename", &directory))?;
    }
    mountinfo::remove_tree(&removed)?;
    events(Event::Removed { machine: machine.name.to_owned() });
    Ok(())
}

/// Runs `action` for each item, several concurrently. Returns the results in the items' order, or all failures.
fn for_each<I: Sync, R: Send>(
    items: &[I],
    name: impl Fn(&I) -> String,
    action: impl Fn(&I) -> Result<R, Error> + Sync,
) -> Result<Vec<R>, Error> {
    let next = AtomicUsize::new(0);
    let results: Mutex<Vec<(usize, Result<R, Error>)>> = Mutex::new(Vec::with_capacity(items.len()));
    let work = || {
        while let Some((index, item)) =
            Some(next.fetch_add(1, Ordering::Relaxed)).and_then(|i| Some((i, items.get(i)?)))
        {
            let result = action(item);
            results.lock().unwrap_or_else(PoisonError::into_inner).push((index, result));
        }
    };
    thread::scope(|scope| {
        for _ in 0..items.len().min(AT_ONCE) {
            scope.spawn(work);
        }
    });
    let mut results = results.into_inner().unwrap_or_else(PoisonError::into_inner);
    results.sort_by_key(|(index, _)| *index);
    let (mut done, mut failures) = (Vec::new(), Vec::new());
    for (index, result) in results {
        match result {
            Ok(result) => done.push(result),
            Err(error) => failures.push(MachineFailure { machine: name(&items[index]), error: Box::new(error) }),
        }
    }
    if failures.is_empty() { Ok(done) } else { Err(Error::Machines { failures, total: items.len() }) }
}

fn require_root() -> Result<(), Error> {
    if rustix::process::geteuid().is_root() { Ok(()) } else { Err(Error::NotRoot) }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use super::*;

    #[test]
    fn all_failures_are_reported_and_results_keep_their_order() {
        let double = |item: &usize| Ok(item * 2);
        let items: Vec<usize> = (0..100).collect();
        let doubled = for_each(&items, ToString::to_string, double).unwrap();
        assert_eq!(doubled, items.iter().map(|item| item * 2).collect::<Vec<_>>());
        let odd_fails = |item: &usize| if item.is_multiple_of(2) { Ok(()) } else { Err(Error::NotRoot) };
        let error = for_each(&[1, 2, 3], |item| format!("m{item}"), odd_fails).unwrap_err().to_string();
        assert!(error.starts_with("2 of 3 machines failed: m1: the sandbox"), "{error}");
        assert!(error.contains("; m3: "), "{error}");
    }
}
