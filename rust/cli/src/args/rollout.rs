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

/// How systems are brought to machines.
#[derive(Clone, Debug, Args)]
pub struct RolloutArgs {
    /// Seconds that an activation may take on a host before it is reverted
    #[arg(long, value_name = "SECONDS", default_value_t = 300)]
    activation_timeout: u64,

    /// Seconds that a host waits for the confirmation before it reverts
    #[arg(long, value_name = "SECONDS", default_value_t = 120)]
    confirm_timeout: u64,

    /// Seconds that a host may take from the word to reboot to the end of the next boot
    #[arg(long, value_name = "SECONDS", default_value_t = 600)]
    reboot_timeout: u64,

    /// Confirm without gates and without a fresh connection: a system that locks you out stays
    #[arg(long)]
    no_rollback: bool,

    /// In which order
    #[command(flatten)]
    pub spread: SpreadArgs,

    /// Leave nodes that run the new system well as they are when another node of their wave fails
    #[arg(long)]
    no_revert: bool,

    /// Let hosts fetch what they lack from their own substituters, and send only the rest
    #[arg(long)]
    substitute_on_destination: bool,

    /// Go on although a host runs or boots what no deploy brought there
    #[arg(long)]
    accept_drift: bool,

    /// Whether nodes hand on to each other what they got, so that this computer's link carries it about once
    #[arg(long, value_name = "WHEN", value_enum, default_value_t = FanOutArg::Auto)]
    fan_out: FanOutArg,

    /// Pin the host key with this fingerprint (SHA256:...) in the place of the one that is pinned, or of none
    #[arg(long, value_name = "FINGERPRINT")]
    pub accept_host_key: Option<Fingerprint>,
}

/// How nodes without a vote are spread over waves.
#[derive(Clone, Debug, Args)]
pub struct SpreadArgs {
    /// How many nodes without a vote in etcd may change at the same time, such as 2 or 25%; a whole zone if not said
    #[arg(long, value_name = "N|P%", value_parser = Limit::parse)]
    max_unavailable: Option<Limit>,

    /// How many nodes without a vote go first, in a wave of their own
    #[arg(long, value_name = "N", default_value_t = 0)]
    canary: usize,

    /// Let nodes of several zones change at the same time
    #[arg(long)]
    across_zones: bool,

    /// Which nodes are rebooted after they have changed: `auto` takes those that have booted another kernel, initrd or
    /// kernel parameters than their system has; never any by default
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

/// When nodes hand on what they got.
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
