//! What the layer promises, asked of the journals and of what the others heard.
//!
//! The checker reads records; it asks no decider what should have been, and shares no bookkeeping with the hosts.
//!
//! | Module | What must hold |
//! |---|---|
//! | [`deliveries`] | what fired ends as done or as a dead letter, and moves only along its course |
//! | [`events`] | no acknowledged event is lost or counted twice; loops of policies end |
//! | [`schedules`] | each occurrence comes once, in order, not before its time, and not never |
//! | [`tasks`] | no acknowledged intent or answer is lost, none is taken twice, nothing counts under a stale token |

mod deliveries;
mod events;
mod schedules;
mod tasks;

use std::collections::BTreeMap;

use grace_kernel::{Decider, Recorded};
use grace_types::time::Clock;

use super::{World, kernel::Kernel, net::KERNELS, note};

/// Schedules that are behind, while they go on and nothing disturbs them.
pub(super) fn overdue(world: &mut World) -> Vec<String> {
    let now = world.clock.now();
    match world.scheduler.events() {
        Ok(events) => schedules::Lines::of(&events, world.latest_wall, now.mono).overdue(now),
        Err(e) => vec![format!("scheduler cannot be read: {e}")],
    }
}

/// Every promise that was broken, one sentence each.
pub(super) fn broken_promises(world: &mut World) -> Vec<String> {
    KERNELS.into_iter().for_each(|node| world.commit(node));
    let mut broken = Vec::new();
    let mesh = events_of(&world.mesh, "mesh", &mut broken);
    let policies = events_of(&world.policies, "policies", &mut broken);
    let htm = events_of(&world.htm, "htm", &mut broken);
    let scheduler = events_of(&world.scheduler, "scheduler", &mut broken);

    let mut tasks = tasks::Ledger::default();
    htm.iter().for_each(|event| tasks.take(event.event(), &mut broken));
    tasks.judge(world, &mut broken);

    let mut deliveries = deliveries::Ledger::default();
    mesh.iter().for_each(|event| deliveries.take_mesh(event.event(), &mut broken));
    policies.iter().for_each(|event| deliveries.take_policies(event.event(), &mut broken));
    scheduler.iter().for_each(|event| deliveries.take_scheduler(event.event(), &mut broken));
    deliveries.judge(&tasks, &mut broken);

    let published = deliveries.published();
    let mut acknowledged: BTreeMap<_, _> = std::mem::take(&mut world.acknowledged);
    acknowledged.extend(published);
    let stopped = events::judge(&mesh, &policies, &acknowledged, &deliveries, &mut broken);

    let now = world.clock.now();
    let lines = schedules::Lines::of(&scheduler, world.latest_wall, now.mono);
    let counts = &mut world.counts;
    counts.stopped = stopped;
    counts.intents = tasks.intents.len() as u64;
    (counts.done, counts.dead) = deliveries.counts();
    (counts.fired, counts.misfired, counts.overlapped) = lines.counts();
    counts.daily = lines.daily;
    broken.extend(lines.broken);
    note!(
        world,
        "the journals have {} + {} + {} + {} records",
        mesh.len(),
        policies.len(),
        htm.len(),
        scheduler.len()
    );
    broken
}

fn events_of<D: Decider>(
    kernel: &Kernel<D>,
    name: &str,
    broken: &mut Vec<String>,
) -> Vec<Recorded<D::Event>> {
    let events = kernel.events().unwrap_or_else(|e| {
        broken.push(format!("{name} cannot be read: {e}"));
        Vec::new()
    });
    broken.extend(kernel.is_replay(&events).err().map(|e| format!("{name}: {e}")));
    events
}
