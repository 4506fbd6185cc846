//! What all resources share, and which path leads to which.

use std::{
    net::IpAddr,
    path::PathBuf,
    sync::{Arc, Mutex},
};

use axum::{
    Router,
    extract::{Request, State},
    http::{StatusCode, header},
    middleware::{Next, from_fn, from_fn_with_state},
    response::{IntoResponse as _, Response},
    routing::{any, get, post},
};
use grace_bus::Bus;
use grace_types::{
    manifest::ApiSettings,
    time::{Clock, Monotonic},
};

use tokio::sync::Semaphore;

use crate::{
    authzen,
    bearer::{Peer, caller::Allowances, file::Tokens},
    control_plane::ControlPlane,
    events::{self, sender::Sender},
    health,
    hooks::{file, mapping::Mapping, resource},
    intents::{self, progress::Streams},
    kept::Kept,
    limits, mcp,
    metrics::{self, requests::Requests},
    narratives::{self, Reader},
    openapi, people,
    problem::Problem,
    rate::Bucket,
    road::Road,
    telemetry::Telemetry,
    token::Token,
    trace::Tracer,
};

/// See the module's page.
pub struct Api {
    pub(crate) settings: ApiSettings,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) control_plane: ControlPlane,
    pub(crate) telemetry: Arc<Telemetry>,
    pub(crate) requests: Requests,
    pub(crate) token: Token,
    pub(crate) tokens: Tokens,
    pub(crate) allowances: Allowances,
    pub(crate) road: Road,
    pub(crate) rate: Mutex<Bucket>,
    pub(crate) sender: Sender,
    /// Where spans go, if they go anywhere.
    pub(crate) tracer: Option<Tracer>,
    /// Room for bodies, in bytes.
    pub(crate) bodies: Semaphore,
    /// Room for clients that follow intents.
    pub(crate) streams: Arc<Streams>,
    pub(crate) narratives: Reader,
    /// What tool calls of coding agents mean.
    pub(crate) hooks: Kept<Arc<Mapping>>,
}

impl Api {
    /// With everything that it needs from outside.
    #[must_use]
    pub fn new(
        settings: ApiSettings,
        clock: Arc<dyn Clock>,
        (bus, telemetry): (Bus, Arc<Telemetry>),
        control_plane: ControlPlane,
        (token, tokens): (Token, Tokens),
        (narratives, hooks): (PathBuf, PathBuf),
    ) -> Self {
        let rate = Bucket::new(settings.events_per_second);
        Self {
            settings,
            clock: Arc::clone(&clock),
            control_plane,
            telemetry,
            requests: Requests::default(),
            token,
            tokens,
            allowances: Allowances::default(),
            road: Road::new(bus.clone()),
            rate: Mutex::new(rate),
            sender: Sender::new(bus, clock),
            tracer: None,
            bodies: Semaphore::new(limits::BODIES_BYTES),
            streams: Arc::new(Streams::default()),
            narratives: Reader::of(narratives),
            hooks: Kept::at(hooks, |path| file::load(path).map(Arc::new)),
        }
    }

    /// The same, with spans of the events that it takes.
    #[must_use]
    pub fn with_tracer(mut self, tracer: Option<Tracer>) -> Self {
        self.tracer = tracer;
        self
    }

    /// The instant, for limits.
    pub(crate) fn now(&self) -> Monotonic {
        self.clock.now().mono
    }

    /// That the request shows the token of events.
    ///
    /// # Errors
    /// Status 401; 429 past [`limits::WRONG_TOKENS_PER_SECOND`].
    pub(crate) fn authorize(
        &self,
        headers: &axum::http::HeaderMap,
        peer: Option<Peer>,
    ) -> Result<(), Problem> {
        if self.token.is_shown(headers) {
            return Ok(());
        }
        let detail =
            "this needs `Authorization: Bearer TOKEN`, with the token in the instance's keys/api.token";
        Err(self.refused(peer, detail))
    }
}

/// Status 429.
pub(crate) fn too_many(detail: &str) -> Problem {
    Problem::new(StatusCode::TOO_MANY_REQUESTS, "too_many_requests", detail)
}

/// Every path.
pub fn router(api: Arc<Api>) -> Router {
    let questions = Router::new()
        .route("/access/v1/evaluation", post(authzen::evaluation))
        .route("/access/v1/evaluations", post(authzen::evaluations))
        .layer(from_fn(authzen::echo));
    let mcp = mcp::http::Service::of(&api);
    Router::new()
        .route("/livez", get(health::live))
        .route("/readyz", get(health::ready))
        .route("/healthz", get(health::ready))
        .route("/metrics", get(metrics::metrics))
        .route("/v1/events", post(events::take))
        .route("/v1/intents", get(intents::list).post(intents::submit))
        .route("/v1/intents/{id}", get(intents::show))
        .route("/v1/intents/{id}/events", get(intents::follow))
        .route("/v1/hooks/{agent}", post(resource::decide))
        .route("/v1/approvals", get(people::approvals))
        .route("/v1/approvals/{id}", get(people::approval))
        .route("/v1/approvals/{id}/approve", post(people::approve))
        .route("/v1/approvals/{id}/deny", post(people::deny))
        .route("/v1/reviews", get(people::reviews))
        .route("/v1/narratives", get(narratives::search))
        .route("/v1/narratives/why/{id}", get(narratives::why))
        .route("/v1/openapi.json", get(openapi::serve))
        .route("/mcp", any(move |caller, request| mcp::http::serve(mcp.clone(), caller, request)))
        .route("/.well-known/authzen-configuration", get(authzen::configuration))
        .merge(questions)
        .method_not_allowed_fallback(async || {
            Problem::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", "see the Allow header")
        })
        .fallback(async || Problem::new(StatusCode::NOT_FOUND, "not_found", "there is nothing at this path"))
        .layer(from_fn_with_state(Arc::clone(&api), meant_for_us))
        .layer(from_fn_with_state(Arc::clone(&api), metrics::requests::count))
        .with_state(api)
}

/// Refuses requests that a browser was led to by a name of somebody else's (DNS rebinding): on a loopback address, only names that
/// can mean this machine are good.
async fn meant_for_us(State(api): State<Arc<Api>>, request: Request, next: Next) -> Response {
    let host = request.headers().get(header::HOST).and_then(|host| host.to_str().ok());
    if api.settings.allow_remote || host.is_none_or(is_local) {
        return next.run(request).await;
    }
    let detail = "the Host header must be localhost or an address, unless `api.allow_remote` is set";
    Problem::new(StatusCode::MISDIRECTED_REQUEST, "wrong_host", detail).into_response()
}

fn is_local(host: &str) -> bool {
    let name = match host.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((name, _)) => name,
        None => host.split(':').next().unwrap_or_default(),
    };
    name.eq_ignore_ascii_case("localhost") || name.parse::<IpAddr>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::is_local;

    #[test]
    fn hosts_that_can_mean_this_machine() {
        for good in
            ["localhost", "LOCALHOST:4280", "127.0.0.1:4280", "127.0.0.1", "[::1]:4280", "[::1]", "10.0.0.1"]
        {
            assert!(is_local(good), "{good}");
        }
        for bad in
            ["evil.example", "localhost.evil.example:4280", "", ":4280", "[evil]", "127.0.0.1.evil.example"]
        {
            assert!(!is_local(bad), "{bad}");
        }
    }
}
