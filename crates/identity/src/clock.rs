//! Points in time as certificates, records and people write them.

use std::time::{Duration, SystemTime, UNIX_EPOCH};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// `2026-03-01T12:00:00Z`, to the millisecond where there are any.
pub fn text(at: SystemTime) -> String {
    // Not SystemTime's own conversion, which panics far from today.
    let millis = i128::try_from(unix(at).as_millis()).unwrap_or(i128::MAX);
    let at = OffsetDateTime::from_unix_timestamp_nanos(millis.saturating_mul(1_000_000));
    let text = at.ok().and_then(|at| at.format(&Rfc3339).ok());
    text.unwrap_or_else(|| format!("second {}", millis / 1000))
}

/// Since 1970; what lies before is 1970.
pub(crate) fn unix(at: SystemTime) -> Duration {
    at.duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// From a certificate's seconds; what lies before 1970 is 1970.
pub(crate) fn from_unix(seconds: i64) -> SystemTime {
    let seconds = u64::try_from(seconds).unwrap_or(0);
    UNIX_EPOCH.checked_add(Duration::from_secs(seconds)).unwrap_or(UNIX_EPOCH)
}

/// To the second, as certificates have it.
pub(crate) fn offset(at: SystemTime) -> Option<OffsetDateTime> {
    let seconds = i64::try_from(unix(at).as_secs()).ok()?;
    OffsetDateTime::from_unix_timestamp(seconds).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_as_people_read_them() {
        assert_eq!(text(UNIX_EPOCH), "1970-01-01T00:00:00Z");
        let at = from_unix(1_772_366_400) + Duration::from_millis(250);
        assert_eq!(text(at), "2026-03-01T12:00:00.25Z");
        assert_eq!(text(from_unix(i64::MAX)), format!("second {}", i64::MAX));
    }
}
