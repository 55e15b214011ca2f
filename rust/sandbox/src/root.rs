//! The Debian root shared by all machines: built once by mmdebstrap, kept in the cache directory, never written to
//! again.

use std::{
    fs, io,
    os::unix::fs::{PermissionsExt, symlink},
    path::{Path, PathBuf},
    process::{Child, ExitStatus, Stdio},
    thread,
    time::{Duration, Instant},
};

use super::{
    error::Error,
    event::{Event, Events},
    lock::Lock,
    mirror, mountinfo, programs, recipe,
};

/// Time limit of the build, above that of a slow mirror: 18 to 50 s were measured.
const BUILD_WITHIN: Duration = Duration::from_secs(15 * 60);

/// Returns the Debian root, building it if it is missing or incomplete.
///
/// # Errors
/// mmdebstrap failed, or could not reach the mirror; an incomplete build is never used later.
pub fn debian_root(cache_dir: &Path, events: Events<'_>) -> Result<PathBuf, Error> {
    let hash = recipe::hash();
    let directory = cache_dir.join(format!("root-{hash}"));
    let tree = directory.join("tree");
    if is_complete(&directory) {
        return Ok(tree);
    }
    programs::require(programs::TO_MAKE_ROOT)?;
    fs::create_dir_all(cache_dir).map_err(Error::io("make", cache_dir))?;
    let _lock = Lock::acquire(&cache_dir.join(format!("root-{hash}.lock")), BUILD_WITHIN, events)?;
    // The run that held the lock may have built it.
    if is_complete(&directory) {
        return Ok(tree);
    }
    let started = Instant::now();
    events(Event::MakingRoot { path: directory.clone() });
    let new = cache_dir.join(format!("root-{hash}.new"));
    mountinfo::remove_tree(&new)?;
    fs::create_dir(&new).map_err(Error::io("make", &new))?;
    debootstrap(&new)?;
    adapt(&new.join("tree"))?;
    fs::write(new.join("complete"), "").map_err(Error::io("write", &new))?;
    // A machine may be running on the damaged root: it keeps its open files until it is restarted.
    mountinfo::remove_tree(&directory)?;
    fs::rename(&new, &directory).map_err(Error::io("rename", &new))?;
    events(Event::RootMade { took: started.elapsed() });
    Ok(tree)
}

/// The marker is written last; the files are checked as well because a cache may be cleaned by hand or by a cron job.
fn is_complete(directory: &Path) -> bool {
    let tree = directory.join("tree");
    directory.join("complete").exists()
        && recipe::ESSENTIAL.iter().all(|path| tree.join(path).symlink_metadata().is_ok())
}

/// Runs mmdebstrap in its own mount and process namespaces: if it is killed, its mounts and children disappear with it.
fn debootstrap(new: &Path) -> Result<(), Error> {
    let mirror = mirror::debian()?;
    let proxies: Vec<String> = mirror::proxies().iter().map(|line| format!("--aptopt={line}")).collect();
    let (tree, log) = (new.join("tree").display().to_string(), new.join("log"));
    let include = format!("--include={}", recipe::PACKAGES.join(","));
    // However this program ends, the build ends with it, and leaves its directory to the next run.
    let mut arguments = vec!["--pdeathsig", "KILL", "unshare", "--mount", "--pid", "--fork", "--kill-child"];
    arguments.extend(["--mount-proc", "--propagation", "private"]);
    arguments.extend(["mmdebstrap", "--mode=root", "--variant=minbase", include.as_str()]);
    arguments.extend(recipe::OPTIONS);
    arguments.extend(proxies.iter().map(String::as_str));
    arguments.extend([recipe::SUITE, tree.as_str(), mirror.as_str()]);
    let output = fs::File::create(&log).map_err(Error::io("write", &log))?;
    let errors = output.try_clone().map_err(Error::io("write", &log))?;
    let started = programs::command("setpriv", &arguments)
        .env("DEBIAN_FRONTEND", "noninteractive")
        .env("LC_ALL", "C.UTF-8")
        .stdout(Stdio::from(output))
        .stderr(Stdio::from(errors))
        .spawn();
    let fail = |reason: String| Error::Root { reason, log: tail(&log, 12) };
    let mut child = started.map_err(|error| fail(error.to_string()))?;
    match wait(&mut child, BUILD_WITHIN).map_err(|error| fail(error.to_string()))? {
        Some(status) if status.success() => Ok(()),
        Some(status) => Err(fail(status.to_string())),
        None => Err(fail(format!("timed out after {} s", BUILD_WITHIN.as_secs()))),
    }
}

/// Waits for a child; returns `None` if it had to be killed after `within`.
fn wait(child: &mut Child, within: Duration) -> io::Result<Option<ExitStatus>> {
    let started = Instant::now();
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        if started.elapsed() > within {
            child.kill()?;
            child.wait()?;
            return Ok(None);
        }
        thread::sleep(Duration::from_millis(50));
    }
}

/// Turns the fresh Debian tree into a root for machines.
fn adapt(tree: &Path) -> Result<(), Error> {
    for directory in recipe::EMPTIED {
        mountinfo::remove_tree(&tree.join(directory))?;
    }
    for file in recipe::REMOVED {
        let path = tree.join(file);
        match fs::remove_file(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            other => other.map_err(Error::io("remove", &path))?,
        }
    }
    let parents = recipe::FILES.iter().map(|file| file.0).chain(recipe::LINKS.iter().map(|link| link.0));
    let parents = parents.filter_map(|path| Path::new(path).parent());
    for directory in recipe::DIRECTORIES.iter().map(Path::new).chain(parents) {
        let path = tree.join(directory);
        fs::create_dir_all(&path).map_err(Error::io("make", &path))?;
    }
    for (path, mode, text) in recipe::FILES {
        let path = tree.join(path);
        fs::write(&path, text).map_err(Error::io("write", &path))?;
        fs::set_permissions(&path, fs::Permissions::from_mode(*mode)).map_err(Error::io("set the mode of", &path))?;
    }
    for (path, target) in recipe::LINKS {
        let path = tree.join(path);
        symlink(target, &path).map_err(Error::io("link", &path))?;
    }
    Ok(())
}

/// Returns the last lines of a log, for an error.
pub(super) fn tail(log: &Path, n_lines: usize) -> String {
    let bytes = fs::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes);
    let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
    lines[lines.len().saturating_sub(n_lines)..].join("\n")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use super::*;

    #[test]
    fn a_root_counts_only_with_its_marker_and_all_that_is_essential() {
        let dir = tempfile::tempdir().unwrap();
        let tree = dir.path().join("tree");
        fs::create_dir(&tree).unwrap();
        for path in recipe::ESSENTIAL {
            fs::create_dir_all(tree.join(path).parent().unwrap()).unwrap();
            fs::write(tree.join(path), "").unwrap();
        }
        assert!(!is_complete(dir.path()), "no marker: the build was interrupted");
        fs::write(dir.path().join("complete"), "").unwrap();
        assert!(is_complete(dir.path()));
        fs::remove_file(tree.join(recipe::ESSENTIAL[0])).unwrap();
        assert!(!is_complete(dir.path()), "a file is missing");
    }

    #[test]
    fn the_tree_is_adapted_whether_or_not_debian_has_all_the_units() {
        let dir = tempfile::tempdir().unwrap();
        let wants = dir.path().join("etc/systemd/system/multi-user.target.wants");
        fs::create_dir_all(&wants).unwrap();
        symlink("/usr/lib/systemd/system/etcd.service", wants.join("etcd.service")).unwrap();
        adapt(dir.path()).unwrap();
        assert!(wants.join("etcd.service").symlink_metadata().is_err());
        assert_eq!(fs::read_link(wants.join("sshd.service")).unwrap(), Path::new("../sshd.service"));
        let init = fs::metadata(dir.path().join("usr/lib/machinist/init")).unwrap();
        assert_eq!(init.permissions().mode() & 0o777, 0o755);
    }

    #[test]
    fn a_child_that_takes_too_long_is_ended() {
        let mut child = programs::command("sleep", &["60"]).spawn().unwrap();
        assert!(wait(&mut child, Duration::ZERO).unwrap().is_none());
        let mut child = programs::command("true", &[]).spawn().unwrap();
        assert!(wait(&mut child, Duration::from_secs(10)).unwrap().unwrap().success());
    }
}
