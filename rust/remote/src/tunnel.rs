//! TCP connections that start at the host, such as to its own etcd, over the one SSH connection.

use crate::driver::{Inbox, Job, Target};
use crate::endpoint::Endpoint;
use crate::error::RemoteError;
use crate::link::{ChannelFailure, Event, Link};
use crate::request::Stream;
use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::Duration;

/// A TCP connection opened by the host. Ends when both halves are dropped, or when the other side closes it.
pub struct Tunnel {
    /// The data from the other side.
    pub reader: TunnelReader,
    /// The data to the other side.
    pub writer: TunnelWriter,
}

impl Tunnel {
    /// Converts the tunnel to a local socket, for programs that wait for many sockets at once. Two threads copy the
    /// bytes, until either side closes. The socket does not carry the reason of the other side's end.
    ///
    /// # Errors
    /// The system has no more sockets or threads.
    pub fn into_socket(self) -> io::Result<UnixStream> {
        let Self { mut reader, mut writer } = self;
        let (inner, outer) = UnixStream::pair()?;
        let (mut from_caller, mut to_caller) = (inner.try_clone()?, inner);
        let link = writer.end.0.clone();
        std::thread::Builder::new().name("tunnel in".to_owned()).spawn(move || {
            let _ = io::copy(&mut reader, &mut to_caller);
            let _ = to_caller.shutdown(Shutdown::Both);
        })?;
        std::thread::Builder::new().name("tunnel out".to_owned()).spawn(move || {
            let _ = io::copy(&mut from_caller, &mut writer);
            // The caller is gone: without this event the other thread would block while the far side is silent.
            link.cancel();
            link.report(Event::Done(Err(ChannelFailure::Lost("the tunnel was closed here".to_owned()))));
        })?;
        Ok(outer)
    }
}

/// Closes the channel when the last half is dropped.
struct End(Arc<Link>);

impl Drop for End {
    fn drop(&mut self) {
        self.0.cancel();
    }
}

/// The reading half of a [`Tunnel`].
pub struct TunnelReader {
    end: Arc<End>,
    rest: Vec<u8>,
    taken: usize,
    ended: bool,
}

/// The writing half of a [`Tunnel`]; dropping it signals the end of the data.
pub struct TunnelWriter {
    end: Arc<End>,
}

pub(crate) fn open(inbox: &Inbox, at: &Arc<Endpoint>, host: &str, port: u16) -> Result<Tunnel, RemoteError> {
    let link = Link::new(inbox.waker.clone());
    inbox.submit(Job::new(Target::Tcp(host.to_owned(), port), link.clone())).map_err(|reason| {
        RemoteError::ConnectionLost {
            at: at.clone(),
            label: format!("tunnel to {host}:{port}"),
            after: Duration::ZERO,
            reason,
        }
    })?;
    let end = Arc::new(End(link));
    let reader = TunnelReader { end: end.clone(), rest: Vec::new(), taken: 0, ended: false };
    Ok(Tunnel { reader, writer: TunnelWriter { end } })
}

impl Read for TunnelReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.taken == self.rest.len() && !self.ended {
            match self.end.0.next(None) {
                Some(Event::Data(Stream::Stdout, bytes)) => (self.rest, self.taken) = (bytes, 0),
                Some(Event::Data(Stream::Stderr, _)) => {}
                Some(Event::Done(Err(failure))) => {
                    self.ended = true;
                    return Err(explain(failure));
                }
                Some(Event::Done(Ok(_)) | Event::NoSession) | None => self.ended = true,
            }
        }
        let rest = &self.rest[self.taken..];
        let length = rest.len().min(buffer.len());
        buffer[..length].copy_from_slice(&rest[..length]);
        self.taken += length;
        Ok(length)
    }
}

fn explain(failure: ChannelFailure) -> io::Error {
    match failure {
        ChannelFailure::Lost(reason) => io::Error::new(io::ErrorKind::ConnectionAborted, reason),
        ChannelFailure::Channel(error) => io::Error::new(io::ErrorKind::ConnectionRefused, error.message().to_owned()),
    }
}

impl Write for TunnelWriter {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        if self.end.0.send(buffer.to_vec()) { Ok(buffer.len()) } else { Err(io::ErrorKind::BrokenPipe.into()) }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for TunnelWriter {
    fn drop(&mut self) {
        self.end.0.end_input();
    }
}
