//! A decider as a process: commands from the bus, decisions on disk, answers and events to the bus, effects to its shell.
//!
//! One loop orders everything: signs of life and signals, what the host releases, and messages. It never waits for the
//! bus (a task of its own publishes) nor for the disk (the host's thread does), so a beat that is missing means that the
//! kernel itself is stuck; and it beats only while the host's thread moves.

use std::{future::Future, path::PathBuf, pin::Pin};

use grace_bus::{Bus, BusError, Headers, Message, Subscription};
use grace_store::{Journal, Seq, StoreError, file::FileJournal};
use grace_types::{chance::BlockEntropy, time::Timestamp};
use tokio::{sync::mpsc, task::JoinHandle, time::timeout};

use super::{
    Context, KernelError,
    life::{Signal, Stop},
    tell,
    thread::{self, Commands, Release},
    wire,
};
use crate::{
    Decider, Entry, Envelope,
    evidence::{self, Shippers},
    limits,
};

/// What a decider's process does beside deciding. A closure that performs effects is one.
pub trait Shell<D: Decider> {
    /// The state is loaded and commands are taken: the place to start timers and tasks that ask the host.
    fn start(&mut self, _commands: &Commands<D>) {}

    /// Takes over a message that came on the component's command subject, before it is read: for a process that has to ask others
    /// first. What it gives back is read and decided as usual; what it keeps, it answers.
    fn message(&mut self, message: Message) -> Option<Message> {
        Some(message)
    }

    /// Looks at a command that came over the bus before it is decided: the place to add what its sender cannot say of itself.
    ///
    /// # Errors
    /// It is not for the bus to say; answered as it is.
    fn arriving(&mut self, _command: &mut D::Command) -> Result<(), wire::WireError> {
        Ok(())
    }

    /// Performs an effect whose event is durable. Must not block: spawn what takes time, and ask the host when it is done.
    fn perform(&mut self, commands: &Commands<D>, effect: D::Effect);

    /// What it has to say of itself with the next sign of life, in one line; `None` for what was said before.
    fn status(&self) -> Option<String> {
        None
    }

    /// The configuration is to be read again.
    fn reload(&mut self, _commands: &Commands<D>) {}
}

impl<D: Decider, F: FnMut(&Commands<D>, D::Effect)> Shell<D> for F {
    fn perform(&mut self, commands: &Commands<D>, effect: D::Effect) {
        self(commands, effect);
    }
}

/// Opens a journal for writing.
type OpenJournal = Box<dyn FnOnce() -> Result<Box<dyn Journal>, StoreError> + Send>;

/// A decider's journal: how it is opened, and how it is read to be shipped as evidence.
pub struct Storage {
    open: OpenJournal,
    reader: Option<evidence::Open>,
}

impl Storage {
    /// In the folder at `path`, which is made if it is not there; shipped.
    #[must_use]
    pub fn file(path: PathBuf, now: Timestamp) -> Self {
        let reader = Some(evidence::file(path.clone()));
        Self { open: Box::new(move || Ok(Box::new(FileJournal::open(path, now)?))), reader }
    }

    /// Any journal, opened by `open` and shipped by way of `reader`; without one, not shipped.
    pub fn new(
        open: impl FnOnce() -> Result<Box<dyn Journal>, StoreError> + Send + 'static,
        reader: Option<evidence::Open>,
    ) -> Self {
        Self { open: Box::new(open), reader }
    }
}

/// Takes commands on one more subject, as `component`, for as long as the process lives: for those who may publish there and not on the
/// component's own. `read` takes the commands that may come there out of their messages.
pub async fn hear_also<D: Decider>(
    bus: Bus,
    commands: Commands<D>,
    (component, subject): (&str, &str),
    read: impl Fn(&Message) -> Result<Envelope<D::Command>, wire::WireError>,
) {
    let mut inbox = match listen(bus.clone(), subject.to_owned(), component.to_owned()).await {
        Ok(inbox) => inbox,
        Err(e) => return tell(&format!("nothing is heard on {subject}: {e}")),
    };
    while let Some(message) = inbox.next().await {
        let reply = message.reply.clone();
        let told = read(&message)
            .and_then(|envelope| commands.tell(envelope, message.reply).map_err(wire::WireError::from));
        if let (Err(wrong), Some(reply)) = (told, reply) {
            // Lost with the connection: whoever asked asks again.
            let _ = bus.publish(Message::new(reply, wire::error(&wrong))).await;
        }
    }
    tell(&format!("the subscription to {subject} has ended"));
}

/// Runs the decider `D` as the component that the context names until it is told to stop: orderly, with everything that
/// was taken decided, synced and answered. What is on record is shipped as evidence all the while ([`evidence`]).
///
/// # Errors
/// See [`KernelError`]. The bus being away is none: the kernel goes on when it is back.
pub async fn run_decider<D, S>(mut context: Context, storage: Storage, shell: S) -> Result<(), KernelError>
where
    D: Decider,
    S: Shell<D>,
{
    let component = context.component().to_owned();
    let Storage { open, reader } = storage;
    let (commands, mut hosted) = thread::spawn::<D, _>(
        component.clone(),
        open,
        context.clock.clone(),
        Box::new(BlockEntropy::default()),
    )
    .map_err(|source| KernelError::System { what: "the host's thread", source })?;
    let mut shippers: Option<Shippers> = None;
    let mut publishers = context.bus.clone().map(|bus| Publishers::start(bus, &component));
    let mut serving = Serving { component, commands, shell, loaded: false };
    let mut subscribing: Option<Subscribing> = None;
    let mut inbox: Option<Subscription> = None;
    loop {
        tokio::select! {
            biased;
            signal = context.life.next() => match signal {
                Signal::Beat if hosted.is_alive() => match serving.shell.status() {
                    Some(status) => context.life.status(status),
                    None => context.life.beat(),
                },
                // No beat: the host's thread hangs, and whoever watches is to see it.
                Signal::Beat => {}
                Signal::Reload => serving.shell.reload(&serving.commands),
                Signal::Stop(why) => {
                    if why == Stop::Orphaned {
                        tell("the control plane and the guardian are gone; ending");
                    }
                    context.life.stopping();
                    (subscribing, inbox) = (None, None);
                    // On a task of its own: the host may be waiting for this loop to take a release.
                    let commands = serving.commands.clone();
                    tokio::spawn(async move { commands.stop().await });
                }
            },
            release = hosted.next() => {
                let Some(release) = release else { break };
                let first = !serving.loaded;
                context.life.remark(release.in_reserve.then_some(IN_RESERVE));
                serving.release(release, publishers.as_mut());
                if first {
                    shippers = reader.as_ref().zip(context.bus.as_ref()).map(|(open, bus)| {
                        Shippers::start(&serving.component, open, bus, &context.clock, &hosted.written())
                    });
                    match &context.bus {
                        Some(bus) => {
                            let subject = wire::command_subject(&serving.component);
                            subscribing =
                                Some(Box::pin(listen(bus.clone(), subject, serving.component.clone())));
                        }
                        None => context.life.ready("ready, without a bus"),
                    }
                }
            }
            subscribed = present(&mut subscribing) => {
                subscribing = None;
                inbox = Some(subscribed.map_err(KernelError::Bus)?);
                context.life.ready("ready");
            }
            message = next(&mut inbox) => match message {
                Some(message) => serving.command(message, publishers.as_mut()),
                None => {
                    let reason = "the subscription to this kernel's commands has ended".to_owned();
                    return Err(KernelError::Bus(BusError::Closed { reason }));
                }
            },
        }
    }
    let published = async {
        if let Some(publishers) = publishers {
            publishers.finish().await;
        }
    };
    let shipped = async {
        if let Some(shippers) = &mut shippers {
            shippers.finish(limits::EVIDENCE_FINISH).await;
        }
    };
    tokio::join!(published, shipped);
    hosted.ended().await
}

/// What `grace status` shows of a kernel while it refuses what it would have to write.
const IN_RESERVE: &str = "the disk is almost full: only emergencies are put on record";

/// The host's side of the loop.
struct Serving<D: Decider, S> {
    component: String,
    commands: Commands<D>,
    shell: S,
    loaded: bool,
}

impl<D: Decider, S: Shell<D>> Serving<D, S> {
    fn release(&mut self, release: Release<D>, publishers: Option<&mut Publishers<D>>) {
        for notice in release.notices {
            tell(&notice);
        }
        if !self.loaded {
            self.loaded = true;
            self.shell.start(&self.commands);
        }
        for effect in release.effects {
            self.shell.perform(&self.commands, effect);
        }
        let Some(publishers) = publishers else { return };
        for (subject, answer) in release.replies {
            publishers.answers.publish(Message::new(subject, wire::answer::<D>(&answer)));
        }
        if !release.entries.is_empty() {
            publishers.events.publish(release.entries);
        }
    }

    fn command(&mut self, message: Message, publishers: Option<&mut Publishers<D>>) {
        let Some(message) = self.shell.message(message) else { return };
        let reply = message.reply.clone();
        let read = wire::read_command::<D>(&message).and_then(|mut envelope| {
            self.shell.arriving(&mut envelope.command)?;
            Ok(envelope)
        });
        let refused = match read {
            Ok(envelope) => self.commands.tell(envelope, message.reply).err().map(wire::WireError::from),
            Err(e) => Some(e),
        };
        if let (Some(error), Some(reply), Some(publishers)) = (refused, reply, publishers) {
            publishers.answers.publish(Message::new(reply, wire::error(&error)));
        }
    }
}

async fn next(inbox: &mut Option<Subscription>) -> Option<Message> {
    match inbox {
        Some(inbox) => inbox.next().await,
        None => std::future::pending().await,
    }
}

type Subscribing = Pin<Box<dyn Future<Output = Result<Subscription, BusError>> + Send>>;

/// The output of a future that may not be there; without one, never.
async fn present<F: Future + Unpin>(future: &mut Option<F>) -> F::Output {
    match future {
        Some(future) => future.await,
        None => std::future::pending().await,
    }
}

/// Subscribes to `subject`; done when the broker has heard it, so that `READY=1` is true. In a queue group, so that a replica
/// that takes over does not double the answers; without one, where all are to hear it. Waits for a connection as long as it takes.
///
/// # Errors
/// What waiting cannot change: the permission, or the client's end.
pub async fn listen(
    bus: Bus,
    subject: String,
    group: impl Into<Option<String>>,
) -> Result<Subscription, BusError> {
    let group = group.into();
    let mut connected = bus.connected();
    loop {
        if connected.wait_for(|connected| *connected).await.is_err() {
            return Err(BusError::Closed { reason: "the client is gone".to_owned() });
        }
        match heard(&bus, &subject, group.as_deref()).await {
            Err(BusError::NotConnected | BusError::Timeout { .. }) => {}
            done => return done,
        }
    }
}

async fn heard(bus: &Bus, subject: &str, group: Option<&str>) -> Result<Subscription, BusError> {
    let subscription = bus.subscribe(subject, group).await?;
    bus.flush().await?;
    Ok(subscription)
}

/// The ways to the bus: each in its order, on a task of its own, so that the loop never waits.
struct Publishers<D: Decider> {
    answers: Publisher<Message>,
    events: Publisher<Vec<(Seq, Entry<D>)>>,
    bus: Bus,
}

impl<D: Decider> Publishers<D> {
    fn start(bus: Bus, component: &str) -> Self {
        let (answers, waiting) = mpsc::channel(limits::ANSWERS_WAITING);
        let answers = Publisher::of(answers, tokio::spawn(publish_answers(bus.clone(), waiting)));
        let (events, waiting) = mpsc::channel(limits::EVENTS_WAITING);
        let publishing = publish_events::<D>(bus.clone(), component.to_owned(), waiting);
        Self { answers, events: Publisher::of(events, tokio::spawn(publishing)), bus }
    }

    /// Lets out what waits, for a bounded time.
    async fn finish(self) {
        let rest = async {
            self.answers.finish().await;
            self.events.finish().await;
            let _ = self.bus.flush().await;
        };
        if timeout(limits::FLUSH, rest).await.is_err() {
            tell("the last messages could not be published in time");
        }
    }
}

async fn publish_answers(bus: Bus, mut waiting: mpsc::Receiver<Message>) {
    while let Some(answer) = waiting.recv().await {
        publish(&bus, answer).await;
    }
}

/// Somebody waits for answers, and nobody for events: these go when all else that can be done has been.
async fn publish_events<D: Decider>(
    bus: Bus,
    component: String,
    mut waiting: mpsc::Receiver<Vec<(Seq, Entry<D>)>>,
) {
    while let Some(batch) = waiting.recv().await {
        tokio::task::yield_now().await;
        for (_, entry) in batch {
            match event(&component, entry) {
                Ok(message) => publish(&bus, message).await,
                Err(e) => tell(&format!("an event cannot be published: {e}")),
            }
        }
    }
}

async fn publish(bus: &Bus, message: Message) {
    if let Err(e) = bus.publish(message).await {
        tell(&format!("a message was not published: {e}"));
    }
}

/// An event as it is published by `component`.
fn event<D: Decider>(component: &str, mut entry: Entry<D>) -> serde_json::Result<Message> {
    let subject = wire::event_subject(component, D::what(entry.record.event()));
    let headers: Headers = entry.headers(component).into_iter().collect();
    Ok(Message::new(subject, entry.body()?).with_headers(headers))
}

/// Hands things to the bus, in order.
struct Publisher<T> {
    queue: mpsc::Sender<T>,
    task: JoinHandle<()>,
    dropped: u64,
}

impl<T> Publisher<T> {
    const fn of(queue: mpsc::Sender<T>, task: JoinHandle<()>) -> Self {
        Self { queue, task, dropped: 0 }
    }

    fn publish(&mut self, thing: T) {
        if self.queue.try_send(thing).is_err() {
            self.dropped += 1;
            // Once for each power of two: a bus that is gone must not fill the log.
            if self.dropped.is_power_of_two() {
                tell(&format!(
                    "{} messages or batches of events were dropped: the bus does not take them",
                    self.dropped
                ));
            }
        }
    }

    async fn finish(self) {
        drop(self.queue);
        let _ = self.task.await;
    }
}
