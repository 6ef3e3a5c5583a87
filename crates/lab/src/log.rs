//! What a log says last.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

/// How much of a log's end is looked at.
const TAIL: u64 = 64 * 1024;

/// The last line that reports an error, or the last warning, or simply the last line.
pub(crate) fn last_words(log: &Path) -> Option<String> {
    let tail = tail(log)?;
    let lines = || tail.lines().rev().map(str::trim).filter(|line| !line.is_empty());
    let level = |level: &str| lines().find(|line| line.to_ascii_uppercase().contains(level));
    level("ERROR").or_else(|| level("WARN")).or_else(|| lines().next()).map(str::to_owned)
}

fn tail(log: &Path) -> Option<String> {
    let mut file = File::open(log).ok()?;
    let length = file.metadata().ok()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(TAIL))).ok()?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes).ok()?;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_come_before_warnings_and_later_lines_before_earlier_ones() {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("log");
        assert_eq!(last_words(&log), None);
        for (text, expected) in [
            ("", None),
            ("INFO a\nINFO b\n\n", Some("INFO b")),
            ("WARN a\nINFO b\n", Some("WARN a")),
            ("ERROR a\nERROR b\nWARN c\nINFO d\n", Some("ERROR b")),
        ] {
            std::fs::write(&log, text).unwrap();
            assert_eq!(last_words(&log).as_deref(), expected, "{text:?}");
        }
    }
}
