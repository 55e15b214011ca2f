//! First installation of NixOS on a bare machine, by nixos-anywhere.

mod verified_ssh;

use std::{
    fs,
    io::{self, BufRead as _, BufReader, Read, Write},
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    thread,
    time::{Duration, Instant},
};

use machinist_model::{Cluster, Node, NodeName, Provider, moving};
use machinist_nix::{Build, StorePath};
use machinist_pki::host_key::{self, System};
use machinist_remote::{HostKey, KnownHosts, SshConfig, host_pattern};
use machinist_rollout::{
    install::{self, Machine, PROGRAM},
    step::{Connector, gather, keys::DIRECTORY},
};
use machinist_secrets::Recipients;
use tempfile::TempDir;

use self::verified_ssh::VerifiedSsh;
use crate::{
    certs,
    connect::{self, KNOWN_HOSTS},
    consent::Question,
    context::{Connections, Context},
    event::{Event, Events},
    failure::{Failure, Kind, OrFail as _},
    project::Project,
};

/// Path of the host key on the machine.
const HOST_KEY: &str = "/etc/ssh/ssh_host_ed25519_key";

/// Subdirectory with the tree of extra files. The temporary directory around it is private to its owner, and that mode
/// must not be copied to the new machine's `/`.
const TREE: &str = "root";

/// Maximum length of a line of a program's output, in bytes.
const LONGEST_LINE: u64 = 16 << 10;

/// Time to wait for remaining output after a program exits: a leftover child process may keep the pipe open.
const REST: Duration = Duration::from_secs(2);

/// Timeout for the installed machine to answer: server firmware takes minutes.
const BOOT_BOUND: Duration = Duration::from_secs(900);

/// Poll interval for the end of a program, or for an interruption.
const TICK: Duration = Duration::from_millis(10);

/// Request to install a machine.
#[derive(Clone, Debug)]
pub struct Request {
    /// Name of the machine.
    pub target: String,
    /// Generates `nodes/NAME/hardware-configuration.nix`.
    pub hardware_config: bool,
}

/// Installation with its preconditions verified. Nothing has been changed yet.
pub struct Install {
    context: Context,
    cluster: Cluster,
    node: Node,
    disk: String,
    machine: Machine,
    hardware: Option<PathBuf>,
}

/// Verifies the preconditions of an installation.
///
/// # Errors
/// The machine has no disk, belongs to a sandbox, is a recorded member, or has no certificates.
pub fn prepare(context: &Context, request: &Request) -> Result<Install, Failure> {
    let project = &context.project;
    let cluster = project.load()?.cluster;
    let nodes = connect::select(&cluster, Some(std::slice::from_ref(&request.target)))?;
    let [name] = nodes.as_slice() else {
        let failure = Failure::new(Kind::Input, format!("`{}` names {} machines", request.target, nodes.len()));
        return Err(failure.hint("install one machine at a time: each loses its disk"));
    };
    let node = cluster.nodes.get(name).ok_or_else(|| Failure::new(Kind::Input, format!("there is no {name}")))?.clone();
    let disk = installable(&node)?.to_owned();
    refuse_recorded_member(project, &node)?;
    project.refuse_in_move(moving::Command::Install)?;
    if connect::without_server(project, &cluster)?.contains(name) {
        return Err(Failure::new(Kind::Input, format!("{name} has no server yet"))
            .hint(format!("create it: `machinist provision {name}`")));
    }
    context.require_certificates(&cluster, &nodes)?;
    let keys: &[PathBuf] = match &context.connections {
        Connections::Ssh { keys } => keys,
        Connections::Given(_) => &[],
    };
    let mut present = cluster.clone();
    connect::as_created(project, &mut present)?;
    let present = present.nodes.get(name).unwrap_or(&node);
    let destination = connect::destination(project, &cluster, present, keys, &SshConfig::new());
    let endpoint =
        destination.endpoint().map_err(|error| Failure::from_error(Kind::Input, &error).maybe_hint(error.hint()))?;
    let machine = Machine {
        node: name.clone(),
        host: present.ssh.host.clone(),
        port: endpoint.port,
        user: endpoint.user,
        identity: keys.first().cloned(),
    };
    let hardware = format!("nodes/{name}/hardware-configuration.nix");
    let hardware = request.hardware_config.then(|| project.directory.join(hardware));
    Ok(Install { context: context.clone(), cluster, node, disk, machine, hardware })
}

/// Refuses a recorded member. Its data would be erased: the cluster would lose a voter, and the new machine could not
/// join.
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

impl Install {
    /// Returns the name of the machine.
    #[must_use]
    pub const fn node(&self) -> &NodeName {
        &self.node.name
    }

    /// Returns the steps of the installation, one line each.
    ///
    /// # Errors
    /// The cluster's files are invalid.
    pub fn steps(&self) -> Result<Vec<String>, Failure> {
        let mut steps = Vec::new();
        let flake = self.context.project.flake()?.reference();
        let name = &self.node.name;
        let boot = install::boot_installer(&self.machine, &flake, self.hardware.as_deref());
        steps.push(format!("{PROGRAM} {}", boot.join(" ")));
        steps
            .push(format!("nix build {flake}#nixosConfigurations.{name}.config.system.build.{{diskoScript,toplevel}}"));
        for (path, mode) in self.extra_files()? {
            steps.push(format!("put {path} (mode {mode:o}, root's, decrypted from certs/)"));
        }
        steps.push(format!(
            "{PROGRAM} --phases disko,install,reboot --store-paths DISKO SYSTEM --extra-files ... (erases {})",
            self.disk
        ));
        steps.push(format!(
            "pin the host key of {} in {KNOWN_HOSTS}; wait until the machine answers with it",
            self.machine.host
        ));
        Ok(steps)
    }

    fn extra_files(&self) -> Result<Vec<(String, u32)>, Failure> {
        let keys = certs::key_files(&certs::inventory(&self.context.project.directory)?, &self.cluster);
        let keys = keys.get(&self.node.name).cloned().unwrap_or_default();
        let mut files: Vec<(String, u32)> = keys.into_iter().map(|key| (format!("{DIRECTORY}/{key}"), 0o400)).collect();
        files.extend([(HOST_KEY.to_owned(), 0o600), (format!("{HOST_KEY}.pub"), 0o644)]);
        Ok(files)
    }

    /// Requests consent: the machine's disk is erased.
    fn confirm(&self) -> Result<(), Failure> {
        let name = &self.node.name;
        let host = &self.machine.host;
        let disk = &self.disk;
        self.context.consent.ask(&Question {
            text: format!("{name} ({host}) loses everything on {disk}. Type its name to go on:"),
            accepted: vec![name.to_string()],
            consequence: format!("installing {name} erases {disk}"),
        })
    }

    /// Installs the machine, and waits until it answers with its pinned host key.
    ///
    /// # Errors
    /// Consent was refused, or a step failed. A second run starts over.
    pub fn run(&self) -> Result<(), Failure> {
        self.confirm()?;
        let certs = self.context.project.certs();
        let recipients = Recipients::from_operators(&self.cluster.operators)
            .map_err(|error| Failure::from_error(Kind::Input, &error).maybe_hint(error.hint()))?;
        // The host key is generated before the machine is installed, so that even the first connection is verified.
        let public = host_key::ensure(&certs, &self.node.name, System::Installed, &recipients)
            .map_err(|error| Failure::from_error(Kind::Failed, &error).maybe_hint(error.hint()))?;
        let generated = self.context.project.generated(&self.cluster)?;
        generated.refuse_foreign()?;
        self.context.project.write_generated(&generated)?;
        let flake = self.context.project.flake()?;
        if let Some(path) = &self.hardware {
            fs::create_dir_all(path.parent().unwrap_or(Path::new("."))).failed()?;
        }
        let ssh = self.verified_ssh()?;
        self.call(
            "boot the installer",
            &install::boot_installer(&self.machine, &flake.reference(), self.hardware.as_deref()),
            ssh.as_ref(),
        )?;
        flake.make_visible(&["nodes"]).failed()?;
        let (disko, system) = self.build()?;
        let extra = self.write_extra_files(&public)?;
        self.context.events.send(Event::SecretsWritten { directory: extra.path().to_owned() });
        let files = self.extra_files()?;
        let files = files.iter().map(|(path, _)| path.as_str());
        let arguments = install::install(&self.machine, &disko, &system, &extra.path().join(TREE), files);
        self.call("install", &arguments, ssh.as_ref())?;
        drop(extra);
        self.pin(&public)?;
        self.await_boot(&system)?;
        self.forget_machine()
    }

    /// Returns an `ssh` that accepts only the pinned key of the machine's present system; `None`, with a warning, if none is
    /// pinned.
    fn verified_ssh(&self) -> Result<Option<VerifiedSsh>, Failure> {
        let known_hosts = KnownHosts::load(&self.context.project.directory.join(KNOWN_HOSTS)).input()?;
        let Machine { host, port, node, .. } = &self.machine;
        let keys = known_hosts.keys(&host_pattern(host, *port));
        if keys.is_empty() {
            self.context.events.warn(format!(
                "{node}: no host key of {host} is pinned, so nixos-anywhere accepts any; pin it with `ssh-keyscan -t \
                 ed25519 {host}` in {KNOWN_HOSTS}, after comparing it with the console"
            ));
            return Ok(None);
        }
        // nixos-anywhere would try for ever.
        let mut present = self.cluster.clone();
        connect::as_created(&self.context.project, &mut present)?;
        let connector = connect::connector(&self.context, &present, None)?;
        let greeted = connector.connect(node);
        greeted.map_err(|error| Failure::on(node, Kind::Failed, &error).maybe_hint(error.hint()))?;
        VerifiedSsh::new(host, *port, &keys).failed().map(Some)
    }

    fn call(&self, what: &str, arguments: &[String], ssh: Option<&VerifiedSsh>) -> Result<(), Failure> {
        self.context
            .events
            .send(Event::Command { what: what.to_owned(), line: format!("{PROGRAM} {}", arguments.join(" ")) });
        let mut command = machinist_nix::program(PROGRAM);
        command.args(arguments);
        if let Some(ssh) = ssh {
            command.env("PATH", ssh.path().failed()?);
        }
        let status = forward(&mut command, &self.context).map_err(|error| {
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
        let built = self.context.project.nix.build(&Build {
            flake: &flake,
            attributes: &[attribute("diskoScript"), attribute("toplevel")],
            link: &links.join("install"),
            keep_going: false,
            watch: &(),
        });
        let built = built.map_err(|error| Failure::from_error(Kind::Failed, &error).maybe_hint(error.hint()))?;
        for warning in &built.warnings {
            self.context.events.warn(warning);
        }
        match built.paths.as_slice() {
            [disko, system] => Ok((disko.clone(), system.clone())),
            other => Err(Failure::new(Kind::Failed, format!("nix built {} paths where two were wanted", other.len()))),
        }
    }

    /// Writes the node's own keys in the layout of its disk. The directory is in memory if possible, private to its
    /// owner, and removed afterwards.
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
        let private =
            host_key::open(&self.context.project.certs(), &self.node.name, System::Installed, &identities, operators)
                .map_err(|error| Failure::from_error(Kind::Failed, &error).maybe_hint(error.hint()))?
                .ok_or_else(|| Failure::new(Kind::Failed, format!("{} has no host key in certs/", self.node.name)))?;
        let inventory = certs::inventory(&self.context.project.directory)?;
        let keys = inventory
            .node_keys(&machinist_pki::table(&self.cluster), &self.node.name, &identities, operators)
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
        // Directories are unpacked with their modes from here, regardless of the umask.
        let public = ["/", "/etc", "/etc/ssh", "/var", "/var/lib", "/var/lib/machinist"].map(|path| (path, 0o755));
        for (path, mode) in public.into_iter().chain([(DIRECTORY, 0o700)]) {
            let path = root.join(path.trim_start_matches('/'));
            if path.is_dir() {
                fs::set_permissions(path, fs::Permissions::from_mode(mode)).failed()?;
            }
        }
        Ok(directory)
    }

    /// Removes the recorded machine-id: the installed machine has a new one, which the next deploy records.
    fn forget_machine(&self) -> Result<(), Failure> {
        self.context.project.forget_machines(&[self.node.name.to_string()].into())
    }

    fn pin(&self, public: &str) -> Result<(), Failure> {
        let key = HostKey::from_openssh(public)
            .ok_or_else(|| Failure::new(Kind::Failed, "the host key in certs/ is not readable"))?;
        let known_hosts = KnownHosts::load(&self.context.project.directory.join(KNOWN_HOSTS)).input()?;
        let pattern = connect::destination(&self.context.project, &self.cluster, &self.node, &[], &SshConfig::new())
            .host_pattern();
        known_hosts.pin(&pattern, key).failed()?;
        // The provider's image is gone, and its key, which the metadata show, with it.
        host_key::remove_first_boot(&self.context.project.certs(), &self.node.name)
            .map_err(|error| Failure::from_error(Kind::Failed, &error).maybe_hint(error.hint()))
    }

    /// Waits until the machine answers with its own key and runs the installed system.
    fn await_boot(&self, system: &StorePath) -> Result<(), Failure> {
        let name = &self.node.name;
        self.context.events.remark(format!("waiting until {name} answers with its pinned host key"));
        let connector: Connector = connect::connector(&self.context, &self.cluster, None)?;
        let deadline = Instant::now() + BOOT_BOUND;
        loop {
            let asked = connector.connect(name).map_err(Into::into).and_then(|remote| gather(&*remote));
            let why = match asked {
                Ok(facts) if facts.running.as_ref() == Some(system) => return Ok(()),
                Ok(_) => "it still runs another system".to_owned(),
                Err(error) => error.to_string(),
            };
            if Instant::now() >= deadline || self.context.interrupt.is_set() {
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

/// Runs a program and reports its output line by line, since it includes the host's output. An interruption ends the
/// program.
fn forward(command: &mut Command, context: &Context) -> io::Result<ExitStatus> {
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    let events = context.events.clone();
    let stdout = child.stdout.take().map(|stream| thread::spawn(move || report_lines(stream, &events)));
    let events = context.events.clone();
    let stderr = child.stderr.take().map(|stream| thread::spawn(move || report_lines(stream, &events)));
    let status = ended(&mut child, context)?;
    let deadline = Instant::now() + REST;
    for reader in [stdout, stderr].into_iter().flatten() {
        while !reader.is_finished() && Instant::now() < deadline {
            thread::sleep(TICK);
        }
    }
    Ok(status)
}

fn ended(child: &mut Child, context: &Context) -> io::Result<ExitStatus> {
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(status);
        }
        if context.interrupt.is_set() {
            child.kill()?;
        }
        thread::sleep(TICK);
    }
}

fn report_lines(stream: impl Read, events: &Events) {
    let mut reader = BufReader::new(stream);
    let mut line = Vec::new();
    // A stream that cannot be read counts as closed.
    while reader.by_ref().take(LONGEST_LINE).read_until(b'\n', &mut line).is_ok_and(|length| length > 0) {
        events.remark(String::from_utf8_lossy(&line).trim_end());
        line.clear();
    }
}

fn put(root: &Path, path: &str, content: &[u8], mode: u32) -> Result<(), Failure> {
    let file = root.join(path.trim_start_matches('/'));
    fs::create_dir_all(file.parent().unwrap_or(root)).failed()?;
    // Created private, regardless of the umask.
    let mut open = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&file).failed()?;
    open.write_all(content).failed()?;
    fs::set_permissions(&file, fs::Permissions::from_mode(mode)).failed()
}
