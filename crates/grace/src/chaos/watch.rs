//! The run's eye on the system: every change of the status, as the control plane tells it, on a thread of its own.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread,
};

use grace_chaos::run::System;
use grace_core::{instance::Instance, status::Status};
use serde_json::Value;

use crate::{
    control,
    failure::{Exit, Failure},
    limits,
};

/// See the module's page. Its thread goes on as long as the process does.
pub(super) struct Watch {
    instance: Instance,
    seen: Arc<Mutex<Seen>>,
}

struct Seen {
    /// Not taken yet, oldest first.
    fresh: Vec<Value>,
    newest: Value,
    /// Why there are none now.
    trouble: Option<String>,
}

impl Watch {
    /// Begins to watch; `status` is what is known so far.
    pub(super) fn start(instance: &Instance, status: &Status) -> std::io::Result<Self> {
        let newest = serde_json::to_value(status)?;
        let seen = Arc::new(Mutex::new(Seen { fresh: Vec::new(), newest, trouble: None }));
        let (asked, shared) = (instance.clone(), Arc::clone(&seen));
        thread::Builder::new().name("watch".into()).spawn(move || watch(&asked, &shared))?;
        Ok(Self { instance: instance.clone(), seen })
    }

    /// The newest status.
    pub(super) fn newest(&self) -> Result<Status, Failure> {
        let seen = lock(&self.seen);
        serde_json::from_value(seen.newest.clone())
            .map_err(|error| Failure::new(Exit::Unreachable, "not_reachable", error.to_string()))
    }
}

impl System for Watch {
    fn statuses(&self) -> Result<Vec<Value>, String> {
        let mut seen = lock(&self.seen);
        let fresh = std::mem::take(&mut seen.fresh);
        match (&seen.trouble, fresh.is_empty()) {
            (Some(trouble), true) => Err(trouble.clone()),
            (None, true) => Ok(vec![seen.newest.clone()]),
            (_, false) => Ok(fresh),
        }
    }

    fn ask(&self) -> Result<Value, String> {
        match control::status_within(&self.instance, limits::DUMP_TIME) {
            Ok(Some(status)) => serde_json::to_value(status).map_err(|error| error.to_string()),
            Ok(None) => Err("the control plane ended before it answered".to_owned()),
            Err(failure) => Err(failure.what),
        }
    }
}

fn lock(seen: &Mutex<Seen>) -> MutexGuard<'_, Seen> {
    seen.lock().unwrap_or_else(PoisonError::into_inner)
}

fn watch(instance: &Instance, shared: &Mutex<Seen>) {
    loop {
        let trouble = match control::watch(instance) {
            Ok(statuses) => follow(statuses, shared),
            Err(failure) => failure.what,
        };
        lock(shared).trouble = Some(trouble);
        thread::park_timeout(limits::WATCH_PAUSE);
    }
}

/// Takes in what comes until nothing does; why not.
fn follow(statuses: control::Watch, shared: &Mutex<Seen>) -> String {
    for status in statuses {
        let status = status.map_err(|failure| failure.what);
        match status.and_then(|status| serde_json::to_value(status).map_err(|error| error.to_string())) {
            Ok(status) => {
                let mut seen = lock(shared);
                seen.trouble = None;
                seen.newest = status.clone();
                // Nobody takes them between two runs.
                if seen.fresh.len() >= limits::WATCH_STATUSES {
                    seen.fresh.remove(0);
                }
                seen.fresh.push(status);
            }
            Err(trouble) => return trouble,
        }
    }
    "the control plane has ended".to_owned()
}
