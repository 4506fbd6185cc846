//! `GET /v1/intents/{id}/events`: what becomes of an intent, as server-sent events, until it is over.
//!
//! Each event is all that is known of the intent (`GET /v1/intents/{id}`), so that one that is missed costs nothing; it is named `progress`, the
//! last one `end`. Its id is a digest of what it says: a client that comes again with `Last-Event-ID` gets the next change, and status 204,
//! at which clients do not come again, where it has the last one already.
//!
//! Hints on the bus say when to look; since hints may be lost, it looks now and then by itself, too.

use std::{
    collections::HashMap,
    convert::Infallible,
    sync::{Arc, Mutex, PoisonError},
};

use axum::{
    extract::State,
    http::{HeaderMap, StatusCode},
    response::{
        IntoResponse as _, Response,
        sse::{Event, KeepAlive, Sse},
    },
};
use futures_util::stream::unfold;
use grace_bus::Subscription;
use grace_cortex::{case::sha256, command::decided_subject};
use grace_types::{intent::IntentId, time::Monotonic};
use tokio::time::timeout;

use super::{fetch, view::Intent};
use crate::{
    api::{Api, too_many},
    bearer::{Caller, Scope},
    limits,
    params::Id,
    problem::Problem,
};

/// The resource.
pub(crate) async fn follow(
    State(api): State<Arc<Api>>,
    caller: Caller,
    Id(id): Id,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    caller.needs(Scope::IntentsRead)?;
    let place = Place::take(&api.streams, &caller.token)?;
    // Listened to before it is looked at: what happens in between is heard.
    let hints = [
        api.road.hear(&decided_subject(&id.to_string())).await,
        api.road.hear(&format!("grace.htm.ended.{id}")).await,
    ];
    let now = fetch(&api, &caller, id).await?;
    let last = headers.get("last-event-id").and_then(|value| value.to_str().ok()).map(str::to_owned);
    if now.is_over() && last.as_deref() == Some(name(&now).as_str()) {
        return Ok(StatusCode::NO_CONTENT.into_response());
    }
    let until = api.now().plus(limits::STREAM_TIME);
    let watch = Watch { api, caller, id, hints, last, next: Some(now), until, _place: place };
    let keep_alive = KeepAlive::new().interval(limits::STREAM_BEAT);
    let events = unfold(Some(watch), async |watch| watch?.next().await);
    Ok(Sse::new(events).keep_alive(keep_alive).into_response())
}

/// How many follow intents, by token.
#[derive(Debug, Default)]
pub(crate) struct Streams(Mutex<HashMap<String, usize>>);

/// One of them, until it is dropped.
struct Place(Arc<Streams>, String);

impl Place {
    fn take(streams: &Arc<Streams>, token: &str) -> Result<Self, Problem> {
        let mut open = streams.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (all, own) = (open.values().sum::<usize>(), open.get(token).copied().unwrap_or_default());
        if own >= limits::STREAMS_OF_ONE {
            let most = limits::STREAMS_OF_ONE;
            let detail = format!("{most} streams are open with {token}: follow fewer intents at a time");
            return Err(too_many(&detail).after(limits::RETRY_AFTER));
        }
        if all >= limits::STREAMS {
            let detail = "too many clients follow intents already";
            return Err(Problem::unavailable("busy", detail, limits::RETRY_AFTER));
        }
        open.insert(token.to_owned(), own + 1);
        Ok(Self(Arc::clone(streams), token.to_owned()))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut open = self.0.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(own) = open.get_mut(&self.1) {
            *own -= 1;
            if *own == 0 {
                open.remove(&self.1);
            }
        }
    }
}

/// What tells one state of an intent from another.
fn name(intent: &Intent) -> String {
    // Cannot fail: texts and numbers.
    sha256(&serde_json::to_vec(intent).unwrap_or_default())[..16].to_owned()
}

struct Watch {
    api: Arc<Api>,
    caller: Caller,
    id: IntentId,
    hints: [Option<Subscription>; 2],
    last: Option<String>,
    /// What was seen and not told yet.
    next: Option<Intent>,
    until: Monotonic,
    _place: Place,
}

impl Watch {
    /// The next change; `None` when the stream is over.
    async fn next(mut self) -> Option<(Result<Event, Infallible>, Option<Self>)> {
        loop {
            let seen = match self.next.take() {
                Some(seen) => Some(seen),
                None => {
                    self.hint().await;
                    // Whose token is revoked hears no more; whoever comes again is told why.
                    if self.api.now() >= self.until || !self.api.is_live(&self.caller.token) {
                        return None;
                    }
                    fetch(&self.api, &self.caller, self.id).await.ok()
                }
            };
            // A component that is being replaced will be back.
            let Some(seen) = seen else { continue };
            let name = name(&seen);
            if self.last.as_ref() == Some(&name) && !seen.is_over() {
                continue;
            }
            let over = seen.is_over();
            let event = Event::default()
                .id(&name)
                .event(if over { "end" } else { "progress" })
                .retry(limits::STREAM_RETRY)
                .json_data(&seen)
                .ok()?;
            self.last = Some(name);
            return Some((Ok(event), (!over).then_some(self)));
        }
    }

    /// Returns when something has happened, or it is time to look.
    async fn hint(&mut self) {
        let [decided, ended] = &mut self.hints;
        let heard = async {
            tokio::select! {
                () = next(decided) => {}
                () = next(ended) => {}
            }
        };
        let _ = timeout(limits::STREAM_LOOK, heard).await;
    }
}

async fn next(hints: &mut Option<Subscription>) {
    match hints {
        Some(subscription) => {
            if subscription.next().await.is_none() {
                *hints = None;
            }
        }
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_token_has_a_share_and_gives_it_back() {
        let streams = Arc::new(Streams::default());
        let take = |token: &str| Place::take(&streams, token);
        let own: Vec<Place> = (0..limits::STREAMS_OF_ONE).map(|_| take("tok_a").unwrap()).collect();
        assert_eq!(take("tok_a").err().unwrap().status(), StatusCode::TOO_MANY_REQUESTS);
        let names = ["tok_b", "tok_c", "tok_d"];
        let rest: Vec<Place> =
            names.iter().flat_map(|name| (0..limits::STREAMS_OF_ONE).map(|_| take(name).unwrap())).collect();
        assert_eq!(take("tok_e").err().unwrap().status(), StatusCode::SERVICE_UNAVAILABLE);
        drop(own);
        assert!(take("tok_a").is_ok() && take("tok_e").is_ok());
        drop(rest);
        assert!(streams.0.lock().unwrap().is_empty());
    }
}
