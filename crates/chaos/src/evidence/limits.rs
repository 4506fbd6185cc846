//! Every bound of the evidence folder, with its reason and what happens when it is reached. What is left out is counted, and the
//! count stands in the record of the run.

use std::time::Duration;

/// One stream (`resources.jsonl`, `telemetry.jsonl`, `narratives.jsonl`). A sample of 30 components takes 4 KiB, so an hour of one
/// every 5 s takes 3 MiB; telemetry under load may take any amount.
pub const STREAM_BYTES: u64 = 32 << 20;

/// The payload of one message that is kept. The rest is cut, and the line says so.
pub const PAYLOAD_BYTES: usize = 16 << 10;

/// One status of the control plane.
pub const DUMP_BYTES: usize = 1 << 20;

/// Statuses: one every 5 s for an hour, and as many transitions.
pub const DUMPS: u32 = 1500;

/// Characters of a dump's cause that its file is named after: several transitions at once, well within the 255 bytes of a name.
pub const CAUSE_CHARS: usize = 100;

/// A record that lies beside the log, if a run's entry names it.
pub const BLOB_BYTES: usize = 16 << 20;

/// A file of `/proc` or of pressure. They have a few hundred bytes; a component cannot make its own longer than its name.
pub const PROC_BYTES: u64 = 16 << 10;

/// Open files of a component that are counted. Counting more would disturb what is observed.
pub const OPEN_FILES: usize = 65_536;

/// How long the seal is waited for: a batch is sealed within 200 ms, and its shipper tries again within seconds of an
/// interruption.
pub const SEAL_TIME: Duration = Duration::from_secs(20);

/// Between two looks for the seal in the log: an eighth of the time that it was waited for already, so that no more than that is
/// waited in vain, but at least this. A look at a log that has not grown reads one small file.
pub const SEAL_PAUSE: Duration = Duration::from_millis(1);
/// See [`SEAL_PAUSE`]; and at most this.
pub const SEAL_PAUSE_LONGEST: Duration = Duration::from_millis(50);

/// Points of one line in a plot. More samples are thinned out: a plot is some 900 pixels wide.
pub const PLOT_POINTS: usize = 900;

/// Components with a plot of their own. Past it the report names the rest in its tables only.
pub const PLOTS: usize = 40;

/// Rows of a table in the report. The rest is in `incident.json`, and the report says how many.
pub const ROWS: usize = 200;

/// Characters of any text from outside in the report; scenarios are shown as they are.
pub const TEXT_CHARS: usize = 500;
