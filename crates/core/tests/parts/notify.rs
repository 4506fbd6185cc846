//! The life line with real sockets and a real sender.

use std::{
    io::{IoSlice, Read as _},
    mem::MaybeUninit,
    os::{fd::AsFd as _, unix::net::UnixDatagram},
    process::Command,
    time::Duration,
};

use grace_core::notify::{Datagram, Notification, NotifySocket};
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};

use crate::wait;

struct Line {
    folder: tempfile::TempDir,
    socket: NotifySocket,
}

fn line() -> Line {
    let folder = tempfile::tempdir().unwrap();
    let fd = NotifySocket::bind(&folder.path().join("notify.sock")).unwrap();
    Line { folder, socket: NotifySocket::from_fd(fd).unwrap() }
}

impl Line {
    fn sender(&self) -> UnixDatagram {
        let sender = UnixDatagram::unbound().unwrap();
        sender.connect(self.folder.path().join("notify.sock")).unwrap();
        sender
    }

    async fn recv(&self) -> Vec<Datagram> {
        tokio::time::timeout(wait::DEADLINE, self.socket.recv()).await.unwrap().unwrap()
    }
}

#[tokio::test]
async fn datagrams_come_with_their_sender_and_none_is_lost() {
    let line = line();
    let sender = line.sender();
    for datagram in ["READY=1\nSTATUS=up", "NONSENSE", "WATCHDOG=1"] {
        sender.send(datagram.as_bytes()).unwrap();
    }
    let got = line.recv().await;
    let me = (std::process::id(), rustix::process::getuid().as_raw());
    assert!(got.iter().all(|d| (d.pid, d.uid) == me), "{got:?}");
    let said: Vec<_> = got.into_iter().flat_map(|d| d.notifications).collect();
    assert_eq!(said, [Notification::Ready, Notification::Status("up".into()), Notification::Watchdog]);
}

#[tokio::test]
async fn a_datagram_that_is_too_long_is_ignored_and_the_next_one_is_not() {
    let line = line();
    let sender = line.sender();
    sender.send(format!("READY=1\nSTATUS={}", "x".repeat(5000)).as_bytes()).unwrap();
    let nothing = tokio::time::timeout(Duration::ZERO, line.socket.recv()).await;
    assert!(nothing.is_err());
    sender.send(b"STOPPING=1").unwrap();
    assert_eq!(line.recv().await[0].notifications, [Notification::Stopping]);
}

#[tokio::test]
async fn descriptors_that_are_sent_along_are_closed() {
    let line = line();
    let (mut read, write) = std::io::pipe().unwrap();
    let fds = [write.as_fd(); 3];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(3))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    assert!(control.push(SendAncillaryMessage::ScmRights(&fds)));
    sendmsg(line.sender(), &[IoSlice::new(b"BARRIER=1")], &mut control, SendFlags::empty()).unwrap();
    drop(write);
    assert!(line.recv().await[0].notifications.is_empty());
    assert_eq!(read.read(&mut [0; 1]).unwrap(), 0, "a copy of the write end is still open");
}

#[tokio::test]
async fn a_program_that_is_not_ours_is_understood() {
    let line = line();
    let script = "import os, socket; s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM); \
                  s.sendto(b'MAINPID=%d' % os.getpid(), os.environ['NOTIFY_SOCKET'])";
    let mut python = Command::new("python3")
        .args(["-c", script])
        .env("NOTIFY_SOCKET", line.folder.path().join("notify.sock"))
        .spawn()
        .unwrap();
    let got = line.recv().await;
    assert_eq!(got[0].notifications, [Notification::MainPid(got[0].pid)]);
    assert!(python.wait().unwrap().success());
}
