//! `mizar config`: the controllers that one knows.

use crate::output;
use crate::remote::{Config, Context};
use crate::suggest::nearest;
use anyhow::{Context as _, Result};
use clap::Subcommand;
use mizar_identity::Address;
use std::path::{Path, PathBuf};

/// What one can do with contexts.
#[derive(Debug, Subcommand)]
#[command(after_help = EXAMPLES)]
pub(crate) enum Command {
    /// List the contexts; the current one has a star
    GetContexts,
    /// Use a context from now on
    UseContext {
        /// Its name
        name: String,
    },
    /// Make or change a context; what is not given stays as it is
    SetContext {
        /// Its name
        name: String,
        /// Where the controller is: unix:PATH or https://HOST:PORT
        #[arg(long, value_name = "ADDRESS")]
        controller: Option<Address>,
        /// Certificates of the CA that the controller is believed by
        #[arg(long, value_name = "FILE")]
        ca: Option<PathBuf>,
        /// Own key and certificate, in one file
        #[arg(long, value_name = "FILE")]
        credentials: Option<PathBuf>,
    },
    /// Show the config file
    View,
}

const EXAMPLES: &str = "\
The file is ~/.config/mizar/config.yaml, or what $MIZAR_CONFIG names. The first context that is made
is the current one. Files are kept with their full paths.

Examples:
  mizar config set-context local --controller unix:/run/mizar/controller.sock
  mizar config set-context prod --controller https://controller.example:6443 \\
      --ca /etc/mizar/ca.crt --credentials ~/.config/mizar/operator-alice.pem
  mizar config use-context prod";

pub(crate) fn run(command: &Command) -> Result<()> {
    let config = Config::load()?;
    match command {
        Command::GetContexts => list(&config),
        Command::View => {
            output::print(&serde_saphyr::to_string(&config).context("cannot write YAML")?)
        }
        Command::UseContext { name } => {
            config.find(name)?;
            Config { current: Some(name.clone()), ..config }.save()?;
            output::print(&format!("context {name} is used from now on"))
        }
        Command::SetContext { name, controller, ca, credentials } => {
            let new = Given { name, controller, ca, credentials };
            let (config, is_new) = set(config, &new)?;
            let path = config.save()?;
            let what = if is_new { "made" } else { "changed" };
            output::print(&format!("context {name} {what} in {}", path.display()))
        }
    }
}

/// What is given of a context.
struct Given<'a> {
    name: &'a str,
    controller: &'a Option<Address>,
    ca: &'a Option<PathBuf>,
    credentials: &'a Option<PathBuf>,
}

fn list(config: &Config) -> Result<()> {
    if config.contexts.is_empty() {
        output::progress("there are no contexts: make one with `mizar config set-context`");
        return Ok(());
    }
    let mut table = output::table(["", "NAME", "CONTROLLER", "CREDENTIALS"]);
    for Context { name, controller, credentials, .. } in &config.contexts {
        let star = if config.current.as_ref() == Some(name) { "*" } else { "" };
        let credentials = output::or_none(credentials.as_ref().map(|path| path.display()));
        table.add_row([star.to_owned(), name.clone(), controller.to_string(), credentials]);
    }
    output::print(&output::text(&table))
}

/// The file with a context that is new or changed, and whether it is new.
fn set(mut config: Config, given: &Given<'_>) -> Result<(Config, bool)> {
    let found = config.contexts.iter().position(|context| context.name == given.name);
    let is_new = found.is_none();
    let at = match (found, given.controller) {
        (Some(at), _) => at,
        (None, Some(controller)) => {
            let context =
                Context { name: given.name.to_owned(), ..Context::at(controller.clone()) };
            config.contexts.push(context);
            config.contexts.len() - 1
        }
        (None, None) => {
            let names = config.contexts.iter().map(|context| context.name.as_str());
            let hint =
                nearest(given.name, names).map(|near| format!(", or did you mean {near:?}?"));
            anyhow::bail!(
                "context {:?} is new: say where its controller is, with --controller ADDRESS{}",
                given.name,
                hint.unwrap_or_default()
            );
        }
    };
    let context = &mut config.contexts[at];
    if let Some(controller) = given.controller {
        context.controller = controller.clone();
    }
    context.ca = full(given.ca.as_deref())?.or(context.ca.take());
    context.credentials = full(given.credentials.as_deref())?.or(context.credentials.take());
    config.current.get_or_insert_with(|| given.name.to_owned());
    Ok((config, is_new))
}

/// The path of a file, wherever it is asked from.
fn full(path: Option<&Path>) -> Result<Option<PathBuf>> {
    let full = path.map(|path| {
        std::path::absolute(path).with_context(|| format!("no file is at {:?}", path.display()))
    });
    full.transpose()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn given<'a>(name: &'a str, controller: &'a Option<Address>) -> Given<'a> {
        Given { name, controller, ca: &None, credentials: &None }
    }

    #[test]
    fn the_first_context_is_the_current_one_and_what_is_not_given_stays() {
        let address = |text: &str| Some(text.parse().unwrap());
        let first = address("unix:/run/a.sock");
        let (config, is_new) = set(Config::default(), &given("a", &first)).unwrap();
        assert!(is_new && config.current.as_deref() == Some("a"));
        let second = address("https://b:6443");
        let (config, _) = set(config, &given("b", &second)).unwrap();
        let ca = Some(PathBuf::from("/ca.crt"));
        let (config, is_new) = set(config, &Given { ca: &ca, ..given("b", &None) }).unwrap();
        let b = config.find("b").unwrap();
        assert!(!is_new && b.ca == ca && Some(&b.controller) == second.as_ref());
        assert_eq!(config.current.as_deref(), Some("a"));
    }

    #[test]
    fn files_are_found_from_every_folder() {
        let controller = Some("https://b:6443".parse().unwrap());
        let (ca, credentials) = (Some("ca.crt".into()), Some("/keys/alice.pem".into()));
        let given = Given { ca: &ca, credentials: &credentials, ..given("b", &controller) };
        let (config, _) = set(Config::default(), &given).unwrap();
        let b = config.find("b").unwrap();
        assert_eq!(b.ca, Some(std::env::current_dir().unwrap().join("ca.crt")));
        assert_eq!(b.credentials, credentials);
    }

    #[test]
    fn a_new_context_needs_a_controller() {
        let error = set(Config::default(), &given("a", &None)).unwrap_err().to_string();
        assert!(error.contains("--controller ADDRESS"), "{error}");
    }
}
