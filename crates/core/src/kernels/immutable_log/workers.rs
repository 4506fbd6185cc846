//! The two threads behind the sealer: one makes frames durable and answers their senders, one brings the public files up.

use std::{
    mem,
    sync::{Arc, Mutex, PoisonError, atomic::Ordering, mpsc},
};

use grace_log::tile::CHECKPOINT_PATH;

use super::{
    known::{KnownFile, Point},
    limits::PUBLISH_RETRY,
    pending::Pending,
    publish::{Publication, Publisher},
    sealer::Job,
    writer::{NotSealed, PUBLISHER, Published, SYNCER, Shared, Synced},
};

/// Makes frames durable.
pub(super) struct Syncer {
    pub(super) shared: Arc<Shared>,
    pub(super) pending: Pending,
    pub(super) known: Arc<Mutex<KnownFile>>,
    /// Where a publication goes once its frame is durable.
    pub(super) plans: mpsc::SyncSender<Publication>,
    /// The last frame was not written.
    pub(super) failing: bool,
}

impl Syncer {
    /// Until the sealer ends.
    pub(super) fn run(mut self, jobs: &mpsc::Receiver<Job>) {
        while let Ok(job) = jobs.recv() {
            self.shared.pulses[SYNCER].working();
            self.job(job);
            self.shared.pulses[SYNCER].waiting();
        }
    }

    fn job(&mut self, mut job: Job) {
        let published = self.shared.published.load(Ordering::Acquire);
        if let Err(error) = self.pending.write(&job.frame, published) {
            let detail = error.to_string();
            if !mem::replace(&mut self.failing, true) {
                (self.shared.tell)(&format!("entries cannot be made durable: {detail}"));
            }
            let answers = mem::take(&mut job.answers);
            let failed = Synced::Failed { job: Box::new(job), detail: detail.clone() };
            self.shared.tell_sealer(|inbox| inbox.synced = Some(failed));
            for (to, _) in answers {
                let _ = to.send(Err(NotSealed::NotDurable { detail: detail.clone() }));
            }
            return;
        }
        if mem::take(&mut self.failing) {
            (self.shared.tell)("entries can be made durable again");
        }
        let point = Point::of(&job.frame.checkpoint);
        // A note that is behind only weakens a check.
        let _ = self.known.lock().unwrap_or_else(PoisonError::into_inner).sealed(point);
        if let Some(publication) = job.publication.take() {
            // There is room, and a publisher for as long as there is a sealer.
            let _ = self.plans.send(publication);
        }
        let spare = job.frame.bytes;
        self.shared.tell_sealer(|inbox| inbox.synced = Some(Synced::Done { spare }));
        for (to, sealed) in job.answers {
            // Who asked may have gone away.
            let _ = to.send(Ok(sealed));
        }
    }
}

/// Brings the public files up.
pub(super) struct Publishing {
    pub(super) shared: Arc<Shared>,
    pub(super) publisher: Publisher,
    pub(super) known: Arc<Mutex<KnownFile>>,
}

impl Publishing {
    /// Until the sealer and the syncer end.
    pub(super) fn run(mut self, publications: &mpsc::Receiver<Publication>) {
        while let Ok(publication) = publications.recv() {
            self.shared.pulses[PUBLISHER].working();
            if !self.publish(&publication) {
                return self.shared.tell_sealer(|inbox| inbox.given_up = true);
            }
            self.announce(publication);
            self.shared.tell_sealer(|inbox| inbox.published = true);
            self.shared.pulses[PUBLISHER].waiting();
        }
    }

    /// Until it is done, or the log ends.
    fn publish(&mut self, publication: &Publication) -> bool {
        let pulse = &self.shared.pulses[PUBLISHER];
        while let Err(error) = self.publisher.carry_out(publication, &|| pulse.step()) {
            let detail = error.to_string();
            let mut inbox = self.shared.lock();
            if inbox.publishing_fails.is_none() {
                (self.shared.tell)(&format!("the public files of the log cannot be written: {detail}"));
            }
            inbox.publishing_fails = Some(detail);
            self.shared.wake.notify_one();
            if inbox.stop {
                return false;
            }
            pulse.waiting();
            drop(self.shared.retry.wait_timeout(inbox, PUBLISH_RETRY));
            pulse.working();
        }
        if self.shared.lock().publishing_fails.take().is_some() {
            (self.shared.tell)("the public files of the log can be written again");
        }
        true
    }

    fn announce(&self, publication: Publication) {
        let plan = publication.plan;
        let point = Point::of(&plan.checkpoint);
        let _ = self.known.lock().unwrap_or_else(PoisonError::into_inner).published(point);
        self.shared.published.store(point.size, Ordering::Release);
        let last = plan.writes.into_iter().next_back().filter(|write| write.path == CHECKPOINT_PATH);
        let note = last.and_then(|write| String::from_utf8(write.bytes).ok()).unwrap_or_default();
        self.shared.newest.send_replace(Published { checkpoint: plan.checkpoint, note });
    }
}
