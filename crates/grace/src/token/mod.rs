//! `grace token`: who may ask over HTTP. Works on the file of tokens, which the interface reads whenever it has changed; Grace need not run.

pub(crate) mod args;

use std::io::{self, Write as _};

use grace_api::{
    bearer::{
        self, Record,
        file::{change, read},
        record::{Standing, is_actor},
    },
    limits,
};
use grace_core::instance::Instance;
use grace_types::{
    chance::OsEntropy,
    time::{Clock as _, SystemClock, Timestamp},
};
use serde_json::{Value, json};

use self::args::{Kind, Token};
use crate::{
    failure::{Exit, Failure},
    output::Output,
    style::tame,
    table::table,
};

/// Runs a command of `grace token`.
pub(crate) fn run(instance: &Instance, command: &Token, out: &mut Output) -> Result<Exit, Failure> {
    let now = SystemClock.now().wall;
    match command {
        Token::Create { actor, kind, scopes, ttl, rate } => {
            if !is_actor(actor) {
                let what = "an actor's name has lower-case letters, digits, `-` and `_`, at most 63";
                return Err(Failure::new(Exit::Usage, "bad_name", what));
            }
            let kind = match kind {
                Kind::Agent => bearer::Kind::Agent,
                Kind::Remote => bearer::Kind::Remote,
            };
            let rate = (scopes.clone(), *rate);
            let (record, text) = Record::make((actor, kind), rate, (now, now.plus(*ttl)), &mut OsEntropy);
            let kept = record.clone();
            changed(instance, now, |all| add(all, kept))?;
            show_made(&record, &text, out)?;
        }
        Token::List => {
            let all = read(&instance.tokens()).map_err(|e| unusable(&e))?;
            show(&all, now, out)?;
        }
        Token::Revoke { id } => {
            changed(instance, now, |all| revoke(all, id, now))?;
            out.message(&format!("{id} is revoked"))?;
        }
    }
    Ok(Exit::Done)
}

fn add(all: &mut Vec<Record>, record: Record) -> Result<(), Failure> {
    if all.len() >= limits::TOKENS {
        let what = format!("there are {} tokens, and at most {} may be", all.len(), limits::TOKENS);
        return Err(
            Failure::new(Exit::Failed, "full", what).help("`grace token revoke ID` those that nobody uses")
        );
    }
    if all.iter().any(|one| one.id == record.id) {
        // One in four billion.
        return Err(Failure::new(Exit::Failed, "busy", "another token has this name; try again"));
    }
    all.push(record);
    Ok(())
}

fn revoke(all: &mut [Record], id: &str, now: Timestamp) -> Result<(), Failure> {
    // Whoever pastes the whole token means its name.
    let id = id.split('.').next().unwrap_or_default();
    let record = all.iter_mut().find(|record| record.id == id).ok_or_else(|| {
        Failure::new(Exit::Usage, "not_found", "there is no such token").help("`grace token list` shows them")
    })?;
    match record.standing(now) {
        Standing::Revoked => Ok(()),
        Standing::Expired => Err(Failure::new(Exit::Failed, "wrong_state", "its time is over already")),
        Standing::Live => {
            record.revoked = Some(now);
            Ok(())
        }
    }
}

/// A change that failed: what was asked for does not make sense, or the file is at fault.
struct Unchanged(Failure);

impl From<io::Error> for Unchanged {
    fn from(e: io::Error) -> Self {
        Self(unusable(&e))
    }
}

fn changed(
    instance: &Instance,
    now: Timestamp,
    work: impl FnOnce(&mut Vec<Record>) -> Result<(), Failure>,
) -> Result<(), Failure> {
    change(&instance.tokens(), now, |all| work(all).map_err(Unchanged)).map_err(|Unchanged(failure)| failure)
}

fn unusable(e: &io::Error) -> Failure {
    Failure::new(Exit::Failed, "bad_tokens", format!("the tokens cannot be read or changed: {e}"))
        .help("put the file right, or delete it: then nobody has a token")
}

fn show_made(record: &Record, text: &str, out: &mut Output) -> Result<(), Failure> {
    if out.json {
        let mut object = object(record, Standing::Live);
        object["token"] = text.into();
        return out.json_line(&object);
    }
    writeln!(out, "{text}")?;
    out.flush()?;
    // Not on standard output, which holds the token and nothing else.
    let (scopes, end) = (words(record), record.expires);
    let _ = writeln!(
        io::stderr(),
        "{} speaks for {} until {end}: {scopes}. It is shown this once.",
        record.id,
        tame(&record.actor)
    );
    Ok(())
}

fn show(all: &[Record], now: Timestamp, out: &mut Output) -> Result<(), Failure> {
    if out.json {
        for record in all {
            out.json_line(&object(record, record.standing(now)))?;
        }
        return Ok(());
    }
    let row = |record: &Record| {
        [
            tame(&record.id),
            record.standing(now).word().to_owned(),
            kind(record).to_owned(),
            tame(&record.actor),
            record.expires.to_string(),
            words(record),
        ]
    };
    let rows: Vec<[String; 6]> = all.iter().map(row).collect();
    if rows.is_empty() {
        writeln!(out, "no tokens")?;
    } else {
        let (width, style) = (out.width(), out.style);
        let head = ["TOKEN", "STATE", "KIND", "ACTOR", "UNTIL", "SCOPES"];
        let text =
            table(head, &rows, width, style, |row, column, cell| match (column, all[row].standing(now)) {
                (1, Standing::Live) => style.good(&cell),
                (1, _) => style.bad(&cell),
                _ => cell,
            });
        write!(out, "{text}")?;
    }
    out.flush()?;
    Ok(())
}

const fn kind(record: &Record) -> &'static str {
    match record.kind {
        bearer::Kind::Agent => "agent",
        bearer::Kind::Remote => "remote",
    }
}

fn words(record: &Record) -> String {
    record.scopes.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
}

/// Everything but the secret's digest, which is nobody's business.
fn object(record: &Record, standing: Standing) -> Value {
    json!({
        "id": record.id,
        "state": standing.word(),
        "actor": record.actor,
        "kind": kind(record),
        "scopes": record.scopes,
        "per_second": record.per_second,
        "created": record.created,
        "expires": record.expires,
        "revoked": record.revoked,
    })
}
