//! An operator: submits intents until he hears what became of them, cancels, retries, pauses and resumes.

use std::time::Duration;

use grace_orchestration::{
    htm::{
        self, Json,
        command::{Query, Submission, Submitted},
    },
    intent::Priority,
    policies, scheduler, triggers,
};
use grace_types::{chance::Entropy, time::Clock};
use serde_json::json;

use super::{
    Phase, Purpose, Todo, World,
    net::{Ask, Node, Told},
    note,
    setup::{self, ASKED_FOR, MOVED, SETUP},
};

const PATIENCE: Duration = Duration::from_millis(800);

#[derive(Default)]
pub(super) struct Operator {
    /// What was submitted, and the last word about it.
    pub(super) submissions: Vec<(Submission, Option<Submitted>)>,
}

impl Operator {
    /// Submissions without an answer.
    pub(super) fn unheard(&self) -> usize {
        self.submissions.iter().filter(|(_, heard)| heard.is_none()).count()
    }
}

impl World {
    pub(super) fn operator_acts(&mut self, todo: &Todo) {
        match todo {
            Todo::Submission(at) => self.submit(*at),
            Todo::Act if self.phase == Phase::Faults => {
                match self.entropy.below(20) {
                    0..9 => self.submit_something(),
                    9..11 => self.cancel_something(),
                    11..13 => {
                        let query = htm::Command::Query(Query::DeadLetters { limit: 4 });
                        self.deed(Node::Htm, Ask::Work(query));
                    }
                    _ => self.do_something(),
                }
                self.todo_soon(Node::Operator, 900_000, Todo::Act);
            }
            _ => {}
        }
    }

    fn deed(&mut self, to: Node, ask: Ask) {
        note!(self, "operator: {ask:?}");
        self.ask(Node::Operator, to, ask, Purpose::Deed, PATIENCE);
    }

    fn submit_something(&mut self) {
        let at = self.operator.submissions.len();
        let kind = ASKED_FOR[self.draw(ASKED_FOR.len())].to_owned();
        let priority = [None, Some(Priority::Low), Some(Priority::High)][self.draw(3)];
        let submission = Submission {
            kind,
            actor: "operator".to_owned(),
            payload: Json::of(&json!({"about": format!("operator:{at}")})),
            key: Some(format!("operator-{at}")),
            priority,
            delay_ms: (self.draw(5) == 0).then_some(1500),
            ..Submission::default()
        };
        self.operator.submissions.push((submission, None));
        self.submit(at);
    }

    fn submit(&mut self, at: usize) {
        let intents = vec![self.operator.submissions[at].0.clone()];
        let ask = Ask::Work(htm::Command::Submit { intents });
        self.ask(Node::Operator, Node::Htm, ask, Purpose::Submission(at), PATIENCE);
    }

    fn cancel_something(&mut self) {
        if self.operator.submissions.is_empty() {
            return;
        }
        let at = self.draw(self.operator.submissions.len());
        if let Some(Submitted::Accepted { id, .. }) = self.operator.submissions[at].1 {
            let command = htm::Command::Cancel { intent: id, reason: "not wanted any more".to_owned() };
            self.deed(Node::Htm, Ask::Work(command));
        }
    }

    fn do_something(&mut self) {
        let name = |all: Vec<&String>, at: usize| all[at % all.len()].clone();
        let at = self.draw(1000);
        let schedule = name(SETUP.schedules.keys().collect(), at);
        let subscription = name(SETUP.subscriptions.keys().collect(), at);
        let policy = name(SETUP.policies.keys().collect(), at);
        let kind = name(SETUP.intents.keys().collect(), at);
        let (reason, chance) = ("an operator's reason".to_owned(), self.entropy.next_u64());
        let form = self.draw(3);
        let ask = match self.entropy.below(13) {
            0 => Ask::Work(htm::Command::Pause { name: kind, reason }),
            1..3 => Ask::Work(htm::Command::Resume { name: kind, reason }),
            3 => Ask::Schedule(scheduler::Command::Pause { name: schedule }),
            4..6 => Ask::Schedule(scheduler::Command::Resume { name: schedule, chance }),
            6 => Ask::Schedule(scheduler::Command::RunNow { name: schedule, chance }),
            10 => Ask::Schedule(scheduler::Command::Remove { name: MOVED.to_owned() }),
            11..13 => Ask::Schedule(scheduler::Command::Put {
                name: MOVED.to_owned(),
                schedule: Box::new(setup::moved(form)),
                chance,
            }),
            7 => Ask::Mesh(triggers::Command::Requeue { name: subscription, keys: None }),
            8 => Ask::Policy(policies::Command::Requeue { name: policy, keys: None }),
            _ => Ask::Schedule(scheduler::Command::Requeue { name: schedule, keys: None }),
        };
        self.deed(of(&ask), ask);
    }

    /// Everything goes on again.
    pub(super) fn resume_all(&mut self) {
        let reason = "the end".to_owned();
        let types = SETUP.intents.keys().cloned();
        let types =
            types.map(|name| Ask::Work(htm::Command::Resume { name, reason: reason.clone() })).collect();
        let chance = self.entropy.next_u64();
        let schedules = SETUP.schedules.keys().cloned();
        let schedules =
            schedules.map(|name| Ask::Schedule(scheduler::Command::Resume { name, chance })).collect();
        self.ask_all(types);
        self.ask_all(schedules);
    }

    /// No schedule fires any more.
    pub(super) fn pause_schedules(&mut self) {
        let names = SETUP.schedules.keys().cloned().chain([MOVED.to_owned()]);
        let all = names.map(|name| Ask::Schedule(scheduler::Command::Pause { name })).collect();
        self.ask_all(all);
    }

    fn ask_all(&mut self, asks: Vec<Ask>) {
        for ask in asks {
            self.deed(of(&ask), ask);
        }
    }

    pub(super) fn operator_answered(&mut self, purpose: Purpose, told: Told) {
        match (purpose, told) {
            (Purpose::Submission(at), Told::Work(htm::Reply::Submitted { results })) => {
                self.operator.submissions[at].1 = results.into_iter().next();
            }
            (Purpose::Submission(at), _) => {
                self.todo(Node::Operator, Duration::from_millis(200), Todo::Submission(at));
            }
            (Purpose::Deed, Told::Work(htm::Reply::DeadLetters { tasks, .. })) => {
                for task in tasks {
                    let command = htm::Command::Retry { task: task.id, reason: "once more".to_owned() };
                    self.deed(Node::Htm, Ask::Work(command));
                }
            }
            _ => {}
        }
    }

    pub(super) fn operator_unanswered(&mut self, purpose: &Purpose) {
        if let Purpose::Submission(at) = purpose {
            self.submit(*at);
        }
    }
}

fn of(ask: &Ask) -> Node {
    match ask {
        Ask::Mesh(_) => Node::Mesh,
        Ask::Policy(_) => Node::Policies,
        Ask::Schedule(_) => Node::Scheduler,
        _ => Node::Htm,
    }
}
