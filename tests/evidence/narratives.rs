//! `grace narratives` and `grace why` on a whole instance: running, with its kernel stopped, and with everything down.

use grace_kernel::evidence::Sink;
use rustix::process::Signal;

use crate::instance::{Instance, component, holds, kill};

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
