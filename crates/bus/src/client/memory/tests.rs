//! Tests of [`super`] that only the in-memory back can run: faults, stepping, replay.

use std::fmt::Write as _;

use grace_types::{
    manifest::{Permissions, SubjectRules},
    time::{ManualClock, Timestamp},
};

use super::*;
use crate::auth::{AllowResponses, Credential, User};

fn net(seed: u64) -> (MemoryNet, ManualClock) {
    let everything = SubjectRules { allow: vec![">".into()], deny: vec![] };
    let user = |name: &str| User {
        name: name.into(),
        credential: Credential::of_password(name),
        permissions: Permissions { publish: everything.clone(), subscribe: everything.clone() },
        allow_responses: Some(AllowResponses::DEFAULT),
    };
    let clock = ManualClock::starting_at(Timestamp::EPOCH);
    let table = AuthTable { users: vec![user("a"), user("b")] };
    (MemoryNet::new(&table, seed, Arc::new(clock.clone())).unwrap(), clock)
}

/// A run with every fault, written down.
fn run(seed: u64) -> String {
    let (net, clock) = net(seed);
    net.step_by_step();
    net.set_faults(Faults {
        drop: 0.1,
        duplicate: 0.1,
        reorder: 0.2,
        delay_min: Duration::from_millis(1),
        delay_max: Duration::from_millis(20),
    });
    let (a, b) = (net.client("a").unwrap(), net.client("b").unwrap());
    let mut plain = b.subscribe_now("x.*", None).unwrap();
    let _queue = [b.subscribe_now("x.>", Some("q")).unwrap(), a.subscribe_now("x.>", Some("q")).unwrap()];
    let mut log = String::new();
    for n in 0..200 {
        a.publish_now(&Message::new(format!("x.{n}"), "")).unwrap();
        clock.advance(Duration::from_millis(1));
        while let Some(Delivered { user, message }) = net.deliver_next() {
            writeln!(log, "{user} {}", message.subject).unwrap();
        }
    }
    clock.advance(Duration::from_secs(1));
    while net.deliver_next().is_some() {}
    writeln!(log, "{:?} {}", net.counts(), net.in_flight()).unwrap();
    while let Some(message) = plain.try_next() {
        writeln!(log, "{}", message.subject).unwrap();
    }
    log
}

#[test]
fn the_same_seed_gives_the_same_bytes() {
    for seed in 0..20 {
        assert_eq!(run(seed), run(seed));
    }
    assert_ne!(run(1), run(2));
}

#[test]
fn each_fault_bites() {
    let log = run(3);
    let counts = log.lines().find(|l| l.starts_with("MemoryCounts")).unwrap();
    for part in ["dropped: 0,", "duplicated: 0,", "reordered: 0,"] {
        assert!(!counts.contains(part), "{counts}");
    }
    assert!(counts.contains("published: 200,") && counts.ends_with(" 0"), "{counts}");
}

#[test]
fn stepping_holds_everything_back() {
    let (net, clock) = net(1);
    net.step_by_step();
    let (a, b) = (net.client("a").unwrap(), net.client("b").unwrap());
    let mut listener = b.subscribe_now("x", None).unwrap();
    net.set_faults(Faults {
        delay_min: Duration::from_secs(1),
        delay_max: Duration::from_secs(1),
        ..Faults::default()
    });
    a.publish_now(&Message::new("x", "1")).unwrap();
    assert!(net.deliver_next().is_none() && listener.try_next().is_none());
    assert_eq!(net.next_due(), Some(Monotonic::ZERO.plus(Duration::from_secs(1))));
    clock.advance(Duration::from_secs(1));
    assert_eq!(net.deliver_next().unwrap().user, "b");
    assert_eq!(listener.try_next().unwrap().payload, "1");
    assert!(net.deliver_next().is_none());
}

#[test]
fn requests_without_a_runtime() {
    let (net, _clock) = net(1);
    let (a, b) = (net.client("a").unwrap(), net.client("b").unwrap());
    let mut nobody = a.request_now(Message::new("svc", "?")).unwrap();
    assert_eq!(nobody.try_take(), Some(Err(BusError::NoResponders { subject: "svc".into() })));
    let mut service = b.subscribe_now("svc", Some("q")).unwrap();
    let mut answer = a.request_now(Message::new("svc", "?")).unwrap();
    assert_eq!(answer.try_take(), None);
    let request = service.try_next().unwrap();
    b.publish_now(&Message::new(request.reply.unwrap(), "!")).unwrap();
    assert_eq!(answer.try_take().unwrap().unwrap().payload, "!");
    drop(service);
    let mut nobody = a.request_now(Message::new("svc", "?")).unwrap();
    assert!(matches!(nobody.try_take(), Some(Err(BusError::NoResponders { .. }))), "dropping unsubscribes");
    b.set_connected(false);
    assert_eq!(b.publish_now(&Message::new("x", "")), Err(BusError::NotConnected));
    assert!(!*b.bus().connected().borrow());
}
