//! Checks of the place where an instance would run: its data folder and its port.

use std::{
    fs::OpenOptions,
    io::{self, Write as _},
    net::{Ipv4Addr, TcpListener},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use grace_core::instance::Instance;
use grace_types::{
    manifest::BusSettings,
    time::{Clock as _, SystemClock},
};
use rustix::fs::{Access, access, statvfs};

use super::Row;
use crate::{control, limits, style::tame};

/// The data folder, or the nearest folder above it that is there.
fn standing(instance: &Instance) -> PathBuf {
    let there = instance.data().ancestors().find(|path| path.exists());
    there.unwrap_or(Path::new("/")).to_owned()
}

pub(super) fn writable(instance: &Instance) -> Row {
    let check = "data folder";
    let place = standing(instance);
    let result = if place == instance.data() {
        synced_write(&place)
    } else {
        access(&place, Access::WRITE_OK | Access::EXEC_OK)
            .map(|()| format!("{} does not exist yet and can be made", instance.data().display()))
            .map_err(io::Error::from)
    };
    match result {
        Ok(found) => Row::ok(check, found),
        Err(e) => Row::lack(
            check,
            format!("{}: {e}", place.display()),
            "no journal can be written, so Grace does not start",
            "choose another folder with --data, or mend its permissions",
        ),
    }
    .needed()
}

/// Writes, syncs and removes a small file.
fn synced_write(folder: &Path) -> io::Result<String> {
    let path = folder.join(format!(".doctor-{}", std::process::id()));
    let start = SystemClock.now().mono;
    let write = || {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
        file.write_all(b"grace doctor\n")?;
        file.sync_all()
    };
    let written = write();
    let took = SystemClock.now().mono.since(start);
    // What was not made cannot be removed.
    let _ = std::fs::remove_file(&path);
    written
        .map(|()| format!("{}; a synced write took {:.1} ms", folder.display(), took.as_secs_f64() * 1000.0))
}

pub(super) fn space(instance: &Instance) -> Row {
    let check = "disk space";
    let means = "journals and logs stop at a full disk; supervision goes on without them";
    let advice = "free some, or choose another folder with --data";
    let place = standing(instance);
    let stat = match statvfs(&place) {
        Ok(stat) => stat,
        Err(e) => return Row::lack(check, format!("{}: {e}", place.display()), means, advice),
    };
    let free = stat.f_bavail.saturating_mul(stat.f_frsize);
    let found = format!("{:.1} GiB free on {}", gibibytes(free), place.display());
    // File systems that make inodes as they go report none at all.
    if stat.f_files > 0 && stat.f_favail < 1024 {
        return Row::lack(
            check,
            format!("{} free inodes on {}", stat.f_favail, place.display()),
            means,
            advice,
        );
    }
    if free < limits::FREE_BYTES { Row::lack(check, found, means, advice) } else { Row::ok(check, found) }
}

#[expect(clippy::cast_precision_loss, reason = "shown with one decimal")]
fn gibibytes(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 30)
}

/// The default port: another one, and what is wrong with it, is found by `grace up`.
pub(super) fn port(instance: &Instance) -> Row {
    if let Ok(status) = control::status(instance) {
        return Row::ok("port", format!("{} is held by this instance", tame(&status.bus_address)));
    }
    let port = BusSettings::default().port;
    match TcpListener::bind((Ipv4Addr::LOCALHOST, port)) {
        Ok(_) => Row::ok("port", format!("127.0.0.1:{port} is free")),
        Err(e) => Row::lack(
            "port",
            format!("127.0.0.1:{port}: {e}"),
            "the broker cannot listen there, so `grace up` refuses to start",
            "stop what uses it, or set `bus: {port: 0}` in the manifest for any free port",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_that_is_not_there_yet_is_judged_by_the_one_above() {
        let folder = tempfile::tempdir().unwrap();
        let instance = Instance::at(folder.path().join("a/b"));
        assert_eq!(standing(&instance), folder.path());
        assert!(writable(&instance).ok);
        assert!(!folder.path().join("a").exists());
    }

    #[test]
    fn a_file_in_the_way_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        std::fs::write(&file, "").unwrap();
        let row = writable(&Instance::at(&file));
        assert!(!row.ok && row.needed && row.found.contains("file"), "{row:?}");
    }
}
