//! `mizar lab bench [NAME…]`: what is measured, against what, and how it stands against its bar.
//!
//! Every figure is the median of several rounds, which are interleaved with those of what it is
//! compared with, so that a slow moment of the machine meets both. A name selects one figure or all
//! that it is the beginning of: `packet`, `packet.bounce`, `packet.bounce.one_ns`.

mod assembly;
mod attach;
mod cloud;
mod cpu;
mod faults;
mod fleet;
mod memory;
mod namespace;
mod network;
mod others;
mod ovs;
mod packet;
mod path;
mod rate;
mod report;
mod rows;
mod statistics;
mod sys;

use anyhow::{Result, bail, ensure};
use report::Measurement;
use std::path::PathBuf;

/// What to measure, and where the results go.
#[derive(Debug, clap::Args)]
pub struct Options {
    /// The figures to measure, or the beginning of their names; all when none is named
    names: Vec<String>,
    /// Fewer and shorter rounds
    #[arg(long)]
    quick: bool,
    /// Writes the results to a file too
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Writes them as a page with charts, or as Markdown if the name ends in .md; can be repeated
    #[arg(long, value_name = "FILE")]
    report: Vec<PathBuf>,
}

/// How thoroughly to measure.
#[derive(Clone, Copy, Debug)]
struct Effort {
    /// Fewer and shorter rounds.
    quick: bool,
}

/// What is measured together, because it shares its set-up.
struct Group {
    /// Names of its figures.
    ids: &'static [&'static str],
    /// Measures those figures of the group that are wanted.
    run: fn(&[&'static str], Effort) -> Result<Vec<Measurement>>,
}

const GROUPS: &[Group] = &[
    Group { ids: packet::IDS, run: packet::run },
    Group { ids: path::WIRE, run: path::run_wire },
    Group { ids: path::WIRE_JUMBO, run: path::run_wire_jumbo },
    Group { ids: path::DEFAULT, run: path::run_default },
    Group { ids: path::DEFAULT_JUMBO, run: path::run_default_jumbo },
    Group { ids: path::capped::IDS, run: path::capped::run },
    Group { ids: rate::IDS, run: rate::run },
    Group { ids: path::rtt::IDS, run: path::rtt::run },
    Group { ids: attach::IDS, run: attach::run },
    Group { ids: fleet::IDS, run: fleet::run },
    Group { ids: others::IDS, run: others::run },
    Group { ids: rows::IDS, run: rows::run },
    // Leaves a thousand namespaces, which the kernel ends under the lock that links are made with.
    Group { ids: memory::IDS, run: memory::run },
    Group { ids: faults::IDS, run: faults::run },
];

/// Measures, prints and writes what is asked for. The hosts that it starts run the program that is
/// running, and everything it makes ends with that.
///
/// # Errors
/// A name that nothing has, or whatever kept a figure from being measured; the others are there.
pub fn run(options: &Options) -> Result<()> {
    let known: Vec<_> = GROUPS.iter().flat_map(|group| group.ids).copied().collect();
    for name in &options.names {
        if !known.iter().any(|id| is_named(id, name)) {
            bail!("there is no benchmark {name:?}; there are:\n{}", known.join("\n"));
        }
    }
    let wanted =
        |id: &&str| options.names.is_empty() || options.names.iter().any(|name| is_named(id, name));
    let (mut results, mut problems) = (Vec::new(), Vec::new());
    for group in GROUPS {
        let ids: Vec<_> = group.ids.iter().copied().filter(wanted).collect();
        if !ids.is_empty() {
            // What others have measured is not lost.
            match (group.run)(&ids, Effort { quick: options.quick }) {
                Ok(measured) => results.extend(measured),
                Err(error) => problems.push(format!("{}: {error:#}", ids.join(", "))),
            }
            // Nor is it when this is killed.
            options.write(&results)?;
        }
    }
    report::print(&results)?;
    ensure!(problems.is_empty(), "not measured:\n{}", problems.join("\n"));
    Ok(())
}

impl Options {
    /// Writes what has been measured until now wherever it is wanted.
    fn write(&self, results: &[Measurement]) -> Result<()> {
        if let Some(path) = &self.json {
            report::replace(path, &(serde_json::to_string_pretty(results)? + "\n"))?;
        }
        self.report.iter().try_for_each(|path| report::write(path, results))
    }
}

/// Whether a name means a figure: its id, or the beginning of it up to a dot.
fn is_named(id: &str, name: &str) -> bool {
    id.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_select_whole_words_of_ids() {
        assert!(is_named("packet.bounce.one_ns", "packet.bounce"));
        assert!(is_named("packet.bounce.one_ns", "packet.bounce.one_ns"));
        assert!(!is_named("packet.bounce.one_ns", "packet.bounce.one"));
    }

    #[test]
    fn every_figure_has_one_name() {
        let mut ids: Vec<_> = GROUPS.iter().flat_map(|group| group.ids).collect();
        let count = ids.len();
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), count);
    }
}
