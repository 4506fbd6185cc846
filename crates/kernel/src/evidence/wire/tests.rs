//! Batches and replies survive the wire, and nothing that arrives is too strange to be refused.

use proptest::prelude::*;

use super::*;

fn source(component: &str) -> Source {
    Source::new(component, JournalId(0x18a5)).unwrap()
}

fn ask(body: Vec<u8>) -> Message {
    let mut message = BatchWriter::new(source("web.1"), 7).into_message(Sink::Clarity);
    message.payload = body.into();
    message
}

#[test]
fn a_subject_names_the_sink_and_the_component_even_one_with_dots() {
    let subject = evidence_subject(Sink::ImmutableLog, "web.1");
    assert_eq!(subject, "grace.evidence.immutable_log.web.1");
    assert_eq!(component_of(Sink::ImmutableLog, &subject), Some("web.1"));
    assert_eq!(component_of(Sink::Clarity, &subject), None);
    assert_eq!(component_of(Sink::Clarity, "grace.evidence.clarity"), None);
    for sink in Sink::ALL {
        assert!(grace_bus::subject::validate_literal(evidence_subject(sink, "web.1").as_bytes()).is_ok());
        assert!(grace_bus::subject::validate_pattern(evidence_pattern(sink).as_bytes()).is_ok());
    }
}

#[test]
fn the_form_on_the_wire_stays() {
    let mut writer = BatchWriter::new(source("web"), 7);
    assert_eq!((writer.join(b"{}"), writer.join(b"[1]")), (Joined::Yes, Joined::Yes));
    let message = writer.into_message(Sink::Clarity);
    assert_eq!(message.subject, "grace.evidence.clarity.web");
    assert_eq!(message.headers.get("grace-journal"), Some("00000000000018a5"));
    assert_eq!(message.headers.get("grace-first"), Some("7"));
    assert_eq!(&*message.payload, b"\x02\0\0\0{}\x03\0\0\0[1]");
    assert_eq!(reply(&Ok(Position::new(9).with("size", 3))), br#"{"next":9,"size":3}"#);
    let busy = WireError { code: "busy".into(), message: "full".into() };
    assert_eq!(reply(&Err(busy)), br#"{"error":{"code":"busy","message":"full"}}"#);
}

#[test]
fn a_record_of_the_largest_size_goes_alone_and_fits_the_bus_with_its_headers() {
    let largest = vec![b' '; limits::EVIDENCE_RECORD_BYTES];
    let name = "n".repeat(grace_types::limits::NAME_BYTES);
    let mut writer = BatchWriter::new(source(&name), u64::MAX - 2);
    assert_eq!(writer.join(&largest), Joined::Yes);
    assert_eq!(writer.join(b"{}"), Joined::Full);
    let message = writer.into_message(Sink::ImmutableLog);
    let mut block = Vec::new();
    grace_bus::protocol::headers::encode(&mut block, &message.headers).unwrap();
    assert!(block.len() + message.payload.len() <= 1 << 20, "nats-server's default");
    assert_eq!(Batch::read(Sink::ImmutableLog, &message).unwrap().count(), 1);

    let mut writer = BatchWriter::new(source("web"), 1).within(limits::EVIDENCE_HEAD_BYTES + 12);
    assert_eq!(
        (writer.join(b"{}"), writer.join(b"{}"), writer.join(b"{}")),
        (Joined::Yes, Joined::Yes, Joined::Full)
    );

    let mut writer = BatchWriter::new(source("web"), 1);
    assert_eq!(writer.join(&vec![b' '; limits::EVIDENCE_RECORD_BYTES + 1]), Joined::Never);
    assert_eq!(writer.join(b""), Joined::Never);
    assert_eq!((writer.join(b"{}"), writer.join(&largest)), (Joined::Yes, Joined::Full));
}

#[test]
fn what_is_no_batch_is_refused_with_the_part_at_fault() {
    let told = |message: &Message| Batch::read(Sink::Clarity, message).unwrap_err().message;
    assert!(told(&ask(vec![1, 0, 0])).contains("record 1 is cut off"));
    assert!(told(&ask(b"\x01\0\0\0a\xff\xff\xff\xff".to_vec())).contains("record 2 is cut off"));
    assert!(told(&ask(vec![0; 4])).contains("0 bytes"));
    assert!(told(&ask(b"\x01\0\0\0a".repeat(limits::EVIDENCE_BATCH_RECORDS + 1))).contains("more than"));
    let mut other = ask(Vec::new());
    other.subject = "grace.evidence.clarity.we b".to_owned();
    assert!(told(&other).contains("component's name"));
    for (name, value) in
        [(FIRST, "0"), (FIRST, "+1"), (FIRST, "01"), (FIRST, ""), (JOURNAL, "18A5"), (JOURNAL, "")]
    {
        let mut message = ask(Vec::new());
        let kept: Vec<_> = message.headers.iter().filter(|(n, _)| *n != name).collect();
        message.headers = kept.into_iter().chain([(name, value)]).collect();
        assert!(told(&message).contains(name), "{name}: {value}");
    }
    let mut last = ask(b"\x01\0\0\0a".to_vec());
    last.headers =
        [(JOURNAL, "00000000000018a5".to_owned()), (FIRST, u64::MAX.to_string())].into_iter().collect();
    assert!(told(&last).contains("too large"));
}

#[test]
fn replies_are_read_strictly_and_what_is_added_to_them_is_kept() {
    assert_eq!(read_reply(br#"{"next":3,"x":[1]}"#).unwrap(), Position::new(3).with("x", vec![1]));
    assert_eq!(read_reply(br#"{"error":{"code":"busy","message":"m"}}"#).unwrap_err().code, "busy");
    for bad in [
        "",
        "{}",
        "[]",
        "{\"next\":0}",
        "{\"next\":-1}",
        "{\"next\":\"1\"}",
        "{\"next\":1.5}",
        "{\"error\":1}",
    ] {
        assert_eq!(read_reply(bad.as_bytes()).unwrap_err().code, "bad_reply", "{bad}");
    }
}

proptest! {
    #[test]
    fn a_batch_survives(
        first in 1u64..u64::MAX / 2,
        records in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..300), 0..50),
    ) {
        let mut writer = BatchWriter::new(source("web.1"), first);
        for record in &records {
            prop_assert_eq!(writer.join(record), Joined::Yes);
        }
        let message = writer.into_message(Sink::Clarity);
        let batch = Batch::read(Sink::Clarity, &message).unwrap();
        prop_assert_eq!((&batch.source, batch.first, batch.count()), (&source("web.1"), first, records.len() as u64));
        let read: Vec<_> = batch.records().collect();
        let sent: Vec<_> = (first..).zip(records.iter().map(Vec::as_slice)).collect();
        prop_assert_eq!(read, sent);
    }

    /// Whatever comes in: no panic, and what is accepted is read back to the last byte.
    #[test]
    fn no_bytes_panic(mut body in prop::collection::vec(any::<u8>(), 0..200), small in any::<bool>()) {
        if small {
            for byte in &mut body {
                *byte %= 3;
            }
        }
        let _ = read_reply(&body);
        if let Ok(batch) = Batch::read(Sink::Clarity, &ask(body.clone())) {
            let bytes: usize = batch.records().map(|(_, record)| record.len() + LENGTH).sum();
            prop_assert_eq!(bytes, body.len());
            prop_assert_eq!(batch.records().count() as u64, batch.count());
        }
    }
}
