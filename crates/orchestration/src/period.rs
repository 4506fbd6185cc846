//! A span of time as people write it (`10s`, `1m30s`), in whole milliseconds.

use std::fmt;

use grace_types::manifest::units;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

/// A span of time. At most a year, see [`units::LONGEST`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Period(u64);

impl Period {
    /// From milliseconds.
    #[must_use]
    pub const fn from_millis(millis: u64) -> Self {
        Self(millis)
    }

    /// From seconds.
    #[must_use]
    pub const fn from_secs(seconds: u64) -> Self {
        Self(seconds.saturating_mul(1000))
    }

    /// In milliseconds.
    #[must_use]
    pub const fn millis(self) -> u64 {
        self.0
    }
}

impl fmt::Display for Period {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let units = [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1)];
        if self.0 == 0 {
            return f.write_str("0s");
        }
        let mut rest = self.0;
        for (unit, size) in units {
            if rest >= size {
                write!(f, "{}{unit}", rest / size)?;
                rest %= size;
            }
        }
        Ok(())
    }
}

impl Serialize for Period {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Period {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(d)?;
        let span = units::duration(&text).map_err(|bad| match bad.help {
            Some(help) => D::Error::custom(format!("{} ({help})", bad.message)),
            None => D::Error::custom(bad.message),
        })?;
        Ok(Self(u64::try_from(span.as_millis()).unwrap_or(u64::MAX)))
    }
}

impl schemars::JsonSchema for Period {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Period".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "type": "string",
            "description": "A span of time, such as `10s`, `500ms` or `1m30s`.",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_round_trip() {
        for (text, millis) in
            [("0s", 0), ("1m30s", 90_000), ("500ms", 500), ("1d1h", 90_000_000), ("1s250ms", 1250)]
        {
            let period: Period = serde_json::from_value(text.into()).unwrap();
            assert_eq!((period.millis(), period.to_string().as_str()), (millis, text));
        }
        let why = serde_json::from_value::<Period>("10".into()).unwrap_err().to_string();
        assert!(why.contains("write `10s`"), "{why}");
    }
}
