//! Places that are taken, broken or far away: the port, the data folder, its depth.

use std::net::TcpListener;

use crate::instance::{Instance, disk::Mount};

#[test]
fn a_taken_port_is_refused_with_its_holder() {
    let instance = Instance::of("  web: {command: [PUPPET, wait]}\n");
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let manifest = std::fs::read_to_string(instance.file("grace.yaml")).unwrap();
    instance.write_manifest(&manifest.replace("port: 0", &format!("port: {port}")));
    let ran = instance.try_up(&[]);
    assert_eq!(ran.code, Some(1), "{ran}");
    let holder =
        format!("error[port_taken]: port {port} on 127.0.0.1 is taken by pid {} (", std::process::id());
    assert!(ran.err.contains(&holder) && ran.err.contains("bus: {port: …}"), "{ran}");
    instance.assert_gone();
    drop(taken);
    instance.up();
    assert_eq!(instance.status().bus_address, format!("127.0.0.1:{port}"));
    instance.down();
}

#[test]
fn a_data_folder_that_cannot_be_written_is_refused() {
    let instance = Instance::of("");
    std::fs::write(instance.data(), "a file in its place").unwrap();
    let refused = |what: &str| {
        let ran = instance.try_up(&[]);
        assert_eq!(ran.code, Some(1), "{what}: {ran}");
        assert!(
            ran.err.contains("error[not_writable]") && ran.err.contains("choose another folder with --data"),
            "{ran}"
        );
        assert_eq!(instance.processes(), [0; 0]);
    };
    refused("a file");
    std::fs::remove_file(instance.data()).unwrap();
    std::fs::create_dir(instance.data()).unwrap();
    let Some(mount) = Mount::tmpfs(instance.data(), "1m") else { return };
    mount.read_only();
    refused("a read-only file system");
}

#[test]
fn a_data_folder_of_any_depth_works() {
    let folder = tempfile::tempdir().unwrap();
    let data = (0..20).fold(folder.path().to_owned(), |path, n| path.join(format!("a-rather-long-name-{n}")));
    assert!(data.as_os_str().len() > 400);
    let instance = Instance::in_folder(
        folder,
        data,
        "
  beating:
    command: [PUPPET, say=hello, notify=READY=1, beat=100]
    readiness_probe: {notify: true}
    watchdog: {interval: 2s}
",
    );
    instance.up();
    assert_eq!(instance.grace(&["status"]).code, Some(0));
    assert!(instance.grace(&["logs", "beating"]).out.ends_with("out hello\n"));
    instance.down();
}
