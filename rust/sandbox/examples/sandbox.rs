//! Measures a sandbox: `cargo run -p machinist-sandbox --example sandbox -- up|down|status NUMBER [STATE_DIR]`.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::{env, net::Ipv4Addr, path::PathBuf, time::Instant};

use machinist_sandbox::{DEFAULT_CACHE_DIR, MachineSpec, SandboxSpec, down, status, up};

fn main() {
    let mut arguments = env::args().skip(1);
    let verb = arguments.next().unwrap_or_default();
    let n_machines: u8 = arguments.next().and_then(|text| text.parse().ok()).unwrap_or(3);
    let state_dir = arguments.next().map_or_else(|| "/var/lib/machinist/sandbox/measure".into(), PathBuf::from);
    let begun = Instant::now();
    let events = |event| println!("{:6.3} s  {event:?}", begun.elapsed().as_secs_f64());
    match verb.as_str() {
        "up" => {
            let keys = env::var("AUTHORIZED_KEY").into_iter().collect::<Vec<_>>();
            let machine =
                |index: u8| MachineSpec::new(&format!("m{index}"), Ipv4Addr::new(10, 98, 0, index).into(), &keys);
            let spec = SandboxSpec {
                cluster: "measure".into(),
                network: "10.98.0.0/24".parse().unwrap(),
                reserved: Vec::new(),
                machines: (1..=n_machines).map(machine).collect(),
                state_dir,
                cache_dir: DEFAULT_CACHE_DIR.into(),
            };
            match up(&spec, &events) {
                Ok(report) => println!("{} at {}", report.operator_ip, report.operator_namespace.display()),
                Err(error) => println!("{error}\nhint: {:?}", error.hint()),
            }
        }
        "down" => println!("{:?}", down(&state_dir, &events)),
        _ => println!("{:#?}", status(&state_dir)),
    }
    println!("{:6.3} s  {verb}", begun.elapsed().as_secs_f64());
}
