//! Making a sandbox what it shall be, and taking it away.

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
    spec::{MachineSpec, SandboxSpec},
};

/// Machines that are started at the same time; more would only wait for the processors.
const AT_ONCE: usize = 24;

/// Where systemd-nspawn keeps directories for each machine that a killed one leaves behind.
const NSPAWN: &str = "/run/systemd/nspawn";

/// A sandbox that is up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// The namespace in which a socket reaches every machine.
    pub operator_namespace: PathBuf,
    /// The operator's address in the node network.
    pub operator_ip: IpAddr,
    /// The machines that were asked for, sorted by name.
    pub machines: Vec<MachineReport>,
}

/// A machine whose sshd answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MachineReport {
    /// Host name.
    pub name: String,
    /// Its address in the node network.
    pub ip: IpAddr,
    /// The port at which its sshd answers.
    pub ssh_port: u16,
    /// Its network namespace.
    pub namespace: PathBuf,
    /// The host key it was made with: an OpenSSH public key line.
    pub host_key: String,
    /// Whether this run started it; false if it ran already.
    pub started: bool,
}

/// Makes what is missing, starts what is stopped, starts anew what is half alive, and leaves the rest alone.
///
/// Machines that exist and are not asked for stay as they are. Every wait is bounded.
///
/// # Errors
/// The specification cannot be, the computer lacks something, or machines did not get ready ([`Error::Machines`] names
/// them; the others are up). Another `up` goes on from there.
pub fn up(spec: &SandboxSpec, events: Events<'_>) -> Result<Report, Error> {
    spec.validate()?;
    require_root()?;
    programs::require(programs::TO_RUN)?;
    let cgroups = cgroup::hierarchy()?;
    make_dir(&spec.state_dir, 0o755)?;
    let lock = Lock::take(&lock_file(&spec.state_dir), LOCK_WITHIN, events)?;
    let old = Record::load(&spec.state_dir)?;
    let root = root::ensure(&spec.cache_dir, events)?;
    let mut record = Record::plan(old.as_ref(), spec, &cgroups, &root)?;
    check_names(old.as_ref(), &record)?;
    // Recorded before it is made: whatever happens from here on, `down` knows where to look.
    record.save(&spec.state_dir)?;
    let supervise = supervise_file(&spec.state_dir);
    if !fs::read_to_string(&supervise).is_ok_and(|text| text == prepare::SUPERVISE) {
        // A running sh keeps the file it has open: the new one has another name until it is whole.
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
            // It may just be powering off: then it is started after all.
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
        // The host key, and with it the machine's id, may be new by now.
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

/// What a machine needs.
enum Condition {
    /// Nothing.
    Fine,
    /// To be started.
    Stopped,
    /// To be ended and started.
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
        return Condition::Broken("the switch was made anew");
    }
    if !settings.are_in(&machine.directory()) {
        return Condition::Broken("its settings changed");
    }
    Condition::Fine
}

/// Nothing that another sandbox, or a person, made is taken for this sandbox's own.
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

/// Ends and removes everything the sandbox in `state_dir` made, its machines' state included; nothing there is fine.
///
/// The Debian root in the cache directory stays.
///
/// # Errors
/// Something could not be removed; the record stays, and `down` can be run again.
pub fn down(state_dir: &Path, events: Events<'_>) -> Result<(), Error> {
    require_root()?;
    if !state_dir.exists() {
        return Ok(());
    }
    let lock = Lock::take(&lock_file(state_dir), LOCK_WITHIN, events)?;
    if let Some(record) = Record::load(state_dir)? {
        let names: Vec<&String> = record.machines.keys().collect();
        for_each(
            &names,
            |name| (*name).clone(),
            |name| take_away(&Machine { record: &record, state_dir, name }, events),
        )?;
        network::delete(&names::switch(&record.cluster))?;
        network::delete(&names::operator(&record.cluster))?;
        network::tidy();
    }
    mountinfo::remove_tree(&state_dir.join("machines"))?;
    for file in ["supervise", "sandbox.json", "lock"] {
        remove_file(&state_dir.join(file))?;
    }
    // The lock is held: no other run writes there.
    machinist_durable::remove_leftovers(state_dir).map_err(Error::io("clean", state_dir))?;
    drop(lock);
    // Someone else's file in there keeps the directory.
    let _ = fs::remove_dir(state_dir);
    Ok(())
}

/// Ends and removes one machine with its state.
///
/// # Errors
/// There is no such machine, or something could not be removed.
pub fn remove(state_dir: &Path, machine: &str, events: Events<'_>) -> Result<(), Error> {
    require_root()?;
    Record::existing(state_dir)?;
    let _lock = Lock::take(&lock_file(state_dir), LOCK_WITHIN, events)?;
    let mut record = Record::existing(state_dir)?;
    record.machine(machine)?;
    take_away(&Machine { record: &record, state_dir, name: machine }, events)?;
    record.machines.remove(machine);
    record.save(state_dir)
}

fn take_away(machine: &Machine<'_>, events: Events<'_>) -> Result<(), Error> {
    machine.kill()?;
    network::delete(&machine.namespace())?;
    let container = names::container(&machine.record.cluster, machine.name);
    for kind in ["propagate", "unix-export"] {
        mountinfo::remove_tree(&Path::new(NSPAWN).join(kind).join(&container))?;
    }
    // In one step it is no machine's directory any more: a run that is killed here leaves no half of a machine's state.
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

/// Runs `action` for each item, several at once, and returns the results in the items' order, or all failures.
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
    fn all_failures_are_told_and_results_keep_their_order() {
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
