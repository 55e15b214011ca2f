//! Contents of the Debian root: its packages, and the differences from Debian's defaults.

use super::names;

/// Debian 13: systemd 257, Nix 2.26, etcd 3.5, haproxy 3.0, BIRD 3.1.
pub(super) const SUITE: &str = "trixie";

/// Packages in addition to Debian's essential ones and their dependencies.
pub(super) const PACKAGES: &[&str] = &[
    "age",
    "bird3",
    "ca-certificates",
    "curl",
    "dbus",
    "etcd-client",
    "etcd-server",
    "haproxy",
    "iproute2",
    "iputils-ping",
    "kmod",
    "nftables",
    "nix-bin",
    "openssh-server",
    "openssl",
    "systemd",
    "systemd-sysv",
    "udev",
    "wireguard-tools",
];

/// Options for dpkg and apt in the root: no documentation and no translations, which are never read in a machine.
pub(super) const OPTIONS: &[&str] = &[
    "--dpkgopt=path-exclude=/usr/share/doc/*",
    "--dpkgopt=path-exclude=/usr/share/man/*",
    "--dpkgopt=path-exclude=/usr/share/locale/*",
    "--aptopt=Acquire::Languages \"none\"",
];

/// Directories that are emptied: units that Debian enables must not run on a node.
pub(super) const EMPTIED: &[&str] = &["etc/systemd/system"];

/// Units that are removed. If they were masked instead, removing the mask, as a deployed system does when it installs
/// and later drops a unit of this name, would restore Debian's unit.
pub(super) const REMOVED: &[&str] = &[
    "usr/lib/systemd/system/bird.service",
    "usr/lib/systemd/system/etcd.service",
    "usr/lib/systemd/system/haproxy.service",
    "usr/lib/systemd/system/nftables.service",
    "usr/lib/systemd/system/ssh.service",
    "usr/lib/systemd/system/ssh.socket",
    "usr/lib/systemd/system/ssh@.service",
    "usr/lib/systemd/system/sshd-keygen.service",
    // Generates units for the scripts in /etc/init.d when the units above are gone.
    "usr/lib/systemd/system-generators/systemd-sysv-generator",
    // Generates socket units for sshd that a node would not have.
    "usr/lib/systemd/system-generators/systemd-ssh-generator",
    // Each machine has its own host name.
    "etc/hostname",
    "etc/machine-id",
    // A machine has no name servers, and the host's own must not be queried.
    "etc/resolv.conf",
    // Debian's host keys would be identical in all machines.
    "etc/ssh/ssh_host_ecdsa_key",
    "etc/ssh/ssh_host_ecdsa_key.pub",
    "etc/ssh/ssh_host_ed25519_key",
    "etc/ssh/ssh_host_ed25519_key.pub",
    "etc/ssh/ssh_host_rsa_key",
    "etc/ssh/ssh_host_rsa_key.pub",
];

/// Directories that are created.
pub(super) const DIRECTORIES: &[&str] = &["nix", "etc/nix", "etc/ssh/authorized_keys.d", "etc/ssh/sshd_config.d"];

/// Files that are written, as path, permission bits and content.
pub(super) const FILES: &[(&str, u32, &str)] = &[
    ("usr/lib/machinist/init", 0o755, INIT),
    ("etc/hosts", 0o644, "127.0.0.1 localhost\n::1 localhost\n"),
    ("etc/nix/nix.conf", 0o644, NIX_CONF),
    ("etc/ssh/sshd_config", 0o644, SSHD_CONFIG),
    ("etc/systemd/system/sshd.service", 0o644, SSHD_SERVICE),
    // With these, systemd does not treat the first start as an update of /usr, which costs a second.
    ("etc/.updated", 0o644, ""),
    ("var/.updated", 0o644, ""),
];

/// Symbolic links, as path and target.
pub(super) const LINKS: &[(&str, &str)] = &[
    ("etc/systemd/system/multi-user.target.wants/sshd.service", "../sshd.service"),
    ("etc/systemd/system/default.target", "/usr/lib/systemd/system/multi-user.target"),
];

/// Files without which a root is incomplete.
pub(super) const ESSENTIAL: &[&str] = &[
    "usr/lib/machinist/init",
    "usr/lib/systemd/systemd",
    "usr/sbin/sshd",
    "usr/bin/nix",
    "usr/bin/etcd",
    "usr/bin/etcdctl",
    "usr/sbin/haproxy",
    "usr/sbin/nft",
    "etc/ssh/sshd_config",
    "nix",
];

/// Process 1 of a machine: the deployed system's if one is installed, else Debian's systemd. If the system has written a
/// menu, this is its boot loader, with the rules of systemd-boot: an entry that was chosen for one boot is forgotten before
/// it is booted; without one, or if it does not exist, the default is booted.
const INIT: &str = "#!/bin/sh
profile=/nix/var/nix/profiles/system
loader=/boot/loader
[ -x $profile/init ] || exec /usr/lib/systemd/systemd
init_of() {
  [ -n \"$1\" ] && sed -n 's/^options init=\\([^ ]*\\).*/\\1/p' \"$loader/entries/$1\" 2>/dev/null
}
once=''
if [ -e $loader/oneshot ]; then
  once=$(cat $loader/oneshot)
  rm -f $loader/oneshot
  sync $loader
fi
default=$(sed -n 's/^default //p' $loader/loader.conf 2>/dev/null)
for init in \"$(init_of \"$once\")\" \"$(init_of \"$default\")\" $profile/init; do
  [ -x \"$init\" ] && exec \"$init\"
done
exec /usr/lib/systemd/systemd
";

/// Single-user mode without daemon, nothing is fetched, and unsigned paths copied by an operator are accepted.
const NIX_CONF: &str = "experimental-features = nix-command flakes
sandbox = false
substituters =
build-users-group =
require-sigs = false
";

/// A deployer may open many sessions at once, and a machine must not penalise a client for frequent connections
/// (`PerSourcePenalties`, on by default since OpenSSH 9.8).
const SSHD_CONFIG: &str = "Include /etc/ssh/sshd_config.d/*.conf
HostKey /etc/ssh/ssh_host_ed25519_key
PermitRootLogin prohibit-password
PasswordAuthentication no
KbdInteractiveAuthentication no
UsePAM no
UseDNS no
PrintMotd no
MaxStartups 50:30:100
PerSourcePenalties no
AuthorizedKeysFile .ssh/authorized_keys /etc/ssh/authorized_keys.d/%u
Subsystem sftp internal-sftp
";

/// sshd until a deployed system installs its own unit of this name; open sessions survive a restart.
const SSHD_SERVICE: &str = "[Unit]
Description=SSH daemon
After=network.target

[Service]
ExecStart=/usr/sbin/sshd -D
ExecReload=/bin/kill -HUP $MAINPID
KillMode=process
Restart=always
RuntimeDirectory=sshd
RuntimeDirectoryPreserve=yes

[Install]
WantedBy=multi-user.target
";

/// Returns the first 12 hexadecimal digits of the recipe's hash: a different recipe gives a different root.
pub(super) fn hash() -> String {
    let mut parts = vec![std::env::consts::ARCH, SUITE];
    for list in [PACKAGES, OPTIONS, EMPTIED, REMOVED, DIRECTORIES] {
        parts.extend(list);
        parts.push("");
    }
    let modes: Vec<String> = FILES.iter().map(|(_, mode, _)| mode.to_string()).collect();
    for ((path, _, text), mode) in FILES.iter().zip(&modes) {
        parts.extend([path, mode.as_str(), text]);
    }
    for (path, target) in LINKS {
        parts.extend([path, target]);
    }
    let mut hash = names::digest(&parts);
    hash.truncate(12);
    hash
}
