//! `grace approvals`, `reviews`, `emergency` and `governance`: asks governance over the bus.
//!
//! What changes governance is asked of the cortex, as an intent ([`ask`]). Answers to approvals are signed here, with a key that never leaves the person's own place.

pub(crate) mod args;
mod ask;
mod keys;
mod rules;
mod show;

use std::path::Path;

use grace_core::instance::Instance;
use grace_cortex::{
    change,
    governance::{
        Command, Governance, Query, Refusal, Reply,
        binding::{self, Said},
        command::ApprovalView,
        shell,
        state::Approver,
    },
    request::{Actor, ActorKind},
};
use grace_types::{
    intent::IntentId,
    time::{Clock as _, SystemClock},
};

use serde_json::json;

use self::args::{Answer, Approvals, Emergency, Reviews};
pub(crate) use self::rules::governance;
use crate::{
    failure::{Exit, Failure},
    output::Output,
    road::{self, Asked},
};

impl Asked for Governance {
    const COMPONENT: &'static str = shell::NAME;
    const CALLED: &'static str = "governance";

    fn refused(refusal: Refusal) -> Failure {
        let exit = match refusal.code.as_str() {
            "not_found" | "bad_request" | "bad_name" | "bad_key" | "bad_policies" | "bad_charter" => {
                Exit::Usage
            }
            _ => Exit::Failed,
        };
        let failure = Failure::new(exit, &refusal.code, refusal.message);
        match refusal.faults {
            Some(faults) => failure.detail(faults),
            None => failure,
        }
    }
}

type Road = road::Road<Governance>;

fn odd() -> Failure {
    let what = "governance answered something else than was asked";
    Failure::new(Exit::Failed, "bad_request", what).help("use a CLI of the same version")
}

fn id(text: &str) -> Result<IntentId, Failure> {
    text.parse().map_err(|e: grace_types::intent::BadId| {
        Failure::new(Exit::Usage, "bad_id", e.to_string()).help("`grace approvals list` shows the ids")
    })
}

/// Who sits here, as far as the environment says.
fn me(given: Option<&str>) -> String {
    let user = || std::env::var("USER").ok().filter(|user| !user.is_empty());
    given.map(str::to_owned).or_else(user).unwrap_or_else(|| "operator".to_owned())
}

/// Runs a command of `grace approvals`.
pub(crate) fn approvals(instance: &Instance, command: &Approvals, out: &mut Output) -> Result<Exit, Failure> {
    match command {
        Approvals::Approve(args) if args.case.is_some() => return sign(args, binding::Answer::Approve, out),
        Approvals::Deny(args) if args.case.is_some() => return sign(args, binding::Answer::Deny, out),
        _ => {}
    }
    let road = Road::to(instance)?;
    match command {
        Approvals::List { closed } => {
            let mut all = Vec::new();
            loop {
                let after = all.last().map(|view: &ApprovalView| view.case.intent);
                let query = Query::Approvals { closed: *closed, after };
                let Reply::Approvals { rows, more } = road.ask(Command::Query(query))? else {
                    return Err(odd());
                };
                let none = rows.is_empty();
                all.extend(rows);
                if !more || none {
                    break;
                }
            }
            show::approvals(&all, out)?;
        }
        Approvals::Show { id: text } => show::approval(&approval(&road, id(text)?)?, out)?,
        Approvals::Approve(args) => answer(&road, args, binding::Answer::Approve, out)?,
        Approvals::Deny(args) => answer(&road, args, binding::Answer::Deny, out)?,
        Approvals::Enroll { name, key, actor } => {
            if !binding::is_approver(name) {
                let what = "an approver's name has lower-case letters, digits, and any of `.-_@`, at most 63";
                return Err(Failure::new(Exit::Usage, "bad_name", what));
            }
            let key = keys::read_or_make(&keys::path(name, key.as_deref())?, name)?;
            let public_key = key.verifier().to_string();
            let by = actor.clone().unwrap_or_else(|| name.clone());
            if !approvers(&road)?.is_empty() {
                let payload = json!({"approver": name, "public_key": public_key});
                return ask::ask(instance, (change::PEOPLE, &payload), by, out);
            }
            let first = Command::EnrollFirst { approver: name.clone(), public_key, by };
            let Reply::Enrolled { approver } = road.order(first)? else { return Err(odd()) };
            out.message(&format!("{} is enrolled, as the first approver", approver.name))?;
        }
        Approvals::Dismiss { name, reason, actor } => {
            let payload = json!({"dismiss": name, "reason": reason});
            return ask::ask(instance, (change::PEOPLE, &payload), me(actor.as_deref()), out);
        }
        Approvals::Approvers => show::approvers(&approvers(&road)?, out)?,
    }
    Ok(Exit::Done)
}

fn approvers(road: &Road) -> Result<Vec<Approver>, Failure> {
    match road.ask(Command::Query(Query::Approvers))? {
        Reply::Approvers(all) => Ok(all),
        _ => Err(odd()),
    }
}

fn approval(road: &Road, id: IntentId) -> Result<ApprovalView, Failure> {
    match road.ask(Command::Query(Query::Approval(id)))? {
        Reply::Approval(view) => Ok(*view),
        _ => Err(odd()),
    }
}

/// What is signed of a case, as `GET /v1/approvals/{id}` shows it.
#[derive(serde::Deserialize)]
struct Shown {
    intent: IntentId,
    digest: String,
    instance: String,
}

/// Signs what a file says of a case, for an instance that is reached over HTTP.
fn sign(args: &Answer, answer: binding::Answer, out: &mut Output) -> Result<Exit, Failure> {
    let intent = id(&args.id)?;
    let name = me(args.who.as_deref());
    let key = keys::read(&keys::path(&name, args.key.as_deref())?, &name)?;
    let path = args.case.as_deref().unwrap_or_else(|| Path::new("-"));
    let bad = |what: String| Failure::new(Exit::Usage, "bad_case", what).at(&path.display());
    let shown: Shown = serde_json::from_str(&text(path)?)
        .map_err(|e| bad(format!("this is no approval as /v1/approvals/{intent} shows it: {e}")))?;
    if shown.intent != intent {
        return Err(bad(format!("this is the approval of {}", shown.intent)));
    }
    let when = (SystemClock.now().wall, args.reason.clone());
    let said = Said::sign((intent, &shown.digest), answer, when, &key, &shown.instance);
    let Said { digest, approver, at, reason, signature, .. } = said;
    let signed =
        json!({"digest": digest, "approver": approver, "at": at, "reason": reason, "signature": signature});
    out.json_line(&signed)?;
    Ok(Exit::Done)
}

/// Signs what the case holds now, and says it.
fn answer(road: &Road, args: &Answer, answer: binding::Answer, out: &mut Output) -> Result<(), Failure> {
    let intent = id(&args.id)?;
    let name = me(args.who.as_deref());
    let key = keys::read(&keys::path(&name, args.key.as_deref())?, &name)?;
    let view = approval(road, intent)?;
    let when = (SystemClock.now().wall, args.reason.clone());
    let said = Said::sign((intent, &view.case.digest), answer, when, &key, &view.instance);
    let command = match answer {
        binding::Answer::Approve => Command::Approve(said),
        binding::Answer::Deny => Command::Deny(said),
    };
    let Reply::Counted { approval, .. } = road.order(command)? else { return Err(odd()) };
    show::approval(&approval, out)
}

/// Runs a command of `grace reviews`.
pub(crate) fn reviews(instance: &Instance, command: &Reviews, out: &mut Output) -> Result<Exit, Failure> {
    let road = Road::to(instance)?;
    let review = match command {
        Reviews::List { closed } => {
            let mut all = Vec::new();
            loop {
                let after = all.last().map(|one: &grace_cortex::governance::state::Looked| one.case.intent);
                let query = Query::Reviews { closed: *closed, after };
                let Reply::Reviews { rows, more } = road.ask(Command::Query(query))? else {
                    return Err(odd());
                };
                let none = rows.is_empty();
                all.extend(rows);
                if !more || none {
                    break;
                }
            }
            show::reviews(&all, out)?;
            return Ok(Exit::Done);
        }
        Reviews::Show { id: text } => id(text)?,
        Reviews::Accept { id: text, note, actor } => {
            let (review, by) = (id(text)?, me(actor.as_deref()));
            road.order(Command::Accept { review, by, note: note.clone() })?;
            review
        }
        Reviews::Flag { id: text, note, actor } => {
            let (review, by) = (id(text)?, me(actor.as_deref()));
            road.order(Command::Flag { review, by, note: note.clone() })?;
            review
        }
    };
    let Reply::Review(one) = road.ask(Command::Query(Query::Review(review)))? else { return Err(odd()) };
    show::reviews(&[*one], out)?;
    Ok(Exit::Done)
}

/// Runs a command of `grace emergency`.
pub(crate) fn emergency(instance: &Instance, command: &Emergency, out: &mut Output) -> Result<Exit, Failure> {
    let road = Road::to(instance)?;
    match command {
        Emergency::Begin { reason, lasts, actor, by } => {
            let actor = actor.clone().map(|name| Actor { kind: ActorKind::Operator, name });
            let for_ms = u64::try_from(lasts.as_millis()).unwrap_or(u64::MAX);
            let begin =
                Command::BeginEmergency { reason: reason.clone(), for_ms, actor, by: me(by.as_deref()) };
            let Reply::Begun { grant } = road.order(begin)? else { return Err(odd()) };
            show::grant(&grant, out)?;
        }
        Emergency::List => {
            let Reply::Emergencies { live, ended } = road.ask(Command::Query(Query::Emergencies))? else {
                return Err(odd());
            };
            show::emergencies(&live, &ended, out)?;
        }
        Emergency::End { id, by } => {
            road.order(Command::EndEmergency { grant: id.clone(), by: me(by.as_deref()) })?;
            out.message(&format!("{id} is over"))?;
        }
    }
    Ok(Exit::Done)
}

fn text(path: &Path) -> Result<String, Failure> {
    std::fs::read_to_string(path).map_err(|e| {
        Failure::new(Exit::Usage, "unreadable_file", format!("it cannot be read: {e}")).at(&path.display())
    })
}
