//! An instance with types of intents, and what is asked of it.

use serde_json::Value;

use crate::instance::{Instance, until};

/// The types of every test. `mark` leaves its token in a file; `hold` does so and then waits for another file.
pub(crate) const MANIFEST: &str = r#"bus: {port: 0}
intents:
  mark:
    payload:
      type: object
      required: [text, count]
      additionalProperties: false
      properties: {text: {type: string}, count: {type: integer}}
    plan:
      task:
        kind: exec
        command: [sh, -c, 'echo "$0 $GRACE_TOKEN" >> FOLDER/marks; echo "$0"', "${payload.text}"]
        timeout: 20s
        retry: {attempts: 5, backoff: 100ms}
  hold:
    plan:
      task:
        kind: exec
        command: [sh, -c, 'echo "$GRACE_TOKEN" >> FOLDER/held; while [ ! -e FOLDER/go ]; do sleep 0.05; done']
        timeout: 25s
  steps:
    plan:
      sequence:
        - task: {name: first, kind: exec, command: [printf, "%s", "${payload.text}"]}
        - parallel:
            - task: {kind: wait, for: 50ms}
            - task: {name: told, kind: publish, subject: "app.told.${payload.text}", message: "${tasks.first.stdout}"}
  slow:
    plan:
      task: {kind: exec, command: [sh, -c, 'sleep 0.3; echo "$GRACE_TOKEN" >> FOLDER/slow']}
  own:
    plan:
      task: {kind: own, timeout: 3s, retry: {attempts: 3, backoff: 10ms}}
  quick:
    payload: {type: object, required: [n], properties: {n: {type: integer, minimum: 0}, tag: {type: string}}}
    plan:
      task: {kind: wait, for: 1ms}
  spin:
    plan:
      task:
        kind: exec
        command: [sh, -c, 'spin() { echo "$1" >> FOLDER/spun; while :; do :; done; }; sh -c "echo \$\$ >> FOLDER/spun; while :; do :; done" & spin $$']
        timeout: 3s
        retry: {attempts: 2, backoff: 10ms}
  call:
    plan:
      task:
        kind: http
        method: POST
        url: "http://${payload.address}/notes"
        headers: {x-secret: hidden}
        body: {note: "${payload.note}"}
        expect: {status: [201]}
        timeout: 10s
        retry: {attempts: 3, backoff: 10ms}
  undone:
    plan:
      sequence:
        - task:
            name: first
            kind: exec
            command: [sh, -c, 'echo "did $0 $GRACE_TOKEN" >> FOLDER/undone', "${payload.text}"]
            compensation: {kind: exec, command: [sh, -c, 'echo "undid $0 $GRACE_TOKEN" >> FOLDER/undone', "${payload.text}"]}
        - task: {kind: exec, command: [sh, -c, 'exit 3'], retry: {attempts: 1}}
  many:
    plan:
      task: {kind: publish, subject: app.many, message: "${size(payload.n.filter(a, payload.n.exists(b, a + b < 0)))}"}
  broken:
    plan:
      task: {kind: exec, command: [sh, -c, 'echo "no such picture" >&2; exit 3'], retry: {attempts: 2, backoff: 10ms}}
"#;

/// An instance that runs with these types and the usual three workers.
pub(crate) fn up() -> Instance {
    let instance = Instance::of("");
    instance.write_manifest(MANIFEST);
    instance.up();
    instance
}

/// Submits an intent, and what `grace` printed.
pub(crate) fn submit(instance: &Instance, kind: &str, more: &[&str]) -> Value {
    let args = [&["--json", "intent", "submit", kind, "--actor", "ann"], more].concat();
    let ran = instance.grace(&args);
    assert_eq!(ran.code, Some(0), "{ran}");
    serde_json::from_str(&ran.out).unwrap()
}

/// The intent as it is now.
pub(crate) fn show(instance: &Instance, id: &str) -> Value {
    let ran = instance.grace(&["--json", "intent", "show", id]);
    assert_eq!(ran.code, Some(0), "{ran}");
    serde_json::from_str(&ran.out).unwrap()
}

/// The intent, as soon as it is at this state.
pub(crate) fn until_state(instance: &Instance, id: &str, state: &str) -> Value {
    until(&format!("{id} is {state}"), || Some(show(instance, id)).filter(|intent| intent["state"] == state))
}

/// The lines of a file that tasks write.
pub(crate) fn lines(instance: &Instance, name: &str) -> Vec<String> {
    let text = std::fs::read_to_string(instance.file(name)).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}
