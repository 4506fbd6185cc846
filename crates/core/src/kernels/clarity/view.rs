//! What clarity says when something is put to the vote: how the last intents of this type ended.

use std::path::PathBuf;

use grace_kernel::{
    process::voter::View,
    vote::{Proposal, Vote},
};
use grace_store::{
    StoreError,
    narrative::{NarrativeDb, Query, Told},
};
use grace_types::{intent::IntentId, reason::Reason};

use super::{database, limits::HISTORY};

/// With fewer that have ended, none of them badly is good enough and nothing is too bad.
const FEW: usize = 3;

/// How the last of a type ended that were allowed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct History {
    /// All of their tasks that were told of succeeded.
    pub well: usize,
    /// With a dead letter, cancelled, or refused by the task manager.
    pub badly: usize,
    /// Not over, or with nothing to run.
    pub open: usize,
}

/// What it says of it.
#[must_use]
pub fn say(kind: &str, history: History) -> (Vote, Vec<Reason>) {
    let History { well, badly, open } = history;
    let ended = well + badly;
    if ended + open == 0 {
        let told = format!("no {kind} was allowed before");
        return (Vote::Abstain, vec![Reason::new("history.none", told)]);
    }
    let told = format!(
        "of the last {kind} that were allowed, {well} ended well, {badly} badly, {open} tell nothing"
    );
    let vote = match (ended, badly) {
        (1.., 0) => Vote::Yes,
        (0..FEW, _) => Vote::Abstain,
        (_, badly) if badly * 2 >= ended => Vote::No,
        _ => Vote::Yes,
    };
    (vote, vec![Reason::new("history.type", told)])
}

/// Reads the narratives.
pub(super) struct Narratives(pub(super) PathBuf);

impl View for Narratives {
    async fn look(&mut self, proposal: &Proposal) -> (Vote, Vec<Reason>) {
        let (path, kind, own) = (database(&self.0), proposal.kind.clone(), proposal.intent);
        let read = move || {
            let db = NarrativeDb::open_read_only(path)?;
            history(&db, &kind, own).map(|history| say(&kind, history))
        };
        let unknown = |e: String| {
            (
                Vote::Abstain,
                vec![Reason::new("history.unknown", format!("the narratives cannot be read: {e}"))],
            )
        };
        match tokio::task::spawn_blocking(read).await {
            Ok(Ok(said)) => said,
            Ok(Err(e)) => unknown(e.to_string()),
            Err(e) => unknown(e.to_string()),
        }
    }
}

/// Of the last intents of this type, without the one that is voted on.
pub(super) fn history(db: &NarrativeDb, kind: &str, own: IntentId) -> Result<History, StoreError> {
    let mut history = History::default();
    for action in ["allowed", "vote_counted", "resolved"] {
        let text = if action == "allowed" { Some(format!("\"{kind}\"")) } else { None };
        let of_type = find(db, "cortex", action, text, HISTORY)?;
        let mut ids = Vec::new();
        for told in of_type {
            ids.extend(allowed(db, &told, kind)?.into_iter().filter(|id| *id != own));
        }
        for id in ids.into_iter().take(HISTORY) {
            match ended(db, id)? {
                Some(true) => history.well += 1,
                Some(false) => history.badly += 1,
                None => history.open += 1,
            }
        }
    }
    Ok(history)
}

/// The intents of this type that it allows.
fn allowed(db: &NarrativeDb, told: &Told, kind: &str) -> Result<Vec<IntentId>, StoreError> {
    let what = &told.narrative.event["what"];
    if let Some(decided) = what.get("decided") {
        if decided["decision"]["type"] != kind {
            return Ok(Vec::new());
        }
        let also = decided["also"].as_array().into_iter().flatten();
        let named = [&decided["decision"]].into_iter().chain(also);
        return Ok(named.filter_map(|one| one["id"].as_str()?.parse().ok()).collect());
    }
    let id: Option<IntentId> = told.narrative.place.parse().ok();
    let later = what.get("vote_counted").or_else(|| what.get("resolved"));
    if later.is_none_or(|later| later["outcome"] != "allowed") {
        return Ok(Vec::new());
    }
    let query = Query {
        source: Some("cortex".to_owned()),
        place: Some(told.narrative.place.clone()),
        action: Some("waits".to_owned()),
        limit: 1,
        ..Query::default()
    };
    let asked = db.find(&query)?.told;
    let of_type = |told: &Told| told.narrative.event["what"]["decided"]["decision"]["type"] == kind;
    Ok(id.filter(|_| asked.iter().any(of_type)).into_iter().collect())
}

/// Whether it ended well; `None` while nothing says so.
fn ended(db: &NarrativeDb, id: IntentId) -> Result<Option<bool>, StoreError> {
    let number = id.to_string();
    let number = number.trim_start_matches("int_");
    let (intent, task) = (format!("\"int_{number}\""), format!("\"tsk_{number}\""));
    let dead = find(db, "htm", "task_failed", Some(task.clone()), HISTORY)?;
    let is_dead = |told: &Told| told.narrative.event["what"]["task_failed"]["next"] == "dead";
    if dead.iter().any(is_dead)
        || !find(db, "htm", "intent_cancelled", Some(intent.clone()), 1)?.is_empty()
        || !find(db, "cortex", "refused", Some(intent), 1)?.is_empty()
    {
        return Ok(Some(false));
    }
    Ok((!find(db, "htm", "tasks_done", Some(task), 1)?.is_empty()).then_some(true))
}

fn find(
    db: &NarrativeDb,
    source: &str,
    action: &str,
    text: Option<String>,
    limit: usize,
) -> Result<Vec<Told>, StoreError> {
    let (source, action) = (Some(source.to_owned()), Some(action.to_owned()));
    Ok(db.find(&Query { source, action, text, limit, ..Query::default() })?.told)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_of_them_ended_badly_is_a_no_and_no_history_says_nothing() {
        let says = |well, badly, open| say("self_improve", History { well, badly, open }).0;
        assert_eq!(says(0, 0, 5), Vote::Abstain);
        let (vote, reasons) = say("self_improve", History::default());
        assert_eq!((vote, reasons[0].text.as_str()), (Vote::Abstain, "no self_improve was allowed before"));
        assert_eq!(says(1, 0, 0), Vote::Yes);
        assert_eq!(says(1, 1, 0), Vote::Abstain);
        assert_eq!(says(2, 1, 0), Vote::Yes);
        assert_eq!(says(2, 2, 9), Vote::No);
        assert_eq!(says(0, 3, 0), Vote::No);
        let (_, reasons) = say("self_improve", History { well: 2, badly: 1, open: 0 });
        assert_eq!(
            reasons[0].text,
            "of the last self_improve that were allowed, 2 ended well, 1 badly, 0 tell nothing"
        );
    }
}
