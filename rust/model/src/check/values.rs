//! Findings about single values: addresses, networks, ports and AS numbers.

use ipnet::IpNet;
use serde_json::Number;

use crate::{codes::Code, path::AttrPath, report::Finding};

pub fn bad_address(path: &AttrPath, text: &str) -> Finding {
    let help = match text.parse::<IpNet>() {
        Ok(network) => format!("write only the address: \"{}\"", network.addr()),
        Err(_) if text.split('.').count() == 4 => {
            "write four numbers from 0 to 255 without leading zeros, such as \"10.0.0.2\"".to_owned()
        }
        Err(_) => "write an address such as \"10.0.0.2\" or \"fd00::2\"; names are not resolved".to_owned(),
    };
    Finding::new(
        Code::BadAddress,
        path.clone(),
        format!("\"{text}\" is not an IP address"),
        "addresses are used literally",
    )
    .help(help)
}

pub fn bad_network(path: &AttrPath, text: &str) -> Finding {
    let help = match text.parse::<std::net::IpAddr>() {
        Ok(address) => {
            format!("write its prefix length too, such as \"{address}/{}\"", if address.is_ipv4() { 24 } else { 64 })
        }
        Err(_) => "write an address and a prefix length, such as \"10.0.0.0/24\" or \"fd00::/64\"".to_owned(),
    };
    let why = "ranges are written in CIDR notation";
    Finding::new(Code::BadNetwork, path.clone(), format!("\"{text}\" is not a network"), why).help(help)
}

pub fn bad_port(path: &AttrPath, number: &Number) -> Finding {
    let message = format!("port {number} is out of range");
    Finding::new(Code::PortOutOfRange, path.clone(), message, "TCP ports are whole numbers from 1 to 65535")
        .help("write a whole number from 1 to 65535")
}

pub fn bad_as(path: &AttrPath, number: &Number) -> Finding {
    let message = format!("AS number {number} is out of range");
    let why = "AS numbers are whole numbers from 1 to 4294967295 (RFC 6793); 0 is reserved (RFC 7607)";
    Finding::new(Code::AsNumberOutOfRange, path.clone(), message, why)
        .help("for private use choose one from 64512 to 65534 (RFC 6996)")
}
