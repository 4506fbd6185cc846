//! A peer's server, which ends with this; and its connections.

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::TcpStream,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

/// How long a server may take to listen.
const START: Duration = Duration::from_secs(10);

pub(super) struct Server {
    child: Child,
    address: String,
    _folder: tempfile::TempDir,
}

impl Server {
    /// Starts a server that keeps its files in `folder` and listens on `port`.
    pub(super) fn start(command: &mut Command, folder: tempfile::TempDir, port: u16) -> Result<Self, String> {
        let started = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        let child = started.map_err(|e| format!("{}: {e}", command.get_program().display()))?;
        let mut server = Self { child, address: format!("127.0.0.1:{port}"), _folder: folder };
        let begun = Instant::now();
        while TcpStream::connect(&server.address).is_err() {
            if let Ok(Some(status)) = server.child.try_wait() {
                return Err(format!("its server ended: {status}"));
            }
            if begun.elapsed() > START {
                return Err("its server does not listen".to_owned());
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(server)
    }

    pub(super) fn connect(&self) -> Line {
        let stream = TcpStream::connect(&self.address).unwrap();
        stream.set_nodelay(true).unwrap();
        Line { reader: BufReader::new(stream.try_clone().unwrap()), stream }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A port that was free just now.
pub(super) fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// A connection whose protocol is lines with a body now and then.
pub(super) struct Line {
    reader: BufReader<TcpStream>,
    stream: TcpStream,
}

impl Line {
    pub(super) fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).unwrap();
    }

    /// The next line, without its end.
    pub(super) fn line(&mut self) -> String {
        let mut line = String::new();
        assert!(self.reader.read_line(&mut line).unwrap() > 0, "the server has hung up");
        line.truncate(line.trim_end().len());
        line
    }

    /// So many bytes and the end of a line.
    pub(super) fn body(&mut self, length: usize) -> Vec<u8> {
        let mut body = vec![0; length + 2];
        self.reader.read_exact(&mut body).unwrap();
        body.truncate(length);
        body
    }
}
