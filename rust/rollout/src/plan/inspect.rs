//! Report of a host about its running system, as `script/units.sh` prints it. Pure, but for [`ask`].

use std::{collections::BTreeMap, time::Duration};

use machinist_nix::StorePath;
use machinist_remote::{Remote, Request};
use machinist_switch::{
    BootFiles, SizedPath, UnitTree,
    units::{Active, Units},
};

use crate::{script::UNITS, step::StepError};

/// Report of a host about its running system.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Inspection {
    /// Units with their states and files.
    pub units: Units,
    /// The files that it has booted.
    pub booted: BootFiles,
    /// The files that its running system would boot.
    pub running: BootFiles,
    /// The running systemd and the digest of its `system.conf`.
    pub manager: (Option<String>, Option<String>),
    /// The running system's `/etc/fstab`.
    pub fstab: String,
    /// The running system's closure.
    pub closure: Vec<SizedPath>,
}

/// Queries the host, in one request. `new` is the unit tree for the comparison: files that are equal in it are not
/// sent.
///
/// # Errors
/// The connection fails, or systemd or the store of the host does not respond.
pub fn ask(remote: &dyn Remote, new: &UnitTree) -> Result<Inspection, StepError> {
    let digests = new.digests();
    let listing: String = digests.keys().map(|line| format!("{line}\n")).collect();
    let request = Request::new("ask for units", UNITS).bytes(listing).timeout(Duration::from_secs(60));
    let output = remote.run_checked(request)?.stdout_text();
    parse(&output, new, &digests)
        .ok_or_else(|| StepError::Unknown { why: "its answer about units is cut off".to_owned() })
}

/// Splits a script's output into sections, each of which begins with a line `== NAME`. Text before the first is
/// skipped.
pub(crate) fn sections(output: &str) -> BTreeMap<&str, Vec<&str>> {
    let mut sections: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    let mut current: Option<&mut Vec<&str>> = None;
    for line in output.lines() {
        match line.strip_prefix("== ") {
            Some(name) => current = Some(sections.entry(name).or_default()),
            None => {
                if let Some(lines) = &mut current {
                    lines.push(line);
                }
            }
        }
    }
    sections
}

/// Parses the output. None if it is incomplete.
fn parse(output: &str, new: &UnitTree, digests: &BTreeMap<String, String>) -> Option<Inspection> {
    let sections = sections(output);
    sections.get("end")?;
    let lines = |name: &str| sections.get(name).map_or(&[] as &[&str], Vec::as_slice);
    let set = |name: &str| lines(name).iter().filter(|line| !line.is_empty()).map(|&line| line.to_owned()).collect();
    let mut inspection = Inspection {
        booted: BootFiles::from_lines(lines("booted")),
        running: BootFiles::from_lines(lines("current")),
        manager: (value(lines("current"), "systemd"), value(lines("current"), "system.conf")),
        fstab: lines("fstab").join("\n"),
        closure: closure(lines("closure"), lines("sizes")),
        ..Inspection::default()
    };
    let units = &mut inspection.units;
    units.active = active(lines("active"));
    units.machine =
        texts(lines("machine")).into_iter().map(|(path, text)| (file_name(path).to_owned(), text)).collect();
    units.interrupted.start = set("start-list");
    units.interrupted.restart = set("restart-list");
    units.interrupted.reload = set("reload-list");
    units.tree.masked = set("masked");
    units.tree.links = set("links");
    let pair = |line: &&str| line.split_once('\t').map(|(name, target)| (name.to_owned(), target.to_owned()));
    units.tree.aliases = lines("aliases").iter().filter_map(pair).collect();
    units.tree.files = files(lines("files"), &texts(lines("texts")), new, digests);
    Some(inspection)
}

/// Sizes are in the order of the paths. If their number differs, none is known.
fn closure(paths: &[&str], sizes: &[&str]) -> Vec<SizedPath> {
    let bytes = |index: usize| sizes.get(index).filter(|_| sizes.len() == paths.len())?.trim().parse().ok();
    let sized =
        |(index, path): (usize, &&str)| Some(SizedPath { path: StorePath::parse(path).ok()?, bytes: bytes(index) });
    paths.iter().enumerate().filter_map(sized).collect()
}

/// A file that the new tree has too was not sent; its text is taken from there. A file without lines is empty.
fn files(
    lines: &[&str],
    texts: &BTreeMap<&str, String>,
    new: &UnitTree,
    digests: &BTreeMap<String, String>,
) -> BTreeMap<String, String> {
    let path_of = |line: &str| Some(line.split_once("  ")?.1.trim_start_matches("./").to_owned());
    let file = |line: &&str| {
        let path = path_of(line)?;
        if path.contains(".d/") && !path.ends_with(".conf") {
            return None;
        }
        let known = digests.get(*line).and_then(|path| new.files.get(path)).cloned();
        let text = known.or_else(|| texts.get(path.as_str()).cloned()).unwrap_or_default();
        Some((path, text))
    };
    lines.iter().filter_map(file).collect()
}

/// Parses lines of `grep --null`: a path, a NUL, a line of the file.
fn texts<'a>(lines: &[&'a str]) -> BTreeMap<&'a str, String> {
    let mut texts: BTreeMap<&str, String> = BTreeMap::new();
    for (path, line) in lines.iter().filter_map(|line| line.split_once('\0')) {
        let text = texts.entry(path.trim_start_matches("./")).or_default();
        text.push_str(line);
        text.push('\n');
    }
    texts
}

fn file_name(path: &str) -> &str {
    path.rsplit_once('/').map_or(path, |(_, name)| name)
}

fn value(lines: &[&str], key: &str) -> Option<String> {
    let of_key =
        |line: &&str| line.split_once('=').filter(|(name, _)| *name == key).map(|(_, value)| value.trim().to_owned());
    lines.iter().find_map(of_key)
}

/// Parses the blocks of `systemctl show`. Units that follow another one are only its shadows and left out.
fn active(lines: &[&str]) -> BTreeMap<String, Active> {
    let mut units = BTreeMap::new();
    for block in lines.split(|line| line.is_empty()) {
        let of = |key| value(block, key).unwrap_or_default();
        let (name, state) = (of("Id"), of("ActiveState"));
        if !name.is_empty() && of("Following").is_empty() && !matches!(state.as_str(), "" | "inactive") {
            units.insert(name, Active { state, fragment: of("FragmentPath") });
        }
    }
    units
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::process::Command;

    use machinist_remote::FakeRemote;
    use machinist_switch::UnitTree;

    use super::{ask, parse};
    use crate::{local_system::unit_tree, script::UNITS};

    const HASH: &str = "00000000000000000000000000000000";

    fn answer(digest: &str) -> String {
        format!(
            "Welcome!\n== active\nId=a.service\nActiveState=active\nFragmentPath=/etc/systemd/system/a.service\nFollowing=\n\n\
             Id=b.service\nActiveState=inactive\nFragmentPath=\nFollowing=\n\nId=c.device\nActiveState=active\nFollowing=d.device\n\
             == machine\n/usr/lib/systemd/system/m.service\0[Unit]\n== restart-list\nr.service\n\
             == booted\nkernel=/nix/store/{HASH}-linux-6.12/bzImage\nkernel-params=quiet root=/dev/x\n\
             == current\nsystemd=/nix/store/{HASH}-systemd-258\n== fstab\n/dev/x / ext4\n== closure\n/nix/store/{HASH}-x-1\n== sizes\n7\n\
             == masked\nn.service\n== aliases\nz.service\ta.service\n== links\nm.target.wants/a.service\n\
             == files\n{digest}\n11  ./b\\x2dc.service\n22  ./empty.service\n33  ./a.service.d/notes\n\
             == texts\n./b\\x2dc.service\0[Unit]\n./b\\x2dc.service\0Wants=x=y\n"
        )
    }

    fn tree() -> UnitTree {
        let files = [("a.service".to_owned(), "[Unit]\nAfter=q\n".to_owned())];
        UnitTree { files: files.into(), ..UnitTree::default() }
    }

    #[test]
    fn the_answer_of_a_host_is_read() {
        let digest = tree().digests().into_keys().next().unwrap();
        let text = answer(&digest) + "== end\n";
        let found = parse(&text, &tree(), &tree().digests()).unwrap();
        let units = &found.units;
        assert_eq!(units.active.keys().collect::<Vec<_>>(), ["a.service"]);
        assert_eq!(units.machine["m.service"], "[Unit]\n");
        assert!(units.interrupted.restart.contains("r.service"));
        assert_eq!(found.booted.params.as_deref(), Some("quiet root=/dev/x"));
        assert!(found.manager.0.as_ref().is_some_and(|path| path.ends_with("systemd-258")));
        assert_eq!((found.closure.len(), found.fstab.as_str()), (1, "/dev/x / ext4"));
        assert_eq!(found.closure[0].bytes, Some(7));
        assert_eq!(units.tree.files.keys().collect::<Vec<_>>(), ["a.service", "b\\x2dc.service", "empty.service"]);
        assert_eq!(units.tree.files["a.service"], "[Unit]\nAfter=q\n", "it was not sent, it is the new one's");
        assert_eq!(units.tree.files["b\\x2dc.service"], "[Unit]\nWants=x=y\n");
        assert_eq!(units.tree.aliases["z.service"], "a.service");
        assert!(units.tree.masked.contains("n.service") && units.tree.links.contains("m.target.wants/a.service"));
    }

    #[test]
    fn sizes_that_do_not_belong_to_the_paths_are_unknown() {
        let path = format!("/nix/store/{HASH}-x-1");
        for (sizes, bytes) in [(vec!["7"], Some(7)), (vec![], None), (vec!["7", "8"], None), (vec!["-7"], None)] {
            assert_eq!(super::closure(&[&path], &sizes)[0].bytes, bytes, "{sizes:?}");
        }
    }

    #[test]
    fn an_answer_that_is_cut_off_is_not_taken_for_a_host_without_units() {
        assert_eq!(parse(&answer(""), &tree(), &tree().digests()), None);
        let remote = FakeRemote::new("a").answer("ask for units", 0, "== active\n", "");
        assert!(ask(&remote, &UnitTree::default()).unwrap_err().to_string().contains("cut off"));
    }

    /// Runs the real script on a local folder of units, with fakes of systemd and the store.
    #[test]
    fn the_script_tells_of_a_tree_what_a_look_at_it_does() {
        use std::os::unix::fs::{PermissionsExt, symlink};
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().canonicalize().unwrap();
        let units = root.join("current-system/etc/systemd/system");
        std::fs::create_dir_all(units.join("m.target.wants")).unwrap();
        std::fs::create_dir(units.join("b.service.d")).unwrap();
        for (path, text) in [
            ("a.service", "[Unit]\nAfter=q\n"),
            ("b\\x2dc.service", "[Unit]\nA=1"),
            ("b.service.d/x.conf", "[Service]\n"),
            ("e.service", ""),
        ] {
            std::fs::write(units.join(path), text).unwrap();
        }
        symlink("/dev/null", units.join("n.service")).unwrap();
        symlink("a.service", units.join("z.service")).unwrap();
        symlink("../a.service", units.join("m.target.wants/a.service")).unwrap();
        let programs = root.join("current-system/sw/bin");
        std::fs::create_dir_all(&programs).unwrap();
        std::fs::write(root.join("current-system/initrd"), "").unwrap();
        std::fs::write(root.join("current-system/init"), "\u{7f}ELF").unwrap();
        for name in ["systemctl", "nix-store"] {
            std::fs::write(programs.join(name), "#!/bin/sh\n").unwrap();
            std::fs::set_permissions(programs.join(name), std::fs::Permissions::from_mode(0o755)).unwrap();
        }
        let script = UNITS.replace("/run/", &format!("{}/", root.display()));
        let known: String = tree().digests().keys().map(|line| format!("{line}\n")).collect();
        let input = root.join("input");
        std::fs::write(&input, known).unwrap();
        let output =
            Command::new("sh").args(["-c", &script]).stdin(std::fs::File::open(&input).unwrap()).output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(!text.contains("After=q"), "what the new system has too is not sent: {text}");
        let found = parse(&text, &tree(), &tree().digests()).unwrap();
        assert_eq!(found.running.stage_1.as_deref(), Some("systemd"));
        let found = found.units.tree;
        let mut expect = unit_tree(&units).unwrap();
        // Text is sent by lines, so a missing final newline is added.
        expect.files.insert("b\\x2dc.service".to_owned(), "[Unit]\nA=1\n".to_owned());
        assert_eq!(found, expect);
    }
}
