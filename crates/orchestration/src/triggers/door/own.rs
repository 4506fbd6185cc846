//! Which of Grace's own events the door hears: those that a subscription or a policy takes, and no others. Whatever Grace does is an event on
//! the bus, each task a few of them, and nearly all concern nobody here; to hear and drop them would cost more than the tasks.
//!
//! A type says the subject on which its events come ([`subject_of`]). The door asks the trigger mesh and the policy engine for the types that
//! they take: at the start, when something is put in or changes, and now and then. As long as the policy engine has not answered, it hears
//! everything, so that nothing is missed at a start.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, PoisonError},
};

use grace_kernel::{
    Envelope, Outcome,
    process::{later, serve::listen, tell, wire},
};
use grace_types::time::{Clock, Monotonic};
use tokio::{sync::Notify, task::JoinHandle};

use super::{super::shell::NAME, Door};
use crate::{
    htm, limits,
    policies::{self, EventPolicies},
    triggers::{Command, Reply, Subscription as Wish},
};

/// All of Grace's own events.
pub(in super::super) const EVERYTHING: &str = "grace.event.>";

/// What the policy engine says when its policies change.
const CHANGES: [&str; 2] = ["grace.event.event_policy.policy_put", "grace.event.event_policy.policy_removed"];

/// Subjects that are about to be wanted: a subscription is heard for before whoever put it in is answered. Clones share them.
#[derive(Clone, Default)]
pub(in super::super) struct Wishes {
    changed: Arc<Notify>,
    /// Until when each counts although no subscription that is on record asks for it.
    fresh: Arc<Mutex<BTreeMap<String, Monotonic>>>,
}

impl Wishes {
    /// A subscription is about to be decided on.
    pub(in super::super) fn put(&self, subscription: &Wish, clock: &dyn Clock) {
        let until = clock.now().mono.plus(limits::OWN_FRESH);
        self.lock().extend(subscription.types.iter().filter_map(|kind| Some((subject_of(kind)?, until))));
        self.changed.notify_one();
    }

    fn at(&self, now: Monotonic) -> BTreeSet<String> {
        let mut fresh = self.lock();
        fresh.retain(|_, until| now < *until);
        fresh.keys().cloned().collect()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, Monotonic>> {
        // Whole between any two statements.
        self.fresh.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Ends with this.
struct Hearing(JoinHandle<()>);

impl Drop for Hearing {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Hears what is wanted until the process ends.
pub(super) async fn hear(door: Door, wishes: Wishes) {
    for subject in CHANGES {
        tokio::spawn(changes(door.clone(), subject, wishes.clone()));
    }
    let mut heard: BTreeMap<String, Hearing> = BTreeMap::new();
    // Before anybody has said what is wanted, which may take a while: nothing is to be missed at a start.
    take_up(&door, &mut heard, EVERYTHING).await;
    let mut of_policies: Option<BTreeSet<String>> = None;
    loop {
        let mut wanted = wishes.at(door.clock.now().mono);
        let (mesh, policies) = tokio::join!(of_mesh(&door), of_policies_now(&door));
        of_policies = policies.or(of_policies);
        match (&mesh, &of_policies) {
            (Some(mesh), Some(policies)) => wanted.extend(mesh.union(policies).cloned()),
            _ => drop(wanted.insert(EVERYTHING.to_owned())),
        }
        let wanted = reduced(&wanted);
        for subject in &wanted {
            take_up(&door, &mut heard, subject).await;
        }
        // Only now: a copy that comes by both ways is known, one that came by neither would be lost.
        heard.retain(|subject, _| wanted.contains(subject));
        let every = if of_policies.is_some() { limits::OWN_EVERY } else { limits::DOOR_RETRY };
        tokio::select! {
            () = wishes.changed.notified() => {}
            () = later(every) => {}
        }
    }
}

/// Hears what comes on the subject from now on, if it does not already.
async fn take_up(door: &Door, heard: &mut BTreeMap<String, Hearing>, subject: &str) {
    if heard.contains_key(subject) {
        return;
    }
    match listen(door.bus.clone(), subject.to_owned(), NAME.to_owned()).await {
        Ok(inbox) => {
            let hearing = tokio::spawn(door.clone().hear(inbox, subject.to_owned()));
            heard.insert(subject.to_owned(), Hearing(hearing));
        }
        Err(e) => tell(&format!("events on {subject} are not heard: {e}")),
    }
}

/// Has the policy engine asked again when its policies change.
async fn changes(door: Door, subject: &'static str, wishes: Wishes) {
    let Ok(mut inbox) = listen(door.bus.clone(), subject.to_owned(), NAME.to_owned()).await else { return };
    while inbox.next().await.is_some() {
        wishes.changed.notify_one();
    }
}

async fn of_mesh(door: &Door) -> Option<BTreeSet<String>> {
    match door.commands.ask(Envelope::new(Command::List)).await {
        Ok(Outcome::Done(Reply::Subscriptions { rows })) => {
            Some(subjects(rows.iter().filter(|row| row.enabled).flat_map(|row| &row.types)))
        }
        _ => None,
    }
}

async fn of_policies_now(door: &Door) -> Option<BTreeSet<String>> {
    let list = Envelope::new(policies::Command::List);
    let message = wire::command(policies::shell::NAME, &list).ok()?;
    let answer = door.bus.request(message, limits::DELIVERY_ANSWER).await.ok()?;
    match wire::read_answer::<EventPolicies>(&answer.payload) {
        Ok(Outcome::Done(policies::Reply::Policies { rows })) => {
            Some(subjects(rows.iter().filter(|row| row.enabled).flat_map(|row| &row.types)))
        }
        _ => None,
    }
}

fn subjects<'t>(types: impl Iterator<Item = &'t String>) -> BTreeSet<String> {
    types.filter_map(|kind| subject_of(kind)).collect()
}

/// The subject of Grace's own events that a pattern of types takes; `None` for one that takes none of them.
///
/// Events of `dev.grace.<component>.…` come on `grace.event.<component>.…`. The task manager's are many, and the rest of its subjects is the
/// rest of their types; what others publish on need only begin so.
fn subject_of(pattern: &str) -> Option<String> {
    let (before, star) = match pattern.split_once('*') {
        Some((before, _)) => (before, true),
        None => (pattern, false),
    };
    let Some(rest) = before.strip_prefix("dev.grace.") else {
        return (star && "dev.grace.".starts_with(before)).then(|| EVERYTHING.to_owned());
    };
    let Some((component, what)) = rest.split_once('.') else {
        return star.then(|| EVERYTHING.to_owned());
    };
    let exactly =
        what.strip_suffix(".v1").filter(|what| !star && !what.is_empty() && component == htm::shell::NAME);
    Some(format!("grace.event.{component}.{}", exactly.unwrap_or(">")))
}

/// Without those that another one covers.
fn reduced(subjects: &BTreeSet<String>) -> BTreeSet<String> {
    let covered = |subject: &String| {
        let mut wider = subject.match_indices('.').map(|(dot, _)| format!("{}.>", &subject[..dot]));
        wider.any(|wider| wider != *subject && subjects.contains(&wider))
    };
    subjects.iter().filter(|subject| !covered(subject)).cloned().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_type_says_on_which_subject_its_events_come() {
        for (pattern, subject) in [
            ("dev.grace.htm.task_failed.v1", Some("grace.event.htm.task_failed")),
            ("dev.grace.htm.task_failed.v2", Some("grace.event.htm.>")),
            ("dev.grace.htm.*", Some("grace.event.htm.>")),
            ("dev.grace.htm.*.v1", Some("grace.event.htm.>")),
            ("dev.grace.web.rebuilt.v1", Some("grace.event.web.>")),
            ("dev.grace.*", Some("grace.event.>")),
            ("dev.*", Some("grace.event.>")),
            ("*", Some("grace.event.>")),
            ("*.v1", Some("grace.event.>")),
            ("com.shop.*", None),
            ("com.shop.order.paid", None),
            ("dev.grace.htm", None),
            ("dev.other.*", None),
        ] {
            assert_eq!(subject_of(pattern).as_deref(), subject, "{pattern}");
        }
    }

    #[test]
    fn nothing_is_heard_twice() {
        let set = |subjects: &[&str]| subjects.iter().map(|s| (*s).to_owned()).collect::<BTreeSet<String>>();
        let several = set(&["grace.event.htm.>", "grace.event.htm.task_failed", "grace.event.web.>"]);
        assert_eq!(reduced(&several), set(&["grace.event.htm.>", "grace.event.web.>"]));
        let all = set(&[EVERYTHING, "grace.event.htm.>"]);
        assert_eq!(reduced(&all), set(&[EVERYTHING]));
    }
}
