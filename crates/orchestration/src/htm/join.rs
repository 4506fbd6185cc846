//! Intents that come at the same time are taken as one: senders that each submit one share a decision, a record and its reasons, as they
//! share the sync anyhow. Only where the record says the same of each: of one type and actor, approved by the same and for the same
//! reasons. So nobody can tell from what is on record, or from an answer, that others came along.

use grace_kernel::{Outcome, OutcomeOf};

use super::{
    Command, Htm, Reply,
    command::{Submission, Submitted},
};
use crate::limits;

/// Whether a command can be put together with others: one intent.
pub(super) fn may_join(command: &Command) -> bool {
    matches!(command, Command::Submit { intents } if intents.len() == 1)
}

/// Puts `next` behind `command`, or gives it back.
pub(super) fn join(command: &mut Command, next: Command) -> Option<Command> {
    match (command, next) {
        (Command::Submit { intents }, Command::Submit { intents: more }) if fits(intents, &more) => {
            intents.extend(more);
            None
        }
        (_, next) => Some(next),
    }
}

fn fits(intents: &[Submission], more: &[Submission]) -> bool {
    let ([first, ..], [next]) = (intents, more) else { return false };
    let bytes: usize = intents.iter().chain(more).map(weight).sum();
    first.kind == next.kind
        && first.actor == next.actor
        && first.origin == next.origin
        && intents.len() < limits::JOINED
        && bytes <= limits::JOINED_BYTES
}

/// About what it takes in the record.
fn weight(intent: &Submission) -> usize {
    intent.payload.len() + intent.key.as_ref().map_or(0, String::len) + 256
}

/// The answer to each of `count` commands that were put together.
pub(super) fn split(outcome: OutcomeOf<Htm>, count: usize) -> Vec<OutcomeOf<Htm>> {
    let each = |result: Submitted| Outcome::Done(Reply::Submitted { results: vec![result] });
    match outcome {
        Outcome::Done(Reply::Submitted { results }) => results.into_iter().map(each).collect(),
        other => vec![other; count],
    }
}
