//! Whether queues keep to their bounds, after every commit; and whether the kernels have come to rest.

use grace_orchestration::{delivery::step::Lanes, policies, scheduler, triggers};

use super::{World, net::Node, setup};

impl World {
    fn lanes(&self, node: Node) -> Option<&Lanes> {
        match node {
            Node::Mesh => self.mesh.state().map(triggers::State::lanes),
            Node::Policies => self.policies.state().map(policies::State::lanes),
            Node::Scheduler => self.scheduler.state().map(scheduler::State::lanes),
            _ => None,
        }
    }

    /// Every queue is within its bound after every commit.
    pub(super) fn check_bounds(&mut self, node: Node) {
        let mut wrong = Vec::new();
        for (owner, lane) in self.lanes(node).into_iter().flat_map(Lanes::iter) {
            let (queue, most) = (lane.settings.queue as usize, lane.settings.in_flight as usize);
            let (waiting, flying) = (lane.depth(), lane.flying.len());
            // What flies may come back to the queue, and was in it or taken past it when it began.
            if flying > most || waiting + flying > queue + most {
                wrong.push(format!(
                    "{node}: {waiting} deliveries of {owner} wait and {flying} are under way; at most {queue} and {most} may"
                ));
            }
        }
        if let (Node::Htm, Some(state)) = (node, self.htm.state()) {
            let (open, waiting) = (state.open_tasks(), state.waiting());
            if open > setup::TASKS || waiting > open {
                wrong.push(format!(
                    "htm: {open} tasks are open and {waiting} wait; at most {} may",
                    setup::TASKS
                ));
            }
        }
        wrong.into_iter().for_each(|sentence| self.breaks(sentence));
    }

    /// What the kernel still has to do.
    pub(super) fn kernel_unrest(&self, node: Node) -> Option<String> {
        if !self.is_running(node) {
            return Some(format!("{node} does not run"));
        }
        let lanes = self.lanes(node).into_iter().flat_map(Lanes::iter);
        let busy = lanes.into_iter().find(|(_, lane)| lane.depth() > 0 || !lane.flying.is_empty());
        if let Some((owner, lane)) = busy {
            let (waiting, flying) = (lane.depth(), lane.flying.len());
            return Some(format!("{node}: {waiting} deliveries of {owner} wait, {flying} are under way"));
        }
        match node {
            Node::Htm => {
                let open = self.htm.state()?.open_tasks();
                (open > 0).then(|| format!("htm: {open} tasks are open"))
            }
            Node::Scheduler => {
                let state = self.scheduler.state()?;
                state.running().next().map(|(name, key)| format!("scheduler: {key} of {name} runs"))
            }
            _ => None,
        }
    }
}
