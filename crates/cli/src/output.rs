//! What the program shows: text for people, JSON for programs.

use anyhow::{Context, Result};
use clap::ValueEnum;
use comfy_table::{ContentArrangement, Table, presets};
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;
use std::env;
use std::io::{self, ErrorKind, IsTerminal, Write};
use std::time::Duration;

/// How an answer looks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people.
    #[default]
    Text,
    /// For programs.
    Json,
}

/// The option that chooses the [`Format`].
#[derive(Clone, Copy, Debug, clap::Args)]
pub(crate) struct Options {
    /// How the answer looks
    #[arg(short, long, value_enum, default_value_t, value_name = "FORMAT")]
    pub(crate) output: Format,
}

impl Options {
    /// Shows a value: as JSON, or as the text that is made of it.
    pub(crate) fn show<T: Serialize>(
        self,
        value: &T,
        text: impl FnOnce(&T) -> String,
    ) -> Result<()> {
        match self.output {
            Format::Text => print(&text(value)),
            Format::Json => {
                let json = serde_json::to_string_pretty(value);
                print(&json.context("cannot write the answer as JSON")?)
            }
        }
    }
}

/// Writes text and a line end to standard output. Nobody reading any longer is no error.
pub(crate) fn print(text: &str) -> Result<()> {
    let mut stdout = io::stdout().lock();
    let written = stdout.write_all(text.trim_end().as_bytes());
    match written.and_then(|()| stdout.write_all(b"\n")).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(error).context("cannot write to standard output")
        }
        _ => Ok(()),
    }
}

/// Shows how far something is that takes long, if somebody is looking.
pub(crate) fn progress_bar(total: usize, template: &str) -> ProgressBar {
    if !io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template(template);
    let style = style.unwrap_or_else(|_| ProgressStyle::default_bar());
    let bar = ProgressBar::new(total as u64).with_style(style);
    bar.enable_steady_tick(Duration::from_millis(100));
    bar
}

/// Writes text over what was written before, on a terminal.
pub(crate) fn redraw(text: &str) -> Result<()> {
    const HOME_AND_CLEAR: &str = "\x1b[H\x1b[2J";
    print(&format!("{HOME_AND_CLEAR}{text}"))
}

/// A unified diff, with colours on a terminal.
pub(crate) fn diff(text: &str) -> String {
    let is_plain = env::var_os("NO_COLOR").is_some() || !io::stdout().is_terminal();
    if is_plain { text.to_owned() } else { coloured(text) }
}

fn coloured(diff: &str) -> String {
    let line = |line: &str| {
        let colour = match line.as_bytes() {
            [b'-', b'-', b'-', ..] | [b'+', b'+', b'+', ..] => "1",
            [b'-', ..] => "31",
            [b'+', ..] => "32",
            [b'@', ..] => "36",
            _ => return line.to_owned(),
        };
        format!("\x1b[{colour}m{line}\x1b[0m")
    };
    diff.lines().map(line).collect::<Vec<_>>().join("\n")
}

/// Writes a line on progress to standard error.
pub(crate) fn progress(line: &str) {
    // With nowhere to tell it, nobody wants to know.
    let _ = writeln!(io::stderr(), "{line}");
}

/// Writes an error with its causes to standard error.
pub(crate) fn error(error: &anyhow::Error) {
    let _ = writeln!(io::stderr(), "error: {error:#}");
}

/// A table without lines, with a header.
pub(crate) fn table(header: impl IntoIterator<Item: ToString>) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header(header.into_iter().map(|name| name.to_string()));
    if io::stdout().is_terminal() {
        table.set_content_arrangement(ContentArrangement::Dynamic);
    }
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    table
}

/// A table as text, without blanks at the ends of its lines.
pub(crate) fn text(table: &Table) -> String {
    table.lines().map(|line| line.trim_end().to_owned()).collect::<Vec<_>>().join("\n")
}

/// A value, or a hyphen where there is none.
pub(crate) fn or_none<T: ToString>(value: Option<T>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| value.to_string())
}

/// The first with the word for one, any other number with the word for many.
pub(crate) fn count(number: usize, one: &str, many: &str) -> String {
    format!("{number} {}", if number == 1 { one } else { many })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_diff_has_the_colours_that_everybody_knows() {
        let text = coloured("--- a\n@@ -1 +1 @@\n-old\n+new\n same");
        assert!(text.contains("\x1b[31m-old\x1b[0m") && text.contains("\x1b[32m+new\x1b[0m"));
        assert!(text.ends_with("\n same"), "{text}");
    }
}
