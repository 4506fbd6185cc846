//! Where workers speak: `grace.work.<verb>.<worker>`.
//!
//! | Verb | Commands |
//! |---|---|
//! | `register` | `register`, `leave` |
//! | `lease` | `lease` with one ask; the header `Grace-Wait-Ms` says how long it may wait for a task |
//! | `answer` | `answer`; `turn` with one turn: an answer and a lease in one, which does not wait |
//! | `beat` | `beat`, `extend` |
//!
//! The body is `{"command": …}` as in [`super::command`], the answer as on `grace.cmd.*`. The last word of the subject is the worker:
//! the broker lets a component publish under its own name only, and a command that names another worker is refused.
//!
//! Leases wait here, not at the host. What workers say at the same time goes in one `turn` (one event for all that was done), and right
//! behind it, into the same batch, one `lease` for all that wait, so that the least loaded is served first: one sync for both. One such
//! pair is under way at a time; what is said meanwhile goes in the next.
//!
//! What the cortex submits comes here too (`grace.htm.submit`) and goes before the two: at once where a worker waits for a task. Where none does,
//! it could not begin anyhow, and waits a moment for the next worker who says something, with whom it shares a sync.

use std::{
    collections::{BTreeMap, VecDeque},
    iter,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use grace_bus::{Bus, Message, Subscription};
use grace_kernel::{
    Answer, Envelope, HostError, Outcome,
    process::{
        here::announce,
        later,
        serve::listen,
        tell,
        thread::Commands,
        wire::{self, WireError},
    },
};
use grace_types::{
    chance::{Entropy, OsEntropy},
    intent::SUBMIT_SUBJECT,
    time::{Clock, Monotonic},
};
use tokio::sync::{Notify, mpsc};

use super::{
    Command, Htm, Reply,
    command::{Ask, Grants, Lease, Turn},
};
use crate::limits;

/// The subject on which a worker says something.
#[must_use]
pub fn work_subject(verb: &str, worker: &str) -> String {
    format!("grace.work.{verb}.{worker}")
}

/// When each worker last spoke, kept in memory so that workers that have nothing to do are not written down. After a restart every worker
/// has its whole time anew (`configured`), so nothing of it is missed.
#[derive(Clone, Default)]
pub(super) struct Heard(Arc<Mutex<BTreeMap<String, Monotonic>>>);

impl Heard {
    fn note(&self, worker: &str, now: Monotonic) {
        let mut heard = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(last) = heard.get_mut(worker) {
            *last = now;
        } else if heard.len() < limits::WORKERS {
            heard.insert(worker.to_owned(), now);
        }
    }

    /// The milliseconds since each spoke. Who was silent for too long is lost with the next tick, and forgotten a little later.
    pub(super) fn ago(&self, now: Monotonic) -> BTreeMap<String, u64> {
        let mut heard = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let ago = |last: &Monotonic| now.as_nanos().saturating_sub(last.as_nanos()) / 1_000_000;
        heard.retain(|_, last| ago(last) < 2 * limits::WORKER_SILENCE_MS);
        heard.iter().map(|(worker, last)| (worker.clone(), ago(last))).collect()
    }
}

/// An ask that waits for a task.
struct Waiting {
    ask: Ask,
    reply: String,
    until: Monotonic,
}

impl Waiting {
    /// Where its answer goes, and the answer.
    fn answer(self, tasks: Vec<Lease>, refused: Option<String>) -> (String, Answer<Htm>) {
        let grants = vec![Grants { worker: self.ask.worker, tasks, refused }];
        (self.reply, Ok(Outcome::Done(Reply::Leased { grants, wake_ms: None })))
    }
}

/// What a worker said, and how it is answered.
struct Said {
    turn: Turn,
    reply: String,
    /// As an `answer`, and not as a `turn`.
    plainly: bool,
    bytes: usize,
}

/// What is under way at the host.
#[derive(Default)]
struct UnderWay {
    said: Vec<Said>,
    asked: Vec<Waiting>,
}

/// The host's answers to the two commands.
type Answers = (Option<Answer<Htm>>, Option<Answer<Htm>>);

/// See the module's page.
pub(super) struct Desk {
    bus: Bus,
    commands: Commands<Htm>,
    clock: Arc<dyn Clock>,
    ready: Arc<Notify>,
    heard: Heard,
    /// What waits to be told.
    said: VecDeque<Said>,
    /// What was submitted, and where the answer goes.
    submitted: Vec<(Envelope<Command>, Option<String>)>,
    /// By worker.
    waiting: BTreeMap<String, Waiting>,
    under_way: Option<UnderWay>,
    /// Whether to go again once that is answered.
    again: bool,
    results: (mpsc::Sender<Answers>, mpsc::Receiver<Answers>),
}

impl Desk {
    pub(super) fn new(
        bus: Bus,
        commands: Commands<Htm>,
        clock: Arc<dyn Clock>,
        ready: Arc<Notify>,
        heard: Heard,
    ) -> Self {
        let results = mpsc::channel(1);
        Self {
            bus,
            commands,
            clock,
            ready,
            heard,
            said: VecDeque::new(),
            submitted: Vec::new(),
            waiting: BTreeMap::new(),
            under_way: None,
            again: false,
            results,
        }
    }

    /// Serves until the process ends.
    pub(super) async fn run(mut self) {
        let hear = |subject: String| listen(self.bus.clone(), subject, super::shell::NAME.to_owned());
        let heard = tokio::join!(hear(work_subject("*", "*")), hear(SUBMIT_SUBJECT.to_owned()));
        let (mut inbox, mut submissions) = match heard {
            (Ok(workers), Ok(cortex)) => (workers, cortex),
            (Err(e), _) => return tell(&format!("workers are not heard: {e}")),
            (_, Err(e)) => return tell(&format!("intents are not heard: {e}")),
        };
        // What was said to a task manager that is no more is said again.
        tokio::spawn(announce(self.bus.clone(), super::shell::NAME));
        let mut looks = tokio::time::interval(limits::TICK_EVERY);
        looks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let ready = Arc::clone(&self.ready);
        loop {
            tokio::select! {
                message = inbox.next() => {
                    let Some(first) = message else {
                        return tell("the subscription to the workers' words has ended");
                    };
                    // All that has come, then one step for all of it.
                    for message in all_there(first, &mut inbox) {
                        self.hear(message).await;
                    }
                    self.go();
                }
                message = submissions.next() => {
                    let Some(first) = message else {
                        return tell("the subscription to intents has ended");
                    };
                    for message in all_there(first, &mut submissions) {
                        self.hear_submission(message).await;
                    }
                    if !self.waiting.is_empty() {
                        self.go();
                    }
                }
                () = ready.notified() => self.go(),
                Some(answers) = self.results.1.recv() => self.answered(answers).await,
                _ = looks.tick() => self.expire().await,
            }
        }
    }

    async fn hear_submission(&mut self, message: Message) {
        match (submission(&message), message.reply) {
            (Ok(envelope), reply) => {
                self.submitted.push((envelope, reply));
                if let [_] = self.submitted.as_slice() {
                    let ready = Arc::clone(&self.ready);
                    tokio::spawn(async move {
                        later(limits::SUBMIT_GATHER).await;
                        ready.notify_one();
                    });
                }
            }
            (Err(wrong), Some(reply)) => self.say(reply, wire::error(&wrong)).await,
            (Err(_), None) => {}
        }
    }

    async fn hear(&mut self, message: Message) {
        let Some(reply) = message.reply.clone() else { return };
        let bound = bound(&message);
        if let Ok((worker, _)) = &bound {
            self.heard.note(worker, self.clock.now().mono);
        }
        let heard = match bound {
            Ok((worker, Command::Lease { asks })) => match asks.into_iter().next() {
                Some(ask) => self.wait(worker, ask, &message, reply.clone()).await,
                None => Ok(()),
            },
            Ok((worker, Command::Answer { answers, .. })) => {
                let turn = Turn { worker, answers, next: None };
                self.say_later(turn, &message, reply.clone(), true)
            }
            Ok((_, Command::Turn { turns, .. })) => match turns.into_iter().next() {
                Some(turn) => self.say_later(turn, &message, reply.clone(), false),
                None => Ok(()),
            },
            Ok((worker, mut command)) => {
                if let Command::Beat { remembered, .. } = &mut command {
                    *remembered = true;
                }
                if matches!(command, Command::Register(_) | Command::Leave { .. }) {
                    // What an earlier run of it asked for is not for this one.
                    self.waiting.remove(&worker);
                    if let Some(under_way) = &mut self.under_way {
                        under_way.asked.retain(|one| one.ask.worker != worker);
                    }
                }
                let told = self.commands.tell(Envelope::new(command), Some(reply.clone()));
                told.map_err(WireError::from)
            }
            Err(wrong) => Err(wrong),
        };
        if let Err(wrong) = heard {
            self.say(reply, wire::error(&wrong)).await;
        }
    }

    fn say_later(
        &mut self,
        turn: Turn,
        message: &Message,
        reply: String,
        plainly: bool,
    ) -> Result<(), WireError> {
        if self.said.len() >= limits::WORKERS {
            let message = format!("{} answers wait already", limits::WORKERS);
            return Err(WireError { code: "busy".to_owned(), message });
        }
        self.said.push_back(Said { turn, reply, plainly, bytes: message.payload.len() });
        Ok(())
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
        let until = self.clock.now().mono.plus(wire::patience(message, limits::LEASE_WAIT));
        if let Some(before) = self.waiting.insert(worker, Waiting { ask, reply, until }) {
            let (to, answer) = before.answer(Vec::new(), None);
            self.say(to, wire::answer::<Htm>(&answer)).await;
        }
        Ok(())
    }

    /// Tells the host what was said and asks for everybody who waits, unless that is under way.
    fn go(&mut self) {
        if self.under_way.is_some() {
            self.again = true;
            return;
        }
        if self.said.is_empty() && self.waiting.is_empty() && self.submitted.is_empty() {
            return;
        }
        let submitted = std::mem::take(&mut self.submitted);
        if self.said.is_empty() && self.waiting.is_empty() {
            return hand_over(&self.bus, &self.commands, submitted);
        }
        let said = self.take_said();
        // More was said than goes into one command.
        self.again = !self.said.is_empty();
        let asked: Vec<Waiting> = std::mem::take(&mut self.waiting).into_values().collect();
        let turns: Vec<Turn> = said.iter().map(|one| one.turn.clone()).collect();
        let mut asks: Vec<Ask> = said.iter().filter_map(|one| one.turn.next.clone()).collect();
        let next = asks.len();
        // A worker that wants its next tasks has given up what it waited for before.
        asks.extend(
            asked.iter().map(|one| one.ask.clone()).filter(|ask| {
                !said.iter().any(|one| one.turn.next.is_some() && one.turn.worker == ask.worker)
            }),
        );
        asks.truncate(limits::WORKERS.max(next));
        self.under_way = Some(UnderWay { said, asked });
        let (any_said, commands, results) =
            (!turns.is_empty(), self.commands.clone(), self.results.0.clone());
        let bus = self.bus.clone();
        tokio::spawn(async move {
            hand_over(&bus, &commands, submitted);
            let turned = async {
                let command = Command::Turn { turns, chance: OsEntropy.next_u64() };
                if any_said { Some(commands.ask(Envelope::new(command)).await) } else { None }
            };
            let leased = async {
                let wanted = !asks.is_empty();
                if wanted { Some(commands.ask(Envelope::new(Command::Lease { asks })).await) } else { None }
            };
            // `ask` enters the queue on its first poll: what was said before the leases, which want the slots that it frees.
            let answers = tokio::join!(biased; turned, leased);
            let _ = results.send(answers).await;
        });
    }

    /// What goes into one command: so many answers, and so much of outputs, as fit one event.
    fn take_said(&mut self) -> Vec<Said> {
        let (mut answers, mut bytes) = (0, 0);
        let fits = |one: &&Said| {
            answers += one.turn.answers.len();
            bytes += one.bytes;
            answers <= limits::BATCH && bytes <= limits::EVENT_PAYLOAD_BYTES
        };
        // The first goes whatever it is: what is wrong with it is the decider's to say.
        let count = self.said.iter().take_while(fits).count().max(1).min(self.said.len());
        self.said.drain(..count).collect()
    }

    async fn answered(&mut self, (turned, leased): Answers) {
        let UnderWay { said, asked } = self.under_way.take().unwrap_or_default();
        let (mut grants, wake_ms) = match leased {
            Some(Ok(Outcome::Done(Reply::Leased { grants, wake_ms }))) => (grants, wake_ms),
            // Nothing was given out as far as anybody was told: under its request's name each gets what it was given.
            Some(Err(HostError::Stopping)) => return,
            _ => (Vec::new(), None),
        };
        if let Some(wake) = wake_ms {
            let ready = Arc::clone(&self.ready);
            tokio::spawn(async move {
                later(Duration::from_millis(wake.max(1))).await;
                ready.notify_one();
            });
        }
        let mut answers = turned.map(|turned| told(said, turned, &mut grants)).unwrap_or_default();
        let now = self.clock.now().mono;
        for one in asked {
            let (tasks, refused) = granted(&mut grants, &one.ask.worker);
            let replaced = self.waiting.contains_key(&one.ask.worker);
            if !tasks.is_empty() || refused.is_some() || replaced || now >= one.until {
                answers.push(one.answer(tasks, refused));
            } else {
                self.waiting.insert(one.ask.worker.clone(), one);
            }
        }
        // The host goes on while these are answered.
        if self.again || !self.submitted.is_empty() && !self.waiting.is_empty() {
            self.go();
        }
        for (to, answer) in answers {
            self.say(to, wire::answer::<Htm>(&answer)).await;
        }
    }

    /// Those whose wait is over get nothing, and ask again.
    async fn expire(&mut self) {
        let now = self.clock.now().mono;
        let over: Vec<String> =
            self.waiting.iter().filter(|(_, one)| now >= one.until).map(|(name, _)| name.clone()).collect();
        for worker in over {
            if let Some(one) = self.waiting.remove(&worker) {
                let (to, answer) = one.answer(Vec::new(), None);
                self.say(to, wire::answer::<Htm>(&answer)).await;
            }
        }
    }

    async fn say(&self, to: String, body: Vec<u8>) {
        // Lost with the connection: whoever asked asks again.
        let _ = self.bus.publish(Message::new(to, body)).await;
    }
}

/// The answers to those who said something, with what they are given next, and where they go.
fn told(said: Vec<Said>, turned: Answer<Htm>, grants: &mut Vec<Grants>) -> Vec<(String, Answer<Htm>)> {
    let (mut turns, other) = match turned {
        Ok(Outcome::Done(Reply::Turned { turns })) => (turns.into_iter(), None),
        other => (Vec::new().into_iter(), Some(other)),
    };
    let answer = |one: Said| {
        let Some(mut turned) = turns.next() else {
            // One answer for all of them: the host's error, or a refusal of the command.
            let other = other.clone().unwrap_or(Err(HostError::Stopping));
            return (one.reply, other);
        };
        if one.turn.next.is_some() {
            turned.tasks = granted(grants, &one.turn.worker).0;
        }
        let outcome = match turned.refused.take() {
            Some(refusal) => Outcome::Refused(refusal),
            None if one.plainly => Outcome::Done(Reply::Answered { verdicts: turned.verdicts }),
            None => Outcome::Done(Reply::Turned { turns: vec![turned] }),
        };
        (one.reply, Ok(outcome))
    };
    said.into_iter().map(answer).collect()
}

/// A message and those that have come behind it.
fn all_there(first: Message, inbox: &mut Subscription) -> impl Iterator<Item = Message> {
    iter::once(first).chain(iter::from_fn(move || inbox.try_next()))
}

/// What the cortex may say there.
fn submission(message: &Message) -> Result<Envelope<Command>, WireError> {
    let envelope = wire::read_command::<Htm>(message)?;
    match envelope.command {
        Command::Submit { .. } => Ok(envelope),
        _ => Err(WireError::bad_request("nothing but `submit` is taken here")),
    }
}

/// Gives the host what was submitted. What there is no room for is answered so.
fn hand_over(bus: &Bus, commands: &Commands<Htm>, submitted: Vec<(Envelope<Command>, Option<String>)>) {
    for (envelope, reply) in submitted {
        let told = commands.tell(envelope, reply.clone());
        if let (Err(error), Some(reply)) = (told, reply) {
            let (bus, body) = (bus.clone(), wire::error(&WireError::from(error)));
            tokio::spawn(async move { bus.publish(Message::new(reply, body)).await });
        }
    }
}

/// Takes out what a worker was given, and why it is given nothing.
fn granted(grants: &mut Vec<Grants>, worker: &str) -> (Vec<Lease>, Option<String>) {
    let place = grants.iter().position(|grant| grant.worker == worker);
    place.map(|n| grants.swap_remove(n)).map_or_else(Default::default, |grant| (grant.tasks, grant.refused))
}

/// The worker and its command, if the subject allows it.
fn bound(message: &Message) -> Result<(String, Command), WireError> {
    let mut words = message.subject.rsplitn(3, '.');
    let (worker, verb) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let command = wire::read_command::<Htm>(message)?.command;
    let (fits, named) = match &command {
        Command::Register(offer) => (verb == "register", offer.name.as_str()),
        Command::Leave { worker } => (verb == "register", worker.as_str()),
        Command::Lease { asks } => match asks.as_slice() {
            [ask] => (verb == "lease", ask.worker.as_str()),
            _ => return Err(WireError::bad_request("a worker asks for itself: one ask".to_owned())),
        },
        Command::Answer { worker, .. } => (verb == "answer", worker.as_str()),
        Command::Turn { turns, .. } => match turns.as_slice() {
            [Turn { worker, next, .. }] if next.as_ref().is_none_or(|ask| ask.worker == *worker) => {
                (verb == "answer", worker.as_str())
            }
            _ => {
                return Err(WireError::bad_request(
                    "a worker speaks for itself: one turn, and its own next tasks".to_owned(),
                ));
            }
        },
        Command::Beat { worker, .. } | Command::Extend { worker, .. } => (verb == "beat", worker.as_str()),
        _ => (false, worker),
    };
    if !fits {
        return Err(WireError::bad_request(format!("this command is not for grace.work.{verb}")));
    }
    if named != worker {
        return Err(WireError::bad_request(format!(
            "the subject says that this is `{worker}`, the command another worker"
        )));
    }
    Ok((worker.to_owned(), command))
}
