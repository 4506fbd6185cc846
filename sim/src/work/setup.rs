//! What the layer is told at its start: intents, subscriptions, policies and schedules, all with small bounds, so that a run
//! of a minute reaches them. And what must come of it, by hand: the checker does not ask the deciders.

use std::{collections::BTreeMap, sync::LazyLock};

use grace_orchestration::{
    htm::event::Settings, intent::IntentType, policies::Policy, scheduler::Schedule, triggers::Subscription,
};
use grace_types::time::Timestamp;
use serde_json::{Value, json};

use super::Mistake;

/// The wall clock a hundred seconds before the first step: in an afternoon, and six seconds before the clocks of Berlin go forward and back,
/// both at 01:00 UTC.
const STARTS: [Timestamp; 3] = [
    Timestamp::from_nanos(1_764_000_000_000_000_000), // 2025-11-24T16:00:00Z
    Timestamp::from_nanos(1_774_745_894_000_000_000), // 2026-03-29T00:58:14Z
    Timestamp::from_nanos(1_792_889_894_000_000_000), // 2026-10-25T00:58:14Z
];

/// When the world of a seed begins.
pub(super) const fn start(seed: u64) -> Timestamp {
    STARTS[(seed % STARTS.len() as u64) as usize]
}

/// When it is 02:59:57 in Berlin for the first time that day, or would be if there were such a time: Unix seconds, UTC.
const NIGHT: [u64; 10] = [
    1_764_035_997, // 2025-11-25T01:59:57Z
    1_764_122_397, // 2025-11-26T01:59:57Z
    1_774_663_197, // 2026-03-28T01:59:57Z
    1_774_746_000, // 2026-03-29T01:00:00Z
    1_774_832_397, // 2026-03-30T00:59:57Z
    1_774_918_797, // 2026-03-31T00:59:57Z
    1_792_803_597, // 2026-10-24T00:59:57Z
    1_792_889_997, // 2026-10-25T00:59:57Z
    1_792_979_997, // 2026-10-26T01:59:57Z
    1_793_066_397, // 2026-10-27T01:59:57Z
];

/// The same for 02:00:00.
const TWO: [u64; 10] = [
    1_764_032_400, // 2025-11-25T01:00:00Z
    1_764_118_800, // 2025-11-26T01:00:00Z
    1_774_659_600, // 2026-03-28T01:00:00Z
    1_774_746_000, // 2026-03-29T01:00:00Z
    1_774_828_800, // 2026-03-30T00:00:00Z
    1_774_915_200, // 2026-03-31T00:00:00Z
    1_792_800_000, // 2026-10-24T00:00:00Z
    1_792_886_400, // 2026-10-25T00:00:00Z
    1_792_976_400, // 2026-10-26T01:00:00Z
    1_793_062_800, // 2026-10-27T01:00:00Z
];

/// Tasks that may be open, and waiting ones at which low and then normal priority are refused.
pub(super) const TASKS: u64 = 60;

/// How many policies stand in each ring, by the first word of their events' types after `ring.`, and how often each may come again.
pub(super) const RINGS: [(&str, usize, u32); 4] =
    [("one", 1, 0), ("two", 2, 0), ("ten", 10, 0), ("again", 1, 2)];

/// The type of the event that begins a ring.
pub(super) fn ring_start(ring: &str) -> String {
    format!("ring.{ring}.0")
}

pub(super) struct Setup {
    pub(super) intents: BTreeMap<String, IntentType>,
    pub(super) subscriptions: BTreeMap<String, Subscription>,
    pub(super) policies: BTreeMap<String, Policy>,
    pub(super) schedules: BTreeMap<String, Schedule>,
}

/// Read once: it is the same for every seed.
pub(super) static SETUP: LazyLock<Setup> = LazyLock::new(|| Setup {
    intents: read(intents()),
    subscriptions: read(subscriptions()),
    policies: read(policies()),
    schedules: schedules_from(STARTS[0]),
});

/// The schedules of a world that begins then.
pub(super) fn schedules_from(start: Timestamp) -> BTreeMap<String, Schedule> {
    read(schedules(start))
}

fn read<T: serde::de::DeserializeOwned>(value: Value) -> BTreeMap<String, T> {
    serde_json::from_value(value).unwrap_or_else(|e| unreachable!("the setup is fixed: {e}"))
}

pub(super) fn settings(mistake: Option<Mistake>) -> Settings {
    let times = if mistake == Some(Mistake::ForgottenBounds) { 1000 } else { 1 };
    Settings {
        backlog_warning: 8 * times,
        backlog_critical: 12 * times,
        backlog_normal: 30 * times,
        tasks: TASKS * times,
        worker_silence_ms: 4500,
        lease_grace_ms: 300,
    }
}

fn intents() -> Value {
    let retry = |attempts: u32, backoff: &str| json!({"attempts": attempts, "backoff": backoff});
    let task = |kind: &str, timeout: &str, retry: Value| json!({"task": {"kind": kind, "timeout": timeout, "retry": retry}});
    let undo = json!({"kind": "touch", "retry": retry(3, "100ms")});
    let book = json!({"task": {"name": "book", "kind": "touch", "timeout": "1s", "retry": retry(2, "300ms"), "compensation": undo}});
    let both = json!({"parallel": [
        {"task": {"name": "pack", "kind": "touch", "timeout": "1s"}},
        {"task": {"name": "bill", "kind": "touch", "timeout": "1s", "priority": "high"}},
    ]});
    json!({
        "quick": {"plan": task("touch", "1s", retry(3, "200ms"))},
        "order": {"deadline": "5s", "plan": {"sequence": [book, both]}},
        "slow": {"concurrency": {"most": 2}, "rate": {"count": 4, "per": "1s"}, "priority": "low",
            "plan": task("touch", "1s", retry(2, "100ms"))},
        "announce": {"plan": task("announce", "2s", retry(3, "200ms"))},
    })
}

/// Types of intents that an operator submits.
pub(super) const ASKED_FOR: [&str; 3] = ["quick", "order", "slow"];

fn delivery(queue: u32, in_flight: u32) -> Value {
    json!({
        "queue": queue, "in_flight": in_flight,
        "retry": {"attempts": 5, "first": "200ms", "longest": "2s"},
        "breaker": {"failures": 4, "open_for": "2s"},
    })
}

fn subscriptions() -> Value {
    json!({
        "orders": {
            "types": ["shop.order.*"],
            "action": {"submit": {"intent": "order", "payload": {"about": "order:${event.id}"}}},
            "delivery": delivery(6, 3),
        },
        "leaks": {
            "types": ["plant.leak"], "filter": "data.n % 2 == 0",
            "action": {"publish": {"type": "plant.alarm", "data": {"n": "${data.n}"}}},
            "delivery": {"queue": 20, "in_flight": 2, "rate": {"count": 4, "per": "1s"},
                "retry": {"attempts": 8, "first": "100ms", "longest": "1s"}},
        },
        "seldom": {
            "types": ["shop.order.paid", "plant.*"], "throttle": {"once_within": "3s"},
            "action": {"submit": {"intent": "slow", "payload": {"about": "seldom:${event.id}"}, "priority": "low"}},
            "delivery": delivery(4, 1),
        },
    })
}

fn policies() -> Value {
    let mut all = json!({
        "restock": {
            "match": ["shop.order.paid"], "window": {"within": "10s", "by": "data.shop"}, "when": "count >= 2", "priority": 5,
            "then": [{"annotate": "${count} orders"}, {"submit": {"intent": "quick", "payload": {"about": "restock:${event.id}"}}}],
            "delivery": delivery(6, 2),
        },
        "alarm": {
            "match": ["plant.alarm"],
            "then": [{"submit": {"intent": "quick", "payload": {"about": "alarm:${event.id}"}, "priority": "high"}},
                {"emit": {"type": "plant.told", "data": {}}}],
            "delivery": delivery(6, 2),
        },
        "journey": {
            "match": ["trip.begun"],
            "then": [{"submit": {"intent": "announce", "payload": {"about": "journey:${event.id}"}}}],
            "delivery": delivery(6, 2),
        },
    });
    for (ring, count, repeat) in RINGS {
        for at in 0..count {
            let next = format!("ring.{ring}.{}", (at + 1) % count);
            all[format!("{ring}-{at}")] = json!({
                "match": [format!("ring.{ring}.{at}")], "repeat": repeat,
                "then": [{"emit": {"type": next, "data": {}}}],
                "delivery": delivery(6, 2),
            });
        }
    }
    all
}

/// When the schedules of one time are due, seconds after the start.
const ONCE_S: u64 = 40;

fn schedules(start: Timestamp) -> Value {
    let about = json!({"about": "${schedule.key}"});
    let submit = |intent: &str| json!({"submit": {"intent": intent, "payload": about.clone()}});
    let once = start.plus(std::time::Duration::from_secs(ONCE_S));
    json!({
        "all": {"when": {"cron": {"pattern": "*/30 * * * * *"}}, "misfire": "run_all", "grace": "4s", "action": submit("quick"),
            "delivery": delivery(8, 2)},
        "last": {"when": {"cron": {"pattern": "*/12 * * * * *"}}, "misfire": "run_once", "overlap": "queue", "grace": "2s",
            "action": submit("order"), "delivery": delivery(4, 2)},
        "none": {"when": {"cron": {"pattern": "*/20 * * * * *"}}, "misfire": "skip", "grace": "1s", "jitter": "800ms",
            "action": {"publish": {"type": "clock.struck", "data": about}}, "delivery": delivery(4, 2)},
        "beat": {"when": {"every": "5s"}, "overlap": "skip", "misfire": "run_all", "grace": "3s", "jitter": "500ms",
            "action": submit("quick"), "delivery": delivery(4, 2)},
        "pulse": {"when": {"every": "7s"}, "misfire": "skip", "grace": "1s",
            "action": {"publish": {"type": "clock.pulse", "data": about}}, "delivery": delivery(4, 2)},
        "night": {"when": {"cron": {"pattern": "57 59 2 * * *", "zone": "Europe/Berlin"}}, "misfire": "run_all", "grace": "2s",
            "action": submit("quick")},
        "two": {"when": {"cron": {"pattern": "0 0 2 * * *", "zone": "Europe/Berlin"}}, "misfire": "run_all", "grace": "2s",
            "action": submit("quick")},
        "once": {"when": {"once": once}, "misfire": "run_once", "action": submit("quick")},
        "missed": {"when": {"once": once}, "misfire": "skip", "grace": "2s", "action": submit("quick")},
        "after": {"when": {"after": "15s"}, "grace": "1s", "misfire": "run_once", "action": submit("quick")},
    })
}

/// The schedule that the operator puts and removes.
pub(super) const MOVED: &str = "moved";

/// One of the forms in which he puts it.
pub(super) fn moved(form: usize) -> Schedule {
    let when = [json!({"every": "2s"}), json!({"after": "1s"}), json!({"every": "3s"})];
    let action = json!({"submit": {"intent": "quick", "payload": {"about": "${schedule.key}"}}});
    let schedule = json!({"when": when[form % when.len()], "action": action, "delivery": delivery(4, 2)});
    serde_json::from_value(schedule).unwrap_or_else(|e| unreachable!("the setup is fixed: {e}"))
}

/// Subscriptions that take every event of this type with this `n`, whatever came before.
pub(super) fn must_trigger(kind: &str, n: u64) -> &'static [&'static str] {
    match kind {
        "shop.order.paid" | "shop.order.sent" => &["orders"],
        "plant.leak" if n.is_multiple_of(2) => &["leaks"],
        _ => &[],
    }
}

/// Policies that act on every event of this type.
pub(super) fn must_react(kind: &str) -> &'static [&'static str] {
    if kind == "plant.alarm" { &["alarm"] } else { &[] }
}

/// How long after one another a schedule's occurrences come.
pub(super) enum Beat {
    /// At whole multiples of so many seconds within each minute, by the wall clock.
    Wall(u64),
    /// At these, Unix seconds: once a day by the clocks of a place.
    Daily(&'static [u64]),
    /// So many milliseconds after one another, by the steady clock.
    Steady(u64),
    /// Once.
    Once,
}

/// By hand, not by the scheduler's own reckoning.
pub(super) fn beat_of(schedule: &Schedule) -> Beat {
    use grace_orchestration::scheduler::When;
    match &schedule.when {
        When::Cron(times) if times.pattern.starts_with("57 59 2") => Beat::Daily(&NIGHT),
        When::Cron(times) if times.pattern.starts_with("0 0 2") => Beat::Daily(&TWO),
        When::Cron(times) => {
            let step = times.pattern.strip_prefix("*/").and_then(|rest| rest.split(' ').next());
            Beat::Wall(step.and_then(|step| step.parse().ok()).unwrap_or(60))
        }
        When::Every(every) => Beat::Steady(every.millis()),
        When::Once(_) | When::After(_) => Beat::Once,
    }
}
