//! Cron patterns in a time zone. The pattern's language and its daylight-saving rules are those of the `croner` crate; the zones are
//! the IANA database that `jiff` carries.

use std::{cell::RefCell, collections::HashMap, rc::Rc};

use croner::{
    Cron as Pattern,
    parser::{CronParser, Seconds, Year},
};
use grace_types::{time::Timestamp as Moment, yaml::suggest};
use jiff::{SignedDuration, Timestamp, tz::TimeZone};

use crate::{delivery::action::Fault, expression::short, limits};

/// A pattern and its zone.
#[derive(Debug, Clone)]
pub struct Cron {
    pattern: Pattern,
    zone: TimeZone,
    /// Where the pattern names several fixed times of the day: each as a pattern of its own, in text. `croner` keeps its rules for
    /// fixed times to patterns of one, and would lose `0 2,14 * * *` in a night without a 02:00.
    times: Vec<String>,
}

/// Parsed patterns by text and zone.
type Known = HashMap<(String, Option<String>), Rc<Cron>>;

impl Cron {
    /// Reads a pattern of five fields, or six with seconds first, and the name of a zone; UTC where there is none.
    ///
    /// # Errors
    /// The pattern is none, or matches no time at all; there is no such zone.
    pub fn parse(pattern: &str, zone: Option<&str>) -> Result<Self, Fault> {
        if pattern.len() > limits::CRON_BYTES || !pattern.is_ascii() {
            let message = format!("a cron pattern has at most {} ASCII characters", limits::CRON_BYTES);
            return Err(Fault::new(&["pattern"], message));
        }
        let zone = match zone {
            None => TimeZone::UTC,
            Some(name) => zone_of(name)?,
        };
        // Without a field for years a pattern matches again and again, or never.
        let parser = CronParser::builder().seconds(Seconds::Optional).year(Year::Disallowed).build();
        let text = pattern;
        let pattern = parser.parse(text).map_err(|bad| {
            let help = "five fields: minute hour day month weekday; or six, with seconds first".to_owned();
            Fault { help: Some(help), ..Fault::new(&["pattern"], short(&bad.to_string())) }
        })?;
        let times = fixed_times(text, &pattern);
        let cron = Self { pattern, zone, times };
        match cron.next_after(REFERENCE_MS) {
            Some(_) => Ok(cron),
            None => Err(Fault::new(&["pattern"], "no time ever matches this pattern")),
        }
    }

    /// The same as [`Self::parse`], from those that this thread parsed lately: reading a pattern takes ten times as long as finding
    /// its next occurrence, and each firing needs both.
    ///
    /// # Errors
    /// As there.
    pub(super) fn known(pattern: &str, zone: Option<&str>) -> Result<Rc<Self>, Fault> {
        thread_local! {
            static KNOWN: RefCell<Known> = RefCell::default();
        }
        let key = (pattern.to_owned(), zone.map(str::to_owned));
        KNOWN.with_borrow_mut(|known| {
            if let Some(cron) = known.get(&key) {
                return Ok(Rc::clone(cron));
            }
            let cron = Rc::new(Self::parse(pattern, zone)?);
            if known.len() >= limits::CRON_KNOWN {
                known.clear();
            }
            known.insert(key, Rc::clone(&cron));
            Ok(cron)
        })
    }

    /// The first occurrence after a moment, both in milliseconds of the wall clock. `None` beyond the last time there is.
    #[must_use]
    pub fn next_after(&self, wall_ms: u64) -> Option<u64> {
        let next = self.search(&self.pattern, wall_ms)?;
        if self.times.is_empty() || !self.changes_between(wall_ms, next) {
            return Some(next);
        }
        let each = self.times.iter().filter_map(|time| CronParser::new().parse(time).ok());
        each.filter_map(|pattern| self.search(&pattern, wall_ms)).min()
    }

    fn search(&self, pattern: &Pattern, wall_ms: u64) -> Option<u64> {
        let from = Timestamp::from_millisecond(i64::try_from(wall_ms).ok()?).ok()?;
        let search = |from: Timestamp, inclusive: bool| {
            let found = pattern.find_next_occurrence(&from.to_zoned(self.zone.clone()), inclusive).ok()?;
            u64::try_from(found.timestamp().as_millisecond()).ok()
        };
        let next = match search(from, false) {
            // The search counts in whole seconds of the wall clock; an occurrence must lie after the one before.
            Some(next) if next <= wall_ms => {
                search(from.checked_add(SignedDuration::from_secs(1)).ok()?, false)?
            }
            Some(next) => next,
            // It gives up in a gap of more than two hours: a country that left out a day. What lies in it is left out too.
            None => search(self.zone.following(from).next()?.timestamp(), true)?,
        };
        (next > wall_ms && next <= limits::LAST_MS).then_some(next)
    }

    /// Whether the zone's clocks change between the day before one moment and another.
    fn changes_between(&self, from_ms: u64, to_ms: u64) -> bool {
        let at = |ms: u64| Timestamp::from_millisecond(i64::try_from(ms).ok()?).ok();
        let (Some(from), Some(to)) = (at(from_ms.saturating_sub(86_400_000)), at(to_ms)) else {
            return false;
        };
        self.zone.following(from).next().is_some_and(|change| change.timestamp() <= to)
    }
}

/// The fixed times of the day that a pattern names, each as a pattern, where there are several and not too many.
fn fixed_times(text: &str, pattern: &Pattern) -> Vec<String> {
    let fields: Vec<&str> = text.split_ascii_whitespace().collect();
    let (clock, days) = match fields.as_slice() {
        [clock @ .., _, _, _] if (2..=3).contains(&clock.len()) => (clock, &fields[clock.len()..]),
        _ => return Vec::new(),
    };
    if clock.iter().any(|field| field.contains(['*', '/', '?'])) {
        return Vec::new();
    }
    let parsed = &pattern.pattern;
    let (seconds, minutes, hours) = (parsed.seconds.values(), parsed.minutes.values(), parsed.hours.values());
    let count = seconds.len() * minutes.len() * hours.len();
    if !(2..=limits::CRON_TIMES).contains(&count) {
        return Vec::new();
    }
    let days = days.join(" ");
    let mut times = Vec::with_capacity(count);
    for hour in &hours {
        for minute in &minutes {
            times.extend(seconds.iter().map(|second| format!("{second} {minute} {hour} {days}")));
        }
    }
    times
}

/// 2024-01-01: a leap year begins, so that a pattern for 29 February is found soon.
const REFERENCE_MS: u64 = 1_704_067_200_000;

/// A moment as the clocks of a zone show it: `Sun 2026-03-29 03:00:00 CEST`. `None` where there is no such zone.
#[must_use]
pub fn local(time: Moment, zone: Option<&str>) -> Option<String> {
    let zone = zone_of(zone.unwrap_or("UTC")).ok()?;
    let at = Timestamp::from_millisecond(i64::try_from(time.as_millis()).ok()?).ok()?;
    Some(at.to_zoned(zone).strftime("%a %Y-%m-%d %H:%M:%S %Z").to_string())
}

fn zone_of(name: &str) -> Result<TimeZone, Fault> {
    if name == "UTC" {
        return Ok(TimeZone::UTC);
    }
    TimeZone::get(name).map_err(|_| {
        let known: Vec<String> = jiff::tz::db().available().map(|zone| zone.to_string()).collect();
        let help = suggest(name, known.iter().map(String::as_str));
        let help = help.or_else(|| Some("a name of the IANA database, such as `Europe/Berlin`".to_owned()));
        Fault { help, ..Fault::new(&["zone"], format!("there is no time zone `{}`", short(name))) }
    })
}
