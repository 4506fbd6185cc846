//! What is on record, what is found of it again, and what happens while it cannot be written.

use std::path::Path;

use grace_types::reason::Why;

use super::*;

fn entry(boot: u128, number: u64, event: Event) -> String {
    let entry = Entry {
        id: EventId::from_bits(u128::from(number)),
        kind: format!("dev.grace.control_plane.{}.v1", event.name()),
        time: Timestamp::from_nanos(1),
        hlc: Hlc::default(),
        who: "control_plane".to_owned(),
        correlation: CorrelationId::from_bits(1),
        causation: None,
        record: Recorded::new(event, "instance".to_owned(), "test", Why::because("test", "a test")),
        boot: BootId::from_bits(boot),
        number,
        mono: Monotonic::ZERO,
    };
    entry.to_json().unwrap()
}

#[test]
fn the_end_of_the_boot_before_is_not_taken_for_this_one() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("control_plane.journal");
    let booted = |boot| Event::Booted { boot: BootId::from_bits(boot), components: 0 };
    let begun = Event::ShutdownBegun { cause: "test".to_owned() };
    let before = [entry(1, 1, booted(1)), entry(1, 2, begun.clone()), entry(1, 3, Event::ShutdownFinished)];
    let append = |entries: &[String]| {
        let mut journal = FileJournal::open(&path, Timestamp::from_nanos(1)).unwrap();
        let batch: Vec<&[u8]> = entries.iter().map(|json| json.as_bytes()).collect();
        journal.append(&batch).unwrap();
    };
    append(&before);
    let recovered = |boot, tail| recover(&path, &Plan::default(), BootId::from_bits(boot), tail);
    assert!(recovered(1, Vec::new()).state.finished);

    // The successor of one that died before its first decision was on record.
    let new = recovered(2, Vec::new());
    assert_eq!((new.state.boot, new.state.finished, new.number), (None, false, 0));

    append(&[entry(2, 1, booted(2))]);
    let new = recovered(2, vec![(1, entry(2, 1, booted(2))), (2, entry(2, 2, begun))]);
    assert_eq!((new.state.boot, new.number), (Some(BootId::from_bits(2)), 2));
    assert!(new.state.shutdown && !new.state.finished);
    assert_eq!(new.unwritten.len(), 1, "what the journal has is not written again");
}

const BOOT: BootId = BootId::from_bits(2);

fn booted() -> String {
    entry(2, 1, Event::Booted { boot: BOOT, components: 0 })
}

fn took_over(number: u64) -> String {
    entry(2, number, Event::TookOver { adopted: 0 })
}

fn write(path: &Path, batch: &[String]) {
    let mut journal = FileJournal::open(path, Timestamp::from_nanos(1)).unwrap();
    let batch: Vec<&[u8]> = batch.iter().map(|json| json.as_bytes()).collect();
    journal.append(&batch).unwrap();
}

fn read(path: &Path) -> Vec<String> {
    let mut journal = FileJournal::open(path, Timestamp::from_nanos(1)).unwrap();
    let mut all = Vec::new();
    let mut take = |record: grace_store::Record<'_>| {
        all.push(String::from_utf8(record.payload.to_vec()).unwrap());
        ControlFlow::Continue(())
    };
    journal.replay(Seq(1), &mut take).unwrap();
    all
}

#[test]
fn what_stands_twice_counts_once() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.journal");
    let batch = [booted(), took_over(2), took_over(3)];
    write(&path, &batch);
    write(&path, &batch[1..]);
    let tail = vec![(2, took_over(2)), (3, took_over(3)), (4, took_over(4)), (4, took_over(4))];
    let recovered = recover(&path, &Plan::default(), BOOT, tail);
    assert_eq!((recovered.state.take_overs, recovered.number), (3, 4));
    assert_eq!(recovered.unwritten, [(4, took_over(4))]);
    assert_eq!(recovered.warnings, Vec::<String>::new());
}

#[test]
fn a_snapshot_is_gone_on_from_and_that_of_another_boot_is_not() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.journal");
    write(&path, &[booted(), took_over(2)]);
    let snapshot = Snapshot {
        boot: Some(BOOT),
        number: 2,
        hlc: Hlc::default(),
        state: State { boot: Some(BOOT), take_overs: 40, ..State::default() },
    };
    let mut journal = FileJournal::open(&path, Timestamp::from_nanos(1)).unwrap();
    journal.snapshot(Seq(2), &serde_json::to_vec(&snapshot).unwrap()).unwrap();
    drop(journal);
    write(&path, &[took_over(3), entry(3, 1, Event::Booted { boot: BootId::from_bits(3), components: 0 })]);
    let recovered = recover(&path, &Plan::default(), BOOT, Vec::new());
    assert_eq!((recovered.state.take_overs, recovered.number), (41, 3));
    let other = recover(&path, &Plan::default(), BootId::from_bits(3), Vec::new());
    assert_eq!((other.state.take_overs, other.number), (0, 1));
}

#[test]
fn what_cannot_be_read_is_a_warning_and_the_rest_counts() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.journal");
    write(&path, &[booted(), "{\"event\": 5}".to_owned(), took_over(2)]);
    let tail = vec![(3, "no entry".to_owned()), (4, took_over(4))];
    let recovered = recover(&path, &Plan::default(), BOOT, tail.clone());
    assert_eq!((recovered.state.take_overs, recovered.number), (2, 4));
    let [in_journal, in_tail] = &recovered.warnings[..] else { panic!("{:?}", recovered.warnings) };
    assert!(in_journal.starts_with("record 2 of the journal: "), "{in_journal}");
    assert!(in_tail.starts_with("a decision kept by the guardian cannot be read: "), "{in_tail}");

    std::fs::remove_dir_all(&path).unwrap();
    std::fs::write(&path, "this is no journal ".repeat(500)).unwrap();
    let recovered = recover(&path, &Plan::default(), BOOT, tail);
    assert_eq!((recovered.state.take_overs, recovered.number), (1, 4), "from the guardian alone");
    let warning = &recovered.warnings[0];
    assert!(warning.starts_with("the control plane's journal cannot be read: "), "{warning}");
}

/// A recorder, and what it says.
fn recorder(path: &Path) -> (Recorder, mpsc::Receiver<Happening>) {
    let (happened, happenings) = mpsc::channel(64);
    (Recorder::start(path.to_owned(), happened).unwrap(), happenings)
}

#[track_caller]
fn hear(happenings: &mut mpsc::Receiver<Happening>) -> Happening {
    let end = SystemClock.now().mono.plus(Duration::from_secs(30));
    loop {
        if let Ok(happening) = happenings.try_recv() {
            return happening;
        }
        assert!(SystemClock.now().mono < end, "the recorder says nothing");
        std::thread::park_timeout(Duration::from_millis(2));
    }
}

#[test]
fn what_could_not_be_written_is_written_later_and_once() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("in the way").join("x.journal");
    std::fs::write(path.parent().unwrap(), "a file where the folder should be").unwrap();
    let (mut recorder, mut happenings) = recorder(&path);
    recorder.append(1, booted());
    assert!(matches!(hear(&mut happenings), Happening::NotWritten { .. }));
    recorder.append(2, took_over(2));
    assert!(matches!(hear(&mut happenings), Happening::NotWritten { .. }));
    std::fs::remove_file(path.parent().unwrap()).unwrap();
    loop {
        match hear(&mut happenings) {
            Happening::NotWritten { .. } => {}
            Happening::Written { upto: 2 } => break,
            other => panic!("{other:?}"),
        }
    }
    recorder.append(3, took_over(3));
    recorder.finish();
    assert!(matches!(hear(&mut happenings), Happening::Written { upto: 3 }));
    assert_eq!(read(&path), [booted(), took_over(2), took_over(3)]);
}

#[test]
fn a_damaged_journal_is_set_aside_and_nothing_waits_for_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.journal");
    let damaged = "this is no journal ".repeat(500);
    std::fs::write(&path, &damaged).unwrap();
    let (mut recorder, mut happenings) = recorder(&path);
    recorder.append(1, booted());
    recorder.finish();
    assert!(matches!(hear(&mut happenings), Happening::SetAside { .. }));
    assert!(matches!(hear(&mut happenings), Happening::Written { upto: 1 }));
    assert_eq!(read(&path), [booted()]);
    let kept = |entry: std::io::Result<std::fs::DirEntry>| {
        std::fs::read_to_string(entry.unwrap().path()).is_ok_and(|text| text == damaged)
    };
    assert!(std::fs::read_dir(folder.path()).unwrap().any(kept), "for people to look at");
}

#[test]
fn a_snapshot_is_taken_when_it_is_due() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.journal");
    let (mut recorder, _happenings) = recorder(&path);
    let state = State { boot: Some(BOOT), take_overs: 9, ..State::default() };
    recorder.append(1, booted());
    for number in 2..=SNAPSHOT_EVERY {
        recorder.snapshot_if_due(&state, number - 1, Hlc::default());
        recorder.append(number, took_over(number));
    }
    recorder.snapshot_if_due(&state, SNAPSHOT_EVERY, Hlc::default());
    assert_eq!(recorder.dropped, 0);
    recorder.finish();
    assert_eq!(read(&path).len() as u64, SNAPSHOT_EVERY);
    let recovered = recover(&path, &Plan::default(), BOOT, Vec::new());
    assert_eq!((recovered.state.take_overs, recovered.number), (9, SNAPSHOT_EVERY));
}
