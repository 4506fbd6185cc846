//! `POST /v1/hooks/{agent}`: a hook's JSON in, the answer in that agent's dialect out.
//!
//! ```text
//! token ─► scope, rate ─► body ─► call ─► mapping ─► the cortex, as the token's actor ─► answer, status 200
//!   └─────────┴────────────┴───────┴────────┴────────── whatever goes wrong: a no in the dialect, status 200
//! ```
//!
//! To an agent's host any other status than 2xx is a hook that failed, and a hook that failed lets the call pass. So a no of any kind,
//! that to a wrong token included, is said in the agent's own words (decision 0020). The only others are those where it cannot be known
//! which words: 404 for an agent that is not known, and what never got so far as to be a request.
//!
//! Who asks is the token's actor. What the path and the body say of the agent is its dialect, and a claim on record.

use std::sync::Arc;

use axum::{
    body::Body,
    extract::{FromRequestParts, Path, Request, State},
    http::{HeaderMap, StatusCode, header, request::Parts},
    response::{IntoResponse as _, Response},
};
use grace_kernel::process::tell;
use tokio::time::timeout;

use super::{
    agent::Agent,
    answer::{Answer, Verdict, answer},
    ask::{self, ask},
    call,
};
use crate::{
    api::Api,
    bearer::{Caller, Scope},
    body, limits,
    problem::Problem,
};

/// The agent in a path's `{agent}`.
pub(crate) struct Dialect(Agent);

impl FromRequestParts<Arc<Api>> for Dialect {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, api: &Arc<Api>) -> Result<Self, Problem> {
        let none = |detail: String| Problem::new(StatusCode::NOT_FOUND, "not_found", detail);
        let Path(text) =
            Path::<String>::from_request_parts(parts, api).await.map_err(|e| none(e.to_string()))?;
        text.parse().map(Self).map_err(none)
    }
}

/// The resource.
pub(crate) async fn decide(
    State(api): State<Arc<Api>>,
    Dialect(agent): Dialect,
    request: Request,
) -> Response {
    let (mut parts, body) = request.into_parts();
    let caller = Caller::from_request_parts(&mut parts, &api).await;
    let caller = caller.and_then(|caller| caller.needs(Scope::Hooks).map(|()| caller));
    let said = match caller {
        Ok(caller) => {
            let judged = judge(&api, agent, &caller, &parts.headers, body);
            timeout(limits::HOOK_HTTP, judged).await.unwrap_or_else(|_| {
                let why = format!("nothing was decided within {:?}", limits::HOOK_HTTP);
                answer(agent, None, &Verdict::Deny(why))
            })
        }
        Err(problem) => {
            body::refuse(&parts.headers, body).await;
            no(agent, &problem)
        }
    };
    ([(header::CONTENT_TYPE, "application/json")], said.stdout).into_response()
}

fn no(agent: Agent, problem: &Problem) -> Answer {
    answer(agent, None, &Verdict::Deny(format!("{} ({})", problem.detail(), problem.code())))
}

async fn judge(api: &Api, agent: Agent, caller: &Caller, headers: &HeaderMap, body: Body) -> Answer {
    let input = match body::room(api, headers, limits::HOOK_BYTES) {
        // The room is given back once the body is read: what waits for the cortex is the call in it.
        Ok(_room) => body::read(body, limits::HOOK_BYTES).await,
        Err(problem) => {
            body::refuse(headers, body).await;
            Err(problem)
        }
    };
    let heard = match input {
        Ok(input) => call::read(agent, &input),
        Err(problem) => return no(agent, &problem),
    };
    let mapping = || {
        api.hooks.now().map_err(|e| {
            tell(&format!("every tool call is denied: {e}"));
            e.to_string()
        })
    };
    match ask::question(agent, heard, mapping) {
        Ok((call, meaning)) => {
            let verdict = ask(api.road.bus(), &*api.clock, &caller.actor, &call, &meaning).await;
            answer(agent, Some(&call), &verdict)
        }
        Err(said) => said,
    }
}
