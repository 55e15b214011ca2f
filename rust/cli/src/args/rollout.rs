//! Arguments shared by all commands that deploy systems to machines.

use std::time::Duration;

use clap::{Args, ValueEnum};
use machinist_operations::rollout::options::Options;
use machinist_remote::Fingerprint;
use machinist_rollout::{
    deploy::Policy,
    fan_out::FanOut,
    step::activate::Bounds,
    waves::{Limit, Reboots, Spread},
};

/// Arguments for a rollout of systems to machines.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Rollout")]
pub struct RolloutArgs {
    /// Time for an activation on a host before it is reverted, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 300)]
    activation_timeout: u64,

    /// Time that a host waits for the confirmation before it reverts, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 120)]
    confirm_timeout: u64,

    /// Time to wait for a host to finish rebooting, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 600)]
    reboot_timeout: u64,

    /// Confirm without gates and without a fresh connection: a system that locks you out stays
    #[arg(long)]
    no_rollback: bool,

    /// In which order
    #[command(flatten)]
    pub spread: SpreadArgs,

    /// Do not roll back healthy nodes when another node in the same wave fails
    #[arg(long)]
    no_revert: bool,

    /// Let hosts fetch missing paths from their own substituters, and send only the rest
    #[arg(long)]
    substitute_on_destination: bool,

    /// Continue although a host runs or boots a system that no deploy confirmed there
    #[arg(long)]
    accept_drift: bool,

    /// Copy store paths peer to peer between nodes instead of sending them to each node from here
    #[arg(long, value_name = "WHEN", value_enum, default_value_t = FanOutArg::Auto)]
    fan_out: FanOutArg,

    /// Pin the host key with this fingerprint (SHA256:...), replacing a pinned one
    #[arg(long, value_name = "FINGERPRINT")]
    pub accept_host_key: Option<Fingerprint>,
}

/// Distribution over waves of the nodes without a vote.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Order of the nodes")]
pub struct SpreadArgs {
    /// Maximum number of nodes without a vote in etcd that change at the same time, such as 2 or 25% [default: a zone]
    #[arg(long, value_name = "N|P%", value_parser = Limit::parse)]
    max_unavailable: Option<Limit>,

    /// Number of nodes without a vote in the first wave
    #[arg(long, value_name = "N", default_value_t = 0)]
    canary: usize,

    /// Allow nodes of several zones to change at the same time
    #[arg(long)]
    across_zones: bool,

    /// Reboot nodes: with `auto` those whose booted kernel, initrd or kernel parameters differ from their system's, and
    /// those whose system only a boot can bring; never by default
    #[arg(long, value_name = "never|auto|always", value_parser = Reboots::parse)]
    pub reboot: Option<Reboots>,
}

impl SpreadArgs {
    /// Returns the requested distribution over waves and reboots.
    pub fn spread(&self) -> Spread {
        let Self { max_unavailable, canary, across_zones, reboot } = *self;
        Spread { max_unavailable, canary, across_zones, reboots: reboot.unwrap_or_default() }
    }
}

/// Use of peer-to-peer copies between nodes.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum FanOutArg {
    /// From four nodes on, where it saves 48 MiB
    Auto,
    /// Wherever two nodes lack the same
    Always,
    /// Nowhere
    Never,
}

impl RolloutArgs {
    /// Returns the rollout options.
    pub fn options(&self) -> Options {
        Options {
            policy: Policy {
                accept_drift: self.accept_drift,
                spread: self.spread.spread(),
                unlocked_voters: false,
                no_revert: self.no_revert,
                no_rollback: self.no_rollback,
                substitute: self.substitute_on_destination,
                fan_out: match self.fan_out {
                    FanOutArg::Auto => FanOut::Auto,
                    FanOutArg::Always => FanOut::Always,
                    FanOutArg::Never => FanOut::Never,
                },
                bounds: Bounds {
                    activation: Duration::from_secs(self.activation_timeout),
                    confirmation: Duration::from_secs(self.confirm_timeout),
                    reboot: Duration::from_secs(self.reboot_timeout),
                    ..Bounds::default()
                },
            },
            reboots: self.spread.reboot,
            accept_host_key: self.accept_host_key,
        }
    }
}
