//! What a kernel is: a pure function from state and command to events, and another from state and event to state.
//!
//! Nothing here reads a clock, draws a random number, waits, or touches the world: `now` is an argument, ids that a
//! decision needs come with the command, and what must happen outside is an [`Decider::Effect`], released by the host
//! once the events are durable. A restart is a replay of [`Decider::evolve`].

use std::fmt;

use grace_types::{reason::Why, time::Now};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

/// A kernel's behaviour.
///
/// State must serialise the same way each time (ordered maps), since snapshots carry digests and the simulator compares
/// bytes.
pub trait Decider: Sized + Send + 'static {
    /// Everything the kernel knows. The default is what it knows before its first event.
    type State: Default + Serialize + DeserializeOwned + Send;
    /// What it can be asked.
    type Command: Serialize + DeserializeOwned + Send;
    /// What can happen.
    type Event: Serialize + DeserializeOwned + Send;
    /// What it answers when it did what it was asked.
    type Reply: Serialize + DeserializeOwned + Send;
    /// What it answers when it did not.
    type Refusal: Serialize + DeserializeOwned + fmt::Display + Send;
    /// What is to be done outside. Performed at least once; whoever performs it removes duplicates.
    type Effect: Send;

    /// Decides. Pure. A command that changes nothing (a query) records nothing and costs no sync, unless
    /// it has an idempotency key: then its answer is recorded.
    fn decide(state: &Self::State, now: Now, command: &Self::Command) -> Decision<Self>;

    /// Decides while the last of the disk is kept for emergencies, when nothing is recorded but what belongs to one
    /// ([`Decider::is_for_emergency`]) and any other decision is dropped as a whole. To be given where a command may hold both: so that the one
    /// goes on, and the other is put off, item by item. Pure, as [`Decider::decide`].
    fn decide_in_reserve(state: &Self::State, now: Now, command: &Self::Command) -> Decision<Self> {
        Self::decide(state, now, command)
    }

    /// Whether this event, of a decision with all `those` on this state, belongs to an emergency, so that it is recorded even while the last of
    /// the disk is kept for them. Pure. It is told from what was decided, never from the word of a sender: whoever could say it in a message
    /// would have the reserve for themselves.
    fn is_for_emergency(
        _state: &Self::State,
        _event: &Recorded<Self::Event>,
        _those: &[Recorded<Self::Event>],
    ) -> bool {
        false
    }

    /// Takes an event into the state. Pure and total: an event that was recorded has happened.
    fn evolve(state: &mut Self::State, event: &Self::Event);

    /// What is to be done now that the event is durable. `state` contains the event.
    fn effects(_state: &Self::State, _event: &Recorded<Self::Event>) -> Vec<Self::Effect> {
        Vec::new()
    }

    /// What the state still waits for, to be done again after a restart: the process may have died between the sync and
    /// the effect.
    fn outstanding(_state: &Self::State) -> Vec<Self::Effect> {
        Vec::new()
    }

    /// The event's name in subjects and types, snake case: `process_restarted` becomes
    /// `dev.grace.<component>.process_restarted.v1` on `grace.event.<component>.process_restarted`.
    fn what(event: &Self::Event) -> &'static str;
}

/// How much room there is for records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Room {
    /// For all that happens.
    Enough,
    /// For what belongs to an emergency: the last of the disk is kept for that.
    Reserve,
}

/// An event with its reasons: the why, how and where of the 5W1H (who, what and when are added by the host).
///
/// There is no way to build one without a reason, and none to read one from a journal either.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recorded<E> {
    event: E,
    why: Why,
    how: String,
    #[serde(rename = "where")]
    place: String,
}

impl<E> Recorded<E> {
    /// An event, the component or resource that it concerns, the rule or mechanism that chose, and the argument.
    pub fn new(event: E, place: impl Into<String>, how: impl Into<String>, why: Why) -> Self {
        Self { event, why, how: how.into(), place: place.into() }
    }

    /// What happened.
    pub const fn event(&self) -> &E {
        &self.event
    }

    /// The argument, never empty.
    pub const fn why(&self) -> &Why {
        &self.why
    }

    /// The rule, algorithm or setting that chose.
    pub fn how(&self) -> &str {
        &self.how
    }

    /// The component or resource that it concerns.
    pub fn place(&self) -> &str {
        &self.place
    }
}

/// What a kernel answers: it did what it was asked, or says why not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome<R, F> {
    /// Done.
    Done(R),
    /// Not done.
    Refused(F),
}

/// The outcome of a decider's command.
pub type OutcomeOf<D> = Outcome<<D as Decider>::Reply, <D as Decider>::Refusal>;

/// What `decide` returns: an outcome, and the events that it rests on.
pub struct Decision<D: Decider> {
    pub(crate) events: Vec<Recorded<D::Event>>,
    pub(crate) outcome: OutcomeOf<D>,
}

impl<D: Decider> Decision<D> {
    /// Done, with this answer.
    pub const fn reply(reply: D::Reply) -> Self {
        Self { events: Vec::new(), outcome: Outcome::Done(reply) }
    }

    /// Not done, with this reason. Add an event where the refusal itself must be on record.
    pub const fn refuse(refusal: D::Refusal) -> Self {
        Self { events: Vec::new(), outcome: Outcome::Refused(refusal) }
    }

    /// Adds an event. All events of one decision become durable together or not at all.
    #[must_use]
    pub fn record(mut self, event: Recorded<D::Event>) -> Self {
        self.events.push(event);
        self
    }

    /// The events, first to last.
    #[must_use]
    pub fn events(&self) -> &[Recorded<D::Event>] {
        &self.events
    }

    /// The outcome.
    #[must_use]
    pub const fn outcome(&self) -> &OutcomeOf<D> {
        &self.outcome
    }
}

impl<D: Decider> fmt::Debug for Decision<D>
where
    D::Event: fmt::Debug,
    D::Reply: fmt::Debug,
    D::Refusal: fmt::Debug,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Decision").field("events", &self.events).field("outcome", &self.outcome).finish()
    }
}
