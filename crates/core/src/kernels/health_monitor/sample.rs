//! Samples of every component: the control plane's status, and CPU and memory from `/proc`.
//!
//! [`Sampler`] keeps what rates need: the CPU time of each process in the last round, and when each component's restart
//! count rose. Where the measurements come from is an argument, so that its tests need no processes.

use std::{
    collections::{BTreeMap, VecDeque},
    path::Path,
    time::Duration,
};

use grace_types::{
    manifest::{Manifest, ProcessSpec, Resources},
    time::Monotonic,
};
use serde::{Deserialize, Serialize};

use super::score::Reading;
use crate::{
    control_plane::kernel_specs,
    limits, procfs,
    status::{ComponentState, ComponentStatus},
};

/// What one process uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Usage {
    /// With the pid, names the process.
    pub start_ticks: u64,
    /// CPU time so far.
    pub cpu_time: Duration,
    /// Resident memory.
    pub resident_bytes: u64,
}

/// What one process and its descendants use, from `/proc`; empty when it has ended.
#[must_use]
pub fn usage(pid: u32) -> BTreeMap<u32, Usage> {
    let mut found = BTreeMap::new();
    let mut next = VecDeque::from([pid]);
    while let Some(pid) = next.pop_front() {
        let Ok(stat) = procfs::stat(pid) else { continue };
        let (cpu_time, resident_bytes) = (stat.cpu_time(), stat.resident_bytes());
        found.insert(pid, Usage { start_ticks: stat.start_ticks, cpu_time, resident_bytes });
        if found.len() == limits::DESCENDANTS {
            break;
        }
        next.extend(procfs::children(pid).into_iter().filter(|child| !found.contains_key(child)));
    }
    found
}

/// What the health monitor reads of the control plane's status.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct StatusView {
    /// Every component.
    pub components: Vec<ComponentStatus>,
}

/// What a component is allowed.
#[derive(Debug, Clone, PartialEq)]
struct Allowance {
    resources: Resources,
    watchdog: Option<Duration>,
    intensity: u32,
    period: Duration,
}

/// See the module's page.
#[derive(Debug, Default)]
pub struct Sampler {
    allowances: BTreeMap<String, Allowance>,
    components: BTreeMap<String, Previous>,
}

#[derive(Debug)]
struct Previous {
    at: Monotonic,
    usage: BTreeMap<u32, Usage>,
    restarts: u32,
    /// When restarts were seen, oldest first, one entry each, no more than the window allows and one.
    restarted: VecDeque<Monotonic>,
}

impl Sampler {
    /// A sampler for the components of this manifest and the built-in kernels.
    #[must_use]
    pub fn new(manifest: &Manifest) -> Self {
        let kernels = kernel_specs(Path::new("grace"));
        let allowance = |spec: &ProcessSpec| Allowance {
            resources: spec.resources.clone(),
            watchdog: spec.watchdog,
            intensity: spec.availability.intensity,
            period: spec.availability.period,
        };
        let specs = kernels.iter().chain(manifest.built_in.values()).chain(manifest.processes.values());
        let allowances = specs.map(|spec| (spec.name.clone(), allowance(spec))).collect();
        Self { allowances, components: BTreeMap::new() }
    }

    /// The readings of one round. At most [`limits::MONITORED`] components are measured.
    pub fn round(
        &mut self,
        status: &StatusView,
        now: Monotonic,
        usage: impl Fn(u32) -> BTreeMap<u32, Usage>,
    ) -> BTreeMap<String, Reading> {
        let measured = &status.components[..status.components.len().min(limits::MONITORED)];
        self.components.retain(|name, _| measured.iter().any(|c| c.name == *name));
        measured
            .iter()
            .map(|component| (component.name.clone(), self.reading(component, now, &usage)))
            .collect()
    }

    fn reading(
        &mut self,
        status: &ComponentStatus,
        now: Monotonic,
        usage: impl Fn(u32) -> BTreeMap<u32, Usage>,
    ) -> Reading {
        let allowance = self.allowances.get(&status.name);
        let usage = status.pid.map(usage).unwrap_or_default();
        let previous = self.components.get(&status.name);
        let cpu_cores = previous.and_then(|previous| cpu_cores(previous, &usage, now));
        let memory: u64 = usage.values().map(|one| one.resident_bytes).sum();
        let (intensity, period) = allowance.map_or((1, Duration::from_secs(60)), |a| (a.intensity, a.period));
        let mut restarted = self.components.remove(&status.name).map_or_else(VecDeque::new, |previous| {
            let mut restarted = previous.restarted;
            let new = status.restarts.saturating_sub(previous.restarts);
            let kept = intensity.saturating_add(1);
            restarted.extend(std::iter::repeat_n(now, new.min(kept) as usize));
            let surplus = restarted.len().saturating_sub(kept as usize);
            restarted.drain(..surplus);
            restarted
        });
        restarted.retain(|at| now.since(*at) < period);
        let restarts = u32::try_from(restarted.len()).unwrap_or(u32::MAX);
        // A paused process cannot beat, and is not blamed for it.
        let beats = status.state != ComponentState::Paused;
        let reading = Reading {
            state: status.state,
            ready: status.ready,
            restarts,
            intensity,
            heartbeat_age_seconds: status.heartbeat_age_seconds.filter(|_| beats),
            heartbeat_interval_seconds: allowance.and_then(|a| a.watchdog).map(|w| w.as_secs_f64()),
            cpu_cores,
            cpu_limit_cores: allowance.and_then(|a| a.resources.cpu_cores),
            memory_bytes: (!usage.is_empty()).then_some(memory),
            memory_limit_bytes: allowance.and_then(|a| a.resources.memory_bytes),
        };
        let previous = Previous { at: now, usage, restarts: status.restarts, restarted };
        self.components.insert(status.name.clone(), previous);
        reading
    }
}

/// CPU used since the last round by the processes that were there then and are there now.
fn cpu_cores(previous: &Previous, usage: &BTreeMap<u32, Usage>, now: Monotonic) -> Option<f64> {
    let elapsed = now.since(previous.at).as_secs_f64();
    let same: Vec<Duration> = usage
        .iter()
        .filter_map(|(pid, now)| {
            let then = previous.usage.get(pid).filter(|then| then.start_ticks == now.start_ticks)?;
            Some(now.cpu_time.saturating_sub(then.cpu_time))
        })
        .collect();
    (elapsed > 0.0 && !same.is_empty())
        .then(|| (same.iter().sum::<Duration>().as_secs_f64() / elapsed * 1000.0).round() / 1000.0)
}
