//! `grace up`: reads the manifest, hands over to the guardian, and watches the boot. `grace down`, its counterpart.
//!
//! Everything that can be wrong with what was asked is found before anything starts.

use std::{
    io::Write as _,
    path::{Path, PathBuf},
};

use grace_core::{
    control::Request,
    control_plane::kernel_specs,
    guardian::launch::{LaunchError, LaunchOptions, launch},
    instance::Instance,
    spawn::own_program,
};
use grace_types::{
    manifest::{self, BootPlan, Manifest, ManifestErrors},
    yaml::Diagnostic,
};

use crate::{
    args::Up,
    control,
    failure::{Exit, Failure},
    front::{self, Purpose},
    layers, limits,
    output::Output,
};

/// Manifests that are taken from the current folder when none is named, the first that is there.
const FOUND_BY_NAME: [&str; 3] = ["grace.yaml", "grace.yml", "Procfile"];

/// Starts an instance.
pub(crate) fn up(instance: &Instance, args: &Up, out: &mut Output) -> Result<Exit, Failure> {
    let chosen = args.manifest.clone().or_else(|| find(Path::new("")));
    let mut manifest = chosen.as_deref().map_or_else(|| Ok(Manifest::default()), read)?;
    layers::add(&mut manifest, chosen.as_deref())?;
    let plan = plan(&manifest)?;
    if args.check {
        return check(&plan, chosen.as_deref(), out);
    }
    let launched = launch(instance, &manifest, LaunchOptions { detach: args.detach })
        .map_err(|error| not_launched(instance, &error))?;
    if !out.json {
        let what =
            chosen.map_or_else(|| "the built-in kernels".to_owned(), |path| path.display().to_string());
        let data = instance.data().display();
        // It runs now, whether or not anybody reads this.
        let _ =
            writeln!(out, "grace runs {what}, with its files in {data} (guardian {})", launched.guardian_pid);
        let _ = out.flush();
    }
    let purpose = if args.detach { Purpose::Detach(plan, args.timeout) } else { Purpose::Stay(plan) };
    front::run(instance, launched.guardian_pid, None, purpose, out)
}

/// Stops an instance and waits for its end.
pub(crate) fn down(instance: &Instance, out: &mut Output) -> Result<Exit, Failure> {
    let status = control::status(instance)?;
    let mut asked = control::order(instance, &Request::Down);
    for _ in 1..limits::QUESTION_TRIES {
        // The control plane died before it answered. Unlike other orders, this one does no harm when it is given twice.
        if asked.as_ref().is_err_and(|failure| failure.code == "not_reachable") {
            asked = control::order(instance, &Request::Down);
        }
    }
    match asked {
        Ok(_) => {}
        // Somebody else has asked already: then we wait with them. Or it is done.
        Err(failure) if matches!(failure.code.as_str(), "stopping" | "not_running") => {}
        Err(failure) => return Err(failure),
    }
    let guardian = status.guardian_pid;
    front::run(instance, guardian, Some(Box::new(status)), Purpose::Down, out)
}

fn find(folder: &Path) -> Option<PathBuf> {
    FOUND_BY_NAME.iter().map(|name| folder.join(name)).find(|path| path.is_file())
}

fn read(path: &Path) -> Result<Manifest, Failure> {
    load(path).map_err(|errors| {
        let what = match errors.errors.len() {
            1 => "the manifest has a fault, and nothing was started".to_owned(),
            n => format!("the manifest has {n} faults, and nothing was started"),
        };
        Failure::new(Exit::Usage, "bad_manifest", what)
            .at(&path.display())
            .detail(errors.to_string())
            .help("correct it, and try it with `grace up --check`")
    })
}

fn load(path: &Path) -> Result<Manifest, ManifestErrors> {
    let mut manifest = manifest::load(path)?;
    let about_work = [&manifest.intents, &manifest.triggers, &manifest.policies, &manifest.schedules];
    if !manifest.include.is_empty() || about_work.iter().any(|section| !section.is_empty()) {
        // Of the size and the encoding that were just found sound.
        let text = std::fs::read_to_string(path)
            .map_err(|e| Diagnostic::of_file(path, format!("cannot be read: {e}"), None))?;
        layers::read(&mut manifest, &text, path)?;
    }
    Ok(manifest)
}

/// The kernels and the manifest's processes, in the order in which they can start.
fn plan(manifest: &Manifest) -> Result<BootPlan, Failure> {
    let kernels = kernel_specs(&own_program());
    BootPlan::of(kernels.iter().chain(manifest.built_in.values()).chain(manifest.processes.values()))
        .map_err(|error| Failure::new(Exit::Usage, "bad_manifest", error.to_string()))
}

fn check(plan: &BootPlan, path: Option<&Path>, out: &mut Output) -> Result<Exit, Failure> {
    if out.json {
        out.json_line(&plan_json(plan))?;
        return Ok(Exit::Done);
    }
    match path {
        Some(path) => writeln!(out, "{} is valid", path.display())?,
        None => writeln!(out, "no manifest: the built-in kernels run alone")?,
    }
    write!(out, "{plan}")?;
    out.flush()?;
    Ok(Exit::Done)
}

fn plan_json(plan: &BootPlan) -> serde_json::Value {
    let step = |step: &manifest::BootStep| serde_json::json!({"name": step.name, "kind": step.kind, "after": step.after, "ready": step.ready});
    let wave = |wave: &Vec<manifest::BootStep>| wave.iter().map(step).collect::<Vec<_>>();
    serde_json::json!({"waves": plan.waves.iter().map(wave).collect::<Vec<_>>()})
}

fn not_launched(instance: &Instance, error: &LaunchError) -> Failure {
    let (code, place) = match error {
        LaunchError::AlreadyRunning { .. } => ("already_running", None),
        LaunchError::NotWritable { path, .. } => ("not_writable", Some(path.display().to_string().into())),
        LaunchError::PortTaken { .. } => ("port_taken", None),
        _ => ("system", Some(instance.data().display().to_string().into())),
    };
    let mut failure = Failure::new(Exit::Failed, code, error.to_string()).help(error.help());
    failure.place = place;
    failure
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manifest_is_found_by_its_name_in_this_order() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(find(folder.path()), None);
        for name in ["Procfile", "grace.yml", "grace.yaml"] {
            std::fs::write(folder.path().join(name), "").unwrap();
            assert_eq!(find(folder.path()), Some(folder.path().join(name)));
        }
    }
}
