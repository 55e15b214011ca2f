//! First installation of NixOS on a bare machine, by nixos-anywhere.

mod examine;
mod group;
mod lost;
mod process;
mod secret_directory;
mod verified_ssh;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    io::Write,
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
    thread,
    time::{Duration, Instant},
};

use machinist_model::{Cluster, Node, NodeName, Provider, moving};
use machinist_nix::{Build, StorePath};
use machinist_pki::{
    Policy,
    host_key::{self, System},
};
use machinist_remote::{Fingerprint, HostKey, KnownHosts, SshConfig, host_pattern};
use machinist_rollout::{
    install::{
        self, Machine, PROGRAM,
        checks::Check,
        phase::{Follower, Phase},
    },
    step::{Connector, gather, keys::DIRECTORY},
};
use machinist_secrets::{Identities, Recipients};

pub use self::{
    examine::Report,
    group::{Group, Outcome, prepare_all},
};
use self::{
    process::{Ending, Run},
    secret_directory::SecretDirectory,
    verified_ssh::VerifiedSsh,
};
use crate::{
    certs::{
        self,
        hosts::{self, Signing},
    },
    connect::{self, KNOWN_HOSTS},
    consent::Question,
    context::{Connections, Context},
    event::Event,
    failure::{Failure, Kind, OrFail as _},
};

/// Path of the host key on the machine.
const HOST_KEY: &str = "/etc/ssh/ssh_host_ed25519_key";

/// Subdirectory with the tree of extra files. The temporary directory around it is private to its owner, and that mode
/// must not be copied to the new machine's `/`.
const TREE: &str = "root";

/// Installations of one process share the cluster's directory: its git index, pinned keys and state.
static DIRECTORY_OF_CLUSTER: Mutex<()> = Mutex::new(());

/// Request to install a machine.
#[derive(Clone, Debug, Default)]
pub struct Request {
    /// Name of the machine.
    pub target: String,
    /// Generates `nodes/NAME/hardware-configuration.nix`.
    pub hardware_config: bool,
    /// Checks whose refusals are warnings.
    pub ignore: BTreeSet<Check>,
    /// Deadlines of phases, in place of their defaults.
    pub deadlines: BTreeMap<Phase, Duration>,
    /// Fingerprint of the host key of the present system, which is pinned.
    pub accept: Option<Fingerprint>,
    /// Name of the cluster, whose etcd has lost its quorum: recorded members may be installed, and wait for a restore.
    pub without_quorum: Option<String>,
}

/// Installation with its preconditions verified. Nothing has been changed yet.
pub struct Install {
    context: Context,
    cluster: Cluster,
    node: Node,
    disk: String,
    machine: Machine,
    hardware: Option<PathBuf>,
    request: Request,
    /// True for a member of an etcd that has lost its quorum.
    awaits_restore: bool,
}

/// Verifies the preconditions of an installation.
///
/// # Errors
/// The machine has no disk, belongs to a sandbox, is a recorded member of an etcd with a quorum, or has no certificates.
pub fn prepare(context: &Context, request: &Request) -> Result<Install, Failure> {
    let project = &context.project;
    let cluster = project.load()?.cluster;
    let nodes = connect::select(&cluster, Some(std::slice::from_ref(&request.target)))?;
    let [name] = nodes.as_slice() else {
        let failure = Failure::new(Kind::Input, format!("`{}` names {} machines", request.target, nodes.len()));
        return Err(failure.hint("name each machine: each loses its disk"));
    };
    let node = cluster.nodes.get(name).ok_or_else(|| Failure::new(Kind::Input, format!("there is no {name}")))?.clone();
    let disk = installable(&node)?.to_owned();
    let awaits_restore = lost::is_awaiting(project, &cluster, &node, request)?;
    project.refuse_in_move(moving::Command::Install)?;
    if connect::without_server(project, &cluster)?.contains(name) {
        return Err(Failure::new(Kind::Input, format!("{name} has no server yet"))
            .hint(format!("create it: `machinist provision {name}`")));
    }
    for left in secret_directory::remove_left() {
        context.events.warn(format!("{} holds keys of an installation that was killed: remove it", left.display()));
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
    let (context, request) = (context.clone(), request.clone());
    Ok(Install { context, cluster, node, disk, machine, hardware, request, awaits_restore })
}

/// Refuses to begin what would end without nixos-anywhere.
///
/// # Errors
/// It is not on PATH.
pub fn require_program() -> Result<(), Failure> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    if std::env::split_paths(&path).any(|directory| directory.join(PROGRAM).is_file()) {
        return Ok(());
    }
    Err(Failure::new(Kind::Failed, format!("there is no {PROGRAM} on PATH"))
        .hint("it is in `nix develop`, and `nix run .#install` brings it along"))
}

/// Ends the first system of a machine that answers with the key of the installed one, as the last steps of an
/// installation do that was cut off.
///
/// # Errors
/// The key in certs/ cannot be removed, or the record cannot be written.
pub fn settled(context: &Context, node: &NodeName) -> Result<(), Failure> {
    host_key::remove_first_boot(&context.project.certs(), node)
        .map_err(|error| Failure::from_error(Kind::Failed, &error).maybe_hint(error.hint()))?;
    context.project.forget_machines(&[node.to_string()].into())
}

pub(crate) fn installable(node: &Node) -> Result<&str, Failure> {
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
    /// Returns true if its etcd waits for a restore afterwards.
    #[must_use]
    pub const fn awaits_restore(&self) -> bool {
        self.awaits_restore
    }

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
            let origin = if path == lost::AWAITED { "etcd waits for a restore" } else { "decrypted from certs/" };
            steps.push(format!("put {path} (mode {mode:o}, root's, {origin})"));
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
        files.extend(self.awaits_restore.then(|| (lost::AWAITED.to_owned(), 0o400)));
        Ok(files)
    }

    /// Requests consent: the machine's disk is erased.
    fn confirm(&self, report: &Report) -> Result<(), Failure> {
        let name = &self.node.name;
        let host = &self.machine.host;
        let disk = report.disk_names(&self.disk);
        let words = report.words(&self.disk);
        let end = if words.contains('\n') { "\n" } else { ". " };
        self.context.consent.ask(&Question {
            text: format!("{name} ({host}) loses everything on {words}{end}Type its name to go on:"),
            accepted: vec![name.to_string()],
            consequence: format!("installing {name} erases {disk}"),
        })
    }

    /// Writes the files of `generated/`, which the evaluation of the node reads.
    fn write_generated(&self) -> Result<(), Failure> {
        let generated = self.context.project.generated(&self.cluster)?;
        generated.refuse_foreign()?;
        self.context.project.write_generated(&generated)?;
        Ok(())
    }

    /// Examines and installs the machine, and waits until it answers with its pinned host key.
    ///
    /// # Errors
    /// A check refused it, consent was refused, or a step failed. A second run starts over.
    pub fn run(&self) -> Result<(), Failure> {
        self.write_generated()?;
        let report = self.examine()?;
        report.tell(&self.context.events);
        report.refuse()?;
        self.confirm(&report)?;
        let identities = self.context.keyring.unlock()?;
        self.install(&identities)
    }

    fn install(&self, identities: &Identities) -> Result<(), Failure> {
        if self.awaits_restore {
            lost::refuse_quorum(&self.context, &self.cluster)?;
        }
        let certs = self.context.project.certs();
        let recipients = Recipients::from_operators(&self.cluster.operators)
            .map_err(|error| Failure::from_error(Kind::Input, &error).maybe_hint(error.hint()))?;
        // The host key is generated before the machine is installed, so that even the first connection is verified.
        let public = {
            let _alone = DIRECTORY_OF_CLUSTER.lock().unwrap_or_else(PoisonError::into_inner);
            let public = host_key::ensure(&certs, &self.node.name, System::Installed, &recipients)
                .map_err(|error| Failure::from_error(Kind::Failed, &error).maybe_hint(error.hint()))?;
            self.certify(identities)?;
            public
        };
        let flake = self.context.project.flake()?;
        let ssh = self.verified_ssh()?;
        // Written there first: a phase that fails must not leave half a file, which no evaluation could read.
        let written = tempfile::Builder::new().prefix("machinist-hardware-").tempdir().failed()?;
        let file = self.hardware.is_some().then(|| written.path().join("hardware-configuration.nix"));
        let arguments = install::boot_installer(&self.machine, &flake.reference(), file.as_deref());
        self.call("boot the installer", &arguments, ssh.as_ref(), true)?;
        let (disko, system) = {
            let _alone = DIRECTORY_OF_CLUSTER.lock().unwrap_or_else(PoisonError::into_inner);
            if let (Some(file), Some(path)) = (&file, &self.hardware) {
                let text = fs::read(file).failed()?;
                fs::create_dir_all(path.parent().unwrap_or(Path::new("."))).failed()?;
                machinist_durable::replace(path, &text, 0o644).failed()?;
            }
            flake.make_visible(&["nodes"]).failed()?;
            self.build()?
        };
        let (extra, files) = {
            // Reads all of certs/, where the end of another installation removes the key of its first system.
            let _alone = DIRECTORY_OF_CLUSTER.lock().unwrap_or_else(PoisonError::into_inner);
            (self.write_extra_files(&public, identities)?, self.extra_files()?)
        };
        self.context.events.send(Event::SecretsWritten { directory: extra.path().to_owned() });
        let files = files.iter().map(|(path, _)| path.as_str());
        let arguments = install::install(&self.machine, &disko, &system, &extra.path().join(TREE), files);
        self.call("install", &arguments, ssh.as_ref(), false)?;
        drop(extra);
        {
            let _alone = DIRECTORY_OF_CLUSTER.lock().unwrap_or_else(PoisonError::into_inner);
            self.pin(&public)?;
        }
        self.await_boot(&system)?;
        let _alone = DIRECTORY_OF_CLUSTER.lock().unwrap_or_else(PoisonError::into_inner);
        self.forget_machine()
    }

    /// Signs the host key that the machine gets. Its certificate is part of the system, which is built after this. A
    /// machine without one works, and the next `certs gen` makes it.
    fn certify(&self, identities: &Identities) -> Result<(), Failure> {
        let (project, certs) = (&self.context.project, self.context.project.certs());
        let signing = Signing::Installed(&self.node);
        let signed = hosts::sign(&self.context, &self.cluster, signing, &Policy::default(), &certs, || Ok(identities));
        if let Err(failure) = signed {
            self.context.events.warn(format!(
                "{}: its host key is not certified ({}); `machinist certs gen` does it, then deploy",
                self.node.name,
                failure.in_one_line()
            ));
            return Ok(());
        }
        project.flake()?.make_visible(&["certs"]).failed()?;
        self.write_generated()
    }

    /// Returns an `ssh` that accepts only the pinned key of the machine's present system; `None` if none is pinned, which
    /// the examination has refused unless that was overridden.
    fn verified_ssh(&self) -> Result<Option<VerifiedSsh>, Failure> {
        let keys = self.pinned_keys()?;
        if keys.is_empty() {
            return Ok(None);
        }
        VerifiedSsh::new(&self.machine.host, self.machine.port, &keys).failed().map(Some)
    }

    fn pinned_keys(&self) -> Result<Vec<HostKey>, Failure> {
        let known_hosts = KnownHosts::load(&self.context.project.directory.join(KNOWN_HOSTS)).input()?;
        Ok(known_hosts.keys(&host_pattern(&self.machine.host, self.machine.port)).to_vec())
    }

    fn deadline(&self, phase: Phase) -> Duration {
        self.request.deadlines.get(&phase).copied().unwrap_or_else(|| phase.deadline())
    }

    /// Runs nixos-anywhere, each of its phases within its deadline.
    fn call(&self, what: &str, arguments: &[String], ssh: Option<&VerifiedSsh>, boots: bool) -> Result<(), Failure> {
        let events = &self.context.events;
        events.send(Event::Command { what: what.to_owned(), line: format!("{PROGRAM} {}", arguments.join(" ")) });
        let mut command = machinist_nix::program(PROGRAM);
        command.args(arguments);
        if let Some(ssh) = ssh {
            command.env("PATH", ssh.path().failed()?);
        }
        // Its key for the installer is there; nothing of it stays when it is killed.
        let temporary = tempfile::Builder::new().prefix("machinist-anywhere-").tempdir().failed()?;
        command.env("TMPDIR", temporary.path());
        let name = &self.node.name;
        let run = Run {
            follower: Follower::new(boots),
            deadline: &|phase| self.deadline(phase),
            interrupt: &self.context.interrupt,
            on_line: &|line| events.remark(line),
            on_phase: &|phase| events.note(name, phase.words()),
        };
        let done = run.follow(&mut command).map_err(|error| {
            let failure = Failure::from_error(Kind::Failed, &error);
            let message = format!("cannot run {PROGRAM}");
            Failure { message, causes: vec![failure.message], ..failure }
                .hint("it is in `nix develop`, and `nix run .#install` brings it along")
        })?;
        let phase = done.phase;
        let message = match done.ending {
            Ending::Exited(status) if status.success() => return Ok(()),
            Ending::Exited(status) => format!("{name}: {PROGRAM} failed while {} ({status})", phase.words()),
            Ending::Deadline => {
                let bound = self.deadline(phase).as_secs();
                format!("{name}: {} did not end within {bound} s, and {PROGRAM} was stopped", phase.words())
            }
            Ending::Interrupted => format!("{name}: interrupted while {}; {PROGRAM} was stopped", phase.words()),
        };
        let mut failure = Failure::new(Kind::Failed, message).hint(phase.way_on());
        if matches!(done.ending, Ending::Deadline) {
            failure =
                failure.hint(format!("a slow machine or line gets more time by `--deadline {}=SECONDS`", phase.name()));
        }
        if !done.last.is_empty() {
            failure.causes.push(format!("its last lines:\n{}", done.last.join("\n")));
        }
        Err(failure)
    }

    fn build(&self) -> Result<(StorePath, StorePath), Failure> {
        let flake = self.context.project.flake()?;
        let attribute = |what: &str| format!("nixosConfigurations.{}.config.system.build.{what}", self.node.name);
        let links = self.context.project.local().join("systems");
        fs::create_dir_all(&links).failed()?;
        let built = self.context.project.nix.build(&Build {
            flake: &flake,
            attributes: &[attribute("diskoScript"), attribute("toplevel")],
            link: &links.join(format!("install-{}", self.node.name)),
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

    /// Writes the node's own keys in the layout of its disk.
    fn write_extra_files(&self, public: &str, identities: &Identities) -> Result<SecretDirectory, Failure> {
        let directory = SecretDirectory::new().failed()?;
        let root = directory.path().join(TREE);
        let operators = &self.cluster.operators;
        let private =
            host_key::open(&self.context.project.certs(), &self.node.name, System::Installed, identities, operators)
                .map_err(|error| Failure::from_error(Kind::Failed, &error).maybe_hint(error.hint()))?
                .ok_or_else(|| Failure::new(Kind::Failed, format!("{} has no host key in certs/", self.node.name)))?;
        let inventory = certs::inventory(&self.context.project.directory)?;
        let keys = inventory
            .node_keys(&machinist_pki::table(&self.cluster), &self.node.name, identities, operators)
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
        if self.awaits_restore {
            put(&root, lost::AWAITED, b"", 0o400)?;
        }
        // Directories are unpacked with their modes from here, regardless of the umask.
        let public = ["/", "/etc", "/etc/ssh", "/var", "/var/lib", "/var/lib/machinist"].map(|path| (path, 0o755));
        let private = [DIRECTORY, "/var/lib/machinist/etcd-restore"].map(|path| (path, 0o700));
        for (path, mode) in public.into_iter().chain(private) {
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
        let bound = self.deadline(Phase::Boot);
        let deadline = Instant::now() + bound;
        loop {
            let asked = connector.connect(name).map_err(Into::into).and_then(|remote| gather(&*remote));
            let why = match asked {
                Ok(facts) if facts.running.as_ref() == Some(system) => return Ok(()),
                Ok(_) => "it still runs another system".to_owned(),
                Err(error) => error.to_string(),
            };
            let is_interrupted = self.context.interrupt.is_set();
            if Instant::now() >= deadline || is_interrupted {
                let when = if is_interrupted {
                    "before the interruption".to_owned()
                } else {
                    format!("within {} s", bound.as_secs())
                };
                let failure = Failure::new(Kind::Failed, format!("{name} was installed, but not seen {when}: {why}"));
                return Err(failure.hint(Phase::Boot.way_on()));
            }
            thread::sleep(Duration::from_secs(2));
        }
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
