//! The kernel as a process: batches and queries from the bus, seals and checkpoints to it.
//!
//! One loop orders everything and waits for nothing but its next message; answers leave from tasks of their own, of which there are
//! never more than batches wait in the writer. It beats only while the writer's threads move.

use std::{
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use grace_bus::{Bus, BusError, Message, Subscription};
use grace_kernel::{
    evidence::{
        Sink,
        wire::{self, Batch, Position},
    },
    limits::FLUSH,
    process::{
        Context, KernelError,
        life::{Life, Signal, Stop},
        tell,
        voter::Voter,
        wire::{WireError, command_subject, error},
    },
};
use serde::{Deserialize, Serialize};
use tokio::{
    sync::watch,
    time::{MissedTickBehavior, interval, timeout},
};

use super::{
    CHECKPOINTS, NAME,
    documents::are_documents,
    limits::ANNOUNCE,
    view::LogState,
    writer::{Answer, LogWriter, NotSealed, Published, Running},
};

type Opened = (LogWriter, Running);

/// Keeps the log until it is told to stop.
///
/// # Errors
/// The log cannot be opened, or it ends by itself, or its end is not clean.
pub(super) async fn main(mut context: Context) -> Result<(), KernelError> {
    let Some((writer, mut running)) = opened(&mut context).await? else { return Ok(()) };
    let subscribed = context.bus.clone().map(subscribe);
    let mut subscribing = std::pin::pin!(async {
        match subscribed {
            Some(subscribing) => subscribing.await.map(Some),
            None => Ok(None),
        }
    });
    let mut inboxes: Option<Inboxes> = None;
    let (mut is_subscribed, mut stopping) = (false, false);
    if let Some(bus) = context.bus.clone() {
        tokio::spawn(announce(bus, writer.published()));
    }
    if let Some(voter) = Voter::of(&context) {
        voter.start(LogState { writer: writer.clone(), data: context.environment.data.clone() });
    }
    let done = loop {
        tokio::select! {
            biased;
            signal = context.life.next() => match signal {
                Signal::Beat if running.is_alive() => context.life.beat(),
                // No beat: a thread hangs, and whoever watches is to see it.
                Signal::Beat | Signal::Reload => {}
                Signal::Stop(why) => {
                    ending(&mut context.life, why);
                    (stopping, inboxes) = (true, None);
                    writer.stop();
                }
            },
            done = running.ended() => break done,
            subscribed = &mut subscribing, if !is_subscribed && !stopping => {
                is_subscribed = true;
                inboxes = subscribed.map_err(KernelError::Bus)?;
                context.life.ready(if inboxes.is_some() { "ready" } else { "ready, without a bus" });
            }
            message = next(&mut inboxes) => match (message, context.bus.as_ref()) {
                (Some(Heard::Batch(message)), Some(bus)) => take(&message, &writer, bus),
                (Some(Heard::Query(message)), Some(bus)) => answer(&message, &writer, bus),
                _ => {
                    let reason = "a subscription of this kernel has ended".to_owned();
                    return Err(KernelError::Bus(BusError::Closed { reason }));
                }
            },
        }
    };
    if let Some(bus) = &context.bus {
        farewell(bus, &writer).await;
    }
    done.map_err(|detail| KernelError::System { what: "the log", source: io::Error::other(detail) })
}

fn ending(life: &mut Life, why: Stop) {
    if why == Stop::Orphaned {
        tell("the control plane and the guardian are gone; ending");
    }
    life.stopping();
}

/// Opens the log on a thread that may block, with signs of life while that goes on. `None` when the kernel is told to stop.
async fn opened(context: &mut Context) -> Result<Option<Opened>, KernelError> {
    let steps = Arc::new(AtomicU64::new(1));
    let (data, clock, shared) =
        (context.environment.data.clone(), Arc::clone(&context.clock), Arc::clone(&steps));
    let mut entropy = std::mem::replace(&mut context.entropy, Box::new(grace_types::chance::OsEntropy));
    let mut opening = tokio::task::spawn_blocking(move || {
        let step = || {
            shared.fetch_add(1, Ordering::Relaxed);
        };
        LogWriter::open(&data, &mut *entropy, clock, tell, &step)
    });
    let system = |source| KernelError::System { what: "the log cannot be opened", source };
    loop {
        tokio::select! {
            signal = context.life.next() => match signal {
                Signal::Beat if steps.swap(0, Ordering::Relaxed) > 0 => context.life.beat(),
                Signal::Beat | Signal::Reload => {}
                Signal::Stop(why) => {
                    ending(&mut context.life, why);
                    return Ok(None);
                }
            },
            done = &mut opening => {
                let opened = done.map_err(|e| system(io::Error::other(e)))?;
                return opened.map(Some).map_err(|e| system(io::Error::other(e)));
            }
        }
    }
}

/// Where batches and queries come in.
struct Inboxes {
    batches: Subscription,
    queries: Subscription,
}

enum Heard {
    Batch(Message),
    Query(Message),
}

async fn next(inboxes: &mut Option<Inboxes>) -> Option<Heard> {
    let Some(Inboxes { batches, queries }) = inboxes else { return std::future::pending().await };
    tokio::select! {
        // Queries first: they are few, and batches never end under load.
        biased;
        message = queries.next() => message.map(Heard::Query),
        message = batches.next() => message.map(Heard::Batch),
    }
}

/// Subscribes; done when the broker has heard it, so that `READY=1` is true.
fn subscribe(bus: Bus) -> Pin<Box<dyn Future<Output = Result<Inboxes, BusError>> + Send>> {
    Box::pin(async move {
        let mut connected = bus.connected();
        loop {
            if connected.wait_for(|connected| *connected).await.is_err() {
                return Err(BusError::Closed { reason: "the client is gone".to_owned() });
            }
            match heard(&bus).await {
                Err(BusError::NotConnected | BusError::Timeout { .. }) => {}
                done => return done,
            }
        }
    })
}

async fn heard(bus: &Bus) -> Result<Inboxes, BusError> {
    let batches = bus.subscribe(&wire::evidence_pattern(Sink::ImmutableLog), Some(NAME)).await?;
    let queries = bus.subscribe(&command_subject(NAME), Some(NAME)).await?;
    bus.flush().await?;
    Ok(Inboxes { batches, queries })
}

/// Hands a batch to the writer; a task of its own answers.
fn take(message: &Message, writer: &LogWriter, bus: &Bus) {
    let reply = message.reply.clone();
    let answered = Batch::read(Sink::ImmutableLog, message).and_then(|batch| {
        are_documents(&batch)?;
        writer.append(batch).map_err(|e| wire_error(&e))
    });
    // Whoever did not say where to answer gets no answer; the batch is taken all the same.
    let Some(reply) = reply else { return };
    let bus = bus.clone();
    tokio::spawn(async move {
        let answer = match answered {
            Ok(answered) => position(answered.await.unwrap_or(Err(NotSealed::Stopping))),
            Err(e) => Err(e),
        };
        publish(&bus, reply, wire::reply(&answer)).await;
    });
}

fn position(answer: Answer) -> Result<Position, WireError> {
    let sealed = answer.map_err(|e| wire_error(&e))?;
    let position = Position::new(sealed.next).with("size", sealed.size);
    Ok(match sealed.index {
        Some(index) => position.with("index", index),
        None => position,
    })
}

fn wire_error(not_sealed: &NotSealed) -> WireError {
    WireError { code: not_sealed.code().to_owned(), message: not_sealed.to_string() }
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case", tag = "command", deny_unknown_fields)]
enum Query {
    Checkpoint,
}

#[derive(Serialize)]
struct Done {
    done: CheckpointView,
}

/// The newest checkpoint in the public files.
#[derive(Serialize)]
struct CheckpointView {
    origin: String,
    size: u64,
    root: String,
    key: String,
    note: String,
}

fn answer(message: &Message, writer: &LogWriter, bus: &Bus) {
    let Some(reply) = message.reply.clone() else { return };
    let body = match serde_json::from_slice(&message.payload) {
        Ok(Query::Checkpoint) => {
            let Published { checkpoint, note } = writer.published().borrow().clone();
            let key = writer.key().to_string();
            let (origin, root) = (checkpoint.origin, checkpoint.root.to_string());
            let done = CheckpointView { origin, size: checkpoint.size, root, key, note };
            // Numbers and texts always have a JSON form.
            serde_json::to_vec(&Done { done }).unwrap_or_default()
        }
        Err(e) => error(&WireError::bad_request(format!("the body: {e}"))),
    };
    let bus = bus.clone();
    tokio::spawn(async move { publish(&bus, reply, body).await });
}

async fn publish(bus: &Bus, subject: String, body: Vec<u8>) {
    if let Err(e) = bus.publish(Message::new(subject, body)).await {
        tell(&format!("an answer was not published: {e}"));
    }
}

/// Announces checkpoints as they come, but not more often than every [`ANNOUNCE`]; what it passes over, a later one covers.
async fn announce(bus: Bus, mut published: watch::Receiver<Published>) {
    let mut rounds = interval(ANNOUNCE);
    rounds.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while published.changed().await.is_ok() {
        let note = published.borrow_and_update().note.clone();
        // Lost while the bus is away: the file has it, and the next one covers it.
        let _ = bus.publish(Message::new(CHECKPOINTS, note)).await;
        rounds.tick().await;
    }
}

/// Announces the last checkpoint and lets everything out, for a bounded time.
async fn farewell(bus: &Bus, writer: &LogWriter) {
    let note = writer.published().borrow().note.clone();
    let rest = async {
        let _ = bus.publish(Message::new(CHECKPOINTS, note)).await;
        let _ = bus.flush().await;
    };
    if timeout(FLUSH, rest).await.is_err() {
        tell("the last messages could not be published in time");
    }
}
