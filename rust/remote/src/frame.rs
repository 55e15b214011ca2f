//! Marks around the output of a script, which separate it from the output of the host's login shell.
//!
//! A login shell runs a user's startup files (`.bashrc`, `config.fish`, `.zshenv`) before our command, and those may
//! print anything: a greeting, a terminal title, a warning about a locale. The script therefore writes a mark to both
//! streams before and after its own output, and only the part between the marks is its output. The marks are random for
//! each request and are sent on standard input with the script, so no other output can contain them by accident or on
//! purpose.

use rustix::rand::{GetRandomFlags, getrandom};
use std::io;

/// Maximum amount of output before the first mark that is kept for error messages, in bytes.
const PREAMBLE_KEPT: usize = 2 << 10;

/// The marks of one request.
pub(crate) struct Marks {
    begin: Vec<u8>,
    end: Vec<u8>,
}

impl Marks {
    /// Returns random marks, which no other output contains.
    ///
    /// # Errors
    /// The system has no random numbers.
    pub fn random() -> io::Result<Self> {
        let mut bytes = [0; 16];
        let filled = getrandom(&mut bytes, GetRandomFlags::empty())?;
        if filled != bytes.len() {
            return Err(io::Error::other("too few random bytes"));
        }
        Ok(Self::of(&bytes))
    }

    /// Marks that are the same each time.
    #[cfg(test)]
    pub(crate) fn of_test() -> Self {
        Self::of(&[7; 16])
    }

    /// Letters and digits after a control character: harmless in all kinds of quotes, and rare at the end of a chunk of
    /// text.
    fn of(bytes: &[u8]) -> Self {
        let id: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        Self { begin: format!("\x1e{id}b").into_bytes(), end: format!("\x1e{id}e").into_bytes() }
    }

    /// Wraps a script so that its output is enclosed in the marks, and so that a part of the wrapped text is a syntax
    /// error: if the connection breaks while it is sent, nothing runs.
    ///
    /// The script runs in a subshell, so that the last mark follows however it exits. The shell around it survives a
    /// SIGTERM until the script has ended, so that the host's `timeout` can still kill a script that ignores it.
    /// Settings of the login shell that would change the meaning of scripts are reset: the umask, the language, and the
    /// variables that make a `bash` within the script read startup files too (`BASH_ENV`, and `SHLVL`, by which it
    /// considers itself sshd's own child).
    pub fn wrap(&self, script: &str) -> Vec<u8> {
        let (begin, end) = (String::from_utf8_lossy(&self.begin), String::from_utf8_lossy(&self.end));
        // `unset` also keeps an empty script from being a syntax error, and makes it succeed.
        format!(
            "{{ unset s t BASH_ENV ENV CDPATH GREP_OPTIONS; umask 022; export LC_ALL=C SHLVL=3; trap t=1 TERM\n\
             printf %s '{begin}'; printf %s '{begin}' >&2\n\
             (unset s\n{script}\n)\n\
             s=$?; printf %s '{end}'; printf %s '{end}' >&2\n\
             [ -z \"$t\" ] || {{ trap - TERM; kill -TERM $$; }}; exit $s\n}}"
        )
        .into_bytes()
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Position {
    Before,
    Within,
    After,
}

/// An incoming stream, split into the parts before, between and after the marks.
pub(crate) struct Unframe<'a> {
    marks: &'a Marks,
    position: Position,
    /// Bytes that may be the beginning of the next mark.
    held: Vec<u8>,
    /// The end of the output before the first mark.
    preamble: Vec<u8>,
    n_before: usize,
}

impl<'a> Unframe<'a> {
    pub fn new(marks: &'a Marks) -> Self {
        Self { marks, position: Position::Before, held: Vec::new(), preamble: Vec::new(), n_before: 0 }
    }

    /// Accepts incoming bytes and returns the script's own part of them.
    pub fn push(&mut self, bytes: &[u8]) -> Vec<u8> {
        self.held.extend_from_slice(bytes);
        if self.position == Position::Before {
            let found = self.advance(&self.marks.begin, Position::Within);
            self.n_before += found.len();
            self.preamble.extend_from_slice(&found);
            self.preamble.drain(..self.preamble.len().saturating_sub(PREAMBLE_KEPT));
        }
        match self.position {
            Position::Before => Vec::new(),
            Position::Within => self.advance(&self.marks.end, Position::After),
            Position::After => {
                self.held.clear();
                Vec::new()
            }
        }
    }

    /// Returns held bytes that certainly precede the mark; moves to the next position once the mark is complete.
    fn advance(&mut self, mark: &[u8], next: Position) -> Vec<u8> {
        if let Some(at) = find(&self.held, mark) {
            let before = self.held[..at].to_vec();
            self.held.drain(..at + mark.len());
            self.position = next;
            return before;
        }
        let certain = self.held.len() - overlap(&self.held, mark);
        self.held.drain(..certain).collect()
    }

    /// Returns the bytes still held at the end of the stream: no mark followed them.
    pub fn rest(&mut self) -> Vec<u8> {
        let rest = std::mem::take(&mut self.held);
        match self.position {
            Position::Before => {
                self.preamble.extend_from_slice(&rest);
                Vec::new()
            }
            Position::Within => rest,
            Position::After => Vec::new(),
        }
    }

    /// Returns true if the script began.
    pub fn has_begun(&self) -> bool {
        self.position != Position::Before
    }

    /// Returns true if the script ended without being interrupted.
    pub fn has_ended(&self) -> bool {
        self.position == Position::After
    }

    /// Returns the number of bytes before the first mark.
    pub fn n_before(&self) -> usize {
        self.n_before
    }

    /// Returns the end of the output before the first mark, as text.
    pub fn preamble(&self) -> String {
        String::from_utf8_lossy(&self.preamble).trim().to_owned()
    }
}

fn find(bytes: &[u8], mark: &[u8]) -> Option<usize> {
    let mut from = 0;
    while let Some(at) = bytes[from..].iter().position(|byte| *byte == mark[0]) {
        if bytes[from + at..].starts_with(mark) {
            return Some(from + at);
        }
        from += at + 1;
    }
    None
}

/// Returns the length of the longest suffix of `bytes` that is a prefix of `mark`.
fn overlap(bytes: &[u8], mark: &[u8]) -> usize {
    let longest = bytes.len().min(mark.len() - 1);
    (1..=longest).rev().find(|length| mark.starts_with(&bytes[bytes.len() - length..])).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]

    use super::*;
    use proptest::prelude::*;

    fn marks() -> Marks {
        Marks::of(&[7; 16])
    }

    /// Returns the output unframed from the pieces of a stream, with the resulting state.
    fn unframe(marks: &Marks, pieces: &[&[u8]]) -> (Vec<u8>, bool, bool, String) {
        let mut stream = Unframe::new(marks);
        let mut body: Vec<u8> = pieces.iter().flat_map(|piece| stream.push(piece)).collect();
        body.extend(stream.rest());
        (body, stream.has_begun(), stream.has_ended(), stream.preamble())
    }

    #[test]
    fn only_what_is_between_the_marks_is_the_answer() {
        let marks = marks();
        let text = [b"Welcome!\n", &marks.begin[..], b"waiting\n", &marks.end, b"bye\n"].concat();
        let read = unframe(&marks, &[&text]);
        assert_eq!(read, (b"waiting\n".to_vec(), true, true, "Welcome!".to_owned()));
    }

    #[test]
    fn a_stream_without_marks_is_no_answer() {
        let read = unframe(&marks(), &[b"This account is currently not available.\n"]);
        assert_eq!(read, (Vec::new(), false, false, "This account is currently not available.".to_owned()));
    }

    #[test]
    fn an_answer_that_is_cut_off_is_seen_to_be() {
        let marks = marks();
        let text = [&marks.begin[..], b"half", &marks.end[..5]].concat();
        let (body, begun, ended, _) = unframe(&marks, &[&text]);
        assert_eq!((body, begun, ended), ([b"half", &marks.end[..5]].concat(), true, false));
    }

    #[test]
    fn what_is_kept_of_a_long_greeting_is_bounded() {
        let marks = marks();
        let mut stream = Unframe::new(&marks);
        for _ in 0..1000 {
            assert!(stream.push(&[b'x'; 1000]).is_empty());
        }
        assert_eq!((stream.n_before(), stream.preamble().len()), (1_000_000, PREAMBLE_KEPT));
    }

    #[test]
    fn marks_are_never_the_same() {
        assert_ne!(Marks::random().unwrap().begin, Marks::random().unwrap().begin);
    }

    proptest! {
        #[test]
        fn any_bytes_in_any_pieces_are_returned_as_they_were_written(
            before in proptest::collection::vec(prop_oneof![Just(0x1e), any::<u8>()], 0..60),
            body in proptest::collection::vec(prop_oneof![Just(0x1e), Just(b'0'), Just(b'7'), any::<u8>()], 0..200),
            size in 1_usize..50,
        ) {
            let marks = marks();
            let text = [&before[..], &marks.begin, &body, &marks.end, &before].concat();
            let pieces: Vec<&[u8]> = text.chunks(size).collect();
            let (found, begun, ended, _) = unframe(&marks, &pieces);
            prop_assert_eq!((found, begun, ended), (body, true, true));
        }
    }
}
