//! HTTP requests of the load: plain HTTP/1.1, each over a new connection, to the ingress nodes in turn.

use std::{
    io::{self, Read as _, Write as _},
    net::{IpAddr, SocketAddr, TcpStream},
    time::{Duration, Instant},
};

use machinist_model::{Cluster, Role};

use crate::failure::{Failure, Kind};

/// Time limit of connecting, and of the whole answer.
const WITHIN: Duration = Duration::from_secs(2);

/// Maximum length of an answer that is read, in bytes.
const LONGEST: u64 = 1 << 20;

/// A URL that the load requests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// As given.
    pub url: String,
    /// Addresses of its servers, which are requested in turn; at least one.
    addresses: Vec<SocketAddr>,
    host: String,
    path: String,
}

/// Parses the URLs; those with a host name are served by the cluster's ingress nodes.
///
/// # Errors
/// One of them is invalid.
pub fn targets(urls: &[String], cluster: &Cluster) -> Result<Vec<Target>, Failure> {
    let ingress: Vec<IpAddr> = cluster.with_role(Role::Ingress).map(|node| node.ip).collect();
    let parse = |url: &String| Target::parse(url, &ingress).map_err(|error| Failure::new(Kind::Input, error));
    urls.iter().map(parse).collect()
}

impl Target {
    /// Parses `http://HOST[:PORT][/PATH]`. A host that is no address is served by the ingress nodes.
    ///
    /// # Errors
    /// The reason, as text: another scheme, or a name without an ingress node.
    pub fn parse(url: &str, ingress: &[IpAddr]) -> Result<Self, String> {
        let rest = url.strip_prefix("http://").ok_or_else(|| format!("`{url}` does not begin with http://"))?;
        let (host, path) = rest.split_once('/').map_or((rest, String::new()), |(host, path)| (host, path.to_owned()));
        if host.is_empty() || url.chars().any(|character| character.is_control() || character == ' ') {
            return Err(format!("`{url}` is not a URL"));
        }
        let addresses = match (host.parse::<SocketAddr>(), host.parse::<IpAddr>()) {
            (Ok(address), _) => vec![address],
            (_, Ok(ip)) => vec![SocketAddr::new(ip, 80)],
            _ => {
                let port = host.rsplit_once(':').map_or(Ok(80), |(_, port)| port.parse());
                let port = port.map_err(|_| format!("`{url}` has no valid port"))?;
                ingress.iter().map(|ip| SocketAddr::new(*ip, port)).collect()
            }
        };
        if addresses.is_empty() {
            return Err(format!("`{url}` names a host, but no node has the role `ingress`: use a node's address"));
        }
        Ok(Self { url: url.to_owned(), addresses, host: host.to_owned(), path: format!("/{path}") })
    }

    /// Requests the URL and returns true if the status is below 400.
    pub fn answers(&self, turn: usize) -> bool {
        self.request(turn).is_ok_and(|status| is_success(&status))
    }

    fn request(&self, turn: usize) -> io::Result<Vec<u8>> {
        let address = self.addresses[turn % self.addresses.len()];
        let mut stream = TcpStream::connect_timeout(&address, WITHIN)?;
        stream.set_read_timeout(Some(WITHIN))?;
        let Self { path, host, .. } = self;
        stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n").as_bytes())?;
        let mut status = vec![0; 12];
        stream.read_exact(&mut status)?;
        // A server whose answer is not read to its end counts an error.
        let (mut stream, begun) = (stream.take(LONGEST), Instant::now());
        let mut rest = [0; 8 << 10];
        while stream.read(&mut rest)? > 0 {
            if begun.elapsed() >= WITHIN {
                return Err(io::ErrorKind::TimedOut.into());
            }
        }
        Ok(status)
    }
}

/// Returns true for `HTTP/1.1 200` and every other status from 200 to 399.
fn is_success(status: &[u8]) -> bool {
    let text = std::str::from_utf8(status).unwrap_or_default();
    let code = text.strip_prefix("HTTP/1.").and_then(|rest| rest.get(2..)).and_then(|code| code.parse::<u16>().ok());
    code.is_some_and(|code| (200..400).contains(&code))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::{Target, is_success};

    #[test]
    fn a_name_is_served_by_the_ingress_nodes_and_an_address_by_itself() {
        let ingress = ["10.0.0.7".parse().unwrap(), "10.0.0.8".parse().unwrap()];
        let target = Target::parse("http://www.example.org/a?b", &ingress).unwrap();
        assert_eq!((target.host.as_str(), target.path.as_str()), ("www.example.org", "/a?b"));
        assert_eq!(target.addresses.len(), 2);
        let target = Target::parse("http://10.0.0.9:8080", &ingress).unwrap();
        assert_eq!((target.addresses[0].to_string().as_str(), target.path.as_str()), ("10.0.0.9:8080", "/"));
        assert_eq!(Target::parse("http://[fd00::1]:81/", &[]).unwrap().addresses[0].to_string(), "[fd00::1]:81");
        for (url, words) in [
            ("https://x/", "http://"),
            ("http://", "not a URL"),
            ("http://a b/", "not a URL"),
            ("http://a\r\nX: y/", "not a URL"),
            ("http://a:x/", "port"),
        ] {
            assert!(Target::parse(url, &ingress).unwrap_err().contains(words), "{url}");
        }
        assert!(Target::parse("http://a/", &[]).unwrap_err().contains("ingress"));
    }

    #[test]
    fn a_status_below_400_is_an_answer() {
        for (status, success) in [
            ("HTTP/1.1 200", true),
            ("HTTP/1.0 302", true),
            ("HTTP/1.1 503", false),
            ("HTTP/1.1 404", false),
            ("SSH-2.0-Open", false),
            ("HTTP/1.1 2\u{e9}", false),
        ] {
            assert_eq!(is_success(status.as_bytes()), success, "{status}");
        }
    }
}
