//! One row for each component: when it was attacked, when the system noticed, and when it was back.

use std::collections::BTreeMap;

use grace_types::time::Timestamp;
use maud::{Markup, html};

use super::{
    page::cut,
    scale::{LEFT, RIGHT, Time, WIDTH, clock},
};
use crate::record::{FaultRecord, RunRecord};

const ROW: f64 = 38.0;
const TOP: f64 = 30.0;

/// When a fault was on: from its bite, or from its order where it did not bite, to its end.
pub(super) fn window(fault: &FaultRecord) -> Option<(Timestamp, Timestamp)> {
    let from = fault.bitten.or(fault.ordered)?;
    Some((from, fault.ended.unwrap_or(from)))
}

/// The components that something happened to, each with its row.
fn rows(record: &RunRecord) -> BTreeMap<&str, f64> {
    let faults = record.faults.iter().map(|fault| fault.target.as_str());
    let recoveries = record.recoveries.iter().map(|recovery| recovery.component.as_str());
    let detections = record.detections.iter().map(|detection| detection.target.as_str());
    let names: std::collections::BTreeSet<&str> = faults.chain(recoveries).chain(detections).collect();
    names.into_iter().zip(0..).map(|(name, row)| (name, TOP + f64::from(row) * ROW)).collect()
}

/// The picture.
pub(super) fn timeline(record: &RunRecord, time: &Time) -> Markup {
    let rows = rows(record);
    let bottom = TOP + rows.len() as f64 * ROW;
    let (width, height) = (LEFT + WIDTH + RIGHT, bottom + 24.0);
    let label = format!(
        "Timeline: {} faults, {} detections, {} recoveries on {} components",
        record.faults.len(),
        record.detections.len(),
        record.recoveries.len(),
        rows.len()
    );
    html! {
        svg viewBox={ "0 0 " (width) " " (height) } role="img" aria-label=(label) {
            @for phase in &record.phases {
                @let (from, to) = (time.x(phase.from), time.x(phase.to));
                line.phase x1=(from) x2=(from) y1=(8) y2=(bottom) {}
                // A short phase has no room for its name.
                @if to - from > 60.0 { text.small x=(from + 4.0) y=(16) { (phase.phase.word()) } }
            }
            @for (x, text) in time.ticks() {
                line.grid x1=(x) x2=(x) y1=(TOP) y2=(bottom) {}
                text.small.middle x=(x) y=(bottom + 16.0) { (text) }
            }
            @for (name, y) in &rows {
                line.grid x1=(LEFT) x2=(LEFT + WIDTH) y1=(y + ROW) y2=(y + ROW) {}
                text.end x=(LEFT - 8.0) y=(y + 23.0) { @if name.is_empty() { "(instance)" } @else { (cut(name, 20)) } }
            }
            @for recovery in &record.recoveries {
                @let y = rows.get(recovery.component.as_str()).copied().unwrap_or(TOP);
                @let (from, to) = (time.x(recovery.down), time.x(recovery.ready.unwrap_or(record.ended)));
                rect.down x=(from) y=(y + 26.0) width=((to - from).max(2.0)) height=(8) {
                    title { (recovery.component) " down from " (clock(recovery.down)) }
                }
                @if let Some(ready) = recovery.ready {
                    circle.ready cx=(to) cy=(y + 30.0) r=(4) { title { (recovery.component) " ready at " (clock(ready)) } }
                }
            }
            @for fault in &record.faults {
                @if let Some((from, to)) = window(fault) {
                    @let y = rows.get(fault.target.as_str()).copied().unwrap_or(TOP);
                    @let (x, end) = (time.x(from), time.x(to));
                    rect.fault x=(x) y=(y + 4.0) width=((end - x).max(5.0)) height=(9) {
                        title { (fault.kind) " " (fault.target) " at " (clock(from)) @if !fault.bit { ", did not bite" } }
                    }
                }
            }
            @for detection in &record.detections {
                @let (x, y) = (time.x(detection.at), rows.get(detection.target.as_str()).copied().unwrap_or(TOP));
                path.detection d={ "M" (x) " " (y + 14.0) "l5 10h-10z" } {
                    title { (detection.what) " at " (clock(detection.at)) }
                }
            }
        }
        p.legend {
            span { i.key.fault {} " fault on" } span { i.key.detection {} " detected" }
            span { i.key.down {} " down" } span { i.key.ready {} " ready again" }
        }
    }
}
