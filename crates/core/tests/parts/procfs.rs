//! `/proc` of this machine.

use std::{ffi::OsStr, net::TcpListener, os::unix::net::UnixListener, process::Command};

use grace_core::procfs::{self, Resource};

use crate::wait;

#[test]
fn this_process_is_seen_as_it_is() {
    let pid = std::process::id();
    let stat = procfs::stat(pid).unwrap();
    assert!(stat.name.starts_with("parts-"), "{}", stat.name);
    assert!(stat.resident_bytes() > 1 << 20);
    let proportional = procfs::proportional_bytes(pid).unwrap();
    assert!(proportional > 1 << 18 && proportional <= stat.resident_bytes() * 2, "{proportional}");
    wait::until("CPU time passes", || procfs::stat(pid).unwrap().cpu_time() > stat.cpu_time());
}

#[test]
fn a_child_is_found_with_its_environment_until_it_is_gone() {
    let mut child = Command::new("sleep").arg("60").env("COLOUR", "green=x").spawn().unwrap();
    let pid = child.id();
    assert!(procfs::children(std::process::id()).contains(&pid));
    // The kernel lays the environment out a moment after the new program counts as started.
    wait::until("the environment", || procfs::environment_variable(pid, "COLOUR").is_some());
    assert_eq!(procfs::environment_variable(pid, "COLOUR").unwrap(), "green=x");
    assert_eq!(procfs::environment_variable(pid, "COLOU"), None);
    assert!(procfs::processes_with_environment("COLOUR", OsStr::new("green=x")).contains(&pid));
    let stat = procfs::stat(pid).unwrap();
    assert_eq!(stat.parent, std::process::id());
    assert!(stat.start_ticks >= procfs::start_ticks(std::process::id()).unwrap());
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(procfs::start_ticks(pid).is_none());
    assert!(procfs::children(pid).is_empty() && procfs::proportional_bytes(pid).is_err());
}

#[test]
fn who_holds_a_port_is_named() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let (pid, name) = procfs::tcp_port_holder(port).unwrap();
    assert!(pid == std::process::id() && name.starts_with("parts-"), "{pid} {name}");
    drop(listener);
    wait::until("nobody holds it", || procfs::tcp_port_holder(port).is_none());
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("socket");
    assert_eq!(procfs::peer_of(&path), None);
    let listener = UnixListener::bind(&path).unwrap();
    assert_eq!(procfs::peer_of(&path), Some(std::process::id()));
    drop(listener);
    assert_eq!(procfs::peer_of(&path), None);
}

#[test]
fn the_machine_says_what_it_knows() {
    assert_eq!(grace_kernel::process::boot().len(), 36);
    for resource in [Resource::Cpu, Resource::Memory, Resource::Io] {
        match procfs::pressure(resource) {
            Ok(pressure) => assert!((0.0..=100.0).contains(&pressure.some.avg10_percent)),
            Err(e) => assert_ne!(e.kind(), std::io::ErrorKind::InvalidData, "{e}"),
        }
    }
}
