//! `test-cloud`: the test cloud as a program.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use serde_json::json;
use test_cloud::{Options, start};

/// Serve the documented APIs of Hetzner Cloud and DigitalOcean on loopback, for tests
///
/// Prints the addresses as one line of JSON when it listens, and runs until it is interrupted.
#[derive(Parser)]
struct Arguments {
    /// Address of Hetzner's API (`/v1`); port 0 is any free one
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:0")]
    hetzner: SocketAddr,
    /// Address of DigitalOcean's API (`/v2`)
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:0")]
    digitalocean: SocketAddr,
    /// Address of the API for tests
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:0")]
    control: SocketAddr,
    /// File that keeps the state
    #[arg(long, value_name = "FILE")]
    state: Option<PathBuf>,
    /// Shell command for the life of machines; gets a JSON document on its standard input
    #[arg(long, value_name = "COMMAND")]
    machines: Option<String>,
}

#[tokio::main]
async fn main() -> ExitCode {
    let Arguments { hetzner, digitalocean, control, state, machines } = Arguments::parse();
    let running = match start(Options { hetzner, digitalocean, control, state, machines, ..Options::default() }).await {
        Ok(running) => running,
        Err(error) => {
            let cause = std::error::Error::source(&error).map(|cause| format!(": {cause}")).unwrap_or_default();
            eprintln!("error: {error}{cause}");
            return ExitCode::FAILURE;
        }
    };
    let addresses = json!({
        "hetzner": format!("http://{}/v1", running.hetzner),
        "digitalocean": format!("http://{}/v2", running.digitalocean),
        "control": format!("http://{}", running.control),
    });
    println!("{addresses}");
    match tokio::signal::ctrl_c().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}
