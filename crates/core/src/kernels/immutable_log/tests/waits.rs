//! How long an entry waits for its seal, on virtual time: whenever batches come, and whatever time the disk takes for frames and for the
//! public files, nobody waits for a timer. The promise is 200 ms beside the disk; what is kept is [`GATHER`].

use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex, OnceLock,
        atomic::{AtomicU64, Ordering},
        mpsc,
    },
    time::Duration,
};

use grace_kernel::evidence::wire::Batch;
use grace_types::{
    chance::SeededEntropy,
    time::{Clock, Monotonic, Now, Timestamp},
};
use proptest::prelude::*;

use super::{batch, source};
use crate::kernels::immutable_log::{
    disk::memory::MemoryDisk,
    limits::GATHER,
    open::{Opened, open},
    publish::Publication,
    sealer::{Job, Sealer},
    writer::{Answered, LogWriter, NotSealed, Published, Shared, Synced},
};

const PROMISED: Duration = Duration::from_millis(200);
/// What passes at each look at the clock: a thread takes some time for whatever it does.
const LOOK: u64 = 2_000;
/// What the sealer's own work may come to between two waits.
const WORK: Duration = Duration::from_nanos(50 * LOOK);

/// Time, and the batches that come while it passes. All in nanoseconds.
#[derive(Default)]
struct World {
    now: AtomicU64,
    coming: Mutex<VecDeque<(u64, Batch)>>,
    log: OnceLock<LogWriter>,
    waiting: Mutex<VecDeque<(u64, Answered)>>,
}

impl World {
    /// Lets time pass to `to`. What comes by then is in the log's inbox; what finds it full is told so at once, and does not wait.
    fn reach(&self, to: u64) -> u64 {
        let now = self.now.fetch_max(to, Ordering::SeqCst).max(to);
        let Some(log) = self.log.get() else { return now };
        let mut coming = self.coming.lock().unwrap();
        while let Some((at, batch)) = coming.pop_front_if(|(at, _)| *at <= now) {
            match log.append(batch) {
                Ok(answered) => self.waiting.lock().unwrap().push_back((at, answered)),
                Err(refused) => assert_eq!(refused, NotSealed::Busy),
            }
        }
        now
    }

    fn look(&self) -> u64 {
        self.reach(self.now.load(Ordering::SeqCst) + LOOK)
    }
}

impl Clock for World {
    fn now(&self) -> Now {
        let now = self.look();
        Now { wall: Timestamp::from_nanos(now), mono: Monotonic::from_nanos(now) }
    }
}

/// From when to when the disk was at something.
type Span = (u64, u64);

/// What came of the batches.
#[derive(Default)]
struct Story {
    seals: Vec<Span>,
    publications: Vec<Span>,
    /// When each batch came, and which seal it went into.
    batches: Vec<(u64, usize)>,
}

impl Story {
    /// What of the time from `from` to `to` the disk had nothing to do.
    fn idle(&self, from: u64, to: u64) -> Duration {
        let mut spans: Vec<Span> = self.seals.iter().chain(&self.publications).copied().collect();
        spans.sort_unstable();
        let (mut idle, mut at) = (0, from);
        for (begun, ended) in spans {
            idle += begun.min(to).saturating_sub(at);
            at = at.max(ended);
        }
        Duration::from_nanos(idle + to.saturating_sub(at))
    }
}

/// The sealer with a disk that takes as long as it is told for each frame and each publication, in turn.
struct House {
    world: Arc<World>,
    shared: Arc<Shared>,
    sealer: Sealer,
    jobs: mpsc::Receiver<Job>,
    plans: mpsc::Receiver<Publication>,
    syncing: Option<(Span, Job)>,
    publishing: Option<(Span, Publication)>,
    story: Story,
}

impl House {
    fn new(coming: VecDeque<(u64, Batch)>) -> Self {
        let disk = Arc::new(MemoryDisk::default());
        let opened = open(&*disk, &mut SeededEntropy::new(3), &|| {}).unwrap();
        let Opened { intake, published, snapshot, .. } = opened;
        let newest = Published { checkpoint: published, note: String::new() };
        let shared = Arc::new(Shared::new(newest, intake.key().verifier().clone(), |line| panic!("{line}")));
        let world = Arc::new(World { coming: Mutex::new(coming), ..World::default() });
        assert!(world.log.set(LogWriter { shared: Arc::clone(&shared) }).is_ok());
        let ((job, jobs), (plan, plans)) = (mpsc::sync_channel(1), mpsc::sync_channel(1));
        let clock = Arc::clone(&world) as Arc<dyn Clock>;
        let sealer = Sealer::new(Arc::clone(&shared), disk, intake, snapshot, clock, job, plan);
        Self { world, shared, sealer, jobs, plans, syncing: None, publishing: None, story: Story::default() }
    }

    /// Until nothing more comes and nothing is on its way.
    fn live(mut self, frames: &[u64], publications: &[u64]) -> Story {
        let (mut frames, mut publications) = (frames.iter().cycle(), publications.iter().cycle());
        let mut over = false;
        loop {
            self.sealer.turn(over).unwrap();
            let now = self.world.look();
            if let Ok(job) = self.jobs.try_recv() {
                assert!(self.syncing.is_none(), "one frame at a time");
                self.syncing = Some(((now, now + frames.next().unwrap()), job));
            }
            if let Ok(publication) = self.plans.try_recv() {
                assert!(self.publishing.is_none(), "one publication at a time");
                self.publishing = Some(((now, now + publications.next().unwrap()), publication));
            }
            let rest = self.sealer.until_publication().map(|rest| now + rest.as_nanos() as u64);
            // Each look at the clock took time: what came meanwhile finds it before it waits, as it finds its thread.
            if self.sealer.has_something_to_do() {
                over = false;
                continue;
            }
            let next = self.world.coming.lock().unwrap().front().map(|(at, _)| *at);
            let synced = self.syncing.as_ref().map(|((_, end), _)| *end);
            let published = self.publishing.as_ref().map(|((_, end), _)| *end);
            let Some(to) = [rest, next, synced, published].into_iter().flatten().min() else { break };
            let now = self.world.reach(to);
            over = rest.is_some_and(|rest| rest <= now);
            if published.is_some_and(|end| end <= now) {
                self.published();
            }
            if synced.is_some_and(|end| end <= now) {
                self.synced(publications.next().unwrap());
            }
        }
        assert!(self.world.waiting.lock().unwrap().is_empty(), "nothing is on its way, and somebody waits");
        self.story
    }

    fn published(&mut self) {
        let Some((span, publication)) = self.publishing.take() else { return };
        self.story.publications.push(span);
        self.shared.published.store(publication.plan.checkpoint.size, Ordering::SeqCst);
        self.shared.tell_sealer(|inbox| inbox.published = true);
    }

    fn synced(&mut self, publication: &u64) {
        let Some((span, job)) = self.syncing.take() else { return };
        if let Some(plan) = job.publication {
            assert!(self.publishing.is_none(), "one publication at a time");
            self.publishing = Some(((span.1, span.1 + publication), plan));
        }
        let seal = self.story.seals.len();
        self.story.seals.push(span);
        let spare = job.frame.bytes;
        self.shared.tell_sealer(|inbox| inbox.synced = Some(Synced::Done { spare }));
        for (to, sealed) in job.answers {
            to.send(Ok(sealed)).unwrap();
        }
        let mut waiting = self.world.waiting.lock().unwrap();
        while let Some((at, answered)) = waiting.front_mut()
            && let Ok(answer) = answered.try_recv()
        {
            assert!(answer.is_ok());
            self.story.batches.push((*at, seal));
            waiting.pop_front();
        }
        // Those that came later are in no earlier frame: the oldest goes into the very next one.
        assert!(waiting.iter_mut().all(|(_, answered)| answered.try_recv().is_err()));
    }
}

/// Batches of so many records, each after a pause.
fn coming(batches: &[(u64, u64)]) -> VecDeque<(u64, Batch)> {
    let mut at = 0;
    let dated = batches.iter().enumerate().map(|(n, (pause, count))| {
        at += pause;
        (at, batch(&source(&format!("s{n}")), 1, *count))
    });
    dated.collect()
}

/// Times in nanoseconds, mostly short.
fn times(most: Duration) -> impl Strategy<Value = u64> {
    let most = most.as_nanos() as u64;
    prop_oneof![Just(0), 0..most / 100, 0..most / 10, 0..most]
}

fn disk_times() -> impl Strategy<Value = Vec<u64>> {
    prop::collection::vec(times(Duration::from_millis(900)), 1..12)
}

fn batches(records: std::ops::Range<u64>) -> impl Strategy<Value = Vec<(u64, u64)>> {
    prop::collection::vec((times(Duration::from_millis(400)), records), 1..50)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn an_entry_waits_for_the_frame_before_its_own_and_for_nothing_else(
        batches in batches(1..40), frames in disk_times(), publications in disk_times(),
    ) {
        let story = House::new(coming(&batches)).live(&frames, &publications);
        prop_assert_eq!(story.batches.len(), batches.len());
        for (came, seal) in &story.batches {
            let begun = story.seals[*seal].0;
            // The one that was under way.
            let before = story.seals[..*seal].last().map_or(0, |(_, ended)| *ended);
            let waited = Duration::from_nanos(begun.saturating_sub(before.max(*came)));
            prop_assert!(waited <= GATHER + WORK && waited < PROMISED, "{waited:?}");
            let missed = story.seals[..*seal].iter().filter(|(begun, _)| *begun > came + WORK.as_nanos() as u64);
            prop_assert_eq!(missed.count(), 0, "a frame was begun without it");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn where_more_waits_than_the_log_takes_the_disk_is_never_idle(
        batches in batches(100..1500), frames in disk_times(), publications in disk_times(),
    ) {
        let story = House::new(coming(&batches)).live(&frames, &publications);
        prop_assert!(story.batches.iter().map(|(_, seal)| seal).is_sorted());
        for (came, seal) in &story.batches {
            let frames = story.seals[..=*seal].iter().filter(|(_, ended)| ended > came).count() as u32;
            let idle = story.idle(*came, story.seals[*seal].0);
            prop_assert!(idle <= (GATHER + WORK) * frames.max(1), "{idle:?} in {frames} frames");
        }
    }
}
