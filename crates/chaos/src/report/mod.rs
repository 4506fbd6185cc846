//! `report.html`: one page for people, made from the record of a run and its timeline.
//!
//! Self-contained: no script, no font, no picture from anywhere. Colours follow the reader's system (`prefers-color-scheme`), and each
//! means one thing on the whole page. What comes from outside is escaped by maud, and cut where it is long. Each plot has its figures
//! in words, for who cannot see it.
//!
//! | Module | What it holds |
//! |---|---|
//! | `page` | the summary and the tables |
//! | `timeline` | faults, detections and recoveries of each component on one axis of time |
//! | `plot` | a figure over time, with the fault windows shaded |
//! | `scale` | axes: round steps, times and sizes as people write them |

mod page;
mod plot;
mod scale;
mod timeline;

#[cfg(test)]
mod tests;

use crate::{evidence::ResourceLine, record::RunRecord};

/// The page.
#[must_use]
pub fn html(record: &RunRecord, samples: &[ResourceLine]) -> String {
    page::page(record, samples).into_string()
}
