//! The host's core, step by step.

use std::time::Duration;

use grace_kernel::{Answer, Envelope, Host, HostError, LoadError, Outcome, Released, limits};
use grace_store::{
    Journal, Seq, StoreError,
    memory::{Disk, Fault, MemoryJournal},
};
use grace_types::{
    chance::SeededEntropy,
    event::Event,
    time::{Clock, Hlc, ManualClock, Timestamp},
};

use crate::tally::{Command, Tally, add, read};

/// A host on a memory journal, with a clock and chance of its own.
struct Bench {
    disk: Disk,
    journal: MemoryJournal,
    host: Host<Tally, u32>,
    clock: ManualClock,
    entropy: SeededEntropy,
}

impl Bench {
    fn new() -> Self {
        Self::on(Disk::new())
    }

    fn on(disk: Disk) -> Self {
        let mut journal = MemoryJournal::open(&disk).unwrap();
        let host = Host::load("tally", &mut journal).unwrap();
        let clock = ManualClock::starting_at(Timestamp::from_nanos(1_764_000_000_000_000_000));
        Self { disk, journal, host, clock, entropy: SeededEntropy::new(1) }
    }

    fn take(&mut self, to: u32, envelope: Envelope<Command>) {
        self.clock.advance(Duration::from_millis(1));
        self.host.take(self.clock.now(), &mut self.entropy, envelope, to);
    }

    fn commit(&mut self) -> Released<Tally, u32> {
        self.host.commit(&mut self.journal)
    }

    fn ask(&mut self, envelope: Envelope<Command>) -> Answer<Tally> {
        self.take(0, envelope);
        self.commit().answers.pop().unwrap().1
    }

    /// The state as a fresh host builds it.
    fn replayed(&self) -> String {
        let mut journal = MemoryJournal::open(&self.disk).unwrap();
        Host::<Tally, u32>::load("tally", &mut journal).unwrap().fingerprint().unwrap()
    }
}

fn keyed(command: Command, key: &str) -> Envelope<Command> {
    Envelope::new(command).with_key(key)
}

#[test]
fn nothing_leaves_before_it_is_written_and_a_batch_is_one_sync() {
    let mut bench = Bench::new();
    bench.take(1, Envelope::new(add("a", 1.0)));
    bench.take(2, Envelope::new(add("a", 2.0)));
    bench.take(3, Envelope::new(add("a", 2e6)));
    bench.take(4, Envelope::new(read("a")));
    assert_eq!(bench.journal.last(), Seq(0));
    let released = bench.commit();
    assert_eq!(bench.journal.last(), Seq(2));
    let answers: Vec<_> = released.answers.into_iter().map(|(to, a)| (to, a.unwrap())).collect();
    assert_eq!(answers[0], (1, Outcome::Done(1.0)));
    assert_eq!(answers[1], (2, Outcome::Done(3.0)));
    assert!(
        matches!(&answers[2], (3, Outcome::Refused(e)) if e.to_string() == "a tally may not exceed 1000000")
    );
    assert_eq!(answers[3], (4, Outcome::Done(3.0)));
    assert_eq!(released.effects, ["a", "a"]);
    let (seqs, entries): (Vec<_>, Vec<_>) = released.entries.into_iter().unzip();
    assert_eq!(seqs, [Seq(1), Seq(2)]);
    let account = entries[1].account();
    assert_eq!(account.what, "dev.grace.tally.added.v1");
    assert_eq!((account.who.as_str(), account.place.as_str(), account.how.as_str()), ("tally", "a", "sum"));
    assert_eq!(account.why.reasons()[0].code, "add.asked");
    assert!(entries[0].hlc < entries[1].hlc);
    assert_eq!(bench.replayed(), bench.host.fingerprint().unwrap());
}

#[test]
fn what_is_passed_on_is_what_was_written() {
    let mut bench = Bench::new();
    let who = Some(r#"x","record":{"event":1}}"#.to_owned());
    bench.take(0, Envelope { who: who.clone(), ..Envelope::new(add("a", 1.0)) });
    bench.take(1, Envelope { who, ..keyed(add(r#"b","record":{}}"#, 1.0), "k") });
    bench.take(2, Envelope::new(Command::AddAll { names: vec!["c".into(), "d\"}}".into()] }));
    let entries = bench.commit().entries;
    assert_eq!(entries.len(), 4);
    for (_, mut entry) in entries {
        let (body, whole) = (entry.body().unwrap(), serde_json::to_vec(&entry.record).unwrap());
        assert_eq!(String::from_utf8(body), String::from_utf8(whole));
    }
}

#[test]
fn causes_travel_from_the_command_into_the_entry() {
    let mut bench = Bench::new();
    let mut first = Envelope::new(add("a", 1.0));
    first.who = Some("operator".into());
    bench.take(0, first);
    let cause = bench.commit().entries.remove(0).1;
    let mut second = Envelope::new(add("b", 1.0));
    second.causation = Some(cause.id);
    second.correlation = Some(cause.correlation);
    second.hops = cause.hops + 1;
    second.hlc = Hlc { millis: cause.hlc.millis + 5000, counter: 7 };
    let remote = second.hlc;
    bench.take(0, second);
    let effect = bench.commit().entries.remove(0).1;
    assert_eq!(cause.who, "operator");
    assert_eq!((effect.causation, effect.correlation, effect.hops), (Some(cause.id), cause.correlation, 1));
    assert!(effect.hlc > remote);
    let event = effect.to_event("tally").unwrap();
    assert_eq!((event.source.as_str(), event.subject.as_deref()), ("/grace/tally", Some("b")));
    assert_eq!(event.data["event"]["added"]["by"], 1.0);
    assert_eq!(event.data["why"][0]["code"], "add.asked");
    let (headers, body) = (effect.headers("tally"), serde_json::to_vec(&effect.record).unwrap());
    let header = |name: &str| headers.iter().find(|(n, _)| *n == name).map(|(_, value)| value.as_str());
    assert_eq!(Event::from_headers(header, &body).unwrap(), event, "the message says the same");
}

#[test]
fn a_key_is_applied_once_across_batches_restarts_and_snapshots() {
    let mut bench = Bench::new();
    bench.take(1, keyed(add("a", 1.0), "k"));
    bench.take(2, keyed(add("a", 1.0), "k"));
    let answers: Vec<_> = bench.commit().answers.into_iter().map(|(_, a)| a).collect();
    assert_eq!(answers, [Ok(Outcome::Done(1.0)), Ok(Outcome::Done(1.0))]);
    assert_eq!(bench.journal.last(), Seq(1));
    bench.ask(Envelope::new(add("a", 5.0))).unwrap();

    let mut bench = Bench::on(bench.disk);
    assert_eq!(bench.ask(keyed(add("a", 1.0), "k")), Ok(Outcome::Done(1.0)));
    bench.host.snapshot(&mut bench.journal).unwrap();
    let mut bench = Bench::on(bench.disk);
    assert_eq!(bench.ask(keyed(add("a", 1.0), "k")), Ok(Outcome::Done(1.0)));
    assert_eq!(bench.ask(Envelope::new(read("a"))), Ok(Outcome::Done(6.0)));

    let reused = bench.ask(keyed(add("a", 2.0), "k"));
    assert_eq!(reused, Err(HostError::KeyReused { key: "k".into() }));
    for length in [0, limits::KEY_BYTES + 1] {
        let refused = bench.ask(keyed(add("a", 2.0), &"k".repeat(length)));
        assert_eq!(refused, Err(HostError::BadKey { length }));
    }
}

#[test]
fn a_refusal_under_a_key_is_final() {
    let mut bench = Bench::new();
    let refused = bench.ask(keyed(add("a", 2e6), "k"));
    assert!(matches!(refused, Ok(Outcome::Refused(_))));
    bench.ask(Envelope::new(add("a", -2e6))).unwrap();
    // A copy that the network delivers late must not be applied after its sender was told no.
    assert_eq!(bench.ask(keyed(add("a", 2e6), "k")), refused);
    let mut bench = Bench::on(bench.disk);
    assert_eq!(bench.ask(keyed(add("a", 2e6), "k")), refused);
    assert_eq!(bench.ask(Envelope::new(read("a"))), Ok(Outcome::Done(-2e6)));
    assert_eq!(bench.journal.last(), Seq(2));
}

#[test]
fn a_failed_append_drops_the_whole_batch_and_the_state_goes_back() {
    let mut bench = Bench::new();
    bench.ask(Envelope::new(add("a", 1.0))).unwrap();
    let before = bench.host.fingerprint().unwrap();
    for (fault, full) in [(Fault::Full, true), (Fault::Io, false)] {
        bench.disk.inject(fault);
        bench.take(1, keyed(add("a", 1.0), "k"));
        bench.take(2, Envelope::new(read("a")));
        let released = bench.commit();
        assert!(released.effects.is_empty() && released.entries.is_empty());
        assert_eq!(released.answers.len(), 2);
        for (_, answer) in released.answers {
            assert!(
                matches!(answer, Err(HostError::NotDurable { .. })),
                "a read of what never was: {answer:?}"
            );
        }
        assert_eq!(matches!(released.error, Some(StoreError::Full { .. })), full);
        assert_eq!(bench.host.fingerprint().unwrap(), before);
    }
    assert_eq!(bench.ask(keyed(add("a", 1.0), "k")), Ok(Outcome::Done(2.0)));
}

#[test]
fn an_error_after_the_sync_leaves_what_happened_and_its_effects() {
    let mut bench = Bench::new();
    bench.disk.inject(Fault::IoAfterSync);
    bench.take(1, keyed(add("a", 1.0), "k"));
    let released = bench.commit();
    assert!(matches!(released.answers[0].1, Err(HostError::NotDurable { .. })));
    assert_eq!((released.entries.len(), released.effects.len()), (1, 1));
    assert_eq!(released.entries[0].0, Seq(1));
    assert_eq!(bench.ask(keyed(add("a", 1.0), "k")), Ok(Outcome::Done(1.0)), "applied twice");
    assert_eq!(bench.replayed(), bench.host.fingerprint().unwrap());
}

#[test]
fn a_fenced_host_answers_nothing_not_even_queries() {
    let mut old = Bench::new();
    old.ask(Envelope::new(add("a", 1.0))).unwrap();
    let mut new = Bench::on(old.disk.clone());
    assert!(matches!(old.ask(Envelope::new(read("a"))), Err(HostError::Fenced { .. })));
    assert!(matches!(old.ask(Envelope::new(add("a", 1.0))), Err(HostError::Fenced { .. })));
    assert_eq!(new.ask(Envelope::new(read("a"))), Ok(Outcome::Done(1.0)));
}

#[test]
fn what_does_not_survive_its_json_is_refused_before_it_changes_anything() {
    let mut bench = Bench::new();
    let before = bench.host.fingerprint().unwrap();
    for by in [f64::NAN, f64::NEG_INFINITY] {
        let answer = bench.ask(Envelope::new(add("a", by)));
        assert!(matches!(answer, Err(HostError::Unrecordable { .. })), "{answer:?}");
    }
    let large = bench.ask(Envelope::new(add(&"x".repeat(limits::ENTRY_BYTES), 1.0)));
    assert!(matches!(large, Err(HostError::Unrecordable { .. })));
    assert_eq!(bench.host.fingerprint().unwrap(), before);
    assert_eq!(bench.journal.last(), Seq(0));
    for by in [0.1, 1e-300, 123_456.789_012_345_67, f64::MIN_POSITIVE] {
        bench.ask(Envelope::new(add("a", by))).unwrap();
    }
    assert_eq!(bench.replayed(), bench.host.fingerprint().unwrap());
}

#[test]
fn a_damaged_snapshot_is_passed_over_with_a_notice_and_damaged_records_are_refused() {
    let mut bench = Bench::new();
    for n in 0..5 {
        bench.ask(Envelope::new(add("a", f64::from(n)))).unwrap();
        bench.host.snapshot(&mut bench.journal).unwrap();
    }
    let expected = bench.host.fingerprint().unwrap();
    bench.disk.flip_snapshot_bit(Seq(5), 100);
    bench.journal.snapshot(Seq(4), b"{\"format\": 99}").unwrap();
    let mut again = Bench::on(bench.disk.clone());
    assert_eq!(again.host.fingerprint().unwrap(), expected);
    let notices = again.host.take_notices();
    assert_eq!(notices.len(), 2, "{notices:?}");
    assert!(notices[0].contains("snapshot 5") && notices[1].contains("snapshot 4"), "{notices:?}");

    bench.journal = MemoryJournal::open(&bench.disk).unwrap();
    bench.journal.append(&[b"{\"not\": \"an entry\"}"]).unwrap();
    let refused = Host::<Tally, u32>::load("tally", &mut bench.journal);
    assert!(matches!(refused.map(drop), Err(LoadError::Entry { seq: Seq(6), .. })));
    bench.disk.flip_log_bit(bench.disk.log_bytes() * 8 - 600);
    let refused = Host::<Tally, u32>::load("tally", &mut bench.journal);
    assert!(matches!(refused.map(drop), Err(LoadError::Store(StoreError::Corrupt { .. }))));
}

#[test]
fn snapshots_come_when_due_and_outstanding_effects_come_back() {
    let mut bench = Bench::new();
    let mut taken = 0;
    while bench.host.durable().0 < limits::SNAPSHOT_EVENTS * 2 {
        while !bench.host.is_full() {
            bench.take(0, Envelope::new(add("a", 1.0)));
        }
        assert!(bench.commit().error.is_none());
        taken += u32::from(bench.host.snapshot_if_due(&mut bench.journal).unwrap().is_some());
    }
    assert_eq!(taken, 2);
    let again = Bench::on(bench.disk.clone());
    assert_eq!(again.host.outstanding().len() as u64, bench.host.durable().0);
    assert_eq!(again.host.fingerprint().unwrap(), bench.host.fingerprint().unwrap());
    bench.take(0, Envelope::new(Command::Announced));
    assert!(matches!(bench.host.snapshot(&mut bench.journal), Err(StoreError::Range { .. })));
}

#[test]
fn the_reserve_is_not_spent_on_snapshots() {
    let mut bench = Bench::new();
    bench.host.keep_reserve(true);
    while bench.host.durable().0 < limits::SNAPSHOT_EVENTS {
        while !bench.host.is_full() {
            bench.take(0, Envelope::new(add("fire", 1.0)));
        }
        assert!(bench.commit().error.is_none());
        assert_eq!(bench.host.snapshot_if_due(&mut bench.journal).unwrap(), None);
    }
    bench.host.keep_reserve(false);
    assert!(bench.host.snapshot_if_due(&mut bench.journal).unwrap().is_some());
}

fn add_all(names: &[&str]) -> Envelope<Command> {
    Envelope::new(Command::AddAll { names: names.iter().map(|name| (*name).to_owned()).collect() })
}

#[test]
fn while_the_reserve_is_kept_questions_and_emergencies_go_on_and_nothing_else() {
    let mut bench = Bench::new();
    assert_eq!(bench.ask(keyed(add("a", 1.0), "before")), Ok(Outcome::Done(1.0)));
    bench.host.keep_reserve(true);
    let before = bench.disk.log_bytes();
    assert_eq!(bench.ask(Envelope::new(add("a", 1.0))), Err(HostError::DiskReserve));
    assert_eq!(bench.ask(keyed(add("a", 1.0), "during")), Err(HostError::DiskReserve));
    assert_eq!(
        bench.ask(keyed(read("a"), "asked")),
        Err(HostError::DiskReserve),
        "its answer would be recorded"
    );
    assert_eq!(bench.ask(Envelope::new(read("a"))), Ok(Outcome::Done(1.0)));
    assert_eq!(bench.ask(keyed(add("a", 1.0), "before")), Ok(Outcome::Done(1.0)), "it was decided before");
    assert_eq!(bench.disk.log_bytes(), before);
    assert_eq!(bench.ask(Envelope::new(add("fire", 1.0))), Ok(Outcome::Done(1.0)));
    assert_eq!(bench.ask(keyed(add("fire", 1.0), "fire")), Ok(Outcome::Done(2.0)));
    assert_eq!(
        bench.ask(keyed(read("fire"), "looked")),
        Err(HostError::DiskReserve),
        "it belongs to nothing"
    );
    assert_eq!(bench.ask(add_all(&["a", "fire", "b", "fires"])), Ok(Outcome::Done(0.0)));
    let read_of = |bench: &mut Bench, name: &str| bench.ask(Envelope::new(read(name)));
    let found = ["a", "b", "fire", "fires"].map(|name| read_of(&mut bench, name).unwrap());
    assert_eq!(found, [1.0, 0.0, 3.0, 1.0].map(Outcome::Done), "of several at once the emergencies alone");
    bench.host.keep_reserve(false);
    assert_eq!(bench.ask(keyed(add("a", 1.0), "during")), Ok(Outcome::Done(2.0)), "the refusal was not kept");
    assert_eq!(bench.ask(add_all(&["a", "b"])), Ok(Outcome::Done(0.0)));
    assert_eq!(read_of(&mut bench, "b"), Ok(Outcome::Done(1.0)));
    let again = Bench::on(bench.disk.clone());
    assert_eq!(
        again.host.fingerprint().unwrap(),
        bench.host.fingerprint().unwrap(),
        "a replay gives the same"
    );
}
