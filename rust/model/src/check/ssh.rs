//! How machines are reached: one SSH address leads to one machine.

use std::collections::HashMap;

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

/// No `ssh.host` leads to another machine than its own.
pub fn shared(context: &Context<'_>, report: &mut Report) {
    let machines = &context.shape.machines;
    let mut owners: HashMap<(String, u16), &String> = HashMap::with_capacity(machines.len() * 2);
    for (name, machine) in machines {
        owners.insert((name.to_lowercase(), port(machine)), name);
        for address in machine.ip.iter().flat_map(OneOrTwo::iter) {
            owners.entry((address.to_string(), port(machine))).or_insert(name);
        }
    }
    for (name, machine) in context.taking_part() {
        let Some(host) = &machine.ssh.host else { continue };
        let path = machine_path(name).join("ssh").join("host");
        let owner = owners.entry((host.to_lowercase(), port(machine))).or_insert(name);
        if *owner != name {
            let message = format!("\"{host}\" port {} leads to {owner}", port(machine));
            let why = format!("a deploy of {name} would overwrite {owner}");
            let finding = Finding::new(Code::SharedSshAddress, path, message, why)
                .help(format!("write the address at which {name} itself is reached, or another ssh.port"));
            report.push(finding.related(machine_path(owner), format!("{owner} is here")));
        }
    }
}

/// `ssh.host` and `ssh.user` are what `ssh` takes, and no options of it.
pub fn syntax(context: &Context<'_>, report: &mut Report) {
    for (name, machine) in &context.shape.machines {
        let path = machine_path(name).join("ssh");
        if let Some(host) = machine.ssh.host.as_deref().filter(|host| !is_host(host)) {
            let why = "it is handed to ssh as a host";
            let help = "write a host name or address alone; the login name is ssh.user, the port ssh.port";
            report.push(
                Finding::new(Code::BadSshTarget, path.join("host"), format!("{host:?} is no host"), why).help(help),
            );
        }
        if let Some(user) = machine.ssh.user.as_deref().filter(|user| !is_user(user)) {
            let why = "it is handed to ssh as a login name";
            let help = "write a login name such as \"root\"";
            report.push(
                Finding::new(Code::BadSshTarget, path.join("user"), format!("{user:?} is no login name"), why)
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
