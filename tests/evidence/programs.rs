//! The kernel with a journal that the tests run and kill: this test binary again.

use std::{fmt, process::Command, time::Duration};

use grace_core::instance::Instance;
use grace_kernel::{
    Decider, Decision, Envelope, Recorded,
    process::{
        Environment, run,
        serve::{self, Storage},
        thread::Commands,
    },
};
use grace_types::{reason::Why, time::Now};
use serde::{Deserialize, Serialize};

const LOAD: &str = "GRACE_TEST_LOAD";

/// How many ask at once; each rests a little after each answer.
const ASKERS: u64 = 4;
const REST: Duration = Duration::from_millis(4);

/// A kernel that counts, and does so without end if it is `loaded`.
pub(crate) fn source(loaded: bool) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "programs::program", "--nocapture", "--test-threads=1"]);
    command.env(LOAD, if loaded { "1" } else { "0" });
    command
}

/// Not a test by itself: the kernel with a journal.
#[test]
fn program() {
    if std::env::var_os(LOAD).is_none() {
        return;
    }
    run(Environment::read().unwrap(), async |context| {
        let path = Instance::at(&context.environment.data).journal(context.component());
        let storage = Storage::file(path, context.clock.now().wall);
        serve::run_decider::<Counter, _>(context, storage, Load).await
    })
    .unwrap();
}

pub(crate) enum Counter {}

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Ask {
    Count,
    Read,
}

#[derive(Serialize, Deserialize)]
pub(crate) struct Counted {
    to: u64,
}

#[derive(Serialize, Deserialize)]
pub(crate) struct Never;

impl fmt::Display for Never {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("never refused")
    }
}

impl Decider for Counter {
    type State = u64;
    type Command = Ask;
    type Event = Counted;
    type Reply = u64;
    type Refusal = Never;
    type Effect = ();

    fn decide(state: &u64, _now: Now, command: &Ask) -> Decision<Self> {
        match command {
            Ask::Read => Decision::reply(*state),
            Ask::Count => {
                let to = state + 1;
                let why = Why::because("counter.asked", format!("somebody asked for {to}"));
                Decision::reply(to).record(Recorded::new(Counted { to }, "counter", "addition", why))
            }
        }
    }

    fn evolve(state: &mut u64, event: &Counted) {
        *state = event.to;
    }

    fn what(_event: &Counted) -> &'static str {
        "counted"
    }
}

struct Load;

impl serve::Shell<Counter> for Load {
    fn start(&mut self, commands: &Commands<Counter>) {
        if std::env::var(LOAD).is_ok_and(|load| load == "0") {
            return;
        }
        for asker in 0..ASKERS {
            let commands = commands.clone();
            tokio::spawn(async move {
                let mut rests = tokio::time::interval(REST);
                for n in 0.. {
                    let mut envelope = Envelope::new(Ask::Count);
                    // Some leave a record of another kind: an answer under a key.
                    if n % 7 == 0 {
                        envelope =
                            Envelope::new(Ask::Read).with_key(format!("{}-{asker}-{n}", std::process::id()));
                    }
                    if commands.ask(envelope).await.is_err() {
                        return;
                    }
                    rests.tick().await;
                }
            });
        }
    }

    fn perform(&mut self, _commands: &Commands<Counter>, (): ()) {}
}
