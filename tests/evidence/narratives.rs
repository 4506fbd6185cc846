//! `grace narratives` and `grace why` on a whole instance: running, with its kernel stopped, and with everything down.

use std::fs::File;

use grace_core::status::ComponentState;
use grace_kernel::evidence::Sink;
use rustix::process::Signal;
use serde_json::Value;

use crate::instance::{Instance, component, holds, is, kill, until};

#[test]
fn what_an_instance_decides_is_told_and_explained_with_everything_down_too() {
    let instance = Instance::of("  web: {command: [PUPPET, wait]}\n");
    instance.up();
    let clarity = Sink::Clarity.name();
    let before = component(&instance.all_ready(), "web").pid;
    kill(before.unwrap(), Signal::KILL);
    let after = instance.until_component("web", "was restarted", |c| c.ready && c.pid != before);
    assert_ne!(after.pid, before);
    let about_web = ["narratives", "--about", "web", "--since", "1h"];
    holds("the restart is told, and its entry in the log is known", || {
        let told = instance.told(&about_web);
        told.len() >= 4 && told.iter().all(|n| n["log_index"].is_u64())
    });
    let newest = instance.told(&about_web).remove(0);
    let why = instance.told(&["why", newest["id"].as_str().unwrap()]).remove(0);
    assert_eq!(why["asked"], newest["id"]);
    let story = why["narratives"].as_array().unwrap();
    assert!(story.iter().all(|n| !n["why"].as_array().unwrap().is_empty()), "{why}");
    assert!(story.iter().any(|n| n["depth"].as_u64() > Some(0)), "an effect has its cause: {why}");

    // The entry that it names is the one that the log holds.
    let index = newest["log_index"].to_string();
    let entry = instance.data().join("entry.json");
    let ran = instance.grace(&["log", "prove", &index, "--entry", entry.to_str().unwrap()]);
    assert_eq!(ran.code, Some(0), "{ran}");
    assert!(std::fs::read_to_string(&entry).unwrap().contains(newest["id"].as_str().unwrap()));

    // With the writer dead, stopped in the middle of things, and with everything down.
    let keeper = component(&instance.all_ready(), clarity).pid;
    kill(keeper.unwrap(), Signal::KILL);
    assert!(!instance.told(&about_web).is_empty());
    instance.until_component(clarity, "was restarted", |c| c.ready && c.pid != keeper);
    instance.down();
    let down = instance.told(&about_web);
    assert!(down.iter().any(|n| n["id"] == newest["id"]));
    assert!(!instance.told(&["why", "web"]).is_empty());

    // Made again from the journals alone, it is the same, and nothing is missing.
    let everything = ["narratives", "--limit", "10000"];
    let before = instance.told(&everything);
    let ran = instance.grace(&["narratives", "rebuild"]);
    assert_eq!(ran.code, Some(0), "{ran}");
    let rebuilt = instance.told(&everything);
    assert!(before.iter().all(|told| rebuilt.contains(told)) && rebuilt.len() >= before.len());
    instance.up();
    instance.all_ready();
    instance.down();
}

#[test]
fn each_kind_of_the_supervisors_own_decisions_is_told_and_explained() {
    let instance = Instance::of(
        "
  hangs: {command: [PUPPET, wait]}
  ends: {command: [PUPPET, until=FOLDER/end, exit=3], availability: {restart: on_failure}}
  lives: {command: [PUPPET, wait]}
",
    );
    instance.up();
    let before = instance.all_ready();
    let (hangs, lives) = (component(&before, "hangs").pid, component(&before, "lives").pid);
    kill(hangs.unwrap(), Signal::STOP);
    instance.until_component("hangs", "was restarted", |c| c.ready && c.pid != hangs);
    File::create(instance.file("end")).unwrap();
    instance.until_component("ends", "used up its restarts", |c| is(c, ComponentState::Failed));
    kill(before.control_plane_pid, Signal::KILL);
    let after = instance.until("a new one answers", |s| s.control_plane_pid != before.control_plane_pid);
    assert_eq!(component(&after, "lives").pid, lives, "it is adopted as it is");

    // What was decided, about what, and a word of the reason.
    let decided = [
        ("start_decided", "lives", ""),
        ("became_ready", "lives", ""),
        ("hang_detected", "hangs", "stopped"),
        ("restart_scheduled", "hangs", ""),
        ("gave_up", "ends", "3 restarts in 60.0 s are used up"),
        ("took_over", "instance", "the control plane died"),
    ];
    for (action, place, reason) in decided {
        let told = until(&format!("{action} is told, and its entry in the log is known"), || {
            let told = instance.told(&["narratives", "--action", action, "--limit", "1000"]);
            told.into_iter().find(|one| one["where"] == place && one["log_index"].is_u64())
        });
        assert_eq!(told["source"], "control_plane", "{told}");
        let why = told["why"].as_array().unwrap();
        assert!(!why.is_empty() && told["why"].to_string().contains(reason), "{told}");
        let story = instance.told(&["why", told["id"].as_str().unwrap()]).remove(0);
        let narratives: &Vec<Value> = story["narratives"].as_array().unwrap();
        let itself = narratives.iter().find(|one| one["id"] == told["id"]).unwrap();
        assert_eq!((&story["asked"], &itself["why"]), (&told["id"], &told["why"]), "{story}");
        let of = |action: &str| {
            narratives.iter().any(|one| one["what"] == format!("dev.grace.control_plane.{action}.v1"))
        };
        match action {
            "hang_detected" => assert!(of("restart_scheduled"), "what came of it: {story}"),
            "gave_up" => assert!(of("exited"), "what led to it: {story}"),
            "took_over" => assert!(told["event"]["adopted"].as_u64() >= Some(1), "{told}"),
            _ => {}
        }
    }
    instance.down();
}
