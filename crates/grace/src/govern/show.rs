//! What governance knows, as lines or JSON.

use std::io::Write as _;

use grace_cortex::{
    case::{Grant, Word},
    change::{self, Wanted},
    governance::{
        command::{ApprovalView, GenerationRow},
        state::{Approver, Ended, Kept, Live, Looked},
    },
};
use serde::Serialize;

use crate::{failure::Failure, output::Output, style::tame, table::table};

/// Rows as a table, or one value a line.
fn rows<T: Serialize, const N: usize>(
    all: &[T],
    head: [&str; N],
    row: impl Fn(&T) -> [String; N],
    out: &mut Output,
) -> Result<(), Failure> {
    if out.json {
        return all.iter().try_for_each(|one| out.json_line(one));
    }
    let rows: Vec<[String; N]> = all.iter().map(|one| row(one).map(|cell| tame(&cell))).collect();
    let text = table(head, &rows, out.width(), out.style, |_, _, cell| cell);
    out.write_all(text.as_bytes())?;
    Ok(())
}

const fn word(view: &ApprovalView) -> &'static str {
    match view.word {
        None => "waiting",
        Some(Word::Approved) => "approved",
        Some(Word::Denied) => "denied",
        Some(Word::Expired) => "expired",
    }
}

pub(super) fn approvals(all: &[ApprovalView], out: &mut Output) -> Result<(), Failure> {
    rows(
        all,
        ["INTENT", "TYPE", "ACTOR", "STATE", "YES", "UNTIL"],
        |view| {
            let yes = format!("{} of {}", view.by.len(), view.case.quorum.max(1));
            let until = view.case.until.map(|until| until.to_string()).unwrap_or_default();
            let case = &view.case;
            [
                case.intent.to_string(),
                case.kind.clone(),
                case.actor.name.clone(),
                word(view).to_owned(),
                yes,
                until,
            ]
        },
        out,
    )
}

pub(super) fn approval(view: &ApprovalView, out: &mut Output) -> Result<(), Failure> {
    if out.json {
        return out.json_line(view);
    }
    let case = &view.case;
    writeln!(out, "{}  {}", case.intent, word(view))?;
    writeln!(out, "  {} of {} on {}", tame(&case.kind), tame(&case.actor.name), tame(&case.target))?;
    match change::named(&case.kind, &case.payload) {
        Some(Ok(Wanted::Adopt { policies, charter, over, reason })) => {
            let texts = [("other policies", policies), ("another charter", charter)];
            let texts = texts.iter().filter_map(|(what, text)| Some((what, text.as_ref()?.lines().count())));
            let texts: Vec<String> = texts.map(|(what, lines)| format!("{what} ({lines} lines)")).collect();
            let over = over.map(|over| format!(", made over generation {over}")).unwrap_or_default();
            let reason = reason.map(|reason| format!(": {reason}")).unwrap_or_default();
            let line = format!("{}{over}{reason}", texts.join(" and "));
            writeln!(out, "  change   {}", tame(&line))?;
            writeln!(out, "           `grace governance diff --intent {}` shows what it means", case.intent)?;
        }
        _ => writeln!(out, "  payload  {}", tame(case.payload.text()))?,
    }
    writeln!(out, "  digest   {}", tame(&case.digest))?;
    for reason in &case.reasons {
        writeln!(out, "  because  {}", tame(&reason.text))?;
    }
    let (given, needed, by) = (view.by.len(), case.quorum.max(1), tame(&view.by.join(", ")));
    writeln!(out, "  said     {by}{}({given} of {needed} given)", if given == 0 { "" } else { " " })?;
    for reason in view.verdict.iter().flat_map(|verdict| &verdict.reasons) {
        writeln!(out, "  so       {}", tame(&reason.text))?;
    }
    if view.word.is_none() {
        writeln!(out, "  may      {}", tame(&view.may.join(", ")))?;
    }
    Ok(())
}

pub(super) fn approvers(all: &[Approver], out: &mut Output) -> Result<(), Failure> {
    rows(
        all,
        ["APPROVER", "SINCE", "BY", "KEY"],
        |one| [one.name.clone(), one.since.to_string(), one.by.clone(), one.public_key.clone()],
        out,
    )
}

pub(super) fn reviews(all: &[Looked], out: &mut Output) -> Result<(), Failure> {
    rows(
        all,
        ["INTENT", "TYPE", "ACTOR", "TIER", "STATE", "BY", "NOTE"],
        |one| {
            let state = match one.flagged {
                None => "owed",
                Some(false) => "accepted",
                Some(true) => "flagged",
            };
            let case = &one.case;
            [
                case.intent.to_string(),
                case.kind.clone(),
                case.actor.name.clone(),
                case.tier.to_string(),
                state.to_owned(),
                one.by.clone().unwrap_or_default(),
                one.note.clone().unwrap_or_default(),
            ]
        },
        out,
    )
}

fn whom(grant: &Grant) -> String {
    grant.actor.as_ref().map_or_else(|| "everybody".to_owned(), |actor| actor.name.clone())
}

pub(super) fn grant(grant: &Grant, out: &mut Output) -> Result<(), Failure> {
    if out.json {
        return out.json_line(grant);
    }
    let (id, whom) = (tame(&grant.id), tame(&whom(grant)));
    writeln!(out, "{id}: leave for {whom} until {}", grant.until)?;
    Ok(())
}

pub(super) fn emergencies(live: &[Live], ended: &[Ended], out: &mut Output) -> Result<(), Failure> {
    if out.json {
        live.iter().try_for_each(|one| out.json_line(one))?;
        return ended.iter().try_for_each(|one| out.json_line(one));
    }
    let line = |grant: &Grant, state: &str, uses: u64| {
        [
            grant.id.clone(),
            state.to_owned(),
            grant.by.clone(),
            whom(grant),
            uses.to_string(),
            grant.until.to_string(),
            grant.reason.clone(),
        ]
    };
    let live = live.iter().map(|one| line(&one.grant, "live", one.uses));
    let ended = ended.iter().map(|one| line(&one.grant, "over", one.uses));
    let all: Vec<_> = live.chain(ended).collect();
    let head = ["EMERGENCY", "STATE", "BY", "FOR", "USES", "UNTIL", "REASON"];
    rows(&all, head, Clone::clone, out)
}

pub(super) fn generations(all: &[GenerationRow], out: &mut Output) -> Result<(), Failure> {
    rows(
        all,
        ["GENERATION", "STATE", "BY", "APPROVED BY", "SINCE", "REASON"],
        |one| {
            let reason = one.refused.as_ref().unwrap_or(&one.reason);
            let approved_by = one.approved_by.join(", ");
            let since = one.since.to_string();
            [one.number.to_string(), one.state.clone(), one.by.clone(), approved_by, since, reason.clone()]
        },
        out,
    )
}

pub(super) fn generation(kept: &Kept, out: &mut Output) -> Result<(), Failure> {
    if out.json {
        return out.json_line(kept);
    }
    writeln!(out, "# generation {}, of {}: {}", kept.generation.number, tame(&kept.by), tame(&kept.reason))?;
    for text in [&kept.generation.policies, &kept.generation.charter] {
        for line in text.lines() {
            writeln!(out, "{}", tame(line))?;
        }
    }
    Ok(())
}
