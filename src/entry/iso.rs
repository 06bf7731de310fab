//! Times as Python's `datetime.isoformat` writes them (ISO 8601).

use std::time::{Duration, SystemTime, UNIX_EPOCH};

const DAY: i64 = 86_400;

/// In UTC, with microseconds if there are any; `None` outside the years 1 to 9999, which Python cannot express.
pub(super) fn format(time: SystemTime) -> Option<String> {
    let us = match time.duration_since(UNIX_EPOCH) {
        Ok(since) => i64::try_from(since.as_micros()).ok()?,
        Err(before) => i64::try_from(before.duration().as_nanos().div_ceil(1_000)).ok()?.checked_neg()?,
    };
    let (seconds, us) = (us.div_euclid(1_000_000), us.rem_euclid(1_000_000));
    let (days, second) = (seconds.div_euclid(DAY), seconds.rem_euclid(DAY));
    let (year, month, day) = date(days)?;
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    let fraction = if us == 0 { String::new() } else { format!(".{us:06}") };
    Some(format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}{fraction}+00:00"))
}

/// The time of a text: without a zone it is UTC, without a time midnight. `None` if it is no time.
pub(super) fn parse(text: &str) -> Option<SystemTime> {
    let (day, rest) = text.split_at_checked(10)?;
    let mut parts = day.split('-');
    let (year, month, day) = (number(parts.next()?, 4)?, number(parts.next()?, 2)?, number(parts.next()?, 2)?);
    let days = days(year, month, day)?;
    let mut us: i128 = i128::from(days) * i128::from(DAY) * 1_000_000;
    if let Some(rest) = rest.strip_prefix(['T', 't', ' ']) {
        let zone_at = rest.find(['Z', 'z', '+', '-']).unwrap_or(rest.len());
        let (clock, zone) = rest.split_at(zone_at);
        us += i128::from(clock_us(clock)?) - i128::from(zone_us(zone)?);
    } else if !rest.is_empty() {
        return None;
    }
    let span = Duration::from_micros(u64::try_from(us.unsigned_abs()).ok()?);
    if us < 0 { UNIX_EPOCH.checked_sub(span) } else { UNIX_EPOCH.checked_add(span) }
}

/// Microseconds of `HH:MM[:SS[.ffffff]]`.
fn clock_us(text: &str) -> Option<i64> {
    let (clock, fraction) = text.split_once(['.', ',']).map_or((text, ""), |(clock, fraction)| (clock, fraction));
    let mut parts = clock.split(':');
    let (hour, minute) = (number(parts.next()?, 2)?, number(parts.next()?, 2)?);
    let second = parts.next().map_or(Some(0), |second| number(second, 2))?;
    if hour > 23 || minute > 59 || second > 60 || parts.next().is_some() {
        return None;
    }
    let digits = &fraction[..fraction.len().min(6)];
    let us = if fraction.is_empty() {
        0
    } else {
        number(digits, digits.len())? * 10_i64.pow(6 - u32::try_from(digits.len()).ok()?)
    };
    Some((hour * 3600 + minute * 60 + second) * 1_000_000 + us)
}

fn zone_us(text: &str) -> Option<i64> {
    let (sign, rest) = match text {
        "" | "Z" | "z" => return Some(0),
        text if text.starts_with('-') => (-1, &text[1..]),
        text => (1, text.strip_prefix('+')?),
    };
    let clock = match rest.len() {
        2 => format!("{rest}:00"),
        4 if rest.is_ascii() => format!("{}:{}", &rest[..2], &rest[2..]),
        _ => rest.to_owned(),
    };
    Some(sign * clock_us(&clock)?)
}

fn number(text: &str, len: usize) -> Option<i64> {
    (text.len() == len && text.bytes().all(|byte| byte.is_ascii_digit())).then(|| text.parse().ok()).flatten()
}

/// Days from 1970-01-01, in the Gregorian calendar of all times (Howard Hinnant, `days_from_civil`).
fn days(year: i64, month: i64, day: i64) -> Option<i64> {
    if !(1..=9999).contains(&year) || !(1..=12).contains(&month) || !(1..=days_of(year, month)).contains(&day) {
        return None;
    }
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let year = year.rem_euclid(400);
    Some(era * 146_097 + year * 365 + year / 4 - year / 100 + day_of_year - 719_468)
}

fn days_of(year: i64, month: i64) -> i64 {
    match month {
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// The reverse: `civil_from_days`.
fn date(days: i64) -> Option<(i64, i64, i64)> {
    let days = days + 719_468;
    let (era, day_of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year + year / 4 - year / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = year + era * 400 + i64::from(month <= 2);
    (1..=9999).contains(&year).then_some((year, month, day))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_of_python_come_back() {
        for (text, ms) in [
            ("1970-01-01T00:00:00+00:00", 0),
            ("2026-11-22T18:57:51.324000+00:00", 1_795_373_871_324),
            ("2000-02-29T23:59:59+00:00", 951_868_799_000),
            ("9999-12-31T23:59:59+00:00", 253_402_300_799_000),
        ] {
            let time = UNIX_EPOCH + Duration::from_millis(ms);
            assert_eq!(format(time).as_deref(), Some(text));
            assert_eq!(parse(text), Some(time));
        }
        assert_eq!(parse("1969-12-31T23:59:59+00:00"), UNIX_EPOCH.checked_sub(Duration::from_secs(1)));
    }

    #[test]
    fn every_day_of_eight_centuries_comes_back() {
        for day in 0..292_194 {
            let time = UNIX_EPOCH + Duration::from_secs(day * 86_400);
            assert_eq!(parse(&format(time).unwrap()), Some(time));
        }
    }

    #[test]
    fn spellings_of_one_time_are_one() {
        let want = parse("2026-11-22T18:57:00+00:00");
        assert!(want.is_some());
        for text in [
            "2026-11-22 18:57",
            "2026-11-22T18:57:00Z",
            "2026-11-22T19:57+01:00",
            "2026-11-22T13:27:00.000-0530",
            "2026-11-22T18:57:00",
        ] {
            assert_eq!(parse(text), want, "{text}");
        }
        assert_eq!(parse("2026-11-22"), parse("2026-11-22T00:00:00Z"));
    }

    #[test]
    fn what_is_no_time_is_none() {
        for text in [
            "",
            "x",
            "2026-13-01",
            "2026-02-30",
            "2026-11-22T",
            "2026-11-22T25:00",
            "2026-11-22X",
            "2026-11-22T1:2",
            "20261122T185700",
            "2026-11-22T10:00+x",
            "2026-11-2\u{e9}",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    #[test]
    fn what_python_cannot_express_is_not_written() {
        assert_eq!(format(UNIX_EPOCH + Duration::from_secs(253_402_300_800)), None);
    }
}
