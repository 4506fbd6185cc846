//! A worker's requests to the task manager, each repeated until it is answered.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use grace_bus::{Bus, Headers, Message};
use grace_kernel::{
    Outcome,
    process::{here::Here, serve::listen, tell, wire},
};
use grace_types::intent::WAIT_HEADER;
use serde_json::json;
use tokio::sync::{Notify, mpsc};

use super::{Word, run::KINDS};
use crate::{
    htm::{
        Command, Htm, Refusal, Reply,
        command::{Ask, TaskAnswer, Verdict},
        desk::work_subject,
        event::Offer,
        shell::stop_subject,
    },
    limits,
};

/// The way to the task manager of one run of a worker.
#[derive(Clone)]
pub(super) struct Road {
    pub(super) bus: Bus,
    pub(super) manager: Here,
    pub(super) name: String,
    pub(super) incarnation: String,
}

impl Road {
    /// Registers, and leases for ever; registers again when the task manager does not know it any more.
    pub(super) async fn leases(
        self,
        words: mpsc::Sender<Word>,
        closed: Arc<AtomicBool>,
        registered: Arc<Notify>,
    ) {
        let mut number = 0u64;
        while !closed.load(Ordering::Acquire) {
            let offer = Offer {
                name: self.name.clone(),
                incarnation: self.incarnation.clone(),
                kinds: KINDS.iter().map(|kind| (*kind).to_owned()).collect(),
                labels: Vec::new(),
                slots: limits::WORKER_SLOTS,
            };
            if let Err(refusal) = self.ask("register", &Command::Register(offer), Duration::ZERO).await {
                tell(&format!("the task manager does not take this worker: {refusal}"));
                pause().await;
                continue;
            }
            if words.send(Word::Fresh).await.is_err() {
                return;
            }
            registered.notify_one();
            while !closed.load(Ordering::Acquire) {
                number += 1;
                let ask = Ask {
                    worker: self.name.clone(),
                    max: limits::WORKER_SLOTS,
                    request: Some(format!("{}-{number}", self.incarnation)),
                };
                let lease = Command::Lease { asks: vec![ask] };
                let Ok(Reply::Leased { mut grants, .. }) =
                    self.ask("lease", &lease, limits::WORKER_WAIT).await
                else {
                    pause().await;
                    continue;
                };
                let Some(grant) = grants.pop() else { continue };
                if grant.refused.is_some() {
                    break;
                }
                if !grant.tasks.is_empty() && words.send(Word::Tasks(grant.tasks)).await.is_err() {
                    return;
                }
            }
        }
    }

    /// Tells what became of tasks; what ends together is told together.
    pub(super) async fn answers(self, mut waiting: mpsc::Receiver<TaskAnswer>) {
        let mut answers: Vec<TaskAnswer> = Vec::new();
        loop {
            if answers.is_empty() {
                if waiting.recv_many(&mut answers, limits::BATCH).await == 0 {
                    return;
                }
            } else {
                // These are told again; what has ended meanwhile goes with them.
                pause().await;
                let room = limits::BATCH - answers.len();
                answers.extend(std::iter::from_fn(|| waiting.try_recv().ok()).take(room));
            }
            let told = Command::Answer { worker: self.name.clone(), answers: answers.clone(), chance: 0 };
            match self.ask("answer", &told, Duration::ZERO).await {
                Ok(Reply::Answered { verdicts }) => {
                    let mut verdicts = verdicts.into_iter();
                    answers.retain(|answer| match verdicts.next() {
                        Some(Verdict::Later(_)) => true,
                        Some(Verdict::Refused(why)) => {
                            tell(&format!("the answer for {} does not count: {why}", answer.task));
                            false
                        }
                        Some(Verdict::Taken) | None => false,
                    });
                }
                Ok(_) => answers.clear(),
                Err(refusal) => {
                    let tasks: Vec<String> = answers.iter().map(|answer| answer.task.to_string()).collect();
                    tell(&format!("answers for {} do not count: {refusal}", tasks.join(", ")));
                    answers.clear();
                }
            }
        }
    }

    /// Gives signs of life, and hears what need not be gone on with.
    pub(super) async fn beats(self, words: mpsc::Sender<Word>) {
        let mut every = Duration::from_millis(limits::WORKER_SILENCE_MS / 3);
        loop {
            let mut beats = tokio::time::interval(every);
            beats.tick().await;
            beats.tick().await;
            let command = Command::Beat { worker: self.name.clone(), remembered: false };
            if let Ok(Reply::Beaten { stop, beat_ms }) = self.ask("beat", &command, Duration::ZERO).await {
                every = Duration::from_millis(beat_ms.max(10));
                for granted in stop {
                    if words.send(Word::Stop(granted)).await.is_err() {
                        return;
                    }
                }
            }
        }
    }

    /// Hears at once what need not be gone on with.
    pub(super) async fn stops(self, words: mpsc::Sender<Word>) {
        let Ok(mut inbox) = listen(self.bus.clone(), stop_subject(&self.name), self.name.clone()).await
        else {
            return;
        };
        while let Some(message) = inbox.next().await {
            if let Ok(granted) = serde_json::from_slice(&message.payload)
                && words.send(Word::Stop(granted)).await.is_err()
            {
                return;
            }
        }
    }

    /// Leaves in good order: what it still has goes back to the queue at once.
    pub(super) async fn leave(self) {
        let command = Command::Leave { worker: self.name.clone() };
        // If it is not heard, the silence is.
        let asked = self.ask("register", &command, Duration::ZERO);
        let _ = tokio::time::timeout(limits::EXEC_REST, asked).await;
    }

    /// Asks until there is an answer.
    async fn ask(&self, verb: &str, command: &Command, wait: Duration) -> Result<Reply, Refusal> {
        let body = serde_json::to_vec(&json!({ "command": command })).unwrap_or_default();
        let headers: Headers = [(WAIT_HEADER.to_owned(), wait.as_millis().to_string())].into_iter().collect();
        let subject = work_subject(verb, &self.name);
        loop {
            let message = Message::new(subject.clone(), body.clone()).with_headers(headers.clone());
            // Without an answer it is away; the client connects again by itself, and one that was killed is heard to be back.
            if let Ok(answer) = self.manager.request(message, wait + limits::WORKER_PATIENCE).await {
                match wire::read_answer::<Htm>(&answer.payload) {
                    Ok(Outcome::Done(reply)) => return Ok(reply),
                    Ok(Outcome::Refused(refusal)) => return Err(refusal),
                    Err(e) if e.code == "bad_request" => {
                        return Err(Refusal { code: e.code, message: e.message });
                    }
                    // Busy, stopping, a full disk: it passes.
                    Err(_) => {}
                }
            }
            pause().await;
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "the shell's own timer: between two tries")]
pub(super) async fn pause() {
    tokio::time::sleep(limits::WORKER_RETRY).await;
}
