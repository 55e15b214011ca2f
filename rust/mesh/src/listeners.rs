//! Parser of /proc/net/tcp: ports of 127.0.0.1 that other programs occupy, and open connections of an instance.

use std::collections::BTreeSet;

/// The state of a listening socket in /proc/net/tcp.
const LISTEN: &str = "0A";

/// Parses /proc/net/tcp or /proc/net/tcp6. A program that listens on all addresses occupies the port of 127.0.0.1 too,
/// and on Linux one that listens on all of IPv6 usually occupies all of IPv4.
#[must_use]
pub fn taken(text: &str) -> BTreeSet<u16> {
    let taken = |line: &str| {
        let mut cells = line.split_ascii_whitespace().skip(1);
        let (local, _remote, state) = (cells.next()?, cells.next()?, cells.next()?);
        let (address, port) = local.split_once(':')?;
        // The kernel prints addresses as numbers in host byte order, four bytes each.
        let is_ours = address.bytes().all(|byte| byte == b'0')
            || address == loopback()
            || address == format!("0000000000000000{}{}", mapped(), loopback());
        if state == LISTEN && is_ours { u16::from_str_radix(port, 16).ok() } else { None }
    };
    text.lines().skip(1).filter_map(taken).collect()
}

/// The state of an open connection in /proc/net/tcp.
const ESTABLISHED: &str = "01";

/// Returns the number of open connections to a local port. Parses /proc/net/tcp or /proc/net/tcp6.
#[must_use]
pub fn connections(text: &str, port: u16) -> usize {
    let port = format!(":{port:04X}");
    let stands = |line: &&str| {
        let mut cells = line.split_ascii_whitespace().skip(1);
        let is_local = cells.next().is_some_and(|local| local.ends_with(&port));
        is_local && cells.nth(1) == Some(ESTABLISHED)
    };
    text.lines().skip(1).filter(stands).count()
}

fn loopback() -> String {
    format!("{:08X}", u32::from_ne_bytes([127, 0, 0, 1]))
}

fn mapped() -> String {
    format!("{:08X}", u32::from_ne_bytes([0, 0, 0xff, 0xff]))
}

#[cfg(test)]
mod tests {
    use super::{connections, taken};

    const TCP: &str = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:0CEA 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 1 1 0 100 0 0 10 0
   1: 00000000:0016 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 1 1 0 100 0 0 10 0
   2: 0122220A:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 1 1 0 100 0 0 10 0
   3: 0100007F:1F91 0100007F:0016 01 00000000:00000000 00:00000000 00000000     0        0 1 1 0 100 0 0 10 0
";
    const TCP6: &str = "  sl  local_address                         remote_address                        st tx_queue
   0: 00000000000000000000000000000000:0050 00000000000000000000000000000000:0000 0A 00000000:00000000
   1: 00000000000000000000000001000000:0051 00000000000000000000000000000000:0000 0A 00000000:00000000
   2: 0000000000000000FFFF00000100007F:0052 00000000000000000000000000000000:0000 0A 00000000:00000000
";

    #[test]
    fn open_connections_are_counted_by_their_local_port() {
        assert_eq!([8081, 22, 8080].map(|port| connections(TCP, port)), [1, 0, 0]);
    }

    #[cfg(target_endian = "little")]
    #[test]
    fn a_port_is_taken_on_127_0_0_1_and_on_all_addresses() {
        assert_eq!(taken(TCP), [22, 3306].into(), "8080 is on another address, 8081 is not listening");
        assert_eq!(taken(TCP6), [80, 82].into());
        assert!(taken("").is_empty());
    }
}
