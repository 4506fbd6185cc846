//! What must hold for any bytes. Used by the fuzz target, and by a plain test that replays the corpus.

use grace_bus::{
    auth::{AuthTable, Credential, User},
    broker::{Broker, BrokerConfig, Peer},
    protocol::{Bounds, Frame, Progress, encode, headers, parse},
};
use grace_types::{
    chance::SeededEntropy,
    manifest::{Permissions, SubjectRules},
    time::Monotonic,
};

/// Panics if a property does not hold. The first byte chooses how the rest is cut into reads.
pub(crate) fn check(data: &[u8]) {
    let Some((cut, bytes)) = data.split_first() else { return };
    frames_do_not_depend_on_what_follows(bytes);
    let whole = converse(bytes, bytes.len().max(1));
    let cut = converse(bytes, usize::from(*cut).max(1));
    assert_eq!(String::from_utf8_lossy(&whole), String::from_utf8_lossy(&cut), "the cut changed the answer");
    let _ = headers::parse(bytes);
}

/// A frame is the same with nothing behind it, and every part of it asks for more, but not for too much.
fn frames_do_not_depend_on_what_follows(bytes: &[u8]) {
    let bounds = Bounds { line: 256, payload: 1024 };
    let mut rest = bytes;
    while let Ok(Progress::Frame(frame, used)) = parse(rest, bounds) {
        assert!(used > 0 && used <= rest.len());
        assert_eq!(parse(&rest[..used], bounds), Ok(Progress::Frame(frame, used)));
        for shorter in [used - 1, used / 2, 0] {
            let Ok(Progress::Incomplete { need, .. }) = parse(&rest[..shorter], bounds) else {
                panic!("{shorter} of {used} bytes should ask for more");
            };
            assert!(need > shorter && need <= used, "{need} of {used}");
        }
        if let Frame::Publish { subject, reply, payload } = frame
            && let (Ok(subject), Ok(reply)) =
                (std::str::from_utf8(subject), reply.map(std::str::from_utf8).transpose())
            && payload.headers().is_empty()
        {
            let mut again = Vec::new();
            encode::publish(&mut again, subject, reply, &[], payload.data());
            assert!(
                matches!(parse(&again, Bounds::default()), Ok(Progress::Frame(Frame::Publish { payload: p, .. }, n))
                if p.data() == payload.data() && n == again.len())
            );
        }
        rest = &rest[used..];
    }
}

/// What a signed-in client is told if it sends these bytes, `step` at a time.
fn converse(bytes: &[u8], step: usize) -> Vec<u8> {
    let rules = SubjectRules { allow: vec!["a.>".into(), "b".into()], deny: vec!["a.secret".into()] };
    let user = User {
        name: "u".into(),
        credential: Credential::of_password("p"),
        permissions: Permissions { publish: rules.clone(), subscribe: rules },
        allow_responses: None,
    };
    let config = BrokerConfig { max_payload_bytes: 1024, ..BrokerConfig::default() };
    let table = AuthTable { users: vec![user] };
    let mut broker = Broker::new(config, &table, Box::new(SeededEntropy::new(1))).expect("the table is good");
    let now = Monotonic::from_nanos(1);
    let client = broker.connect(Peer::Local, now).expect("there is room");
    let mut told = Vec::new();
    let hello = b"CONNECT {\"user\":\"u\",\"pass\":\"p\",\"headers\":true,\"no_responders\":true}\r\n";
    for part in std::iter::once(&hello[..]).chain(bytes.chunks(step)) {
        let mut rest = part;
        while !rest.is_empty() {
            let taken = broker.receive(client, rest, now);
            assert!(taken > 0, "no progress");
            rest = &rest[taken..];
            told.extend_from_slice(broker.outgoing(client));
            let count = broker.outgoing(client).len();
            broker.sent(client, count);
        }
    }
    broker.disconnected(client, now);
    let left = broker.statistics();
    assert_eq!(
        (left.connections, left.subscriptions, left.buffered_bytes),
        (0, 0, 0),
        "something is left behind"
    );
    told
}
