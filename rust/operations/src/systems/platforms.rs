//! Systems of another platform than this computer's: refused with the ways out before a build is tried in vain.

use std::{collections::BTreeMap, fs};

use machinist_model::{Cluster, NodeName};
use machinist_nix::{BuildConfig, FlakeRef};

use super::{attempt::Failed, elsewhere::attribute};
use crate::{
    context::Context,
    failure::{Failure, Kind, OrFail as _},
};

/// Directory in which the kernel lists the interpreters of foreign programs.
const BINFMT: &str = "/proc/sys/fs/binfmt_misc";

/// Returns the nodes whose systems can be built or fetched, and those whose systems nix could only fail to build.
pub(super) fn separate(
    context: &Context,
    cluster: &Cluster,
    flake: &FlakeRef,
    nodes: Vec<NodeName>,
) -> Result<(Vec<NodeName>, Vec<Failed>), Failure> {
    let here = format!("{}-{}", std::env::consts::ARCH, std::env::consts::OS);
    let mut foreign: BTreeMap<&str, Vec<NodeName>> = BTreeMap::new();
    for node in nodes.iter().filter_map(|name| cluster.nodes.get(name)).filter(|node| node.system != here) {
        foreign.entry(&node.system).or_default().push(node.name.clone());
    }
    // The usual case costs nothing.
    if foreign.is_empty() {
        return Ok((nodes, Vec::new()));
    }
    let config = context.project.nix.build_config().failed()?;
    let mut refused = Vec::new();
    for (platform, names) in foreign {
        let emulator = emulator(platform);
        if config.builds(platform) {
            if let Some(warning) = without_emulator(&config, platform, emulator) {
                context.events.warn(warning);
            }
            continue;
        }
        let names = to_build(context, flake, names);
        if !names.is_empty() {
            let failure = explain(&config, platform, emulator);
            refused.push((names, failure));
        }
    }
    let is_refused = |name: &NodeName| refused.iter().any(|(names, _)| names.contains(name));
    Ok((nodes.into_iter().filter(|name| !is_refused(name)).collect(), refused))
}

/// Returns the nodes whose systems neither the store nor a substituter has. If the evaluation fails, none is returned:
/// the build reports that.
fn to_build(context: &Context, flake: &FlakeRef, names: Vec<NodeName>) -> Vec<NodeName> {
    let attributes: Vec<String> = names.iter().map(attribute).collect();
    let Ok(planned) = context.project.nix.derivations(flake, &attributes) else { return Vec::new() };
    let needs = |(name, derivation)| planned.to_build.contains(derivation).then_some(name);
    names.into_iter().zip(&planned.derivations).filter_map(needs).collect()
}

/// State of the kernel's handler for the programs of a platform.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Emulator {
    Enabled,
    Missing,
    /// The kernel does not show its handlers, for example in a container.
    Unknown,
}

fn emulator(platform: &str) -> Emulator {
    let Ok(entries) = fs::read_dir(BINFMT) else { return Emulator::Unknown };
    let mut names = entries.filter_map(Result::ok).map(|entry| entry.file_name()).peekable();
    if names.peek().is_none() {
        return Emulator::Unknown;
    }
    let arch = platform.split('-').next().unwrap_or_default();
    let is_handler = |name: &std::ffi::OsString| {
        let text = fs::read_to_string(format!("{BINFMT}/{}", name.to_string_lossy())).unwrap_or_default();
        is_enabled(&name.to_string_lossy(), &text, platform, arch)
    };
    if names.any(|name| is_handler(&name)) { Emulator::Enabled } else { Emulator::Missing }
}

/// Returns true for an enabled entry that NixOS (`aarch64-linux`) or another distribution (`qemu-aarch64`) registered.
fn is_enabled(name: &str, text: &str, platform: &str, arch: &str) -> bool {
    (name == platform || name.strip_prefix("qemu-") == Some(arch)) && text.lines().next() == Some("enabled")
}

/// Warns if nix is configured to build the platform here, and the kernel cannot run its programs.
fn without_emulator(config: &BuildConfig, platform: &str, emulator: Emulator) -> Option<String> {
    let is_emulated = config.builds_here(platform) && config.system != platform && is_other_processor(config, platform);
    (is_emulated && emulator == Emulator::Missing).then(|| {
        format!(
            "nix is configured to build {platform} here (extra-platforms), but the kernel has no handler for its \
             programs in {BINFMT}: builds will fail with \"Exec format error\""
        )
    })
}

/// Returns true if the processor itself does not run programs of the platform, as x86_64 runs those of i686.
fn is_other_processor(config: &BuildConfig, platform: &str) -> bool {
    let is_x86 = |platform: &str| platform.starts_with("x86_64-") || platform.starts_with("i686-");
    config.system.split('-').next() != platform.split('-').next() && !(is_x86(&config.system) && is_x86(platform))
}

fn explain(config: &BuildConfig, platform: &str, emulator: Emulator) -> Failure {
    let builders = match config.builders.as_slice() {
        [] => "no remote builder".to_owned(),
        builders => {
            let stores: Vec<&str> = builders.iter().map(|builder| builder.store.as_str()).collect();
            format!("no remote builder of that platform (only {})", stores.join(", "))
        }
    };
    let message = format!(
        "the system is for {platform}, for which nix cannot build on this computer ({}): no emulation is configured, and \
         {builders}",
        config.system
    );
    let emulation = match emulator {
        Emulator::Enabled => format!(
            "emulation: the kernel runs programs of {platform} already; allow nix to use that with `extra-platforms = \
             {platform}` in nix.conf, and restart nix-daemon"
        ),
        Emulator::Missing | Emulator::Unknown => format!(
            "emulation, slow but simple: on NixOS `boot.binfmt.emulatedSystems = [ \"{platform}\" ];`; elsewhere QEMU's \
             user emulation registered in binfmt_misc with the flag F, and `extra-platforms = {platform}` in nix.conf"
        ),
    };
    let builder = format!("a remote builder: `builders = ssh://root@HOST {platform}` in nix.conf");
    let nodes = format!(
        "for a deploy: `--build-on target` builds each system on its own machine, `--build-on NODE` on a node of \
         {platform}; `--store-path` deploys what was built elsewhere"
    );
    Failure::new(Kind::Refused, message).hint(emulation).hint(builder).hint(nodes)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use expect_test::expect;
    use machinist_nix::{BuildConfig, RemoteBuilder};

    use super::{Emulator, explain, is_enabled, without_emulator};

    const ARM: &str = "aarch64-linux";

    fn config(extra: &[&str]) -> BuildConfig {
        let builders =
            vec![RemoteBuilder { store: "ssh://mac".to_owned(), platforms: vec!["aarch64-darwin".to_owned()] }];
        let extra_platforms = extra.iter().map(|&platform| platform.to_owned()).collect();
        BuildConfig { system: "x86_64-linux".to_owned(), extra_platforms, builders }
    }

    #[test]
    fn a_foreign_platform_is_explained_with_its_ways_out() {
        let failure = explain(&config(&[]), ARM, Emulator::Missing);
        let text = std::iter::once(&failure.message).chain(&failure.hints).cloned().collect::<Vec<_>>().join("\n");
        expect![[r#"
            the system is for aarch64-linux, for which nix cannot build on this computer (x86_64-linux): no emulation is configured, and no remote builder of that platform (only ssh://mac)
            emulation, slow but simple: on NixOS `boot.binfmt.emulatedSystems = [ "aarch64-linux" ];`; elsewhere QEMU's user emulation registered in binfmt_misc with the flag F, and `extra-platforms = aarch64-linux` in nix.conf
            a remote builder: `builders = ssh://root@HOST aarch64-linux` in nix.conf
            for a deploy: `--build-on target` builds each system on its own machine, `--build-on NODE` on a node of aarch64-linux; `--store-path` deploys what was built elsewhere"#]].assert_eq(&text);
        let enabled = explain(&config(&[]), ARM, Emulator::Enabled);
        assert!(enabled.hints[0].contains("already"), "{:?}", enabled.hints);
    }

    #[test]
    fn handlers_of_nixos_and_of_other_distributions_count_while_they_are_enabled() {
        let enabled = |name, text| is_enabled(name, text, ARM, "aarch64");
        assert!(enabled("aarch64-linux", "enabled\ninterpreter /run/binfmt/aarch64-linux\n"));
        assert!(enabled("qemu-aarch64", "enabled\n"));
        assert!(!enabled("qemu-aarch64", "disabled\ninterpreter x\n"));
        assert!(!enabled("qemu-aarch64_be", "enabled\n"));
        assert!(!enabled("status", "enabled\n"));
    }

    #[test]
    fn emulation_without_a_handler_is_a_warning() {
        assert!(without_emulator(&config(&[ARM]), ARM, Emulator::Missing).unwrap().contains("Exec format error"));
        assert_eq!(without_emulator(&config(&[ARM]), ARM, Emulator::Enabled), None);
        assert_eq!(without_emulator(&config(&[ARM]), ARM, Emulator::Unknown), None);
        assert_eq!(without_emulator(&config(&["i686-linux"]), "i686-linux", Emulator::Missing), None);
    }
}
