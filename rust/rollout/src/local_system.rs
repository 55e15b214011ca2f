//! A system in the local store, read into the inputs of [`machinist_switch`].

use std::{
    fs,
    io::{self, Read},
    path::Path,
};

use machinist_switch::{BootFiles, SwitchFiles, UnitTree, unit_tree::LINK_FOLDERS};
use sha2::{Digest, Sha256};

/// Reads a directory of units, such as `<toplevel>/etc/systemd/system`. A missing one is empty.
///
/// # Errors
/// A file in it cannot be read.
pub fn unit_tree(directory: &Path) -> io::Result<UnitTree> {
    let mut tree = UnitTree::default();
    for name in names(directory)? {
        let path = directory.join(&name);
        if name.ends_with(".d") && path.is_dir() {
            for drop_in in names(&path)?.into_iter().filter(|drop_in| drop_in.ends_with(".conf")) {
                add(&mut tree, &path.join(&drop_in), format!("{name}/{drop_in}"))?;
            }
        } else if LINK_FOLDERS.iter().any(|ending| name.ends_with(ending)) {
            tree.links.extend(names(&path)?.into_iter().map(|link| format!("{name}/{link}")));
        } else {
            add(&mut tree, &path, name)?;
        }
    }
    Ok(tree)
}

fn add(tree: &mut UnitTree, path: &Path, name: String) -> io::Result<()> {
    if let Ok(target) = fs::read_link(path) {
        if target == Path::new("/dev/null") {
            tree.masked.insert(name);
            return Ok(());
        }
        // A relative link is an alias. A link out of the store is a file of the distribution.
        if target.is_relative() {
            tree.aliases.insert(name, target.to_string_lossy().into_owned());
            return Ok(());
        }
        if !target.starts_with("/nix/store") {
            return Ok(());
        }
    }
    if path.is_file() {
        tree.files.insert(name, String::from_utf8_lossy(&fs::read(path)?).into_owned());
    }
    Ok(())
}

/// Returns the time in seconds after which a boot of the system on trial is left by the machine itself, unless it was
/// confirmed: `machinist.boot.fallback.deadline`. None if the system has no such limit.
pub fn boot_deadline(system: &Path) -> Option<u64> {
    let text = fs::read_to_string(system.join("etc/machinist/boot-fallback")).ok()?;
    text.lines().find_map(|line| line.strip_prefix("deadline="))?.parse().ok()
}

fn names(directory: &Path) -> io::Result<Vec<String>> {
    let entries = match fs::read_dir(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut names = Vec::new();
    for entry in entries {
        names.push(entry?.file_name().to_string_lossy().into_owned());
    }
    names.sort();
    Ok(names)
}

/// Reads the files that a system boots.
#[must_use]
pub fn boot_files(system: &Path) -> BootFiles {
    let link = |name: &str| fs::canonicalize(system.join(name)).ok().map(|path| path.display().to_string());
    let text = |name: &str| fs::read_to_string(system.join(name)).ok().map(|text| text.trim().to_owned());
    BootFiles {
        kernel: link("kernel"),
        initrd: link("initrd"),
        stage_1: stage_1(system),
        modules: link("kernel-modules"),
        params: text("kernel-params"),
    }
}

/// Returns the program of a system's initrd. With a scripted one, the system's init is a script, too; systemd continues as
/// the init itself.
fn stage_1(system: &Path) -> Option<String> {
    if !system.join("initrd").exists() {
        return None;
    }
    let mut start = [0; 2];
    fs::File::open(system.join("init")).and_then(|mut init| init.read_exact(&mut start)).ok()?;
    Some(if start == *b"#!" { "scripted" } else { "systemd" }.to_owned())
}

/// Reads the files of a system that decide whether a machine can be switched to it.
#[must_use]
pub fn switch_files(system: &Path) -> SwitchFiles {
    let text = |name: &str| fs::read(system.join(name)).ok().map(|text| String::from_utf8_lossy(&text).into_owned());
    let unit = system.join("etc/systemd/system/dbus.service");
    let broker = || fs::read_link(&unit).is_ok_and(|target| target == Path::new(BROKER));
    let dbus = unit.exists().then(|| if broker() { "broker" } else { "dbus" }.to_owned());
    SwitchFiles { inhibitors: text("switch-inhibitors"), interface: text("init-interface-version"), dbus }
}

/// The unit that `dbus.service` is an alias of, if the system uses the broker.
const BROKER: &str = "dbus-broker.service";

/// Returns the path of a system's systemd and the SHA-256 digest of its `system.conf`, in hexadecimal.
#[must_use]
pub fn manager(system: &Path) -> (Option<String>, Option<String>) {
    let systemd = fs::canonicalize(system.join("systemd")).ok().map(|path| path.display().to_string());
    let text = fs::read(system.join("etc/systemd/system.conf")).ok();
    let hex = |text: Vec<u8>| Sha256::digest(&text).iter().map(|byte| format!("{byte:02x}")).collect();
    (systemd, text.map(hex))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::{fs, os::unix::fs::symlink};

    use machinist_switch::UnitTree;

    use super::{boot_files, unit_tree};

    #[test]
    fn a_folder_of_units_is_read_with_its_links() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        fs::write(at("a.service"), "[Unit]\nWants=b.service\n").unwrap();
        fs::create_dir(at("a.service.d")).unwrap();
        fs::write(at("a.service.d/x.conf"), "[Service]\nUser=x\n").unwrap();
        fs::write(at("a.service.d/notes"), "nothing").unwrap();
        fs::create_dir(at("m.target.wants")).unwrap();
        symlink("../a.service", at("m.target.wants/a.service")).unwrap();
        symlink("/dev/null", at("gone.service")).unwrap();
        symlink("a.service", at("alias.service")).unwrap();
        symlink("/usr/lib/systemd/system/m.target", at("default.target")).unwrap();
        let tree = unit_tree(folder.path()).unwrap();
        assert_eq!(tree.files.keys().collect::<Vec<_>>(), ["a.service", "a.service.d/x.conf"]);
        assert!(tree.masked.contains("gone.service") && !tree.speaks_of("gone.service"));
        assert_eq!(tree.pulls("m.target").into_iter().collect::<Vec<_>>(), ["a.service"]);
        assert_eq!(tree.pulls("a.service").into_iter().collect::<Vec<_>>(), ["b.service"]);
        assert_eq!(tree.unit("a.service", "a.service", None).values("Service", "User"), ["x"]);
        assert_eq!(tree.aliases["alias.service"], "a.service");
    }

    #[test]
    fn the_program_of_an_initrd_is_known_by_the_init_after_it() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        assert_eq!(boot_files(folder.path()).stage_1, None, "it has no initrd");
        fs::write(at("initrd"), "").unwrap();
        assert_eq!(boot_files(folder.path()).stage_1, None);
        for (init, program) in [("#!/bin/sh\n", "scripted"), ("\u{7f}ELF", "systemd")] {
            fs::write(at("init"), init).unwrap();
            assert_eq!(boot_files(folder.path()).stage_1.as_deref(), Some(program));
        }
    }

    #[test]
    fn a_folder_that_is_not_there_is_empty() {
        assert_eq!(unit_tree(std::path::Path::new("/nowhere")).unwrap(), UnitTree::default());
    }
}
