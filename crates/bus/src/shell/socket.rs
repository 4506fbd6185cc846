//! TCP and Unix sockets as one kind.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
};

use tokio::{
    io::{AsyncRead, ReadBuf},
    net::{TcpListener, TcpStream, UnixListener, UnixStream, tcp},
};

use super::{Listeners, ServeError};
use crate::{
    broker::Peer,
    unix::{self, UnixReader, UnixWriter},
};

pub(super) enum Listener {
    Tcp(TcpListener),
    Unix(UnixListener),
}

/// Checks bound listeners and hands them to the runtime.
pub(super) fn adopt(listeners: Listeners) -> Result<Vec<Listener>, ServeError> {
    let mut adopted = Vec::new();
    for listener in listeners.tcp {
        let address = listener.local_addr()?;
        if !address.ip().is_loopback() {
            return Err(ServeError::NotLoopback(address));
        }
        listener.set_nonblocking(true)?;
        adopted.push(Listener::Tcp(TcpListener::from_std(listener)?));
    }
    for listener in listeners.unix {
        listener.set_nonblocking(true)?;
        adopted.push(Listener::Unix(UnixListener::from_std(listener)?));
    }
    Ok(adopted)
}

impl Listener {
    /// The next connection whose peer may be here at all. One that may not is closed without a word.
    pub(super) fn poll_accept(&self, cx: &mut Context<'_>) -> Poll<io::Result<(ReadSide, WriteSide, Peer)>> {
        loop {
            let accepted = match self {
                Self::Tcp(listener) => match listener.poll_accept(cx) {
                    Poll::Pending => return Poll::Pending,
                    Poll::Ready(Ok((stream, remote))) => tcp_sides(stream, remote),
                    Poll::Ready(Err(error)) => Err(error),
                },
                Self::Unix(listener) => match listener.poll_accept(cx) {
                    Poll::Pending => return Poll::Pending,
                    Poll::Ready(Ok((stream, _))) => unix_sides(stream),
                    Poll::Ready(Err(error)) => Err(error),
                },
            };
            match accepted {
                // The client was gone before it was accepted.
                Err(error)
                    if matches!(
                        error.kind(),
                        io::ErrorKind::ConnectionAborted
                            | io::ErrorKind::ConnectionReset
                            | io::ErrorKind::NotConnected
                            | io::ErrorKind::PermissionDenied
                    ) => {}
                other => return Poll::Ready(other),
            }
        }
    }
}

fn tcp_sides(stream: TcpStream, remote: std::net::SocketAddr) -> io::Result<(ReadSide, WriteSide, Peer)> {
    // Output is gathered here already; waiting for more in the kernel would only add delay.
    stream.set_nodelay(true)?;
    let local = stream.local_addr()?;
    let (read, write) = stream.into_split();
    Ok((ReadSide::Tcp(read), WriteSide::Tcp(write), Peer::Tcp { remote, local }))
}

fn unix_sides(stream: UnixStream) -> io::Result<(ReadSide, WriteSide, Peer)> {
    let peer = stream.peer_cred()?;
    let uid = peer.uid();
    if uid != 0 && uid != rustix::process::geteuid().as_raw() {
        return Err(io::ErrorKind::PermissionDenied.into());
    }
    let (read, write) = unix::split(stream)?;
    Ok((ReadSide::Unix(read), WriteSide::Unix(write), Peer::Unix { uid, pid: peer.pid().unwrap_or(0) }))
}

pub(super) enum ReadSide {
    Tcp(tcp::OwnedReadHalf),
    Unix(UnixReader),
}

impl ReadSide {
    /// Reads what there is; 0 at the end. A short read (unlike tokio's `try_read`) says that there is no more, which saves a system call per
    /// batch.
    pub(super) fn poll_read(&mut self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        match self {
            Self::Tcp(half) => {
                let mut buffer = ReadBuf::new(buffer);
                Pin::new(half).poll_read(cx, &mut buffer).map_ok(|()| buffer.filled().len())
            }
            Self::Unix(half) => half.poll_read(cx, buffer),
        }
    }
}

pub(super) enum WriteSide {
    Tcp(tcp::OwnedWriteHalf),
    Unix(UnixWriter),
}

impl WriteSide {
    pub(super) fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(half) => half.try_write(bytes),
            Self::Unix(half) => half.try_write(bytes),
        }
    }

    pub(super) fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Tcp(half) => half.as_ref().poll_write_ready(cx),
            Self::Unix(half) => half.poll_ready(cx),
        }
    }
}
