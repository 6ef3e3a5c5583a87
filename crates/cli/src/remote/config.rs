//! The file with the controllers that somebody knows.

use crate::exit::Status;
use crate::suggest::nearest;
use anyhow::{Context as _, Result};
use mizar_identity::Address;
use serde::{Deserialize, Serialize};
use std::env;
use std::fs;
use std::io::ErrorKind;
use std::path::PathBuf;

/// Names another file.
const VARIABLE: &str = "MIZAR_CONFIG";

/// The controllers that somebody knows.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Config {
    /// The name of the context that is used where none is named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) current: Option<String>,
    /// The contexts.
    #[serde(default)]
    pub(crate) contexts: Vec<Context>,
}

/// A controller, and as whom to ask it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Context {
    /// What it is called.
    pub(crate) name: String,
    /// Where it is.
    pub(crate) controller: Address,
    /// Certificates of its CA.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) ca: Option<PathBuf>,
    /// Own key and certificate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) credentials: Option<PathBuf>,
}

impl Context {
    /// A controller without more.
    pub(crate) fn at(controller: Address) -> Self {
        Self { name: String::new(), controller, ca: None, credentials: None }
    }
}

impl Config {
    /// Reads the file; without one, nothing is known.
    ///
    /// # Errors
    /// It cannot be read, or is malformed.
    pub(crate) fn load() -> Result<Self> {
        let Some(path) = path() else { return Ok(Self::default()) };
        match fs::read_to_string(&path) {
            Ok(text) => serde_saphyr::from_str(&text)
                .map_err(|error| anyhow::anyhow!("{}", error.without_snippet()))
                .with_context(|| format!("{} is malformed", path.display())),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(Self::default()),
            Err(error) => Err(error).with_context(|| format!("cannot read {}", path.display())),
        }
    }

    /// Writes the file, all or nothing.
    ///
    /// # Errors
    /// It cannot be written.
    pub(crate) fn save(&self) -> Result<PathBuf> {
        let path = path().context("there is no home folder: name a file with $MIZAR_CONFIG")?;
        let cannot = || format!("cannot write {}", path.display());
        let text = serde_saphyr::to_string(self).with_context(cannot)?;
        let new = path.with_extension("yaml.new");
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder).with_context(cannot)?;
        }
        fs::write(&new, text).with_context(cannot)?;
        fs::rename(&new, &path).with_context(cannot)?;
        Ok(path)
    }

    /// One context.
    ///
    /// # Errors
    /// There is none of that name.
    pub(crate) fn find(&self, name: &str) -> Result<&Context> {
        let found = self.contexts.iter().find(|context| context.name == name);
        found.ok_or_else(|| {
            let names = self.contexts.iter().map(|context| context.name.as_str());
            let hint = match nearest(name, names) {
                Some(near) => format!("did you mean {near:?}?"),
                None => "see `mizar config get-contexts`".to_owned(),
            };
            Status::NotFound.error(format!("there is no context {name:?}: {hint}"))
        })
    }
}

/// Where the file is, unless there is no home.
pub(super) fn path() -> Option<PathBuf> {
    let set = |name: &str| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    set(VARIABLE).or_else(|| {
        let base = set("XDG_CONFIG_HOME").or_else(|| Some(set("HOME")?.join(".config")))?;
        Some(base.join("mizar/config.yaml"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "current: lab\ncontexts:\n  - {name: lab, controller: 'unix:/run/c.sock'}\n";

    #[test]
    fn the_file_is_read_and_written_again() {
        let config: Config = serde_saphyr::from_str(TEXT).unwrap();
        assert_eq!(config.find("lab").unwrap().controller.to_string(), "unix:/run/c.sock");
        let text = serde_saphyr::to_string(&config).unwrap();
        assert_eq!(serde_saphyr::from_str::<Config>(&text).unwrap(), config);
    }

    #[test]
    fn a_context_that_is_missing_brings_the_nearest_one_to_mind() {
        let config: Config = serde_saphyr::from_str(TEXT).unwrap();
        let error = config.find("lba").unwrap_err();
        assert_eq!(error.to_string(), "there is no context \"lba\": did you mean \"lab\"?");
        assert_eq!(Status::of(&error), Status::NotFound);
    }

    #[test]
    fn unknown_fields_and_addresses_are_refused() {
        for (from, to) in [("current", "curent"), ("unix:", "http:"), ("name", "nam")] {
            assert!(serde_saphyr::from_str::<Config>(&TEXT.replace(from, to)).is_err(), "{to}");
        }
    }
}
