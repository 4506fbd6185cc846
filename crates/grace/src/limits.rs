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

/// How long the answer to an order may wait until whoever does the work has taken it: less than one try of a request takes (2 s), or that
/// would be over before the answer, and so would each after it, for as long as the work cannot be taken.
pub(crate) const TAKEN_TIME: Duration = Duration::from_millis(1500);

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

/// How often the log is verified anew because a newer checkpoint may explain the faults found. A log that is damaged and grows all the
/// while is told to be damaged after as many.
pub(crate) const LOG_TRIES: u32 = 4;

/// What is read of a file at once where it is only hashed.
pub(crate) const READ_BYTES: usize = 64 << 10;

/// Witnesses' checkpoints that a verification looks at. More witnesses than signatures fit a note are no use.
pub(crate) const WITNESSES: usize = 64;

/// Entries after which the line that shows how far a verification has come is drawn anew: some ten times a second.
pub(crate) const PROGRESS_ENTRIES: u64 = 50_000;

/// Between two looks at a log that is followed.
pub(crate) const FOLLOW_PAUSE: Duration = Duration::from_millis(200);

/// A record beside the log that is looked into to show it in a line. The journal takes none that is longer.
pub(crate) const BLOB_SHOWN_BYTES: usize = 16 << 20;

/// How long a witness may take for an answer, name look-up and connection included.
pub(crate) const WITNESS_TIME: Duration = Duration::from_secs(30);

/// How often a witness is asked again from another size. It tells its own; a second conflict is somebody else asking for
/// the same log.
pub(crate) const WITNESS_TRIES: u32 = 4;

/// The secret key's file: a name and some 80 characters.
pub(crate) const KEY_BYTES: usize = 512;

/// Records of a journal that are compared with the log at once.
pub(crate) const JOURNAL_READ_BYTES: usize = 8 << 20;

/// Faults of the log's sources that `fsck` names. One gap is followed by as many as there are entries after it.
pub(crate) const JOURNAL_ERRORS: usize = 20;

/// What a line says of an entry. A reason may be as long as its author likes, and a line should be read at a glance.
pub(crate) const LINE_CHARACTERS: usize = 160;

/// Between two tries to watch an instance during a chaos run, and between two looks at whether a run has ended.
pub(crate) const WATCH_PAUSE: Duration = Duration::from_millis(20);

/// How long a chaos run waits for a status that it asks for as evidence. It is there within milliseconds; one that hangs must not hold
/// up the run, which keeps the newest status that it knows instead.
pub(crate) const DUMP_TIME: Duration = Duration::from_millis(250);

/// Statuses that wait to be looked at by a chaos run. It looks every 20 ms; past this the oldest are let go.
pub(crate) const WATCH_STATUSES: usize = 256;

/// How long a run may take to end once it is asked to: the injector tries to undo for 30 s, and the evidence is closed.
pub(crate) const ABORT_TIME: Duration = Duration::from_secs(90);

/// What an event in a file may have beside its data: its attributes, and blanks between them.
pub(crate) const EVENT_HEAD_BYTES: usize = 256 << 10;

/// Levels of a story's tree that are drawn. Deeper ones are drawn at this depth, so that a long chain of causes stays on the screen.
pub(crate) const WHY_DEPTH: usize = 12;

/// An agent's settings. A larger file is none, and is left alone.
pub(crate) const SETTINGS_BYTES: usize = 4 << 20;
