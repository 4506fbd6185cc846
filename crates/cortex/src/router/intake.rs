//! The way in: who asks is read from the subject, what is asked for is checked against its type, and many are decided together.
//!
//! ```text
//! message ─► who asks? ─► fits its type? ─► waits for a flight ─► decided, durable ─► answered ─► handed on
//!                                                     └─ while the task manager has no room: would it take these? ─┘
//! ```
//!
//! So many flights are under way at a time; what comes meanwhile goes into the next ones together. Whoever asks is answered when the
//! decision is durable, which is when nothing can lose it; with the header `Grace-Wait-Ms`, not before the task manager has taken it, or
//! that time is over. As long as the task manager has no room it is asked before anything is decided, so that work is shed in its
//! order, with its reason; where it does not say in time, intents are decided without its word.

use std::{collections::VecDeque, path::PathBuf, sync::Arc, time::Duration};

use grace_bus::{Bus, Message, Subscription};
use grace_kernel::{
    Answer, Envelope, Outcome as Said, private,
    process::{
        here::announce,
        serve::listen,
        tell,
        thread::Commands,
        wire::{self, WireError},
    },
};
use grace_types::{
    intent::{IntentId, Submission, Submitted},
    reason::Reason,
    time::{Clock, Monotonic},
};
use tokio::{
    sync::{mpsc, oneshot},
    time::timeout,
};

use super::{
    Router, refusal,
    road::{self, Waiters},
    shell::{NAME, Types},
};
use crate::{
    change,
    command::{
        Answered, Arrived, Asked, Command, Decision, DecisionState, GOVERN_SUBJECT, Outcome, Query, Reply,
    },
    limits,
    request::{Actor, ActorKind},
};

/// Who speaks.
enum Speaker {
    Operator,
    /// Of another kind, by the name in the subject.
    Actor(Actor),
    Governance,
}

/// Intents that somebody asks for in one message.
struct Request {
    reply: Option<String>,
    intents: Vec<Arrived>,
    /// What is known of where it comes from.
    cause: Envelope<()>,
    bytes: usize,
    /// How long its answer may wait for the task manager.
    patience: Duration,
}

/// What a flight needs.
struct Shared {
    bus: Bus,
    commands: Commands<Router>,
    clock: Arc<dyn Clock>,
    waiters: Waiters,
    types: Box<dyn Types>,
    /// The file of governance's public key.
    public_key: PathBuf,
}

/// See the module's page.
pub(super) struct Intake {
    shared: Arc<Shared>,
    waiting: VecDeque<Request>,
    flights: usize,
    landed: (mpsc::UnboundedSender<()>, mpsc::UnboundedReceiver<()>),
}

impl Intake {
    pub(super) fn new(
        bus: Bus,
        commands: Commands<Router>,
        clock: Arc<dyn Clock>,
        waiters: Waiters,
        types: Box<dyn Types>,
        public_key: PathBuf,
    ) -> Self {
        let shared = Arc::new(Shared { bus, commands, clock, waiters, types, public_key });
        // As many as there are flights.
        Self { shared, waiting: VecDeque::new(), flights: 0, landed: mpsc::unbounded_channel() }
    }

    /// Serves until the process ends. `operators` are the messages on the component's own subject.
    pub(super) async fn run(mut self, mut operators: mpsc::Receiver<Message>) {
        let hear = |subject: &str| listen(self.shared.bus.clone(), subject.to_owned(), NAME.to_owned());
        let (actors, governance) = tokio::join!(hear("grace.intent.*.*"), hear(GOVERN_SUBJECT));
        let (mut actors, mut governance) = match (actors, governance) {
            (Ok(actors), Ok(governance)) => (actors, governance),
            (Err(e), _) | (_, Err(e)) => return tell(&format!("intents are not heard: {e}")),
        };
        // What was asked of a cortex that is no more is asked again.
        tokio::spawn(announce(self.shared.bus.clone(), NAME));
        loop {
            let message = tokio::select! {
                message = operators.recv() => message,
                message = actors.next() => message,
                message = governance.next() => message,
                _ = self.landed.1.recv() => {
                    self.flights -= 1;
                    self.go();
                    continue;
                }
            };
            let Some(message) = message else { return tell("the subscription to intents has ended") };
            self.hear(&message);
            // All that has come, then one step for all of it.
            while let Some(message) = next(&mut operators, &mut actors, &mut governance) {
                self.hear(&message);
            }
            self.go();
        }
    }

    fn hear(&mut self, message: &Message) {
        let reply = message.reply.clone();
        let heard = speaker(&message.subject).and_then(|speaker| self.take(speaker, message));
        if let (Err(wrong), Some(reply)) = (heard, reply) {
            self.shared.say(reply, wire::error(&wrong));
        }
    }

    fn take(&mut self, speaker: Speaker, message: &Message) -> Result<(), WireError> {
        let envelope = wire::read_command::<Router>(message)?;
        let Envelope { command, key, correlation, causation, hops, traceparent, hlc, .. } = envelope;
        if matches!(command, Command::Query(_))
            && let Some(results) = self.shared.waiters.unsettled()
        {
            // Right before the question. Where there is no room for it now, it is put on record a moment later.
            let _ = self.shared.commands.tell(Envelope::new(Command::Settle { results }), None);
        }
        match (command, speaker) {
            (Command::Submit { intents }, speaker @ (Speaker::Operator | Speaker::Actor(_))) => {
                if intents.is_empty() || intents.len() > limits::BATCH {
                    return Err(WireError::bad_request(format!("1 to {} intents at a time", limits::BATCH)));
                }
                if self.waiting.len() >= limits::REQUESTS {
                    let message = format!("{} requests wait already", limits::REQUESTS);
                    return Err(WireError { code: "busy".to_owned(), message });
                }
                let alone = intents.len() == 1;
                let named = |key: &str, n: usize| if alone { key.to_owned() } else { format!("{key}#{n}") };
                let arrived = |(n, mut asked): (usize, Asked)| {
                    asked.key = asked.key.or_else(|| key.as_deref().map(|key| named(key, n)));
                    let wrong = (!asked.only_decide).then(|| self.shared.types.fault(&asked)).flatten();
                    Arrived { actor: actor(&speaker, &asked.actor), asked, wrong, others: 0 }
                };
                self.waiting.push_back(Request {
                    reply: message.reply.clone(),
                    intents: intents.into_iter().enumerate().map(arrived).collect(),
                    cause: Envelope { correlation, causation, hops, traceparent, hlc, ..Envelope::default() },
                    bytes: message.payload.len(),
                    patience: wire::patience(message, limits::HAND_WAIT),
                });
                Ok(())
            }
            (Command::Adopt { in_force, .. }, Speaker::Governance) => {
                let key = self.shared.key();
                self.tell(Envelope::new(Command::Adopt { in_force, key }), message)
            }
            (command @ (Command::Resolve { .. } | Command::Carried { .. }), Speaker::Governance) => {
                self.tell(Envelope::new(command), message)
            }
            (Command::Query(query), Speaker::Operator | Speaker::Governance) => {
                self.tell(Envelope::new(Command::Query(query)), message)
            }
            (Command::Query(query), Speaker::Actor(actor)) => self.look(query, actor, message),
            (Command::Resolve { .. } | Command::Carried { .. } | Command::Adopt { .. }, _) => {
                Err(WireError::bad_request(format!("governance says this, on {GOVERN_SUBJECT}")))
            }
            (Command::Submit { .. }, Speaker::Governance) => Err(WireError::bad_request(
                "who asks is known from the subject: grace.intent.kernel.governance",
            )),
            _ => Err(WireError::bad_request("the cortex gives this command to itself")),
        }
    }

    fn tell(&self, envelope: Envelope<Command>, message: &Message) -> Result<(), WireError> {
        let told = self.shared.commands.tell(envelope, message.reply.clone());
        told.map_err(WireError::from)
    }

    /// An actor sees its own intents; what Grace's own components ask is theirs to know.
    fn look(&self, query: Query, actor: Actor, message: &Message) -> Result<(), WireError> {
        if matches!(actor.kind, ActorKind::Automation | ActorKind::Kernel) {
            return self.tell(Envelope::new(Command::Query(query)), message);
        }
        let query = match query {
            Query::Intent(id) => Query::Intent(id),
            Query::Key { key, .. } => Query::Key { actor: actor.clone(), key },
            Query::Intents { state, limit, before, .. } => {
                Query::Intents { state, limit, before, actor: Some(actor.clone()) }
            }
            _ => {
                return Err(WireError::bad_request(
                    "an actor may ask about its own intents: `intent`, `key` or `intents`",
                ));
            }
        };
        let (shared, Some(reply)) = (Arc::clone(&self.shared), message.reply.clone()) else { return Ok(()) };
        tokio::spawn(async move {
            let answer = shared.commands.ask(Envelope::new(Command::Query(query))).await;
            let answer = match answer {
                Ok(Said::Done(Reply::Intent(one))) if !actor.asked_for(&one) => {
                    Ok(Said::Refused(refusal("unknown_intent", format!("there is no intent {}", one.id))))
                }
                other => other,
            };
            shared.say(reply, wire::answer::<Router>(&answer));
        });
        Ok(())
    }

    /// Begins flights as long as there are requests and room.
    fn go(&mut self) {
        while self.flights < limits::FLIGHTS && !self.waiting.is_empty() {
            let (mut count, mut bytes) = (0, 0);
            let fits = |one: &&Request| {
                count += one.intents.len();
                bytes += one.bytes;
                count <= limits::BATCH && bytes <= limits::REQUEST_BYTES
            };
            let taken = self.waiting.iter().take_while(fits).count().max(1);
            let requests: Vec<Request> = self.waiting.drain(..taken).collect();
            self.flights += 1;
            let (shared, landed) = (Arc::clone(&self.shared), self.landed.0.clone());
            tokio::spawn(async move {
                shared.fly(requests).await;
                let _ = landed.send(());
            });
        }
    }
}

impl Shared {
    /// Governance's public key as it lies there now. Read when it is told what is in force, which is seldom: on its first start governance makes it.
    fn key(&self) -> Option<String> {
        let bytes = private::read(&self.public_key, limits::PUBLIC_KEY_BYTES).ok().flatten()?;
        String::from_utf8(bytes).ok().map(|text| text.trim_end().to_owned())
    }

    async fn fly(self: Arc<Self>, mut requests: Vec<Request>) {
        if self.waiters.is_pressed() {
            self.check(&mut requests).await;
        }
        self.sound(&mut requests).await;
        let mut envelope = caused(&requests);
        let mut asking = Vec::with_capacity(requests.len());
        let mut intents = Vec::new();
        for request in &mut requests {
            asking.push((request.reply.take(), request.intents.len(), request.patience));
            intents.append(&mut request.intents);
        }
        envelope.command = Command::Decide { intents };
        let answer = self.commands.ask(envelope).await;
        let Ok(Said::Done(Reply::Submitted { results })) = answer else {
            let body = wire::answer::<Router>(&answer);
            for reply in asking.into_iter().filter_map(|(reply, ..)| reply) {
                self.publish(reply, body.clone()).await;
            }
            return;
        };
        let mut results = results.into_iter();
        for (reply, count, patience) in asking {
            let own: Vec<Answered> = results.by_ref().take(count).collect();
            let Some(reply) = reply else { continue };
            if !patience.is_zero() && own.iter().any(|one| handing(one).is_some()) {
                let shared = Arc::clone(&self);
                tokio::spawn(async move {
                    let own = shared.taken(own, patience).await;
                    shared.publish(reply, submitted(own)).await;
                });
            } else {
                self.publish(reply, submitted(own)).await;
            }
        }
    }

    /// Asks governance of each that would change it whether that could be done, and by whom: nobody is to approve nonsense, and nothing is to
    /// wait for people who are not there.
    async fn sound(&self, requests: &mut [Request]) {
        let all = requests.iter_mut().flat_map(|request| &mut request.intents);
        for one in all.filter(|one| one.wrong.is_none() && change::is_named(&one.asked)) {
            match road::sound(&self.bus, &one.asked, &one.actor.name).await {
                Ok(others) => one.others = others,
                Err(wrong) => one.wrong = Some(wrong),
            }
        }
    }

    /// Asks the task manager whether it has room for those whose type it has a plan for.
    async fn check(&self, requests: &mut [Request]) {
        let all = requests.iter_mut().flat_map(|request| &mut request.intents);
        let mut planned: Vec<&mut Arrived> = all
            .filter(|one| one.wrong.is_none() && !one.asked.only_decide && self.types.has(&one.asked.kind))
            .collect();
        if planned.is_empty() {
            return;
        }
        let submissions: Vec<Submission> = planned.iter().map(|one| would_be(one)).collect();
        let Some(results) = road::check(&self.bus, &submissions).await else { return };
        if results.iter().all(|result| matches!(result, Submitted::Accepted { .. })) {
            self.waiters.press(false);
        }
        for (one, result) in planned.iter_mut().zip(results) {
            if let Submitted::Refused(refused) = result {
                one.wrong = Some(refused);
            }
        }
    }

    /// The answers, once the task manager has said yes or no to those that it is to take; after a while without it.
    async fn taken(&self, answers: Vec<Answered>, patience: Duration) -> Vec<Answered> {
        let until = self.clock.now().mono.plus(patience);
        let mut waits: Vec<_> =
            answers.iter().map(|one| handing(one).map(|id| (id, self.waiters.wait(id)))).collect();
        let mut done = Vec::with_capacity(answers.len());
        for (answered, wait) in answers.into_iter().zip(waits.iter_mut()) {
            match (answered, wait.take()) {
                (Answered::Decided(decision), Some((id, heard))) => {
                    done.push(self.settled(*decision, id, heard, until).await);
                }
                (answered, _) => done.push(answered),
            }
        }
        done
    }

    async fn settled(
        &self,
        mut decision: Decision,
        id: IntentId,
        mut heard: oneshot::Receiver<Submitted>,
        until: Monotonic,
    ) -> Answered {
        loop {
            let left = until.since(self.clock.now().mono);
            match timeout(left.min(limits::HAND_LOOK), &mut heard).await {
                Ok(Ok(Submitted::Accepted { .. })) => {
                    decision.state = DecisionState::Running;
                    return Answered::Decided(Box::new(decision));
                }
                Ok(Ok(Submitted::Refused(refused))) => return Answered::Refused(refused),
                _ => {}
            }
            // It may have been said before anybody listened.
            let look = Command::Query(Query::Intent(id));
            if let Ok(Said::Done(Reply::Intent(now))) = self.commands.ask(Envelope::new(look)).await
                && now.state != DecisionState::Waiting
            {
                return Answered::Decided(Box::new(Decision { repeated: decision.repeated, ..*now }));
            }
            if self.clock.now().mono >= until {
                drop(heard);
                self.waiters.forget(id);
                let told = "handed on as soon as the task manager takes it";
                decision.reasons.push(Reason::new("task_manager.away", told));
                return Answered::Decided(Box::new(decision));
            }
            if heard.is_terminated() {
                heard = self.waiters.wait(id);
            }
        }
    }

    /// Waits for room in the way out.
    async fn publish(&self, to: String, body: Vec<u8>) {
        // Lost with the connection: whoever asked asks again.
        let _ = self.bus.publish(Message::new(to, body)).await;
    }

    fn say(&self, to: String, body: Vec<u8>) {
        let bus = self.bus.clone();
        tokio::spawn(async move { bus.publish(Message::new(to, body)).await });
    }
}

/// The answer to a request.
fn submitted(results: Vec<Answered>) -> Vec<u8> {
    let answer: Answer<Router> = Ok(Said::Done(Reply::Submitted { results }));
    wire::answer::<Router>(&answer)
}

/// The intent, where it is allowed and the task manager has not taken it yet.
fn handing(answered: &Answered) -> Option<IntentId> {
    let Answered::Decided(decision) = answered else { return None };
    let handing = decision.outcome == Outcome::Allowed && decision.state == DecisionState::Waiting;
    handing.then_some(decision.id)
}

/// What one request says of its cause; of several, how many causes lie before them at most.
fn caused(requests: &[Request]) -> Envelope<Command> {
    let mut envelope = Envelope::new(Command::Tick);
    envelope.hops = requests.iter().map(|one| one.cause.hops).max().unwrap_or(0);
    if let [Request { cause, .. }] = requests {
        envelope.correlation = cause.correlation;
        envelope.causation = cause.causation;
        envelope.traceparent.clone_from(&cause.traceparent);
        envelope.hlc = cause.hlc;
    }
    envelope
}

/// What the task manager would be given, for its check.
fn would_be(arrived: &Arrived) -> Submission {
    let Arrived { actor, asked, .. } = arrived;
    Submission {
        id: None,
        kind: asked.kind.clone(),
        actor: actor.name.clone(),
        payload: asked.payload.clone(),
        key: None,
        priority: asked.priority,
        deadline_ms: asked.deadline_ms,
        delay_ms: asked.delay_ms,
        origin: None,
        origin_as_before: false,
    }
}

/// Who asks. An operator's name is the label that it gives; Grace's own automation says which trigger, policy or schedule it asks for.
fn actor(speaker: &Speaker, label: &str) -> Actor {
    match speaker {
        Speaker::Actor(actor) if actor.kind != ActorKind::Automation || label.is_empty() => actor.clone(),
        Speaker::Actor(actor) => Actor { kind: actor.kind, name: label.to_owned() },
        Speaker::Operator | Speaker::Governance => {
            Actor { kind: ActorKind::Operator, name: label.to_owned() }
        }
    }
}

fn speaker(subject: &str) -> Result<Speaker, WireError> {
    if subject == GOVERN_SUBJECT {
        return Ok(Speaker::Governance);
    }
    let Some(words) = subject.strip_prefix("grace.intent.") else { return Ok(Speaker::Operator) };
    let (kind, name) = words.split_once('.').unwrap_or((words, ""));
    match ActorKind::ALL.into_iter().find(|one| one.word() == kind) {
        Some(ActorKind::Operator) => Err(WireError::bad_request("an operator asks on grace.cmd.cortex")),
        Some(kind) => Ok(Speaker::Actor(Actor { kind, name: name.to_owned() })),
        None => Err(WireError::bad_request(
            "the subject is grace.intent.<kind>.<name>; kinds are kernel, automation, program, agent and remote",
        )),
    }
}

/// What has come already.
fn next(
    operators: &mut mpsc::Receiver<Message>,
    actors: &mut Subscription,
    governance: &mut Subscription,
) -> Option<Message> {
    operators.try_recv().ok().or_else(|| actors.try_next()).or_else(|| governance.try_next())
}
