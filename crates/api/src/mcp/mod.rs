//! The Model Context Protocol: Grace as a server of its own, and other people's servers behind governance.
//!
//! ```text
//! client ─► gate ─┬─ anything but a tool's call ──────────────────────────────────────────► server
//!                 └─ tools/call ─► what it means (hooks.yaml) ─► the cortex ─┬─ allowed ──► server
//!                                                                            └─ no, or not yet ─► the client, with the ticket
//! ```
//!
//! | Module | What it holds |
//! |---|---|
//! | [`gate`] | what is done with each message; pure |
//! | [`proxy`] | the server's process, the lines to and from it, and the cortex |
//! | [`server`] | Grace's own tools |
//! | `http` | the same over HTTP: `/mcp` |
//! | [`line`] | the way to the bus |
//!
//! The proxy knows of the protocol what it has to, and passes on the rest as it is, so that every version of it goes through.

pub mod gate;
pub(crate) mod http;
pub mod line;
pub mod proxy;
pub mod server;
