//! Each occurrence exactly once, whatever clocks and restarts do.

use std::collections::{BTreeMap, BTreeSet};

use grace_kernel::{Decider, Outcome};
use grace_types::{
    chance::{Entropy as _, SeededEntropy},
    time::{Monotonic, Now, Timestamp},
};
use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::{
    delivery::{
        action::{Action, Publish, Submit, Work},
        lane,
        step::{Perform, Report},
    },
    limits,
    period::Period,
};

fn time(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn cron(pattern: &str, zone: &str) -> When {
    When::Cron(CronTimes { pattern: pattern.into(), zone: Some(zone.into()) })
}

fn publishes(when: When) -> Schedule {
    let data = json!({"time": "${schedule.time}"});
    Schedule {
        when,
        action: Action::Publish(Publish { kind: "a.b".into(), subject: None, data }),
        jitter: Period::default(),
        overlap: Overlap::Allow,
        misfire: Misfire::RunOnce,
        grace: Period::from_secs(10),
        delivery: lane::Settings::default(),
    }
}

fn submits(when: When, overlap: Overlap) -> Schedule {
    let submit = Submit {
        intent: "backup".into(),
        payload: json!({}),
        priority: crate::intent::Priority::Low,
        deadline: None,
    };
    Schedule { action: Action::Submit(submit), overlap, ..publishes(when) }
}

/// A scheduler with clocks; the wall clock can be stepped.
struct Clockwork {
    state: State,
    wall_ms: u64,
    mono_ms: u64,
    chance: u64,
    recorded: Vec<Event>,
    performed: Vec<Perform>,
}

impl Clockwork {
    fn at(start: &str) -> Self {
        let mut made = Self {
            state: State::default(),
            wall_ms: time(start).as_millis(),
            mono_ms: 5000,
            chance: 7,
            recorded: Vec::new(),
            performed: Vec::new(),
        };
        made.ask(&Command::Begin { boot: "one".into() }).unwrap();
        made
    }

    fn now(&self) -> Now {
        Now {
            wall: Timestamp::from_nanos(self.wall_ms * 1_000_000),
            mono: Monotonic::from_nanos(self.mono_ms * 1_000_000),
        }
    }

    fn ask(&mut self, command: &Command) -> Result<Reply, Refusal> {
        let decision = Scheduler::decide(&self.state, self.now(), command);
        for recorded in decision.events() {
            Scheduler::evolve(&mut self.state, recorded.event());
            self.performed.extend(Scheduler::effects(&self.state, recorded));
            self.recorded.push(recorded.event().clone());
        }
        match decision.outcome().clone() {
            Outcome::Done(reply) => Ok(reply),
            Outcome::Refused(refusal) => Err(refusal),
        }
    }

    fn chance(&mut self) -> u64 {
        self.chance += 1;
        self.chance
    }

    fn put(&mut self, name: &str, schedule: Schedule) {
        let chance = self.chance();
        let put = Command::Put { name: name.into(), schedule: Box::new(schedule), chance };
        assert_eq!(self.ask(&put), Ok(Reply::Done));
    }

    fn tick(&mut self) {
        for _ in 0..50 {
            let chance = self.chance();
            self.ask(&Command::Tick { chance }).unwrap();
            if self.state.next_ms(self.now()) != Some(0) {
                return;
            }
        }
        panic!("something is due for ever: {:?}", self.state.next_ms(self.now()));
    }

    fn pass(&mut self, ms: u64) {
        self.wall_ms += ms;
        self.mono_ms += ms;
        self.tick();
    }

    fn settle(&mut self) {
        let reports = std::mem::take(&mut self.performed)
            .iter()
            .map(|one| Report {
                owner: one.owner.clone(),
                key: one.delivery.key.clone(),
                failed: None,
                lasting: false,
            })
            .collect();
        let chance = self.chance();
        self.ask(&Command::Settle { reports, chance }).unwrap();
    }

    fn keys(&self) -> Vec<String> {
        self.performed.iter().map(|one| one.delivery.key.clone()).collect()
    }

    fn whats(&self) -> Vec<&'static str> {
        self.recorded.iter().map(Scheduler::what).collect()
    }

    fn bytes(state: &State) -> String {
        serde_json::to_string(state).unwrap()
    }

    /// A restart from the journal knows the same as the one that lived, and so does one from a snapshot.
    fn replayed(&self) -> State {
        let mut replayed = State::default();
        for event in &self.recorded {
            let text = serde_json::to_string(event).unwrap();
            Scheduler::evolve(&mut replayed, &serde_json::from_str(&text).unwrap());
        }
        assert_eq!(Self::bytes(&replayed), Self::bytes(&self.state));
        let snapshot: State = serde_json::from_str(&Self::bytes(&self.state)).unwrap();
        assert_eq!(Self::bytes(&snapshot), Self::bytes(&self.state));
        for made in [&replayed, &snapshot] {
            assert_eq!(made.next_ms(self.now()), self.state.next_ms(self.now()));
            assert_eq!(made.by_wall, self.state.by_wall);
            assert_eq!(made.by_steady, self.state.by_steady);
            assert_eq!(made.freed, self.state.freed);
        }
        snapshot
    }
}

fn next_times(pattern: &str, zone: &str, from: &str, count: usize) -> Vec<String> {
    let times = upcoming(&cron(pattern, zone), time(from), count);
    times.iter().map(ToString::to_string).collect()
}

#[test]
fn nights_in_which_the_clocks_change() {
    // Forward: 02:00 becomes 03:00 in Berlin on 29 March 2026 (01:00 UTC).
    let gap = next_times("30 2 * * *", "Europe/Berlin", "2026-03-28T00:00:00Z", 3);
    assert_eq!(gap, ["2026-03-28T01:30:00Z", "2026-03-29T01:00:00Z", "2026-03-30T00:30:00Z"]);
    let two = next_times("0,30 2 * * *", "Europe/Berlin", "2026-03-28T12:00:00Z", 2);
    assert_eq!(two, ["2026-03-29T01:00:00Z", "2026-03-30T00:00:00Z"], "two in one gap fire once");
    let steps = next_times("*/30 * * * *", "Europe/Berlin", "2026-03-29T00:15:00Z", 3);
    assert_eq!(steps, ["2026-03-29T00:30:00Z", "2026-03-29T01:00:00Z", "2026-03-29T01:30:00Z"]);
    // Back: 03:00 becomes 02:00 on 25 October 2026 (01:00 UTC); 02:30 comes at 00:30 UTC and again at 01:30 UTC.
    let fold = next_times("30 2 * * *", "Europe/Berlin", "2026-10-24T12:00:00Z", 2);
    assert_eq!(fold, ["2026-10-25T00:30:00Z", "2026-10-26T01:30:00Z"], "once, the first time");
    let after = next_times("30 2 * * *", "Europe/Berlin", "2026-10-25T01:10:00Z", 1);
    assert_eq!(after, ["2026-10-26T01:30:00Z"], "not in the second half either");
    let steps = next_times("*/30 * * * *", "Europe/Berlin", "2026-10-24T23:45:00Z", 6);
    assert_eq!(steps.len(), BTreeSet::from_iter(&steps).len());
    assert_eq!(steps[5], "2026-10-25T02:30:00Z", "elapsed time: both halves");
    // Others: New York, half an hour on Lord Howe, midnight in Cairo, and a day that Samoa never had.
    let both = next_times("30 2,14 * * *", "Europe/Berlin", "2026-10-24T13:00:00Z", 3);
    assert_eq!(
        both,
        ["2026-10-25T00:30:00Z", "2026-10-25T13:30:00Z", "2026-10-26T01:30:00Z"],
        "a list is of fixed times"
    );
    let york = next_times("30 2 8 3 *", "America/New_York", "2026-03-01T00:00:00Z", 1);
    assert_eq!(york, ["2026-03-08T07:00:00Z"], "03:00 EDT");
    let howe = next_times("15 2 * * *", "Australia/Lord_Howe", "2026-10-03T12:00:00Z", 1);
    assert_eq!(howe, ["2026-10-03T15:30:00Z"], "02:00 became 02:30");
    let cairo = next_times("0 0 * * *", "Africa/Cairo", "2026-04-23T12:00:00Z", 1);
    assert_eq!(cairo, ["2026-04-23T22:00:00Z"], "midnight was 01:00");
    let samoa = next_times("0 12 * * *", "Pacific/Apia", "2011-12-29T12:00:00Z", 2);
    assert_eq!(samoa, ["2011-12-29T22:00:00Z", "2011-12-30T22:00:00Z"], "30 December 2011 was left out");
    let leap = next_times("0 0 29 2 *", "UTC", "2026-01-01T00:00:00Z", 2);
    assert_eq!(leap, ["2028-02-29T00:00:00Z", "2032-02-29T00:00:00Z"]);
    let seconds = next_times("*/20 * * * * *", "UTC", "2026-01-01T00:00:05.5Z", 3);
    assert_eq!(seconds, ["2026-01-01T00:00:20Z", "2026-01-01T00:00:40Z", "2026-01-01T00:01:00Z"]);
}

#[test]
fn what_is_wrong_with_a_schedule_is_named() {
    let told =
        |when: When| -> Vec<String> { publishes(when).faults().iter().map(ToString::to_string).collect() };
    let zone = told(cron("0 0 * * *", "Europe/Berln"));
    assert_eq!(
        zone,
        ["when.cron.zone: there is no time zone `Europe/Berln` (did you mean `Europe/Berlin`?)"]
    );
    for bad in ["", "x", "61 * * * *", "* * * *", "* * * * * * *", "0 0 30 2 *", "é * * * *", "@reboot"] {
        assert_eq!(told(cron(bad, "UTC")).len(), 1, "{bad}");
    }
    assert_eq!(told(When::Every(Period::from_millis(999))), ["when.every: at least 1s"]);
    let mut works = Clockwork::at("2026-01-01T00:00:00Z");
    let schedule = Box::new(Schedule { jitter: Period::from_secs(90_000), ..publishes(cron("x", "UTC")) });
    let put = Command::Put { name: "a b".into(), schedule, chance: 0 };
    assert!(matches!(works.ask(&put), Err(Refusal::Invalid { .. })));
    let json = json!({"when": {"cron": {"pattern": "0 2 * * *", "zone": "UTC"}}, "action": {"publish": {"type": "a.b"}}});
    assert!(serde_json::from_value::<Schedule>(json).unwrap().faults().is_empty());
}

#[test]
fn each_kind_fires_at_its_time() {
    let mut works = Clockwork::at("2026-01-01T00:00:00Z");
    works.put("cron", publishes(cron("*/10 * * * * *", "UTC")));
    works.put("once", publishes(When::Once(time("2026-01-01T00:00:15Z"))));
    works.put("every", publishes(When::Every(Period::from_secs(7))));
    works.put("after", publishes(When::After(Period::from_secs(3))));
    works.pass(3000);
    assert_eq!(works.keys(), ["sch:after:1:#1"]);
    works.settle();
    assert!(
        works.ask(&Command::Show { name: "after".into(), times: 1 }).is_err(),
        "a delay leaves nothing behind"
    );
    works.pass(4000);
    assert_eq!(works.keys(), ["sch:every:1:#1"]);
    works.pass(3000);
    works.pass(4000);
    works.pass(1000);
    let expected = [
        "sch:every:1:#1",
        "sch:cron:1:2026-01-01T00:00:10Z",
        "sch:every:1:#2",
        "sch:once:1:2026-01-01T00:00:15Z",
    ];
    assert_eq!(works.keys(), expected);
    let Work::Publish { data, .. } = &works.performed[1].delivery.work else { panic!() };
    assert_eq!(*data, json!({"time": "2026-01-01T00:00:10Z"}));
    works.settle();
    works.put("once", publishes(When::Once(time("2026-01-01T00:00:15Z"))));
    let other =
        Schedule { grace: Period::from_secs(99), ..publishes(When::Once(time("2026-01-01T00:00:15Z"))) };
    works.put("once", other);
    works.tick();
    assert!(works.keys().is_empty(), "a replacement does not fire it again");
    works.replayed();
}

/// Found by the simulator: the second `moved` had the keys of the first, and the task manager took its intents for repeats.
#[test]
fn a_schedule_that_comes_again_after_it_was_gone_has_keys_of_its_own() {
    let mut works = Clockwork::at("2026-03-28T00:00:00Z");
    let fires = |works: &mut Clockwork| {
        works.put("moved", submits(When::Every(Period::from_secs(2)), Overlap::Allow));
        works.pass(2000);
        let key = works.performed.last().unwrap().delivery.key.clone();
        works.ask(&Command::Remove { name: "moved".into() }).unwrap();
        key
    };
    let keys: BTreeSet<String> = (0..3).map(|_| fires(&mut works)).collect();
    assert_eq!(keys.len(), 3, "{keys:?}");
    // Also where the first one was over and forgotten, and after a restart from a snapshot.
    let delays = |works: &mut Clockwork| {
        works.put("delay", publishes(When::After(Period::from_secs(3))));
        works.pass(3000);
        let key = works.performed.last().unwrap().delivery.key.clone();
        works.settle();
        works.state = serde_json::from_str(&serde_json::to_string(&works.state).unwrap()).unwrap();
        key
    };
    let keys: BTreeSet<String> = (0..3).map(|_| delays(&mut works)).collect();
    assert_eq!(keys.len(), 3, "{keys:?}");
}

/// Found by the simulator: it was forgotten once it was done, and fired again after every restart.
#[test]
fn a_delay_in_the_manifest_fires_once_however_often_it_is_declared() {
    let mut works = Clockwork::at("2026-03-28T00:00:00Z");
    let schedules = BTreeMap::from([("warm_up".to_owned(), publishes(When::After(Period::from_secs(3))))]);
    for start in 0..3 {
        works.ask(&Command::Declare { schedules: schedules.clone(), chance: 1 }).unwrap();
        works.pass(5000);
        assert_eq!(works.performed.len(), usize::from(start == 0), "start {start}");
        works.settle();
    }
}

#[test]
fn late_occurrences_are_the_policys_affair() {
    let mut works = Clockwork::at("2026-01-01T00:00:00Z");
    let minutely = || publishes(cron("* * * * *", "UTC"));
    works.put("skip", Schedule { misfire: Misfire::Skip, ..minutely() });
    works.put("once", Schedule { misfire: Misfire::RunOnce, ..minutely() });
    works.put("all", Schedule { misfire: Misfire::RunAll, ..minutely() });
    works.pass(5 * 60_000 + 5000);
    let fired = |works: &Clockwork, name: &str| -> Vec<String> {
        let keys = works.performed.iter().filter(|one| one.owner == name);
        keys.map(|one| one.delivery.key.rsplit("T00:").next().unwrap().to_owned()).collect()
    };
    assert_eq!(fired(&works, "skip"), ["05:00Z"], "in time; the four before are recorded");
    assert_eq!(fired(&works, "once"), ["04:00Z", "05:00Z"]);
    assert_eq!(fired(&works, "all"), ["01:00Z", "02:00Z", "03:00Z", "04:00Z", "05:00Z"]);
    let counts: Vec<u64> = works
        .recorded
        .iter()
        .filter_map(|event| match event {
            Event::Misfired { count, more: false, .. } => Some(*count),
            _ => None,
        })
        .collect();
    assert_eq!(counts, [3, 4], "by name: once, skip");
    let Ok(Reply::Overview { overview, late }) = works.ask(&Command::Overview) else { panic!() };
    assert_eq!((overview.count, overview.totals.fired, overview.in_flight), (3, 8, 8));
    assert_eq!((late.fired, late.misfired), (8, 7), "the last ones come five seconds late");
    works.settle();
    works.pass(366 * 86_400_000);
    let count = |name: &str| {
        let year = works
            .recorded
            .iter()
            .filter(|event| matches!(event, Event::Fired { wall_ms, .. } if *wall_ms == works.wall_ms));
        year.filter(|event| matches!(event, Event::Fired { name: of, .. } if of == name)).count()
    };
    assert_eq!((count("skip"), count("once"), count("all")), (1, 2, limits::MISFIRE_RUNS + 1));
    assert_eq!(fired(&works, "all").len(), 64, "the others wait for their turn");
    assert!(works.recorded.iter().any(|event| matches!(event, Event::Misfired { more: true, .. })));
    works.replayed();
}

#[test]
fn overlap_skips_or_holds_one() {
    let mut works = Clockwork::at("2026-01-01T00:00:00Z");
    let minutely = || cron("* * * * *", "UTC");
    works.put("skip", submits(minutely(), Overlap::Skip));
    works.put("queue", submits(minutely(), Overlap::Queue));
    works.pass(60_000);
    let first = works.keys();
    assert_eq!(first.len(), 2);
    works.settle();
    works.pass(60_000);
    works.pass(60_000);
    assert!(works.keys().is_empty(), "submitted is not ended");
    let whats = works.whats();
    assert_eq!(whats.iter().filter(|what| **what == "occurrence_skipped").count(), 3);
    assert_eq!(whats.iter().filter(|what| **what == "occurrence_held").count(), 1);
    let running: Vec<String> = works.state.running().map(|(_, key)| key.to_owned()).collect();
    assert_eq!(BTreeSet::from_iter(&running), BTreeSet::from_iter(&first));
    let chance = works.chance();
    let blocked = works.ask(&Command::RunNow { name: "skip".into(), chance }).unwrap_err();
    assert!(blocked.to_string().contains("still runs"), "{blocked}");
    works.replayed();
    works.ask(&Command::Ended { keys: first }).unwrap();
    works.tick();
    assert_eq!(works.keys(), ["sch:queue:1:2026-01-01T00:02:00Z"], "the one that was held");
    works.settle();
    works.pass(60_000);
    assert_eq!(works.keys(), ["sch:skip:1:2026-01-01T00:04:00Z"], "the other one runs again");
    let reports = vec![Report {
        owner: "skip".into(),
        key: works.keys()[0].clone(),
        failed: Some("the payload is refused".into()),
        lasting: true,
    }];
    works.ask(&Command::Settle { reports, chance: 1 }).unwrap();
    assert_eq!(works.state.running().count(), 1, "what was never taken does not run");
    works.replayed();
}

#[test]
fn a_paused_schedule_rests_and_can_be_run_by_hand() {
    let mut works = Clockwork::at("2026-01-01T00:00:00Z");
    works.put("cron", publishes(cron("* * * * *", "UTC")));
    works.put("once", publishes(When::Once(time("2026-01-01T00:02:30Z"))));
    for name in ["cron", "once"] {
        works.ask(&Command::Pause { name: name.into() }).unwrap();
    }
    works.pass(5 * 60_000);
    assert!(works.keys().is_empty());
    assert_eq!(
        works.ask(&Command::RunNow { name: "cron".into(), chance: 1 }),
        Ok(Reply::Running { key: "sch:cron:1:asked-1".into() })
    );
    works.performed.clear();
    for name in ["cron", "once"] {
        works.ask(&Command::Resume { name: name.into(), chance: 1 }).unwrap();
    }
    works.tick();
    assert_eq!(works.keys(), ["sch:once:1:2026-01-01T00:02:30Z"], "late, and run once by its policy");
    works.pass(60_000);
    assert_eq!(works.keys().last().unwrap(), "sch:cron:1:2026-01-01T00:06:00Z");
    assert!(!works.whats().contains(&"schedule_misfired"));
    let Ok(Reply::Schedule { row, times, .. }) = works.ask(&Command::Show { name: "cron".into(), times: 2 })
    else {
        panic!()
    };
    assert_eq!((row.state.as_str(), row.fired), ("waiting", 2));
    assert_eq!(times, [time("2026-01-01T00:07:00Z"), time("2026-01-01T00:08:00Z")]);
    works.replayed();
}

#[test]
fn delays_and_intervals_do_not_feel_the_wall_clock() {
    let mut works = Clockwork::at("2026-01-01T00:00:00Z");
    works.put("every", publishes(When::Every(Period::from_secs(60))));
    works.put("after", publishes(When::After(Period::from_secs(90))));
    works.wall_ms += 300_000;
    works.tick();
    assert!(works.keys().is_empty());
    works.wall_ms -= 600_000;
    works.pass(60_000);
    assert_eq!(works.keys(), ["sch:every:1:#1"]);
    // Another boot of the machine, twenty seconds later by the wall clock.
    works.wall_ms += 20_000;
    works.mono_ms = 100;
    works.ask(&Command::Begin { boot: "two".into() }).unwrap();
    works.tick();
    assert_eq!(works.keys().len(), 1, "ten seconds are left");
    works.pass(10_000);
    assert_eq!(works.keys(), ["sch:every:1:#1", "sch:after:1:#1"]);
    works.replayed();
}

/// Follows the records of one schedule and checks that they name each occurrence once, in order.
fn follow(
    recorded: &[Event],
    name: &str,
    course: &occurrence::Course,
    first: Nominal,
) -> Result<u64, TestCaseError> {
    let after = |nominal: Nominal| course.after(nominal).unwrap().nominal;
    let (mut expected, mut count, mut keys) = (first, 0, BTreeSet::new());
    for event in recorded {
        match event {
            Event::Fired { name: of, nominal, origin, step, .. } if of == name => {
                let crate::delivery::step::Step::Queued { delivery, .. } = &**step else {
                    panic!("{step:?}")
                };
                prop_assert!(keys.insert(delivery.key.clone()), "{} fired twice", delivery.key);
                if let Origin::Time { next } = origin {
                    prop_assert_eq!(*nominal, expected);
                    expected = after(*nominal);
                    prop_assert_eq!(next.unwrap().nominal, expected);
                    count += 1;
                }
            }
            Event::Misfired { name: of, first, last, count: passed, more, next, .. } if of == name => {
                prop_assert!(!more);
                prop_assert_eq!(*first, expected);
                let mut at = expected;
                for _ in 1..*passed {
                    at = after(at);
                }
                prop_assert_eq!(at, *last);
                expected = after(at);
                prop_assert_eq!(next.unwrap().nominal, expected);
                count += passed;
            }
            Event::Held { name: of, nominal, .. } | Event::Skipped { name: of, nominal, .. }
                if of == name =>
            {
                prop_assert_eq!(*nominal, expected);
                expected = after(*nominal);
                count += 1;
            }
            _ => {}
        }
    }
    Ok(count)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    /// Whatever the wall clock does, and however often the scheduler dies: every occurrence is fired, skipped or recorded as late
    /// exactly once, in order, and none before its time.
    #[test]
    fn no_occurrence_is_lost_or_doubled(seed: u64, misfire in 0..3u8, overlap in 0..3u8, jitter in 0..20u64) {
        let mut chance = SeededEntropy::new(seed);
        let mut works = Clockwork::at("2026-03-29T00:40:00Z");
        let of = |when: When| Schedule {
            misfire: [Misfire::Skip, Misfire::RunOnce, Misfire::RunAll][usize::from(misfire)],
            jitter: Period::from_secs(jitter),
            ..submits(when, [Overlap::Allow, Overlap::Skip, Overlap::Queue][usize::from(overlap)])
        };
        let kinds = [
            ("a", cron("*/20 * * * * *", "UTC")),
            ("b", cron("30 2,3 * * *", "Europe/Berlin")),
            ("c", When::Every(Period::from_secs(25))),
        ];
        let mut firsts = Vec::new();
        for (name, when) in &kinds {
            works.put(name, of(when.clone()));
            let entry = &works.state.schedules[*name];
            let course = occurrence::Course::of(&entry.schedule.when, entry.base_ms).unwrap();
            firsts.push((*name, course, entry.next.unwrap().nominal));
        }
        for _ in 0..60 {
            let step = chance.below(300_001);
            match chance.below(8) {
                0 => works.wall_ms += step,
                1 => works.wall_ms -= step,
                2 => { works.pass(chance.below(400_000)); }
                3 => works.settle(),
                4 => {
                    works.state = works.replayed();
                    works.performed = Scheduler::outstanding(&works.state);
                }
                5 => {
                    let keys = works.state.running().map(|(_, key)| key.to_owned()).collect();
                    works.ask(&Command::Ended { keys }).unwrap();
                }
                _ => works.pass(chance.below(30_000)),
            }
            works.tick();
        }
        for event in &works.recorded {
            if let Event::Fired { nominal: Nominal::At(at), origin: Origin::Time { .. }, wall_ms, .. } = event {
                prop_assert!(wall_ms >= at);
            }
        }
        let mut all = 0;
        for (name, course, first) in &firsts {
            all += follow(&works.recorded, name, course, *first)?;
        }
        prop_assert!(all > 0);
        works.replayed();
    }

    #[test]
    fn no_pattern_panics_or_goes_back(pattern in "[0-9*/,LW#A-Z? -]{1,20}", second in 0u64..4_000_000_000) {
        if let Ok(cron) = Cron::parse(&pattern, Some("Europe/Berlin")) {
            let mut at = second * 1000;
            for _ in 0..5 {
                let Some(next) = cron.next_after(at) else { break };
                prop_assert!(next > at);
                at = next;
            }
        }
    }

    /// In every zone, over both changes of a year, occurrences only go forward and a daily one comes each day.
    #[test]
    fn a_daily_time_comes_once_a_day(hour in 0u8..24, minute in 0u8..60, zone in prop::sample::select(vec![
        "Europe/Berlin", "America/New_York", "America/Sao_Paulo", "Australia/Lord_Howe", "Africa/Cairo", "Asia/Tehran",
        "Pacific/Chatham", "Atlantic/Azores", "America/Havana", "UTC",
    ])) {
        let times = upcoming(&cron(&format!("{minute} {hour} * * *"), zone), time("2026-01-01T12:00:00Z"), 365);
        prop_assert_eq!(times.len(), 365);
        let zone = jiff::tz::TimeZone::get(zone).unwrap();
        let day = |at: &Timestamp| {
            let at = jiff::Timestamp::from_millisecond(i64::try_from(at.as_millis()).unwrap()).unwrap();
            at.to_zoned(zone.clone()).date()
        };
        for pair in times.windows(2) {
            prop_assert!(pair[0] < pair[1]);
            prop_assert_eq!(day(&pair[0]).tomorrow().unwrap(), day(&pair[1]), "{} {}", pair[0], pair[1]);
        }
    }
}
