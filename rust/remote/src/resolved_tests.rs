#![allow(clippy::unwrap_used, clippy::panic)]

use super::*;
use std::path::Path;

/// Resolves with a configuration file that the real `ssh` reads.
fn resolve_with(text: &str, edit: impl FnOnce(&mut Destination)) -> Result<Resolved, SshConfigError> {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("config");
    std::fs::write(&path, text).unwrap();
    let mut destination = Destination::new("casper", "10.0.0.4");
    destination.ssh_config = Some(SshConfig::of_file(&path));
    destination.agent_socket = Some("/run/agent".into());
    edit(&mut destination);
    from_configuration(&destination)
}

const CONFIG: &str = "\
Host 10.0.0.*
  HostName %h.example
  Port 2200
  User admin
  IdentityFile /keys/%r@%n
  IdentityFile ~/.ssh/id_rsa
  IdentitiesOnly yes
  CertificateFile /keys/%p-cert.pub
  ConnectTimeout 3
  AddressFamily inet6
  BindAddress fd00::7
  ServerAliveInterval 4
  ServerAliveCountMax 3
  StrictHostKeyChecking no
  ProxyCommand nc -X 5 '%h' %p
Host *
  User nobody
";

#[test]
fn an_open_value_comes_from_the_configuration() {
    let resolved = resolve_with(CONFIG, |_| ()).unwrap();
    assert_eq!((resolved.host.as_str(), resolved.port, resolved.user.as_str()), ("10.0.0.4.example", 2200, "admin"));
    let Network { connect_timeout, family, bind, via } = &resolved.network;
    assert_eq!((*connect_timeout, *family, bind.as_deref()), (Duration::from_secs(3), Family::V6, Some("fd00::7")));
    assert!(matches!(via, Some(Via::Command(command)) if command == "nc -X 5 '10.0.0.4.example' 2200"), "{via:?}");
    let files: Vec<(&Path, bool)> = resolved.keys.files.iter().map(|(path, named)| (path.as_path(), *named)).collect();
    assert_eq!(files[0], (Path::new("/keys/admin@10.0.0.4"), true));
    assert!(files[1].0.is_absolute() && files[1].0.ends_with(".ssh/id_rsa") && !files[1].1, "{files:?}");
    assert_eq!(resolved.keys.certificates, [PathBuf::from("/keys/2200-cert.pub")]);
    assert!(resolved.keys.only_these);
    assert_eq!(resolved.alive, Alive { interval: Duration::from_secs(3), limit: Duration::from_secs(12) });
}

#[test]
fn machines_nix_is_above_the_configuration() {
    let resolved = resolve_with(CONFIG, |destination| {
        destination.port = Some(22);
        destination.user = Some("root".into());
    });
    let resolved = resolved.unwrap();
    assert_eq!((resolved.port, resolved.user.as_str()), (22, "root"));
    assert_eq!(resolved.keys.files[0].0, PathBuf::from("/keys/root@10.0.0.4"));
}

#[test]
fn a_namespace_keeps_the_configuration_out() {
    let resolved = resolve_with(CONFIG, |destination| destination.namespace = Some("/run/netns/x".into())).unwrap();
    assert_eq!((resolved.host.as_str(), resolved.port, resolved.user.as_str()), ("10.0.0.4", 22, "root"));
    assert!(resolved.network.via.is_none());
}

#[test]
fn without_settings_the_defaults_hold() {
    let resolved = resolve_with("", |_| ()).unwrap();
    assert_eq!((resolved.host.as_str(), resolved.port, resolved.user.as_str()), ("10.0.0.4", 22, "root"));
    assert_eq!((resolved.network.connect_timeout, resolved.network.family), (CONNECT_TIMEOUT, Family::Any));
    assert_eq!(resolved.keys.agent, Some("/run/agent".into()));
    assert!(resolved.keys.files.iter().all(|(_, named)| !named), "{:?}", resolved.keys.files);
    assert_eq!(resolved.alive, Alive { interval: Duration::from_secs(5), limit: Duration::from_secs(20) });
}

#[test]
fn the_agent_is_the_configured_one() {
    let agent = |text: &str| resolve_with(text, |_| ()).unwrap().keys.agent;
    assert_eq!(agent("IdentityAgent /run/%h\n"), Some("/run/10.0.0.4".into()));
    assert_eq!(agent("IdentityAgent \"/run/two words\"\n"), Some("/run/two words".into()));
    assert_eq!(agent("IdentityAgent none\n"), None);
    assert_eq!(agent("IdentityAgent SSH_AUTH_SOCK\n"), Some("/run/agent".into()));
    assert_eq!(agent("IdentityAgent $CARGO_MANIFEST_DIR\n"), Some(env!("CARGO_MANIFEST_DIR").into()));
    assert_eq!(
        agent("IdentityAgent ${CARGO_MANIFEST_DIR}/x\n"),
        Some(concat!(env!("CARGO_MANIFEST_DIR"), "/x").into())
    );
    assert_eq!(agent("IdentityAgent $NO_SUCH_VARIABLE_HERE\n"), None);
}

#[test]
fn proxy_jump_is_above_a_proxy_command_that_follows_and_none_is_none() {
    let jumps = |text: &str| match resolve_with(text, |_| ()).unwrap().network.via {
        Some(Via::Jump { hosts, .. }) => hosts,
        other => format!("{other:?}"),
    };
    assert_eq!(
        jumps("ProxyJump me@gate.example:2201,[fd00::1]\nProxyCommand nc %h %p\n"),
        "me@gate.example:2201,[fd00::1]"
    );
    assert_eq!(jumps("ProxyJump none\n"), "None");
    assert_eq!(jumps("ProxyCommand none\n"), "None");
}

#[test]
fn a_setting_that_cannot_be_followed_is_refused_with_what_does_the_same() {
    for (text, remedy) in
        [("BindInterface lo\n", "BindAddress"), ("ProxyCommand x\nProxyUseFdpass yes\n", "ProxyUseFdpass no")]
    {
        let error = resolve_with(text, |_| ()).unwrap_err();
        assert!(matches!(error, SshConfigError::Unsupported { .. }), "{error}");
        assert!(error.hint().unwrap().contains(remedy), "{error}");
    }
    let error = resolve_with("IdentityFile ~/%x\n", |_| ()).err().map(|error| error.to_string());
    // OpenSSH itself may reject it first, depending on its version.
    assert!(error.as_ref().is_some_and(|error| error.contains("%x")), "{error:?}");
}

#[test]
fn a_configured_silence_has_bounds() {
    let own = Duration::from_secs(5);
    let seconds = |interval, count| {
        let alive = alive(own, Some(Duration::from_secs(interval)), count);
        (alive.interval.as_secs(), alive.limit.as_secs())
    };
    assert_eq!(seconds(15, 3), (11, 45));
    assert_eq!(seconds(60, 3), (15, 60));
    assert_eq!(seconds(1, 1), (1, 8));
    assert_eq!(seconds(u64::MAX, u32::MAX), (15, 60));
}

/// Resolves as another user of this computer, which only root can do.
fn resolve_as_nobody(text: &str) -> Option<Resolved> {
    use std::os::unix::fs::PermissionsExt as _;
    if !rustix::process::geteuid().is_root() {
        eprintln!("skipped: needs root");
        return None;
    }
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    let permit = |path: &Path| std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
    std::fs::write(path("config"), text).unwrap();
    let setpriv = "exec setpriv --reuid=65534 --regid=65534 --clear-groups ssh \"$@\"";
    std::fs::write(path("ssh"), format!("#!/bin/sh\n{setpriv}\n")).unwrap();
    [directory.path(), &path("config"), &path("ssh")].into_iter().for_each(permit);
    let mut destination = Destination::new("casper", "10.0.0.4");
    destination.ssh_config = Some(SshConfig::with_program(&path("config"), &path("ssh")));
    Some(from_configuration(&destination).unwrap())
}

#[test]
fn root_is_the_default_user_also_for_other_operators_and_match_sees_it() {
    let text = "Match user root\n  Port 2200\n  IdentityFile /keys/%r\n";
    let Some(resolved) = resolve_as_nobody(text) else { return };
    assert_eq!((resolved.user.as_str(), resolved.port), ("root", 2200));
    assert_eq!(resolved.keys.files[0].0, PathBuf::from("/keys/root"));
    let resolved = resolve_as_nobody(&format!("Host 10.*\n  User admin\n{text}")).unwrap();
    assert_eq!((resolved.user.as_str(), resolved.port), ("admin", 22));
}
