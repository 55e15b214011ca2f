//! Names of the kernel objects of a sandbox: namespaces, interfaces, control groups.
//!
//! Labels have no dot, so `mch-<cluster>.<machine>` is unique (a dash would not be: `a-b` and `c`, `a` and `b-c`); and
//! no label begins with `_`, so the switch and the operator's namespace never collide with a machine.

use std::net::IpAddr;

use sha2::{Digest, Sha256};

/// Returns the name of a machine's network namespace and control group.
pub(super) fn machine(cluster: &str, machine: &str) -> String {
    format!("mch-{cluster}.{machine}")
}

/// Returns the name of the namespace that holds the bridge.
pub(super) fn switch(cluster: &str) -> String {
    format!("mch-{cluster}._switch")
}

/// Returns the name of the namespace in which the operator's sockets are created.
pub(super) fn operator(cluster: &str) -> String {
    format!("mch-{cluster}._operator")
}

/// Returns the name of a machine's port at the switch: 14 bytes, of at most 15 that an interface name may have
/// (`IFNAMSIZ`).
pub(super) fn port(machine: &str) -> String {
    format!("p-{}", &digest(&[machine])[..12])
}

/// Returns the container's name, which nspawn uses as a host name of at most 64 bytes and in `/run/systemd/nspawn`.
pub(super) fn container(cluster: &str, machine: &str) -> String {
    format!("mch-{}", &digest(&[cluster, machine])[..16])
}

/// Returns the locally administered MAC address derived from an IP address: no neighbour keeps a stale entry, neither
/// after a reboot nor when another machine takes over the address (which took 28 s to expire).
pub(super) fn mac(cluster: &str, ip: IpAddr) -> String {
    let digest = digest(&["mac", cluster, &ip.to_string()]);
    let pairs: Vec<&str> = (0..5).map(|index| &digest[index * 2..index * 2 + 2]).collect();
    format!("02:{}", pairs.join(":"))
}

/// Returns SHA-256 in hexadecimal over length-prefixed parts, so that different lists of parts never give the same
/// input.
pub(super) fn digest(parts: &[&str]) -> String {
    let mut hasher = Sha256::new();
    for part in parts {
        hasher.update((part.len() as u64).to_le_bytes());
        hasher.update(part.as_bytes());
    }
    hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_two_machines_never_meet() {
        let [first, second] = [1, 2].map(|host| IpAddr::from([10, 13, 13, host]));
        assert_eq!(machine("magi", "casper"), "mch-magi.casper");
        assert_ne!(machine("a-b", "c"), machine("a", "b-c"));
        assert_ne!(container("a-b", "c"), container("a", "b-c"));
        assert_ne!(machine("magi", "switch"), switch("magi"));
        assert_ne!(machine("magi", "operator"), operator("magi"));
        assert_ne!(mac("magi", first), mac("magi", second));
        assert_ne!(mac("magi", first), mac("other", first));
    }

    #[test]
    fn names_fit_into_the_kernel_however_long_the_label() {
        let long = "x".repeat(63);
        assert_eq!(port(&long).len(), 14);
        assert!(container(&long, &long).len() <= 64);
        assert!(machine(&long, &long).len() <= 255);
        assert_eq!(mac(&long, [255; 16].into()).len(), 17);
        assert!(mac(&long, [255; 16].into()).starts_with("02:"));
    }
}
