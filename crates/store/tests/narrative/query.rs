//! Finding: against a model that looks through everything, and along causes.

use grace_store::narrative::{NarrativeDb, Order, Query, Told};
use grace_types::id::{CorrelationId, EventId};
use proptest::prelude::*;

use crate::{Event, ingest, millis, source};

const ACTORS: [&str; 3] = ["control_plane", "health_monitor", "alice"];
const ACTIONS: [&str; 4] = ["started", "stopped", "stopping", "hung"];
const PLACES: [&str; 3] = ["web", "db", ""];
const WORDS: [&str; 5] = ["killed by signal 9", "out of memory", "naïve café", "exit status 1", "asked"];

fn events() -> impl Strategy<Value = Vec<Event>> {
    let event = (0..60u64, 0..3usize, 0..4usize, 0..3usize, 0..5usize, 0..4u128);
    prop::collection::vec(event, 1..80).prop_map(|drawn| {
        let event = |(n, (at, who, action, place, why, correlation)): (
            usize,
            (u64, usize, usize, usize, usize, u128),
        )| Event {
            who: ACTORS[who],
            action: ACTIONS[action],
            place: PLACES[place],
            why: WORDS[why].to_owned(),
            correlation,
            ..Event::new(n as u128 + 1, 10_000 + at)
        };
        drawn.into_iter().enumerate().map(event).collect()
    })
}

fn queries() -> impl Strategy<Value = Query> {
    let filters = (
        prop::option::of(prop::sample::select([&ACTORS[..], &["nobody"]].concat())),
        prop::option::of(prop::sample::select(PLACES.to_vec())),
        prop::option::of(prop::sample::select(vec![
            "started",
            "stop",
            "stopping",
            "dev.grace.alice.hung.v1",
            "dev.grace",
            "x",
        ])),
        prop::option::of(prop::sample::select(vec![
            "signal",
            "SIGNAL kill*",
            "\"of memory\"",
            "\"memory of\"",
            "cafe naive",
            "exit 1",
        ])),
        prop::option::of(0..4u128),
    );
    (filters, prop::option::of(0..60u64), prop::option::of(0..60u64), any::<bool>(), 1..20usize).prop_map(
        |((actor, place, action, text, correlation), since, until, down, limit)| Query {
            source: None,
            actor: actor.map(str::to_owned),
            place: place.map(str::to_owned),
            action: action.map(str::to_owned),
            text: text.map(str::to_owned),
            correlation: correlation.map(CorrelationId::from_bits),
            since: since.map(|n| millis(10_000 + n)),
            until: until.map(|n| millis(10_000 + n)),
            order: if down { Order::NewestFirst } else { Order::OldestFirst },
            after: None,
            limit,
        },
    )
}

fn matches(event: &Event, query: &Query) -> bool {
    let kind = format!("dev.grace.{}.{}.v1", event.who, event.action);
    let action = |asked: &String| match asked.as_str() {
        // Named exactly, it is not taken for a beginning.
        "stopping" | "started" => event.action == asked,
        _ => event.action.starts_with(asked.as_str()) || kind.starts_with(asked.as_str()),
    };
    let text = |asked: &String| match asked.as_str() {
        "signal" | "SIGNAL kill*" => event.why.contains("signal"),
        "\"of memory\"" => event.why.contains("of memory"),
        "\"memory of\"" => false,
        "cafe naive" => event.why.contains("café"),
        _ => event.why.contains("exit") || event.why.contains("exit 1"),
    };
    let at = millis(event.at);
    query.actor.as_ref().is_none_or(|a| a == event.who)
        && query.place.as_ref().is_none_or(|p| p == event.place)
        && query.action.as_ref().is_none_or(action)
        && query.text.as_ref().is_none_or(text)
        && query.correlation.is_none_or(|c| c.as_bits() == event.correlation)
        && query.since.is_none_or(|s| at >= s)
        && query.until.is_none_or(|u| at <= u)
}

/// Page after page to the end.
fn all(db: &NarrativeDb, query: &Query) -> Vec<Told> {
    let mut query = query.clone();
    let mut found = Vec::new();
    loop {
        let page = db.find(&query).unwrap();
        assert!(page.told.len() <= query.limit);
        assert_eq!(
            page.next.is_some(),
            page.next == page.told.last().map(|t| t.position) && page.next.is_some()
        );
        found.extend(page.told);
        match page.next {
            Some(next) => query.after = Some(next),
            None => return found,
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn exactly_what_matches_is_found_in_order(events in events(), queries in prop::collection::vec(queries(), 12)) {
        let folder = tempfile::tempdir().unwrap();
        let mut db = NarrativeDb::open(folder.path().join("n.db")).unwrap();
        let records: Vec<Vec<u8>> = events.iter().map(Event::record).collect();
        // In several sources and batches, so that rows come out of order.
        for (n, part) in records.chunks(7).enumerate() {
            let source = source(["a", "b", "c"][n % 3]);
            let next = db.next(&source).unwrap();
            ingest(&mut db, &source, next, part).unwrap();
        }
        for query in queries {
            let found = all(&db, &query);
            let mut ids: Vec<u128> = found.iter().map(|t| t.narrative.id.as_bits()).collect();
            prop_assert!(found.is_sorted_by(|a, b| (a.position < b.position) == (query.order == Order::OldestFirst)));
            let later = |a: &Told, b: &Told| match query.order {
                Order::OldestFirst => a.narrative.hlc <= b.narrative.hlc,
                Order::NewestFirst => a.narrative.hlc >= b.narrative.hlc,
            };
            prop_assert!(found.is_sorted_by(later));
            ids.sort_unstable();
            let expected: Vec<u128> = events.iter().filter(|e| matches(e, &query)).map(|e| e.id).collect();
            prop_assert_eq!(ids, expected, "{:?}", query);
        }
    }

    #[test]
    fn no_search_is_too_strange(typed in "\\PC{0,60}|[\"*()^:+{}\\-\0 a]{0,20}") {
        let folder = tempfile::tempdir().unwrap();
        let mut db = NarrativeDb::open(folder.path().join("n.db")).unwrap();
        ingest(&mut db, &source("a"), 1, &[Event::new(1, 5).record()]).unwrap();
        let query = Query { text: Some(typed), limit: 5, ..Query::default() };
        prop_assert!(db.find(&query).is_ok(), "{:?}", query.text);
    }
}

#[test]
fn a_narrative_is_read_back_as_it_was_told() {
    let folder = tempfile::tempdir().unwrap();
    let mut db = NarrativeDb::open(folder.path().join("n.db")).unwrap();
    let record = Event { causation: Some(3), ..Event::new(9, 77) }.record();
    ingest(&mut db, &source("web"), 1, std::slice::from_ref(&record)).unwrap();
    let told = db.by_id(EventId::from_bits(9)).unwrap().unwrap();
    assert_eq!(told.narrative, grace_types::narrative::Narrative::read(&record).unwrap().unwrap());
    assert_eq!((told.source, told.sequence, told.log_index), (source("web"), 1, None));
    assert_eq!(db.by_id(EventId::from_bits(10)).unwrap(), None);
}

#[test]
fn causes_and_effects_are_followed_and_a_circle_ends() {
    let folder = tempfile::tempdir().unwrap();
    let mut db = NarrativeDb::open(folder.path().join("n.db")).unwrap();
    // 1 ─► 2 ─► 3, 2 ─► 4; 5 and 6 cause each other; the cause of 7 is unknown.
    let causes = [None, Some(1), Some(2), Some(2), Some(6), Some(5), Some(99)];
    let records: Vec<Vec<u8>> = (1..)
        .zip(causes)
        .map(|(n, causation)| {
            let place = if n == 4 { "db" } else { "web" };
            Event { causation, place, correlation: n / 5, ..Event::new(n, n as u64) }.record()
        })
        .collect();
    ingest(&mut db, &source("web"), 1, &records).unwrap();
    let get = |n: u128| db.by_id(EventId::from_bits(n)).unwrap().unwrap();
    let ids = |told: Vec<Told>| told.iter().map(|t| t.narrative.id.as_bits()).collect::<Vec<_>>();
    assert_eq!(ids(db.causes(&get(3)).unwrap()), [2, 1]);
    assert_eq!(ids(db.causes(&get(5)).unwrap()), [6]);
    assert_eq!(ids(db.causes(&get(7)).unwrap()), [] as [u128; 0]);
    assert_eq!(ids(db.effects(EventId::from_bits(2), 10).unwrap()), [3, 4]);
    assert_eq!(ids(db.effects(EventId::from_bits(2), 1).unwrap()), [3]);
    assert_eq!(ids(db.story(CorrelationId::from_bits(1), 10).unwrap()), [5, 6, 7]);
    let latest = |name: &str| db.latest_of(name, "nobody").unwrap().map(|t| t.narrative.id.as_bits());
    assert_eq!(
        (latest("db"), latest("web"), latest("control_plane"), latest("x")),
        (Some(4), Some(7), Some(7), None)
    );
    // What its supervisor decided about it comes before what anybody else says of it later.
    let noise: Vec<Vec<u8>> = (20..23).map(|n| Event::new(n, 100 + n as u64).record()).collect();
    ingest(&mut db, &source("health_monitor"), 1, &noise).unwrap();
    let latest = |teller: &str| db.latest_of("web", teller).unwrap().map(|t| t.narrative.id.as_bits());
    assert_eq!((latest("web"), latest("health_monitor"), latest("x")), (Some(7), Some(22), Some(22)));
    let query = Query { source: Some("health_monitor".to_owned()), limit: 9, ..Query::default() };
    assert_eq!(ids(db.find(&query).unwrap().told), [22, 21, 20]);
}

#[test]
fn an_action_may_mean_more_types_than_the_index_is_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let mut db = NarrativeDb::open(folder.path().join("n.db")).unwrap();
    let most = u128::try_from(grace_store::limits::NARRATIVE_TYPES).unwrap();
    let typed = |n: u128| {
        let record = String::from_utf8(Event::new(n, 1000 + n as u64).record()).unwrap();
        record.replace(".started.v1", &format!(".act{n:05}.v1")).into_bytes()
    };
    for (first, count) in [(1, most), (most + 1, 20)] {
        let records: Vec<Vec<u8>> = (first..first + count).map(typed).collect();
        ingest(&mut db, &source("web"), u64::try_from(first).unwrap(), &records).unwrap();
        let query = Query {
            actor: Some("control_plane".to_owned()),
            action: Some("act".to_owned()),
            text: Some("reason".to_owned()),
            limit: 5000,
            ..Query::default()
        };
        assert_eq!(db.find(&query).unwrap().told.len() as u128, first + count - 1);
    }
}

#[test]
fn an_effect_stands_after_its_cause_when_the_wall_clock_was_stepped_back() {
    let folder = tempfile::tempdir().unwrap();
    let mut db = NarrativeDb::open(folder.path().join("n.db")).unwrap();
    let record = |id: u128, wall: u64, counter: u32| {
        let record = String::from_utf8(Event::new(id, 600_000).record()).unwrap();
        let hlc = |counter| format!("{:012x}-{counter:08x}", 600_000);
        let time = |n| format!("\"time\":\"{}\"", millis(n));
        assert!(record.contains(&time(600_000)) && record.contains(&hlc(0)));
        record.replace(&time(600_000), &time(wall)).replace(&hlc(0), &hlc(counter)).into_bytes()
    };
    let records = [
        record(1, 600_000, 0),
        record(2, 300_000, 1),
        record(3, 300_001, 70_000),
        record(4, 300_002, 70_001),
    ];
    ingest(&mut db, &source("web"), 1, &records).unwrap();
    let query = Query { order: Order::OldestFirst, limit: 9, ..Query::default() };
    let ids = |query: &Query| {
        db.find(query).unwrap().told.iter().map(|t| t.narrative.id.as_bits()).collect::<Vec<_>>()
    };
    assert_eq!(ids(&query), [1, 2, 3, 4]);
    // Time, too, is asked of the hybrid clock where the wall clock lagged behind it.
    assert_eq!(ids(&Query { since: Some(millis(600_000)), ..query.clone() }), [1, 2, 3, 4]);
    assert_eq!(ids(&Query { until: Some(millis(599_000)), ..query }), [] as [u128; 0]);
}

#[test]
fn an_event_is_found_by_its_id_and_a_story_by_its_correlation_whenever_those_were_made() {
    let folder = tempfile::tempdir().unwrap();
    let mut db = NarrativeDb::open(folder.path().join("n.db")).unwrap();
    let made = |millis: u128, n: u128| (millis << 80) | n;
    let (story, other) = (made(5000, 7), made(5000, 8));
    // The clock of the last one was stepped forward between its id and its place.
    let events = [
        (made(5000, 1), 5000, story),
        (made(5000, 2), 5000, other),
        (made(6000, 3), 6000, story),
        (made(9000, 4), 7000, story),
    ];
    let records: Vec<Vec<u8>> = events
        .iter()
        .map(|(id, at, correlation)| Event { correlation: *correlation, ..Event::new(*id, *at) }.record())
        .collect();
    ingest(&mut db, &source("web"), 1, &records).unwrap();
    let ids = |told: &[Told]| told.iter().map(|t| t.narrative.id.as_bits()).collect::<Vec<_>>();
    for (id, ..) in events {
        assert_eq!(ids(db.by_id(EventId::from_bits(id)).unwrap().as_slice()), [id]);
    }
    for unknown in [made(5000, 9), made(9000, 1), made(1, 1), u128::MAX] {
        assert_eq!(db.by_id(EventId::from_bits(unknown)).unwrap(), None);
        assert_eq!(db.story(CorrelationId::from_bits(unknown), 9).unwrap(), []);
    }
    let [first, second, third, last] = events.map(|(id, ..)| id);
    assert_eq!(ids(&db.story(CorrelationId::from_bits(story), 9).unwrap()), [first, third, last]);
    assert_eq!(ids(&db.story(CorrelationId::from_bits(other), 9).unwrap()), [second]);
    let query = Query { correlation: Some(CorrelationId::from_bits(story)), limit: 2, ..Query::default() };
    let page = db.find(&query).unwrap();
    assert_eq!(ids(&page.told), [last, third]);
    let rest = db.find(&Query { after: page.next, ..query.clone() }).unwrap();
    assert_eq!(ids(&rest.told), [first]);
    let early = Query { until: Some(millis(5999)), ..query };
    assert_eq!(ids(&db.find(&early).unwrap().told), [first]);
}
