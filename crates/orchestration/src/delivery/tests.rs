//! A lane's order, its bounds, its breaker and its dead letters.

use grace_types::{chance::SeededEntropy, id::EventId, time::Timestamp};
use proptest::prelude::*;
use serde_json::json;

use super::{
    action::Work,
    breaker::{self, Breaker, Change, Permit},
    bucket::{Bucket, Rate},
    lane::{Delivery, Lane, Retry, Settings},
    step::{Intake, Lanes, Place, Report, Step},
};
use crate::period::Period;

fn delivery(n: u64) -> Delivery {
    let id = EventId::new(Timestamp::EPOCH, &mut SeededEntropy::new(n));
    let work = Work::Publish { kind: "a.b".into(), subject: None, data: json!({"n": n}) };
    Delivery { key: format!("k{n}"), id, work, cause: None, attempts: 0 }
}

#[test]
fn a_breaker_opens_tries_and_closes() {
    let settings = breaker::Settings { failures: 3, open_for: Period::from_secs(10), successes: 2 };
    let mut breaker = Breaker::default();
    let end = |breaker: &mut Breaker, failed: Option<&str>, at: u64| {
        let change = breaker.judge(&settings, failed, at);
        breaker.note(failed.is_some());
        if let Some(change) = &change {
            breaker.change(change);
        }
        change
    };
    assert_eq!(end(&mut breaker, Some("x"), 0), None);
    assert_eq!(end(&mut breaker, None, 0), None, "a success in between begins the count anew");
    assert_eq!(end(&mut breaker, Some("x"), 0), None);
    assert_eq!(end(&mut breaker, Some("x"), 0), None);
    let change = end(&mut breaker, Some("refused"), 5).unwrap();
    let Change::Opened { until_ms: 10_005, reason } = change else { panic!("{change:?}") };
    assert_eq!(reason, "3 failures in a row, the last one: refused");
    assert_eq!(breaker.permit(10_004), Permit::No { until_ms: Some(10_005) });
    assert_eq!(breaker.permit(10_005), Permit::Trial);
    assert_eq!(end(&mut breaker, None, 6), None, "what was under way when it opened changes nothing");
    breaker.change(&Change::HalfOpened);
    breaker.begin_trial();
    assert_eq!(breaker.permit(10_006), Permit::No { until_ms: None }, "one at a time");
    assert_eq!(end(&mut breaker, None, 10_007), None);
    assert_eq!(breaker.permit(10_008), Permit::Trial);
    breaker.begin_trial();
    assert!(matches!(end(&mut breaker, Some("y"), 10_009), Some(Change::Opened { until_ms: 20_009, .. })));
    breaker.change(&Change::HalfOpened);
    assert_eq!(end(&mut breaker, None, 20_010), None);
    assert_eq!(end(&mut breaker, None, 20_011), Some(Change::Closed));
    assert_eq!((breaker.permit(20_012), breaker.word()), (Permit::Yes, "closed"));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, ..ProptestConfig::default() })]

    /// In any span of time no more pass than the burst and what the rate gives in that span; and what waits for a token gets it.
    #[test]
    fn a_bucket_keeps_its_rate(count in 1u32..20, per in 1u64..5000, burst in 1u32..30, steps in prop::collection::vec((0u64..3000, 0u64..8), 1..60)) {
        let rate = Rate { count, per: Period::from_millis(per), burst: Some(burst) };
        let (mut bucket, mut now, mut taken) = (Bucket::default(), 0u64, Vec::new());
        for (wait, wanted) in steps {
            now += wait;
            let got = bucket.tokens(&rate, now).min(wanted);
            bucket.take(&rate, now, got);
            taken.push((now, got));
            if bucket.tokens(&rate, now) == 0 {
                let next = bucket.next_from(&rate);
                prop_assert!(next > now);
                prop_assert_eq!(bucket.tokens(&rate, next - 1), 0);
                prop_assert!(bucket.tokens(&rate, next) >= 1);
            }
        }
        for from in 0..taken.len() {
            let sum: u64 = taken[from..].iter().map(|(_, got)| got).sum();
            let span = taken[taken.len() - 1].0 - taken[from].0;
            let most = u64::from(burst) + span * u64::from(count) / per;
            prop_assert!(sum <= most, "{} in {} ms, at most {}", sum, span, most);
        }
    }
}

/// What a test does to a lane.
#[derive(Debug, Clone)]
enum Do {
    Take(u8),
    Wait(u64),
    End { which: u8, fails: bool, lasting: bool },
    Requeue,
}

fn doing() -> impl Strategy<Value = Do> {
    prop_oneof![
        (1u8..6).prop_map(Do::Take),
        (1u64..4000).prop_map(Do::Wait),
        (any::<u8>(), any::<bool>(), prop::bool::weighted(0.1)).prop_map(|(which, fails, lasting)| Do::End {
            which,
            fails,
            lasting
        }),
        Just(Do::Requeue),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    /// Everything taken in is waiting, under way, done or a dead letter, once; the bounds hold; what can begin does begin.
    #[test]
    fn nothing_is_lost_in_a_lane(what in prop::collection::vec(doing(), 1..120), seed: u64) {
        let settings = Settings {
            queue: 8,
            in_flight: 3,
            rate: Some(Rate { count: 5, per: Period::from_secs(1), burst: None }),
            breaker: breaker::Settings { failures: 4, open_for: Period::from_secs(2), successes: 1 },
            retry: Retry { attempts: 3, first: Period::from_millis(100), longest: Period::from_secs(1) },
        };
        let mut lanes = Lanes::default();
        lanes.configure("a", &settings);
        let (mut now, mut taken, mut done) = (0u64, 0u64, 0u64);
        for one in what {
            let steps = match one {
                Do::Take(count) => {
                    let mut intake = Intake::new(&lanes, now);
                    let mut steps = Vec::new();
                    for _ in 0..count {
                        let delivery = delivery(taken);
                        let owner = "a".to_owned();
                        steps.push(match intake.place("a", false, 0) {
                            Place::Flight => Step::Queued { owner, delivery, start: true },
                            Place::Queue => Step::Queued { owner, delivery, start: false },
                            Place::DeadLetters => {
                                Step::Dead { owner, delivery, reason: "full".into(), time: Timestamp::EPOCH }
                            }
                            Place::Nowhere => unreachable!("there is room for thousands"),
                        });
                        taken += 1;
                    }
                    steps
                }
                Do::Wait(ms) => { now += ms; Vec::new() }
                Do::End { which, fails, lasting } => {
                    let flying: Vec<String> = lanes.get("a").unwrap().flying.keys().cloned().collect();
                    if flying.is_empty() { continue; }
                    let key = flying[usize::from(which) % flying.len()].clone();
                    let report = Report { owner: "a".into(), key, failed: fails.then(|| "no".to_owned()), lasting };
                    done += u64::from(!fails);
                    lanes.settle(&[report.clone(), report], now, Timestamp::EPOCH, seed)
                }
                Do::Requeue => {
                    let keys = lanes.get("a").unwrap().dead.iter().take(2).map(|l| l.delivery.key.clone()).collect();
                    vec![Step::Requeued { owner: "a".into(), keys }]
                }
            };
            for step in &steps { lanes.apply(step, now); }
            for step in lanes.start(now, 100) { lanes.apply(&step, now); }
            let lane = lanes.get("a").unwrap();
            let kept = lane.depth() + lane.flying.len() + lane.dead.len();
            prop_assert_eq!(kept as u64 + lane.done, taken);
            prop_assert_eq!(lane.done, done);
            prop_assert!(lane.flying.len() <= 3);
            prop_assert!(lane.ready_ms().is_none_or(|ready| ready > now), "{:?} at {}", lane.ready_ms(), now);
            let text = serde_json::to_string(&lanes).unwrap();
            let again: Lanes = serde_json::from_str(&text).unwrap();
            prop_assert_eq!(serde_json::to_string(&again).unwrap(), text);
            prop_assert_eq!(again.next_ms(), lanes.next_ms());
        }
        // Left alone, everything comes to an end.
        for _ in 0..2000 {
            let lane: &Lane = lanes.get("a").unwrap();
            if lane.depth() + lane.flying.len() == 0 { break; }
            let reports: Vec<Report> = lane.flying.keys()
                .map(|key| Report { owner: "a".into(), key: key.clone(), failed: None, lasting: false }).collect();
            for step in lanes.settle(&reports, now, Timestamp::EPOCH, seed) { lanes.apply(&step, now); }
            now = now.max(lanes.next_ms().unwrap_or(now));
            for step in lanes.start(now, 100) { lanes.apply(&step, now); }
        }
        let lane = lanes.get("a").unwrap();
        prop_assert_eq!((lane.depth(), lane.flying.len()), (0, 0));
    }
}
