//! A part of a stored response (RFC 9110, 14; RFC 9111, 3.3 and 3.4).

use std::ops::Range;

/// What a `Range` makes of a body of a known length.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Part {
    /// The whole: RFC 9110, 14.2: "An origin server MUST ignore a Range header field that contains a range unit it does
    /// not understand"; "A server that supports range requests MAY ignore or reject a Range header field that contains
    /// an invalid ranges-specifier".
    Whole,
    /// These bytes.
    Of(Range<u64>),
    /// More than one piece, which takes a multipart body.
    Several,
    /// RFC 9110, 15.5.17: "none of the ranges-specifier's received range values are satisfiable".
    Nothing,
}

/// The part of a body of `len` bytes that the `Range` lines of a request ask for.
pub(crate) fn part_of(range: &[u8], len: u64) -> Part {
    let Some(set) = std::str::from_utf8(range).ok().and_then(|text| text.trim().split_once('=')) else {
        return Part::Whole;
    };
    let (unit, set) = set;
    if !unit.trim_end().eq_ignore_ascii_case("bytes") {
        return Part::Whole;
    }
    let mut parts = Vec::new();
    for spec in set.split(',').map(str::trim).filter(|spec| !spec.is_empty()) {
        match one(spec, len) {
            None => return Part::Whole,
            Some(part) => parts.push(part),
        }
    }
    match &parts[..] {
        [] => Part::Whole,
        [Some(part)] => Part::Of(part.clone()),
        parts if parts.iter().all(Option::is_none) => Part::Nothing,
        _ => Part::Several,
    }
}

/// One `first-last`, `first-` or `-length`: `None` if it is none of them, `Some(None)` if it lies outside of the body.
#[expect(clippy::option_option, reason = "ill-formed and unsatisfiable are two things")]
fn one(spec: &str, len: u64) -> Option<Option<Range<u64>>> {
    let (first, last) = spec.split_once('-')?;
    if first.is_empty() {
        // 14.1.2: "If the selected representation is shorter than the specified suffix-length, the entire representation
        // is used."
        let suffix = number(last)?;
        return Some((suffix > 0 && len > 0).then(|| len.saturating_sub(suffix)..len));
    }
    let first = number(first)?;
    // "if the last-pos value is absent, or if the value is greater than or equal to the current length of the
    // representation data, the byte range is interpreted as the remainder of the representation".
    let end = if last.is_empty() { len } else { number(last)?.saturating_add(1) };
    if !last.is_empty() && end <= first {
        return None;
    }
    Some((first < len).then(|| first..end.min(len)))
}

fn number(digits: &str) -> Option<u64> {
    // What exceeds a u64 exceeds every body.
    (!digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit())).then(|| digits.parse().unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_names_a_part_of_the_body() {
        for (range, want) in [
            ("bytes=0-0", Part::Of(0..1)),
            ("bytes=0-4", Part::Of(0..5)),
            ("bytes=2-", Part::Of(2..10)),
            ("bytes=2-99", Part::Of(2..10)),
            ("bytes=-3", Part::Of(7..10)),
            ("bytes=-99", Part::Of(0..10)),
            ("BYTES=9-9", Part::Of(9..10)),
            ("bytes= 0-1 ,", Part::Of(0..2)),
            ("bytes=0-99999999999999999999999", Part::Of(0..10)),
            ("bytes=10-", Part::Nothing),
            ("bytes=99999999999999999999999-", Part::Nothing),
            ("bytes=-0", Part::Nothing),
            ("bytes=10-11, 12-", Part::Nothing),
            ("bytes=0-1, 3-4", Part::Several),
            ("bytes=0-1, 30-", Part::Several),
            ("bytes=4-2", Part::Whole),
            ("bytes=x-", Part::Whole),
            ("bytes=1", Part::Whole),
            ("bytes=-", Part::Whole),
            ("bytes=", Part::Whole),
            ("bytes", Part::Whole),
            ("lines=0-1", Part::Whole),
            ("bytes=0-1, x", Part::Whole),
            ("", Part::Whole),
        ] {
            assert_eq!(part_of(range.as_bytes(), 10), want, "{range}");
        }
        assert_eq!(part_of(b"\xff", 10), Part::Whole);
        assert_eq!(part_of(b"bytes=0-", 0), Part::Nothing);
        assert_eq!(part_of(b"bytes=-1", 0), Part::Nothing);
    }
}
