//! `grace hook install`: has an agent run `grace hook` before each use of a tool.

use std::{
    fs,
    io::{self, Write as _},
    path::{Path, PathBuf},
};

use grace_api::hooks::settings::{Way, besides, difference, file, merged};
use grace_core::{instance::Instance, spawn::own_program};
use serde_json::json;

use super::{args::Install, bounded};
use crate::{
    failure::{Exit, Failure},
    limits,
    output::Output,
};

/// Shows what changes in the agent's settings, and writes it unless it is a dry run.
pub(super) fn install(instance: &Instance, args: &Install, out: &mut Output) -> Result<Exit, Failure> {
    let path = place(args)?;
    let current = read(&path)?;
    let way = args.http.clone().map_or_else(
        || Way::Command(format!("{} --data {}", quoted(&own_program()), quoted(instance.data()))),
        Way::Http,
    );
    let settings = merged(args.agent, current.as_deref(), &way).map_err(|why| {
        Failure::new(Exit::Usage, "bad_settings", format!("{why}; nothing was changed"))
            .at(&path.display())
            .help("mend it, or add by hand what `--dry-run` shows with another --file")
    })?;
    let before = current.unwrap_or_default();
    let changes = before != settings;
    if changes && !args.dry_run {
        write(&path, &settings).map_err(|e| {
            Failure::new(Exit::Failed, "not_writable", format!("the settings cannot be written: {e}"))
                .at(&path.display())
        })?;
    }
    if out.json {
        out.json_line(&json!({
            "file": path, "changed": changes && !args.dry_run, "settings": settings, "next": besides(args.agent, &way),
        }))?;
        return Ok(Exit::Done);
    }
    let told = match (changes, args.dry_run) {
        (false, _) => "holds it already",
        (true, true) => "would become",
        (true, false) => "is now",
    };
    writeln!(out, "{} {told}", path.display())?;
    write!(out, "{}", difference(&before, &settings))?;
    if let Some(next) = besides(args.agent, &way) {
        writeln!(out, "{next}")?;
    }
    out.flush()?;
    Ok(Exit::Done)
}

fn place(args: &Install) -> Result<PathBuf, Failure> {
    match &args.file {
        Some(path) => Ok(path.clone()),
        None if args.user => std::env::var_os("HOME")
            .filter(|home| !home.is_empty())
            .map(|home| Path::new(&home).join(file(args.agent)))
            .ok_or_else(|| {
                Failure::new(Exit::Usage, "no_data_folder", "there is no HOME to find the settings in")
                    .help("name the file with --file")
            }),
        None => Ok(PathBuf::from(file(args.agent))),
    }
}

fn read(path: &Path) -> Result<Option<String>, Failure> {
    let unreadable = |why: String| Failure::new(Exit::Usage, "unreadable_file", why).at(&path.display());
    let bytes = match fs::File::open(path).and_then(|file| bounded(file, limits::SETTINGS_BYTES)) {
        Ok(bytes) if bytes.len() > limits::SETTINGS_BYTES => {
            return Err(unreadable(format!("it is larger than {} bytes", limits::SETTINGS_BYTES)));
        }
        Ok(bytes) => bytes,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(unreadable(format!("it cannot be read: {e}"))),
    };
    String::from_utf8(bytes).map(Some).map_err(|e| unreadable(format!("it is no text: {e}")))
}

/// All of it or nothing: a file beside it takes its place. A link stays one.
fn write(path: &Path, text: &str) -> io::Result<()> {
    let path = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    fs::create_dir_all(folder)?;
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}.new", std::process::id()));
    let beside = folder.join(name);
    let put = || {
        let mut file = fs::File::create_new(&beside)?;
        if let Ok(old) = fs::metadata(&path) {
            file.set_permissions(old.permissions())?;
        }
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&beside, &path)
    };
    put().inspect_err(|_| {
        // What could not be put in place is of no use.
        let _ = fs::remove_file(&beside);
    })
}

/// A path as a word of a shell.
fn quoted(path: &Path) -> String {
    let text = path.to_string_lossy();
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-".contains(c);
    if text.chars().all(plain) { text.into_owned() } else { format!("'{}'", text.replace('\'', r"'\''")) }
}
