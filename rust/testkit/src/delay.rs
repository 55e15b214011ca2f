//! TCP link with a delay, as a substitute for netem, which some kernels do not have.
//!
//! Each incoming piece is queued with the time at which it may leave, so the delay costs no throughput, and the two
//! directions do not wait for each other. It does not lose packets, and does not start slowly as TCP does on a long
//! path. It therefore favours senders of much data over a new connection.

use std::{
    io::{self, Read, Write},
    net::{Shutdown, SocketAddr, TcpStream},
    sync::mpsc::{Receiver, SyncSender, sync_channel},
    thread,
    time::{Duration, Instant},
};

/// Maximum size of one read.
const PIECE: usize = 64 << 10;

/// Maximum number of pieces in flight in one direction: at 40 ms enough for 200 MB/s.
const UNDER_WAY: usize = 256;

struct Piece {
    leaves: Instant,
    bytes: Vec<u8>,
}

/// Forwards one connection, which was accepted just now, to `target`, with each byte delayed by `one_way`. Returns when
/// both directions have ended.
///
/// Opening is delayed too: the target sees the connection after one and a half round trips, as with TCP's three
/// packets, and no data of the client leaves before one round trip has passed. (The client considers itself connected
/// at once; its first bytes wait here for the round trip that it did not wait.)
///
/// # Errors
/// The target cannot be reached; the client's connection is closed.
pub fn carry(client: &TcpStream, target: SocketAddr, one_way: Duration) -> io::Result<()> {
    let opened = Instant::now() + one_way * 2;
    thread::sleep(one_way * 3);
    let host = TcpStream::connect(target)?;
    client.set_nodelay(true)?;
    host.set_nodelay(true)?;
    let now = Instant::now();
    let (from_client, to_host) = (client.try_clone()?, host.try_clone()?);
    let there = thread::spawn(move || pass(&from_client, &to_host, one_way, opened));
    pass(&host, client, one_way, now);
    // A thread that panicked has closed its side; no data remains.
    let _ = there.join();
    Ok(())
}

/// Forwards one direction until its end. An end or an error of either side ends the other.
fn pass(from: &TcpStream, to: &TcpStream, one_way: Duration, not_before: Instant) {
    let (sender, receiver) = sync_channel(UNDER_WAY);
    thread::scope(|scope| {
        scope.spawn(|| {
            if deliver(to, receiver).is_err() {
                // The receiver is gone: the reader must not wait for room.
                let _ = from.shutdown(Shutdown::Read);
            }
            let _ = to.shutdown(Shutdown::Write);
        });
        // A read error ends the stream as well.
        let _ = collect(from, &sender, one_way, not_before);
        drop(sender);
    });
}

fn collect(mut from: &TcpStream, queue: &SyncSender<Piece>, one_way: Duration, not_before: Instant) -> io::Result<()> {
    let mut buffer = vec![0; PIECE];
    loop {
        let length = from.read(&mut buffer)?;
        if length == 0 {
            return Ok(());
        }
        let leaves = Instant::now().max(not_before) + one_way;
        let piece = Piece { leaves, bytes: buffer[..length].to_vec() };
        if queue.send(piece).is_err() {
            return Ok(());
        }
    }
}

fn deliver(mut to: &TcpStream, queue: Receiver<Piece>) -> io::Result<()> {
    for Piece { leaves, bytes } in queue {
        thread::sleep(leaves.saturating_duration_since(Instant::now()));
        to.write_all(&bytes)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::net::TcpListener;

    use super::*;

    const ONE_WAY: Duration = Duration::from_millis(20);

    /// Returns a connection through a delayed link, and its other end.
    fn link() -> (TcpStream, TcpStream) {
        let host = TcpListener::bind("127.0.0.1:0").unwrap();
        let proxy = TcpListener::bind("127.0.0.1:0").unwrap();
        let target = host.local_addr().unwrap();
        let client = TcpStream::connect(proxy.local_addr().unwrap()).unwrap();
        let (accepted, _) = proxy.accept().unwrap();
        thread::spawn(move || carry(&accepted, target, ONE_WAY).unwrap());
        (client, host.accept().unwrap().0)
    }

    #[test]
    fn an_answer_takes_a_round_trip() {
        let (mut client, mut host) = link();
        let mut byte = [0];
        for _ in 0..2 {
            let begun = Instant::now();
            client.write_all(b"?").unwrap();
            host.read_exact(&mut byte).unwrap();
            host.write_all(b"!").unwrap();
            client.read_exact(&mut byte).unwrap();
            assert!(begun.elapsed() >= ONE_WAY * 2, "{:?}", begun.elapsed());
        }
    }

    #[test]
    fn the_first_byte_arrives_after_the_three_packets_of_the_opening() {
        let begun = Instant::now();
        let (mut client, mut host) = link();
        client.write_all(b"?").unwrap();
        host.read_exact(&mut [0]).unwrap();
        assert!(begun.elapsed() >= ONE_WAY * 3, "{:?}", begun.elapsed());
    }

    #[test]
    fn much_does_not_take_longer_than_a_little_and_both_ends_may_send_at_once() {
        const MUCH: usize = 16 << 20;
        let (client, host) = link();
        let begun = Instant::now();
        thread::scope(|scope| {
            for mut end in [&client, &host] {
                scope.spawn(move || {
                    end.write_all(&vec![7; MUCH]).unwrap();
                    end.shutdown(Shutdown::Write).unwrap();
                });
                scope.spawn(move || {
                    let mut all = Vec::new();
                    end.read_to_end(&mut all).unwrap();
                    assert_eq!(all.len(), MUCH);
                });
            }
        });
        // A delay for each piece of 64 KiB would take ten seconds.
        assert!(begun.elapsed() < Duration::from_secs(4), "{:?}", begun.elapsed());
    }

    #[test]
    fn an_end_that_goes_away_ends_the_other() {
        let (mut client, host) = link();
        drop(host);
        assert_eq!(client.read(&mut [0]).unwrap(), 0);
    }
}
