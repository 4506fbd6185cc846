//! `POST /v1/events`: CloudEvents from outside.
//!
//! ```text
//! token ─ rate ─ content type ─ room ─ body (bounded in size and time) ─ events, all checked ─► a request each ─► 202
//! ```
//!
//! Status 202 means that every event of the request is durable where triggers and policies are kept: from there on no failure loses
//! it. Anything else is a problem. A batch with an event that is malformed is refused as a whole before any is sent; where some events
//! of a batch are durable and others not, the problem lists what became of each. To send durable ones again does no harm: `source`
//! and `id` name an event.

pub(crate) mod binding;
pub(crate) mod json;
pub(crate) mod sender;
#[cfg(test)]
mod tests;

use std::{
    sync::{Arc, PoisonError, atomic::Ordering},
    time::Duration,
};

use axum::{
    Json,
    extract::{Request, State},
    http::{StatusCode, request::Parts},
    response::{IntoResponse as _, Response},
};
use futures_util::future::join_all;
use grace_types::trace::TraceContext;
use serde_json::{Value, json};
use tokio::sync::SemaphorePermit;

use self::{
    binding::{Mode, Outgoing},
    sender::Outcome,
};
use crate::{
    api::{Api, too_many},
    bearer::Peer,
    body, limits,
    problem::Problem,
    trace::Span,
};

/// The resource.
pub async fn take(State(api): State<Arc<Api>>, request: Request) -> Result<Response, Problem> {
    let (head, body) = request.into_parts();
    let (mode, most, _room) = match admit(&api, &head) {
        Ok(admitted) => admitted,
        Err(problem) => {
            body::refuse(&head.headers, body).await;
            return Err(problem);
        }
    };
    let body = body::read(body, most).await?;
    let moment = api.sender.moment();
    let events = match mode {
        Mode::Binary => vec![binding::binary(&head.headers, body, moment)],
        Mode::Structured => vec![binding::structured(&body, moment)],
        Mode::Batch => binding::batch(&body, moment)?,
    };
    api.rate
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .take(api.now(), events.len())
        .map_err(over_the_rate)?;
    let events = sound(events, mode)?;
    let names: Vec<(String, String)> =
        events.iter().map(|sent| (sent.id.clone(), sent.event.id.to_string())).collect();
    let outcomes = join_all(events.into_iter().map(|sent| traced(&api, sent))).await;
    count(&api, &outcomes);
    if outcomes.iter().all(|outcome| *outcome == Outcome::Durable) {
        let events: Vec<Value> = names.iter().map(|(id, event)| json!({"id": id, "event": event})).collect();
        return Ok(
            (StatusCode::ACCEPTED, Json(json!({"accepted": events.len(), "events": events}))).into_response()
        );
    }
    Err(problem(&names, &outcomes, mode))
}

/// What is known of a request before its body: how it holds events, and how large it may be. The permit is room for the body, until
/// its events are durable: the data that are sent are parts of it.
fn admit<'a>(api: &'a Api, head: &Parts) -> Result<(Mode, usize, SemaphorePermit<'a>), Problem> {
    let headers = &head.headers;
    api.authorize(headers, head.extensions.get::<Peer>().copied())?;
    api.rate.lock().unwrap_or_else(PoisonError::into_inner).look(api.now()).map_err(over_the_rate)?;
    let mode = binding::mode(headers)?;
    let most = if mode == Mode::Batch { limits::BATCH_BODY_BYTES } else { limits::EVENT_BODY_BYTES };
    let room = body::room(api, headers, most)?;
    Ok((mode, most, room))
}

fn over_the_rate(wait: Duration) -> Problem {
    too_many("more events than `api.events_per_second`").after(wait)
}

/// Sends an event, with a span of its own where there are spans.
async fn traced(api: &Api, mut sent: Outgoing) -> Outcome {
    let Some(tracer) = &api.tracer else { return api.sender.send(sent).await };
    let above: Option<TraceContext> = sent.event.traceparent.as_deref().and_then(|text| text.parse().ok());
    let context = above.map_or_else(|| tracer.root(), |above| above.child(&sent.key()));
    sent.event.traceparent = Some(context.to_string());
    let attributes = vec![
        ("cloudevents.event_id", sent.id.clone()),
        ("cloudevents.event_source", sent.event.source.clone()),
        ("cloudevents.event_type", sent.event.kind.clone()),
    ];
    let start = api.clock.now().wall;
    let outcome = api.sender.send(sent).await;
    let error = match &outcome {
        Outcome::Durable => None,
        Outcome::Refused(why) | Outcome::TooLarge(why) => Some(why.clone()),
        Outcome::Unavailable { message, .. } => Some(message.clone()),
    };
    let parent = above.map(TraceContext::span_id);
    tracer.report(Span {
        context,
        parent,
        name: "event",
        start,
        end: api.clock.now().wall,
        attributes,
        error,
    });
    outcome
}

/// All events of a request, or what is wrong with it.
fn sound(events: Vec<Result<Outgoing, Problem>>, mode: Mode) -> Result<Vec<Outgoing>, Problem> {
    if mode != Mode::Batch || events.iter().all(Result::is_ok) {
        return events.into_iter().collect();
    }
    let rows = events.iter().enumerate().map(|(index, event)| match event {
        Ok(sent) => json!({"index": index, "id": sent.id, "outcome": "not_sent"}),
        Err(e) => json!({"index": index, "outcome": "refused", "code": e.code(), "detail": e.detail()}),
    });
    let rows: Vec<Value> = rows.collect();
    let worst = events.iter().filter_map(|event| event.as_ref().err()).map(Problem::status).max();
    let refused = events.iter().filter(|event| event.is_err()).count();
    let detail = format!("{refused} of {} events are not taken as they are; none was sent", events.len());
    let code = "malformed";
    Err(Problem::new(worst.unwrap_or(StatusCode::BAD_REQUEST), code, detail).with("events", rows.into()))
}

fn count(api: &Api, outcomes: &[Outcome]) {
    let events = &api.requests.events;
    for outcome in outcomes {
        let counter = match outcome {
            Outcome::Durable => &events.durable,
            Outcome::Refused(_) | Outcome::TooLarge(_) => &events.refused,
            Outcome::Unavailable { .. } => &events.unavailable,
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }
}

/// The problem that says what became of each event. What can be sent again counts first: its sender has more to do.
fn problem(names: &[(String, String)], outcomes: &[Outcome], mode: Mode) -> Problem {
    let of = |outcome: &Outcome| match outcome {
        Outcome::Durable => None,
        Outcome::Refused(why) => Some(Problem::new(StatusCode::BAD_REQUEST, "refused", why.as_str())),
        Outcome::TooLarge(why) => Some(Problem::too_large(why.as_str())),
        Outcome::Unavailable { code, message } => {
            let detail = format!("{message} ({code})");
            Some(Problem::unavailable("unavailable", detail, limits::RETRY_AFTER))
        }
    };
    let Some(worst) = outcomes.iter().filter_map(of).max_by_key(Problem::status) else {
        return Problem::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "internal",
            "nothing is wrong with any event",
        );
    };
    if mode != Mode::Batch {
        return worst;
    }
    let rows = names.iter().zip(outcomes).enumerate().map(|(index, ((id, event), outcome))| {
        let mut row = json!({"index": index, "id": id, "event": event});
        row["outcome"] = match outcome {
            Outcome::Durable => "durable".into(),
            Outcome::Refused(_) | Outcome::TooLarge(_) => "refused".into(),
            Outcome::Unavailable { .. } => "unavailable".into(),
        };
        if let Some(problem) = of(outcome) {
            row["detail"] = problem.detail().into();
        }
        row
    });
    let rows: Vec<Value> = rows.collect();
    let durable = outcomes.iter().filter(|outcome| **outcome == Outcome::Durable).count();
    let detail = format!("{durable} of {} events are durable; {}", outcomes.len(), worst.detail());
    let mut all = Problem::new(worst.status(), worst.code(), detail).with("events", rows.into());
    if worst.status() == StatusCode::SERVICE_UNAVAILABLE {
        all = all.after(limits::RETRY_AFTER);
    }
    all
}
