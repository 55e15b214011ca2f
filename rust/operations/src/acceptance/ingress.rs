//! Check of the mesh's ingress, with requests from this computer like those of a browser.

use std::{
    io::{self, Read, Write},
    net::{IpAddr, SocketAddr, TcpStream},
    path::PathBuf,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use machinist_model::{Cluster, NodeName, Provider, RecordedState, Role};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned, pki_types::ServerName};

use super::{
    description::Host,
    report::{Earlier, Finding, Problem},
    site::Site,
};
use crate::sandbox;

/// Time limit of a connection, and of the wait for more of its answer.
const WITHIN: Duration = Duration::from_secs(10);

/// Maximum length of an answer's first line, in bytes.
const LONGEST: usize = 4096;

/// Every host answers on every ingress node.
pub(super) fn hosts(site: &Site<'_>, earlier: &Earlier) -> Finding {
    let nodes = site.targets_that(|node| site.cluster.runs_mesh(node) && node.roles.contains(&Role::Ingress));
    if nodes.is_empty() {
        return Finding::skipped("none of the targets is an ingress node of a mesh");
    }
    let mut finding = earlier.without(&["reachable"], nodes);
    let (client, addresses) = match (trusting(site), addresses(site)) {
        (Ok(client), Ok(addresses)) => (client, addresses),
        (Err(why), _) | (_, Err(why)) => {
            finding.problem(Problem::of_cluster(why));
            return finding;
        }
    };
    let mut requests: Vec<(NodeName, Asked)> = Vec::new();
    for node in finding.nodes.clone() {
        let Some(hosts) = site.description(&node).and_then(|description| description.ingress.as_ref()) else {
            finding.nodes.remove(&node);
            finding.notes.push(format!("without {node}: its system lists no hosts of the ingress"));
            continue;
        };
        let Some(address) = addresses(&node).filter(|_| !hosts.is_empty()) else {
            finding.nodes.remove(&node);
            finding.notes.push(format!("without {node}: its ingress has no hosts"));
            continue;
        };
        requests
            .extend(hosts.iter().flat_map(|(name, host)| asked(name, host, address)).map(|one| (node.clone(), one)));
    }
    let failures = thread::scope(|scope| {
        let begin = |(node, asked): &(NodeName, Asked)| {
            let (node, asked, client) = (node.clone(), asked.clone(), Arc::clone(&client));
            let namespace = namespace(site, &node);
            scope.spawn(move || {
                let entered = namespace.map_or(Ok(()), |namespace| sandbox::enter(&namespace));
                let failed = entered.map_err(|error| error.to_string()).and_then(|()| asked.send(&client)).err()?;
                Some(Problem::on(&node, format!("{}: {failed}", asked.url())))
            })
        };
        let threads: Vec<_> = requests.iter().map(begin).collect();
        threads.into_iter().filter_map(|thread| thread.join().ok().flatten()).collect::<Vec<_>>()
    });
    finding.problems.extend(failures);
    finding
}

/// A request for a path of a host, to one ingress node.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Asked {
    name: String,
    path: String,
    https: bool,
    address: SocketAddr,
}

fn asked(name: &str, host: &Host, address: IpAddr) -> Vec<Asked> {
    let port = if host.https { 443 } else { 80 };
    let request = |(name, path): (&str, &String)| {
        let (name, path) = (name.to_owned(), path.clone());
        Asked { name, path, https: host.https, address: SocketAddr::new(address, port) }
    };
    // The certificate has the other names as well; their routes are the same.
    let aliases = host.aliases.iter().filter_map(|alias| Some((alias.as_str(), host.paths.first()?)));
    host.paths.iter().map(|path| (name, path)).chain(aliases).map(request).collect()
}

impl Asked {
    fn url(&self) -> String {
        let scheme = if self.https { "https" } else { "http" };
        format!("{scheme}://{}{} at {}", self.name, self.path, self.address)
    }

    /// Sends the request; the status must be below 500.
    fn send(&self, client: &Arc<ClientConfig>) -> Result<(), String> {
        let stream = TcpStream::connect_timeout(&self.address, WITHIN).map_err(|error| error.to_string())?;
        let bounded = stream.set_read_timeout(Some(WITHIN)).and_then(|()| stream.set_write_timeout(Some(WITHIN)));
        bounded.map_err(|error| error.to_string())?;
        let status = if self.https {
            let name = ServerName::try_from(self.name.clone()).map_err(|error| error.to_string())?;
            let session = ClientConnection::new(Arc::clone(client), name).map_err(|error| error.to_string())?;
            self.exchange(StreamOwned::new(session, stream))
        } else {
            self.exchange(stream)
        };
        judged(&status.map_err(|error| error.to_string())?)
    }

    fn exchange(&self, mut stream: impl Read + Write) -> io::Result<String> {
        let Self { name, path, .. } = self;
        let text =
            format!("GET {path} HTTP/1.1\r\nHost: {name}\r\nUser-Agent: machinist-test\r\nConnection: close\r\n\r\n");
        stream.write_all(text.as_bytes())?;
        stream.flush()?;
        let (mut line, begun) = (Vec::new(), Instant::now());
        let mut byte = [0];
        while line.len() < LONGEST && begun.elapsed() < WITHIN {
            if stream.read(&mut byte)? == 0 || byte[0] == b'\n' {
                break;
            }
            line.push(byte[0]);
        }
        Ok(String::from_utf8_lossy(&line).into_owned())
    }
}

/// Accepts the first line of an answer whose status is below 500. Applications may answer a request without a session with 401.
fn judged(line: &str) -> Result<(), String> {
    let code = line.strip_prefix("HTTP/1.").and_then(|rest| rest.get(2..5)).and_then(|code| code.parse::<u16>().ok());
    match code {
        Some(100..=499) => Ok(()),
        Some(code) => Err(format!("status {code}")),
        None if line.is_empty() => Err("the connection was closed without an answer".to_owned()),
        None => Err("the answer is not HTTP".to_owned()),
    }
}

/// Returns a client that trusts the authorities of this computer, and those of the request.
fn trusting(site: &Site<'_>) -> Result<Arc<ClientConfig>, String> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if let Some(file) = &site.request.trust {
        let text = std::fs::read(file).map_err(|error| format!("cannot read {}: {error}", file.display()))?;
        let blocks: Vec<_> = x509_parser::pem::Pem::iter_from_buffer(&text).filter_map(Result::ok).collect();
        let (added, _) = roots.add_parsable_certificates(blocks.into_iter().map(|block| block.contents.into()));
        if added == 0 {
            return Err(format!("{} has no certificate (PEM)", file.display()));
        }
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let versions = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let client = versions.map_err(|error| error.to_string())?.with_root_certificates(roots).with_no_client_auth();
    Ok(Arc::new(client))
}

/// Returns the address of a node for requests from outside: its public one, or that of SSH.
fn addresses(site: &Site<'_>) -> Result<impl Fn(&NodeName) -> Option<IpAddr>, String> {
    let state = site.context.project.state().map_err(|failure| failure.in_one_line())?;
    let cluster = &site.cluster;
    Ok(move |node: &NodeName| outside(cluster, &state, node))
}

fn outside(cluster: &Cluster, state: &RecordedState, node: &NodeName) -> Option<IpAddr> {
    let declared = cluster.nodes.get(node)?;
    if let Some(server) = state.servers.get(node) {
        return Some(server.address);
    }
    let public = declared.public.first().copied();
    Some(public.or_else(|| declared.ssh.host.parse().ok()).unwrap_or(declared.ip))
}

/// Returns the network from which a sandbox machine is reached.
fn namespace(site: &Site<'_>, node: &NodeName) -> Option<PathBuf> {
    let is_sandbox = site.cluster.nodes.get(node).is_some_and(|node| node.provider == Provider::Sandbox);
    is_sandbox.then(|| sandbox::operator_namespace(&site.context.project, &site.cluster))
}

#[cfg(test)]
mod tests {
    use super::{Host, asked, judged};

    #[test]
    fn each_path_and_each_other_name_is_requested() {
        let words = |items: &[&str]| items.iter().map(|item| (*item).to_owned()).collect::<Vec<String>>();
        let host = Host { https: true, aliases: words(&["b.example"]), paths: words(&["/", "/api"]) };
        let found = asked("a.example", &host, std::net::Ipv4Addr::LOCALHOST.into());
        let found: Vec<String> = found.iter().map(super::Asked::url).collect();
        assert_eq!(
            found,
            [
                "https://a.example/ at 127.0.0.1:443",
                "https://a.example/api at 127.0.0.1:443",
                "https://b.example/ at 127.0.0.1:443",
            ]
        );
    }

    #[test]
    fn an_application_that_fails_or_is_not_there_is_no_answer() {
        for (line, good) in [
            ("HTTP/1.1 200 OK", true),
            ("HTTP/1.0 401 Unauthorized", true),
            ("HTTP/1.1 503 Service Unavailable", false),
            ("SSH-2.0-OpenSSH", false),
            ("", false),
            ("HTTP/1.1 2\u{e9}", false),
        ] {
            assert_eq!(judged(line).is_ok(), good, "{line}");
        }
    }
}
