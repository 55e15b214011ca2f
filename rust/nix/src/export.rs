//! Streams of store paths for `nix-store --import`, written without a process: however many hosts a run sends to, it
//! needs only the two nix queries that returned the [`PathInfo`]s.

use std::{
    io::{self, BufWriter, PipeReader, Write},
    path::Path,
    sync::Arc,
    thread::{self, JoinHandle},
};

use sha2::{Digest, Sha256};

use crate::{NixError, PathInfo, StorePath, nar};

/// Separator between an archive and its metadata (nix, libstore/export-import.cc: `exportMagic`).
const MAGIC: u64 = 0x4558_494e;

/// An export in progress.
#[derive(Debug)]
pub struct Export {
    stream: Option<PipeReader>,
    writer: JoinHandle<Result<(), NixError>>,
}

impl Export {
    /// Starts an export of the paths, references before their referrers.
    ///
    /// # Errors
    /// The system is out of pipes or threads.
    pub fn start(paths: Vec<Arc<PathInfo>>) -> Result<Self, NixError> {
        let io = |source| NixError::Io { program: "export".to_owned(), source };
        let (stream, pipe) = io::pipe().map_err(io)?;
        let writer = thread::Builder::new()
            .name("export".to_owned())
            .spawn(move || write(&paths, &mut BufWriter::with_capacity(256 << 10, pipe)))
            .map_err(io)?;
        Ok(Self { stream: Some(stream), writer })
    }

    /// Takes the stream of the export. `None` if it was already taken.
    pub fn take_stream(&mut self) -> Option<PipeReader> {
        self.stream.take()
    }

    /// Waits for the end. A reader that closes early is not an error of the export.
    ///
    /// # Errors
    /// A path cannot be read, or differs from the store's record. The stream then ends in the middle of that path, so
    /// that nothing imports it.
    pub fn finish(self) -> Result<(), NixError> {
        drop(self.stream);
        self.writer.join().unwrap_or_else(|_| {
            Err(NixError::Answer { program: "export".to_owned(), detail: "the stream ended early".to_owned() })
        })
    }
}

/// Writes an export.
fn write(paths: &[Arc<PathInfo>], out: &mut impl Write) -> Result<(), NixError> {
    let written = paths.iter().try_for_each(|info| one(info, out));
    let ended = written.and_then(|()| out.write_all(&0_u64.to_le_bytes()).and_then(|()| out.flush()).map_err(Why::Io));
    match ended {
        Ok(()) => Ok(()),
        Err(Why::Io(error)) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        Err(Why::Io(source)) => Err(NixError::Io { program: "export".to_owned(), source }),
        Err(Why::Damaged(path)) => Err(NixError::Damaged { path }),
    }
}

enum Why {
    Io(io::Error),
    Damaged(StorePath),
}

impl From<io::Error> for Why {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

fn one(info: &PathInfo, out: &mut impl Write) -> Result<(), Why> {
    out.write_all(&1_u64.to_le_bytes())?;
    let mut hashed = Hashed { out, digest: Sha256::new(), size: 0 };
    nar::write(Path::new(info.path.as_str()), &mut hashed)?;
    if hashed.size != info.size || hex(&hashed.digest.finalize()) != info.digest {
        return Err(Why::Damaged(info.path.clone()));
    }
    out.write_all(&MAGIC.to_le_bytes())?;
    nar::string(out, info.path.as_str().as_bytes())?;
    out.write_all(&(info.references.len() as u64).to_le_bytes())?;
    for reference in &info.references {
        nar::string(out, reference.as_str().as_bytes())?;
    }
    nar::string(out, info.deriver.as_ref().map_or("", StorePath::as_str).as_bytes())?;
    out.write_all(&0_u64.to_le_bytes())?;
    Ok(())
}

fn hex(digest: &[u8]) -> String {
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

struct Hashed<'a, W> {
    out: &'a mut W,
    digest: Sha256,
    size: u64,
}

impl<W: Write> Write for Hashed<'_, W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.out.write(bytes)?;
        self.digest.update(&bytes[..count]);
        self.size += count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::{io::Read, process::Command, sync::Arc};

    use super::Export;
    use crate::{Nix, NixError, PathInfo, StorePath};

    /// Returns three paths, of which one refers to the others and to itself.
    fn closure() -> (Nix, Vec<PathInfo>) {
        let file = |name: &str| format!("builtins.toFile \"{name}\" \"{name}\"");
        let script = "mkdir $out; echo $a $b $out >$out/x";
        let (a, b) = (file("export-a"), file("export-b"));
        let top = format!(
            "derivation {{ name = \"export-top\"; system = builtins.currentSystem; builder = \"/bin/sh\"; \
             args = [ \"-c\" \"PATH=/bin:/usr/bin; {script}\" ]; a = {a}; b = {b}; }}"
        );
        let output = Command::new("nix-build").args(["--no-out-link", "--expr", &top]).output().unwrap();
        let top = StorePath::parse(String::from_utf8_lossy(&output.stdout).trim()).unwrap();
        let nix = Nix::find(Vec::new()).unwrap();
        let paths = nix.closure(&[top]).unwrap();
        assert_eq!(paths.len(), 3);
        (nix.clone(), nix.infos(&paths).unwrap())
    }

    fn read(paths: Vec<PathInfo>) -> (Vec<u8>, Result<(), NixError>) {
        let mut export = Export::start(paths.into_iter().map(Arc::new).collect()).unwrap();
        let mut bytes = Vec::new();
        export.take_stream().unwrap().read_to_end(&mut bytes).unwrap();
        (bytes, export.finish())
    }

    #[test]
    fn an_export_is_the_one_that_nix_makes() {
        let (_, infos) = closure();
        // One path at a time: nix orders several paths itself.
        for info in infos {
            let theirs = Command::new("nix-store").args(["--export", info.path.as_str()]).output().unwrap().stdout;
            let (ours, end) = read(vec![info]);
            assert!(end.is_ok() && ours == theirs && !ours.is_empty());
        }
    }

    #[test]
    fn the_infos_come_in_the_order_of_the_question() {
        let (nix, infos) = closure();
        let paths: Vec<StorePath> = infos.iter().rev().map(|info| info.path.clone()).collect();
        let reversed: Vec<StorePath> = nix.infos(&paths).unwrap().into_iter().map(|info| info.path).collect();
        assert_eq!(reversed, paths);
    }

    #[test]
    fn a_path_that_is_not_what_was_recorded_is_named_and_not_sent_whole() {
        let (_, mut infos) = closure();
        infos.truncate(1);
        let whole = read(infos.clone()).0.len();
        infos[0].digest = infos[0].digest.chars().rev().collect();
        let (bytes, end) = read(infos.clone());
        assert!(bytes.len() < whole);
        let error = end.unwrap_err();
        assert!(error.to_string().contains(infos[0].path.as_str()), "{error}");
        assert!(error.hint().unwrap().contains("--repair-path"));
    }

    #[test]
    fn a_reader_that_goes_away_ends_it_without_an_error() {
        let (_, infos) = closure();
        let many: Vec<PathInfo> = std::iter::repeat_n(infos, 5000).flatten().collect();
        assert!(Export::start(many.into_iter().map(Arc::new).collect()).unwrap().finish().is_ok());
    }
}
