//! Probes: exactly one check each, and only checks that make sense where they stand.

use std::time::Duration;

use super::{
    checks::Checks,
    model::{Check, Probe},
    raw::{RawHttpGet, RawProbe},
};
use crate::{
    limits::{REGEX_BYTES, REGEX_COMPILED_BYTES},
    yaml::Path as Field,
};

/// What a probe is for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    Readiness,
    Liveness,
    Startup,
}

/// Shortest period and timeout: faster checks would cost more than the process that they watch.
const SHORTEST: Duration = Duration::from_millis(10);
const LONGEST: Duration = Duration::from_secs(3600);

impl Checks<'_> {
    pub(super) fn probe(&mut self, at: &Field, raw: &RawProbe, purpose: Purpose) -> Option<Probe> {
        let check = self.check(at, raw, purpose);
        let base = Probe::of(Check::Notify);
        let delay = self.duration_or_seconds(
            at,
            "initial_delay",
            (raw.initial_delay.as_ref(), raw.initial_delay_seconds),
            Duration::ZERO..=LONGEST,
            base.initial_delay,
        );
        let period = self.duration_or_seconds(
            at,
            "period",
            (raw.period.as_ref(), raw.period_seconds),
            SHORTEST..=LONGEST,
            base.period,
        );
        let timeout = self.duration_or_seconds(
            at,
            "timeout",
            (raw.timeout.as_ref(), raw.timeout_seconds),
            SHORTEST..=LONGEST,
            base.timeout,
        );
        let (successes, failures) = (at.key("success_threshold"), at.key("failure_threshold"));
        let success_threshold =
            self.number(&successes, raw.success_threshold, 1..=1000, base.success_threshold);
        let failure_threshold =
            self.number(&failures, raw.failure_threshold, 1..=1000, base.failure_threshold);
        Some(Probe {
            check: check?,
            initial_delay: delay,
            period,
            timeout,
            success_threshold,
            failure_threshold,
        })
    }

    fn check(&mut self, at: &Field, raw: &RawProbe, purpose: Purpose) -> Option<Check> {
        const KINDS: [&str; 4] = ["exec", "http_get", "tcp", "notify"];
        let given = [raw.exec.is_some(), raw.http_get.is_some(), raw.tcp.is_some(), raw.notify.is_some()];
        let given: Vec<&str> =
            KINDS.iter().zip(given).filter(|(_, given)| *given).map(|(kind, _)| *kind).collect();
        if let [_, second, ..] = given.as_slice() {
            let message = format!("a probe has exactly one check; here are {}", given.join(" and "));
            self.fault_with_help(&at.key(second), message, "keep one of them");
            return None;
        }
        if let Some(exec) = &raw.exec {
            return Some(Check::Exec {
                command: self.command(&at.key("exec").key("command"), &exec.command),
            });
        }
        if let Some(http) = &raw.http_get {
            return Some(self.http(&at.key("http_get"), http));
        }
        if let Some(tcp) = &raw.tcp {
            let at = at.key("tcp");
            let host = self.host(&at.key("host"), tcp.host.as_ref());
            return Some(Check::Tcp { host, port: self.port(&at.key("port"), tcp.port) });
        }
        if let Some(notify) = raw.notify {
            return self.notify(&at.key("notify"), notify, purpose);
        }
        // One that was there but could not be read has been reported already.
        if !KINDS.iter().any(|kind| self.document.is_lost(&at.key(kind))) {
            self.fault(at, "a probe needs one of `exec`, `http_get`, `tcp` and `notify`");
        }
        None
    }

    fn http(&mut self, at: &Field, raw: &RawHttpGet) -> Check {
        if let Some(scheme) = raw.scheme.as_ref().filter(|scheme| !scheme.eq_ignore_ascii_case("http")) {
            let at = at.key("scheme");
            let message = format!("expected `http`, found `{}`", scheme.escape_debug());
            self.fault_with_help(&at, message, "for https, use `exec` with curl, or `tcp`");
        }
        let path = raw.path.clone().unwrap_or_else(|| "/".to_owned());
        if !path.starts_with('/') || path.len() > 2048 || !path.bytes().all(|byte| byte.is_ascii_graphic()) {
            let message = "expected a path that begins with `/` and has only visible ASCII characters";
            self.fault(&at.key("path"), message);
        }
        let host = self.host(&at.key("host"), raw.host.as_ref());
        Check::HttpGet { host, port: self.port(&at.key("port"), raw.port), path }
    }

    fn notify(&mut self, at: &Field, notify: bool, purpose: Purpose) -> Option<Check> {
        match purpose {
            _ if !notify => self.fault_with_help(at, "expected `true`", "leave the probe out instead"),
            Purpose::Readiness => return Some(Check::Notify),
            Purpose::Liveness => {
                let help = "for a program that sends WATCHDOG=1, set `watchdog: {interval: 2s}`";
                self.fault_with_help(
                    at,
                    "READY=1 is sent once, so it cannot show that a process lives",
                    help,
                );
            }
            Purpose::Startup => {
                let help = "use it as `readiness_probe`, with `start_timeout` as its limit";
                self.fault_with_help(at, "`notify` is for readiness only", help);
            }
        }
        None
    }

    pub(super) fn ready_log_line(&mut self, at: &Field, pattern: &str) -> Option<Probe> {
        if pattern.is_empty() || pattern.len() > REGEX_BYTES {
            self.fault(at, format!("expected a regular expression of 1 to {REGEX_BYTES} bytes"));
            return None;
        }
        match regex::RegexBuilder::new(pattern).size_limit(REGEX_COMPILED_BYTES).build() {
            Ok(_) => Some(Probe::of(Check::LogLine { pattern: pattern.to_owned() })),
            Err(error) => {
                // The last line says what is wrong; those before draw the pattern, which the report shows itself.
                let text = error.to_string();
                let why = text.lines().last().unwrap_or_default();
                let why = why.trim_start_matches("error: ");
                self.fault(at, format!("not a regular expression: {why}"));
                None
            }
        }
    }
}
