//! What the programs take in each kernel, as it is written down in `docs/kernels.md`.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result, bail, ensure};

use crate::shell;

const FILE: &str = "docs/kernels.md";
/// The lines around the table.
const BEGIN: &str = "<!-- written by `cargo xtask kernels --record` -->\n";
const END: &str = "<!-- end -->\n";
/// How much more than what is written down a program may take before somebody has to look at it
/// and write it down anew, in percent.
const GROWTH: u32 = 10;

/// Steps and bytes of stack of each program.
type Figures = BTreeMap<String, (u32, u32)>;

/// By kernels, what was written down and what has been seen.
pub(crate) struct Record {
    written: BTreeMap<String, Figures>,
    seen: BTreeMap<String, Figures>,
}

impl Record {
    /// What is written down.
    pub(crate) fn read() -> Result<Self> {
        let written = parse(table(&text()?)?)?;
        Ok(Self { written, seen: BTreeMap::new() })
    }

    /// What a kernel's programs take.
    pub(crate) fn set(&mut self, kernel: &str, figures: Figures) {
        self.seen.insert(kernel.to_owned(), figures);
    }

    /// Compares what was seen with what is written down.
    ///
    /// # Errors
    /// When a program takes more, or is not written down.
    pub(crate) fn check(&self) -> Result<()> {
        let mut grown = Vec::new();
        for (kernel, figures) in &self.seen {
            let written = self.written.get(kernel);
            for (name, (steps, stack)) in figures {
                match written.and_then(|written| written.get(name)) {
                    Some((old, _)) if *steps > old + old * GROWTH / 100 => {
                        grown.push(format!("{name} takes {steps} steps in {kernel}, not {old}"));
                    }
                    Some((_, old)) if stack > old => {
                        grown.push(format!("{name} takes {stack} bytes of stack, not {old}"));
                    }
                    Some(_) => {}
                    None => grown.push(format!("{name} in {kernel} is not there")),
                }
            }
        }
        let grown = grown.join("; ");
        ensure!(
            grown.is_empty(),
            "{FILE}: {grown}: if that is right, `cargo xtask kernels --record` writes it down"
        );
        Ok(())
    }

    /// Writes down what was seen, and leaves what is written of kernels that were not tried.
    pub(crate) fn write(mut self) -> Result<()> {
        let text = text()?;
        let mut all = parse(table(&text)?)?;
        all.append(&mut self.seen);
        let (old, new) = (BEGIN.to_owned() + table(&text)?, format(&all));
        let text = text.replace(&old, &(BEGIN.to_owned() + &new));
        fs::write(path()?, text).with_context(|| format!("write {FILE}"))
    }
}

/// A program and its figures, as machines say them.
pub(crate) fn figures(said: &str) -> Result<(String, (u32, u32))> {
    let mut words = said.split_whitespace();
    let (Some(name), Some(Ok(steps)), Some(Ok(stack)), None) =
        (words.next(), words.next().map(str::parse), words.next().map(str::parse), words.next())
    else {
        bail!("{said:?} is no program, number of steps and number of bytes");
    };
    Ok((name.to_owned(), (steps, stack)))
}

fn text() -> Result<String> {
    fs::read_to_string(path()?).with_context(|| format!("read {FILE}"))
}

fn path() -> Result<PathBuf> {
    Ok(shell::workspace()?.join(FILE))
}

fn table(text: &str) -> Result<&str> {
    let between = |text| Some(str::split_once(str::split_once(text, BEGIN)?.1, END)?.0);
    between(text).with_context(|| format!("{FILE} has no table between {BEGIN:?} and {END:?}"))
}

fn parse(table: &str) -> Result<BTreeMap<String, Figures>> {
    let mut all: BTreeMap<String, Figures> = BTreeMap::new();
    let mut rows = table.lines().filter(|line| line.starts_with('|')).map(cells);
    let kernels: Vec<_> = rows.next().unwrap_or_default().into_iter().skip(2).collect();
    for row in rows.skip(1) {
        let [name, stack, steps @ ..] = &row[..] else { bail!("{FILE}: a row is too short") };
        for (kernel, steps) in kernels.iter().zip(steps).filter(|(_, steps)| !steps.is_empty()) {
            let steps = steps.replace(',', "");
            let (name, figures) = figures(&format!("{} {steps} {stack}", name.trim_matches('`')))?;
            all.entry(kernel.clone()).or_default().insert(name, figures);
        }
    }
    Ok(all)
}

fn cells(row: &str) -> Vec<String> {
    row.trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect()
}

fn format(all: &BTreeMap<String, Figures>) -> String {
    let mut table = "\n| program | bytes of stack |".to_owned();
    for kernel in all.keys() {
        let _ = write!(table, " {kernel} |");
    }
    table += &format!("\n|---|---|{}\n", "---|".repeat(all.len()));
    let names: BTreeMap<_, _> =
        all.values().flatten().map(|(name, (_, stack))| (name, stack)).collect();
    for (name, stack) in names {
        let _ = write!(table, "| `{name}` | {stack} |");
        for figures in all.values() {
            let steps = figures.get(name).map(|(steps, _)| grouped(*steps));
            let _ = write!(table, " {} |", steps.unwrap_or_default());
        }
        table += "\n";
    }
    table + "\n"
}

/// A number with a comma before every three digits.
fn grouped(number: u32) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn some() -> BTreeMap<String, Figures> {
        let program = |name: &str, steps, stack| (name.to_owned(), (steps, stack));
        BTreeMap::from([
            ("6.12".to_owned(), Figures::from([program("a", 1_234_567, 16)])),
            ("6.18".to_owned(), Figures::from([program("a", 50, 16), program("b", 999, 8)])),
        ])
    }

    #[test]
    fn what_is_written_is_read_again() {
        let table = format(&some());
        assert!(table.contains("| `a` | 16 | 1,234,567 | 50 |"), "{table}");
        assert!(table.contains("| `b` | 8 |  | 999 |"), "{table}");
        assert_eq!(parse(&table).unwrap(), some());
    }

    #[test]
    fn what_has_grown_or_is_new_is_named() {
        let seen = |name: &str, steps, stack| {
            let seen = Figures::from([(name.to_owned(), (steps, stack))]);
            let seen = BTreeMap::from([("6.18".to_owned(), seen)]);
            Record { written: some(), seen }.check()
        };
        seen("a", 55, 16).unwrap();
        assert!(seen("a", 56, 16).unwrap_err().to_string().contains("a takes 56 steps in 6.18"));
        assert!(seen("a", 50, 17).unwrap_err().to_string().contains("17 bytes of stack, not 16"));
        assert!(seen("c", 1, 1).unwrap_err().to_string().contains("c in 6.18 is not there"));
    }

    #[test]
    fn figures_are_a_name_and_two_numbers() {
        assert_eq!(figures("  a 5  6 ").unwrap(), ("a".to_owned(), (5, 6)));
        assert!(
            figures("a 5").is_err() && figures("a 5 6 7").is_err() && figures("a b 6").is_err()
        );
    }
}
