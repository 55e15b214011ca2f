//! The two directories of a rehearsal: the cluster as it was deployed, and as it is now. Both are copies with throwaway
//! keys; no private key of the cluster is read.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use machinist_model::Operator;
use machinist_nix::{FlakeError, FlakeRef};
use machinist_secrets::{SshKeyPair, generate_identity, no_prompt, write_private};

use crate::{
    certs::issue,
    connect::KNOWN_HOSTS,
    consent::Consent,
    context::{Connections, Context},
    event::Events,
    failure::{Failure, Kind, OrFail as _},
    files,
    keyring::Keyring,
    project::{Project, VISIBLE},
    stage::Stage,
};

/// Module that makes a node a rehearsal machine.
const MODULE: &str = include_str!("../../../../nix/rehearsal.nix");

/// Its file name in `nodes/<name>/`, which nix/cluster.nix reads.
const MODULE_FILE: &str = "machinist-rehearsal.nix";

/// Name of the rehearsal's own operator.
const OPERATOR: &str = "machinist-rehearsal";

/// Keys of a rehearsal, made for it.
#[derive(Clone)]
pub struct Keys {
    stage: Stage,
    identity: PathBuf,
    ssh: PathBuf,
}

impl Keys {
    /// Makes the keys in the directory.
    ///
    /// # Errors
    /// A key cannot be made or written.
    pub fn make(directory: &Path, sandbox: PathBuf) -> Result<Self, Failure> {
        let (identity, ssh) = (directory.join("identity.txt"), directory.join("id_ed25519"));
        let age = generate_identity();
        let login = SshKeyPair::generate(OPERATOR).failed()?;
        write_private(&identity, age.secret().as_bytes()).failed()?;
        write_private(&ssh, login.private().as_bytes()).failed()?;
        let operator = Operator {
            name: OPERATOR.to_owned(),
            ssh: Some(login.public().to_owned()),
            age: Some(age.recipient().to_owned()),
        };
        Ok(Self { stage: Stage { operator, sandbox }, identity, ssh })
    }

    /// Returns the context of an operation in the directory of a copy.
    fn context(&self, outer: &Context, directory: PathBuf) -> Context {
        let events = outer.events.clone();
        Context {
            project: Project { directory, nix: outer.project.nix.clone(), events, stage: Some(self.stage.clone()) },
            keyring: Keyring { identity: Some(self.identity.clone()), prompt: no_prompt() },
            connections: Connections::Ssh { keys: vec![self.ssh.clone()] },
            consent: Consent::given(),
            ..outer.clone()
        }
    }
}

/// Returns the context with another receiver of events.
pub fn with_events(context: &Context, events: Events) -> Context {
    let mut context = context.clone();
    context.project.events = events.clone();
    context.events = events;
    context
}

/// Returns the commit that a revision of the directory's repository names.
///
/// # Errors
/// The directory is not in a repository, or there is no such commit.
pub fn commit(context: &Context, revision: &str) -> Result<String, Failure> {
    context.project.flake()?.commit(revision).map_err(|error| refused(&error))
}

/// Makes the directory of the cluster at a revision of its repository, as before its first deploy.
///
/// # Errors
/// There is no such revision, or its machines.nix is invalid.
pub fn before(outer: &Context, keys: &Keys, revision: &str, to: &Path) -> Result<Context, Failure> {
    fs::create_dir(to).failed()?;
    let (flake, directory) = outer.project.flake()?.checkout(revision, to).map_err(|error| refused(&error))?;
    for folder in ["certs", "state"] {
        remove(&directory.join(folder)).failed()?;
    }
    prepare(outer, keys, &flake, directory)
        .map_err(|failure| Failure { message: format!("at {revision}: {}", failure.message), ..failure })
}

/// Makes the directory of the cluster as it is now, with the certificates and the recorded state of the one before.
///
/// # Errors
/// machines.nix is invalid, or a file cannot be copied.
pub fn after(outer: &Context, keys: &Keys, before: &Context, to: &Path) -> Result<Context, Failure> {
    fs::create_dir(to).failed()?;
    let (flake, directory) = outer.project.flake()?.snapshot(to, &VISIBLE).map_err(|error| refused(&error))?;
    for folder in ["certs", "state", ".machinist/runs"] {
        remove(&directory.join(folder)).failed()?;
        copy(&before.project.directory.join(folder), &directory.join(folder)).failed()?;
    }
    prepare(outer, keys, &flake, directory)
}

/// Makes the nodes rehearsal machines, and issues missing certificates.
fn prepare(outer: &Context, keys: &Keys, flake: &FlakeRef, directory: PathBuf) -> Result<Context, Failure> {
    let context = keys.context(outer, directory);
    let directory = &context.project.directory;
    let cluster = context.project.load()?.cluster;
    for node in cluster.deployable() {
        files::write(&directory.join("nodes").join(node.name.as_str()).join(MODULE_FILE), MODULE).failed()?;
    }
    issue::run(&context, &issue::Request::default())?;
    fs::create_dir_all(directory.join(KNOWN_HOSTS).parent().unwrap_or(directory)).failed()?;
    flake.make_visible(&VISIBLE).map_err(|error| refused(&error))?;
    Ok(context)
}

fn refused(error: &FlakeError) -> Failure {
    Failure::from_error(Kind::Input, error).maybe_hint(error.hint())
}

fn remove(directory: &Path) -> io::Result<()> {
    match fs::remove_dir_all(directory) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Copies a directory with its files. A missing one is left out.
fn copy(from: &Path, to: &Path) -> io::Result<()> {
    let entries = match fs::read_dir(from) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries?,
    };
    fs::create_dir_all(to)?;
    for entry in entries {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy(&entry.path(), &target)?;
        } else {
            fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}
