//! The example of a manifest in parts, as it is shipped.

use std::{fs, path::Path};

use crate::{
    bench::{lines, submit},
    instance::{Instance, holds},
};

#[test]
fn what_included_files_declare_runs() {
    let instance = Instance::of("");
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/include");
    fs::create_dir_all(instance.file("work")).unwrap();
    for file in ["work/intents.yaml", "work/reactions.yaml"] {
        fs::copy(example.join(file), instance.file(file)).unwrap();
    }
    let manifest = fs::read_to_string(example.join("grace.yaml")).unwrap();
    instance.write_manifest(&format!("bus: {{port: 0}}\n{manifest}"));
    instance.up();
    let done = submit(&instance, "greet", &["--payload", r#"{"name": "Bob"}"#, "--wait"]);
    assert_eq!(done["state"], "succeeded", "{done}");
    // One file submits what another declares.
    let ran = instance.grace(&["schedule", "run", "morning"]);
    assert_eq!(ran.code, Some(0), "{ran}");
    holds("all are greeted", || lines(&instance, "data/greetings") == ["Hello, Bob", "Hello, everybody"]);
    let triggers = instance.grace(&["trigger", "list"]);
    assert!(triggers.code == Some(0) && triggers.out.contains("arrival"), "{triggers}");
    instance.down();
}
