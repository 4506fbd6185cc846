//! `/proc` of this machine.

use std::{net::TcpListener, process::Command};

use grace_core::procfs::{
    machine::{self, Resource},
    process,
};

use crate::wait;

#[test]
fn this_process_is_seen_as_it_is() {
    let pid = std::process::id();
    let stat = process::stat(pid).unwrap();
    assert!(stat.name.starts_with("parts-"), "{}", stat.name);
    assert!(stat.resident_bytes() > 1 << 20);
    let proportional = process::proportional_bytes(pid).unwrap();
    assert!(proportional > 1 << 18 && proportional <= stat.resident_bytes() * 2, "{proportional}");
    wait::until("CPU time passes", || process::stat(pid).unwrap().cpu_time() > stat.cpu_time());
}

#[test]
fn a_child_is_found_with_its_environment_until_it_is_gone() {
    let mut child = Command::new("sleep").arg("60").env("COLOUR", "green=x").spawn().unwrap();
    let pid = child.id();
    assert!(process::children(std::process::id()).unwrap().contains(&pid));
    wait::until("the child runs its own program", || process::stat(pid).is_ok_and(|s| s.name == "sleep"));
    assert_eq!(process::environment_variable(pid, "COLOUR").unwrap().unwrap(), "green=x");
    assert_eq!(process::environment_variable(pid, "COLOU").unwrap(), None);
    let stat = process::stat(pid).unwrap();
    assert_eq!(stat.parent, std::process::id());
    assert!(stat.start_ticks >= process::start_ticks(std::process::id()).unwrap());
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(process::start_ticks(pid).is_none());
    assert!(process::children(pid).is_err() && process::proportional_bytes(pid).is_err());
}

#[test]
fn who_holds_a_port_is_named() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let holders = machine::holders_of_tcp_port(port).unwrap();
    assert!(
        holders.iter().any(|h| h.pid == std::process::id() && h.name.starts_with("parts-")),
        "{holders:?}"
    );
    drop(listener);
    wait::until("nobody holds it", || machine::holders_of_tcp_port(port).unwrap().is_empty());
}

#[test]
fn the_machine_says_what_it_knows() {
    assert_eq!(machine::boot_id().unwrap().len(), 36);
    for resource in [Resource::Cpu, Resource::Memory, Resource::Io] {
        match machine::pressure(resource) {
            Ok(pressure) => assert!((0.0..=100.0).contains(&pressure.some.avg10_percent)),
            Err(e) => assert_ne!(e.kind(), std::io::ErrorKind::InvalidData, "{e}"),
        }
    }
}
