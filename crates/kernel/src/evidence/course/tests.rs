//! A sink behind a network that loses, doubles, delays and reorders, which dies, and which may forget.

use std::collections::BTreeMap;

use grace_types::chance::{Entropy, SeededEntropy};

use super::*;

const WALL: Timestamp = Timestamp::from_nanos(1_000_000_000_000_000_000);

fn at(millis: u64) -> Monotonic {
    Monotonic::ZERO.plus(Duration::from_millis(millis))
}

fn batch(first: u64, end: u64) -> Sent {
    Sent {
        first,
        end,
        full: false,
        contended: false,
        read: Monotonic::ZERO,
        first_time: Some(WALL),
        last_time: Some(WALL),
    }
}

fn ask(course: &mut Course, now: Monotonic) -> Ticket {
    match course.next(now) {
        Step::Ask(ticket) => ticket,
        other => panic!("{other:?}"),
    }
}

fn is_done(course: &Course) -> bool {
    course.progress().waiting() == Some(0)
}

/// What travels.
enum Packet {
    Batch { ticket: Ticket, first: u64, end: u64 },
    Reply { ticket: Ticket, next: u64 },
    Failure { ticket: Ticket },
}

struct World {
    course: Course,
    chance: SeededEntropy,
    now: Monotonic,
    /// By time of arrival and order of sending.
    under_way: BTreeMap<(Monotonic, u64), Packet>,
    packets: u64,
    journal: u64,
    /// Sequence numbers as the sink took them.
    log: Vec<u64>,
    up: bool,
    faults: bool,
    forgets: bool,
    rewinds: u64,
}

impl World {
    fn new(seed: u64, forgets: bool) -> Self {
        Self {
            course: Course::new(0),
            chance: SeededEntropy::new(seed),
            now: Monotonic::ZERO,
            under_way: BTreeMap::new(),
            packets: 0,
            journal: 0,
            log: Vec::new(),
            up: true,
            faults: true,
            forgets,
            rewinds: 0,
        }
    }

    fn odds(&mut self, percent: u64) -> bool {
        self.faults && self.chance.below(100) < percent
    }

    fn post(&mut self, after_millis: u64, packet: Packet) {
        self.packets += 1;
        let due = self.now.plus(Duration::from_millis(after_millis));
        self.under_way.insert((due, self.packets), packet);
    }

    fn request(&mut self, ticket: Ticket, first: u64, end: u64) {
        let delay = 1 + self.chance.below(if self.faults { 40 } else { 3 });
        if !self.odds(10) {
            self.post(delay, Packet::Batch { ticket, first, end });
        }
        if self.odds(10) {
            let again = delay + self.chance.below(2000);
            self.post(again, Packet::Batch { ticket, first, end });
        }
        self.post(500, Packet::Failure { ticket });
    }

    fn arrive(&mut self, packet: &Packet) {
        match *packet {
            Packet::Batch { ticket, first, end } if self.up => {
                let next = self.log.len() as u64 + 1;
                if first <= next {
                    self.log.extend(next..end.max(next));
                }
                let next = self.log.len() as u64 + 1;
                if !self.odds(10) {
                    let delay = 1 + self.chance.below(20);
                    self.post(delay, Packet::Reply { ticket, next });
                }
            }
            Packet::Batch { .. } => {}
            Packet::Reply { ticket, next } => self.course.replied(self.now, WALL, ticket, next, self.journal),
            Packet::Failure { ticket } => {
                let chance = self.chance.next_u64();
                self.course.failed(self.now, ticket, "no answer", chance);
            }
        }
    }

    /// One thing happens.
    fn turn(&mut self) {
        if self.odds(30) {
            self.journal += self.chance.below(8);
            self.course.written(self.journal);
        }
        if self.odds(2) {
            self.up = !self.up;
        }
        if self.forgets && self.odds(1) {
            let kept = self.chance.below(self.log.len() as u64 + 1);
            self.log.truncate(kept as usize);
        }
        let soon = match self.course.next(self.now) {
            Step::Ask(ticket) => return self.request(ticket, 1, 1),
            Step::Send { from } => {
                let end = (from + 1 + self.chance.below(20)).min(self.journal + 1);
                let full = end <= self.journal;
                let contended = self.chance.below(2) == 0;
                let sent = Sent { full, contended, read: self.now, ..batch(from, end) };
                let ticket = self.course.sent(self.now, WALL, sent);
                return self.request(ticket, from, end);
            }
            Step::Wait { until } => until,
        };
        let arrival = self.under_way.first_key_value().map(|((due, _), _)| *due);
        match arrival.filter(|due| *due <= soon) {
            Some(due) => {
                self.now = self.now.max(due);
                if let Some((_, packet)) = self.under_way.pop_first() {
                    self.arrive(&packet);
                }
            }
            None => self.now = soon,
        }
        let rewound = |notice: &Notice| matches!(notice, Notice::Rewound { .. });
        self.rewinds += self.course.take_notices().iter().filter(|n| rewound(n)).count() as u64;
        assert!(self.course.halted.is_none(), "{:?}", self.course);
        assert!(self.log.len() as u64 <= self.journal);
    }

    fn run(mut self) -> Self {
        for _ in 0..3000 {
            self.turn();
        }
        (self.faults, self.up) = (false, true);
        for _ in 0..3000 {
            if is_done(&self.course) && self.log.len() as u64 == self.journal {
                break;
            }
            self.turn();
        }
        assert!(
            self.log.iter().copied().eq(1..=self.journal),
            "{} of {}: {:?}",
            self.log.len(),
            self.journal,
            self.course
        );
        self
    }
}

#[test]
fn whatever_the_network_and_the_sink_do_all_arrives_in_order_once() {
    for seed in 0..150 {
        let world = World::new(seed, false).run();
        assert_eq!(world.rewinds, 0, "seed {seed}: the sink kept everything, and is accused of a loss");
        assert!(world.journal > 500, "seed {seed}: hardly anything happened");
    }
}

#[test]
fn what_a_sink_forgets_is_noticed_and_sent_again() {
    let rewinds: u64 = (0..150).map(|seed| World::new(seed, true).run().rewinds).sum();
    assert!(rewinds > 150, "{rewinds}");
}

#[test]
fn nothing_is_sent_before_the_sink_has_said_where_it_stands() {
    let mut course = Course::new(10);
    let ticket = ask(&mut course, at(0));
    assert!(matches!(course.next(at(0)), Step::Wait { .. }));
    course.replied(at(1), WALL, ticket, 4, 10);
    assert_eq!(course.next(at(1)), Step::Send { from: 4 });
    course.sent(at(1), WALL, Sent { full: true, ..batch(4, 8) });
    assert_eq!(course.next(at(1)), Step::Send { from: 8 });
    course.sent(at(1), WALL, batch(8, 11));
    course.written(20);
    assert!(matches!(course.next(at(100)), Step::Wait { .. }), "two are under way, no third goes out");
}

#[test]
fn small_batches_are_gathered_and_full_ones_follow_each_other() {
    let mut course = Course::new(1);
    let ticket = ask(&mut course, at(0));
    course.replied(at(0), WALL, ticket, 1, 1);
    let sent = course.sent(at(0), WALL, batch(1, 2));
    course.replied(at(1), WALL, sent, 2, 1);
    course.written(2);
    assert_eq!(course.next(at(1)), Step::Wait { until: at(0).plus(limits::EVIDENCE_GATHER) });
    assert_eq!(course.next(at(100)), Step::Send { from: 2 });
}

#[test]
fn where_processors_are_short_full_batches_keep_the_pause_until_they_are_late() {
    let after = |contended, age, gather| {
        let mut course = Course::new(9).gathering(gather);
        let ticket = ask(&mut course, at(0));
        course.replied(at(0), WALL, ticket, 1, 9);
        let now = WALL.plus(age);
        course.sent(at(0), now, Sent { full: true, contended, ..batch(1, 2) });
        course.next(at(0))
    };
    let (fresh, late) = (Duration::from_secs(1), limits::EVIDENCE_LATE);
    let (at_once, paused) =
        (Step::Send { from: 2 }, Step::Wait { until: at(0).plus(limits::EVIDENCE_GATHER) });
    assert_eq!(after(false, fresh, limits::EVIDENCE_GATHER), at_once);
    assert_eq!(after(true, fresh, limits::EVIDENCE_GATHER), paused);
    assert_eq!(after(true, late, limits::EVIDENCE_GATHER), at_once);
    // Whoever waits for the seal of what it writes waits for no processor's sake.
    assert_eq!(after(true, fresh, Duration::ZERO), at_once);
}

#[test]
fn at_the_end_a_sink_is_asked_once_more_whatever_it_did_before() {
    let away = || {
        let mut course = Course::new(3);
        let ticket = ask(&mut course, at(0));
        course.failed(at(1000), ticket, "no answer", u64::MAX);
        assert!(matches!(course.next(at(1000)), Step::Wait { until } if until > at(1000)));
        assert!(!course.is_over());
        course.end(at(1001));
        assert!(!course.is_over());
        let ticket = ask(&mut course, at(1001));
        (course, ticket)
    };
    // It is back, and gets everything, without a pause between two batches.
    let (mut course, ticket) = away();
    course.replied(at(1002), WALL, ticket, 1, 3);
    let first = course.sent(at(1002), WALL, batch(1, 2));
    assert_eq!(course.next(at(1002)), Step::Send { from: 2 });
    let second = course.sent(at(1002), WALL, batch(2, 4));
    course.replied(at(1003), WALL, first, 2, 3);
    assert!(!course.is_over());
    course.replied(at(1004), WALL, second, 4, 3);
    assert!(course.is_over());
    // It is still away, and is not waited for.
    let (mut course, ticket) = away();
    course.failed(at(2001), ticket, "no answer", 0);
    assert!(course.is_over());
}

#[test]
fn at_the_end_what_is_under_way_is_asked_for_again() {
    let mut course = Course::new(3);
    let ticket = ask(&mut course, at(0));
    course.replied(at(0), WALL, ticket, 1, 3);
    // Its answer died with the broker.
    course.sent(at(0), WALL, batch(1, 4));
    course.end(at(1));
    course.end(at(2));
    let ticket = ask(&mut course, at(2));
    course.replied(at(3), WALL, ticket, 4, 3);
    assert!(course.is_over());
}

#[test]
fn a_sink_that_is_away_is_asked_ever_more_seldom_and_told_of_once() {
    let mut course = Course::new(3);
    let (mut now, mut tries, mut told) = (at(0), 0, Vec::new());
    while now < at(60_000) {
        match course.next(now) {
            Step::Ask(ticket) => {
                tries += 1;
                course.failed(now, ticket, "nobody listens", u64::MAX);
            }
            Step::Wait { until } => now = until,
            Step::Send { .. } => panic!("sent to a sink that never answered"),
        }
        told.extend(course.take_notices());
    }
    assert!((30..=40).contains(&tries), "{tries}");
    assert!(matches!(&told[..], [Notice::Away { .. }]), "{told:?}");
    assert_eq!(course.progress().standing, Standing::Away);
    let ticket = ask(&mut course, now);
    course.replied(now, WALL, ticket, 2, 3);
    assert!(matches!(&course.take_notices()[..], [Notice::Back { waiting: 2, .. }]));
    assert_eq!((course.progress().standing, course.progress().waiting()), (Standing::Shipping, Some(2)));
}

#[test]
fn a_sink_that_answers_and_takes_nothing_is_not_pressed() {
    let mut course = Course::new(3);
    let (mut now, mut batches) = (at(0), 0);
    while now < at(60_000) {
        match course.next(now) {
            Step::Ask(ticket) => course.replied(now, WALL, ticket, 1, 3),
            Step::Send { from } => {
                batches += 1;
                let ticket = course.sent(now, WALL, batch(from, 4));
                course.replied(now, WALL, ticket, 1, 3);
            }
            Step::Wait { until } => now = until,
        }
    }
    assert!((20..=60).contains(&batches), "{batches}");
}

#[test]
fn a_sink_that_answers_questions_and_takes_no_batch_is_told_of_once() {
    for refuses in [true, false] {
        let mut course = Course::new(3);
        let (mut now, mut told) = (at(0), Vec::new());
        while now < at(60_000) {
            match course.next(now) {
                Step::Ask(ticket) => course.replied(now, WALL, ticket, 2, 3),
                Step::Send { from } => {
                    let ticket = course.sent(now, WALL, batch(from, 4));
                    if refuses {
                        course.failed(now, ticket, "not_durable: the disk is full", u64::MAX);
                    } else {
                        course.replied(now, WALL, ticket, 2, 3);
                    }
                }
                Step::Wait { until } => now = until,
            }
            told.extend(course.take_notices());
        }
        let [Notice::Away { detail }] = &told[..] else { panic!("{told:?}") };
        assert_eq!(detail.contains("disk is full"), refuses, "{detail}");
        assert_eq!(course.progress().standing, Standing::Away);
        // What it takes at last is what shows that it is back.
        let ticket = loop {
            match course.next(now) {
                Step::Ask(ticket) => break ticket,
                Step::Wait { until } => now = until,
                Step::Send { .. } => panic!("it was not asked"),
            }
        };
        course.replied(now, WALL, ticket, 2, 3);
        assert_eq!((course.next(now), course.take_notices()), (Step::Send { from: 2 }, Vec::new()));
        let ticket = course.sent(now, WALL, batch(2, 4));
        course.replied(now, WALL, ticket, 4, 3);
        assert!(matches!(&course.take_notices()[..], [Notice::Back { waiting: 0, .. }]));
        assert_eq!(course.progress().standing, Standing::Shipping);
    }
}

#[test]
fn a_sink_that_holds_more_than_the_journal_ends_it() {
    let mut course = Course::new(3);
    let ticket = ask(&mut course, at(0));
    course.replied(at(0), WALL, ticket, 9, 3);
    assert_eq!(course.take_notices(), [Notice::Halted(Halt::SinkAhead { next: 9, last: 3 })]);
    course.written(20);
    assert!(matches!(course.next(at(100_000)), Step::Wait { .. }));
    let progress = course.progress();
    assert!(progress.halted.unwrap().contains("records up to 8") && progress.standing == Standing::Halted);
}

#[test]
fn the_lag_is_that_of_the_newest_record_and_the_age_that_of_the_oldest_that_waits() {
    let mut course = Course::new(2);
    let ticket = ask(&mut course, at(0));
    course.replied(at(0), WALL, ticket, 1, 2);
    let second = WALL.plus(Duration::from_secs(1));
    let one = course.sent(at(0), WALL, batch(1, 2));
    let two =
        course.sent(at(0), WALL, Sent { first_time: Some(second), last_time: Some(second), ..batch(2, 3) });
    assert_eq!(course.progress().oldest, Some(WALL));
    course.replied(at(5), WALL.plus(Duration::from_secs(3)), one, 2, 2);
    assert_eq!(
        (course.progress().oldest, course.progress().lag),
        (Some(second), Some(Duration::from_secs(3)))
    );
    course.replied(at(5), WALL.plus(Duration::from_secs(3)), two, 3, 2);
    assert_eq!((course.progress().oldest, course.progress().lag), (None, Some(Duration::from_secs(2))));
    assert!(is_done(&course));
}

#[test]
fn an_idle_sink_is_asked_from_time_to_time() {
    let mut course = Course::new(1);
    let ticket = ask(&mut course, at(0));
    course.replied(at(0), WALL, ticket, 2, 1);
    let Step::Wait { until } = course.next(at(0)) else { panic!() };
    assert_eq!(until, at(0).plus(limits::EVIDENCE_RECHECK));
    let ticket = ask(&mut course, until);
    course.replied(until, WALL, ticket, 1, 1);
    assert!(matches!(&course.take_notices()[..], [Notice::Rewound { had: 2, next: 1 }]));
    assert_eq!(course.next(until), Step::Send { from: 1 });
}
