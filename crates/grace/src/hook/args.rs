//! The command lines of `grace hook`.

use std::path::PathBuf;

use clap::{Args, Subcommand};
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
    /// Have an agent run its hook: adds it to the agent's settings, and shows what changes
    #[command(after_help = "\
Examples:
  grace hook install claude-code --dry-run    what would change in ./.claude/settings.json
  grace hook install codex --user             for all projects of this user: ~/.codex/hooks.json
  grace hook install claude-code --http http://127.0.0.1:4280
                                              over HTTP, with the token in GRACE_TOKEN

What else is in the settings stays. Done twice it is done once.")]
    Install(Install),
}

/// `grace hook install`.
#[derive(Debug, Args)]
pub(crate) struct Install {
    /// claude-code, codex, gemini or cursor
    pub(crate) agent: Agent,
    /// Show what would change, and change nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// For all projects of this user, not only the one in this folder
    #[arg(long, conflicts_with = "file")]
    pub(crate) user: bool,
    /// Another settings file
    #[arg(long, value_name = "FILE")]
    pub(crate) file: Option<PathBuf>,
    /// Have it post to the interface at this address instead of running a command (claude-code)
    #[arg(long, value_name = "URL")]
    pub(crate) http: Option<String>,
}

const EXAMPLE: &str = "\
Examples:
  grace hook install AGENT        has the agent run this before each use of a tool
  grace hook AGENT < call.json    what it would be told

Reads the hook's JSON on standard input and answers in the agent's own dialect. No answer of Grace's is a no.";
