//! Spans and times as people write them.

use crate::iso;
use larder::Expire;
use serde::{Deserialize, Deserializer, de};
use std::time::{Duration, SystemTime};

/// When something expires.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct When(pub(crate) Expire);

/// A span such as `90s` or `1h 30m`; a bare number is seconds.
pub(crate) fn span(text: &str) -> Result<Duration, String> {
    let wrong = || format!("`{text}` is no span; write 30s, 15m, 12h, 7d, 2w, or several of them");
    if let Ok(seconds) = text.trim().parse::<f64>() {
        return Duration::try_from_secs_f64(seconds).map_err(|_| wrong());
    }
    let mut total = Duration::ZERO;
    let mut rest = text.trim();
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit()).filter(|end| *end > 0).ok_or_else(wrong)?;
        let count: u64 = rest[..end].parse().map_err(|_| wrong())?;
        let after = rest[end..].trim_start();
        let unit_end = after.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(after.len());
        let seconds = match &after[..unit_end] {
            "ms" => {
                total = total.checked_add(Duration::from_millis(count)).ok_or_else(wrong)?;
                0
            }
            "s" | "sec" | "second" | "seconds" => 1,
            "m" | "min" | "minute" | "minutes" => 60,
            "h" | "hour" | "hours" => 3_600,
            "d" | "day" | "days" => 86_400,
            "w" | "week" | "weeks" => 604_800,
            "y" | "year" | "years" => 31_557_600,
            _ => return Err(wrong()),
        };
        let part = count.checked_mul(seconds).map(Duration::from_secs).ok_or_else(wrong)?;
        total = total.checked_add(part).ok_or_else(wrong)?;
        rest = after[unit_end..].trim_start();
    }
    if text.trim().is_empty() { Err(wrong()) } else { Ok(total) }
}

/// A span from now, `never`, `immediately`, `do-not-cache`, or a date.
pub(crate) fn when(text: &str) -> Result<When, String> {
    let expire = match text.trim().to_ascii_lowercase().as_str() {
        "never" | "-1" => Expire::Never,
        "immediately" | "0" => Expire::Immediately,
        "do-not-cache" | "do_not_cache" => Expire::DoNotCache,
        _ => match (iso::parse(text.trim()), httpdate::parse_http_date(text)) {
            (Some(time), _) | (None, Ok(time)) => Expire::At(time),
            _ => Expire::After(span(text).map_err(|error| format!("{error}; or never, immediately, or a date"))?),
        },
    };
    Ok(When(expire))
}

impl<'de> Deserialize<'de> for When {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        when(&Written::deserialize(deserializer)?.text()).map_err(de::Error::custom)
    }
}

/// A span in a settings file.
pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
    span(&Written::deserialize(deserializer)?.text()).map(Some).map_err(de::Error::custom)
}

/// Seconds, or a text.
#[derive(Deserialize)]
#[serde(untagged)]
enum Written {
    Seconds(i64),
    Text(String),
}

impl Written {
    fn text(self) -> String {
        match self {
            Self::Seconds(seconds) => seconds.to_string(),
            Self::Text(text) => text,
        }
    }
}

/// A time as it is shown: UTC, whole seconds.
pub(crate) fn shown(time: SystemTime) -> String {
    let seconds = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
    let whole = SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
    iso::format(whole).map_or_else(|| "?".to_owned(), |text| text.replace("+00:00", "Z"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_read_in_all_units() {
        for (text, seconds) in [
            ("90", 90),
            ("30s", 30),
            ("15m", 900),
            ("1h", 3600),
            ("1h 30m", 5400),
            ("1h30m", 5400),
            ("7 days", 604_800),
            ("2w", 1_209_600),
        ] {
            assert_eq!(span(text), Ok(Duration::from_secs(seconds)), "{text}");
        }
        assert_eq!(span("250ms"), Ok(Duration::from_millis(250)));
        for text in ["", " ", "h", "1x", "1h-", "-1", "1.5h", "99999999999999999999s", "é"] {
            assert!(span(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_time_of_expiry_is_read_in_all_forms() {
        for (text, want) in [
            ("never", Expire::Never),
            ("-1", Expire::Never),
            ("Immediately", Expire::Immediately),
            ("0", Expire::Immediately),
            ("do-not-cache", Expire::DoNotCache),
            ("1h", Expire::After(Duration::from_secs(3600))),
            ("1970-01-02", Expire::At(SystemTime::UNIX_EPOCH + Duration::from_secs(86_400))),
            ("Fri, 02 Jan 1970 00:00:00 GMT", Expire::At(SystemTime::UNIX_EPOCH + Duration::from_secs(86_400))),
        ] {
            assert_eq!(when(text), Ok(When(want)), "{text}");
        }
        assert!(when("tomorrow").unwrap_err().contains("never"));
    }
}
