//! Output capture with real pipes and files.

use std::{
    fs::File,
    io::{self, Write},
    os::fd::OwnedFd,
    path::{Path, PathBuf},
    sync::Arc,
};

use grace_core::output::{self, Attachment, Collector, Notice};
use grace_types::{
    chance::SeededEntropy,
    id::IncarnationId,
    manifest::LogSettings,
    time::{SystemClock, Timestamp},
};
use tokio::sync::mpsc;

use crate::wait;

struct Captured {
    _folder: tempfile::TempDir,
    logs: PathBuf,
    collector: Collector,
    notices: mpsc::Receiver<Notice>,
}

fn capture() -> Captured {
    let folder = tempfile::tempdir().unwrap();
    let (sender, notices) = mpsc::channel(16);
    let collector = Collector::start(Arc::new(SystemClock), sender).unwrap();
    Captured { logs: folder.path().join("logs"), _folder: folder, collector, notices }
}

fn run(n: u64) -> IncarnationId {
    IncarnationId::new(Timestamp::from_nanos(n * 1_000_000), &mut SeededEntropy::new(n))
}

impl Captured {
    fn log(&self, name: &str) -> PathBuf {
        self.logs.join(format!("{name}.log"))
    }

    /// Attaches a run of `name`; the ends that the program would have.
    fn attach(&self, name: &str, n: u64, ready: Option<&str>) -> (File, File) {
        let (stdout, out) = pipe();
        let (stderr, err) = pipe();
        let attachment = Attachment {
            component: name.into(),
            incarnation: run(n),
            stdout: Some(stdout),
            stderr: Some(stderr),
            settings: LogSettings { max_size_bytes: 1 << 20, max_files: 30 },
            path: self.log(name),
            ready_line: ready.map(|r| r.parse().unwrap()),
        };
        self.collector.attach(attachment).unwrap();
        (out, err)
    }

    fn notice(&mut self) -> Notice {
        let mut got = None;
        wait::until("a notice", || {
            got = self.notices.try_recv().ok();
            got.is_some()
        });
        got.unwrap()
    }
}

fn pipe() -> (OwnedFd, File) {
    let (read, write) = io::pipe().unwrap();
    (read.into(), OwnedFd::from(write).into())
}

fn texts(path: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    text.lines().map(|line| line.split_once(' ').unwrap().1.to_owned()).collect()
}

#[test]
fn both_streams_reach_the_log_and_the_ready_line_is_seen_once() {
    let mut c = capture();
    let (mut out, mut err) = c.attach("web", 1, Some("^listening on [0-9]+$"));
    out.write_all(b"starting\nlistening on 80").unwrap();
    err.write_all(b"warning\n").unwrap();
    wait::until("two lines", || texts(&c.log("web")).len() == 2);
    out.write_all(b"80\nlistening on 81\n").unwrap();
    let ready =
        Notice::Ready { component: "web".into(), incarnation: run(1), line: "listening on 8080".into() };
    assert_eq!(c.notice(), ready);
    err.write_all(b"no newline").unwrap();
    drop((out, err));
    let Notice::Closed { component, incarnation, last_lines } = c.notice() else { panic!("not closed") };
    assert_eq!((component.as_str(), incarnation), ("web", run(1)));
    assert_eq!(last_lines.len(), 5, "{last_lines:?}");
    assert_eq!(last_lines.last().unwrap(), "err no newline");
    let mut lines = texts(&c.log("web"));
    lines.sort();
    let expected =
        ["err no newline", "err warning", "out listening on 8080", "out listening on 81", "out starting"];
    assert_eq!(lines, expected);
}

#[test]
fn a_run_that_newer_ones_push_out_is_told_closed_though_somebody_holds_its_pipes() {
    let mut c = capture();
    let held: Vec<_> = (1..=5).map(|n| c.attach("web", n, None)).collect();
    let Notice::Closed { incarnation, .. } = c.notice() else { panic!("not closed") };
    assert_eq!(incarnation, run(1));
    drop(held);
}

#[test]
fn a_flood_on_one_line_is_kept_whole_and_others_are_served_meanwhile() {
    let c = capture();
    let (mut out, _err) = c.attach("flood", 1, None);
    let (mut quiet, _quiet_err) = c.attach("quiet", 2, None);
    let flood = std::thread::spawn(move || {
        for _ in 0..160 {
            out.write_all(&[b'x'; 64 << 10]).unwrap();
        }
    });
    quiet.write_all(b"still here\n").unwrap();
    wait::until("the quiet one's line", || texts(&c.log("quiet")) == ["out still here"]);
    flood.join().unwrap();
    let flooded = || -> usize {
        (0..30)
            .flat_map(|n| texts(&output::rotation::numbered(&c.log("flood"), n)))
            .map(|line| line.bytes().filter(|b| *b == b'x').count())
            .sum()
    };
    wait::until("10 MiB", || flooded() == 160 * (64 << 10));
    assert!(std::fs::metadata(c.log("flood")).unwrap().len() <= 1 << 20);
}

#[tokio::test]
async fn last_lines_include_what_the_pipe_still_holds() {
    let c = capture();
    let (mut out, _err) = c.attach("web", 1, None);
    out.write_all(b"boom\n").unwrap();
    assert_eq!(c.collector.tail("web").await.unwrap(), ["out boom"]);
    assert!(c.collector.tail("nobody").await.unwrap().is_empty());
    // The next run shares the log; the first one's pipe is still read.
    let (mut second, _second_err) = c.attach("web", 2, None);
    out.write_all(b"child of the first\n").unwrap();
    second.write_all(b"second\n").unwrap();
    assert_eq!(c.collector.tail("web").await.unwrap().len(), 3);
    second.write_all(b"on the way out").unwrap();
    c.collector.detach("web").unwrap();
    assert!(c.collector.tail("web").await.unwrap().is_empty());
    assert_eq!(texts(&c.log("web")).last().unwrap(), "out on the way out");
}

#[tokio::test]
async fn a_component_that_restarts_over_and_over_holds_a_bounded_number_of_pipes() {
    let c = capture();
    let mut runs: Vec<_> = (0..20).map(|n| c.attach("web", n, None)).collect();
    c.collector.tail("web").await.unwrap();
    let broken = runs.iter_mut().filter_map(|(out, _)| out.write_all(b"x\n").err()).count();
    assert_eq!(broken, 16, "the read ends of the oldest runs are closed");
}

#[test]
fn a_full_disk_neither_blocks_the_program_nor_goes_unsaid() {
    let mut c = capture();
    std::fs::create_dir(&c.logs).unwrap();
    std::os::unix::fs::symlink("/dev/full", c.log("web")).unwrap();
    let (mut out, _err) = c.attach("web", 1, None);
    for _ in 0..40 {
        out.write_all(&[b"y".repeat(16 << 10), b"\n".to_vec()].concat()).unwrap();
    }
    let Notice::Lost { component, lines, reason, .. } = c.notice() else { panic!("not lost") };
    assert!(component == "web" && lines > 0 && reason.contains("No space left"), "{lines} {reason}");
    std::fs::remove_file(c.log("web")).unwrap();
    // Nothing more is printed: the line about the loss must come by itself.
    wait::until("the line about the loss", || {
        texts(&c.log("web")).iter().any(|l| l.contains("lost: No space left"))
    });
    let over = std::iter::repeat_with(|| c.notice()).find(|n| !matches!(n, Notice::Lost { .. }));
    assert_eq!(over, Some(Notice::WrittenAgain { component: "web".into() }));
}

#[test]
fn stopping_writes_what_is_there_and_leaves_the_guardians_pipe_alone() {
    let c = capture();
    let (read, mut write) = pipe();
    let attachment = Attachment {
        component: "web".into(),
        incarnation: run(1),
        stdout: Some(read.try_clone().unwrap()),
        stderr: None,
        settings: LogSettings { max_size_bytes: 1 << 20, max_files: 2 },
        path: c.log("web"),
        ready_line: None,
    };
    c.collector.attach(attachment).unwrap();
    write.write_all(b"first\n").unwrap();
    let log = c.log("web");
    c.collector.stop();
    assert_eq!(texts(&log), ["out first"]);
    write.write_all(b"later\n").unwrap();
    let mut buffer = [0; 16];
    assert_eq!(rustix::io::read(&read, &mut buffer).unwrap(), 6);
}

/// Closed after a number of bytes, as a pager's pipe is.
struct Until(mpsc::UnboundedSender<Vec<u8>>);

impl Write for Until {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.send(bytes.to_vec()).map_err(|_| io::ErrorKind::BrokenPipe)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_log_is_followed_from_before_it_exists_through_its_rotations() {
    let c = capture();
    std::fs::create_dir(&c.logs).unwrap();
    let path = c.log("web");
    let (sender, mut followed) = mpsc::unbounded_channel();
    let follower = std::thread::spawn(move || output::read(&path, 10, true, &mut Until(sender)));
    let (read, mut write) = pipe();
    let attachment = Attachment {
        component: "web".into(),
        incarnation: run(1),
        stdout: Some(read),
        stderr: None,
        settings: LogSettings { max_size_bytes: 200, max_files: 3000 },
        path: c.log("web"),
        ready_line: None,
    };
    c.collector.attach(attachment).unwrap();
    let expected: Vec<String> = (0..500).map(|n| format!("out line {n}")).collect();
    for line in &expected {
        writeln!(write, "{}", line.strip_prefix("out ").unwrap()).unwrap();
    }
    let mut got = String::new();
    wait::until("the last line", || {
        while let Ok(bytes) = followed.try_recv() {
            got.push_str(str::from_utf8(&bytes).unwrap());
        }
        got.ends_with("line 499\n")
    });
    let lines: Vec<&str> = got.lines().map(|line| line.split_once(' ').unwrap().1).collect();
    assert_eq!(lines, expected);
    drop(followed);
    writeln!(write, "one more").unwrap();
    assert!(follower.join().unwrap().is_ok());
}
