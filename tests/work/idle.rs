//! What a Grace with nothing to do writes: nothing.

use crate::{
    bench::{submit, up},
    instance::holds,
    line::Line,
};

#[test]
fn workers_that_only_live_are_not_written_down() {
    let instance = up();
    submit(&instance, "quick", &["--payload", r#"{"n": 1}"#, "--wait"]);
    let line = Line::to(&instance);
    // Each of the three has spoken; what that could write is on disk when the next beats come.
    line.hears("grace.work.beat.*", 3);
    let before = instance.records_of("htm").len();
    line.hears("grace.work.beat.*", 6);
    let records = instance.records_of("htm");
    assert_eq!(records.len(), before, "{:#?}", &records[before..]);
    // They are known to live all the same, and are lost when they do not.
    let workers = || line.ask("grace.cmd.htm", &serde_json::json!({"query": "overview"}));
    assert_eq!(workers()["done"]["overview"]["workers"].as_object().unwrap().len(), 3, "{}", workers());
    assert_eq!(instance.grace(&["pause", "task_worker-2"]).code, Some(0));
    holds("a worker that is stopped is lost", || {
        workers()["done"]["overview"]["workers"].as_object().unwrap().len() == 2
    });
    assert_eq!(instance.grace(&["resume", "task_worker-2"]).code, Some(0));
    holds("it is back", || workers()["done"]["overview"]["workers"].as_object().unwrap().len() == 3);
    instance.down();
}
