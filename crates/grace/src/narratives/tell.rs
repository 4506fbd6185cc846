//! One narrative as a line for people. As JSON for scripts: [`grace_api::narratives::object`].

use grace_store::narrative::Told;
use grace_types::time::Timestamp;

use crate::style::{Style, tame};

/// Over the columns of [`line`].
pub(crate) fn head() -> String {
    format!("{:<24}  {:<16}  {:<16}  {:<16}  {:>8}  WHY", "TIME", "WHO", "ACTION", "WHERE", "LOG")
}

/// `2026-11-23T15:00:00.500Z  control_plane  restarted  web  12  exited with status 1`, cut off at `width` columns.
pub(crate) fn line(told: &Told, width: Option<usize>, style: Style) -> String {
    let narrative = &told.narrative;
    let index = told.log_index.map_or_else(|| "-".to_owned(), |index| index.to_string());
    let start = format!(
        "  {:<16}  {:<16}  {:<16}  {index:>8}  ",
        tame(&narrative.who),
        tame(narrative.action()),
        if narrative.place.is_empty() { "-".to_owned() } else { tame(&narrative.place) },
    );
    let time = time(narrative.time);
    let why: Vec<String> = narrative.why.iter().map(|reason| tame(&reason.text)).collect();
    let room = width.map_or(usize::MAX, |width| width.saturating_sub(time.len()));
    let rest: String = (start + &why.join("; ")).chars().take(room).collect();
    format!("{}{}", style.dim(&time), rest.trim_end())
}

/// UTC, to the millisecond, so that lines stand under each other.
pub(crate) fn time(time: Timestamp) -> String {
    let text = time.to_string();
    let text = text.trim_end_matches('Z');
    let (seconds, fraction) = text.split_once('.').unwrap_or((text, ""));
    let millis: String = fraction.chars().chain("000".chars()).take(3).collect();
    format!("{seconds}.{millis}Z")
}
