//! The loop of the output thread.

use std::{
    collections::{BTreeMap, VecDeque},
    io,
    mem::MaybeUninit,
    os::fd::OwnedFd,
    sync::{
        Arc,
        mpsc::{Receiver, TryRecvError},
    },
};

use grace_types::{
    id::IncarnationId,
    time::{Clock, Monotonic, Now},
};
use regex::Regex;
use rustix::{
    event::{
        Timespec,
        epoll::{self, EventData, EventFlags},
    },
    fs::{OFlags, fcntl_getfl, fcntl_setfl},
    io::Errno,
};
use tokio::sync::mpsc;

use super::{
    collector::{Attachment, Command, Notice},
    lines::{LineSplitter, Part},
    log_file::{Batch, LogFile},
    recent::{Recent, printable},
};
use crate::limits;

/// The key of the eventfd that says that commands wait; streams count from 1.
const WAKE: u64 = 0;

/// Everything the thread owns.
pub(super) struct Worker {
    clock: Arc<dyn Clock>,
    epoll: OwnedFd,
    wake: Arc<OwnedFd>,
    inbox: Receiver<Command>,
    notices: mpsc::Sender<Notice>,
    /// Notices that nobody has taken yet.
    waiting: VecDeque<Notice>,
    components: BTreeMap<String, Component>,
    streams: BTreeMap<u64, Stream>,
    next_key: u64,
    buffer: Box<[u8]>,
}

struct Component {
    log: LogFile,
    recent: Recent,
    batch: Batch,
    ready_line: Option<(IncarnationId, Regex)>,
    /// No notice of lost output before this.
    report_at: Monotonic,
    /// Whether a loss was told, and not yet that it is over.
    losing: bool,
}

struct Stream {
    component: String,
    incarnation: IncarnationId,
    tag: &'static str,
    pipe: OwnedFd,
    splitter: LineSplitter,
}

impl Worker {
    pub(super) fn new(
        clock: Arc<dyn Clock>,
        wake: Arc<OwnedFd>,
        inbox: Receiver<Command>,
        notices: mpsc::Sender<Notice>,
    ) -> io::Result<Self> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        epoll::add(&epoll, &wake, EventData::new_u64(WAKE), EventFlags::IN)?;
        Ok(Self {
            clock,
            epoll,
            wake,
            inbox,
            notices,
            waiting: VecDeque::new(),
            components: BTreeMap::new(),
            streams: BTreeMap::new(),
            next_key: WAKE + 1,
            buffer: vec![0; limits::READ_BYTES].into(),
        })
    }

    pub(super) fn run(mut self) {
        let mut events = [MaybeUninit::uninit(); 64];
        loop {
            let timeout = self.timeout();
            let ready: Vec<u64> = match epoll::wait(&self.epoll, &mut events, timeout.as_ref()) {
                Ok((ready, _)) => ready.iter().map(|event| event.data.u64()).collect(),
                Err(Errno::INTR) => continue,
                // Only a broken program can get here (a bad descriptor); going on would spin.
                Err(_) => return,
            };
            for key in ready.iter().filter(|key| **key != WAKE) {
                self.take(*key);
            }
            let go_on = !ready.contains(&WAKE) || self.obey();
            let now = self.clock.now();
            self.write(now);
            self.report(now);
            if !go_on {
                return;
            }
        }
    }

    /// How long to wait when nothing happens: for ever, unless something has to be tried again.
    fn timeout(&self) -> Option<Timespec> {
        let again =
            !self.waiting.is_empty() || self.components.values().any(|c| c.losing || c.log.owes_a_line());
        again.then(|| Timespec {
            tv_sec: limits::OUTPUT_RETRY.as_secs().cast_signed(),
            tv_nsec: limits::OUTPUT_RETRY.subsec_nanos().into(),
        })
    }

    /// Carries out the commands that wait; whether to go on.
    fn obey(&mut self) -> bool {
        let mut counter = [0; 8];
        let _ = rustix::io::read(&self.wake, &mut counter);
        loop {
            match self.inbox.try_recv() {
                Ok(Command::Attach(attachment)) => self.attach(*attachment),
                Ok(Command::Detach { component }) => {
                    self.drain(|stream| stream.component == component);
                    self.close(|stream| stream.component == component);
                    let now = self.clock.now();
                    self.write(now);
                    self.components.remove(&component);
                }
                Ok(Command::Tail { component, reply }) => {
                    self.drain(|stream| stream.component == component);
                    let lines = self.components.get(&component).map(|c| c.recent.lines());
                    // A caller that has gone away needs no answer.
                    let _ = reply.send(lines.unwrap_or_default());
                }
                Ok(Command::Stop) | Err(TryRecvError::Disconnected) => {
                    self.drain(|_| true);
                    self.close(|_| true);
                    return false;
                }
                Err(TryRecvError::Empty) => return true,
            }
        }
    }

    fn attach(&mut self, run: Attachment) {
        let component = self.components.entry(run.component.clone()).or_insert_with(|| Component {
            log: LogFile::new(run.path, run.settings.clone()),
            recent: Recent::default(),
            batch: Batch::default(),
            ready_line: None,
            report_at: Monotonic::ZERO,
            losing: false,
        });
        component.log.settings(run.settings);
        component.ready_line = run.ready_line.map(|pattern| (run.incarnation, pattern));
        for (tag, pipe) in [("out", run.stdout), ("err", run.stderr)] {
            let Some(pipe) = pipe else { continue };
            let key = self.next_key;
            self.next_key += 1;
            // Both fail only for descriptors that are no pipes at all; such a run simply has no output.
            let watched = fcntl_getfl(&pipe)
                .and_then(|flags| fcntl_setfl(&pipe, flags | OFlags::NONBLOCK))
                .and_then(|()| epoll::add(&self.epoll, &pipe, EventData::new_u64(key), EventFlags::IN));
            if watched.is_ok() {
                let stream = Stream {
                    component: run.component.clone(),
                    incarnation: run.incarnation,
                    tag,
                    pipe,
                    splitter: LineSplitter::default(),
                };
                self.streams.insert(key, stream);
            }
        }
        self.forget_old_runs(&run.component);
    }

    fn forget_old_runs(&mut self, component: &str) {
        let mut runs: Vec<IncarnationId> = Vec::new();
        for stream in self.streams.values().rev().filter(|s| s.component == component) {
            if !runs.contains(&stream.incarnation) {
                runs.push(stream.incarnation);
            }
        }
        for old in runs.into_iter().skip(limits::OPEN_RUNS) {
            self.drain(|s| s.component == component && s.incarnation == old);
            self.close(|s| s.component == component && s.incarnation == old);
            // Whoever keeps these pipes for us need not any longer.
            self.tell_closed(component.to_owned(), old);
        }
    }

    /// Reads once from a stream; how much there was, 0 when there is no more for now or ever.
    fn take(&mut self, key: u64) -> usize {
        let Some(stream) = self.streams.get_mut(&key) else { return 0 };
        let Some(component) = self.components.get_mut(&stream.component) else { return 0 };
        let read = match rustix::io::read(&stream.pipe, &mut self.buffer[..]) {
            Ok(read) => read,
            Err(Errno::AGAIN | Errno::INTR) => return 0,
            // As good as the end: nothing can be read from it any more.
            Err(_) => 0,
        };
        let now = self.clock.now();
        let (incarnation, tag) = (stream.incarnation, stream.tag);
        let waiting = &mut self.waiting;
        let name = &stream.component;
        let mut emit = |text: &[u8], part: Part| {
            component.batch.push(now.wall, tag, text, part);
            component.recent.push(&[tag.as_bytes(), b" ", text].concat());
            let matched = |(of, pattern): &mut (IncarnationId, Regex)| {
                *of == incarnation && pattern.is_match(&String::from_utf8_lossy(text))
            };
            if component.ready_line.take_if(matched).is_some() {
                let line = printable(text, limits::RECENT_LINE_BYTES);
                notice(waiting, Notice::Ready { component: name.clone(), incarnation, line });
            }
        };
        if read > 0 {
            stream.splitter.push(&self.buffer[..read], &mut emit);
            return read;
        }
        stream.splitter.finish(&mut emit);
        let component = stream.component.clone();
        self.remove(key);
        if !self.streams.values().any(|s| s.incarnation == incarnation && s.component == component) {
            self.tell_closed(component, incarnation);
        }
        0
    }

    fn tell_closed(&mut self, component: String, incarnation: IncarnationId) {
        let last_lines = self.components.get(&component).map(|c| c.recent.lines()).unwrap_or_default();
        notice(&mut self.waiting, Notice::Closed { component, incarnation, last_lines });
    }

    /// Reads what is in the pipes now, within bounds.
    fn drain(&mut self, which: impl Fn(&Stream) -> bool) {
        let keys: Vec<u64> = self.streams.iter().filter(|(_, s)| which(s)).map(|(key, _)| *key).collect();
        for key in keys {
            let mut left = limits::DRAIN_BYTES;
            while left > 0 {
                match self.take(key) {
                    0 => break,
                    read => left = left.saturating_sub(read),
                }
            }
            let now = self.clock.now();
            self.write(now);
        }
    }

    /// Stops reading; the last line of each stream counts although it has no newline.
    fn close(&mut self, which: impl Fn(&Stream) -> bool) {
        let keys: Vec<u64> = self.streams.iter().filter(|(_, s)| which(s)).map(|(key, _)| *key).collect();
        let wall = self.clock.now().wall;
        for key in keys {
            if let Some(mut stream) = self.remove(key)
                && let Some(component) = self.components.get_mut(&stream.component)
            {
                let tag = stream.tag;
                stream.splitter.finish(&mut |text, part| component.batch.push(wall, tag, text, part));
            }
        }
    }

    fn remove(&mut self, key: u64) -> Option<Stream> {
        let stream = self.streams.remove(&key)?;
        // Closing alone would not do: the guardian holds the same open pipe, and epoll watches the pipe, not our number
        // for it.
        let _ = epoll::delete(&self.epoll, &stream.pipe);
        Some(stream)
    }

    fn write(&mut self, now: Now) {
        for component in self.components.values_mut() {
            if !component.batch.is_empty() || component.log.owes_a_line() {
                component.log.write(&mut component.batch, now);
            }
        }
    }

    fn report(&mut self, now: Now) {
        for (name, component) in &mut self.components {
            if now.mono < component.report_at {
                continue;
            }
            if let Some(loss) = component.log.take_loss() {
                component.losing = true;
                component.report_at = now.mono.plus(limits::OUTPUT_REPORT);
                let lost = Notice::Lost {
                    component: name.clone(),
                    bytes: loss.bytes,
                    lines: loss.lines,
                    reason: loss.reason,
                };
                notice(&mut self.waiting, lost);
            } else if component.losing && !component.log.owes_a_line() {
                component.losing = false;
                notice(&mut self.waiting, Notice::WrittenAgain { component: name.clone() });
            }
        }
        while let Some(next) = self.waiting.pop_front() {
            match self.notices.try_send(next) {
                Ok(()) => {}
                Err(mpsc::error::TrySendError::Full(back)) => {
                    self.waiting.push_front(back);
                    return;
                }
                Err(mpsc::error::TrySendError::Closed(_)) => self.waiting.clear(),
            }
        }
    }
}

fn notice(waiting: &mut VecDeque<Notice>, notice: Notice) {
    waiting.push_back(notice);
    if waiting.len() > limits::OUTPUT_NOTICES {
        waiting.pop_front();
    }
}
