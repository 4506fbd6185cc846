//! A whole instance: what the control plane and the kernels decide is in the log, over kills, an end and another boot.

use std::{ops::ControlFlow, path::Path};

use grace_kernel::evidence::Sink;
use grace_store::{JournalReader as _, Seq, file::FileReader};
use grace_types::evidence::Source;
use rustix::process::Signal;

use crate::{
    held::{self, Held},
    instance::{Instance, component, holds, kill},
};

fn journal(path: &Path, name: &str) -> (Source, Vec<Vec<u8>>) {
    let mut reader = FileReader::open(path).unwrap();
    let mut records = Vec::new();
    let mut visit = |record: grace_store::Record<'_>| {
        records.push(record.payload.to_vec());
        ControlFlow::Continue(())
    };
    reader.read(Seq(1), usize::MAX, &mut visit).unwrap();
    (Source::new(name, reader.id()).unwrap(), records)
}

fn in_log(instance: &Instance, name: &str) -> (Vec<Vec<u8>>, Vec<Vec<u8>>) {
    let (source, records) = journal(&instance.place().journal(name), name);
    let log: Held = held::log(instance.data());
    (records, log.get(&source).cloned().unwrap_or_default())
}

#[test]
fn what_an_instance_decides_is_in_the_log_over_kills_and_another_boot() {
    let instance = Instance::of("  web: {command: [PUPPET, wait]}\n");
    instance.up();
    for name in ["web", Sink::ImmutableLog.name(), "message_bus"] {
        let before = component(&instance.all_ready(), name).pid;
        kill(before.unwrap(), Signal::KILL);
        instance.until_component(name, "was restarted", |c| c.ready && c.pid != before);
    }
    instance.all_ready();
    holds("the restarts are in the log", || {
        let (_, log) = in_log(&instance, "control_plane");
        log.iter().filter(|record| String::from_utf8_lossy(record).contains(".became_ready.")).count() >= 7
    });
    instance.down();

    // Those who keep the evidence end last, so a kernel's last record is in it.
    let (records, log) = in_log(&instance, "health_monitor");
    assert!(records == log, "{} of {}", log.len(), records.len());
    // The control plane's are there up to the end of the log itself, and the rest comes with the next boot.
    let (first_boot, log) = in_log(&instance, "control_plane");
    assert!(first_boot.starts_with(&log) && log.len() > 7, "{} of {}", log.len(), first_boot.len());
    instance.up();
    holds("the end of the first boot is in the log", || {
        let (_, log) = in_log(&instance, "control_plane");
        log.starts_with(&first_boot)
    });
    let ran = instance.grace(&["log", "verify"]);
    assert_eq!(ran.code, Some(0), "{ran}");
    instance.down();
}
