//! `machinist install`: NixOS on a bare machine, by nixos-anywhere.

use std::{
    fs,
    io::{self, BufRead as _, BufReader, Read, Write},
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
    process::{Command, ExitCode, ExitStatus, Stdio},
    thread,
    time::{Duration, Instant},
};

use clap::Args;
use machinist_model::{Cluster, Node, Provider};
use machinist_nix::StorePath;
use machinist_operations::{
    certs,
    connect::{self, KNOWN_HOSTS},
    context::Context,
    project::Project,
};
use machinist_pki::host_key;
use machinist_remote::{HostKey, KnownHosts, SshConfig};
use machinist_rollout::{
    install::{self, Machine, PROGRAM},
    step::{Connector, gather, keys::DIRECTORY},
};
use machinist_secrets::Recipients;
use tempfile::TempDir;

use crate::{
    args::Global,
    consent, context,
    failure::{Failure, Kind, OrFail, Outcome},
    signals,
    ui::{Tone, Ui},
};

/// Where the host key is on the machine.
const HOST_KEY: &str = "/etc/ssh/ssh_host_ed25519_key";

/// The tree of extra files inside the temporary directory. The temporary directory itself is for its owner only; its mode
/// must not become that of the new machine's `/`.
const TREE: &str = "root";

/// The longest line that a program's output is read in, in bytes.
const LONGEST_LINE: u64 = 16 << 10;

/// Time to wait for the rest of a program's output after its end: a process that it left behind may hold it open.
const REST: Duration = Duration::from_secs(2);

/// How long the installed machine may take to answer: firmware of servers takes minutes.
const BOOT_BOUND: Duration = Duration::from_secs(900);

/// Puts NixOS on a bare machine. Erases the disk that `machines.<name>.disk` names.
#[derive(Debug, Args)]
pub struct InstallArgs {
    /// The machine's name
    target: String,

    /// Print each step and run none
    #[arg(long)]
    dry_run: bool,

    /// Keep nodes/<name>/hardware-configuration.nix as it is, or do without
    #[arg(long)]
    no_hardware_config: bool,
}

struct Install<'a> {
    context: &'a Context,
    cluster: &'a Cluster,
    node: &'a Node,
    disk: &'a str,
    machine: Machine,
    hardware: Option<PathBuf>,
    global: &'a Global,
    ui: Ui,
}

/// Runs the command.
pub fn run(args: &InstallArgs, global: &Global, ui: Ui) -> Outcome {
    let context = context::open(global, ui)?;
    let project = &context.project;
    let cluster = project.load()?.cluster;
    let nodes = connect::select(&cluster, Some(std::slice::from_ref(&args.target)))?;
    let [name] = nodes.as_slice() else {
        let failure = Failure::new(Kind::Input, format!("`{}` names {} machines", args.target, nodes.len()));
        return Err(failure.hint("install one machine at a time: each loses its disk"));
    };
    let node = cluster.nodes.get(name).ok_or_else(|| Failure::new(Kind::Input, format!("there is no {name}")))?;
    let disk = installable(node)?;
    refuse_recorded_member(project, node)?;
    context.require_certificates(&cluster, &nodes)?;
    let keys: Vec<PathBuf> = global.ssh_key.iter().cloned().collect();
    let destination = connect::destination(&cluster, node, &keys, &SshConfig::new());
    let endpoint =
        destination.endpoint().map_err(|error| Failure::from_error(Kind::Input, &error).maybe_hint(error.hint()))?;
    let machine = Machine {
        node: name.clone(),
        host: node.ssh.host.clone(),
        port: endpoint.port,
        user: endpoint.user,
        identity: global.ssh_key.clone(),
    };
    let hardware =
        (!args.no_hardware_config).then(|| project.directory.join(format!("nodes/{name}/hardware-configuration.nix")));
    let install = Install { context: &context, cluster: &cluster, node, disk, machine, hardware, global, ui };
    if args.dry_run {
        install.describe()?;
        return Ok(ExitCode::SUCCESS);
    }
    install.confirm()?;
    install.run()?;
    install.forget_machine()?;
    ui.result(&format!(
        "{name} is installed and answers with its pinned host key; `machinist deploy {name}` from now on"
    ));
    Ok(ExitCode::SUCCESS)
}

/// An installation erases the member's data: the cluster would be one voter short, and the new one could not join.
fn refuse_recorded_member(project: &Project, node: &Node) -> Result<(), Failure> {
    let state = project.state()?;
    if !state.etcd.bootstrapped || !state.etcd.members.contains(&node.name) {
        return Ok(());
    }
    let message =
        format!("{} is a recorded member of the running etcd cluster; installing it would erase its data", node.name);
    Err(Failure::new(Kind::Refused, message).hint(
        "take it out of the cluster first (`machinist-etcdctl member remove` on another member) and out of \
         state/cluster.json",
    ))
}

fn installable(node: &Node) -> Result<&str, Failure> {
    if node.provider == Provider::Sandbox {
        let failure =
            Failure::new(Kind::Input, format!("{} is a sandbox machine; it needs no installation", node.name));
        return Err(failure.hint(format!("`machinist sandbox up`, then `machinist deploy {}`", node.name)));
    }
    node.disk.as_deref().ok_or_else(|| {
        Failure::new(Kind::Input, format!("machines.{}.disk is not set, so there is no disk to install on", node.name))
            .hint("name it by its stable path, such as \"/dev/disk/by-id/nvme-...\"")
    })
}

impl Install<'_> {
    /// Says each step without doing it.
    fn describe(&self) -> Result<(), Failure> {
        let flake = self.context.project.flake()?.reference();
        let name = &self.node.name;
        let boot = install::boot_installer(&self.machine, &flake, self.hardware.as_deref());
        self.ui.result(&format!("{PROGRAM} {}", boot.join(" ")));
        self.ui.result(&format!(
            "nix build {flake}#nixosConfigurations.{name}.config.system.build.{{diskoScript,toplevel}}"
        ));
        for (path, mode) in self.extra_files()? {
            self.ui.result(&format!("put {path} (mode {mode:o}, root's, decrypted from certs/)"));
        }
        self.ui.result(&format!(
            "{PROGRAM} --phases disko,install,reboot --store-paths DISKO SYSTEM --extra-files ... (erases {})",
            self.disk
        ));
        self.ui.result(&format!(
            "pin the host key of {} in {KNOWN_HOSTS}; wait until the machine answers with it",
            self.machine.host
        ));
        Ok(())
    }

    fn extra_files(&self) -> Result<Vec<(String, u32)>, Failure> {
        let keys = certs::key_files(&certs::inventory(&self.context.project.directory)?, self.cluster);
        let keys = keys.get(&self.node.name).cloned().unwrap_or_default();
        let mut files: Vec<(String, u32)> = keys.into_iter().map(|key| (format!("{DIRECTORY}/{key}"), 0o400)).collect();
        files.extend([(HOST_KEY.to_owned(), 0o600), (format!("{HOST_KEY}.pub"), 0o644)]);
        Ok(files)
    }

    /// The machine loses its disk: asked for, unless `--yes` said it.
    fn confirm(&self) -> Result<(), Failure> {
        let (name, host, disk) = (&self.node.name, &self.machine.host, self.disk);
        let question = format!("{name} ({host}) loses everything on {disk}. Type its name to go on:");
        consent::ask(&question, &[name.as_str()], &format!("installing {name} erases {disk}"), self.global)
    }

    fn run(&self) -> Result<(), Failure> {
        let certs = self.context.project.certs();
        let recipients = Recipients::from_operators(&self.cluster.operators)
            .map_err(|error| Failure::from_error(Kind::Input, &error).maybe_hint(error.hint()))?;
        // Made before the machine is, so that its first answer is already checked.
        let public = host_key::ensure(&certs, &self.node.name, &recipients)
            .map_err(|error| Failure::from_error(Kind::Failed, &error).maybe_hint(error.hint()))?;
        let generated = self.context.project.generated(self.cluster)?;
        generated.refuse_foreign()?;
        self.context.project.write_generated(&generated)?;
        let flake = self.context.project.flake()?;
        if let Some(path) = &self.hardware {
            fs::create_dir_all(path.parent().unwrap_or(Path::new("."))).failed()?;
        }
        self.call(
            "boot the installer",
            &install::boot_installer(&self.machine, &flake.reference(), self.hardware.as_deref()),
        )?;
        flake.make_visible(&["nodes"]).failed()?;
        let (disko, system) = self.build()?;
        let extra = self.write_extra_files(&public)?;
        remove_when_interrupted(extra.path().to_owned());
        self.call("install", &install::install(&self.machine, &disko, &system, &extra.path().join(TREE)))?;
        drop(extra);
        self.pin(&public)?;
        self.await_boot(&system)
    }

    fn call(&self, what: &str, arguments: &[String]) -> Result<(), Failure> {
        self.ui.story(&format!("{} {PROGRAM} {}", self.ui.paint(Tone::Strong, what), arguments.join(" ")));
        let mut command = machinist_nix::program(PROGRAM);
        let status = forward(command.args(arguments), self.ui).map_err(|error| {
            let failure = Failure::from_error(Kind::Failed, &error);
            let message = format!("cannot run {PROGRAM}");
            Failure { message, causes: vec![failure.message], ..failure }
                .hint("it is in `nix develop`, and `nix run .#install` brings it along")
        })?;
        if status.success() {
            return Ok(());
        }
        let failure = Failure::new(Kind::Failed, format!("{}: {PROGRAM} could not {what} ({status})", self.node.name));
        Err(failure.hint("its own words stand above; running install again starts over"))
    }

    fn build(&self) -> Result<(StorePath, StorePath), Failure> {
        let flake = self.context.project.flake()?;
        let attribute = |what: &str| format!("nixosConfigurations.{}.config.system.build.{what}", self.node.name);
        let links = self.context.project.local().join("systems");
        fs::create_dir_all(&links).failed()?;
        let built = self.context.project.nix.build(
            &flake,
            &[attribute("diskoScript"), attribute("toplevel")],
            &links.join("install"),
        );
        let built = built.map_err(|error| Failure::from_error(Kind::Failed, &error).maybe_hint(error.hint()))?;
        for warning in &built.warnings {
            self.ui.warn(warning);
        }
        match built.paths.as_slice() {
            [disko, system] => Ok((disko.clone(), system.clone())),
            other => Err(Failure::new(Kind::Failed, format!("nix built {} paths where two were wanted", other.len()))),
        }
    }

    /// Writes this node's own keys as they will lie on its disk. The directory is in memory where there is one, for its
    /// owner only, and gone afterwards.
    fn write_extra_files(&self, public: &str) -> Result<TempDir, Failure> {
        let memory = Path::new("/dev/shm");
        let parent = if memory.is_dir() { memory.to_owned() } else { std::env::temp_dir() };
        let directory = tempfile::Builder::new()
            .prefix("machinist-install-")
            .permissions(fs::Permissions::from_mode(0o700))
            .tempdir_in(parent)
            .failed()?;
        let root = directory.path().join(TREE);
        let identities = self.context.keyring.unlock()?;
        let operators = &self.cluster.operators;
        let private = host_key::open(&self.context.project.certs(), &self.node.name, &identities, operators)
            .map_err(|error| Failure::from_error(Kind::Failed, &error).maybe_hint(error.hint()))?
            .ok_or_else(|| Failure::new(Kind::Failed, format!("{} has no host key in certs/", self.node.name)))?;
        let inventory = certs::inventory(&self.context.project.directory)?;
        let keys = inventory
            .node_keys(&machinist_pki::table(self.cluster), &self.node.name, &identities, operators)
            .map_err(|error| Failure::from_error(Kind::Failed, &error).maybe_hint(error.hint()))?;
        let wanted = self.extra_files()?;
        for key in &keys {
            let path =
                format!("{DIRECTORY}/{}", machinist_rollout::step::keys::file_name(&key.leaf, key.key_id.as_str()));
            if wanted.iter().any(|(known, _)| *known == path) {
                put(&root, &path, &key.pem, 0o400)?;
            }
        }
        put(&root, HOST_KEY, &private, 0o600)?;
        put(&root, &format!("{HOST_KEY}.pub"), format!("{}\n", public.trim_end()).as_bytes(), 0o644)?;
        // Directories are unpacked with the modes that they have here, whatever the umask was.
        let public = ["/", "/etc", "/etc/ssh", "/var", "/var/lib", "/var/lib/machinist"].map(|path| (path, 0o755));
        for (path, mode) in public.into_iter().chain([(DIRECTORY, 0o700)]) {
            let path = root.join(path.trim_start_matches('/'));
            if path.is_dir() {
                fs::set_permissions(path, fs::Permissions::from_mode(mode)).failed()?;
            }
        }
        Ok(directory)
    }

    /// An installed machine has a new machine-id, which the next deploy records.
    fn forget_machine(&self) -> Result<(), Failure> {
        self.context.project.forget_machines(&[self.node.name.to_string()].into())
    }

    fn pin(&self, public: &str) -> Result<(), Failure> {
        let key = HostKey::from_openssh(public)
            .ok_or_else(|| Failure::new(Kind::Failed, "the host key in certs/ is not readable"))?;
        let known_hosts = KnownHosts::load(&self.context.project.directory.join(KNOWN_HOSTS)).input()?;
        let pattern = connect::destination(self.cluster, self.node, &[], &SshConfig::new()).host_pattern();
        known_hosts.pin(&pattern, key).failed()?;
        Ok(())
    }

    /// Waits until the machine answers with its own key and runs what was installed.
    fn await_boot(&self, system: &StorePath) -> Result<(), Failure> {
        let name = &self.node.name;
        self.ui.story(&format!("waiting until {name} answers with its pinned host key"));
        let connector: Connector = connect::connector(self.context, self.cluster, None)?;
        let deadline = Instant::now() + BOOT_BOUND;
        loop {
            let asked = connector.connect(name).map_err(Into::into).and_then(|remote| gather(&*remote));
            let why = match asked {
                Ok(facts) if facts.running.as_ref() == Some(system) => return Ok(()),
                Ok(_) => "it still runs another system".to_owned(),
                Err(error) => error.to_string(),
            };
            if Instant::now() >= deadline {
                let minutes = BOOT_BOUND.as_secs() / 60;
                let failure = Failure::new(
                    Kind::Failed,
                    format!("{name} was installed, but not seen within {minutes} minutes: {why}"),
                );
                return Err(failure.hint("look at its console; `machinist status` asks again"));
            }
            thread::sleep(Duration::from_secs(2));
        }
    }
}

/// Runs a program and prints its lines as a story: they hold what a host says.
fn forward(command: &mut Command, ui: Ui) -> io::Result<ExitStatus> {
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    let stdout = child.stdout.take().map(|stream| thread::spawn(move || print_lines(stream, ui)));
    let stderr = child.stderr.take().map(|stream| thread::spawn(move || print_lines(stream, ui)));
    let status = child.wait()?;
    let deadline = Instant::now() + REST;
    for printer in [stdout, stderr].into_iter().flatten() {
        while !printer.is_finished() && Instant::now() < deadline {
            thread::sleep(Duration::from_millis(10));
        }
    }
    Ok(status)
}

fn print_lines(stream: impl Read, ui: Ui) {
    let mut reader = BufReader::new(stream);
    let mut line = Vec::new();
    // A stream that cannot be read has ended.
    while reader.by_ref().take(LONGEST_LINE).read_until(b'\n', &mut line).is_ok_and(|length| length > 0) {
        ui.story(String::from_utf8_lossy(&line).trim_end());
        line.clear();
    }
}

/// Keys in the clear must not outlive a Ctrl-C, a termination or a closed terminal.
fn remove_when_interrupted(directory: PathBuf) {
    thread::spawn(move || {
        let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else { return };
        let code = runtime.block_on(signals::ended());
        let _gone = fs::remove_dir_all(directory);
        std::process::exit(code);
    });
}

fn put(root: &Path, path: &str, content: &[u8], mode: u32) -> Result<(), Failure> {
    let file = root.join(path.trim_start_matches('/'));
    fs::create_dir_all(file.parent().unwrap_or(root)).failed()?;
    // Private from the first byte on, whatever the umask is.
    let mut open = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&file).failed()?;
    open.write_all(content).failed()?;
    fs::set_permissions(&file, fs::Permissions::from_mode(mode)).failed()
}
