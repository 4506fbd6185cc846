//! One component's figure over time, with the fault windows shaded: those on itself more than those on others.

use grace_types::time::Timestamp;
use maud::{Markup, html};

use super::{
    page::cut,
    scale::{LEFT, RIGHT, Time, WIDTH, round_up},
    timeline::window,
};
use crate::{
    evidence::{ResourceLine, limits},
    record::RunRecord,
};

const TOP: f64 = 10.0;
const HEIGHT: f64 = 84.0;

/// A value at a time; none where the process was not there, which breaks the line.
pub(super) type Point = (Timestamp, Option<f64>);

/// The share of one processor that a component used between two readings, in per cent.
pub(super) fn cpu(samples: &[ResourceLine], name: &str) -> Vec<Point> {
    let mut before: Option<(Timestamp, u32, f64)> = None;
    let mut points = Vec::new();
    for (at, component) in of(samples, name) {
        let now = component.pid.zip(component.cpu_seconds).map(|(pid, seconds)| (at, pid, seconds));
        let value = match (before, now) {
            // Another process begins to count anew.
            (Some((then, old, was)), Some((at, pid, is))) if old == pid && is >= was => {
                let seconds = at.since(then).as_secs_f64();
                // Ticks of 10 ms say nothing about less.
                if seconds < 0.05 { continue } else { Some((is - was) / seconds * 100.0) }
            }
            _ => None,
        };
        points.push((at, value));
        before = now;
    }
    thin(points)
}

/// The resident memory of a component, in bytes.
pub(super) fn memory(samples: &[ResourceLine], name: &str) -> Vec<Point> {
    thin(of(samples, name).map(|(at, component)| (at, component.memory_bytes.map(|b| b as f64))).collect())
}

fn of<'a>(
    samples: &'a [ResourceLine],
    name: &'a str,
) -> impl Iterator<Item = (Timestamp, &'a crate::evidence::ComponentSample)> {
    samples.iter().filter_map(move |line| {
        let component = line.sample.components.iter().find(|component| component.name == name)?;
        Some((line.at, component))
    })
}

/// No more points than a picture has room for.
fn thin(points: Vec<Point>) -> Vec<Point> {
    let step = points.len().div_ceil(limits::PLOT_POINTS).max(1);
    points.into_iter().step_by(step).collect()
}

/// The picture, with its highest and last value in words.
pub(super) fn plot(
    record: &RunRecord,
    time: &Time,
    name: &str,
    what: &str,
    points: &[Point],
    show: impl Fn(f64) -> String,
) -> Markup {
    let values = || points.iter().filter_map(|(_, value)| *value);
    let peak = values().fold(0.0, f64::max);
    let (lines, dots) = lines(points, time, peak);
    let last = values().next_back();
    let label = match last {
        Some(last) => format!("{what} of {name}: at most {}, at the end {}", show(peak), show(last)),
        None => format!("{what} of {name}: no readings"),
    };
    let (width, bottom) = (LEFT + WIDTH + RIGHT, TOP + HEIGHT);
    let top = scale(peak);
    html! {
        svg viewBox={ "0 0 " (width) " " (bottom + 22.0) } role="img" aria-label=(label) {
            @for fault in &record.faults {
                @if let Some((from, to)) = window(fault) {
                    rect.window.own[fault.target == name] x=(time.x(from)) y=(TOP)
                        width=((time.x(to) - time.x(from)).max(3.0)) height=(HEIGHT) {
                        title { (fault.kind) " on " (fault.target) }
                    }
                }
            }
            @for (share, y) in [(0.0, bottom), (0.5, TOP + HEIGHT / 2.0), (1.0, TOP)] {
                line.grid x1=(LEFT) x2=(LEFT + WIDTH) y1=(y) y2=(y) {}
                text.small.end x=(LEFT - 6.0) y=(y + 4.0) { (show(top * share)) }
            }
            @for (x, text) in time.ticks() { text.small.middle x=(x) y=(bottom + 16.0) { (text) } }
            text.small x=(4) y=(TOP + 10.0) { (cut(what, 20)) }
            @for line in &lines { polyline.value points=(line) {} }
            @for (x, y) in &dots { circle.dot cx=(format!("{x:.1}")) cy=(format!("{y:.1}")) r="2.5" {} }
        }
    }
}

/// The value at the top of the picture.
fn scale(peak: f64) -> f64 {
    if peak >= 1024.0 * 1024.0 {
        // Round in the unit that it is shown in.
        round_up(peak / (1024.0 * 1024.0)) * 1024.0 * 1024.0
    } else {
        round_up(peak)
    }
}

/// The unbroken stretches as `points` attributes, and the lone points, which no line shows.
fn lines(points: &[Point], time: &Time, peak: f64) -> (Vec<String>, Vec<(f64, f64)>) {
    let top = scale(peak);
    let (mut lines, mut dots) = (Vec::new(), Vec::new());
    for stretch in points.split(|(_, value)| value.is_none()) {
        let places: Vec<(f64, f64)> = stretch
            .iter()
            .filter_map(|(at, value)| Some((time.x(*at), TOP + HEIGHT * (1.0 - (*value)? / top))))
            .collect();
        match places.as_slice() {
            [] => {}
            [lone] => dots.push(*lone),
            many => {
                let text: Vec<String> = many.iter().map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
                lines.push(text.join(" "));
            }
        }
    }
    (lines, dots)
}
