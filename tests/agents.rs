//! Coding agents and clients of MCP under governance: what they may do, what waits for a person, and that no answer is a no.
#![allow(clippy::unwrap_used, reason = "tests")]

mod instance;

#[path = "agents/hooks.rs"]
mod hooks;
#[path = "agents/mcp.rs"]
mod mcp;
#[path = "agents/mcp_http.rs"]
mod mcp_http;

use instance::Instance;

/// An instance on which people can be made approvers.
fn up() -> Instance {
    let instance = Instance::of("").with_people();
    instance.up();
    instance
}
