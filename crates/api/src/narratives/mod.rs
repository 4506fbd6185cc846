//! `/v1/narratives`: who did what, when, where, why and how, out of the file that the kernel `clarity` keeps.

pub mod story;

use std::{path::PathBuf, sync::Arc};

use axum::{
    Json,
    extract::{Path, State, rejection::PathRejection},
    http::StatusCode,
};
use grace_store::{
    StoreError,
    narrative::{NarrativeDb, Order, Position, Query, Told},
};
use grace_types::time::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::sync::Semaphore;

use crate::{
    api::Api,
    bearer::{Caller, Scope},
    limits,
    params::Params,
    problem::Problem,
};

/// As scripts read it. Fields may be added.
#[must_use]
pub fn object(told: &Told) -> Value {
    let narrative = &told.narrative;
    let why: Vec<&str> = narrative.why.iter().map(|reason| reason.text.as_str()).collect();
    json!({
        "id": narrative.id,
        "time": narrative.time,
        "who": narrative.who,
        "what": narrative.what,
        "where": narrative.place,
        "why": why,
        "how": narrative.how,
        "correlation": narrative.correlation,
        "causation": narrative.causation,
        "log_index": told.log_index,
        "reasons": narrative.why,
        "source": told.source.component,
        "journal": told.source.journal,
        "sequence": told.sequence,
        "event": narrative.event,
        "cursor": told.position.to_string(),
    })
}

/// What is looked for.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Search {
    /// Who decided or asked, exactly.
    #[serde(default)]
    actor: Option<String>,
    /// The component or intent that it concerns, exactly.
    #[serde(default)]
    about: Option<String>,
    /// The action's word, such as `started`.
    #[serde(default)]
    action: Option<String>,
    /// Words that all occur.
    #[serde(default)]
    #[schemars(regex(pattern = r"[\p{L}\p{N}]"))]
    text: Option<String>,
    /// Not before.
    #[serde(default)]
    since: Option<Timestamp>,
    /// Not after.
    #[serde(default)]
    until: Option<Timestamp>,
    /// The `next` of the page before.
    #[serde(default)]
    #[schemars(regex(pattern = "^[0-7][0-9a-fA-F]{15}$"))]
    after: Option<String>,
    /// At most so many, 1 to 100.
    #[serde(default)]
    #[schemars(range(min = 1, max = 100))]
    limit: Option<usize>,
}

/// A page of narratives.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Narratives {
    /// The latest first, each as `grace narratives --json` prints it: `id`, `time`, `who`, `what`, `where`, `why`, `how` and more.
    narratives: Vec<Value>,
    /// What `after` is for the next page; `null` when this is the last one.
    next: Option<String>,
}

impl Search {
    fn query(self) -> Result<Query, Problem> {
        if self.text.as_ref().is_some_and(|text| !Query::has_words(text)) {
            return Err(Problem::malformed("`text`: there is no word to look for"));
        }
        let after = self.after.map(|text| text.parse::<Position>());
        let after = after.transpose().map_err(|_| Problem::malformed("`after` is the `next` of a page"))?;
        Ok(Query {
            source: None,
            actor: self.actor,
            place: self.about,
            action: self.action,
            text: self.text,
            correlation: None,
            since: self.since,
            until: self.until,
            order: Order::NewestFirst,
            after,
            limit: limits::page(self.limit)?,
        })
    }
}

/// The database of narratives, and turns to read it.
#[derive(Debug, Clone)]
pub struct Reader {
    path: PathBuf,
    turns: Arc<Semaphore>,
}

impl Reader {
    /// Of the database at `path`, which need not be there.
    #[must_use]
    pub fn of(path: PathBuf) -> Self {
        Self { path, turns: Arc::new(Semaphore::new(limits::READERS)) }
    }

    /// Reads on a thread that may block.
    ///
    /// # Errors
    /// Status 503.
    pub(crate) async fn read<T: Send + 'static>(
        &self,
        reading: impl FnOnce(&NarrativeDb) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, Problem> {
        let unreadable = |why: String| Problem::unavailable("unavailable", why, limits::RETRY_AFTER);
        let path = self.path.clone();
        let Ok(_turn) = self.turns.acquire().await else { return Err(unreadable("stopping".to_owned())) };
        let read = tokio::task::spawn_blocking(move || reading(&NarrativeDb::open_read_only(path)?));
        match read.await {
            Ok(Ok(found)) => Ok(found),
            Ok(Err(StoreError::Missing { .. })) => Err(unreadable("nothing has been told yet".to_owned())),
            Ok(Err(e)) => Err(unreadable(format!("the narratives cannot be read: {e}"))),
            Err(e) => Err(unreadable(format!("the narratives were not read: {e}"))),
        }
    }
}

/// `GET /v1/narratives`.
pub(crate) async fn search(
    State(api): State<Arc<Api>>,
    caller: Caller,
    Params(search): Params<Search>,
) -> Result<Json<Narratives>, Problem> {
    caller.needs(Scope::NarrativesRead)?;
    let query = search.query()?;
    let page = api.narratives.read(move |db| db.find(&query)).await?;
    let next = page.next.map(|position| position.to_string());
    Ok(Json(Narratives { narratives: page.told.iter().map(object).collect(), next }))
}

/// `GET /v1/narratives/why/{id}`.
pub(crate) async fn why(
    State(api): State<Arc<Api>>,
    caller: Caller,
    id: Result<Path<String>, PathRejection>,
) -> Result<Json<Value>, Problem> {
    caller.needs(Scope::NarrativesRead)?;
    let none = |detail: String| Problem::new(StatusCode::NOT_FOUND, "not_found", detail);
    let Path(id) = id.map_err(|e| none(e.to_string()))?;
    let asked = id.clone();
    let found = api.narratives.read(move |db| story::story(db, &asked)).await?;
    found.map(|story| Json(story.object())).ok_or_else(|| none("nothing was told of it".to_owned()))
}
