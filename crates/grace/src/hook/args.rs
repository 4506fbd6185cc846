//! The command lines of `grace hook`.

use clap::Subcommand;
use grace_api::hooks::agent::Agent;

/// `grace hook`.
#[derive(Debug, Subcommand)]
#[command(rename_all = "kebab-case")]
pub(crate) enum Hook {
    /// Answer a hook of Claude Code: PreToolUse
    #[command(after_help = EXAMPLE)]
    ClaudeCode,
    /// Answer a hook of Codex: PreToolUse
    #[command(after_help = EXAMPLE)]
    Codex,
    /// Answer a hook of Gemini CLI: BeforeTool
    #[command(after_help = EXAMPLE)]
    Gemini,
    /// Answer a hook of Cursor: beforeShellExecution, beforeMCPExecution, beforeReadFile, preToolUse
    #[command(after_help = EXAMPLE)]
    Cursor,
}

const EXAMPLE: &str = "\
Examples:
  grace hook install AGENT        has the agent run this before each use of a tool
  grace hook AGENT < call.json    what it would be told

Reads the hook's JSON on standard input and answers in the agent's own dialect. No answer of Grace's is a no.";

impl Hook {
    /// Whose hook it is.
    pub(crate) const fn agent(&self) -> Agent {
        match self {
            Self::ClaudeCode => Agent::ClaudeCode,
            Self::Codex => Agent::Codex,
            Self::Gemini => Agent::Gemini,
            Self::Cursor => Agent::Cursor,
        }
    }
}
