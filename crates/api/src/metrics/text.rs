//! Writes the Prometheus text format, version 0.0.4
//! (<https://prometheus.io/docs/instrumenting/exposition_formats/>).
//!
//! Our own: nearly everything shown here is other processes' numbers, read when somebody asks, and not counters of this one that a
//! client library would keep.

use std::fmt::Write as _;

/// The content type of what [`Text`] writes.
pub(crate) const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// What a family's numbers mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// It only rises, or begins anew. Its name ends in `_total`.
    Counter,
    /// It rises and falls.
    Gauge,
    /// Counts in buckets, a sum and a count.
    Histogram,
}

/// See the module's page.
#[derive(Debug, Default)]
pub(crate) struct Text {
    out: String,
    name: &'static str,
}

impl Text {
    /// Begins a family; its samples follow.
    pub(crate) fn family(&mut self, name: &'static str, kind: Kind, help: &str) {
        debug_assert_eq!(kind == Kind::Counter, name.ends_with("_total"), "{name}");
        let kind = match kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
        };
        // Writing to a string does not fail, here and below.
        let _ = writeln!(self.out, "# HELP {name} {help}\n# TYPE {name} {kind}");
        self.name = name;
    }

    /// A sample of the family that was begun last.
    pub(crate) fn sample(&mut self, labels: &[(&str, &str)], value: f64) {
        self.sample_of("", labels, value);
    }

    /// A sample of a part of the family, such as `_bucket`.
    pub(crate) fn sample_of(&mut self, part: &str, labels: &[(&str, &str)], value: f64) {
        let _ = write!(self.out, "{}{part}", self.name);
        for (n, (label, text)) in labels.iter().enumerate() {
            let _ = write!(self.out, "{}{label}=\"", if n == 0 { '{' } else { ',' });
            for c in text.chars() {
                match c {
                    '\\' => self.out.push_str("\\\\"),
                    '"' => self.out.push_str("\\\""),
                    '\n' => self.out.push_str("\\n"),
                    c => self.out.push(c),
                }
            }
            self.out.push('"');
        }
        let close = if labels.is_empty() { "" } else { "}" };
        let _ = match value {
            v if v == f64::INFINITY => writeln!(self.out, "{close} +Inf"),
            v if v == f64::NEG_INFINITY => writeln!(self.out, "{close} -Inf"),
            v => writeln!(self.out, "{close} {v}"),
        };
    }

    /// A family with one sample and no labels.
    pub(crate) fn single(&mut self, name: &'static str, kind: Kind, help: &str, value: f64) {
        self.family(name, kind, help);
        self.sample(&[], value);
    }

    pub(crate) fn finish(self) -> String {
        self.out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_the_format_says() {
        let mut text = Text::default();
        text.single("grace_a_total", Kind::Counter, "As.", 3.0);
        text.family("grace_b", Kind::Gauge, "Bs.");
        text.sample(&[("x", "a\\b\"c\nd"), ("y", "ü")], 0.25);
        text.sample_of("_z", &[], f64::INFINITY);
        assert_eq!(
            text.finish(),
            "# HELP grace_a_total As.\n# TYPE grace_a_total counter\ngrace_a_total 3\n# HELP grace_b Bs.\n\
             # TYPE grace_b gauge\ngrace_b{x=\"a\\\\b\\\"c\\nd\",y=\"ü\"} 0.25\ngrace_b_z +Inf\n"
        );
    }
}
