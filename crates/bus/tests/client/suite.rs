//! What every back must do alike.

use std::time::Duration;

use grace_bus::{Bus, BusError, Headers, Message, Subscription, client::IDEMPOTENCY_KEY};

use crate::fixture::{DEADLINE, eventually};

/// Runs everything over clients that `open` makes for a user.
pub(crate) async fn run(open: impl AsyncFn(&str) -> Bus) {
    let (all, app) = (ready(open("all").await).await, ready(open("app").await).await);
    let svc = ready(open("svc").await).await;
    publish_and_subscribe(&all, &app).await;
    queue_groups(&all, &app).await;
    headers(&all, &app).await;
    requests(&all, &app).await;
    no_responders(&all).await;
    answers_are_allowed(&app, &all, &svc).await;
    permissions(&app, &all).await;
    refused_before_the_wire(&all).await;
    dropping_unsubscribes(&all).await;
    retries_with_one_key(&all, &app).await;
}

async fn ready(bus: Bus) -> Bus {
    let mut connected = bus.connected();
    let wait = connected.wait_for(|up| *up);
    tokio::time::timeout(DEADLINE, wait).await.expect("connected in time").expect("not closed");
    bus
}

async fn next(subscription: &mut Subscription) -> Message {
    tokio::time::timeout(DEADLINE, subscription.next()).await.expect("a message in time").expect("not closed")
}

/// Subscribes, and makes sure that the broker has it: a flush on some backs only reaches the socket.
async fn subscribed(bus: &Bus, subject: &str, queue: Option<&str>) -> Subscription {
    let subscription = bus.subscribe(subject, queue).await.unwrap();
    bus.flush().await.unwrap();
    // Allowed to every user that subscribes here, and matched by none of the patterns under test.
    let probe = "_INBOX.app.probe";
    let mut seen = bus.subscribe(probe, None).await.unwrap();
    eventually("the subscription is in force", async || {
        bus.publish(Message::new(probe, "")).await.unwrap();
        bus.flush().await.unwrap();
        seen.try_next()
    })
    .await;
    subscription
}

async fn publish_and_subscribe(all: &Bus, app: &Bus) {
    let mut exact = subscribed(all, "app.one", None).await;
    let mut any = subscribed(all, "app.*", None).await;
    let mut rest = subscribed(all, "app.>", None).await;
    app.publish(Message::new("app.one", "1")).await.unwrap();
    app.publish(Message::new("app.deep.er", "2")).await.unwrap();
    app.publish(Message::new("app.two", "")).await.unwrap();
    assert_eq!(next(&mut exact).await, Message::new("app.one", "1"));
    assert_eq!(next(&mut any).await.subject, "app.one");
    assert_eq!(next(&mut any).await, Message::new("app.two", ""));
    for expected in ["app.one", "app.deep.er", "app.two"] {
        assert_eq!(next(&mut rest).await.subject, expected);
    }
}

async fn queue_groups(all: &Bus, app: &Bus) {
    let mut group = [
        subscribed(all, "app.job", Some("workers")).await,
        subscribed(all, "app.*", Some("workers")).await,
        subscribed(app, "app.job", Some("workers")).await,
    ];
    for n in 0..60 {
        app.publish(Message::new("app.job", n.to_string())).await.unwrap();
    }
    let mut counts = [0; 3];
    eventually("each message goes to one", async || {
        for (count, member) in counts.iter_mut().zip(&mut group) {
            *count += std::iter::from_fn(|| member.try_next()).count();
        }
        (counts.iter().sum::<usize>() == 60).then_some(())
    })
    .await;
    assert!(counts.iter().all(|c| *c > 5), "{counts:?}");
}

async fn headers(all: &Bus, app: &Bus) {
    let mut listener = subscribed(all, "app.headed", None).await;
    let headers: Headers = [("Trace", "a: b"), ("Empty", "")].into_iter().collect();
    let message = Message::new("app.headed", "body").with_headers(headers);
    app.publish(message.clone()).await.unwrap();
    let got = next(&mut listener).await;
    assert_eq!(got.headers.get("trace"), Some("a: b"));
    assert_eq!(got.headers.get("Empty"), Some(""));
    assert_eq!(got.payload, "body");
}

async fn requests(all: &Bus, app: &Bus) {
    let mut service = subscribed(app, "app.echo", Some("echo")).await;
    let answering = async {
        // In reverse order of arrival: each answer must find its own request.
        let mut asked = Vec::new();
        for _ in 0..20 {
            asked.push(next(&mut service).await);
        }
        for request in asked.into_iter().rev() {
            app.publish(Message::new(request.reply.unwrap(), request.payload)).await.unwrap();
        }
    };
    let asking = futures(all, 20);
    let ((), answers) = tokio::join!(answering, asking);
    for (n, answer) in answers.into_iter().enumerate() {
        assert_eq!(answer.unwrap().payload, n.to_string());
    }
    let silent = all.request(Message::new("app.echo", ""), Duration::from_millis(50)).await;
    assert!(matches!(silent, Err(BusError::Timeout { .. })), "{silent:?}");
}

async fn futures(bus: &Bus, count: usize) -> Vec<Result<Message, BusError>> {
    let tasks: Vec<_> = (0..count)
        .map(|n| {
            let bus = bus.clone();
            tokio::spawn(async move { bus.request(Message::new("app.echo", n.to_string()), DEADLINE).await })
        })
        .collect();
    let mut answers = Vec::new();
    for task in tasks {
        answers.push(task.await.unwrap());
    }
    answers
}

async fn no_responders(all: &Bus) {
    let answer = all.request(Message::new("app.nobody", ""), DEADLINE).await;
    assert_eq!(answer, Err(BusError::NoResponders { subject: "app.nobody".into() }));
}

/// `svc` may publish nothing of its own accord.
async fn answers_are_allowed(_app: &Bus, all: &Bus, svc: &Bus) {
    let mut service = svc.subscribe("svc.do", None).await.unwrap();
    svc.flush().await.unwrap();
    let answering = async {
        let request = next(&mut service).await;
        svc.publish(Message::new(request.reply.unwrap(), "done")).await.unwrap();
    };
    let asking = async {
        eventually("the service answers", async || {
            all.request(Message::new("svc.do", ""), DEADLINE).await.ok()
        })
        .await
    };
    let ((), answer) = tokio::join!(answering, asking);
    assert_eq!(answer.payload, "done");
}

async fn permissions(app: &Bus, all: &Bus) {
    let mut watcher = subscribed(all, ">", None).await;
    for subject in ["other", "app.private.x"] {
        let denied = BusError::PermissionDenied { subject: subject.into() };
        let at_once = app.publish(Message::new(subject, "no")).await;
        if at_once.is_ok() {
            let error = eventually("the refusal is seen", async || app.flush().await.err()).await;
            assert_eq!(error, denied);
        } else {
            assert_eq!(at_once, Err(denied.clone()));
        }
        assert_eq!(app.request(Message::new(subject, "no"), DEADLINE).await, Err(denied.clone()));
        match app.subscribe(subject, None).await {
            Err(error) => assert_eq!(error, denied),
            Ok(mut subscription) => {
                let ended = tokio::time::timeout(DEADLINE, subscription.next()).await;
                assert_eq!(ended.expect("it ends in time"), None);
            }
        }
        let _ = app.flush().await;
    }
    // What overlaps a denied subject is delivered less what is denied.
    let mut overlapping = subscribed(app, "app.>", None).await;
    all.publish(Message::new("app.private.x", "hidden")).await.unwrap();
    all.publish(Message::new("app.public", "seen")).await.unwrap();
    loop {
        let got = next(&mut overlapping).await;
        assert_ne!(got.payload, "hidden");
        if got.payload == "seen" {
            break;
        }
    }
    while let Some(message) = watcher.try_next() {
        assert_ne!(message.payload, "no", "refused, yet delivered: {message:?}");
    }
}

async fn refused_before_the_wire(all: &Bus) {
    let large = Message::new("app.large", vec![0u8; 9 << 20]);
    assert!(matches!(all.publish(large).await, Err(BusError::TooLarge { size_bytes: 9_437_184, .. })));
    for bad in ["", "a..b", "a b", "a.*", "a.>"] {
        let published = all.publish(Message::new(bad, "")).await;
        assert!(matches!(published, Err(BusError::BadSubject { .. })), "{bad}: {published:?}");
        let asked = all.request(Message::new(bad, ""), DEADLINE).await;
        assert!(matches!(asked, Err(BusError::BadSubject { .. })), "{bad}: {asked:?}");
    }
    assert!(matches!(all.subscribe("a.>.b", None).await, Err(BusError::BadSubject { .. })));
    assert!(matches!(all.subscribe("a", Some("q q")).await, Err(BusError::BadSubject { .. })));
}

async fn dropping_unsubscribes(all: &Bus) {
    let subscription = subscribed(all, "app.gone", None).await;
    drop(subscription);
    eventually("nobody listens any more", async || {
        match all.request(Message::new("app.gone", ""), Duration::from_millis(50)).await {
            Err(BusError::NoResponders { .. }) => Some(()),
            _ => None,
        }
    })
    .await;
}

async fn retries_with_one_key(all: &Bus, app: &Bus) {
    let asking = all.request_until(Message::new("app.late", "do"), "key-1", DEADLINE);
    let serving = async {
        let mut service = app.subscribe("app.late", None).await.unwrap();
        let first = next(&mut service).await;
        let second = next(&mut service).await;
        assert_eq!(first.headers.get(IDEMPOTENCY_KEY), Some("key-1"));
        assert_eq!(first.headers, second.headers, "the same key each time");
        app.publish(Message::new(second.reply.unwrap(), "done")).await.unwrap();
    };
    let (answer, ()) = tokio::join!(asking, serving);
    assert_eq!(answer.unwrap().payload, "done");
    let short = Duration::from_millis(100);
    let given_up = all.request_until(Message::new("app.nobody", ""), "key-2", short).await;
    assert_eq!(
        given_up,
        Err(BusError::NoResponders { subject: "app.nobody".into() }),
        "the last reason is told"
    );
}
