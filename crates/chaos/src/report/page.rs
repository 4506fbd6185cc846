//! The page: verdict first, then why, then everything it rests on.

use grace_types::time::Timestamp;
use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::{
    plot::{cpu, memory, plot},
    scale::{Time, clock, duration, moment, number, size},
    timeline::timeline,
};
use crate::{
    evidence::{ResourceLine, limits},
    record::RunRecord,
};

const STYLE: &str = include_str!("style.css");

/// The whole page.
pub(super) fn page(record: &RunRecord, samples: &[ResourceLine]) -> Markup {
    let (passed, word) = if record.judgement.passed { ("good", "PASSED") } else { ("bad", "FAILED") };
    let time = Time::new(record.started, record.ended);
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                // Whatever a text from outside might have smuggled in could not load or run anything.
                meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'";
                title { (word) ": " (cut(&record.scenario.id, 100)) " · " (record.run) }
                style { (PreEscaped(STYLE)) }
            }
            body {
                header {
                    p.soft { "Chaos run " code { (record.run) } }
                    h1 { (cut(&record.scenario.title, 200)) }
                    p { span.verdict.(passed) { (word) } " " span.soft { code { (cut(&record.scenario.id, 100)) } } }
                }
                main {
                    (reasons(record))
                    (facts(record))
                    h2 { "What happened when" }
                    div.wide { (timeline(record, &time)) }
                    (faults(record))
                    (recoveries(record))
                    (safeguards(record))
                    (verifications(record))
                    (steady_state(record))
                    (telemetry(record))
                    (plots(record, samples, &time))
                    (log(record))
                    (detections(record))
                    (evidence_errors(record))
                    h2 { "Scenario" }
                    p { (cut(&record.scenario.description, limits::TEXT_CHARS)) }
                    details { summary { "Its text, from " (cut(&record.scenario.origin, 200)) } pre { (record.scenario.text) } }
                }
                footer.soft {
                    p { "Check all of this, offline: " code { "grace verify bundle.tar.zst" } }
                }
            }
        }
    }
}

/// Text from outside, cut where it is longer than anybody reads.
pub(super) fn cut(text: &str, characters: usize) -> String {
    match text.char_indices().nth(characters) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

fn text(text: &str) -> String {
    cut(text, limits::TEXT_CHARS)
}

fn reasons(record: &RunRecord) -> Markup {
    html! {
        ul {
            @for reason in record.judgement.reasons.iter().take(limits::ROWS) {
                li { (text(&reason.text)) " " span.soft { code { (reason.code) } } }
            }
        }
    }
}

fn facts(record: &RunRecord) -> Markup {
    let host = &record.host;
    let recovery = record.recovery_seconds.map_or("not recovered".to_owned(), |s| format!("{} s", number(s)));
    let fact = |name: &str, value: String| html! { div { dt { (name) } dd { (value) } } };
    html! {
        dl.facts {
            (fact("Recovery, from the end of the last fault", recovery))
            (fact("Faults that bit", format!("{} of {}", record.faults.iter().filter(|f| f.bit).count(), record.faults.len())))
            (fact("Down at once, at most", record.down_at_once.to_string()))
            (fact("Began", format!("{} UTC", moment(record.started))))
            (fact("Took", duration(record.ended.since(record.started))))
            @if let Some(load) = &record.load {
                (fact("Acknowledged records under load", load.acknowledged.to_string()))
                (fact("Of those, lost", load.lost.map_or("unknown".into(), |n| n.to_string())))
            }
            (fact("Layer, category, severity", format!("{}, {}, {}", record.scenario.layer, record.scenario.category, record.scenario.severity)))
            (fact("Grace", text(&host.grace)))
            (fact("Host", format!("{}, {}, {} CPUs, {}", host.kernel, host.architecture, host.processors, size(host.memory_bytes as f64))))
        }
    }
}

/// A table, if there is a row; of very many the first.
fn table<T>(title: &str, heads: &[&str], all: &[T], row: impl Fn(&T) -> Markup) -> Markup {
    html! {
        @if !all.is_empty() {
            h2 { (title) }
            div.wide {
                table {
                    thead { tr { @for head in heads { th scope="col" { (head) } } } }
                    tbody { @for one in all.iter().take(limits::ROWS) { tr { (row(one)) } } }
                }
            }
            @if all.len() > limits::ROWS { p.soft { "and " (all.len() - limits::ROWS) " more in incident.json" } }
        }
    }
}

/// Yes or no, in words: a colour alone would not reach everybody.
fn verdict(good: bool, yes: &str, no: &str) -> Markup {
    html! { @if good { span.good { (yes) } } @else { span.bad { (no) } } }
}

fn at(at: Option<Timestamp>) -> String {
    at.map_or("–".to_owned(), clock)
}

fn seconds(seconds: Option<f64>) -> String {
    seconds.map_or("–".to_owned(), |s| format!("{} s", number(s)))
}

fn faults(record: &RunRecord) -> Markup {
    let heads = ["", "Fault", "Target", "Ordered", "Bit at", "Over at", "Bit", "Undone", "Proof"];
    table("Faults", &heads, &record.faults, |fault| {
        html! {
            td.n { (fault.number) }
            td { (fault.kind) }
            td { (text(&fault.target)) @if let Some(pid) = fault.pid { span.soft { " pid " (pid) } } }
            td.n { (at(fault.ordered)) } td.n { (at(fault.bitten)) } td.n { (at(fault.ended)) }
            td { (verdict(fault.bit, "yes", "no")) }
            td { (verdict(fault.undone, "yes", "no")) }
            td {
                @for part in [&fault.proof, &fault.undo_proof].into_iter().flatten() { p { (text(part)) } }
                @if let Some(error) = &fault.error { p.bad { (text(error)) } }
            }
        }
    })
}

fn recoveries(record: &RunRecord) -> Markup {
    table("Recoveries", &["Component", "Down", "Ready", "After"], &record.recoveries, |recovery| {
        html! {
            td { (text(&recovery.component)) }
            td.n { (clock(recovery.down)) }
            td.n { @if let Some(ready) = recovery.ready { (clock(ready)) } @else { span.bad { "not again" } } }
            td.n { (seconds(recovery.seconds)) }
        }
    })
}

fn safeguards(record: &RunRecord) -> Markup {
    let heads = ["Safeguard", "Expected", "Fired", "After the first bite", "Detail"];
    html! {
        (table("Safeguards", &heads, &record.safeguards, |guard| html! {
            td { (text(&guard.name)) @if !guard.title.is_empty() { br; span.soft { (text(&guard.title)) } } }
            td { @if guard.expected { "yes" } @else { "no" } }
            // One that nobody expected may stay silent.
            td { @if guard.fired || guard.expected { (verdict(guard.fired, "yes", "no")) } @else { "no" } }
            td.n { (seconds(guard.seconds)) }
            td { (text(guard.detail.as_deref().unwrap_or_default())) }
        }))
        (table("Playbooks", &["Playbook", "Seen", "Detail"], &record.playbooks, |book| html! {
            td { (text(&book.name)) }
            td { (verdict(book.seen, "yes", "no")) }
            td { (text(book.detail.as_deref().unwrap_or_default())) }
        }))
    }
}

fn verifications(record: &RunRecord) -> Markup {
    table("Verifications", &["Condition", "Holds", "Detail"], &record.verifications, |check| {
        html! {
            td { (text(&check.name)) }
            td { (verdict(check.ok, "yes", "no")) }
            td { (text(&check.detail)) }
        }
    })
}

fn steady_state(record: &RunRecord) -> Markup {
    table("Steady state", &["Probe", "Phase", "At", "Held", "Detail"], &record.steady_state, |probe| {
        html! {
            td { (text(&probe.name)) }
            td { (probe.phase.word()) }
            td.n { (clock(probe.at)) }
            td { (verdict(probe.ok, "yes", "no")) }
            td { (text(&probe.detail)) }
        }
    })
}

fn telemetry(record: &RunRecord) -> Markup {
    table("Telemetry that had to be heard", &["Subject", "Messages"], &record.telemetry, |heard| {
        html! {
            td { code { (text(&heard.subject)) } }
            td.n { (verdict(heard.messages > 0, &heard.messages.to_string(), "none")) }
        }
    })
}

fn plots(record: &RunRecord, samples: &[ResourceLine], time: &Time) -> Markup {
    let mut names: Vec<&str> = Vec::new();
    for component in samples.iter().flat_map(|line| &line.sample.components) {
        if !names.contains(&component.name.as_str()) {
            names.push(&component.name);
        }
    }
    // Those that were attacked first; of equals the order of the readings.
    names.sort_by_key(|name| !record.faults.iter().any(|fault| fault.target == *name));
    html! {
        @if !names.is_empty() {
            h2 { "What each component used" }
            p.soft { "Shaded: while a fault was on, darker where it was on this component. A gap: no process, or its first reading. CPU in per cent of one processor; memory is resident." }
            @for name in names.iter().take(limits::PLOTS) {
                h3 { (text(name)) }
                div.wide {
                    (plot(record, time, name, "CPU", &cpu(samples, name), |value| format!("{} %", number((value * 10.0).round() / 10.0))))
                    (plot(record, time, name, "Memory", &memory(samples, name), size))
                }
            }
            @if names.len() > limits::PLOTS { p.soft { "and " (names.len() - limits::PLOTS) " more in resources.jsonl" } }
        }
    }
}

fn log(record: &RunRecord) -> Markup {
    let word = |known: Option<bool>| match known {
        Some(true) => html! { span.good { "yes" } },
        Some(false) => html! { span.bad { "no" } },
        None => html! { span.bad { "could not be told" } },
    };
    html! {
        h2 { "Tamper-evident log" }
        @if let Some(log) = &record.log {
            div.wide {
                table {
                    thead { tr { th scope="col" { "" } th scope="col" { "Entries" } th scope="col" { "Root" } } }
                    tbody {
                        @for (name, point) in [("before", &log.before), ("after", &log.after)] {
                            tr { td { (name) } td.n { (point.size) } td { code { (cut(&point.root, 60)) } } }
                        }
                    }
                }
            }
            p { "What was there before is still there, unchanged: " (word(log.consistent)) ". No gap and no duplicate: " (word(log.continuous)) "." }
            @for error in log.errors.iter().take(limits::ROWS) { p.bad { (text(error)) } }
        } @else {
            p.bad { "It could not be read." }
        }
    }
}

fn detections(record: &RunRecord) -> Markup {
    table("What the system found out", &["At", "About", "What", "Why"], &record.detections, |found| {
        html! {
            td.n { (clock(found.at)) }
            td { @if found.target.is_empty() { "the instance" } @else { (text(&found.target)) } }
            td { code { (text(&found.what)) } }
            td { (text(&found.why)) }
        }
    })
}

fn evidence_errors(record: &RunRecord) -> Markup {
    html! {
        @if !record.evidence_errors.is_empty() {
            h2 { "Evidence that could not be kept" }
            ul { @for error in record.evidence_errors.iter().take(limits::ROWS) { li.bad { (text(error)) } } }
        }
    }
}
