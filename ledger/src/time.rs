// SPDX-License-Identifier: EUPL-1.2
//! Timestamps and dates as the bodies have them. Nothing here knows what time it is.
//!
//! All times are milliseconds since 1970-01-01T00:00:00Z. Earlier ones are real (a household's composition may hold since 1965) and are
//! read as that moment: the bytes stay as they were signed, and nothing that Visto judges by time lies before it.

use alloc::string::String;

use crate::refusal::Refusal;

/// One day in milliseconds.
pub const DAY_MS: u64 = 86_400_000;

/// How far ahead of its acceptance an entry may be dated, in milliseconds: five minutes.
pub const AHEAD_MS_MAX: u64 = 300_000;

/// 9999-12-31T23:59:59.999Z, the last moment that has a text.
pub const MS_MAX: u64 = 253_402_300_799_999;

/// Parses `YYYY-MM-DDTHH:MM:SS[.sss]Z`, a real moment, no leap second. Returns milliseconds since the epoch, 0 for what was before.
pub fn parse_timestamp(text: &str) -> Option<u64> {
    let (date, clock) = text.split_at_checked(10)?;
    let clock = clock.strip_prefix('T')?.strip_suffix('Z')?.as_bytes();
    let (whole, fraction) = clock.split_at_checked(8)?;
    let &[h1, h2, b':', m1, m2, b':', s1, s2] = whole else {
        return None;
    };
    let (hour, minute, second) = (digits(&[h1, h2])?, digits(&[m1, m2])?, digits(&[s1, s2])?);
    let ms = match fraction {
        [] => 0,
        [b'.', rest @ ..] if rest.len() == 3 => digits(rest)?,
        _ => return None,
    };
    if hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let in_day = ((hour * 60 + minute) * 60 + second) * 1000 + ms;
    Some((days_since_year_1(date)? * DAY_MS + in_day).saturating_sub(EPOCH_DAYS * DAY_MS))
}

/// Writes `YYYY-MM-DDTHH:MM:SS.mmmZ`; times past the year 9999 are written as its last moment.
pub fn format_timestamp(ms: u64) -> String {
    timestamp_text(ms).map(char::from).iter().collect()
}

/// As [`format_timestamp`], as ASCII.
pub(crate) fn timestamp_text(ms: u64) -> [u8; 24] {
    let ms = ms.min(MS_MAX);
    let [y1, y2, y3, y4, _, m1, m2, _, d1, d2] = date_text(ms);
    let [h1, h2] = two_digits(ms / 3_600_000 % 24);
    let [i1, i2] = two_digits(ms / 60_000 % 60);
    let [s1, s2] = two_digits(ms / 1000 % 60);
    let [f1, f2] = two_digits(ms % 1000 / 10);
    let [_, f3] = two_digits(ms % 10);
    [
        y1, y2, y3, y4, b'-', m1, m2, b'-', d1, d2, b'T', h1, h2, b':', i1, i2, b':', s1, s2, b'.',
        f1, f2, f3, b'Z',
    ]
}

/// Parses a real date `YYYY-MM-DD`. Returns its first millisecond, 0 for what was before the epoch.
pub fn parse_date(text: &str) -> Option<u64> {
    Some(days_since_year_1(text)?.saturating_sub(EPOCH_DAYS) * DAY_MS)
}

/// Days from 0001-01-01 to 1970-01-01.
const EPOCH_DAYS: u64 = 719_162;

fn days_since_year_1(text: &str) -> Option<u64> {
    let &[y1, y2, y3, y4, b'-', m1, m2, b'-', d1, d2] = text.as_bytes() else {
        return None;
    };
    let (year, month, day) = (
        digits(&[y1, y2, y3, y4])?,
        digits(&[m1, m2])?,
        digits(&[d1, d2])?,
    );
    if year < 1 || !(1..=12).contains(&month) || day < 1 || day > days_in(year, month) {
        return None;
    }
    // Days before the year, then before the month.
    let before = year - 1;
    let mut days = before * 365 + before / 4 - before / 100 + before / 400;
    days += (1..month)
        .map(|earlier| days_in(year, earlier))
        .sum::<u64>();
    Some(days + day - 1)
}

/// Writes the date of a moment, `YYYY-MM-DD` (UTC); moments past the year 9999 have its last day.
pub fn format_date(ms: u64) -> String {
    date_text(ms.min(MS_MAX)).map(char::from).iter().collect()
}

/// Of a moment up to [`MS_MAX`].
fn date_text(ms: u64) -> [u8; 10] {
    // Counted in years that begin in March, so that a leap day is a year's last: a cycle of 400 years has 146 097 days, and five months from
    // March or August on have 153. The first cycle began 719 468 days before the epoch, with March of the year 0.
    let days = day_of(ms) + 719_468;
    let (cycle, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let (month, next) = if month < 10 {
        (month + 3, 0)
    } else {
        (month - 9, 1)
    };
    let year = cycle * 400 + year + next;
    let ([y1, y2], [y3, y4]) = (two_digits(year / 100), two_digits(year % 100));
    let ([m1, m2], [d1, d2]) = (two_digits(month), two_digits(day));
    [y1, y2, y3, y4, b'-', m1, m2, b'-', d1, d2]
}

/// Of a number below 100.
fn two_digits(number: u64) -> [u8; 2] {
    [b'0' + (number / 10 % 10) as u8, b'0' + (number % 10) as u8]
}

/// The day of a moment, counted from the epoch: the partition of the id window.
pub fn day_of(ms: u64) -> u64 {
    ms / DAY_MS
}

/// Refuses [`Refusal::Ahead`] what is dated more than [`AHEAD_MS_MAX`] after its acceptance.
///
/// # Errors
/// The sender should set its clock, and send the entry again when its time has come.
pub fn refuse_ahead(occurred_at_ms: u64, accepted_at_ms: u64) -> Result<(), Refusal> {
    if occurred_at_ms > accepted_at_ms.saturating_add(AHEAD_MS_MAX) {
        Err(Refusal::Ahead)
    } else {
        Ok(())
    }
}

fn digits(text: &[u8]) -> Option<u64> {
    text.iter().try_fold(0, |number, digit| {
        digit
            .is_ascii_digit()
            .then(|| number * 10 + u64::from(digit - b'0'))
    })
}

fn is_leap(year: u64) -> bool {
    year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400))
}

fn days_in(year: u64, month: u64) -> u64 {
    match month {
        4 | 6 | 9 | 11 => 30,
        2 if is_leap(year) => 29,
        2 => 28,
        _ => 31,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_moments() {
        for (text, ms) in [
            ("1970-01-01T00:00:00.000Z", 0),
            ("2000-02-29T12:00:00.500Z", 951_825_600_500),
            ("2026-11-24T22:12:16.000Z", 1_795_558_336_000),
            ("9999-12-31T23:59:59.999Z", MS_MAX),
        ] {
            assert_eq!(parse_timestamp(text), Some(ms), "{text}");
            assert_eq!(format_timestamp(ms), text);
        }
        assert_eq!(
            parse_timestamp("2026-11-24T22:12:16Z"),
            Some(1_795_558_336_000)
        );
        assert_eq!(
            parse_date("2026-11-24").map(day_of),
            Some(1_795_558_336_000 / DAY_MS)
        );
    }

    #[test]
    fn what_has_no_text_is_written_as_the_last_moment() {
        for ms in [MS_MAX + 1, u64::MAX] {
            assert_eq!(format_timestamp(ms), "9999-12-31T23:59:59.999Z");
            assert_eq!(format_date(ms), "9999-12-31");
        }
    }

    #[test]
    fn every_day_of_two_cycles_comes_back() {
        for day in 0..2 * 146_097 {
            let text = format_date(day * DAY_MS);
            assert_eq!(parse_date(&text), Some(day * DAY_MS), "{text}");
        }
    }

    #[test]
    fn what_was_before_the_epoch_is_real() {
        for text in ["0001-01-01", "1900-02-28", "1965-06-30", "1969-12-31"] {
            assert_eq!(parse_date(text), Some(0), "{text}");
        }
        assert_eq!(parse_timestamp("1969-12-31T23:59:59.999Z"), Some(0));
        assert_eq!(parse_timestamp("1970-01-01T00:00:00.001Z"), Some(1));
        assert_eq!(parse_timestamp("1965-02-29T00:00:00Z"), None);
    }

    #[test]
    fn unreal_or_other_texts_are_none() {
        for text in [
            "2026-02-30T10:00:00Z",
            "2026-02-29T10:00:00Z",
            "1900-02-29T10:00:00Z",
            "2026-13-01T10:00:00Z",
            "2026-00-01T10:00:00Z",
            "2026-01-00T10:00:00Z",
            "2026-01-01T24:00:00Z",
            "2026-01-01T10:60:00Z",
            "2026-01-01T10:00:60Z",
            "2026-01-01T10:00:00",
            "2026-01-01T10:00:00z",
            "2026-01-01 10:00:00Z",
            "2026-01-01T10:00:00.1Z",
            "2026-01-01T10:00:00.1234Z",
            "2026-01-01T10:00:00+00:00",
            "0000-01-01T00:00:00Z",
            "+026-01-01T10:00:00Z",
            "2026-01-01T10:00:00.è Z",
            "",
            "è026-01-01T10:00:0Z",
        ] {
            assert_eq!(parse_timestamp(text), None, "{text}");
        }
    }
}
