//! Shell: OpenSSH's command line for a machine, with the cluster's pinned host keys.

use std::path::PathBuf;

use machinist_model::NodeName;
use machinist_remote::{Destination, SshConfig};

use crate::{
    connect::{self, KNOWN_HOSTS},
    context::{Connections, Context},
    failure::{Failure, Kind},
};

/// Request for a shell.
#[derive(Clone, Debug)]
pub struct Request {
    /// Name of the node.
    pub node: NodeName,
    /// Command to run in place of a login shell; none if empty.
    pub command: Vec<String>,
}

/// Command line to run in the operator's terminal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shell {
    /// Program.
    pub program: &'static str,
    /// Arguments.
    pub arguments: Vec<String>,
}

/// Returns the command line of `ssh` for a node. The host key must be pinned; `ssh` refuses any other.
///
/// # Errors
/// The cluster's files are invalid, the node is not deployed to, or no host key is pinned for it.
pub fn command(context: &Context, request: &Request) -> Result<Shell, Failure> {
    let cluster = context.project.load()?.cluster;
    connect::select(&cluster, Some(&[request.node.to_string()]))?;
    let missing = || Failure::new(Kind::Input, format!("{} is not in machines.nix", request.node));
    let node = cluster.nodes.get(&request.node).ok_or_else(missing)?;
    let keys = match &context.connections {
        Connections::Ssh { keys } => keys.as_slice(),
        Connections::Given(_) => &[],
    };
    let destination = connect::destination(&context.project, &cluster, node, keys, &SshConfig::new());
    let endpoint = destination.endpoint();
    let endpoint = endpoint.map_err(|error| Failure::on(&node.name, Kind::Input, &error).maybe_hint(error.hint()))?;
    let line = Line { known_hosts: known_hosts(context)?, destination: &destination, user: &endpoint.user };
    let mut arguments = line.arguments();
    arguments.extend(request.command.iter().cloned());
    Ok(match &destination.namespace {
        Some(namespace) => {
            let within = [format!("--net={}", namespace.display()), "--".to_owned(), "ssh".to_owned()];
            Shell { program: "nsenter", arguments: within.into_iter().chain(arguments).collect() }
        }
        None => Shell { program: "ssh", arguments },
    })
}

fn known_hosts(context: &Context) -> Result<PathBuf, Failure> {
    let file = context.project.directory.join(KNOWN_HOSTS);
    file.canonicalize().map_err(|_| {
        Failure::new(Kind::Refused, format!("{} does not exist: no host key is pinned", file.display()))
            .hint("the first `machinist deploy` or `machinist status` shows the key, and the option that pins it")
    })
}

/// Command line of `ssh`, before it is text.
struct Line<'a> {
    known_hosts: PathBuf,
    destination: &'a Destination,
    user: &'a str,
}

impl Line<'_> {
    fn arguments(&self) -> Vec<String> {
        let Self { known_hosts, destination, user } = self;
        let options = [
            format!("UserKnownHostsFile=\"{}\"", known_hosts.display()),
            "GlobalKnownHostsFile=none".to_owned(),
            "StrictHostKeyChecking=yes".to_owned(),
            "UpdateHostKeys=no".to_owned(),
            // Other sources of accepted keys, and a connection of another command that was opened with them.
            "IgnoreUnknown=KnownHostsCommand".to_owned(),
            "KnownHostsCommand=none".to_owned(),
            "VerifyHostKeyDNS=no".to_owned(),
            "ControlPath=none".to_owned(),
            // Keys are pinned under the names of machines.nix, whatever HostName the configuration sets.
            format!("HostKeyAlias={}", destination.host_pattern()),
            "CheckHostIP=no".to_owned(),
        ];
        let mut words: Vec<String> = options.into_iter().flat_map(|option| ["-o".to_owned(), option]).collect();
        // The operator's configuration does not apply within a sandbox.
        let unconfigured = destination.namespace.is_some().then_some(["-F", "none"]);
        words.extend(unconfigured.into_iter().flatten().map(str::to_owned));
        let keys = destination.identity_files.iter();
        words.extend(keys.flat_map(|key| ["-i".to_owned(), key.display().to_string()]));
        words.extend(destination.port.into_iter().flat_map(|port| ["-p".to_owned(), port.to_string()]));
        words.extend(["-l", *user, "--", &destination.host].map(str::to_owned));
        words
    }
}

#[cfg(test)]
mod tests {
    use machinist_remote::Destination;

    use super::Line;

    #[test]
    fn only_the_pinned_key_is_accepted_under_the_name_of_machines_nix() {
        let mut destination = Destination::new("casper", "10.0.0.2");
        destination.port = Some(2222);
        let line = Line { known_hosts: "/c d/state/known_hosts".into(), destination: &destination, user: "ops" };
        let words = line.arguments().join(" ");
        assert_eq!(
            words,
            "-o UserKnownHostsFile=\"/c d/state/known_hosts\" -o GlobalKnownHostsFile=none -o StrictHostKeyChecking=yes \
             -o UpdateHostKeys=no -o IgnoreUnknown=KnownHostsCommand -o KnownHostsCommand=none -o VerifyHostKeyDNS=no \
             -o ControlPath=none -o HostKeyAlias=[10.0.0.2]:2222 -o CheckHostIP=no -p 2222 -l ops -- 10.0.0.2"
        );
    }
}
