//! `ssh` for nixos-anywhere that accepts only the pinned host key. nixos-anywhere turns the check off by options, of which
//! ssh takes the first: a program of this name that is first on PATH adds ours before.
//!
//! The installer answers with the key of the system before it: its script copies /etc/ssh/ssh_host_*.

use std::{
    env, fs,
    io::{self, Write as _},
    os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

use machinist_remote::{HostKey, host_pattern, quote};
use tempfile::TempDir;

/// Port of the installer's sshd.
const INSTALLER: u16 = 22;

/// Directory with the program and the pinned keys; removed at its end.
pub struct VerifiedSsh {
    directory: TempDir,
}

impl VerifiedSsh {
    /// Writes the program for a host with these pinned keys, which answers on the port now and on 22 later.
    ///
    /// # Errors
    /// There is no `ssh`, or the files cannot be written.
    pub fn new(host: &str, port: u16, keys: &[HostKey]) -> io::Result<Self> {
        let path = env::var_os("PATH").unwrap_or_default();
        let ssh = env::split_paths(&path).map(|directory| directory.join("ssh")).find(is_program);
        let ssh = ssh.ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "there is no ssh on PATH"))?;
        let directory = tempfile::Builder::new().prefix("machinist-ssh-").tempdir()?;
        let known_hosts = directory.path().join("known_hosts");
        let lines = [port, INSTALLER].into_iter().flat_map(|port| {
            let pattern = host_pattern(host, port);
            keys.iter().map(move |key| format!("{pattern} {}\n", key.to_openssh()))
        });
        fs::write(&known_hosts, lines.collect::<String>())?;
        let mut options = fs::OpenOptions::new();
        let mut file = options.write(true).create_new(true).mode(0o700).open(directory.path().join("ssh"))?;
        file.write_all(script(&ssh, &known_hosts).as_bytes())?;
        Ok(Self { directory })
    }

    /// Returns a PATH with the program before all others.
    ///
    /// # Errors
    /// The path of the directory has a colon.
    pub fn path(&self) -> io::Result<std::ffi::OsString> {
        let rest = env::var_os("PATH").unwrap_or_default();
        let all = std::iter::once(self.directory.path().to_owned()).chain(env::split_paths(&rest));
        env::join_paths(all).map_err(io::Error::other)
    }
}

fn is_program(file: &PathBuf) -> bool {
    fs::metadata(file).is_ok_and(|metadata| metadata.is_file() && metadata.permissions().mode() & 0o111 != 0)
}

fn script(ssh: &Path, known_hosts: &Path) -> String {
    let ssh = quote(&ssh.display().to_string());
    let file = quote(&format!("UserKnownHostsFile=\"{}\"", known_hosts.display()));
    format!(
        "#!/bin/sh\nexec {ssh} -o {file} -o GlobalKnownHostsFile=none -o StrictHostKeyChecking=yes \\\n  -o \
         UpdateHostKeys=no \"$@\"\n"
    )
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::process::Command;

    use machinist_remote::HostKey;

    use super::VerifiedSsh;

    const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIEJNXvqxpCsbLFcbLDKKqZ8EXamMBuZ8jZGNCZyDpyZL";

    #[test]
    fn openssh_takes_our_options_although_nixos_anywhere_turns_the_check_off() {
        let key = HostKey::from_openssh(KEY).unwrap();
        let ssh = VerifiedSsh::new("203.0.113.7", 2222, &[key]).unwrap();
        let command = ["-o", "UserKnownHostsFile=/dev/null", "-o", "StrictHostKeyChecking=no", "-G", "203.0.113.7"];
        // `ssh -G` prints the settings that a connection would have.
        let mut shell = Command::new("sh");
        shell.args(["-c", "ssh \"$@\"", "sh"]).args(command).env("PATH", ssh.path().unwrap());
        let output = shell.output().unwrap();
        let settings = String::from_utf8(output.stdout).unwrap();
        assert!(settings.contains("stricthostkeychecking true"), "{settings}");
        let known_hosts = ssh.directory.path().join("known_hosts");
        assert!(settings.contains(&format!("userknownhostsfile {}", known_hosts.display())), "{settings}");
        let text = std::fs::read_to_string(known_hosts).unwrap();
        assert_eq!(text, format!("[203.0.113.7]:2222 {KEY}\n203.0.113.7 {KEY}\n"));
    }
}
