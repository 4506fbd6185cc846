//! Answers to questions: bounded, in pages, and without an event.

use grace_kernel::Decision;
use grace_types::intent::IntentId;

use super::{
    changes,
    command::{ApprovalView, GenerationRow, Query, Refusal, Reply, Standing},
    decider::Decided,
    state::{Closed, Fate, Kept, Looked, Open, State},
};
use crate::{
    case::{Case, sha256},
    limits,
};

pub(super) fn answer(state: &State, query: &Query) -> Decided {
    let found = |what: &str, reply: Option<Reply>| match reply {
        Some(reply) => Decision::reply(reply),
        None => Decision::refuse(Refusal::new("not_found", format!("there is no such {what}"))),
    };
    match query {
        Query::Approvals { closed: false, after } => {
            let rows = state.open.iter().filter(|(id, _)| after.is_none_or(|after| **id > after));
            let (rows, more) = page(rows.map(|(_, open)| waiting(state, open)), |view| &view.case);
            Decision::reply(Reply::Approvals { rows, more })
        }
        Query::Approvals { closed: true, after } => {
            let rows = state.closed.iter().rev();
            let rows = rows.skip_while(|one| after.is_some_and(|after| one.case.intent != after));
            let rows = rows.skip(usize::from(after.is_some()));
            let (rows, more) = page(rows.map(|closed| over(state, closed)), |view| &view.case);
            Decision::reply(Reply::Approvals { rows, more })
        }
        Query::Approval(intent) => {
            found("approval", approval(state, *intent).map(|view| Reply::Approval(Box::new(view))))
        }
        Query::Reviews { closed: false, after } => {
            let rows = state.reviews.iter().filter(|(id, _)| after.is_none_or(|after| **id > after));
            let (rows, more) = page(rows.map(|(_, owed)| owed.clone()), |owed| &owed.case);
            Decision::reply(Reply::Reviews { rows, more })
        }
        Query::Reviews { closed: true, after } => {
            let rows = state.reviewed.iter().rev();
            let rows = rows.skip_while(|one| after.is_some_and(|after| one.case.intent != after));
            let rows = rows.skip(usize::from(after.is_some()));
            let (rows, more) = page(rows.cloned(), |done| &done.case);
            Decision::reply(Reply::Reviews { rows, more })
        }
        Query::Review(intent) => {
            let done = || state.reviewed.iter().rev().find(|done| done.case.intent == *intent);
            let review: Option<&Looked> = state.reviews.get(intent).or_else(done);
            found("review", review.map(|review| Reply::Review(Box::new(review.clone()))))
        }
        Query::Approvers => Decision::reply(Reply::Approvers(state.approvers.values().cloned().collect())),
        Query::Emergencies => Decision::reply(Reply::Emergencies {
            live: state.grants.values().cloned().collect(),
            ended: state.ended.iter().rev().take(limits::PAGE).cloned().collect(),
        }),
        Query::Generations => {
            Decision::reply(Reply::Generations(state.generations.iter().rev().map(row).collect()))
        }
        Query::Generation(number) => {
            let kept = state.generation(number.unwrap_or(state.in_force));
            found("generation", kept.map(|kept| Reply::Generation(Box::new(kept.clone()))))
        }
        Query::Sound { kind, payload, by } => changes::sound(state, (kind, payload), by),
        Query::Standing => Decision::reply(Reply::Standing(Box::new(standing(state)))),
    }
}

/// As many rows as fit a page, and whether there are more.
fn page<T>(rows: impl Iterator<Item = T>, case: impl Fn(&T) -> &Case) -> (Vec<T>, bool) {
    let (mut page, mut bytes) = (Vec::new(), 0);
    for row in rows {
        if page.len() >= limits::PAGE || bytes >= limits::PAGE_BYTES {
            return (page, true);
        }
        bytes += case(&row).payload.len();
        page.push(row);
    }
    (page, false)
}

/// An approval, waiting or closed.
pub(super) fn approval(state: &State, intent: IntentId) -> Option<ApprovalView> {
    let open = state.open.get(&intent).map(|open| waiting(state, open));
    open.or_else(|| state.closed(intent).map(|closed| over(state, closed)))
}

fn waiting(state: &State, open: &Open) -> ApprovalView {
    ApprovalView {
        case: open.case.clone(),
        word: None,
        by: open.yes.keys().cloned().collect(),
        may: state.may(&open.case.actor.name, &open.yes).map(str::to_owned).collect(),
        verdict: None,
        closed: None,
        instance: state.instance.clone(),
    }
}

fn over(state: &State, closed: &Closed) -> ApprovalView {
    ApprovalView {
        case: closed.case.clone(),
        word: Some(closed.verdict.word),
        by: closed.verdict.by.clone(),
        may: Vec::new(),
        verdict: Some(closed.verdict.clone()),
        closed: Some(closed.at),
        instance: state.instance.clone(),
    }
}

fn row(kept: &Kept) -> GenerationRow {
    let Kept { generation, by, reason, approved_by, since, fate, .. } = kept;
    let (state, refused) = match fate {
        Fate::InForce => ("in_force", None),
        Fate::OnItsWay => ("on_its_way", None),
        Fate::Replaced => ("replaced", None),
        Fate::Refused(reason) => ("refused", Some(reason.clone())),
    };
    GenerationRow {
        number: generation.number,
        state: state.to_owned(),
        by: by.clone(),
        approved_by: approved_by.clone(),
        reason: reason.clone(),
        since: *since,
        policies: sha256(generation.policies.as_bytes()),
        charter: sha256(generation.charter.as_bytes()),
        refused,
    }
}

fn standing(state: &State) -> Standing {
    Standing {
        instance: state.instance.clone(),
        generation: state.in_force,
        on_its_way: state.on_its_way,
        approvers: state.approvers.len(),
        approvals: state.open.len(),
        reviews: state.reviews.len(),
        grants: state.grants.values().map(|live| live.grant.clone()).collect(),
        untold: state.untold.len(),
        declared: state.declared.clone(),
    }
}
