//! The client's task: connects, signs in, reads and writes, and begins again.

use std::{io, pin::pin, sync::Arc, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpStream, UnixStream, tcp},
    time::timeout,
};

use super::{NativeOptions, Shared, Target};
use crate::{
    limits,
    protocol::{Bounds, Frame, ParseError, Progress, encode, info::ConnectOptions, parse},
    unix::{self, UnixReader, UnixWriter},
};

/// Connecting and signing in take at most this; on one machine a broker that is up answers in a millisecond.
const SIGN_IN: Duration = Duration::from_secs(5);
/// A silent connection is asked whether it lives after this, and given up after twice as long.
const KEEP_ALIVE: Duration = Duration::from_secs(10);
/// Refusals in a row before the client gives up: a new credential may reach the broker after its owner starts.
const REFUSALS: u32 = 10;
/// What is read at a time; a larger frame makes the buffer grow, and it shrinks again.
const READ_BYTES: usize = 16 << 10;

enum Reader {
    Tcp(tcp::OwnedReadHalf),
    Unix(UnixReader),
}

impl Reader {
    async fn read_buf(&mut self, bytes: &mut Vec<u8>) -> io::Result<usize> {
        match self {
            Self::Tcp(half) => half.read_buf(bytes).await,
            Self::Unix(half) => half.read_buf(bytes).await,
        }
    }
}

enum Writer {
    Tcp(tcp::OwnedWriteHalf),
    Unix(UnixWriter),
}

impl Writer {
    async fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Self::Tcp(half) => half.write_all(bytes).await,
            Self::Unix(half) => half.write_all(bytes).await,
        }
    }
}

/// Why a connection ended.
enum End {
    /// It broke; try again.
    Lost(io::Error),
    /// The credentials were refused.
    Refused(String),
}

impl From<io::Error> for End {
    fn from(error: io::Error) -> Self {
        Self::Lost(error)
    }
}

impl From<ParseError> for End {
    fn from(error: ParseError) -> Self {
        Self::Lost(io::Error::new(io::ErrorKind::InvalidData, error))
    }
}

pub(super) async fn run(shared: Arc<Shared>, mut options: NativeOptions) {
    let work = keep_connected(&shared, &mut options);
    let reason = tokio::select! {
        reason = work => reason,
        () = shared.closing.notified() => "it was dropped".to_owned(),
    };
    shared.lock().close(&reason);
    shared.room.notify_waiters();
    shared.connected.send_replace(false);
}

/// Returns why it gave up.
async fn keep_connected(shared: &Shared, options: &mut NativeOptions) -> String {
    let mut wait = limits::RECONNECT_FIRST;
    let mut refusals = 0;
    loop {
        let signed_in = match timeout(SIGN_IN, sign_in(shared, options)).await {
            Ok(result) => result,
            Err(_) => Err(End::Lost(io::ErrorKind::TimedOut.into())),
        };
        match signed_in {
            Ok((reader, writer, buffer)) => {
                (wait, refusals) = (limits::RECONNECT_FIRST, 0);
                let end = stay(shared, reader, writer, buffer).await;
                shared.lock().down();
                shared.room.notify_waiters();
                shared.connected.send_replace(false);
                tracing::debug!(%end, "the connection to the broker is lost");
            }
            Err(End::Refused(text)) => {
                refusals += 1;
                if refusals >= REFUSALS {
                    return text;
                }
            }
            Err(End::Lost(error)) => tracing::trace!(%error, "no connection to the broker yet"),
        }
        pause(wait + wait.mul_f64(options.entropy.unit() / 2.0)).await;
        wait = (wait * 2).min(limits::RECONNECT_LONGEST);
    }
}

#[expect(clippy::disallowed_methods, reason = "the wait between two attempts to connect")]
async fn pause(wait: Duration) {
    tokio::time::sleep(wait).await;
}

/// Bytes that were read but not parsed.
#[derive(Default)]
struct ReadBuffer {
    bytes: Vec<u8>,
    head: usize,
    /// No use parsing with fewer bytes than this behind `head`.
    need: usize,
}

impl ReadBuffer {
    async fn fill(&mut self, reader: &mut Reader) -> io::Result<()> {
        if self.head == self.bytes.len() {
            self.bytes.clear();
            self.bytes.shrink_to(READ_BYTES);
        } else {
            self.bytes.drain(..self.head);
        }
        self.head = 0;
        self.bytes.reserve(READ_BYTES.max(self.need.saturating_sub(self.bytes.len())));
        match reader.read_buf(&mut self.bytes).await? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            _ => Ok(()),
        }
    }

    /// The next whole frame.
    fn next(&mut self, payload: usize) -> Result<Option<Frame<'_>>, ParseError> {
        let rest = &self.bytes[self.head..];
        if rest.len() < self.need {
            return Ok(None);
        }
        // Some servers' INFO is longer than the lines that a client may send.
        match parse(rest, Bounds { line: 4 * limits::CONTROL_LINE_BYTES, payload })? {
            Progress::Frame(frame, used) => {
                self.head += used;
                self.need = 0;
                Ok(Some(frame))
            }
            Progress::Incomplete { need, line } => {
                self.need = if line { 0 } else { need };
                Ok(None)
            }
        }
    }
}

async fn open(target: &Target) -> io::Result<(Reader, Writer)> {
    match target {
        Target::Unix(path) => {
            let (reader, writer) = unix::split(UnixStream::connect(path).await?)?;
            Ok((Reader::Unix(reader), Writer::Unix(writer)))
        }
        Target::Tcp(address) => {
            let stream = TcpStream::connect(address).await?;
            stream.set_nodelay(true)?;
            let (reader, writer) = stream.into_split();
            Ok((Reader::Tcp(reader), Writer::Tcp(writer)))
        }
    }
}

async fn sign_in(shared: &Shared, options: &mut NativeOptions) -> Result<(Reader, Writer, ReadBuffer), End> {
    let (mut reader, mut writer) = open(&options.target).await?;
    let mut hello = Vec::new();
    let connect = ConnectOptions {
        user: Some(options.user.clone()),
        pass: Some(options.password.clone()),
        name: Some(options.name.clone()),
        lang: Some("grace".to_owned()),
        version: Some(env!("CARGO_PKG_VERSION").to_owned()),
        protocol: 1,
        headers: true,
        no_responders: true,
        ..ConnectOptions::default()
    };
    encode::json(&mut hello, "CONNECT", &connect);
    hello.extend_from_slice(b"PING\r\n");
    writer.write_all(&hello).await?;
    let mut buffer = ReadBuffer::default();
    loop {
        match buffer.next(0)? {
            Some(Frame::Pong) => return Ok((reader, writer, buffer)),
            Some(Frame::Error(text)) => {
                let text = String::from_utf8_lossy(text).into_owned();
                let refused = text.starts_with("Auth") || text.starts_with("User Authentication");
                return Err(if refused { End::Refused(text) } else { io::Error::other(text).into() });
            }
            Some(Frame::Info(json)) => shared.lock().info(json),
            Some(_) => {}
            None => buffer.fill(&mut reader).await?,
        }
    }
}

/// Serves a connection until it breaks; returns why it did.
async fn stay(shared: &Shared, reader: Reader, writer: Writer, buffer: ReadBuffer) -> io::Error {
    shared.lock().up();
    shared.connected.send_replace(true);
    shared.work.notify_one();
    let read = pin!(read(shared, reader, buffer));
    let write = pin!(write(shared, writer));
    let result = tokio::select! {
        result = read => result,
        result = write => result,
    };
    match result {
        Ok(never) => match never {},
        Err(error) => error,
    }
}

async fn read(
    shared: &Shared,
    mut reader: Reader,
    mut buffer: ReadBuffer,
) -> io::Result<std::convert::Infallible> {
    let mut asked = false;
    loop {
        {
            let mut state = shared.lock();
            let before = state.out.len();
            let payload = state.max_payload.max(limits::MAX_PAYLOAD_BYTES);
            while let Some(frame) =
                buffer.next(payload).map_err(|e| io::Error::new(io::ErrorKind::InvalidData, e))?
            {
                state.take(frame);
            }
            if state.out.len() > before {
                shared.work.notify_one();
            }
        }
        match timeout(KEEP_ALIVE, buffer.fill(&mut reader)).await {
            Ok(filled) => {
                filled?;
                asked = false;
            }
            Err(_) if asked => return Err(io::ErrorKind::TimedOut.into()),
            Err(_) => {
                asked = true;
                shared.lock().ping(None);
                shared.work.notify_one();
            }
        }
    }
}

async fn write(shared: &Shared, mut writer: Writer) -> io::Result<std::convert::Infallible> {
    let mut writing = Vec::new();
    loop {
        shared.work.notified().await;
        loop {
            writing.clear();
            // A burst must not hold its memory for ever.
            writing.shrink_to(1 << 16);
            std::mem::swap(&mut writing, &mut shared.lock().out);
            if writing.is_empty() {
                break;
            }
            shared.room.notify_waiters();
            writer.write_all(&writing).await?;
        }
    }
}
