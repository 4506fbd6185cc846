//! `grace worker`: a process that leases tasks from the task manager and runs them.
//!
//! ```text
//! grace.work.register ─► grace.work.lease (waits there) ─► run: exec, http, wait, publish ─► grace.work.answer ─► …
//!                        grace.work.beat, grace.htm.stop.<worker> ─► tasks that need not be gone on with
//! ```
//!
//! | Module | What it holds |
//! |---|---|
//! | `road` | requests to the task manager, repeated until they are answered |
//! | `exec` | programs: no shell, a time limit, a process group that is killed whole, bounded output |
//! | `http` | requests: an answer that is expected or not, a bounded body |
//! | `run` | which kind of task is run how |
//!
//! One lease is outstanding at a time and is repeated under its name until it is answered, so that no task is given out unheard.
//! Answers are repeated too: the fencing token makes each count once. A worker that was lost registers again and drops what it
//! had, since others have it now. Told to end, it takes no more, waits for what runs, and leaves in good order.

mod exec;
mod http;
mod road;
mod run;

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use grace_kernel::process::{
    Context, KernelError,
    here::{Here, here_subject},
    life::Signal,
    tell,
};
use grace_types::manifest::Permissions;
use tokio::{
    sync::{Notify, mpsc},
    task::JoinSet,
};

use self::road::Road;
use crate::{
    htm::{
        self, TaskId,
        command::{Lease, TaskAnswer},
        event::Granted,
        shell::stop_subject,
    },
    limits,
};

/// Its name for `grace kernel`; the components are `task_worker-1` and so on. Not `worker`, which many people call a program of
/// their own.
pub const NAME: &str = "task_worker";
/// The interval within which it beats.
pub const WATCHDOG: Duration = Duration::from_secs(5);

/// What the worker of this name may say and hear: the task manager's road under its own name, and what plans publish.
#[must_use]
pub fn permissions(name: &str, published: &[String]) -> Permissions {
    let mut publish = vec![format!("grace.work.*.{name}")];
    publish.extend(published.iter().cloned());
    let subscribe = vec![stop_subject(name), here_subject(htm::shell::NAME), format!("_INBOX.{name}.>")];
    Permissions::only(publish, subscribe)
}

/// What the roads to the task manager tell the loop.
enum Word {
    /// Registered anew: whatever ran before is others' now.
    Fresh,
    /// Tasks to run.
    Tasks(Vec<Lease>),
    /// A task that need not be gone on with.
    Stop(Granted),
}

/// Runs tasks until it is told to stop.
///
/// # Errors
/// There is no bus to hear of tasks on.
pub async fn main(mut context: Context) -> Result<(), KernelError> {
    let Some(bus) = context.bus.clone() else {
        return Err(KernelError::Environment {
            name: "NATS_URL",
            detail: "a worker needs the bus".to_owned(),
        });
    };
    let incarnation = format!("{:016x}", context.entropy.next_u64());
    let (words, mut heard) = mpsc::channel(64);
    let (answers, waiting) = mpsc::channel(limits::BATCH);
    let closed = Arc::new(AtomicBool::new(false));
    let registered = Arc::new(Notify::new());
    let manager = Here::of(bus.clone(), htm::shell::NAME);
    let road = Road { bus: bus.clone(), manager, name: context.component().to_owned(), incarnation };
    tokio::spawn(road.clone().leases(words.clone(), Arc::clone(&closed), Arc::clone(&registered)));
    tokio::spawn(road.clone().stops(words.clone()));
    tokio::spawn(road.clone().beats(words));
    let telling = tokio::spawn(road.clone().answers(waiting));
    let mut tasks = Tasks { bus, running: BTreeMap::new(), set: JoinSet::new() };
    loop {
        tokio::select! {
            biased;
            signal = context.life.next() => match signal {
                Signal::Beat => context.life.beat(),
                Signal::Reload => {}
                Signal::Stop(_) => break,
            },
            () = registered.notified() => context.life.ready("ready"),
            word = heard.recv() => match word {
                Some(Word::Fresh) => tasks.drop_all(),
                Some(Word::Tasks(leases)) => leases.into_iter().for_each(|lease| tasks.begin(lease)),
                Some(Word::Stop(granted)) => tasks.stop(granted),
                None => break,
            },
            Some(done) = tasks.set.join_next() => {
                let Some(answer) = tasks.ended(done) else { continue };
                // There is room for every task that can run at a time.
                let _ = answers.send(answer).await;
            }
        }
    }
    context.life.stopping();
    closed.store(true, Ordering::Release);
    let drain = async {
        while let Some(done) = tasks.set.join_next().await {
            if let Some(answer) = tasks.ended(done) {
                let _ = answers.send(answer).await;
            }
        }
        drop(answers);
        let _ = telling.await;
    };
    if tokio::time::timeout(limits::WORKER_DRAIN, drain).await.is_err() {
        tell("not every task was done in time: what is left goes back to the queue");
    }
    road.leave().await;
    Ok(())
}

/// What runs.
struct Tasks {
    bus: grace_bus::Bus,
    /// By task: the token, and the way to stop it.
    running: BTreeMap<TaskId, (u64, tokio::task::AbortHandle)>,
    set: JoinSet<TaskAnswer>,
}

impl Tasks {
    fn begin(&mut self, lease: Lease) {
        // The same lease again, because its answer was thought lost: it runs already.
        if self.running.get(&lease.task).is_some_and(|(token, _)| *token == lease.token) {
            return;
        }
        let (task, token) = (lease.task, lease.token);
        let handle = self.set.spawn(run::run(lease, self.bus.clone()));
        if let Some((_, before)) = self.running.insert(task, (token, handle)) {
            before.abort();
        }
    }

    /// Stops a task: its process group is killed as its future is dropped.
    fn stop(&mut self, granted: Granted) {
        if self.running.get(&granted.task).is_some_and(|(token, _)| *token == granted.token)
            && let Some((_, handle)) = self.running.get(&granted.task)
        {
            handle.abort();
            // The task manager waits for a word on it.
            let failed = Some("stopped: the intent is to end".to_owned());
            let answer = TaskAnswer {
                task: granted.task,
                token: granted.token,
                output: None,
                failed,
                retry: Some(false),
            };
            self.running.remove(&granted.task);
            self.set.spawn(async move { answer });
        }
    }

    fn drop_all(&mut self) {
        for (_, handle) in std::mem::take(&mut self.running).into_values() {
            handle.abort();
        }
    }

    /// The answer of a task that has ended; none for one that was stopped.
    fn ended(&mut self, done: Result<TaskAnswer, tokio::task::JoinError>) -> Option<TaskAnswer> {
        let answer = done.ok()?;
        if self.running.get(&answer.task).is_some_and(|(token, _)| *token == answer.token) {
            self.running.remove(&answer.task);
        }
        Some(answer)
    }
}
