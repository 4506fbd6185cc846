//! A worker of the user's own: the example in Python, on the real bus.

use std::path::Path;

use rustix::process::Signal;

use crate::{
    bench::submit,
    instance::{Instance, kill, until},
};

#[test]
fn the_example_in_python_runs_tasks_and_is_back_when_it_is_killed() {
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/workers");
    let instance = Instance::of("");
    std::fs::copy(example.join("resize.py"), instance.file("resize.py")).unwrap();
    std::fs::write(instance.file("in.pgm"), b"P5\n4 2\n255\n\x01\x02\x03\x04\x05\x06\x07\x08").unwrap();
    let manifest = std::fs::read_to_string(example.join("grace.yaml")).unwrap();
    instance.write_manifest(&format!("bus: {{port: 0}}\n{manifest}"));
    instance.up();
    let payload = r#"{"path": "in.pgm", "out": "out.pgm"}"#;
    let done = submit(&instance, "resize_image", &["--payload", payload, "--wait"]);
    let task = &done["tasks"][0];
    assert_eq!((&done["state"], &task["output"]["width"]), (&"succeeded".into(), &2.into()), "{done}");
    assert_eq!(std::fs::read(instance.file("out.pgm")).unwrap(), b"P5\n2 1\n255\n\x01\x03");

    let missing = r#"{"path": "none.pgm", "out": "out.pgm"}"#;
    let ran = instance.grace(&[
        "intent",
        "submit",
        "resize_image",
        "--actor",
        "ann",
        "--payload",
        missing,
        "--wait",
    ]);
    assert_eq!(ran.code, Some(1), "{ran}");
    assert!(ran.out.contains("No such file") && ran.out.contains("2 attempts"), "{ran}");

    let before = instance.component("resizer").pid;
    kill(before.unwrap(), Signal::KILL);
    until("it is another process", || (instance.component("resizer").pid != before).then_some(()));
    let again = submit(&instance, "resize_image", &["--payload", payload, "--wait"]);
    assert_eq!(again["state"], "succeeded", "{again}");
    instance.down();
}
