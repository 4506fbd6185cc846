//! Layer 2 wired into an instance: the task manager and its workers, as components of the plan and by the name that starts them.
//!
//! Their specifications travel to the control plane in the manifest, since the control plane knows no floor above its own.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use grace_core::{control_plane::kernel_spec, instance::Instance, kernels::BuiltIn, spawn::own_program};
use grace_kernel::process::{Environment, KernelError, tell};
use grace_orchestration::{
    htm::shell,
    intent::{self, IntentType},
    worker,
};
use grace_types::manifest::{ComponentKind, Condition, Manifest, Permissions, ProcessSpec};

use crate::failure::{Exit, Failure};

/// What `grace kernel NAME` can run above Layer 1.
pub(crate) fn built_in() -> [BuiltIn; 2] {
    let htm = BuiltIn {
        name: shell::NAME,
        kind: ComponentKind::Orchestrator,
        critical: false,
        depends_on: &["message_bus"],
        watchdog: shell::WATCHDOG,
        permissions: shell::permissions,
        stateful: true,
        run: run_htm,
    };
    let worker = BuiltIn {
        name: worker::NAME,
        kind: ComponentKind::Worker,
        critical: false,
        depends_on: &["message_bus"],
        watchdog: worker::WATCHDOG,
        // Each has those of its own name.
        permissions: Permissions::default,
        stateful: false,
        run: run_worker,
    };
    [htm, worker]
}

/// Reads what `text` (of the manifest, which came from `origin`) says about work into the manifest.
pub(crate) fn read(manifest: &mut Manifest, text: &str, origin: &Path) -> Result<(), Failure> {
    let types = intent::read_manifest(text, origin).map_err(|errors| {
        let what = match errors.errors.len() {
            1 => "the manifest has a fault, and nothing was started".to_owned(),
            n => format!("the manifest has {n} faults, and nothing was started"),
        };
        Failure::new(Exit::Usage, "bad_manifest", what)
            .at(&origin.display())
            .detail(errors.to_string())
            .help("correct it, and try it with `grace up --check`")
    })?;
    let as_json = |kind: &IntentType| {
        serde_json::to_value(kind).map_err(|e| Failure::new(Exit::Failed, "system", e.to_string()))
    };
    manifest.intents = types
        .iter()
        .map(|(name, kind)| Ok((name.clone(), as_json(kind)?)))
        .collect::<Result<_, Failure>>()?;
    Ok(())
}

/// Puts the components of Layer 2 into the manifest, which came from `origin` where there is one.
pub(crate) fn add(manifest: &mut Manifest, origin: Option<&Path>) -> Result<(), Failure> {
    let [htm, worker] = built_in();
    let types =
        intent::of_manifest(manifest).map_err(|e| Failure::new(Exit::Failed, "system", e.to_string()))?;
    let mut published: Vec<String> = types.values().flat_map(IntentType::published).collect();
    published.sort_unstable();
    published.dedup();
    let folder = origin.and_then(|origin| Some(std::path::absolute(origin).ok()?.parent()?.to_owned()));
    let specs = std::iter::once(kernel_spec(&own_program(), htm))
        .chain((1..=manifest.workers).map(|n| worker_spec(worker, n, &published, folder.clone())));
    for spec in specs {
        if manifest.processes.contains_key(&spec.name) {
            let what =
                format!("`{}` is the name of a component of Grace's own, and nothing was started", spec.name);
            return Err(Failure::new(Exit::Usage, "bad_manifest", what)
                .at(&origin.map(|origin| origin.display().to_string()).unwrap_or_default())
                .help("call the process something else"));
        }
        manifest.built_in.insert(spec.name.clone(), spec);
    }
    Ok(())
}

fn worker_spec(worker: BuiltIn, n: u32, published: &[String], folder: Option<PathBuf>) -> ProcessSpec {
    let name = format!("{}-{n}", worker::NAME);
    let mut spec = kernel_spec(&own_program(), worker);
    spec.permissions = worker::permissions(&name, published);
    spec.depends_on.insert(shell::NAME.to_owned(), Condition::Ready);
    // Programs of tasks find what lies beside the manifest.
    spec.working_dir = folder;
    ProcessSpec { name, ..spec }
}

fn run_htm(environment: Environment) -> Result<(), KernelError> {
    grace_kernel::process::run(environment, async |context| {
        let instance = Instance::at(&context.environment.data);
        let types = types(&instance);
        let journal = instance.journal(context.component());
        shell::main(context, journal, types).await
    })
}

fn run_worker(environment: Environment) -> Result<(), KernelError> {
    grace_kernel::process::run(environment, worker::main)
}

/// The types of intents of the manifest that the instance runs.
fn types(instance: &Instance) -> BTreeMap<String, IntentType> {
    let read = || -> std::io::Result<BTreeMap<String, IntentType>> {
        let manifest: Manifest = serde_json::from_slice(&std::fs::read(instance.manifest())?)?;
        Ok(intent::of_manifest(&manifest)?)
    };
    read().unwrap_or_else(|e| {
        tell(&format!("{}: {e}; no type of intents is in force", instance.manifest().display()));
        BTreeMap::new()
    })
}
