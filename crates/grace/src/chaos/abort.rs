//! `grace chaos abort`: asks the run under way to end, and waits until it has.

use std::{io::Write as _, thread};

use grace_chaos::run::{Holder, LockError, RunLock};
use grace_core::instance::Instance;
use grace_types::time::{Clock as _, SystemClock};
use rustix::process::Signal;

use crate::{
    failure::{Exit, Failure},
    limits,
    output::Output,
    style::tame,
};

/// Ends the run under way.
pub(super) fn run(instance: &Instance, out: &mut Output) -> Result<Exit, Failure> {
    let deadline = SystemClock.now().mono.plus(limits::ABORT_TIME);
    let mut asked: Option<Holder> = None;
    loop {
        let holder = RunLock::holder(instance.data()).map_err(|error| unreadable(&error))?;
        match (holder, &asked) {
            (None, None) => {
                return Err(Failure::new(Exit::Failed, "no_run", "no run is under way")
                    .at(&instance.data().display()));
            }
            (None, Some(ended)) => return told(ended, out),
            (Some(Some(holder)), None) => {
                // Where no such process runs, another has the lock and is about to say so.
                if let Some(process) = holder.process() {
                    process.signal(Signal::TERM).map_err(|error| {
                        let what = format!("process {} cannot be told: {error}", holder.pid);
                        Failure::new(Exit::Failed, "forbidden", what).help("run the command as its user")
                    })?;
                    asked = Some(holder);
                }
            }
            // Another run has begun since: ours is over.
            (Some(Some(holder)), Some(ended)) if holder.run != ended.run => return told(ended, out),
            (Some(_), _) => {}
        }
        if SystemClock.now().mono >= deadline {
            let what = format!("the run did not end within {} s", limits::ABORT_TIME.as_secs());
            let help =
                "it may wait for the disk; when its process is killed, everything is undone all the same";
            return Err(Failure::new(Exit::Failed, "run_under_way", what).help(help));
        }
        thread::park_timeout(limits::WATCH_PAUSE);
    }
}

fn told(ended: &Holder, out: &mut Output) -> Result<Exit, Failure> {
    if out.json {
        out.json_line(&serde_json::json!({"run": ended.run, "scenario": ended.scenario}))?;
    } else {
        writeln!(
            out,
            "{} of {} has ended, and what it had on is undone",
            tame(&ended.run),
            tame(&ended.scenario)
        )?;
        out.flush()?;
    }
    Ok(Exit::Done)
}

fn unreadable(error: &LockError) -> Failure {
    Failure::new(Exit::Failed, "not_writable", error.to_string())
}
