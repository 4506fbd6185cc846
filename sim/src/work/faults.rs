//! What goes wrong, and how it ends.

use std::time::Duration;

use grace_store::memory::Fault;
use grace_types::{chance::Entropy, time::Clock};

use super::{
    Job, Phase, World,
    net::{KERNELS, Node, Weather},
    note,
};

/// The furthest that the wall clock steps, either way.
const STEP_MS: u64 = 300_000;

impl World {
    /// Something breaks; the next thing breaks a little later.
    pub(super) fn fault(&mut self) {
        if self.phase != Phase::Faults {
            return;
        }
        let kernel = KERNELS[self.draw(KERNELS.len())];
        match self.entropy.below(20) {
            0..4 => self.crash_kernel(kernel, "at rest"),
            4..6 => self.break_disk(kernel),
            6..9 => self.snapshot(kernel),
            9 => self.damage_snapshot(kernel),
            10..13 => self.cut(),
            13..15 => {
                let worker = self.draw(super::WORKERS);
                self.kill_worker(worker);
            }
            15..17 => self.stop_worker(),
            _ => self.step_clock(),
        }
        let wait = Duration::from_millis(30 + self.entropy.below(900));
        self.later(wait, Job::Fault);
    }

    fn break_disk(&mut self, kernel: Node) {
        let faults =
            [Fault::Full, Fault::Io, Fault::IoAfterSync, Fault::CrashBeforeSync, Fault::CrashAfterSync];
        let fault = faults[self.draw(faults.len())];
        match kernel {
            Node::Mesh => self.mesh.disk.inject(fault),
            Node::Policies => self.policies.disk.inject(fault),
            Node::Htm => self.htm.disk.inject(fault),
            _ => self.scheduler.disk.inject(fault),
        }
        note!(self, "the next write of {kernel} meets {fault:?}");
    }

    fn snapshot(&mut self, kernel: Node) {
        let (told, off) = match kernel {
            Node::Mesh => (self.mesh.snapshot(), self.mesh.disk.is_off()),
            Node::Policies => (self.policies.snapshot(), self.policies.disk.is_off()),
            Node::Htm => (self.htm.snapshot(), self.htm.disk.is_off()),
            _ => (self.scheduler.snapshot(), self.scheduler.disk.is_off()),
        };
        if let Some(told) = told {
            note!(self, "{kernel}: {told}");
        }
        if off {
            self.crash_kernel(kernel, "in a snapshot");
        }
    }

    fn damage_snapshot(&mut self, kernel: Node) {
        let bit = self.draw(2000);
        note!(self, "bit {bit} of the last snapshot of {kernel} flips");
        match kernel {
            Node::Mesh => self.mesh.damage_snapshot(bit),
            Node::Policies => self.policies.damage_snapshot(bit),
            Node::Htm => self.htm.damage_snapshot(bit),
            _ => self.scheduler.damage_snapshot(bit),
        }
    }

    /// Two parts cannot reach each other for a while.
    fn cut(&mut self) {
        let workers = (0..super::WORKERS).map(|n| (Node::Htm, Node::Worker(n)));
        let resource = (0..super::WORKERS).map(|n| (Node::Worker(n), Node::Resource));
        let pairs: Vec<(Node, Node)> = [
            (Node::Mesh, Node::Policies),
            (Node::Mesh, Node::Htm),
            (Node::Mesh, Node::Scheduler),
            (Node::Policies, Node::Htm),
            (Node::Htm, Node::Scheduler),
            (Node::Mesh, Node::Source(0)),
            (Node::Htm, Node::Operator),
        ]
        .into_iter()
        .chain(workers)
        .chain(resource)
        .collect();
        let (a, b) = pairs[self.draw(pairs.len())];
        let time = Duration::from_millis(200 + self.entropy.below(5000));
        let until = self.clock_mono().plus(time);
        self.cuts.insert((a.min(b), a.max(b)), until);
        self.counts.partitions += 1;
        note!(self, "{a} and {b} cannot reach each other for {time:?}");
    }

    fn stop_worker(&mut self) {
        let worker = self.draw(super::WORKERS);
        let time = Duration::from_millis(300 + self.entropy.below(5000));
        self.workers[worker].stopped_until = self.clock_mono().plus(time);
        self.counts.stalls += 1;
        note!(self, "worker-{worker} stands still for {time:?}");
    }

    fn step_clock(&mut self) {
        let wall = self.clock.now().wall;
        let by = Duration::from_millis(self.entropy.below(STEP_MS + 1));
        let to = if self.chance(500) { wall.plus(by) } else { wall.minus(by) };
        self.clock.step_wall(to);
        self.latest_wall = self.latest_wall.max(to);
        self.counts.clock_steps += 1;
        note!(self, "the wall clock steps from {wall} to {to}");
    }

    /// The faults stop, and everything that was paused goes on.
    pub(super) fn heal(&mut self) {
        self.phase = Phase::Healed;
        self.weather = Weather::default();
        self.cuts.clear();
        for disk in [&self.mesh.disk, &self.policies.disk, &self.htm.disk, &self.scheduler.disk] {
            disk.clear_faults();
        }
        let now = self.clock_mono();
        for worker in &mut self.workers {
            worker.stopped_until = worker.stopped_until.min(now);
        }
        note!(self, "the faults stop");
        KERNELS.into_iter().for_each(|node| self.start_kernel(node));
        for worker in 0..super::WORKERS {
            self.start_worker(worker);
        }
        self.turns_for(Duration::from_secs(1));
        self.resume_all();
    }

    /// No schedule fires any more; what is under way comes to its end.
    pub(super) fn drain(&mut self) {
        self.phase = Phase::Draining;
        note!(self, "the schedules are paused");
        self.pause_schedules();
    }
}
