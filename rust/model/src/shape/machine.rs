//! One machine of the `machines` section.

use std::{collections::BTreeMap, net::IpAddr};

use schemars::JsonSchema;
use serde::Deserialize;

use super::{DigitaloceanShape, DiskShape, HetznerShape, OneOrTwo};
use crate::{Provider, Role};

/// One machine.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct MachineShape {
    /// The node's address inside `network.nodes`. A list of two, one IPv4 and one IPv6, is dual stack. A machine with
    /// `digitalocean` has none here: the provider chooses it, and `machinist provision` records it.
    #[schemars(extend("x-required" = true, "x-example" = "\"10.13.13.2\""))]
    pub ip: Option<OneOrTwo<IpAddr>>,
    /// Deploys the machine. `false` for a Router or similar that is known but not deployed. A Router that is `true` gets BIRD.
    #[schemars(extend("x-default" = "true", "x-example" = "false"))]
    pub nixos: bool,
    /// Includes the machine. A disabled machine only reserves its name and address.
    #[schemars(extend("x-default" = "true", "x-example" = "false"))]
    pub enable: bool,
    /// The Nix system: `"x86_64-linux"` or `"aarch64-linux"`.
    #[schemars(extend("x-default" = "\"x86_64-linux\"", "x-example" = "\"aarch64-linux\""))]
    pub system: Option<String>,
    /// Tasks of the machine: `"etcd"` (a voting member), `"control-plane"` (API server, controller manager and scheduler),
    /// `"worker"` (applications), `"ingress"` (traffic from outside), `"service"` (services with state, such as
    /// databases), `"registry"` (container images), `"cache"` (artefacts that other nodes fetch).
    #[schemars(extend("x-default" = "[ ]", "x-example" = "[ \"etcd\" \"control-plane\" \"worker\" ]"))]
    pub roles: Vec<Role>,
    /// The network interface that carries `ip`. Without it machinist sets no address: the machine has it already.
    #[schemars(extend("x-default" = "null", "x-example" = "\"enp2s0\""))]
    pub interface: Option<String>,
    /// The disk that `machinist install` erases, an absolute path; one below `/dev/disk/by-id` names the same disk
    /// after each boot. A set describes a mirror, ZFS, another firmware, or disks that are kept.
    #[schemars(extend("x-default" = "null", "x-example" = "\"/dev/disk/by-id/nvme-1\""))]
    pub disk: Option<DiskShape>,
    /// Labels, for selectors (`machinist deploy zone=a`) and as Kubernetes node labels.
    #[schemars(extend("x-default" = "{ }", "x-example" = "{ zone = \"a\"; }"))]
    pub labels: BTreeMap<String, String>,
    /// Kubernetes taints, each `key=value:Effect` or `key:Effect`; the effect is NoSchedule, PreferNoSchedule or
    /// NoExecute.
    #[schemars(extend("x-default" = "[ ]", "x-example" = "[ \"dedicated=db:NoSchedule\" ]"))]
    pub taints: Vec<String>,
    /// Applications that run on it: names of folders of `app_modules/`.
    #[schemars(extend("x-default" = "[ ]", "x-example" = "[ \"postgresql\" ]"))]
    pub apps: Vec<String>,
    /// Conditions that a new system must fulfil before it is confirmed, by name.
    #[schemars(extend("x-default" = "{ }", "x-example" = "{ web.http = \"http://127.0.0.1:8080/health\"; }"))]
    pub gates: BTreeMap<String, GateShape>,
    /// The machine as a BGP Router.
    pub bgp: BgpShape,
    /// Origin: `"sandbox"` (a container on this computer), `"self-hosted"` (your own machine),
    /// `"hetzner"`, `"digitalocean"`.
    #[schemars(extend("x-default" = "\"self-hosted\"", "x-example" = "\"sandbox\""))]
    pub provider: Provider,
    /// The server that `machinist provision` creates at Hetzner. Without it, a machine of `provider = "hetzner"` is one
    /// that you created.
    #[schemars(extend("x-default" = "null"))]
    pub hetzner: Option<HetznerShape>,
    /// The droplet that `machinist provision` creates at DigitalOcean. Without it, a machine of
    /// `provider = "digitalocean"` is one that you created.
    #[schemars(extend("x-default" = "null"))]
    pub digitalocean: Option<DigitaloceanShape>,
    /// The public addresses of the machine's DNS records, as they are published. By default, that of the server that
    /// `machinist provision` created; otherwise `ssh.host` or `ip`, if they are public addresses.
    #[schemars(extend("x-default" = "[ ]", "x-example" = "[ \"203.0.113.7\" \"2001:db8::7\" ]"))]
    pub public: Vec<IpAddr>,
    /// The address or DNS name at which the other nodes reach it for the control mesh. `"none"`: they do not, as behind
    /// NAT; it connects to them.
    #[schemars(extend("x-default" = "the first of `public`, or the address of the provisioned server", "x-example" = "\"203.0.113.7\""))]
    pub endpoint: Option<String>,
    /// Settings of SSH connections to it.
    pub ssh: SshShape,
    /// The k3s server that founds the cluster; at most one. Only used at the first deploy: later the recorded state counts.
    #[schemars(extend("x-default" = "false", "x-example" = "true"))]
    pub cluster_init: bool,
}

impl Default for MachineShape {
    fn default() -> Self {
        Self {
            ip: None,
            nixos: true,
            enable: true,
            system: None,
            roles: Vec::new(),
            interface: None,
            disk: None,
            labels: BTreeMap::new(),
            taints: Vec::new(),
            apps: Vec::new(),
            gates: BTreeMap::new(),
            bgp: BgpShape::default(),
            provider: Provider::SelfHosted,
            hetzner: None,
            digitalocean: None,
            public: Vec::new(),
            endpoint: None,
            ssh: SshShape::default(),
            cluster_init: false,
        }
    }
}

/// A gate: a command or a URL, retried until it succeeds or its timeout is over.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct GateShape {
    /// A program and its arguments, run by root on the machine; the gate passes when it exits with 0. It is in the system's
    /// closure, which is world-readable: no secrets in it.
    #[schemars(extend("x-default" = "[ ]", "x-example" = "[ \"pg_isready\" \"-q\" ]"))]
    pub command: Vec<String>,
    /// A URL that the machine itself requests; the gate passes when the response has the status.
    #[schemars(extend("x-default" = "null", "x-example" = "\"http://127.0.0.1:8080/health\""))]
    pub http: Option<String>,
    /// The expected status of the response, 100 to 599.
    #[schemars(extend("x-default" = "200", "x-example" = "204"))]
    pub status: Option<u16>,
    /// Time to wait for the gate to pass, in seconds, 1 to 600.
    #[schemars(extend("x-default" = "30", "x-example" = "120"))]
    pub timeout: Option<u16>,
}

/// The machine as a BGP Router.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct BgpShape {
    /// Its AS number: 1 to 4294967295; 64512 to 65534 are for private use.
    #[serde(rename = "as")]
    #[schemars(extend("x-default" = "null", "x-example" = "64513"))]
    pub router_as: Option<u32>,
}

/// Settings of SSH connections to a machine.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct SshShape {
    /// The host name, address, or name in the operator's SSH configuration, which applies to it (docs/guides/ssh.md).
    #[schemars(extend("x-default" = "the machine's ip", "x-example" = "\"192.168.1.14\""))]
    pub host: Option<String>,
    /// The TCP port on which the machine's sshd listens, 1 to 65535. The `Port` of the SSH configuration counts for
    /// connections where this is not set.
    #[schemars(extend("x-default" = "22", "x-example" = "2222"))]
    pub port: Option<u16>,
    /// The login name. Anyone but `root` needs sudo without a password. The `User` of the SSH configuration counts where
    /// this is not set.
    #[schemars(extend("x-default" = "\"root\"", "x-example" = "\"admin\""))]
    pub user: Option<String>,
}
