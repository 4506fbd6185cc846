//! The command line of `grace log`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

/// `grace log`.
#[derive(Debug, Subcommand)]
pub(crate) enum Log {
    /// Show the last entries
    Tail(Tail),
    /// Print the signed checkpoint and the key that checks it
    #[command(after_help = "\
Examples:
  grace log checkpoint            the signed note, as any C2SP tool reads it, and the verifier key
  grace log checkpoint --json     for scripts: {\"origin\": …, \"size\": …, \"root\": …, \"key\": …, \"note\": …}

Keep a checkpoint somewhere else: against it, `grace log verify --known` finds a log that was rolled
back or rewritten, even by whoever holds its key.")]
    Checkpoint,
    /// Prove that an entry is in the log
    Prove(Prove),
    /// Check the whole log, from its files alone
    Verify(Verify),
    /// Check the log, its keys, and every journal against it
    #[command(after_help = "\
Examples:
  grace log fsck                  all that `verify` does; then: does each journal's every record stand
                                  in the log, byte for byte, in order, without a gap or a duplicate

What still waits to be shipped to the log is counted; it is no fault. Works with everything down.")]
    Fsck,
    /// Have a witness cosign the checkpoint, and keep it
    Cosign(Cosign),
}

/// `grace log tail`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  grace log tail                  index, time, component, its sequence number, what happened and why
  grace log tail -n 100 -f        the last 100, then what is sealed, until interrupted
  grace log tail --json           for scripts: one {\"index\": …, \"leaf\": …, \"entry\": {…}} a line")]
pub(crate) struct Tail {
    /// Go on with what is sealed
    #[arg(long, short)]
    pub(crate) follow: bool,
    /// How many of the last entries
    #[arg(long, short = 'n', value_name = "N", default_value_t = 10)]
    pub(crate) lines: u64,
}

/// `grace log prove`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  grace log prove 12 > 12.tlog-proof
  grace log prove 12 --out 12.tlog-proof --entry 12.json
  grace verify 12.tlog-proof --entry 12.json --key log.vkey       on any machine, without the log

The proof (C2SP tlog-proof) holds the checkpoint and the hashes that lead from the entry to its root.")]
pub(crate) struct Prove {
    /// The entry's place in the log, from 0
    pub(crate) index: u64,
    /// Write the proof to this file
    #[arg(long, short, value_name = "FILE")]
    pub(crate) out: Option<PathBuf>,
    /// Write the entry itself to this file; whoever checks the proof needs it
    #[arg(long, value_name = "FILE")]
    pub(crate) entry: Option<PathBuf>,
}

/// `grace log verify`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  grace log verify                the log of this instance, also while Grace runs
  grace log verify /backup/log --key log.vkey
  grace log verify --known monday.checkpoint     also: what was there on Monday is still there

Every entry is hashed and the tree built anew. What is wrong is named: the entry, tile, bundle or
blob. Checkpoints that witnesses have cosigned (`grace log cosign`) are known without being named.
Exit status: 0 whole, 1 not, 2 there is no log or no key here.")]
pub(crate) struct Verify {
    /// A log's folder, or a data folder [default: this instance's]
    pub(crate) dir: Option<PathBuf>,
    /// The log's verifier key, or a file that holds it [default: keys/immutable_log.vkey beside the log]
    #[arg(long, value_name = "VKEY|FILE")]
    pub(crate) key: Option<String>,
    /// A checkpoint of this log that you kept; may be given several times
    #[arg(long, value_name = "FILE")]
    pub(crate) known: Vec<PathBuf>,
    /// A witness's verifier key, or a file that holds it; may be given several times
    #[arg(long, value_name = "VKEY|FILE")]
    pub(crate) witness: Vec<String>,
    /// How many of these witnesses must have cosigned this checkpoint or a known one [default: all]
    #[arg(long, value_name = "N", requires = "witness")]
    pub(crate) quorum: Option<usize>,
}

/// `grace log cosign`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  grace log cosign --url https://witness.example --key witness.vkey

The witness (C2SP tlog-witness) gets the checkpoint and a proof that the log has only grown since it
last signed. The cosigned checkpoint is kept in DATA/witnessed/, and `grace log verify` knows it
from then on: a rollback, a fork or a rewritten past is found against it. Plain http is for
loopback addresses only.")]
pub(crate) struct Cosign {
    /// The witness's submission prefix
    #[arg(long, value_name = "URL")]
    pub(crate) url: String,
    /// The witness's verifier key, or a file that holds it
    #[arg(long, value_name = "VKEY|FILE")]
    pub(crate) key: String,
}
