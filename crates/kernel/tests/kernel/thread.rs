//! The host's thread on a journal of files: group commit, order, the end.

use std::sync::Arc;

use grace_kernel::{
    Envelope, HostError, Outcome,
    process::{
        KernelError,
        thread::{Commands, Hosted, spawn},
    },
};
use grace_store::{Journal, file::FileJournal};
use grace_types::{
    chance::OsEntropy,
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
