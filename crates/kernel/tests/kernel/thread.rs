//! The host's thread on a journal of files: group commit, order, the end.

use std::{
    ops::ControlFlow,
    sync::{Arc, Condvar, Mutex},
};

use grace_kernel::{
    Envelope, Host, HostError, Outcome, limits,
    process::{
        KernelError,
        thread::{Commands, Hosted, spawn},
    },
};
use grace_store::{Epoch, Journal, Record, Seq, SnapshotInfo, StoreError, StoreSnapshot, file::FileJournal};
use grace_types::{
    chance::OsEntropy,
    evidence::JournalId,
    time::{Clock, SystemClock, Timestamp},
};

use crate::tally::{Tally, add, read};

fn host(path: &std::path::Path) -> (Commands<Tally>, Hosted<Tally>) {
    let path = path.to_owned();
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let open = move || FileJournal::open(path, Timestamp::EPOCH).map(|j| Box::new(j) as Box<dyn Journal>);
    spawn("tally".into(), open, clock, Box::new(OsEntropy)).unwrap()
}

/// What is asked, while the host's releases are taken.
async fn released<V>(hosted: &mut Hosted<Tally>, ask: impl Future<Output = V>) -> V {
    let mut ask = std::pin::pin!(ask);
    loop {
        tokio::select! {
            biased;
            answer = &mut ask => return answer,
            Some(_) = hosted.next() => {}
        }
    }
}

#[tokio::test]
async fn commands_that_arrive_during_a_sync_share_the_next() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.journal");
    let (commands, mut hosted) = host(&path);
    let first = hosted.next().await.unwrap();
    assert!(first.entries.is_empty() && first.effects.is_empty());
    let asked: Vec<_> = (0..500)
        .map(|_| {
            let commands = commands.clone();
            tokio::spawn(async move { commands.ask(Envelope::new(add("a", 1.0))).await })
        })
        .collect();
    let mut batches = Vec::new();
    while batches.iter().sum::<usize>() < 500 {
        batches.push(hosted.next().await.unwrap().entries.len());
    }
    assert!(batches.len() < 500 / 2, "{} batches", batches.len());
    let mut sums = Vec::new();
    for answer in asked {
        match answer.await.unwrap().unwrap() {
            Outcome::Done(sum) => sums.push(sum as u32),
            Outcome::Refused(e) => panic!("{e}"),
        }
    }
    sums.sort_unstable();
    assert_eq!(sums, (1..=500).collect::<Vec<_>>());
    assert!(hosted.is_alive());

    commands.tell(Envelope::new(add("a", 1.0)), Some("inbox".into())).unwrap();
    commands.stop().await;
    let mut replies = Vec::new();
    while let Some(release) = hosted.next().await {
        replies.extend(release.replies);
    }
    assert_eq!(replies, [("inbox".to_owned(), Ok(Outcome::Done(501.0)))]);
    hosted.ended().await.unwrap();
    assert_eq!(commands.ask(Envelope::new(read("a"))).await, Err(HostError::Stopping));
    assert_eq!(commands.tell(Envelope::new(read("a")), None), Err(HostError::Stopping));

    // The end took a snapshot, and what was never confirmed comes back as effects.
    let infos = FileJournal::open(&path, Timestamp::EPOCH).unwrap().snapshots().unwrap();
    assert_eq!(infos.last().unwrap().seq.0, 501);
    let (_commands, mut hosted) = host(&path);
    assert_eq!(hosted.next().await.unwrap().effects.len(), 501);
}

#[tokio::test]
async fn a_host_that_lost_its_journal_to_another_ends() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.journal");
    let (old, mut old_hosted) = host(&path);
    old_hosted.next().await.unwrap();
    let (new, mut new_hosted) = host(&path);
    new_hosted.next().await.unwrap();
    let answer = released(&mut old_hosted, old.ask(Envelope::new(add("a", 1.0)))).await;
    assert!(matches!(answer, Err(HostError::Fenced { .. })));
    while old_hosted.next().await.is_some() {}
    assert!(matches!(old_hosted.ended().await, Err(KernelError::Host(HostError::Fenced { .. }))));
    let answer = released(&mut new_hosted, new.ask(Envelope::new(add("a", 1.0)))).await;
    assert_eq!(answer, Ok(Outcome::Done(1.0)));
}

/// A journal on which a snapshot is stored when somebody lets it be.
struct Held(FileJournal, Arc<Gate>);

#[derive(Default)]
struct Gate {
    is_open: Mutex<bool>,
    opened: Condvar,
}

impl Journal for Held {
    fn append(&mut self, batch: &[&[u8]]) -> Result<Seq, StoreError> {
        self.0.append(batch)
    }
    fn replay(
        &mut self,
        from: Seq,
        visit: &mut dyn FnMut(Record<'_>) -> ControlFlow<()>,
    ) -> Result<(), StoreError> {
        self.0.replay(from, visit)
    }
    fn last(&self) -> Seq {
        self.0.last()
    }
    fn epoch(&self) -> Epoch {
        self.0.epoch()
    }
    fn begin_snapshot(&mut self, seq: Seq) -> Result<StoreSnapshot, StoreError> {
        let (store, held) = (self.0.begin_snapshot(seq)?, Arc::clone(&self.1));
        Ok(Box::new(move |state| {
            drop(held.opened.wait_while(held.is_open.lock().unwrap(), |is_open| !*is_open).unwrap());
            store(state)
        }))
    }
    fn snapshots(&mut self) -> Result<Vec<SnapshotInfo>, StoreError> {
        self.0.snapshots()
    }
    fn restore(&mut self, seq: Seq) -> Result<Vec<u8>, StoreError> {
        self.0.restore(seq)
    }
    fn truncate(&mut self, seq: Seq) -> Result<(), StoreError> {
        self.0.truncate(seq)
    }
    fn id(&self) -> JournalId {
        self.0.id()
    }
    fn room(&self) -> Option<u64> {
        self.0.room()
    }
}

#[tokio::test]
async fn commands_do_not_wait_for_a_snapshot_that_is_being_stored() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.journal");
    let gate = Arc::new(Gate::default());
    let (opened, held) = (path.clone(), Arc::clone(&gate));
    let open = move || {
        let journal = FileJournal::open(opened, Timestamp::EPOCH)?;
        Ok(Box::new(Held(journal, held)) as Box<dyn Journal>)
    };
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let (commands, mut hosted) = spawn::<Tally, _>("tally".into(), open, clock, Box::new(OsEntropy)).unwrap();
    // Twice as many as one snapshot has, so that it was due long before the last answer.
    let mut sum = 0.0;
    while sum < (2 * limits::SNAPSHOT_EVENTS) as f64 {
        for _ in 0..1000 {
            commands.tell(Envelope::new(add("a", 1.0)), None).unwrap();
        }
        let answer = released(&mut hosted, commands.ask(Envelope::new(read("a")))).await;
        let Ok(Outcome::Done(now)) = answer else { panic!("{answer:?}") };
        sum = now;
    }
    let stored = || {
        let names = std::fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().file_name());
        names.filter(|name| name.to_string_lossy().starts_with("snapshot-")).count()
    };
    assert_eq!(stored(), 0);
    *gate.is_open.lock().unwrap() = true;
    gate.opened.notify_all();
    commands.stop().await;
    while hosted.next().await.is_some() {}
    hosted.ended().await.unwrap();
    // The one that was held, and the one at the end.
    assert_eq!(stored(), 2);
    let mut journal = FileJournal::open(&path, Timestamp::EPOCH).unwrap();
    let host = Host::<Tally, ()>::load("tally", &mut journal).unwrap();
    assert_eq!(host.state().counts["a"], sum);
}

#[tokio::test]
async fn a_journal_that_cannot_be_opened_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.journal");
    std::fs::write(&path, b"no journal at all, and too long to be an empty file".repeat(50)).unwrap();
    let (commands, mut hosted) = host(&path);
    assert!(hosted.next().await.is_none());
    let error = hosted.ended().await.unwrap_err();
    assert!(matches!(error, KernelError::Open(_)) && error.to_string().contains("x.journal"), "{error}");
    assert_eq!(commands.ask(Envelope::new(read("a"))).await, Err(HostError::Stopping));
}
