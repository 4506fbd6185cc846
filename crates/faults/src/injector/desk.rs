//! Where the life line is asked: a thread of its own, since the control plane may be slow to answer, or stopped, and the deadlines
//! of other faults do not wait for it.

use std::{
    io::{self, Read as _, Write as _},
    os::{
        fd::{AsFd, BorrowedFd},
        unix::net::UnixStream,
    },
    sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel},
    thread,
};

use grace_types::{
    id::FaultId,
    time::{Clock as _, Monotonic, SystemClock},
};

use crate::{
    injection::Input,
    journal::unmute,
    life_line::{LifeLine, LifeLineState},
    limits,
    order::ProcessTarget,
    report::BiteProof,
};

/// What is asked of the control plane.
#[derive(Debug)]
pub(super) enum Question {
    /// Mute it, until then at most.
    Mute { until: Monotonic },
    /// How does it stand?
    State,
    /// Unmute it.
    Unmute,
}

/// The way to the thread.
#[derive(Debug)]
pub(super) struct Desk {
    questions: SyncSender<(FaultId, ProcessTarget, Question)>,
    answers: Receiver<(FaultId, Input)>,
    woken: UnixStream,
}

impl Desk {
    /// Starts the thread. It ends when this is dropped and its last call has returned; nobody waits for that.
    ///
    /// # Errors
    /// Out of descriptors or threads.
    pub(super) fn open(life_line: Box<dyn LifeLine + Send>) -> io::Result<Self> {
        let (questions, asked) = sync_channel(limits::DESK);
        let (answer, answers) = channel();
        let (woken, wake) = UnixStream::pair()?;
        woken.set_nonblocking(true)?;
        wake.set_nonblocking(true)?;
        thread::Builder::new()
            .name("life line".to_owned())
            .spawn(move || attend(life_line, &asked, &answer, &wake))?;
        Ok(Self { questions, answers, woken })
    }

    /// Asks; the answer comes later. False if too many wait.
    pub(super) fn ask(&self, id: FaultId, target: &ProcessTarget, question: Question) -> bool {
        self.questions.try_send((id, target.clone(), question)).is_ok()
    }

    /// The answers that have come.
    pub(super) fn answers(&mut self) -> Vec<(FaultId, Input)> {
        let mut bytes = [0; 64];
        while matches!(self.woken.read(&mut bytes), Ok(n) if n > 0) {}
        self.answers.try_iter().collect()
    }
}

impl AsFd for Desk {
    /// Readable when there are answers.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.woken.as_fd()
    }
}

fn attend(
    mut life_line: Box<dyn LifeLine + Send>,
    asked: &Receiver<(FaultId, ProcessTarget, Question)>,
    answer: &Sender<(FaultId, Input)>,
    mut wake: &UnixStream,
) {
    while let Ok((id, target, question)) = asked.recv() {
        let input = match question {
            Question::Mute { until } => {
                Input::Struck(life_line.mute(&target, until.since(SystemClock.now().mono)))
            }
            Question::State => Input::Looked(life_line.state(&target).and_then(bitten)),
            Question::Unmute => Input::Loosened(unmute(&target, &mut *life_line)),
        };
        if answer.send((id, input)).is_err() {
            return;
        }
        // Full means that it is readable, and gone that nobody waits.
        let _ = wake.write(&[0]);
    }
}

/// Whether this is the proof that a mute has bitten.
fn bitten(state: LifeLineState) -> Result<Option<BiteProof>, String> {
    match state {
        LifeLineState::Gone => Err("the process ended".to_owned()),
        LifeLineState::Open => Err("the control plane took up the life line again".to_owned()),
        LifeLineState::Muted { dropped: 0, .. } => Ok(None),
        LifeLineState::Muted { dropped, heartbeat_age } => Ok(Some(BiteProof::Muted {
            dropped,
            heartbeat_age_ms: heartbeat_age.map(|age| u64::try_from(age.as_millis()).unwrap_or(u64::MAX)),
        })),
    }
}
