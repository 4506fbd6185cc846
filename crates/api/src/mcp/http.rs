//! `/mcp`: Grace's tools over the protocol's streamable HTTP transport, for whoever has a token.
//!
//! Nothing is kept between two requests: a client of the revisions with a handshake gets no session, and one of those without needs none. So
//! there is none to steal, to count or to end; each request shows its token, and what is revoked is worth nothing from the next one on. No
//! tool has anything to say by itself, so that there is no stream to listen on, either (GET is answered with 405).
//!
//! Pages of browsers are no clients: an `Origin` that is not of this machine is refused, and so is a `Host` by a name of somebody else's, as
//! on every other path.
//!
//! Source: the specification's revision 2026-07-28, transports (streamable HTTP).

use std::sync::Arc;

use axum::{
    body::Body,
    extract::Request,
    response::{IntoResponse as _, Response},
};
use rmcp::transport::streamable_http_server::{
    StreamableHttpServerConfig, StreamableHttpService, session::never::NeverSessionManager,
};

use super::{
    line::Line,
    server::{Server, Who},
};
use crate::{api::Api, bearer::Caller, body, limits};

/// Pages that may ask: tools for developers, on this machine.
const ORIGINS: [&str; 3] = ["http://localhost:*", "http://127.0.0.1:*", "http://[::1]:*"];

/// What serves each request.
#[derive(Clone)]
pub(crate) struct Service {
    api: Arc<Api>,
    protocol: StreamableHttpService<Server, NeverSessionManager>,
}

impl Service {
    /// Over the interface's own bus.
    pub(crate) fn of(api: &Arc<Api>) -> Self {
        let config = StreamableHttpServerConfig::default()
            .with_legacy_session_mode(false)
            .with_json_response(true)
            .with_max_request_body_bytes(limits::MCP_BODY_BYTES)
            .with_allowed_origins(ORIGINS)
            // The router has looked at it.
            .disable_allowed_hosts();
        let (bus, narratives) = (api.road.bus().clone(), api.narratives.clone());
        let server = move || {
            Ok(Server { line: Line::over(bus.clone()), who: Who::Token, narratives: narratives.clone() })
        };
        let protocol = StreamableHttpService::new(server, Arc::new(NeverSessionManager::default()), config);
        Self { api: Arc::clone(api), protocol }
    }
}

/// The resource.
pub(crate) async fn serve(service: Service, caller: Caller, request: Request) -> Response {
    let (mut parts, body) = request.into_parts();
    let whole = match body::room(&service.api, &parts.headers, limits::MCP_BODY_BYTES) {
        Ok(_room) => body::read(body, limits::MCP_BODY_BYTES).await,
        Err(problem) => {
            body::refuse(&parts.headers, body).await;
            Err(problem)
        }
    };
    match whole {
        Ok(whole) => {
            // Where a tool finds who calls it.
            parts.extensions.insert(caller);
            let response = service.protocol.handle(Request::from_parts(parts, Body::from(whole))).await;
            response.map(Body::new)
        }
        Err(problem) => problem.into_response(),
    }
}
