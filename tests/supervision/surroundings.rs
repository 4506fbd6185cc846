//! What a program finds around itself: environment, descriptors, limits, its credential on the bus.

use std::collections::BTreeMap;

use crate::instance::{Instance, holds, until};

#[test]
fn the_environment_is_clean_and_says_where_grace_is() {
    let mut instance = Instance::of(
        "
  plain:
    command: [PUPPET, environment, say=END, wait]
    environment: {GIVEN: as it is, PASSED: }
    watchdog: {interval: 1h}
    readiness_probe: {notify: true}
  quiet: {command: [PUPPET, environment, say=END, wait]}
",
    );
    instance.set("SECRET", "of the shell that started Grace");
    instance.set("PASSED", "through");
    instance.set("LANG", "C.UTF-8");
    // `plain` never says that it is ready.
    assert_eq!(instance.try_up(&["--timeout", "0.2"]).code, Some(1));
    let variables = |name: &str| -> BTreeMap<String, String> {
        let lines = until("it printed its environment", || {
            let lines = instance.printed(name);
            (lines.last().map(String::as_str) == Some("END")).then_some(lines)
        });
        let pairs = lines.iter().filter_map(|line| line.split_once('='));
        pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
    };
    let (plain, quiet) = (variables("plain"), variables("quiet"));
    for variables in [&plain, &quiet] {
        assert!(!variables.contains_key("SECRET") && variables.contains_key("PATH"), "{variables:?}");
        assert_eq!(variables["LANG"], "C.UTF-8");
        assert_eq!(variables["GRACE_DATA"], instance.data().to_string_lossy());
        assert_eq!(variables["NOTIFY_SOCKET"], instance.place().notify_socket().to_string_lossy());
    }
    assert_eq!((plain["GIVEN"].as_str(), plain["PASSED"].as_str()), ("as it is", "through"));
    assert_eq!(plain["WATCHDOG_USEC"], "3600000000");
    assert!(!quiet.contains_key("PASSED") && !quiet.contains_key("WATCHDOG_USEC"), "{quiet:?}");
    let address = instance.status().bus_address;
    for (name, variables) in [("plain", &plain), ("quiet", &quiet)] {
        let url = &variables["NATS_URL"];
        assert!(
            url.starts_with(&format!("nats://{name}:")) && url.ends_with(&format!("@{address}")),
            "{url}"
        );
    }
    instance.down();
}

#[test]
fn a_program_inherits_no_descriptors_and_keeps_to_its_limits() {
    let instance = Instance::of(
        "
  free: {command: [PUPPET, wait]}
  few_files: {command: [PUPPET, open=100, wait], resources: {open_files: 20}}
  little_memory: {command: [PUPPET, allocate=200000000, allocate=1000000, wait], resources: {memory: 100MB}}
  much_memory: {command: [PUPPET, allocate=200000000, wait]}
",
    );
    instance.up();
    for name in ["free", "few_files", "health_monitor"] {
        let pid = instance.component(name).pid.unwrap();
        let open: BTreeMap<u32, String> = std::fs::read_dir(format!("/proc/{pid}/fd"))
            .unwrap()
            .map(Result::unwrap)
            .map(|e| (e.file_name(), std::fs::read_link(e.path()).unwrap_or_default()))
            .map(|(fd, to)| (fd.to_string_lossy().parse().unwrap(), to.to_string_lossy().into_owned()))
            .collect();
        let standard = [&open[&0], &open[&1], &open[&2]];
        assert!(
            standard[0] == "/dev/null" && standard[1..].iter().all(|to| to.starts_with("pipe:")),
            "{open:?}"
        );
        if name != "health_monitor" {
            assert_eq!(open.len(), 3, "{name}: {open:?}");
        }
    }
    let prints = |name: &str, line: &str| holds(line, || instance.printed(name).iter().any(|l| l == line));
    prints("few_files", "opened 17 of 100");
    prints("little_memory", "was refused 200000000 bytes");
    prints("little_memory", "got 1000000 bytes");
    prints("much_memory", "got 200000000 bytes");
    instance.down();
}

/// Publishes and subscribes with a client that is not ours, from inside a supervised program.
const NATS_PY: &str = r#"
import asyncio, nats, os
async def main():
    errors = []
    async def on_error(e): errors.append(str(e))
    nc = await nats.connect(os.environ["NATS_URL"], error_cb=on_error)
    sub = await nc.subscribe("app.>")
    await nc.publish("app.greeting", b"hello")
    print("heard", (await sub.next_msg(timeout=20)).data.decode(), flush=True)
    await nc.publish("other.greeting", b"hello")
    await nc.subscribe("grace.>")
    await nc.flush()
    while len(errors) < 2: await asyncio.sleep(0.01)
    for e in sorted(errors): print("error", e, flush=True)
    await asyncio.Event().wait()
asyncio.run(main())
"#;

#[test]
fn its_credential_on_the_bus_lets_it_do_what_the_manifest_permits_and_nothing_else() {
    let instance = Instance::of(
        "
  talker:
    command: [python3, -u, FOLDER/talker.py]
    permissions: {publish: ['app.>'], subscribe: ['app.>']}
    ready_log_line: '^error .*subscription'
",
    );
    std::fs::write(instance.file("talker.py"), NATS_PY).unwrap();
    instance.up();
    let printed = instance.printed("talker");
    assert_eq!(printed[0], "heard hello", "{printed:?}");
    let errors = printed[1..].join("\n").to_lowercase();
    assert!(errors.contains("permissions violation for publish to \"other.greeting\""), "{errors}");
    assert!(errors.contains("permissions violation for subscription to \"grace.>\""), "{errors}");
    instance.down();
}
