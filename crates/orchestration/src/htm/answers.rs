//! What workers say about tasks: counted only under the lease.

use std::collections::BTreeSet;

use grace_kernel::{Decision, HostError, Room};
use grace_types::reason::Why;

use super::{
    Decided, IntentId, Reply, TaskId,
    command::{TaskAnswer, Turn, Turned, Verdict},
    counted, cut,
    event::{Done, DoneBy, Granted, Next, What},
    recorded, refusal,
    state::{Stage, State},
};
use crate::limits;

/// Whether an answer counts.
enum Standing {
    /// It is the leaseholder's.
    Holds,
    /// It was given before and counted.
    Again,
    /// It would, and cannot be put on record now.
    Later,
    /// It does not; why.
    Not(String),
}

fn later() -> Verdict {
    Verdict::Later(format!("disk_reserve: {}; answer again", HostError::DiskReserve))
}

/// What one worker says.
pub(super) fn answer(
    state: &State,
    at: u64,
    worker: &str,
    answers: &[TaskAnswer],
    (chance, room): (u64, Room),
) -> Decided {
    let mut book = Book::new(state, at, chance, room);
    let verdicts = book.enter(worker, answers)?;
    Ok(book.close(Reply::Answered { verdicts }))
}

/// What several workers say. Each is judged by itself; what they did is one event.
pub(super) fn turn(state: &State, at: u64, turns: &[Turn], (chance, room): (u64, Room)) -> Decided {
    let answers: usize = turns.iter().map(|turn| turn.answers.len()).sum();
    if turns.is_empty() || turns.len() > limits::WORKERS || answers > limits::BATCH {
        let message = format!("1 to {} turns with at most {} answers", limits::WORKERS, limits::BATCH);
        return Err(refusal("bad_request", message));
    }
    let mut book = Book::new(state, at, chance, room);
    let mut turned = Vec::with_capacity(turns.len());
    for turn in turns {
        turned.push(match book.enter(&turn.worker, &turn.answers) {
            Ok(verdicts) => Turned { verdicts, ..Turned::default() },
            Err(refused) => Turned { refused: Some(refused), ..Turned::default() },
        });
    }
    Ok(book.close(Reply::Turned { turns: turned }))
}

/// A task, the token given, and why it does not count.
type Stale = (TaskId, u64, String);

/// What counts of what workers say in one decision.
struct Book<'a> {
    state: &'a State,
    at: u64,
    chance: u64,
    room: Room,
    /// Tasks that were answered for.
    seen: BTreeSet<TaskId>,
    /// Intents that will end by a failure.
    ending: BTreeSet<IntentId>,
    done: Vec<(&'a str, DoneBy)>,
    failed: Vec<(&'a str, &'a TaskAnswer, String, (Next, String))>,
    refused: Vec<(u32, &'a str, Vec<Stale>)>,
}

impl<'a> Book<'a> {
    fn new(state: &'a State, at: u64, chance: u64, room: Room) -> Self {
        let (seen, ending) = (BTreeSet::new(), BTreeSet::new());
        let (done, failed, refused) = (Vec::new(), Vec::new(), Vec::new());
        Self { state, at, chance, room, seen, ending, done, failed, refused }
    }

    /// The verdicts on one worker's answers.
    fn enter(&mut self, worker: &'a str, answers: &'a [TaskAnswer]) -> Result<Vec<Verdict>, super::Refusal> {
        let number = known(self.state, worker, answers.len())?;
        let (mut done, mut refused) = (Vec::new(), Vec::new());
        let mut verdicts = Vec::with_capacity(answers.len());
        for answer in answers {
            let mut standing = standing(self.state, self.at, number, answer, self.room);
            if matches!(standing, Standing::Holds) && !self.seen.insert(answer.task) {
                standing = Standing::Not("it was answered before".to_owned());
            }
            let size = answer.output.as_ref().map_or(0, super::Json::len);
            if matches!(standing, Standing::Holds) && size > limits::OUTPUT_BYTES {
                self.seen.remove(&answer.task);
                let most = limits::OUTPUT_BYTES;
                let why =
                    format!("an output of {size} bytes; at most {most} are taken: answer again with less");
                verdicts.push(Verdict::Refused(why));
                continue;
            }
            verdicts.push(match standing {
                Standing::Later => later(),
                Standing::Again => Verdict::Taken,
                Standing::Not(why) => {
                    refused.push((answer.task, answer.token, why.clone()));
                    Verdict::Refused(why)
                }
                Standing::Holds => {
                    match &answer.failed {
                        None => {
                            let output = output(answer).cloned();
                            done.push(Done { task: answer.task, token: answer.token, output });
                        }
                        Some(reason) => self.fail(worker, answer, reason),
                    }
                    Verdict::Taken
                }
            });
        }
        if !done.is_empty() {
            self.done.push((worker, DoneBy { worker: number, tasks: done }));
        }
        if !refused.is_empty() {
            self.refused.push((number, worker, refused));
        }
        Ok(verdicts)
    }

    fn fail(&mut self, worker: &'a str, answer: &'a TaskAnswer, reason: &str) {
        let wanted = answer.retry.unwrap_or(true) && !self.ending.contains(&answer.task.intent);
        let chance = mix(self.chance, answer.token);
        let failure = after_failure(self.state, self.at, answer.task, wanted, chance);
        if failure.0 == Next::Dead {
            self.ending.insert(answer.task.intent);
        }
        self.failed.push((worker, answer, cut(reason), failure));
    }

    fn close(self, reply: Reply) -> Decision<super::Htm> {
        let Self { state, at, room, done, failed, refused, .. } = self;
        let mut decision = Decision::reply(reply);
        if let Some((worker, first)) = done.first() {
            let place = match (done.len(), first.tasks.as_slice()) {
                (1, [only]) => only.task.to_string(),
                (1, _) => (*worker).to_owned(),
                _ => "htm".to_owned(),
            };
            let told =
                done.iter().take(8).map(|(w, by)| format!("{w} did {}", counted(by.tasks.len(), "task")));
            let mut told = told.collect::<Vec<_>>().join(", ");
            if done.len() > 8 {
                told.push_str(&format!(" and {} more", done.len() - 8));
            }
            let why = Why::because("task.answered", told);
            let what = What::TasksDone { by: done.into_iter().map(|(_, by)| by).collect() };
            decision = decision.record(recorded(at, what, place, "answers under their leases", why));
        }
        for (worker, answer, reason, (next, rule)) in failed {
            let why = Why::because("task.failed", format!("{worker} says: {reason}")).and("task.next", rule);
            let what = What::TaskFailed { task: answer.task, token: answer.token, reason, next };
            decision = decision.record(recorded(at, what, answer.task.to_string(), "the plan's retry", why));
        }
        let note = |decision, (number, worker, refused)| {
            note_refused(decision, state, at, (number, worker), refused)
        };
        if room == Room::Reserve { decision } else { refused.into_iter().fold(decision, note) }
    }
}

pub(super) fn extend(state: &State, at: u64, worker: &str, tasks: &[Granted], room: Room) -> Decided {
    let number = known(state, worker, tasks.len())?;
    let (mut longer, mut refused, mut verdicts) = (Vec::new(), Vec::new(), Vec::with_capacity(tasks.len()));
    for Granted { task, token } in tasks {
        let answer = TaskAnswer { task: *task, token: *token, output: None, failed: None, retry: None };
        match standing(state, at, number, &answer, room) {
            Standing::Holds => {
                let timeout = state
                    .task(*task)
                    .and_then(|(intent, _)| intent.spec(task.index))
                    .map_or(0, |s| s.timeout_ms);
                longer.push((*task, at + timeout + state.base.settings.lease_grace_ms));
                verdicts.push(Verdict::Taken);
            }
            // It does not end before there is room.
            Standing::Later => verdicts.push(later()),
            Standing::Again => {
                verdicts.push(Verdict::Refused("it is over: it was answered before".to_owned()));
            }
            Standing::Not(why) => {
                refused.push((*task, *token, why.clone()));
                verdicts.push(Verdict::Refused(why));
            }
        }
    }
    let mut decision = Decision::reply(Reply::Answered { verdicts });
    if !longer.is_empty() {
        let why = Why::because(
            "lease.extended",
            format!("{worker} needs longer for {}", counted(longer.len(), "task")),
        );
        let what = What::LeasesExtended { worker: number, tasks: longer };
        decision = decision.record(recorded(at, what, worker, "the timeout anew", why));
    }
    if room == Room::Reserve {
        return Ok(decision);
    }
    Ok(note_refused(decision, state, at, (number, worker), refused))
}

fn known(state: &State, worker: &str, batch: usize) -> Result<u32, super::Refusal> {
    if batch == 0 || batch > limits::BATCH {
        return Err(refusal(
            "bad_request",
            format!("1 to {} tasks at a time; these are {batch}", limits::BATCH),
        ));
    }
    let found = state.worker_named(worker);
    found
        .map(|(number, _)| number)
        .ok_or_else(|| refusal("unknown_worker", "register first: no such worker is known, or it was lost"))
}

fn standing(state: &State, at: u64, worker: u32, answer: &TaskAnswer, room: Room) -> Standing {
    let Some((intent, task)) = state.task(answer.task) else {
        return Standing::Not("there is no such task, or it was forgotten".to_owned());
    };
    if task.token != answer.token {
        let given = if task.token > answer.token && answer.token > 0 {
            "was given to another lease since"
        } else {
            "has another token"
        };
        return Standing::Not(format!("token {} is stale: the task {given}", answer.token));
    }
    match task.stage {
        Stage::Leased { worker: holder, .. } if holder != worker => {
            Standing::Not("the lease is another worker's".to_owned())
        }
        Stage::Leased { .. } if room == Room::Reserve && !intent.is_emergency() => Standing::Later,
        // Its lease has stood still, and is made longer with the next tick.
        Stage::Leased { .. } if state.base.reserve.is_some() && !intent.is_emergency() => Standing::Holds,
        Stage::Leased { until, .. } if until < at => {
            Standing::Not(format!("the lease ended {} ms ago", at - until))
        }
        Stage::Leased { .. } => Standing::Holds,
        Stage::Succeeded(_)
            if answer.failed.is_none() && answer.token > 0 && task.output.as_ref() == output(answer) =>
        {
            Standing::Again
        }
        Stage::Succeeded(_) | Stage::Dead => Standing::Not("it is over: it was answered before".to_owned()),
        Stage::Cancelled => Standing::Not("it was cancelled".to_owned()),
        _ => Standing::Not("the lease has ended".to_owned()),
    }
}

/// What came out. `null` is nothing: in JSON the two are the same.
fn output(answer: &TaskAnswer) -> Option<&super::Json> {
    answer.output.as_ref().filter(|output| output.text() != "null")
}

/// What becomes of a task whose attempt failed, and the rule.
pub(super) fn after_failure(state: &State, at: u64, id: TaskId, retry: bool, chance: u64) -> (Next, String) {
    let Some((intent, task)) = state.task(id) else { return (Next::Dead, "it is not there".to_owned()) };
    let Some(spec) = intent.spec(id.index) else { return (Next::Dead, "it is not in its plan".to_owned()) };
    let attempt = task.attempts.saturating_sub(task.losses).max(1);
    let most = spec.backoff.attempts;
    if !retry {
        return (Next::Dead, "another attempt makes no sense".to_owned());
    }
    if attempt >= most {
        return (Next::Dead, format!("attempt {attempt} of {most} was the last"));
    }
    let wait = spec.backoff.wait_ms(attempt, chance);
    (Next::Retry { due: at + wait }, format!("attempt {attempt} of {most}; the next in {wait} ms"))
}

/// Random bits of its own for each task (the finaliser of SplitMix64).
pub(super) const fn mix(chance: u64, token: u64) -> u64 {
    let z = chance ^ token.wrapping_mul(0x9E37_79B9_7F4A_7C15);
    let z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

/// Refused answers are on record, but not more often than [`limits::REFUSALS_EVERY_MS`] for each worker.
fn note_refused(
    decision: Decision<super::Htm>,
    state: &State,
    at: u64,
    (number, worker): (u32, &str),
    refused: Vec<Stale>,
) -> Decision<super::Htm> {
    let last = state.workers.get(&number).map_or(0, |worker| worker.refused);
    let Some((task, token, why)) = refused.first() else { return decision };
    if last > 0 && at < last + limits::REFUSALS_EVERY_MS {
        return decision;
    }
    let told = format!("{worker} answered for {task} under token {token}: {why}");
    let why = Why::because("answer.stale", told);
    let what = What::AnswersRefused { worker: number, answers: refused };
    decision.record(recorded(at, what, worker, "fencing token", why))
}
