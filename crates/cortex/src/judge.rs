//! The judgement of a request: policies, tier and score together, with the reasons.

pub use grace_types::intent::asked::Outcome;
use grace_types::reason::Reason;
use serde::{Deserialize, Serialize};

use crate::{
    charter::{Charter, Score},
    policy::{Policies, Ruling},
    request::Request,
    tier::Tier,
};

/// What the judgement rests on beside the request.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Standing {
    /// The emergency grant that is live for this actor, by its name.
    pub grant: Option<String>,
}

/// A judgement. Everything that it rests on is told in its reasons.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Judgement {
    /// What becomes of it.
    pub outcome: Outcome,
    /// The tier, where the policies permit it.
    pub tier: Option<Tier>,
    /// How many different people have to say yes, where it waits for people.
    pub quorum: u8,
    /// How much it matters.
    pub score: Score,
    /// Whether somebody has to look at it afterwards.
    pub review: bool,
    /// The policies that determined it, by name.
    pub policies: Vec<String>,
    /// Why.
    pub reasons: Vec<Reason>,
    /// What whoever asks may do next.
    pub advice: Vec<String>,
}

/// Judges a request. Pure: the same four give the same judgement.
#[must_use]
pub fn judge(request: &Request, policies: &Policies, charter: &Charter, standing: &Standing) -> Judgement {
    let score = charter.score(request);
    let ruling = policies.rule(request);
    let asked =
        format!("{} {} asks for {}", request.actor.kind.entity_type(), request.actor.name, request.kind);
    let mut reasons = vec![Reason::new("intent.asked", asked)];
    let mut people = 1;
    let (outcome, tier, by, advice) = match ruling {
        Ruling::Permitted { tier, quorum, by, advice } => {
            reasons.push(Reason::new("policy.permit", format!("permitted by {}", by.join(", "))));
            reasons.push(Reason::new("tier", format!("tier {tier}: {}", tier.meaning())));
            if tier == Tier::Approval && quorum > 1 {
                let told = format!("{quorum} different people have to say yes");
                reasons.push(Reason::new("policy.quorum", told));
                people = quorum;
            }
            (of_tier(tier, standing, &mut reasons), Some(tier), by, advice)
        }
        Ruling::Forbidden { by, advice } => {
            reasons.push(Reason::new("policy.forbid", format!("forbidden by {}", by.join(", "))));
            (Outcome::Denied, None, by, advice)
        }
        Ruling::NotPermitted => {
            reasons.push(Reason::new("policy.none", "no policy permits it"));
            (Outcome::Denied, None, Vec::new(), Vec::new())
        }
        Ruling::Failed { errors } => {
            let told = format!("it could not be decided, which is a no: {}", errors.join("; "));
            reasons.push(Reason::new("policy.failed", told));
            (Outcome::Denied, None, Vec::new(), Vec::new())
        }
    };
    reasons.push(Reason::new("charter.score", format!("score {score}")));
    // A grant is live already: nobody is to begin another one.
    let granted = tier == Some(Tier::Emergency) && outcome == Outcome::Allowed;
    let advice = if granted { Vec::new() } else { advice };
    let review = outcome != Outcome::Denied && tier.is_some_and(Tier::owes_review);
    Judgement { outcome, tier, quorum: people, score, review, policies: by, reasons, advice }
}

/// The reason that names the grant under which something was allowed.
const GRANT: &str = "emergency.grant";
const UNDER_GRANT: &str = "under the emergency grant ";

/// The emergency grant that gave the leave, by its name, where these reasons of a decision name one.
#[must_use]
pub fn grant_of(reasons: &[Reason]) -> Option<&str> {
    let named = reasons.iter().find(|reason| reason.code == GRANT)?;
    named.text.strip_prefix(UNDER_GRANT)
}

fn of_tier(tier: Tier, standing: &Standing, reasons: &mut Vec<Reason>) -> Outcome {
    match (tier, &standing.grant) {
        (Tier::Approval, _) => Outcome::WaitsForApproval,
        (Tier::Voted, _) => Outcome::WaitsForVote,
        (Tier::Reviewed | Tier::Autonomous, _) => Outcome::Allowed,
        (Tier::Emergency, Some(grant)) => {
            reasons.push(Reason::new(GRANT, format!("{UNDER_GRANT}{grant}")));
            Outcome::Allowed
        }
        (Tier::Emergency, None) => {
            reasons.push(Reason::new("emergency.none", "no emergency grant is live for whoever asks"));
            Outcome::Denied
        }
    }
}
