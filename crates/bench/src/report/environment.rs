//! Where it was measured: what else decides how fast something is.

use anyhow::{Context, Result};
use std::process::Command;
use std::sync::OnceLock;

/// What is written beside the figures, by name.
pub(super) struct Environment {
    pub(super) facts: Vec<(&'static str, String)>,
}

impl Environment {
    /// Of this machine, now.
    ///
    /// # Errors
    /// /proc cannot be read.
    pub(super) fn read() -> Result<Self> {
        let read =
            |path: &str| std::fs::read_to_string(path).with_context(|| format!("read {path}"));
        let cpus = read("/proc/cpuinfo")?;
        let models: Vec<_> = cpus.lines().filter_map(|line| field(line, "model name")).collect();
        let model = models.first().map_or("unknown", |model| *model);
        let memory = read("/proc/meminfo")?;
        let memory = memory.lines().find_map(|line| field(line, "MemTotal")).unwrap_or("unknown");
        let load = read("/proc/loadavg")?;
        let load: Vec<_> = load.split_whitespace().take(3).collect();
        let facts = vec![
            ("date", said("date", &["--utc", "+%Y-%m-%d %H:%M UTC"])),
            ("version", env!("CARGO_PKG_VERSION").to_owned()),
            ("commit", commit().unwrap_or_else(|| "unknown".to_owned())),
            ("kernel", read("/proc/sys/kernel/osrelease")?.trim().to_owned()),
            ("processors", format!("{} × {model}", models.len())),
            ("memory", memory.to_owned()),
            ("load at the end, over 1, 5 and 15 minutes", load.join(", ")),
            (
                "NICs of `wire`, `capped`, `rtt` and `rate`",
                "veth: XDP in the driver, GRO; no TSO, no checksum offload".to_owned(),
            ),
            ("NICs of `default`", "veth as the kernel makes it: TSO, checksum offload".to_owned()),
        ];
        Ok(Self { facts })
    }
}

/// The commit of the work tree that this program lies in, as it was before a report was written
/// there; none if it is installed.
fn commit() -> Option<String> {
    static COMMIT: OnceLock<Option<String>> = OnceLock::new();
    let look = || {
        let program = crate::cloud::program().ok()?;
        let folder = program.parent()?.to_str()?;
        said_by("git", &["-C", folder, "describe", "--always", "--dirty", "--abbrev=12"])
    };
    COMMIT.get_or_init(look).clone()
}

/// The value of a line `name: value`.
fn field<'a>(line: &'a str, name: &str) -> Option<&'a str> {
    Some(line.strip_prefix(name)?.trim_start().strip_prefix(':')?.trim())
}

/// What a program prints; `unknown` where it cannot.
fn said(program: &str, arguments: &[&str]) -> String {
    said_by(program, arguments).unwrap_or_else(|| "unknown".to_owned())
}

fn said_by(program: &str, arguments: &[&str]) -> Option<String> {
    let output = Command::new(program).args(arguments).output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    (output.status.success() && !text.is_empty()).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_is_described() {
        let environment = Environment::read().unwrap();
        let fact = |name: &str| environment.facts.iter().find(|(it, _)| *it == name).unwrap();
        assert!(fact("kernel").1.starts_with(|first: char| first.is_ascii_digit()));
        assert!(!fact("processors").1.starts_with('0'));
        assert_eq!(field("MemTotal:       24 kB", "MemTotal"), Some("24 kB"));
        assert_eq!(field("MemTotalled: 1", "MemTotal"), None);
    }
}
