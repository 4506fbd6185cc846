//! Each kind of step by itself: intents come, tasks are given out, answered for, and run out of time and come back; and intents are
//! cancelled, anywhere in the queue. A round takes each kind once, for a batch of tasks, and leaves as many waiting as it found.
//!
//! Cancelling has rounds of its own: whatever is cancelled was in no cache, since it is one of all that wait, and it leaves holes all over
//! the memory that others come to stand in.

use std::time::Duration;

use grace_orchestration::htm::{
    Command, IntentId, Reply,
    command::{Ask, Lease, TaskAnswer},
};

use super::{Bench, ERA, worked};

/// The kinds, in the order of a round.
pub(crate) const KINDS: [&str; 4] = ["enqueue", "lease", "answer", "expire"];

/// Longer than the lease of a task of the bench, and than its wait after an attempt, milliseconds.
const LEASE_MS: u64 = 40_000;

/// A queue that rounds are made on.
pub(crate) struct Steps {
    pub(crate) bench: Bench,
    pub(crate) batch: usize,
    /// Whether the clock is read. Not where instructions are counted: there is none that can be.
    pub(crate) timed: bool,
    /// Random enough to be all over the queue.
    place: u64,
}

impl Steps {
    pub(crate) const fn new(bench: Bench, batch: usize, timed: bool) -> Self {
        Self { bench, batch, timed, place: 0 }
    }

    /// Processor time of each kind, in the order of [`KINDS`].
    #[inline(never)]
    pub(crate) fn round(&mut self) -> [Duration; 4] {
        let enqueue = self.timed(Self::enqueue);
        let lease = self.timed(|steps| drop(steps.lease()));
        // The tasks that were given out are the worker's; it is asked for them again under the request's name.
        let leased = self.leased();
        let answer = self.timed(|steps| steps.answer(&leased));
        self.lease();
        let expire = self.timed(Self::expire);
        [enqueue, lease, answer, expire]
    }

    /// Processor time of cancelling as many as came before.
    #[inline(never)]
    pub(crate) fn round_of_cancelling(&mut self) -> [Duration; 1] {
        self.enqueue();
        [self.timed(Self::cancel)]
    }

    fn timed(&mut self, step: impl FnOnce(&mut Self)) -> Duration {
        let begun = self.timed.then(worked);
        step(self);
        begun.map_or(Duration::ZERO, |begun| worked() - begun)
    }

    #[inline(never)]
    fn enqueue(&mut self) {
        self.bench.submit(self.batch);
    }

    #[inline(never)]
    fn cancel(&mut self) {
        let waiting = self.bench.state.waiting();
        let mut cancelled = 0;
        while cancelled < self.batch {
            self.place = self.place.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
            let number = self.bench.sent - 1 - (self.place >> 33) % (waiting / 2);
            let intent = IntentId::new(ERA, number);
            // One that was met before is over.
            cancelled +=
                usize::from(self.bench.accepted(&Command::Cancel { intent, reason: "bench".into() }));
        }
    }

    #[inline(never)]
    fn lease(&mut self) -> Reply {
        self.bench.request += 1;
        self.again()
    }

    fn again(&mut self) -> Reply {
        let max = u32::try_from(self.batch).unwrap_or(u32::MAX);
        let request = Some(self.bench.request.to_string());
        self.bench.ask(&Command::Lease { asks: vec![Ask { worker: "w".into(), max, request }] })
    }

    fn leased(&mut self) -> Vec<Lease> {
        let Reply::Leased { mut grants, .. } = self.again() else { return Vec::new() };
        assert_eq!(grants[0].tasks.len(), self.batch);
        grants.swap_remove(0).tasks
    }

    #[inline(never)]
    fn answer(&mut self, leased: &[Lease]) {
        let answers = leased.iter().map(|lease| TaskAnswer {
            task: lease.task,
            token: lease.token,
            output: None,
            failed: None,
            retry: None,
        });
        let answers = answers.collect();
        self.bench.ask(&Command::Answer { worker: "w".into(), answers, chance: 0 });
    }

    /// The leases end, the tasks wait for another attempt, and are in the queue again.
    #[inline(never)]
    fn expire(&mut self) {
        for _ in 0..2 {
            self.bench.now_ms += LEASE_MS;
            // The worker was heard just now.
            let heard = [("w".to_owned(), 0)].into();
            let reply = self.bench.ask(&Command::Tick { chance: 0, heard });
            assert!(matches!(reply, Reply::Ticked { more: false, .. }));
        }
    }
}

/// The median of what rounds took for one kind, and the lowest and the highest tenth, microseconds for a task.
pub(crate) fn spread<const N: usize>(rounds: &[[Duration; N]], kind: usize, batch: usize) -> [f64; 3] {
    let mut times: Vec<f64> =
        rounds.iter().map(|round| round[kind].as_secs_f64() * 1e6 / batch as f64).collect();
    times.sort_by(f64::total_cmp);
    [times.len() / 2, times.len() / 10, times.len() * 9 / 10].map(|at| times[at])
}
