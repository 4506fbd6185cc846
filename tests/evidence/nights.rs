//! The scheduler as a process of its own whose wall clock goes through the nights in which Berlin changes its clocks, is set forward and
//! back by 300 s in between, and which is killed on the way: each occurrence fires once, and none is lost.
//!
//! This process is the front door: it acknowledges what the scheduler publishes and keeps it. Between two occurrences the clock is set to
//! just before the next one.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex},
    time::Duration,
};

use grace_bus::{Bus, Message};
use grace_orchestration::scheduler;
use grace_types::{event::Event, manifest::Manifest, time::Timestamp};
use serde_json::{Value, json};

use crate::{
    bench::Bench,
    clock::{SetClock, Watch},
    instance::{holds, kernel},
};

const NAME: &str = scheduler::shell::NAME;
const STEP: Duration = Duration::from_secs(300);

/// What was published, by its schedule's key: the names of the events, and what the scheduler's clock said.
type Heard = Arc<Mutex<BTreeMap<String, BTreeSet<(String, Timestamp)>>>>;

async fn answer(bus: Bus, heard: Heard) {
    let mut events = bus.subscribe("events.>", None).await.unwrap();
    while let Some(message) = events.next().await {
        let event = Event::from_headers(|name| message.headers.get(name), &message.payload).unwrap();
        let key = event.data["key"].as_str().unwrap().to_owned();
        heard.lock().unwrap().entry(key).or_default().insert((event.id.to_string(), event.time));
        if let Some(reply) = message.reply {
            bus.publish(Message::new(reply, r#"{"done": {"fired": 0}}"#)).await.unwrap();
        }
    }
}

fn schedule(when: &Value) -> Value {
    json!({"when": when, "action": {"publish": {"type": "com.test.fired", "data": {"key": "${schedule.key}"}}}})
}

struct Night {
    bench: Bench,
    clock: SetClock,
    heard: Heard,
    began: Watch,
    _folder: tempfile::TempDir,
}

impl Night {
    /// A scheduler that begins at this time.
    fn at(time: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let clock = SetClock::new(folder.path());
        clock.set(time.parse().unwrap());
        let others = [(NAME, scheduler::shell::permissions())];
        let mut bench = Bench::with(&[], &others, Some(clock.same()));
        let heard = Heard::default();
        bench.runtime.spawn(answer(bench.tester.clone(), Arc::clone(&heard)));
        let berlin =
            |pattern: &str| schedule(&json!({"cron": {"pattern": pattern, "zone": "Europe/Berlin"}}));
        let mut tick = schedule(&json!({"every": "1s"}));
        // However long a machine that is busy takes to start the scheduler again.
        tick["grace"] = "10m".into();
        let schedules =
            [("nightly", berlin("30 2 * * *")), ("quarter", berlin("*/15 * * * *")), ("tick", tick)];
        let mut manifest = Manifest::default();
        manifest.schedules.extend(schedules.map(|(name, written)| (name.to_owned(), written)));
        std::fs::write(bench.place.manifest(), serde_json::to_vec(&manifest).unwrap()).unwrap();
        let began = Watch::start();
        bench.start(NAME, kernel(NAME));
        let night = Self { bench, clock, heard, began, _folder: folder };
        night.ticks_at(time.parse().unwrap(), &BTreeSet::new());
        night
    }

    /// The keys of a schedule that fired, without its name and generation.
    fn fired(&self, schedule: &str) -> Vec<String> {
        let heard = self.heard.lock().unwrap();
        let prefix = format!("sch:{schedule}:1:");
        heard.keys().filter_map(|key| key.strip_prefix(&prefix)).map(str::to_owned).collect()
    }

    fn keys(&self) -> BTreeSet<String> {
        self.heard.lock().unwrap().keys().cloned().collect()
    }

    /// Waits until the scheduler has read its clock at this time: what is due each second, whatever the wall clock says, fired anew by it.
    fn ticks_at(&self, time: Timestamp, before: &BTreeSet<String>) {
        holds(&format!("it ticks at {time}"), || {
            let heard = self.heard.lock().unwrap();
            let new = heard.iter().filter(|(key, _)| key.starts_with("sch:tick:") && !before.contains(*key));
            new.flat_map(|(_, events)| events).any(|(_, at)| *at >= time && at.since(time) < STEP / 2)
        });
    }

    fn set(&self, time: Timestamp) {
        let before = self.keys();
        self.clock.set(time);
        self.ticks_at(time, &before);
    }

    fn fires(&self, schedules: &[&str], time: &str) {
        for schedule in schedules {
            holds(&format!("{schedule} fires at {time}"), || self.fired(schedule).contains(&time.to_owned()));
        }
    }

    /// Sets the clock to a second before an occurrence, lets it fire, and sets the clock forward and back around it.
    fn pass(&mut self, schedules: &[&str], time: &str, kill: bool) {
        let due: Timestamp = time.parse().unwrap();
        self.clock.set(due.minus(Duration::from_secs(1)));
        if kill {
            self.bench.kill(self.scheduler());
        }
        self.fires(schedules, time);
        self.set(due.minus(STEP));
        if kill {
            self.bench.kill(self.scheduler());
        }
        self.set(due.plus(STEP));
        self.set(due.minus(Duration::from_secs(2)));
        self.set(due.plus(Duration::from_secs(10)));
    }

    /// Sets the clock from before an occurrence to after it by a step: it is late, and fires all the same; when its time comes once more, it
    /// does not.
    fn step_over(&self, schedule: &str, time: &str) {
        let due: Timestamp = time.parse().unwrap();
        let before = due.minus(STEP / 3);
        self.set(before);
        assert!(!self.fired(schedule).contains(&time.to_owned()), "it is not due yet");
        self.set(before.plus(STEP));
        self.fires(&[schedule], time);
        self.set(before);
        self.set(due.minus(Duration::from_secs(2)));
        self.set(due.plus(Duration::from_secs(10)));
    }

    fn scheduler(&self) -> usize {
        self.bench.programs.iter().position(|program| program.name == NAME).unwrap()
    }

    /// What fired is this, each once; and what fires each second was neither lost nor doubled.
    fn end(self, nightly: &[&str], quarters: &[&str]) {
        assert_eq!(self.fired("nightly"), nightly);
        assert_eq!(self.fired("quarter"), quarters);
        let ticks = self.fired("tick");
        let numbers: BTreeSet<u64> =
            ticks.iter().map(|key| key.strip_prefix('#').unwrap().parse().unwrap()).collect();
        assert!(numbers.iter().copied().eq(1..=ticks.len() as u64), "{numbers:?}");
        let passed = self.began.passed();
        assert!(numbers.len() as u64 <= passed.as_secs() + 1, "{} ticks in {passed:?}", numbers.len());
        for (key, events) in &*self.heard.lock().unwrap() {
            let names: BTreeSet<&String> = events.iter().map(|(id, _)| id).collect();
            assert_eq!(names.len(), 1, "{key}: what is sent again is the same event, {events:?}");
        }
    }
}

#[test]
fn in_the_night_that_skips_an_hour_what_lies_in_the_gap_fires_once_after_it() {
    // 01:44:50 in Berlin.
    let mut night = Night::at("2027-03-28T00:44:50Z");
    night.pass(&["quarter"], "2027-03-28T00:45:00Z", false);
    // 02:00 is 03:00, and 02:30 is not at all.
    night.pass(&["quarter", "nightly"], "2027-03-28T01:00:00Z", true);
    night.pass(&["quarter"], "2027-03-28T01:15:00Z", false);
    night.step_over("quarter", "2027-03-28T01:30:00Z");
    let quarters = ["00:45", "01:00", "01:15", "01:30"].map(|time| format!("2027-03-28T{time}:00Z"));
    night.end(&["2027-03-28T01:00:00Z"], &quarters.each_ref().map(String::as_str));
}

#[test]
fn in_the_night_that_repeats_an_hour_a_fixed_time_fires_once_and_each_quarter_twice() {
    // 02:14:50 in Berlin, for the first time.
    let mut night = Night::at("2027-10-31T00:14:50Z");
    night.pass(&["quarter"], "2027-10-31T00:15:00Z", false);
    night.pass(&["quarter", "nightly"], "2027-10-31T00:30:00Z", true);
    night.pass(&["quarter"], "2027-10-31T00:45:00Z", false);
    // 02:00 again.
    night.pass(&["quarter"], "2027-10-31T01:00:00Z", true);
    night.pass(&["quarter"], "2027-10-31T01:15:00Z", false);
    night.pass(&["quarter"], "2027-10-31T01:30:00Z", false);
    let quarters = ["00:15", "00:30", "00:45", "01:00", "01:15", "01:30"];
    let quarters = quarters.map(|time| format!("2027-10-31T{time}:00Z"));
    night.end(&["2027-10-31T00:30:00Z"], &quarters.each_ref().map(String::as_str));
}
