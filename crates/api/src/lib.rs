//! The HTTP interface: the component `api_server`.
//!
//! ```text
//! accept (bounded) ─► count ─► host ─► /livez /readyz /healthz    the control plane, over its socket
//!                                  ├─► /metrics                   what telemetry said last
//!                                  ├─► /v1/intents ─► token: who asks ─► rate ─► the cortex, on the bus ─► what it decided
//!                                  └─► /v1/events  ─► token ─► rate ─► read, check ─► a request each on the bus ─► 202
//! ```
//!
//! | Module | What it holds |
//! |---|---|
//! | [`component`] | what the control plane must know of it, and its life |
//! | [`api`] | what all resources share, and the routes |
//! | [`server`] | sockets: accepting, bounds, the orderly end |
//! | [`health`] | `/livez`, `/readyz`, `/healthz` |
//! | [`metrics`] | `/metrics` |
//! | [`events`] | `/v1/events` |
//! | [`mcp`] | servers of the Model Context Protocol behind governance |
//! | [`decision`] | what the cortex says to what an agent is about to do |
//! | [`hooks`] | `/v1/hooks/{agent}`: what a coding agent is about to do, as an intent, and the answer in its dialect |
//! | [`intents`] | `/v1/intents` |
//! | [`people`] | `/v1/approvals`, `/v1/reviews` |
//! | [`narratives`] | `/v1/narratives` |
//! | [`authzen`] | `/access/v1/evaluation` and `evaluations`: is it allowed? |
//! | [`openapi`] | `/v1/openapi.json` |
//! | [`problem`] | every error as `application/problem+json` |
//! | [`bearer`], [`token`], [`rate`] | who may, and how much |
//! | `body`, `params`, `road`, `kept` | what requests hold, the way to other components, and what files held |
//! | [`telemetry`], [`control_plane`] | what is known of the other components |
//! | [`trace`] | spans along the road, to an OTLP receiver |
//! | [`limits`] | every bound |
//!
//! It holds no state that must last: an event is acknowledged when whoever takes it says that it is durable. So it may be killed at
//! any time, and its end costs nobody anything but the connection.

#![warn(clippy::print_stderr)]

pub mod api;
pub mod authzen;
pub mod bearer;
mod body;
pub mod component;
pub mod control_plane;
pub mod decision;
pub mod events;
pub mod health;
pub mod hooks;
pub mod intents;
mod kept;
pub mod limits;
pub mod mcp;
pub mod metrics;
pub mod narratives;
pub mod openapi;
mod params;
pub mod people;
pub mod problem;
pub mod rate;
mod road;
pub mod server;
pub mod telemetry;
pub mod token;
pub mod trace;
