//! The sandbox's network: a bridge in its own namespace, with a veth pair to the operator and to each machine.
//!
//! The host's own namespace is never touched: both ends of each pair are created inside namespaces.

use std::{
    fs, io,
    io::Write,
    net::IpAddr,
    path::{Path, PathBuf},
    process::Stdio,
};

use rustix::{
    fs::{FsWord, statfs},
    mount::{UnmountFlags, unmount},
};

use super::{error::Error, lock::Lock, names, programs, record::Record};

/// Directory in which `ip netns` keeps its namespaces.
const NETNS: &str = "/run/netns";

/// The type of a namespace's file system (`NSFS_MAGIC` of linux/magic.h).
const NSFS_MAGIC: FsWord = 0x6e73_6673;

/// The operator's interface in its namespace.
const OPERATOR_INTERFACE: &str = "eth0";

/// Returns the path of a namespace, for `setns`, `nsenter --net=` and `ip netns exec`.
pub(super) fn path(namespace: &str) -> PathBuf {
    Path::new(NETNS).join(namespace)
}

/// Returns true if the namespace exists; a plain file, left behind by a power failure, does not count.
pub(super) fn exists(namespace: &str) -> bool {
    statfs(path(namespace)).is_ok_and(|found| found.f_type == NSFS_MAGIC)
}

/// Creates the switch's and the operator's namespace unless they exist. Returns true if it created them: then every
/// machine is disconnected.
pub(super) fn ensure_switch(record: &mut Record, state_dir: &Path, lock: &Lock) -> Result<bool, Error> {
    let (switch, operator) = (names::switch(&record.cluster), names::operator(&record.cluster));
    if record.switch_made && exists(&switch) && exists(&operator) {
        return Ok(false);
    }
    record.switch_made = false;
    record.save(state_dir)?;
    delete(&switch)?;
    delete(&operator)?;
    let mac = names::mac(&record.cluster, record.operator_ip);
    batch(
        lock,
        None,
        &format!(
            "netns add {switch}\nnetns add {operator}\n\
             link add {OPERATOR_INTERFACE} netns {operator} address {mac} type veth peer name operator netns {switch}\n"
        ),
    )?;
    // No spanning tree and no delay: a port forwards at once. No snooping: without a multicast querier on this bridge,
    // memberships would expire.
    batch(
        lock,
        Some(&switch),
        "link set lo up\nlink add br0 type bridge stp_state 0 forward_delay 0 mcast_snooping 0\nlink set br0 up\n\
         link set operator master br0\nlink set operator up\n",
    )?;
    let address = address_lines(record.operator_ip, record, OPERATOR_INTERFACE);
    batch(lock, Some(&operator), &address)?;
    record.switch_made = true;
    record.save(state_dir)?;
    Ok(true)
}

/// Input of `ip -batch` for one machine, by the namespace it runs in.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct MachineNetwork {
    /// Run in the host's namespace: creates the machine's namespace and its veth pair.
    pub host: String,
    /// Run in the switch's namespace.
    pub switch: String,
    /// Run in the machine's own namespace.
    pub machine: String,
}

/// Returns the commands that set up the network of a machine.
pub(super) fn of_machine(record: &Record, machine: &str) -> Result<MachineNetwork, Error> {
    let own = record.machine(machine)?;
    let (namespace, switch) = (names::machine(&record.cluster, machine), names::switch(&record.cluster));
    let (port, interface) = (names::port(machine), &own.interface);
    let mac = names::mac(&record.cluster, own.ip);
    Ok(MachineNetwork {
        host: format!(
            "netns add {namespace}\nlink add {interface} netns {namespace} address {mac} type veth peer name {port} netns {switch}\n"
        ),
        switch: format!("link set {port} master br0\nlink set {port} up\n"),
        machine: address_lines(own.ip, record, interface),
    })
}

/// Duplicate address detection would delay an IPv6 address by a second; uniqueness is checked here instead.
fn address_lines(ip: IpAddr, record: &Record, interface: &str) -> String {
    let nodad = if ip.is_ipv6() { " nodad" } else { "" };
    let prefix = record.network.prefix_len();
    format!("link set lo up\naddress add {ip}/{prefix} dev {interface}{nodad}\nlink set {interface} up\n")
}

/// Deletes a namespace; processes in it keep it alive until they end.
pub(super) fn delete(namespace: &str) -> Result<(), Error> {
    let path = path(namespace);
    match unmount(&path, UnmountFlags::DETACH) {
        // It does not exist, or is not mounted.
        Ok(()) | Err(rustix::io::Errno::NOENT | rustix::io::Errno::INVAL) => {}
        Err(error) => return Err(Error::io("unmount", &path)(error.into())),
    }
    match fs::remove_file(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other.map_err(Error::io("remove", &path)),
    }
}

/// Unmounts the directory that `ip netns add` mounted on itself, if no namespace is left in it.
pub(super) fn tidy() {
    let directory = Path::new(NETNS);
    let is_empty = fs::read_dir(directory).is_ok_and(|mut entries| entries.next().is_none());
    // Another program may be creating a namespace at this moment: then the mount is busy and stays.
    if is_empty && unmount(directory, UnmountFlags::empty()).is_ok() {
        let _ = fs::remove_dir(directory);
    }
}

/// Runs `ip -batch` in a namespace, or in the host's if `namespace` is `None`.
pub(super) fn batch(lock: &Lock, namespace: Option<&str>, lines: &str) -> Result<(), Error> {
    let arguments: Vec<&str> = match namespace {
        Some(namespace) => vec!["-n", namespace, "-batch", "-"],
        None => vec!["-batch", "-"],
    };
    let fail = |message: String| Error::Program { program: format!("ip {}", arguments.join(" ")), message };
    let start = |output| {
        programs::command("ip", &arguments).stdin(Stdio::piped()).stdout(output).stderr(Stdio::piped()).spawn()
    };
    let mut child = lock.held_by_output().and_then(start).map_err(|error| fail(error.to_string()))?;
    if let Some(mut stdin) = child.stdin.take() {
        // If ip exits early, its error output matters, not the broken pipe.
        let _ = stdin.write_all(lines.as_bytes());
    }
    let output = child.wait_with_output().map_err(|error| fail(error.to_string()))?;
    if output.status.success() {
        return Ok(());
    }
    Err(fail(String::from_utf8_lossy(&output.stderr).trim().replace('\n', "; ")))
}
