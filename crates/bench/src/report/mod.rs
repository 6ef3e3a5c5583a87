//! The results: one schema, as a table, a page with charts and Markdown for people, and as JSON for
//! programs.

mod charts;
mod draw;
mod environment;
mod page;

pub(crate) use page::write;

use anyhow::{Context, Result};
use comfy_table::{Cell, CellAlignment, Color, Table, presets};
use serde::{Serialize, Serializer};
use std::io::{IsTerminal, Write};
use std::path::Path;

/// One figure.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Measurement {
    /// Its name, which never changes.
    pub(crate) id: &'static str,
    /// The median of all rounds.
    #[serde(serialize_with = "rounded")]
    pub(crate) value: f64,
    /// `ns`, `MB`, …; `×` for a ratio to the baseline.
    pub(crate) unit: &'static str,
    /// What it should be at most or at least; none if it is only reported.
    pub(crate) bar: Option<Bar>,
    /// What the value is compared with, or had subtracted.
    pub(crate) baseline: Option<Baseline>,
    /// Half of the rounds lie within so much, in the unit of the value.
    #[serde(serialize_with = "rounded")]
    pub(crate) spread: f64,
}

/// What a figure is seen against.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Baseline {
    /// What it is.
    pub(crate) name: &'static str,
    /// What was measured of it in the same rounds.
    #[serde(serialize_with = "rounded")]
    pub(crate) value: f64,
    /// The unit of that.
    pub(crate) unit: &'static str,
}

/// The bar of a figure: in JSON `{"at_most": 80.0}` or `{"at_least": 0.95}`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Bar {
    /// Less is better.
    AtMost(f64),
    /// More is better.
    AtLeast(f64),
}

impl Bar {
    fn is_met(self, value: f64) -> bool {
        match self {
            Self::AtMost(most) => value <= most,
            Self::AtLeast(least) => value >= least,
        }
    }

    fn limit(self) -> f64 {
        match self {
            Self::AtMost(limit) | Self::AtLeast(limit) => limit,
        }
    }

    fn text(self) -> String {
        match self {
            Self::AtMost(most) => format!("≤ {most}"),
            Self::AtLeast(least) => format!("≥ {least}"),
        }
    }
}

/// Prints the table.
pub(crate) fn print(results: &[Measurement]) -> Result<()> {
    let mut output = std::io::stdout();
    let coloured = output.is_terminal();
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header(["FIGURE", "VALUE", "UNIT", "SPREAD", "BAR", "", "AGAINST"]);
    for result in results {
        let (mark, colour) = match result.bar.map(|bar| bar.is_met(result.value)) {
            Some(true) => ("met", Color::Green),
            Some(false) => ("MISSED", Color::Red),
            None => ("", Color::Reset),
        };
        let mark = if coloured { Cell::new(mark).fg(colour) } else { Cell::new(mark) };
        let number = |value: f64| Cell::new(text(value)).set_alignment(CellAlignment::Right);
        table.add_row([
            Cell::new(result.id),
            number(result.value),
            Cell::new(result.unit),
            number(result.spread),
            Cell::new(result.bar.map_or(String::new(), Bar::text)),
            mark,
            Cell::new(result.baseline.as_ref().map_or(String::new(), |baseline| {
                format!("{} {} {}", baseline.name, text(baseline.value), baseline.unit)
            })),
        ]);
    }
    writeln!(output, "{table}")?;
    Ok(())
}

/// Writes a file, so that it is what it was or what it shall be, whenever this ends. What is no
/// plain file, as /dev/stdout, is written to.
///
/// # Errors
/// The file cannot be written.
pub(crate) fn replace(path: &Path, text: &str) -> Result<()> {
    let is_other = std::fs::symlink_metadata(path).is_ok_and(|found| !found.is_file());
    let mut new = path.as_os_str().to_owned();
    new.push(".new");
    let write = || match is_other {
        true => std::fs::write(path, text),
        false => std::fs::write(&new, text).and_then(|()| std::fs::rename(&new, path)),
    };
    write().with_context(|| format!("write {}", path.display()))
}

/// Three significant digits, or all before the point.
pub(crate) fn text(value: f64) -> String {
    let decimals = match value.abs() {
        magnitude if magnitude >= 100.0 => 0,
        magnitude if magnitude >= 10.0 => 1,
        _ => 2,
    };
    format!("{value:.decimals$}")
}

fn rounded<S: Serializer>(value: &f64, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64((value * 1000.0).round() / 1000.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_result_as_json() {
        let result = Measurement {
            id: "packet.bounce.one_ns",
            value: 55.123_49,
            unit: "ns",
            bar: Some(Bar::AtMost(80.0)),
            baseline: Some(Baseline { name: "an empty program", value: 28.0, unit: "ns" }),
            spread: 1.0,
        };
        assert_eq!(
            serde_json::to_string(&result).unwrap(),
            concat!(
                r#"{"id":"packet.bounce.one_ns","value":55.123,"unit":"ns","#,
                r#""bar":{"at_most":80.0},"#,
                r#""baseline":{"name":"an empty program","value":28.0,"unit":"ns"},"spread":1.0}"#
            )
        );
    }

    #[test]
    fn bars_are_met_from_either_side() {
        assert!(Bar::AtMost(80.0).is_met(80.0) && !Bar::AtMost(80.0).is_met(80.1));
        assert!(Bar::AtLeast(0.95).is_met(0.95) && !Bar::AtLeast(0.95).is_met(0.94));
    }

    #[test]
    fn a_file_is_replaced_and_what_is_none_is_written_to() {
        let folder = tempfile::tempdir().unwrap();
        let (file, link) = (folder.path().join("a.json"), folder.path().join("link"));
        replace(&file, "one").unwrap();
        std::os::unix::fs::symlink(&file, &link).unwrap();
        let before = std::fs::File::open(&file).unwrap();
        replace(&file, "two").unwrap();
        assert_eq!(std::io::read_to_string(before).unwrap(), "one");
        replace(&link, "three").unwrap();
        assert_eq!(std::fs::read_to_string(&file).unwrap(), "three");
        assert!(std::fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 2);
    }

    #[test]
    fn numbers_have_three_digits() {
        assert_eq!([text(0.956), text(55.12), text(1234.5)], ["0.96", "55.1", "1234"]);
    }
}
