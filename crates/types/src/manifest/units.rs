//! Durations and sizes as people write them. Pure text → number, with the reason when it is neither.

use std::time::Duration;

/// Longest duration that is accepted: a year. It keeps every sum of times far from overflow.
pub const LONGEST: Duration = Duration::from_secs(366 * 86_400);

const DURATION_UNITS: [(&str, u64); 6] = [
    ("us", 1_000),
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("m", 60_000_000_000),
    ("h", 3_600_000_000_000),
    ("d", 86_400_000_000_000),
];

const SIZE_UNITS: [(&str, u64); 10] = [
    ("B", 1),
    ("kB", 1_000),
    ("KB", 1_000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("TB", 1_000_000_000_000),
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("TiB", 1 << 40),
];

/// Why a text is not the quantity it should be, and what to write instead.
#[derive(Debug, PartialEq, Eq)]
pub struct NotAQuantity {
    /// What was expected, and what was found.
    pub message: String,
    /// What to write instead.
    pub help: Option<String>,
}

impl NotAQuantity {
    fn new(what: &str, text: &str, help: Option<String>) -> Self {
        let shown: String = text.chars().take(40).flat_map(char::escape_debug).collect();
        Self { message: format!("expected {what}, found `{shown}`"), help }
    }
}

/// `2s`, `500ms`, `1.5h`, `1m30s`: one or more numbers with units, the larger units first.
///
/// # Errors
/// The text is none, or is longer than a year.
pub fn duration(text: &str) -> Result<Duration, NotAQuantity> {
    const WHAT: &str = "a duration such as `2s`, `500ms` or `1m30s`";
    let refuse = |help: Option<&str>| NotAQuantity::new(WHAT, text, help.map(str::to_owned));
    if text.parse::<f64>().is_ok() {
        let help =
            format!("a bare number has no unit; write `{}s` for seconds", text.trim_start_matches('+'));
        return Err(NotAQuantity::new(
            WHAT,
            text,
            text.starts_with(|c: char| c.is_ascii_digit()).then_some(help),
        ));
    }
    let (mut rest, mut nanos, mut previous) = (text, 0u64, u64::MAX);
    while !rest.is_empty() {
        let (number, unit, after) = split(rest).ok_or_else(|| refuse(None))?;
        let Some((_, scale)) = DURATION_UNITS.iter().find(|(name, _)| *name == unit) else {
            return Err(refuse(Some("units are us, ms, s, m, h and d")));
        };
        if *scale >= previous {
            return Err(refuse(Some("write larger units first, each once")));
        }
        let part = scaled(number, *scale).ok_or_else(|| refuse(Some("at most a year")))?;
        nanos = nanos.checked_add(part).ok_or_else(|| refuse(Some("at most a year")))?;
        (rest, previous) = (after, *scale);
    }
    if text.is_empty() {
        return Err(refuse(None));
    }
    let duration = Duration::from_nanos(nanos);
    if duration > LONGEST { Err(refuse(Some("at most a year"))) } else { Ok(duration) }
}

/// `64KiB`, `10MB`, `1.5GiB`, in bytes.
///
/// # Errors
/// The text is none.
pub fn size(text: &str) -> Result<u64, NotAQuantity> {
    const WHAT: &str = "a size such as `64KiB` or `10MB`";
    if text.parse::<u64>().is_ok() {
        let help = format!("a bare number has no unit; write `{text}B` for bytes");
        return Err(NotAQuantity::new(WHAT, text, Some(help)));
    }
    let refuse = |help: Option<&str>| NotAQuantity::new(WHAT, text, help.map(str::to_owned));
    let (number, unit, after) = split(text).ok_or_else(|| refuse(None))?;
    let known = SIZE_UNITS.iter().find(|(name, _)| *name == unit);
    let (Some((_, scale)), true) = (known, after.is_empty()) else {
        return Err(refuse(Some("units are B, kB, MB, GB, TB (thousands) and KiB, MiB, GiB, TiB (1024)")));
    };
    scaled(number, *scale).ok_or_else(|| refuse(Some("that is more than any machine has")))
}

/// A leading number, the letters after it, and the rest.
fn split(text: &str) -> Option<(&str, &str, &str)> {
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.')?;
    let (number, rest) = text.split_at(digits);
    let letters = rest.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(rest.len());
    let (unit, after) = rest.split_at(letters);
    (!number.is_empty() && !unit.is_empty()).then_some((number, unit, after))
}

/// `number` times `scale`, without rounding through floating point. `None` when it does not fit or is no number.
fn scaled(number: &str, scale: u64) -> Option<u64> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
    if fraction.is_empty() || fraction.len() > 9 || !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let whole = u128::from(whole.parse::<u64>().ok()?) * u128::from(scale);
    let tenths = 10u128.pow(u32::try_from(fraction.len()).ok()?);
    let fraction = fraction.parse::<u128>().ok()? * u128::from(scale) / tenths;
    u64::try_from(whole + fraction).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_add_up() {
        for (text, millis) in [
            ("2s", 2_000),
            ("500ms", 500),
            ("1m30s", 90_000),
            ("1.5h", 5_400_000),
            ("0s", 0),
            ("1d2h", 93_600_000),
        ] {
            assert_eq!(duration(text), Ok(Duration::from_millis(millis)), "{text}");
        }
        assert_eq!(duration("7us"), Ok(Duration::from_micros(7)));
    }

    #[test]
    fn what_is_no_duration_is_refused() {
        for text in [
            "",
            "s",
            "10",
            "1.5",
            "-1s",
            "1s1m",
            "1s1s",
            "1 s",
            "1S",
            "1e3s",
            "1.s",
            "1..2s",
            "400d",
            "inf",
            "99999999999999999999s",
            "1s ",
            "NaN",
            "１s",
        ] {
            assert!(duration(text).is_err(), "{text}");
        }
        assert_eq!(
            duration("10").unwrap_err().help.as_deref(),
            Some("a bare number has no unit; write `10s` for seconds")
        );
    }

    #[test]
    fn sizes_know_thousands_from_1024() {
        for (text, bytes) in [("64KiB", 65_536), ("10MB", 10_000_000), ("1.5GiB", 1_610_612_736), ("7B", 7)] {
            assert_eq!(size(text), Ok(bytes), "{text}");
        }
        for text in ["", "5", "5m", "5MiBs", "-5MB", "99999999999TiB", "5 MB", "5MB5kB"] {
            assert!(size(text).is_err(), "{text}");
        }
    }
}
