//! What the program says about its own work, on standard error.

use clap::ValueEnum;
use std::io::{IsTerminal, stderr};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;

/// Chooses what is logged in detail, such as `debug` or `mizar_agent=trace,info`.
const VARIABLE: &str = "MIZAR_LOG";

/// How to log.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// How log lines look; $MIZAR_LOG says which there are, as in MIZAR_LOG=debug
    #[arg(long, global = true, value_enum, default_value_t, value_name = "FORMAT")]
    log_format: Format,
}

/// How a log line looks.
#[derive(Clone, Copy, Debug, Default, ValueEnum)]
enum Format {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// Starts logging. A daemon reports what it does, a command only what it has to warn of.
pub(crate) fn start(options: &Options, is_daemon: bool) {
    let level = if is_daemon { LevelFilter::INFO } else { LevelFilter::WARN };
    let filter = EnvFilter::builder().with_default_directive(level.into()).with_env_var(VARIABLE);
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter.from_env_lossy())
        .with_writer(stderr)
        .with_ansi(stderr().is_terminal());
    match options.log_format {
        Format::Text => log.init(),
        Format::Json => log.json().init(),
    }
}
