//! However a run ends, nothing of it is left.

use std::process::{Child, Stdio};

use rustix::process::Signal;
use serde_json::Value;

use super::{PROGRAMS, lasting, told, write};
use crate::instance::{Instance, Ran, holds, kill, until};

/// A run under way whose fault has taken effect, and the process that it hit.
fn begin(instance: &Instance) -> (Child, u32) {
    write(instance, "lasting", &lasting());
    let hit = instance.component("beating").pid.unwrap();
    let mut command = instance.command(&["chaos", "run", "lasting", "--json"]);
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    instance.until_component("beating", "is muted", |c| c.muted.is_some());
    // Proved by now, and said so.
    holds("the bite is on record", || {
        let journal = instance.data().join("journals/chaos.journal");
        journal.exists() && kinds(instance).iter().any(|kind| kind == "dev.grace.chaos.fault_bitten.v1")
    });
    (child, hit)
}

fn kinds(instance: &Instance) -> Vec<String> {
    let kind = |record: &Value| record["event"]["type"].as_str().unwrap_or_default().to_owned();
    instance.records_of("chaos").iter().map(kind).collect()
}

/// That the program goes on as it was, heard again, and that no fault is left.
fn assert_clean(instance: &Instance, hit: u32) {
    let beating = instance.until_component("beating", "is heard again", |c| c.muted.is_none());
    assert_eq!((beating.pid, beating.restarts, beating.ready), (Some(hit), 0, true));
    let faults = instance.place().faults();
    holds("no fault is on record", || std::fs::read_dir(&faults).map_or(0, Iterator::count) == 0);
    instance.all_ready();
}

fn ended(child: Child) -> Ran {
    let output = child.wait_with_output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Ran { code: output.status.code(), out: text(&output.stdout), err: text(&output.stderr) }
}

#[test]
fn a_signal_ends_a_run_in_order() {
    let instance = Instance::of(PROGRAMS);
    instance.up();
    for (signal, by) in [(Signal::INT, "Ctrl-C"), (Signal::TERM, "SIGTERM")] {
        let (child, hit) = begin(&instance);
        kill(child.id(), signal);
        let ran = ended(child);
        assert_eq!(ran.code, Some(1), "{ran}");
        let told = told(&ran);
        assert_eq!((&told["passed"], &told["faults"][0]["undone"]), (&false.into(), &true.into()), "{ran}");
        assert!(
            told["reasons"].to_string().contains(&format!("ended early, in the phase `faults`, by {by}")),
            "{ran}"
        );
        let verified = instance.grace(&["verify", told["bundle"].as_str().unwrap()]);
        assert_eq!(verified.code, Some(0), "what was seen is kept and sealed: {verified}");
        assert_clean(&instance, hit);
        std::fs::remove_dir_all(instance.data().join("runs")).unwrap();
    }
    instance.down();
}

#[test]
fn one_run_at_a_time_and_abort_ends_it() {
    let instance = Instance::of(PROGRAMS);
    instance.up();
    let none = instance.grace(&["chaos", "abort"]);
    assert_eq!(none.code, Some(1), "{none}");
    assert!(none.err.contains("error[no_run]: no run is under way"), "{none}");
    let (child, hit) = begin(&instance);
    let second = instance.grace(&["chaos", "run", "lasting"]);
    assert_eq!(second.code, Some(1), "{second}");
    assert!(second.err.contains("error[run_under_way]: a run is under way"), "{second}");
    assert!(second.err.contains(&format!("of lasting, process {}", child.id())), "{second}");
    let abort = instance.grace(&["chaos", "abort"]);
    assert_eq!(abort.code, Some(0), "{abort}");
    assert!(abort.out.contains("of lasting has ended, and what it had on is undone"), "{abort}");
    assert_clean(&instance, hit);
    let ran = ended(child);
    assert_eq!(ran.code, Some(1), "{ran}");
    instance.down();
}

#[test]
fn a_runner_that_is_killed_leaves_a_clean_system_and_the_next_run_works() {
    let instance = Instance::of(PROGRAMS);
    instance.up();
    let (child, hit) = begin(&instance);
    kill(child.id(), Signal::KILL);
    assert_eq!(ended(child).code, None);
    assert_clean(&instance, hit);
    let own = "id: next\ntitle: A test\ncategory: process\nseverity: low\n\
               faults: [{type: kill, target: quiet}]\nverifications: [{name: v, check: 'true'}]\n";
    write(&instance, "next", own);
    let next = until("the injector of the run before has gone", || {
        Some(instance.grace(&["chaos", "run", "next"])).filter(|ran| !ran.err.contains("run_under_way"))
    });
    assert_eq!(next.code, Some(0), "{next}");
    assert!(next.out.contains("was not finished by its runner; it is noted as aborted"), "{next}");
    assert!(kinds(&instance).iter().any(|kind| kind == "dev.grace.chaos.aborted.v1"));
    instance.down();
}
