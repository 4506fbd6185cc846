//! Where workers speak: `grace.work.<verb>.<worker>`.
//!
//! | Verb | Commands |
//! |---|---|
//! | `register` | `register`, `leave` |
//! | `lease` | `lease` with one ask; the header `Grace-Wait-Ms` says how long it may wait for a task |
//! | `answer` | `answer` |
//! | `beat` | `beat`, `extend` |
//!
//! The body is `{"command": …}` as in [`super::command`], the answer as on `grace.cmd.*`. The last word of the subject is the worker:
//! the broker lets a component publish under its own name only, and a command that names another worker is refused.
//!
//! Leases wait here, not at the host. All that wait go in one `lease` when tasks wait, so that the least loaded is served first; one
//! such command is under way at a time. After an answer it goes right behind it, into the same batch: one sync for both.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use grace_bus::{Bus, Message};
use grace_kernel::{
    Answer, Envelope, HostError, Outcome,
    process::{
        serve::listen,
        tell,
        thread::Commands,
        wire::{self, WireError},
    },
};
use grace_types::{
    chance::{Entropy, OsEntropy},
    time::{Clock, Monotonic},
};
use tokio::sync::{Notify, mpsc};

use super::{
    Command, Htm, Reply,
    command::{Ask, Grants},
};
use crate::limits;

/// The header that says how long a lease may wait for a task, milliseconds.
pub const WAIT_HEADER: &str = "Grace-Wait-Ms";

/// The subject on which a worker says something.
#[must_use]
pub fn work_subject(verb: &str, worker: &str) -> String {
    format!("grace.work.{verb}.{worker}")
}

/// An ask that waits for a task.
struct Waiting {
    ask: Ask,
    reply: String,
    until: Monotonic,
}

/// See the module's page.
pub(super) struct Desk {
    bus: Bus,
    commands: Commands<Htm>,
    clock: Arc<dyn Clock>,
    ready: Arc<Notify>,
    /// By worker.
    waiting: BTreeMap<String, Waiting>,
    /// Those in the `lease` that is under way.
    asked: Option<Vec<Waiting>>,
    /// Whether to ask again once it is answered.
    again: bool,
    results: (mpsc::Sender<Answer<Htm>>, mpsc::Receiver<Answer<Htm>>),
}

impl Desk {
    pub(super) fn new(bus: Bus, commands: Commands<Htm>, clock: Arc<dyn Clock>, ready: Arc<Notify>) -> Self {
        let results = mpsc::channel(1);
        Self { bus, commands, clock, ready, waiting: BTreeMap::new(), asked: None, again: false, results }
    }

    /// Serves until the process ends.
    pub(super) async fn run(mut self) {
        let heard = listen(self.bus.clone(), work_subject("*", "*"), super::shell::NAME.to_owned()).await;
        let mut inbox = match heard {
            Ok(inbox) => inbox,
            Err(e) => return tell(&format!("workers are not heard: {e}")),
        };
        let mut looks = tokio::time::interval(limits::TICK_EVERY);
        looks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let ready = Arc::clone(&self.ready);
        loop {
            tokio::select! {
                message = inbox.next() => match message {
                    Some(message) => self.hear(message).await,
                    None => return tell("the subscription to the workers' words has ended"),
                },
                () = ready.notified() => self.lease(),
                Some(answer) = self.results.1.recv() => self.leased(answer).await,
                _ = looks.tick() => self.expire().await,
            }
        }
    }

    async fn hear(&mut self, message: Message) {
        let Some(reply) = message.reply.clone() else { return };
        let told = match bound(&message) {
            Ok((worker, Command::Lease { asks })) => match asks.into_iter().next() {
                Some(ask) => self.wait(worker, ask, &message, reply.clone()).await,
                None => Ok(()),
            },
            Ok((worker, command)) => {
                if matches!(command, Command::Register(_) | Command::Leave { .. }) {
                    // What an earlier run of it asked for is not for this one.
                    self.waiting.remove(&worker);
                    if let Some(asked) = &mut self.asked {
                        asked.retain(|one| one.ask.worker != worker);
                    }
                }
                let answers = matches!(command, Command::Answer { .. });
                let told = self.commands.tell(Envelope::new(command), Some(reply.clone()));
                if answers && told.is_ok() {
                    self.lease();
                }
                told.map_err(|e| WireError { code: e.code().to_owned(), message: e.to_string() })
            }
            Err(wrong) => Err(wrong),
        };
        if let Err(wrong) = told {
            self.say(reply, wire::error(&wrong)).await;
        }
    }

    async fn wait(
        &mut self,
        worker: String,
        ask: Ask,
        message: &Message,
        reply: String,
    ) -> Result<(), WireError> {
        if self.waiting.len() >= limits::WORKERS && !self.waiting.contains_key(&worker) {
            let most = limits::WORKERS;
            return Err(WireError {
                code: "busy".to_owned(),
                message: format!("{most} workers wait already"),
            });
        }
        let wait = message.headers.get(WAIT_HEADER).and_then(|text| text.parse().ok()).unwrap_or(0);
        let until = self.clock.now().mono.plus(Duration::from_millis(wait).min(limits::LEASE_WAIT));
        if let Some(before) = self.waiting.insert(worker, Waiting { ask, reply, until }) {
            self.answer(before, Vec::new(), None).await;
        }
        self.lease();
        Ok(())
    }

    /// Asks for everybody who waits, unless that is under way.
    fn lease(&mut self) {
        if self.asked.is_some() {
            self.again = true;
            return;
        }
        if self.waiting.is_empty() {
            return;
        }
        let asked: Vec<Waiting> = std::mem::take(&mut self.waiting).into_values().collect();
        let asks = asked.iter().map(|one| one.ask.clone()).collect();
        self.asked = Some(asked);
        self.again = false;
        let (commands, results) = (self.commands.clone(), self.results.0.clone());
        // Its first step is taken before anything else that this loop hands over: `ask` enters the queue on its first poll.
        tokio::spawn(async move {
            let answer = commands.ask(Envelope::new(Command::Lease { asks })).await;
            let _ = results.send(answer).await;
        });
    }

    async fn leased(&mut self, answer: Answer<Htm>) {
        let asked = self.asked.take().unwrap_or_default();
        let (mut grants, wake_ms) = match answer {
            Ok(Outcome::Done(Reply::Leased { grants, wake_ms })) => (grants, wake_ms),
            Ok(_) => (Vec::new(), None),
            // Nothing was given out as far as anybody was told: under its request's name each gets what it was given.
            Err(HostError::Stopping) => return,
            Err(_) => (Vec::new(), None),
        };
        if let Some(wake) = wake_ms {
            let ready = Arc::clone(&self.ready);
            tokio::spawn(async move {
                later(Duration::from_millis(wake.max(1))).await;
                ready.notify_one();
            });
        }
        let now = self.clock.now().mono;
        for one in asked {
            let place = grants.iter().position(|grant| grant.worker == one.ask.worker);
            let (tasks, refused) =
                place.map(|n| grants.swap_remove(n)).map_or_else(Default::default, |g| (g.tasks, g.refused));
            let replaced = self.waiting.contains_key(&one.ask.worker);
            if !tasks.is_empty() || refused.is_some() || replaced || now >= one.until {
                self.answer(one, tasks, refused).await;
            } else {
                self.waiting.insert(one.ask.worker.clone(), one);
            }
        }
        if self.again {
            self.lease();
        }
    }

    /// Those whose wait is over get nothing, and ask again.
    async fn expire(&mut self) {
        let now = self.clock.now().mono;
        let over: Vec<String> =
            self.waiting.iter().filter(|(_, one)| now >= one.until).map(|(name, _)| name.clone()).collect();
        for worker in over {
            if let Some(one) = self.waiting.remove(&worker) {
                self.answer(one, Vec::new(), None).await;
            }
        }
    }

    async fn answer(&self, one: Waiting, tasks: Vec<super::command::Lease>, refused: Option<String>) {
        let grants = vec![Grants { worker: one.ask.worker, tasks, refused }];
        let reply = Reply::Leased { grants, wake_ms: None };
        self.say(one.reply, wire::answer::<Htm>(&Ok(Outcome::Done(reply)))).await;
    }

    async fn say(&self, to: String, body: Vec<u8>) {
        // Lost with the connection: whoever asked asks again.
        let _ = self.bus.publish(Message::new(to, body)).await;
    }
}

#[expect(clippy::disallowed_methods, reason = "the shell's own timer: a rate lets the next task start then")]
async fn later(wait: Duration) {
    tokio::time::sleep(wait).await;
}

/// The worker and its command, if the subject allows it.
fn bound(message: &Message) -> Result<(String, Command), WireError> {
    let wrong = |message: String| WireError { code: "bad_request".to_owned(), message };
    let mut words = message.subject.rsplitn(3, '.');
    let (worker, verb) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let mut command = wire::read_command::<Htm>(message)?.command;
    let (fits, named) = match &mut command {
        Command::Register(offer) => (verb == "register", offer.name.as_str()),
        Command::Leave { worker } => (verb == "register", worker.as_str()),
        Command::Lease { asks } => match asks.as_slice() {
            [ask] => (verb == "lease", ask.worker.as_str()),
            _ => return Err(wrong("a worker asks for itself: one ask".to_owned())),
        },
        Command::Answer { worker, chance, .. } => {
            *chance = OsEntropy.next_u64();
            (verb == "answer", worker.as_str())
        }
        Command::Beat { worker } | Command::Extend { worker, .. } => (verb == "beat", worker.as_str()),
        _ => (false, worker),
    };
    if !fits {
        return Err(wrong(format!("this command is not for grace.work.{verb}")));
    }
    if named != worker {
        return Err(wrong(format!("the subject says that this is `{worker}`, the command another worker")));
    }
    Ok((worker.to_owned(), command))
}
