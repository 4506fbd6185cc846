//! The thread that orders everything: batches into the open frame, frames to the syncer, plans to the publisher.

use std::{
    collections::VecDeque,
    mem,
    sync::{Arc, mpsc},
    time::Duration,
};

use grace_types::time::{Clock, Monotonic};

use super::{
    disk::Disk,
    frame::Frame,
    intake::{Intake, Taken},
    limits::{GATHER, PUBLISH_BYTES, PUBLISH_PAUSE, SNAPSHOT_ENTRIES, UNPUBLISHED_BYTES},
    publish::{Publication, store_blob},
    writer::{End, Inbox, NotSealed, SEALER, Sealed, Shared, Synced, To, Waiting},
};

/// What one sync makes durable, and who waits for it.
pub(super) struct Job {
    pub(super) frame: Frame,
    pub(super) answers: Vec<(To, Sealed)>,
    /// For the publisher, once the frame is durable.
    pub(super) publication: Option<Publication>,
}

pub(super) struct Sealer {
    shared: Arc<Shared>,
    disk: Arc<dyn Disk>,
    intake: Intake,
    clock: Arc<dyn Clock>,
    jobs: mpsc::SyncSender<Job>,
    plans: mpsc::SyncSender<Publication>,
    /// Batches that were taken out of the inbox and into no frame yet.
    backlog: VecDeque<Waiting>,
    /// Who waits for the open frame.
    waiting: Vec<(To, Taken)>,
    /// A frame is at the syncer's.
    syncing: bool,
    /// A frame that could not be written.
    stuck: Option<Job>,
    /// A plan is on the way; these are the bytes of its entries.
    publishing: Option<usize>,
    /// When the last one was carried out.
    published: Option<Monotonic>,
    /// The plan will not be carried out, nor may a later one.
    given_up: bool,
    /// The frame that could not be written was tried once more after the log was told to end.
    tried: bool,
    /// The size at the last snapshot of the cursors.
    snapshot: u64,
    spare: Vec<u8>,
    last: LastFrame,
}

/// How the last frame went.
#[derive(Default)]
struct LastFrame {
    answers: usize,
    sent: Option<Monotonic>,
    took: Duration,
}

impl Sealer {
    pub(super) fn new(
        shared: Arc<Shared>,
        disk: Arc<dyn Disk>,
        intake: Intake,
        snapshot: u64,
        clock: Arc<dyn Clock>,
        jobs: mpsc::SyncSender<Job>,
        plans: mpsc::SyncSender<Publication>,
    ) -> Self {
        Self {
            shared,
            disk,
            intake,
            clock,
            jobs,
            plans,
            backlog: VecDeque::new(),
            waiting: Vec::new(),
            syncing: false,
            stuck: None,
            publishing: None,
            published: None,
            given_up: false,
            tried: false,
            snapshot,
            spare: Vec::new(),
            last: LastFrame::default(),
        }
    }

    /// Until it is told to stop and all is done.
    pub(super) fn run(mut self) -> Result<(), String> {
        let _end = End(Arc::clone(&self.shared));
        self.shared.work();
        self.publish_if_quiet(false)?;
        loop {
            let over = self.wait();
            if self.turn(over)? {
                return Ok(());
            }
        }
    }

    /// Waits for something to do. Whether that is what was put off until now: to publish.
    fn wait(&self) -> bool {
        self.shared.wait(SEALER, self.until_publication(), self.is_called())
    }

    /// Whether there is something to do, by what the others say.
    fn is_called(&self) -> impl Fn(&Inbox) -> bool {
        let (quiet, quiet_if_given_up) = (self.is_quiet(false), self.is_quiet(true));
        let (has_backlog, blocked) = (!self.backlog.is_empty(), self.is_blocked());
        move |inbox| {
            let takes = !blocked || inbox.publishing_fails.is_some();
            let batches = takes && (has_backlog || !inbox.batches.is_empty());
            let idle = inbox.stop && (quiet || (inbox.given_up && quiet_if_given_up));
            inbox.synced.is_some() || inbox.published || batches || idle
        }
    }

    /// Whether it would not wait at all, for those who take its turns without its thread.
    #[cfg(test)]
    pub(super) fn has_something_to_do(&self) -> bool {
        self.is_called()(&self.shared.lock())
    }

    /// Does all that there is to do, without waiting for the disk; `over` when the pause after a publication is. Whether all is done,
    /// and the log was told to end.
    pub(super) fn turn(&mut self, over: bool) -> Result<bool, String> {
        if over {
            self.published = None;
        }
        let (stop, failing) = self.hear();
        self.take_batches(failing.as_deref());
        self.seal_if_idle()?;
        self.publish_if_quiet(stop)?;
        if !(stop && self.is_quiet(self.given_up) && self.backlog.is_empty()) {
            return Ok(false);
        }
        if let Some(job) = self.stuck.take() {
            return Err(format!(
                "the entries from {} on could not be written; their senders were told",
                job.frame.checkpoint.size
            ));
        }
        match failing {
            Some(failing) => Err(format!("the public files are behind: {failing}")),
            None => Ok(true),
        }
    }

    /// Takes in what the other threads say. Whether to stop, and what the publisher meets.
    fn hear(&mut self) -> (bool, Option<String>) {
        let shared = Arc::clone(&self.shared);
        let now = self.clock.now().mono;
        let mut inbox = shared.lock();
        let (synced, stop) = (inbox.synced.take(), inbox.stop);
        if mem::take(&mut inbox.published) {
            self.publishing = None;
            self.published = Some(now);
        }
        // What comes after the failure is a new try.
        let failed = matches!(synced, Some(Synced::Failed { .. }));
        let before = if failed { mem::take(&mut self.backlog) } else { VecDeque::new() };
        if self.backlog.is_empty() {
            self.backlog = shared.drain(&mut inbox);
        }
        self.given_up |= inbox.given_up;
        let failing = inbox.publishing_fails.clone();
        drop(inbox);
        match synced {
            Some(Synced::Done { spare }) => self.synced(spare),
            Some(Synced::Failed { job, detail }) => self.failed(*job, before, &detail),
            None => {}
        }
        (stop, failing)
    }

    /// Whether a batch is of no use now: the frame is full, or too much is unpublished. Where a frame could not be written, a batch
    /// makes it be tried again.
    fn is_blocked(&self) -> bool {
        self.stuck.is_none() && (self.intake.is_full() || self.is_far_behind())
    }

    /// Whether nothing is on its way that will be heard of.
    fn is_quiet(&self, given_up: bool) -> bool {
        !self.syncing && (self.publishing.is_none() || self.stuck.is_some() || given_up)
    }

    fn is_far_behind(&self) -> bool {
        self.intake.unplanned_bytes() + self.publishing.unwrap_or(0) >= UNPUBLISHED_BYTES
    }

    fn synced(&mut self, spare: Vec<u8>) {
        self.syncing = false;
        self.stuck = None;
        self.spare = spare;
        if let Some(sent) = self.last.sent {
            self.last.took = self.clock.now().mono.since(sent);
        }
    }

    /// The frame is kept, and so are the entries in the open one; whoever waits is told.
    fn failed(&mut self, job: Job, before: VecDeque<Waiting>, detail: &str) {
        self.syncing = false;
        self.stuck = Some(job);
        let waiting = mem::take(&mut self.waiting).into_iter().map(|(to, _)| to);
        for to in waiting.chain(before.into_iter().map(|waiting| waiting.to)) {
            let _ = to.send(Err(NotSealed::NotDurable { detail: detail.to_owned() }));
        }
    }

    /// Takes what waits into the open frame.
    fn take_batches(&mut self, failing: Option<&str>) {
        if self.stuck.is_some() {
            return;
        }
        while !self.intake.is_full() {
            if self.is_far_behind() {
                let Some(detail) = failing else { return };
                for waiting in mem::take(&mut self.backlog) {
                    let _ = waiting.to.send(Err(NotSealed::NotDurable { detail: detail.to_owned() }));
                }
            }
            let Some(Waiting { batch, to }) = self.backlog.pop_front() else { return };
            let stored = self
                .intake
                .blobs(&batch)
                .iter()
                .try_for_each(|(blob, record)| store_blob(&*self.disk, blob, record));
            if let Err(error) = stored {
                let _ = to.send(Err(NotSealed::NotDurable { detail: error.to_string() }));
                continue;
            }
            match self.intake.take(&batch) {
                Ok(taken) => self.waiting.push((to, taken)),
                Err(refused) => {
                    let _ = to.send(Err(NotSealed::Refused { detail: refused.to_string() }));
                }
            }
        }
    }

    /// Gives the syncer something to do, if it has nothing.
    fn seal_if_idle(&mut self) -> Result<(), String> {
        if self.syncing {
            return Ok(());
        }
        if let Some(job) = self.stuck.take() {
            // Somebody sends again, or it is the last try.
            let stop = self.shared.lock().stop;
            if self.backlog.is_empty() && (!stop || mem::replace(&mut self.tried, true)) {
                self.stuck = Some(job);
                return Ok(());
            }
            return self.send(job);
        }
        if !self.intake.is_open() {
            let size = self.intake.size();
            for (to, Taken { next, index }) in self.waiting.drain(..) {
                let _ = to.send(Ok(Sealed { next, index, size }));
            }
            return Ok(());
        }
        self.gather();
        let frame = self.intake.seal(mem::take(&mut self.spare)).map_err(|e| e.to_string())?;
        let size = frame.checkpoint.size;
        let answers: Vec<_> = self
            .waiting
            .drain(..)
            .map(|(to, Taken { next, index })| (to, Sealed { next, index, size }))
            .collect();
        self.last.answers = answers.len();
        let publication = if self.is_publication_due() { Some(self.plan(false)?) } else { None };
        self.send(Job { frame, answers, publication })
    }

    fn send(&mut self, job: Job) -> Result<(), String> {
        self.last.sent = Some(self.clock.now().mono);
        self.syncing = true;
        self.jobs.send(job).map_err(|_| "the syncer has ended unexpectedly".to_owned())
    }

    /// Those who got their answers from the last frame are about to send again: they get a moment, at most a quarter of what the sync
    /// cost, or each frame would hold only the quickest of them.
    fn gather(&mut self) {
        let begun = self.clock.now().mono;
        let patience = (self.last.took / 4).min(GATHER);
        while self.waiting.len() < self.last.answers
            && !self.is_blocked()
            && self.clock.now().mono.since(begun) < patience
        {
            std::thread::yield_now();
            let shared = Arc::clone(&self.shared);
            let mut inbox = shared.lock();
            self.backlog = shared.drain(&mut inbox);
            drop(inbox);
            self.take_batches(None);
            if !self.backlog.is_empty() {
                return;
            }
        }
    }

    /// What is left of the pause after the last publication; `None` when it is over, or there is too much to publish for one.
    fn pause(&self) -> Option<Duration> {
        if self.intake.unplanned_bytes() >= PUBLISH_BYTES {
            return None;
        }
        let since = self.clock.now().mono.since(self.published?);
        PUBLISH_PAUSE.checked_sub(since).filter(|left| !left.is_zero())
    }

    /// Whether to publish though more is coming.
    fn is_publication_due(&self) -> bool {
        self.publishing.is_none() && self.pause().is_none()
    }

    /// Whether neither syncer nor publisher has anything to do.
    fn is_idle(&self) -> bool {
        !self.syncing && self.stuck.is_none() && self.publishing.is_none() && !self.intake.is_open()
    }

    /// How long to wait for something to do before what is sealed is published.
    pub(super) fn until_publication(&self) -> Option<Duration> {
        (self.is_idle() && self.intake.has_unplanned()).then(|| self.pause().unwrap_or_default())
    }

    /// Publishes what is sealed when there is nothing else to do and the last publication is some time ago, or the log is to end.
    fn publish_if_quiet(&mut self, stop: bool) -> Result<(), String> {
        let quiet = self.is_idle() && (stop || self.pause().is_none());
        let last = stop && self.backlog.is_empty() && self.snapshot < self.intake.size();
        if quiet && (self.intake.has_unplanned() || last) {
            let publication = self.plan(last)?;
            return self
                .plans
                .send(publication)
                .map_err(|_| "the publisher has ended unexpectedly".to_owned());
        }
        Ok(())
    }

    fn plan(&mut self, last: bool) -> Result<Publication, String> {
        self.publishing = Some(self.intake.unplanned_bytes());
        let due = self.intake.size() - self.snapshot >= SNAPSHOT_ENTRIES;
        let snapshot = (due || last).then(|| self.intake.snapshot());
        if snapshot.is_some() {
            self.snapshot = self.intake.size();
        }
        let plan = self.intake.plan().map_err(|e| e.to_string())?;
        Ok(Publication { plan, snapshot })
    }
}
