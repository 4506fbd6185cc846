//! What programs print: captured from both streams, rotated, shown by `grace logs`.

use std::{
    io::{BufRead as _, BufReader},
    process::Stdio,
};

use rustix::process::Signal;

use crate::instance::{Instance, holds, kill, rotated};

#[test]
fn both_streams_are_captured_rotated_and_shown() {
    let instance = Instance::of(
        "
  talker:
    command: [PUPPET, say=first, complain=second, count=1]
    log: {max_size: 4KiB, max_files: 3}
  short: {command: [PUPPET, say=to out, complain=to err, wait]}
",
    );
    instance.up();
    holds("it is rotated", || (0..3).all(|n| rotated(&instance.place().log("talker"), n).exists()));
    let log = instance.place().log("talker");
    assert!(!rotated(&log, 3).exists());
    for n in 0..3 {
        // It may be rotated while we look.
        let size = std::fs::metadata(rotated(&log, n)).map_or(0, |file| file.len());
        assert!(size <= 4096, "{size} bytes in {n}");
    }
    holds("both lines are there", || instance.printed("short").len() == 2);
    let ran = instance.grace(&["logs", "short"]);
    let mut streams: Vec<&str> =
        ran.out.lines().filter_map(|line| line.split_once(' ')).map(|l| l.1).collect();
    streams.sort_unstable();
    assert_eq!((ran.code, streams), (Some(0), vec!["err to err", "out to out"]), "{ran}");

    // -n: the last lines, over rotated files, consecutive.
    let ran = instance.grace(&["logs", "talker", "-n", "150"]);
    let numbers = numbers(ran.out.lines());
    assert_eq!((ran.code, numbers.len()), (Some(0), 150), "{ran}");
    assert!(numbers.windows(2).all(|pair| pair[1] == pair[0] + 1), "{numbers:?}");

    // -f: goes on with what is added, over rotations.
    let mut following =
        instance.command(&["logs", "talker", "-n", "1", "-f"]).stdout(Stdio::piped()).spawn().unwrap();
    let lines = BufReader::new(following.stdout.take().unwrap()).lines();
    let followed: Vec<String> = lines.take(200).map(Result::unwrap).collect();
    kill(following.id(), Signal::INT);
    following.wait().unwrap();
    let followed = self::numbers(followed.iter().map(String::as_str));
    assert_eq!(followed.len(), 200);
    assert!(followed.windows(2).all(|pair| pair[1] == pair[0] + 1), "{followed:?}");
    instance.down();
    // With everything down the files are still there to read.
    assert_eq!(instance.grace(&["logs", "talker", "-n", "5"]).out.lines().count(), 5);
}

fn numbers<'a>(lines: impl Iterator<Item = &'a str>) -> Vec<u64> {
    lines.map(|line| line.rsplit(' ').next().unwrap().parse().unwrap_or_else(|_| panic!("{line}"))).collect()
}
