//! async-nats against our broker.

use std::time::Duration;

use async_nats::{Client, ConnectOptions, Event, HeaderMap, ServerError, client::RequestErrorKind};
use futures_util::StreamExt as _;
use grace_bus::{
    auth::{AuthTable, Credential},
    shell::BrokerCommand,
};
use tokio::sync::{mpsc, oneshot};

use crate::fixture::{DEADLINE, Server, eventually, rules, user, users};

async fn open(server: &Server, name: &str) -> (Client, mpsc::UnboundedReceiver<Event>) {
    let (sender, events) = mpsc::unbounded_channel();
    let client = ConnectOptions::with_user_and_password(name.into(), name.into())
        .custom_inbox_prefix(format!("_INBOX.{name}"))
        .event_callback(move |event| {
            let _ = sender.send(event);
            std::future::ready(())
        })
        .connect(format!("nats://{}", server.address()))
        .await
        .unwrap();
    (client, events)
}

async fn next(subscriber: &mut async_nats::Subscriber) -> async_nats::Message {
    tokio::time::timeout(DEADLINE, subscriber.next()).await.expect("in time").expect("not closed")
}

/// A subscription is in force when a request that follows it on the same connection was answered.
async fn settled(client: &Client) {
    let answer = client.request("void.settled", "".into()).await;
    assert_eq!(answer.unwrap_err().kind(), RequestErrorKind::NoResponders);
}

async fn server_error(events: &mut mpsc::UnboundedReceiver<Event>) -> String {
    let wait = async {
        loop {
            if let Event::ServerError(ServerError::Other(text)) = events.recv().await.expect("not closed") {
                return text;
            }
        }
    };
    tokio::time::timeout(DEADLINE, wait).await.expect("an error in time")
}

#[tokio::test]
async fn messages_wildcards_queues_and_headers() {
    let server = Server::start();
    let (a, b) = (open(&server, "all").await.0, open(&server, "app").await.0);
    let mut exact = a.subscribe("app.one").await.unwrap();
    let mut any = a.subscribe("app.*").await.unwrap();
    let mut rest = a.subscribe("app.>").await.unwrap();
    let mut group = Vec::new();
    for _ in 0..2 {
        group.push(a.queue_subscribe("app.job", "q".into()).await.unwrap());
    }
    settled(&a).await;
    let mut headers = HeaderMap::new();
    headers.append("Trace", "one");
    headers.append("Trace", "two");
    b.publish_with_headers("app.one", headers.clone(), "1".into()).await.unwrap();
    b.publish("app.deep.er", "2".into()).await.unwrap();
    for subscriber in [&mut exact, &mut any, &mut rest] {
        let got = next(subscriber).await;
        assert_eq!((got.payload.as_ref(), got.headers.as_ref()), (&b"1"[..], Some(&headers)));
    }
    assert_eq!(next(&mut rest).await.subject.as_str(), "app.deep.er");
    for _ in 0..100 {
        b.publish("app.job", "".into()).await.unwrap();
    }
    for _ in 0..100 {
        assert_eq!(next(&mut rest).await.subject.as_str(), "app.job");
    }
    let (first, second) = group.split_at_mut(1);
    let mut counts = [0; 2];
    while counts.iter().sum::<i32>() < 100 {
        tokio::select! {
            m = next(&mut first[0]) => { drop(m); counts[0] += 1; }
            m = next(&mut second[0]) => { drop(m); counts[1] += 1; }
        }
    }
    assert!(counts.iter().all(|c| *c > 20), "{counts:?}");
    exact.unsubscribe_after(2).await.unwrap();
    settled(&a).await;
    b.publish("app.one", "last".into()).await.unwrap();
    b.publish("app.one", "never".into()).await.unwrap();
    assert_eq!(next(&mut exact).await.payload, "last");
    let ended = tokio::time::timeout(DEADLINE, exact.next()).await.expect("in time");
    assert!(ended.is_none());
}

#[tokio::test]
async fn requests_and_no_responders() {
    let server = Server::start();
    let (asker, service) = (open(&server, "all").await.0, open(&server, "svc").await.0);
    let mut requests = service.subscribe("svc.echo").await.unwrap();
    service.flush().await.unwrap();
    tokio::spawn(async move {
        while let Some(request) = requests.next().await {
            service.publish(request.reply.unwrap(), request.payload).await.unwrap();
        }
    });
    let answer = eventually("an answer", async || asker.request("svc.echo", "hi".into()).await.ok()).await;
    assert_eq!(answer.payload, "hi");
    for n in 0..50 {
        let answer = asker.request("svc.echo", n.to_string().into()).await.unwrap();
        assert_eq!(answer.payload, n.to_string());
    }
    let nobody = asker.request("svc.nobody", "".into()).await.unwrap_err();
    assert_eq!(nobody.kind(), RequestErrorKind::NoResponders);
}

#[tokio::test]
async fn permission_errors_are_recognised() {
    let mut server = Server::start();
    let (app, mut events) = open(&server, "app").await;
    app.publish("other", "".into()).await.unwrap();
    assert_eq!(server_error(&mut events).await, "Permissions Violation for Publish to \"other\"");
    let _refused = app.subscribe("other.>").await.unwrap();
    assert_eq!(server_error(&mut events).await, "Permissions Violation for Subscription to \"other.>\"");
    let violation = async {
        loop {
            let event = server.events.recv().await.unwrap();
            if let grace_bus::broker::BrokerEvent::PermissionViolation { user, subject, .. } = event {
                return (user, subject);
            }
        }
    };
    let told = tokio::time::timeout(DEADLINE, violation).await.unwrap();
    assert_eq!(told, ("app".to_owned(), "other".to_owned()), "and the broker's owner is told");
    let wrong = ConnectOptions::with_user_and_password("app".into(), "wrong".into())
        .connect(format!("nats://{}", server.address()))
        .await;
    assert_eq!(wrong.unwrap_err().kind(), async_nats::ConnectErrorKind::AuthorizationViolation);
}

#[tokio::test]
async fn the_largest_payload_goes_and_one_more_byte_does_not() {
    let server = Server::start();
    let (client, _events) = open(&server, "all").await;
    let limit = client.max_payload();
    assert_eq!(limit, grace_bus::limits::MAX_PAYLOAD_BYTES);
    let mut subscriber = client.subscribe("app.large").await.unwrap();
    client.publish("app.large", vec![7u8; limit].into()).await.unwrap();
    assert_eq!(next(&mut subscriber).await.payload.len(), limit);
    assert!(client.publish("app.large", vec![7u8; limit + 1].into()).await.is_err());
}

#[tokio::test]
async fn reconnects_to_the_next_broker() {
    let mut server = Server::start();
    let (client, mut events) = open(&server, "all").await;
    let mut subscriber = client.subscribe("app.again").await.unwrap();
    settled(&client).await;
    server.stop().await;
    server.start_again();
    let back = async { while !matches!(events.recv().await, Some(Event::Disconnected)) {} };
    tokio::time::timeout(DEADLINE, back).await.expect("it sees that the broker is gone");
    eventually("a message through the new broker", async || {
        client.publish("app.again", "".into()).await.ok()?;
        tokio::time::timeout(Duration::from_millis(50), subscriber.next()).await.ok()?
    })
    .await;
}

#[tokio::test]
async fn an_nkey_signs_in() {
    let server = Server::start();
    let pair = nkeys::KeyPair::new_user();
    let mut keyed = user("keyed", rules(&["k"], &[]), rules(&["k"], &[]));
    keyed.credential = Credential::Nkey(pair.public_key());
    let mut table = users();
    table.users.push(keyed);
    set_users(&server, table).await;
    let address = format!("nats://{}", server.address());
    let client = ConnectOptions::with_nkey(pair.seed().unwrap()).connect(&address).await.unwrap();
    let mut subscriber = client.subscribe("k").await.unwrap();
    client.publish("k", "signed".into()).await.unwrap();
    assert_eq!(next(&mut subscriber).await.payload, "signed");
    let other = nkeys::KeyPair::new_user().seed().unwrap();
    assert!(ConnectOptions::with_nkey(other).connect(&address).await.is_err());
}

async fn set_users(server: &Server, table: AuthTable) {
    let (sender, done) = oneshot::channel();
    server.commands.send(BrokerCommand::SetUsers(table, sender)).await.unwrap();
    done.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_lame_duck_is_announced_and_the_broker_ends() {
    let mut server = Server::start();
    let (client, mut events) = open(&server, "all").await;
    server.commands.send(BrokerCommand::LameDuck).await.unwrap();
    let told = async { while !matches!(events.recv().await, Some(Event::LameDuckMode)) {} };
    tokio::time::timeout(DEADLINE, told).await.expect("the client is told");
    client.drain().await.unwrap();
    drop(client);
    tokio::time::timeout(DEADLINE, server.ended()).await.expect("serve returns");
}
