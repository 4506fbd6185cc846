//! How Grace is reached over HTTP, and where it sends what it tells of itself: `api:` and `telemetry:`.

use std::net::{IpAddr, Ipv4Addr};

use super::{
    checks::Checks,
    model::{ApiSettings, TelemetrySettings},
    raw::{RawApi, RawTelemetry},
};
use crate::yaml::Path as Field;

impl Checks<'_> {
    /// `bus_port` is that of the broker: who lets the system choose that one runs several instances on a machine, and does not want
    /// them to quarrel over this port either.
    pub(super) fn api(&mut self, at: &Field, raw: &RawApi, bus_port: u16) -> ApiSettings {
        let default = ApiSettings::default();
        let host = raw.host.as_deref().map_or(default.host, |text| self.address(&at.key("host"), text));
        let allow_remote = raw.allow_remote.unwrap_or(default.allow_remote);
        if !host.is_loopback() && !allow_remote {
            self.fault_with_help(
                &at.key("host"),
                format!("other machines can reach `{host}`, and what they say here can set off work"),
                "use 127.0.0.1, with a proxy that does TLS before it; or set `allow_remote: true` beside it if this is meant",
            );
        }
        let default_port = if bus_port == 0 { 0 } else { default.port };
        let rate = at.key("events_per_second");
        ApiSettings {
            host,
            port: raw.port.unwrap_or(default_port),
            allow_remote,
            events_per_second: self.number(
                &rate,
                raw.events_per_second,
                1..=1_000_000,
                default.events_per_second,
            ),
        }
    }

    fn address(&mut self, at: &Field, text: &str) -> IpAddr {
        if text == "localhost" {
            return Ipv4Addr::LOCALHOST.into();
        }
        text.parse().unwrap_or_else(|_| {
            self.fault(at, format!("expected an IP address, found `{}`", text.escape_debug()));
            Ipv4Addr::LOCALHOST.into()
        })
    }

    pub(super) fn telemetry(&mut self, at: &Field, raw: &RawTelemetry) -> TelemetrySettings {
        let Some(text) = &raw.otlp else { return TelemetrySettings::default() };
        let rest = text.strip_prefix("http://").or_else(|| text.strip_prefix("https://"));
        let sound = rest.is_some_and(|rest| {
            let host = rest.split(['/', ':']).next().unwrap_or_default();
            let plain = |byte: u8| byte.is_ascii_graphic() && !matches!(byte, b'?' | b'#' | b'@');
            !host.is_empty() && rest.bytes().all(plain)
        });
        if !sound || text.len() > crate::limits::URL_BYTES {
            self.fault_with_help(
                &at.key("otlp"),
                format!("expected the address of an OTLP receiver, found `{}`", text.escape_debug()),
                "for example http://127.0.0.1:4318; `/v1/traces` is added to it",
            );
        }
        TelemetrySettings { otlp: Some(text.trim_end_matches('/').to_owned()) }
    }
}
