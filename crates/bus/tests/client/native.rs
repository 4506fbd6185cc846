//! What only the native back does: reconnecting, waiting for a broker, bounded memory.

use std::time::Duration;

use grace_bus::{
    Bus, BusError, Message,
    client::native::{NativeOptions, Target, connect},
    limits,
};

use crate::fixture::{DEADLINE, Server, eventually};

fn open(server: &Server, user: &str) -> Bus {
    connect(NativeOptions::new(Target::Unix(server.unix_path.clone()), user, user, user))
}

async fn until(bus: &Bus, up: bool) {
    let mut connected = bus.connected();
    let wait = connected.wait_for(|now| *now == up);
    tokio::time::timeout(DEADLINE, wait).await.expect("in time").expect("not closed");
}

#[tokio::test]
async fn everything_is_there_again_after_the_broker_dies() {
    let mut server = Server::start();
    let (a, b) = (open(&server, "all"), open(&server, "all"));
    let mut listener = a.subscribe("x.*", None).await.unwrap();
    until(&a, true).await;
    until(&b, true).await;
    a.flush().await.unwrap();
    server.stop().await;
    until(&a, false).await;
    until(&b, false).await;
    assert_eq!(a.flush().await, Err(BusError::NotConnected));
    // Kept until there is a broker again, in order.
    for n in 0..100 {
        b.publish(Message::new("x.kept", n.to_string())).await.unwrap();
    }
    let waiting = tokio::spawn({
        let b = b.clone();
        async move { b.request_until(Message::new("x.ask", ""), "k", DEADLINE).await }
    });
    server.start_again();
    until(&a, true).await;
    let first = eventually("a message after the restart", async || {
        b.publish(Message::new("x.new", "")).await.unwrap();
        b.flush().await.ok()?;
        listener.try_next()
    })
    .await;
    // `b` may be back before `a` has subscribed again; what comes then comes in order.
    assert!(["x.kept", "x.new", "x.ask"].contains(&first.subject.as_str()));
    let request = eventually("the request comes again", async || {
        std::iter::from_fn(|| listener.try_next()).find(|m| m.subject == "x.ask")
    })
    .await;
    a.publish(Message::new(request.reply.unwrap(), "ok")).await.unwrap();
    // An earlier try's answer is as good as the last one's: answer whatever else comes.
    let answering = async {
        while let Some(m) = listener.next().await {
            if let Some(reply) = m.reply {
                let _ = a.publish(Message::new(reply, "ok")).await;
            }
        }
    };
    tokio::select! {
        answer = waiting => assert_eq!(answer.unwrap().unwrap().payload, "ok"),
        () = answering => panic!("closed"),
    }
}

#[tokio::test]
async fn works_before_the_broker_is_up() {
    let mut server = Server::start();
    server.stop().await;
    let bus = open(&server, "all");
    let mut listener = bus.subscribe("early", None).await.unwrap();
    bus.publish(Message::new("early", "bird")).await.unwrap();
    server.start_again();
    let got = tokio::time::timeout(DEADLINE, listener.next()).await.unwrap().unwrap();
    assert_eq!(got.payload, "bird");
}

#[tokio::test]
async fn what_waits_without_a_broker_is_bounded() {
    let mut server = Server::start();
    server.stop().await;
    let bus = open(&server, "all");
    let payload = vec![0u8; 100_000];
    let mut kept = 0;
    let error = loop {
        match bus.publish(Message::new("x", payload.clone())).await {
            Ok(()) => kept += payload.len(),
            Err(error) => break error,
        }
    };
    assert_eq!(error, BusError::NotConnected);
    assert!(kept <= limits::CLIENT_PENDING_BYTES && kept > limits::CLIENT_PENDING_BYTES / 2, "{kept}");
}

#[tokio::test]
async fn a_request_under_way_fails_when_the_connection_does() {
    let mut server = Server::start();
    let bus = open(&server, "all");
    let _silent = bus.subscribe("x", None).await.unwrap();
    until(&bus, true).await;
    let asking = tokio::spawn({
        let bus = bus.clone();
        async move { bus.request(Message::new("x", ""), DEADLINE).await }
    });
    eventually("the request is under way", async || {
        (server.statistics().await.tally.messages_in > 0).then_some(())
    })
    .await;
    server.stop().await;
    assert_eq!(asking.await.unwrap(), Err(BusError::NotConnected));
}

#[tokio::test]
async fn a_user_that_is_refused_for_good_is_told() {
    let server = Server::start();
    let target = Target::Unix(server.unix_path.clone());
    let bus = connect(NativeOptions::new(target, "all", "wrong", "x"));
    let mut listener = bus.subscribe("x", None).await.unwrap();
    let ended = tokio::time::timeout(Duration::from_secs(60), listener.next()).await.unwrap();
    assert_eq!(ended, None);
    assert_eq!(
        bus.publish(Message::new("x", "")).await,
        Err(BusError::Closed { reason: "Authorization Violation".into() })
    );
}

#[tokio::test]
async fn a_full_subscription_drops_and_counts() {
    let server = Server::start();
    let bus = open(&server, "all");
    let mut listener = bus.subscribe("x", None).await.unwrap();
    let total = limits::SUBSCRIPTION_MESSAGES + 100;
    for _ in 0..total {
        bus.publish(Message::new("x", "")).await.unwrap();
    }
    until(&bus, true).await;
    eventually("the rest is dropped", async || (listener.dropped() == 100).then_some(())).await;
    let kept = std::iter::from_fn(|| listener.try_next()).count();
    assert_eq!(kept, limits::SUBSCRIPTION_MESSAGES);
}
