//! Environment of a story: a directory with a cluster, a home of its own, and no variable of whoever runs the tests.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use expect_test::Expect;

/// Variables that the program and its helpers need from the outside.
const KEPT: [&str; 3] = ["PATH", "TMPDIR", "LANG"];

/// Nix without its daemon, without a network, and silent about what is missing for builds.
pub const NIX_CONFIG: &str = "experimental-features = nix-command flakes\nsubstituters =\nbuild-users-group =\nsandbox = false\nbuilders =\nextra-platforms =\nwarn-dirty = false";

/// A cluster of three members of etcd. Their addresses refuse every connection.
pub const ETCD: &str = r#"{
  cluster.name = "magi";
  cluster.operators = [
    {
      name = "ops";
      age = "age1lqk39lsxe6gvstlz0z4t4sglfh0rkpjar5e3tl22zkqpkqh4d0mq2yqpvu";
      ssh = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl ops";
    }
  ];
  network.nodes = "10.13.13.0/24";
  machines.balthazar = {
    ip = "10.13.13.2"; roles = [ "etcd" ]; disk = "/dev/vda"; ssh = { host = "127.0.0.1"; port = 1; };
  };
  machines.casper = {
    ip = "10.13.13.3"; roles = [ "etcd" ]; disk = "/dev/vda"; ssh = { host = "127.0.0.1"; port = 2; };
  };
  machines.melchior = {
    ip = "10.13.13.4"; roles = [ "etcd" ]; disk = "/dev/vda"; ssh = { host = "127.0.0.1"; port = 3; };
  };
}
"#;

/// A directory with a cluster, and a home.
pub struct Environment {
    root: tempfile::TempDir,
}

/// Returns an environment with this machines.nix.
pub fn environment(machines: &str) -> Environment {
    let root = tempfile::tempdir().unwrap();
    let environment = Environment { root };
    fs::create_dir(environment.home()).unwrap();
    environment.write("machines.nix", machines);
    environment
}

impl Environment {
    fn home(&self) -> PathBuf {
        self.root.path().join("home")
    }

    /// The cluster's directory.
    pub fn directory(&self) -> PathBuf {
        self.root.path().join("cluster")
    }

    /// Writes a file of the cluster's directory.
    pub fn write(&self, name: &str, text: &str) {
        let path = self.directory().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    /// Reads a file of the cluster's directory, if it is there.
    pub fn read(&self, name: &str) -> Option<String> {
        fs::read_to_string(self.directory().join(name)).ok()
    }

    /// Makes the cluster's directory a git repository with a flake, as `machinist init` does.
    pub fn with_flake(self) -> Self {
        self.write("flake.nix", "{ outputs = _: { }; }\n");
        let made = Command::new("git").arg("-C").arg(self.directory()).args(["init", "--quiet"]).status().unwrap();
        assert!(made.success());
        self
    }

    fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    /// Returns the program with these arguments, in this environment.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = program();
        command.env("HOME", self.home()).arg("-C").arg(self.directory()).args(arguments);
        command
    }

    /// Runs the program. The expectation has the exit code, both streams, and all paths, times and identifiers replaced.
    #[track_caller]
    pub fn check(&self, arguments: &[&str], expect: &Expect) {
        expect.assert_eq(&self.told(self.run(arguments)));
    }

    /// Runs the program, requires this exit code, and returns its standard output.
    #[track_caller]
    pub fn stdout(&self, arguments: &[&str], code: i32) -> String {
        let output = self.run(arguments);
        assert_eq!(output.status.code(), Some(code), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    fn told(&self, output: Output) -> String {
        let mut told = format!("exit code {}\n", output.status.code().unwrap());
        for (name, bytes) in [("stdout", output.stdout), ("stderr", output.stderr)] {
            let text = String::from_utf8(bytes).unwrap();
            if !text.is_empty() {
                told.push_str(&format!("--- {name}\n{}", normalized(&text, self.root.path())));
            }
        }
        told
    }
}

/// The program, with none of the caller's variables but those that it needs.
pub fn program() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_machinist"));
    command.env_clear().env("NO_COLOR", "1").env("USER", "ops").env("NIX_CONFIG", NIX_CONFIG);
    for name in KEPT {
        if let Some(value) = std::env::var_os(name) {
            command.env(name, value);
        }
    }
    command
}

/// Replaces what differs from run to run: the directory, hashes of store paths, and durations.
fn normalized(text: &str, root: &Path) -> String {
    let text = text.replace(root.to_str().unwrap(), "<root>");
    text.lines().map(|line| seconds(&hashes(line)) + "\n").collect()
}

/// `/nix/store/HASH-name` without its hash.
fn hashes(line: &str) -> String {
    let mut parts = line.split("/nix/store/");
    let mut shown = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        shown.push_str("/nix/store/<hash>");
        shown.push_str(part.get(32..).unwrap_or_default());
    }
    shown
}

/// `1.2 s` as `<time>`.
fn seconds(line: &str) -> String {
    let is_time = |word: &str| {
        let number = word.trim_start_matches('(');
        number.split_once('.').is_some_and(|(whole, part)| {
            !whole.is_empty() && [whole, part].iter().all(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()))
        })
    };
    let words: Vec<&str> = line.split(' ').collect();
    let mut shown: Vec<String> = Vec::new();
    for (index, word) in words.iter().enumerate() {
        let followed = words.get(index + 1).is_some_and(|next| next.trim_end_matches([')', ',']) == "s");
        let open = if word.starts_with('(') { "(" } else { "" };
        shown.push(if followed && is_time(word) { format!("{open}<time>") } else { (*word).to_owned() });
    }
    shown.join(" ")
}
