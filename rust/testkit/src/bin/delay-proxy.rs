//! `delay-proxy PORT MILLISECONDS`: delays TCP connections that an nftables rule redirects to 127.0.0.1:PORT, by a
//! round trip of so many milliseconds. The kernel provides the original destination.
//!
//! The rule must exempt the proxy's own connections, for example by the group that it runs as.

use std::{
    error::Error,
    net::{SocketAddr, TcpListener, TcpStream},
    thread,
    time::Duration,
};

use machinist_testkit::delay::carry;
use rustix::net::sockopt::ip_original_dst;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [port, milliseconds] = arguments.as_slice() else {
        return Err("usage: delay-proxy PORT MILLISECONDS".into());
    };
    let one_way = Duration::from_millis(milliseconds.parse()?) / 2;
    let listener = TcpListener::bind(("127.0.0.1", port.parse()?))?;
    for client in listener.incoming() {
        let client = client?;
        thread::spawn(move || {
            if let Err(error) = serve(&client, one_way) {
                eprintln!("delay-proxy: {error}");
            }
        });
    }
    Ok(())
}

fn serve(client: &TcpStream, one_way: Duration) -> std::io::Result<()> {
    let target = ip_original_dst(client)?;
    carry(client, SocketAddr::V4(target), one_way)
}
