//! Events through the front door: subscriptions and policies.

use std::{
    fmt::Write as _,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use grace_benches::{
    instance::{Instance, connect, runtime},
    usage::Usage,
};
use grace_bus::{Bus, Message};
use grace_orchestration::triggers::door::read_answer;
use grace_types::{
    event::Event,
    id::EventId,
    time::{Clock as _, Hlc, SystemClock},
};
use serde_json::json;

use super::Figure;

/// Events on their way at a time.
const UNDER_WAY: usize = 512;
/// A shard that no filter is for.
const NOBODYS: usize = 10;
const PATIENCE: Duration = Duration::from_secs(30);

/// 1,000 subscriptions.
pub(super) fn subscriptions(count: usize) -> Vec<Figure> {
    let mut manifest = String::from("bus: {port: 0}\nprocesses: {}\nworkers: 0\ntriggers:\n");
    for n in 0..1000 {
        let filter =
            format!("data.shard == {} && data.total >= 0 && event.source.startsWith('/shop')", n / 100);
        let action = "{publish: {type: com.bench.out, data: {order: '${data.order}'}}}";
        let types = format!("com.shop.order{}.paid", n % 100);
        let _ = writeln!(manifest, "  s{n}: {{types: [{types}], filter: \"{filter}\", action: {action}}}");
    }
    let instance = Instance::up(&manifest);
    let target = Some((20_000.0, true));
    let figure = |what, one_in: usize| {
        let kind = |n: usize| format!("com.shop.order{}.paid", n * 7 % 100);
        let shard =
            move |n: usize| if one_in > 0 && n.is_multiple_of(one_in) { n / one_in % 10 } else { NOBODYS };
        let (rate, _) = run(&instance, count, what, (&kind, &shard));
        Figure { what, unit: "events/s", value: rate, target }
    };
    vec![
        figure("1,000 subscriptions, none fires", 0),
        figure("1,000 subscriptions, one event in ten fires one", 10),
    ]
}

/// 100 policies.
pub(super) fn policies(count: usize) -> Vec<Figure> {
    let each = |what: &'static str, types: usize| {
        let mut manifest = String::from("bus: {port: 0}\nprocesses: {}\nworkers: 0\npolicies:\n");
        for n in 0..100 {
            let when = format!("data.shard == {} && data.total >= 0", n / types);
            let (kind, then) = (n % types, "[{annotate: '${data.order}'}]");
            let _ = writeln!(
                manifest,
                "  p{n}: {{match: [com.shop.order{kind}.paid], when: \"{when}\", then: {then}}}"
            );
        }
        let instance = Instance::up(&manifest);
        let kind = move |n: usize| format!("com.shop.order{}.paid", n % types);
        // One event in ten fires one of them.
        let shard = move |n: usize| if n.is_multiple_of(10) { n / 10 % (100 / types) } else { 100 };
        let (_, usage) = run(&instance, count, what, (&kind, &shard));
        Figure { what, unit: "µs an event", value: usage, target: Some((20.0, false)) }
    };
    vec![each("100 policies on 20 types, five conditions an event", 20), each("100 policies on one type", 1)]
}

/// What an event is, by its number: its type, and the shard in its data.
type Kinds<'k> = (&'k dyn Fn(usize) -> String, &'k dyn Fn(usize) -> usize);

/// Sends events and waits for each to be acknowledged: events a second, and what the policy engine used for one, microseconds.
fn run(instance: &Instance, count: usize, what: &str, (kind, shard): Kinds<'_>) -> (f64, f64) {
    let salt = SystemClock.now().wall.as_nanos();
    let messages: Vec<Message> =
        (0..count).map(|n| message(u128::from(salt) << 32 | n as u128, n, kind(n), shard(n))).collect();
    let before = Usage::so_far(instance);
    let begun = Instant::now();
    runtime().block_on(send(instance, Arc::new(messages)));
    let rate = count as f64 / begun.elapsed().as_secs_f64();
    let after = Usage::so_far(instance);
    eprintln!("  {what}: {rate:.0} events/s, {}", after.told(&before, count));
    (rate, after.of("event_policy", &before) * 1e6 / count as f64)
}

fn message(id: u128, n: usize, kind: String, shard: usize) -> Message {
    let event = Event {
        id: EventId::from_bits(id),
        source: "/shop/checkout".into(),
        kind,
        subject: Some("order".into()),
        time: SystemClock.now().wall,
        correlationid: None,
        causationid: None,
        traceparent: None,
        hops: 0,
        hlc: Hlc::default(),
        data: json!({"order": n, "total": n % 500, "shard": shard, "currency": "EUR", "paid": true,
            "customer": {"id": n * 7, "country": "DE", "since": "2019-04-01"},
            "items": [{"sku": "a-1", "n": 2}, {"sku": "b-9", "n": 1}]}),
    };
    let body = serde_json::to_vec(&event.data).unwrap();
    let headers = event.to_headers().into_iter().collect();
    Message::new(format!("events.{}", event.kind), body).with_headers(headers)
}

async fn send(instance: &Instance, messages: Arc<Vec<Message>>) {
    let bus = connect(&instance.place(), "sender").await;
    let next = Arc::new(AtomicUsize::new(0));
    let senders = (0..UNDER_WAY).map(|_| {
        let (bus, messages, next) = (bus.clone(), Arc::clone(&messages), Arc::clone(&next));
        tokio::spawn(async move {
            while let Some(message) = messages.get(next.fetch_add(1, Ordering::Relaxed)) {
                acknowledged(&bus, message).await;
            }
        })
    });
    for sender in senders.collect::<Vec<_>>() {
        sender.await.expect("it sends its events");
    }
}

/// Sends one until it is taken.
async fn acknowledged(bus: &Bus, message: &Message) {
    let begun = Instant::now();
    loop {
        let answer = bus.request(message.clone(), PATIENCE).await.expect("the front door answers");
        match read_answer(&answer.payload) {
            Ok(()) => return,
            Err(not) if not.lasting => panic!("{}", not.message),
            Err(not) => assert!(begun.elapsed() < PATIENCE, "{}", not.message),
        }
    }
}
