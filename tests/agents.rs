//! Coding agents and clients of MCP under governance: what they may do, what waits for a person, and that no answer is a no.
#![allow(clippy::unwrap_used, reason = "tests")]

mod instance;

#[path = "agents/hooks.rs"]
mod hooks;
#[path = "agents/mcp.rs"]
mod mcp;

use instance::Instance;

/// An instance on which people can be made approvers.
fn up() -> Instance {
    let mut instance = Instance::of("");
    let config = instance.file("config").to_string_lossy().into_owned();
    instance.set("XDG_CONFIG_HOME", &config);
    instance.set("USER", "root");
    instance.up();
    instance
}
