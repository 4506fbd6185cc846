//! Bounds of the command line, with the reason for each.

use std::time::Duration;

/// An answer on the control socket. A thousand components with long messages take under 1 MiB; past this the
/// other side is not Grace, and the connection is given up.
pub(crate) const ANSWER_BYTES: u64 = 16 << 20;

/// How long one answer may take. The control plane writes its decision before it answers, and a disk under load
/// may take seconds to sync; a stopped control plane is replaced by the guardian well within this.
pub(crate) const ANSWER_TIME: Duration = Duration::from_secs(15);

/// How often a question that changes nothing is asked again when the control plane dies before it answers. The guardian
/// holds the listening socket, so the next control plane takes the question up; one that dies thrice does not come up.
pub(crate) const QUESTION_TRIES: u32 = 3;

/// Events that wait for the front's loop. It only prints, so more than a few waiting means that nobody reads its output;
/// then the readers wait too, and the control plane drops to sending the latest status.
pub(crate) const FRONT_EVENTS: usize = 16;

/// After the guardian's end, how long the last status may still be on its way through a socket of this machine.
pub(crate) const LAST_WORDS_TIME: Duration = Duration::from_secs(1);

/// Between two tries to watch an instance whose socket fails at once, so that the same trouble is told once a second.
pub(crate) const TROUBLE_PAUSE: Duration = Duration::from_secs(1);

/// Lines of a component's output shown when it did not get ready: enough for a Python traceback.
pub(crate) const FAILURE_LINES: usize = 15;

/// Free space below which `doctor` objects: journals and logs stop at a full disk, and this is room for the default
/// logs of ten components.
pub(crate) const FREE_BYTES: u64 = 1 << 30;

/// Open files that the broker needs for its default number of connections (4,096), its own and some to spare.
pub(crate) const OPEN_FILES: u64 = 4096 + 256;

/// A line of a log that `logs --json` takes as one object. Captured lines are far shorter.
pub(crate) const JSON_LINE_BYTES: usize = 1 << 20;
