//! Files put on a host through a real sshd.

#![allow(clippy::unwrap_used, clippy::panic)]

mod support;

use machinist_remote::{RemoteDirectory, RemoteEntry, RemoteError, RemoteFile, put_file, put_files};
use machinist_testkit::skip::is_root_or_skipped;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;
use support::Sshd;

fn owner() -> String {
    let own = std::fs::metadata("/proc/self").unwrap();
    format!("{}:{}", own.uid(), own.gid())
}

fn file(path: &Path, contents: &[u8], mode: u32) -> RemoteEntry {
    RemoteEntry::File(RemoteFile {
        path: path.to_str().unwrap().into(),
        contents: contents.into(),
        mode,
        owner: owner(),
    })
}

fn directory(path: &Path, mode: u32) -> RemoteEntry {
    RemoteEntry::Directory(RemoteDirectory { path: path.to_str().unwrap().into(), mode, owner: owner() })
}

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

fn names(path: &Path) -> Vec<String> {
    let mut names: Vec<_> =
        std::fs::read_dir(path).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn many_files_arrive_with_their_modes_and_a_second_time_changes_nothing() {
    let sshd = Sshd::start();
    let session = sshd.connect();
    let keys = sshd.path("a/keys");
    let binary: Vec<u8> = (0..300_000_u32).map(|n| (n % 251) as u8).collect();
    let entries = [
        directory(&keys, 0o700),
        file(&keys.join("etcd.key"), b"secret\n", 0o400),
        file(&keys.join("it's a \"strange\" $name; *\\"), b"no newline at the end", 0o640),
        file(&keys.join("binary"), &binary, 0o755),
        file(&keys.join("empty"), b"", 0o4755),
    ];
    assert_eq!(put_files(&session, &entries).unwrap(), [true; 5]);
    assert_eq!((mode(&sshd.path("a")), mode(&keys)), (0o755, 0o700));
    for entry in &entries[1..] {
        let RemoteEntry::File(file) = entry else { continue };
        let path = Path::new(&file.path);
        assert!(std::fs::read(path).unwrap() == file.contents, "{}", file.path);
        assert_eq!(mode(path), file.mode, "{}", file.path);
    }
    assert_eq!(names(&keys), ["binary", "empty", "etcd.key", "it's a \"strange\" $name; *\\"]);
    let before = std::fs::metadata(keys.join("etcd.key")).unwrap();
    assert_eq!(put_files(&session, &entries).unwrap(), [false; 5]);
    let after = std::fs::metadata(keys.join("etcd.key")).unwrap();
    assert_eq!((before.ino(), before.ctime_nsec()), (after.ino(), after.ctime_nsec()));
}

#[test]
fn a_wrong_mode_alone_is_put_right() {
    let sshd = Sshd::start();
    let session = sshd.connect();
    let path = sshd.path("key");
    std::fs::write(&path, "x").unwrap();
    let RemoteEntry::File(wanted) = file(&path, b"x", 0o400) else { panic!() };
    assert!(put_file(&session, wanted.clone()).unwrap());
    assert_eq!(mode(&path), 0o400);
    assert!(!put_file(&session, wanted).unwrap());
}

#[test]
fn a_file_may_belong_to_another_user() {
    if !is_root_or_skipped() {
        return;
    }
    let sshd = Sshd::start();
    let path = sshd.path("key");
    let file = RemoteFile {
        path: path.to_str().unwrap().into(),
        contents: b"x".to_vec(),
        mode: 0o440,
        owner: "nobody:daemon".into(),
    };
    assert!(put_file(&sshd.connect(), file).unwrap());
    let metadata = std::fs::metadata(&path).unwrap();
    assert_eq!((metadata.uid(), metadata.gid(), mode(&path)), (65534, 1, 0o440));
}

#[test]
fn a_reader_keeps_the_old_file_and_a_link_is_replaced_not_followed() {
    let sshd = Sshd::start();
    let session = sshd.connect();
    let (target, link) = (sshd.path("target"), sshd.path("link"));
    std::fs::write(&target, "old").unwrap();
    std::os::unix::fs::symlink(&target, &link).unwrap();
    assert_eq!(put_files(&session, &[file(&link, b"new", 0o600)]).unwrap(), [true]);
    assert_eq!((std::fs::read(&target).unwrap(), std::fs::read(&link).unwrap()), (b"old".to_vec(), b"new".to_vec()));
    let inode = std::fs::metadata(&link).unwrap().ino();
    assert_eq!(put_files(&session, &[file(&link, b"newer", 0o600)]).unwrap(), [true]);
    assert_ne!(std::fs::metadata(&link).unwrap().ino(), inode, "the file was written in place");
}

#[test]
fn when_one_file_cannot_be_written_no_other_has_changed() {
    let sshd = Sshd::start();
    let session = sshd.connect();
    let work = sshd.path("work");
    std::fs::create_dir_all(work.join("directory")).unwrap();
    std::fs::write(work.join("first"), "old").unwrap();
    let cases = [
        (file(&work.join("missing/second"), b"x", 0o600), "missing"),
        (file(&work.join("directory"), b"x", 0o600), "is a directory"),
        (
            RemoteEntry::File(RemoteFile {
                path: work.join("second").to_str().unwrap().into(),
                contents: b"x".to_vec(),
                mode: 0o600,
                owner: "no-such-user:root".into(),
            }),
            "no-such-user",
        ),
    ];
    for (bad, reason) in cases {
        let error = put_files(&session, &[file(&work.join("first"), b"new", 0o600), bad]).unwrap_err();
        assert!(matches!(error, RemoteError::Command { .. }), "{error}");
        assert!(error.to_string().contains(reason), "no `{reason}` in: {error}");
        assert_eq!(std::fs::read(work.join("first")).unwrap(), b"old");
        assert_eq!(names(&work), ["directory", "first"], "something was left behind");
    }
}

#[test]
fn a_stream_that_breaks_off_changes_nothing() {
    use machinist_remote::{FakeRemote, Remote as _, Request};
    // The fake records the stream; the real host then gets a part of it.
    let sshd = Sshd::start();
    let session = sshd.connect();
    let work = sshd.path("work");
    std::fs::create_dir(&work).unwrap();
    let fake = FakeRemote::new("fake");
    put_files(&fake, &[file(&work.join("one"), b"first", 0o600), file(&work.join("two"), b"second", 0o600)]).unwrap();
    let whole = fake.requests().remove(0);
    for length in 0..whole.stdin.len() {
        let part = &whole.stdin[..length];
        let output = session.run(Request::new("part", whole.script.clone()).bytes(part)).unwrap();
        // Without the final newline `end` is complete for the shell, but its line is not.
        assert!(!output.is_success(), "{length} of {} bytes were enough", whole.stdin.len());
        assert!(names(&work).is_empty(), "after {length} bytes: {:?}", names(&work));
    }
}
