//! SSH addresses of machines: one address leads to one machine.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv4Addr},
};

use super::{Context, machine_path};
use crate::{
    codes::Code,
    defaults,
    report::{Finding, Report},
    shape::{MachineShape, OneOrTwo},
};

fn port(machine: &MachineShape) -> u16 {
    machine.ssh.port.unwrap_or(defaults::SSH_PORT)
}

/// Checks that no `ssh.host` leads to another machine.
pub fn shared(context: &Context<'_>, report: &mut Report) {
    let machines = &context.shape.machines;
    let mut owners: HashMap<(String, u16), &String> = HashMap::with_capacity(machines.len() * 3);
    let cluster = &context.shape.cluster;
    let domain = cluster.name.as_deref().map(|name| defaults::domain(cluster, name).to_lowercase());
    for (name, machine) in machines {
        let label = name.to_lowercase();
        if let Some(domain) = &domain {
            owners.insert((format!("{label}.{domain}"), port(machine)), name);
        }
        owners.insert((label, port(machine)), name);
        for address in machine.ip.iter().flat_map(OneOrTwo::iter) {
            owners.entry((address.to_canonical().to_string(), port(machine))).or_insert(name);
        }
    }
    for (name, machine) in context.taking_part() {
        let Some(host) = &machine.ssh.host else { continue };
        let path = machine_path(name).join("ssh").join("host");
        let owner = owners.entry((canonical(host), port(machine))).or_insert(name);
        if *owner != name {
            let message = format!("\"{host}\" port {} leads to {owner}", port(machine));
            let why = format!("a deploy of {name} would overwrite {owner}");
            let finding = Finding::new(Code::SharedSshAddress, path, message, why)
                .help(format!("write the SSH address of {name} itself, or another ssh.port"));
            report.push(finding.related(machine_path(owner), format!("{owner} is here")));
        }
    }
}

/// Returns the canonical spelling of a host: lower case, without the dot of the DNS root, addresses in their shortest
/// form, mapped IPv4 addresses as IPv4. The interface of a link-local address (fe80::1%enp2s0) is kept.
fn canonical(host: &str) -> String {
    let host = host.strip_suffix('.').unwrap_or(host).to_lowercase();
    let (address, zone) = host.split_once('%').map_or((host.as_str(), None), |(address, zone)| (address, Some(zone)));
    let parsed = address.parse::<IpAddr>().ok().or_else(|| numbers(address).map(IpAddr::V4));
    match (parsed.map(|address| address.to_canonical()), zone) {
        (Some(address), None) => address.to_string(),
        (Some(address), Some(zone)) => format!("{address}%{zone}"),
        (None, _) => host,
    }
}

/// Reads an IPv4 address as `getaddrinfo` does (inet_aton(3)): one to four numbers, decimal, octal or hexadecimal; the
/// last one fills the remaining bytes.
fn numbers(text: &str) -> Option<Ipv4Addr> {
    let number = |part: &str| match part.strip_prefix("0x") {
        Some(digits) => u32::from_str_radix(digits, 16).ok(),
        None if part.len() > 1 && part.starts_with('0') => u32::from_str_radix(part, 8).ok(),
        None => part.parse().ok(),
    };
    let parts: Vec<u32> = text.split('.').map(number).collect::<Option<_>>()?;
    let (last, first) = parts.split_last()?;
    if first.len() > 3 || first.iter().any(|part| *part > 255) {
        return None;
    }
    let room = 32 - 8 * u32::try_from(first.len()).ok()?;
    let fits = room == 32 || *last < 1 << room;
    let high = first.iter().zip([24, 16, 8]).fold(0, |sum, (part, shift)| sum | part << shift);
    fits.then(|| Ipv4Addr::from(high | last))
}

/// Checks that `ssh.host` and `ssh.user` are valid arguments of `ssh`, and not options.
pub fn syntax(context: &Context<'_>, report: &mut Report) {
    for (name, machine) in &context.shape.machines {
        let path = machine_path(name).join("ssh");
        if let Some(host) = machine.ssh.host.as_deref().filter(|host| !is_host(host)) {
            let why = "it is passed to ssh as a host";
            let help = "write only a host name or address; the login name is ssh.user, the port ssh.port";
            report.push(
                Finding::new(Code::BadSshTarget, path.join("host"), format!("{host:?} is not a host"), why).help(help),
            );
        }
        if let Some(user) = machine.ssh.user.as_deref().filter(|user| !is_user(user)) {
            let why = "it is passed to ssh as a login name";
            let help = "write a login name such as \"root\"";
            report.push(
                Finding::new(Code::BadSshTarget, path.join("user"), format!("{user:?} is not a login name"), why)
                    .help(help),
            );
        }
    }
}

fn is_host(host: &str) -> bool {
    // fe80::1%enp2s0 is an address with its interface.
    let address = host.split_once('%').map_or(host, |(address, _)| address);
    if address.parse::<std::net::Ipv6Addr>().is_ok() {
        return host
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b':' | b'.' | b'%' | b'-' | b'_'));
    }
    is_plain(host) && host.len() <= 253
}

fn is_user(user: &str) -> bool {
    is_plain(user) && user.len() <= 32
}

fn is_plain(text: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
    !text.is_empty() && text.bytes().all(plain) && !text.starts_with(['-', '.'])
}

#[cfg(test)]
mod tests {
    use super::canonical;

    #[track_caller]
    fn check(one: &str, other: &str) {
        assert_eq!(canonical(one), canonical(other), "{one} and {other}");
    }

    #[test]
    fn equal_hosts_have_one_spelling() {
        check("fd77:9::9", "fd77:9:0::9");
        check("fd77:9::9", "FD77:0009:0:0::9");
        check("::ffff:10.13.13.2", "10.13.13.2");
        check("::ffff:a0d:d02", "10.13.13.2");
        check("gate.example.org.", "Gate.Example.org");
        check("fe80:0::1%enp2s0", "fe80::1%enp2s0");
        for other in ["0x0a.13.13.2", "012.015.13.2", "10.13.3330", "10.855298", "168627458", "0xa0d0d02"] {
            check(other, "10.13.13.2");
        }
    }

    #[test]
    fn other_hosts_stay_apart() {
        for (one, other) in [
            ("fe80::1%enp2s0", "fe80::1%enp3s0"),
            ("10.13.13.256", "10.13.14.0"),
            ("1.2.3.4.5", "1.2.3.4"),
            ("cp1", "cp1.example.org"),
        ] {
            assert_ne!(canonical(one), canonical(other));
        }
    }
}
