//! What is above Layer 1's own crate wired into an instance: the deciders of Layers 2 and 3, the workers and the HTTP interface, as components of
//! the plan and by the name that starts them.
//!
//! Their specifications travel to the control plane in the manifest, since the control plane knows no floor above its own.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    time::Duration,
};

use grace_core::{control_plane::kernel_spec, instance::Instance, kernels::BuiltIn, spawn::own_program};
use grace_cortex::{governance, router};
use grace_kernel::process::{Context, Environment, KernelError, tell};
use grace_orchestration::{
    htm,
    intent::{Definitions, IntentType},
    policies, scheduler, triggers, watchdog, worker, written,
};
use grace_types::{
    intent::{Refused, asked::Asked},
    manifest::{
        Availability, Backoff, ComponentKind, Condition, Manifest, ManifestErrors, Permissions, ProcessSpec,
    },
    yaml::Diagnostic,
};
use serde::de::DeserializeOwned;

use crate::failure::{Exit, Failure};

/// What `grace kernel NAME` can run above Layer 1, in the order of a status.
pub(crate) fn built_in() -> Vec<BuiltIn> {
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
    let cortex = BuiltIn {
        name: router::shell::NAME,
        kind: ComponentKind::Cortex,
        critical: false,
        // The task manager is used when there is something for it.
        depends_on: &["message_bus"],
        watchdog: router::shell::WATCHDOG,
        permissions: router::shell::permissions,
        stateful: true,
        run: run_cortex,
    };
    let governance = BuiltIn {
        name: governance::shell::NAME,
        kind: ComponentKind::Kernel,
        critical: false,
        depends_on: &["message_bus"],
        watchdog: governance::shell::WATCHDOG,
        permissions: governance::shell::permissions,
        stateful: true,
        run: run_governance,
    };
    [vec![grace_api::component::BUILT_IN, governance], orchestrators().to_vec(), vec![cortex, worker]]
        .concat()
}

/// The deciders of Layer 2.
fn orchestrators() -> [BuiltIn; 5] {
    let orchestrator = |name, watchdog, permissions, run| BuiltIn {
        name,
        kind: ComponentKind::Orchestrator,
        critical: false,
        depends_on: &["message_bus"],
        watchdog,
        permissions,
        stateful: true,
        run,
    };
    [
        orchestrator(htm::shell::NAME, htm::shell::WATCHDOG, htm::shell::permissions, run_htm),
        orchestrator(
            triggers::shell::NAME,
            triggers::shell::WATCHDOG,
            triggers::shell::permissions,
            run_trigger_mesh,
        ),
        orchestrator(
            policies::shell::NAME,
            policies::shell::WATCHDOG,
            policies::shell::permissions,
            run_event_policy,
        ),
        orchestrator(
            scheduler::shell::NAME,
            scheduler::shell::WATCHDOG,
            scheduler::shell::permissions,
            run_scheduler,
        ),
        orchestrator(
            watchdog::shell::NAME,
            watchdog::shell::WATCHDOG,
            watchdog::shell::permissions,
            run_watchdog,
        ),
    ]
}

/// Reads what `text` (of the manifest, which came from `origin`) says about work into the manifest.
pub(crate) fn read(manifest: &mut Manifest, text: &str, origin: &Path) -> Result<(), ManifestErrors> {
    let written = written::read_manifest(text, origin)?;
    written.put_into(manifest).map_err(|e| Diagnostic::of_file(origin, e.to_string(), None).into())
}

/// Puts these components into the manifest, which came from `origin` where there is one.
pub(crate) fn add(manifest: &mut Manifest, origin: Option<&Path>) -> Result<(), Failure> {
    let types: BTreeMap<String, IntentType> =
        written::typed(&manifest.intents).map_err(|e| Failure::new(Exit::Failed, "system", e.to_string()))?;
    let mut published: Vec<String> = types.values().flat_map(IntentType::published).collect();
    published.sort_unstable();
    published.dedup();
    let folder = origin.and_then(|origin| Some(std::path::absolute(origin).ok()?.parent()?.to_owned()));
    let (workers, others): (Vec<BuiltIn>, Vec<BuiltIn>) =
        built_in().into_iter().partition(|one| one.kind == ComponentKind::Worker);
    let workers = workers.into_iter().flat_map(|worker| (1..=manifest.workers).map(move |n| (worker, n)));
    let workers = workers.map(|(worker, n)| worker_spec(worker, n, &published, folder.clone()));
    let others = others.into_iter().map(|one| kernel_spec(&own_program(), one));
    let specs: Vec<ProcessSpec> = others.chain(workers).collect();
    for spec in specs {
        if manifest.processes.contains_key(&spec.name) {
            let what =
                format!("`{}` is the name of a component of Grace's own, and nothing was started", spec.name);
            return Err(Failure::new(Exit::Usage, "bad_manifest", what)
                .at(&origin.map(|origin| origin.display().to_string()).unwrap_or_default())
                .help("call the process something else"));
        }
        let availability =
            if spec.kind.layer() >= 2 { tireless(&spec.availability) } else { spec.availability.clone() };
        let spec = ProcessSpec { availability, ..spec };
        manifest.built_in.insert(spec.name.clone(), spec);
    }
    Ok(())
}

/// Work that was taken is to be done: whatever keeps Layers 2 and 3 from it, they are started again, a little later each time, and
/// never given up on.
fn tireless(usual: &Availability) -> Availability {
    let backoff = Backoff { max: Duration::from_secs(2), ..usual.backoff.clone() };
    // More than there can be with waits of two seconds.
    Availability { intensity: 1000, backoff, ..usual.clone() }
}

fn worker_spec(worker: BuiltIn, n: u32, published: &[String], folder: Option<PathBuf>) -> ProcessSpec {
    let name = format!("{}-{n}", worker::NAME);
    let mut spec = kernel_spec(&own_program(), worker);
    spec.permissions = worker::permissions(&name, published);
    spec.depends_on.insert(htm::shell::NAME.to_owned(), Condition::Ready);
    // Programs of tasks find what lies beside the manifest.
    spec.working_dir = folder;
    ProcessSpec { name, ..spec }
}

fn run_htm(environment: Environment) -> Result<(), KernelError> {
    run(environment, async |context, instance, journal| {
        let types = declared(&instance, |manifest| &manifest.intents);
        htm::shell::main(context, journal, types).await
    })
}

fn run_trigger_mesh(environment: Environment) -> Result<(), KernelError> {
    run(environment, async |context, instance, journal| {
        let subscriptions = declared(&instance, |manifest| &manifest.triggers);
        triggers::shell::main(context, journal, instance.events(), subscriptions).await
    })
}

fn run_event_policy(environment: Environment) -> Result<(), KernelError> {
    run(environment, async |context, instance, journal| {
        let policies = declared(&instance, |manifest| &manifest.policies);
        policies::shell::main(context, journal, policies).await
    })
}

fn run_scheduler(environment: Environment) -> Result<(), KernelError> {
    run(environment, async |context, instance, journal| {
        let schedules = declared(&instance, |manifest| &manifest.schedules);
        scheduler::shell::main(context, journal, schedules).await
    })
}

fn run_watchdog(environment: Environment) -> Result<(), KernelError> {
    run(environment, async |context, instance, journal| {
        watchdog::shell::main(context, journal, instance.manifest()).await
    })
}

fn run_cortex(environment: Environment) -> Result<(), KernelError> {
    run(environment, async |context, instance, journal| {
        let types: BTreeMap<String, IntentType> = declared(&instance, |manifest| &manifest.intents);
        let keys = instance.data().join("keys");
        router::shell::main(context, journal, &keys, Box::new(Declared(Definitions::new(types)))).await
    })
}

/// The types of the manifest, as the cortex asks for them.
struct Declared(Definitions);

impl router::shell::Types for Declared {
    fn names(&self) -> Vec<String> {
        self.0.names().map(str::to_owned).collect()
    }

    fn has(&self, kind: &str) -> bool {
        self.0.get(kind).is_some()
    }

    fn fault(&self, asked: &Asked) -> Option<Refused> {
        let definition = self.0.get(&asked.kind)?;
        // One that is nested too deep is refused by the cortex itself.
        let payload = asked.payload.value().ok()?;
        definition.fits(&payload, asked.deadline_ms, asked.delay_ms).err()
    }
}

fn run_governance(environment: Environment) -> Result<(), KernelError> {
    run(environment, async |context, instance, journal| {
        let types = declared::<IntentType>(&instance, |manifest| &manifest.intents);
        let keys = instance.data().join("keys");
        governance::shell::main(context, journal, &keys, types.into_keys().collect()).await
    })
}

/// Runs a decider of the instance that its environment names, on the journal of its name.
fn run(
    environment: Environment,
    main: impl AsyncFnOnce(Context, Instance, PathBuf) -> Result<(), KernelError>,
) -> Result<(), KernelError> {
    grace_kernel::process::run(environment, async |context| {
        let instance = Instance::at(&context.environment.data);
        let journal = instance.journal(context.component());
        main(context, instance, journal).await
    })
}

fn run_worker(environment: Environment) -> Result<(), KernelError> {
    grace_kernel::process::run(environment, worker::main)
}

/// What a section of the manifest that the instance runs declares.
fn declared<T: DeserializeOwned>(
    instance: &Instance,
    section: fn(&Manifest) -> &BTreeMap<String, serde_json::Value>,
) -> BTreeMap<String, T> {
    let read = || -> std::io::Result<BTreeMap<String, T>> {
        let manifest: Manifest = serde_json::from_slice(&std::fs::read(instance.manifest())?)?;
        Ok(written::typed(section(&manifest))?)
    };
    // `grace up` has checked it: it was damaged since.
    read().unwrap_or_else(|e| {
        tell(&format!("{}: {e}; nothing that it declares is in force", instance.manifest().display()));
        BTreeMap::new()
    })
}
