//! What governance says when something is put to the vote: whether what is in force bears it, and whether people are at something that it
//! would cut across. It has the veto.

use grace_kernel::{
    Envelope, Outcome as Said,
    process::{thread::Commands, voter::View},
    vote::{Proposal, Vote},
};
use grace_types::reason::Reason;

use super::{
    Governance,
    command::{ApprovalView, Command, Query, Reply, Standing},
};
use crate::{
    change::TYPES,
    command::Outcome,
    judge::{self, judge},
    request::{Actor, ActorKind, Request},
    rules::Rules,
};

/// What it looks at.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Seen {
    /// The generation in force.
    generation: u64,
    /// What it says, and the policies that say so.
    outcome: Outcome,
    /// See `outcome`.
    policies: Vec<String>,
    /// Leave to act in an emergency that is live.
    emergencies: usize,
    /// Approvals that wait for the same type on the same target.
    same: usize,
    /// Approvals that wait for other policies, another charter or other permissions, and generations on their way.
    changes: usize,
}

/// What it says of it.
#[must_use]
pub(super) fn say(seen: &Seen) -> (Vote, Vec<Reason>) {
    let Seen { generation, outcome, policies, emergencies, same, changes } = seen;
    let by = if policies.is_empty() { "no policy permits it".to_owned() } else { policies.join(", ") };
    let told =
        |says: &str| Reason::new("governance.policy", format!("generation {generation} {says} ({by})"));
    match outcome {
        Outcome::Denied => return (Vote::No, vec![told("denies it")]),
        Outcome::WaitsForApproval => return (Vote::No, vec![told("leaves it to a person")]),
        Outcome::Allowed | Outcome::WaitsForVote => {}
    }
    let mut reasons = vec![told("lets it be voted on")];
    if *emergencies > 0 {
        let told = format!("{emergencies} emergencies are live: nothing of high impact is begun meanwhile");
        reasons.push(Reason::new("governance.emergency", told));
        return (Vote::No, reasons);
    }
    if *same > 0 {
        let told = format!("{same} approvals wait for the same on the same target: people are to say it");
        reasons.push(Reason::new("governance.approvals", told));
        return (Vote::No, reasons);
    }
    if *changes > 0 {
        let told =
            format!("{changes} changes of what is decided by are under way: it may look otherwise then");
        reasons.push(Reason::new("governance.changes", told));
        return (Vote::Abstain, reasons);
    }
    let told = "no emergency is live, and no open approval is against it";
    reasons.push(Reason::new("governance.clear", told));
    (Vote::Yes, reasons)
}

/// What the texts in force say of a proposal. What cannot be judged is denied.
fn judged(rules: Option<&Rules>, proposal: &Proposal) -> (Outcome, Vec<String>) {
    let judgement = || {
        let Rules { policies, charter } = rules?;
        let kind = ActorKind::ALL.into_iter().find(|kind| kind.word() == proposal.actor_kind)?;
        let request = Request {
            actor: Actor { kind, name: proposal.actor.clone() },
            kind: proposal.kind.clone(),
            target: proposal.target.clone(),
            circumstances: proposal.circumstances.clone(),
        };
        Some(judge(&request, policies, charter, &judge::Standing::default()))
    };
    judgement().map_or((Outcome::Denied, Vec::new()), |judgement| (judgement.outcome, judgement.policies))
}

/// Those that wait and are for the same, and those that change what is decided by.
fn against(waiting: &[ApprovalView], proposal: &Proposal) -> (usize, usize) {
    let cases = || waiting.iter().map(|view| &view.case);
    let same = cases().filter(|case| case.kind == proposal.kind && case.target == proposal.target);
    let changes = cases().filter(|case| TYPES.contains(&case.kind.as_str()));
    (same.count(), changes.count())
}

/// Asks the own decider.
pub(super) struct OwnView {
    commands: Commands<Governance>,
    /// What is in force, with its generation; `None` as long as it cannot be read.
    rules: Option<(u64, Rules)>,
}

impl OwnView {
    pub(super) const fn of(commands: Commands<Governance>) -> Self {
        Self { commands, rules: None }
    }

    async fn query(&self, query: Query) -> Option<Reply> {
        match self.commands.ask(Envelope::new(Command::Query(query))).await {
            Ok(Said::Done(reply)) => Some(reply),
            _ => None,
        }
    }

    async fn seen(&mut self, proposal: &Proposal) -> Option<Seen> {
        let Reply::Generation(kept) = self.query(Query::Generation(None)).await? else { return None };
        let Reply::Standing(standing) = self.query(Query::Standing).await? else { return None };
        let Reply::Approvals { rows, .. } =
            self.query(Query::Approvals { closed: false, after: None }).await?
        else {
            return None;
        };
        let Standing { grants, declared, on_its_way, .. } = *standing;
        let number = kept.generation.number;
        if self.rules.as_ref().is_none_or(|(read, _)| *read != number) {
            self.rules = Rules::read(Some(&kept.generation), &declared).ok().map(|rules| (number, rules));
        }
        let (outcome, policies) = judged(self.rules.as_ref().map(|(_, rules)| rules), proposal);
        let (same, changes) = against(&rows, proposal);
        Some(Seen {
            generation: number,
            outcome,
            policies,
            emergencies: grants.len(),
            same,
            changes: changes + usize::from(on_its_way.is_some()),
        })
    }
}

impl View for OwnView {
    async fn look(&mut self, proposal: &Proposal) -> (Vote, Vec<Reason>) {
        match self.seen(proposal).await {
            Some(seen) => say(&seen),
            None => (Vote::No, vec![Reason::new("governance.unknown", "it cannot be said what is in force")]),
        }
    }
}

#[cfg(test)]
mod tests {
    use grace_types::{
        intent::{Era, IntentId, asked::Circumstances},
        time::Timestamp,
    };

    use super::*;
    use crate::{case::Generation, charter, policy};

    fn clear() -> Seen {
        Seen {
            generation: 3,
            outcome: Outcome::WaitsForVote,
            policies: vec!["operator.high_impact".into()],
            emergencies: 0,
            same: 0,
            changes: 0,
        }
    }

    #[test]
    fn it_is_for_what_the_policies_bear_and_nothing_speaks_against() {
        let cases = [
            (clear(), Vote::Yes, "governance.clear"),
            (Seen { outcome: Outcome::Denied, ..clear() }, Vote::No, "governance.policy"),
            (Seen { outcome: Outcome::WaitsForApproval, ..clear() }, Vote::No, "governance.policy"),
            (Seen { emergencies: 1, ..clear() }, Vote::No, "governance.emergency"),
            (Seen { same: 1, changes: 1, ..clear() }, Vote::No, "governance.approvals"),
            (Seen { changes: 1, ..clear() }, Vote::Abstain, "governance.changes"),
        ];
        for (seen, vote, code) in cases {
            let (said, reasons) = say(&seen);
            assert_eq!((said, reasons.last().unwrap().code.as_str()), (vote, code), "{seen:?}");
        }
    }

    #[test]
    fn the_texts_in_force_are_asked_about_the_one_who_asked() {
        let generation =
            Generation { number: 1, policies: policy::DEFAULT.into(), charter: charter::DEFAULT.into() };
        let proposal = |actor_kind: &str| Proposal {
            intent: IntentId::new(Era::from_bits(7), 1),
            digest: String::new(),
            kind: "self_improve".into(),
            actor: "ann".into(),
            actor_kind: actor_kind.into(),
            target: "instance".into(),
            circumstances: Circumstances::default(),
            since: Timestamp::from_nanos(0),
            until: Timestamp::from_nanos(1),
        };
        let says = |generation: &Generation, kind: &str| {
            judged(Rules::read(Some(generation), []).ok().as_ref(), &proposal(kind)).0
        };
        assert_eq!(says(&generation, "operator"), Outcome::WaitsForVote);
        assert_eq!(says(&generation, "agent"), Outcome::Denied);
        assert_eq!(says(&generation, "nobody"), Outcome::Denied);
        let broken = Generation { policies: "permit (".into(), ..generation };
        assert_eq!(says(&broken, "operator"), Outcome::Denied);
    }
}
