//! Which hosts something is for.

use mizar_vpc::{Name, NameError};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;
use thiserror::Error;

/// A host's name, or the beginning of names and `*`: `h1`, `rack1-*`, `*`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum HostPattern {
    /// This host.
    Exactly(Name),
    /// Hosts whose names begin like this; any if it is empty.
    Beginning(String),
}

/// A text that is no pattern.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error(
    "host pattern {0:?} is malformed: it must be a host's name, or the beginning of one and '*'"
)]
pub struct HostPatternError(pub String);

impl HostPattern {
    /// Whether a host is meant.
    pub fn matches(&self, host: &Name) -> bool {
        match self {
            Self::Exactly(name) => name == host,
            Self::Beginning(start) => host.as_str().starts_with(start),
        }
    }
}

impl From<Name> for HostPattern {
    fn from(name: Name) -> Self {
        Self::Exactly(name)
    }
}

impl FromStr for HostPattern {
    type Err = HostPatternError;

    fn from_str(text: &str) -> Result<Self, HostPatternError> {
        let malformed = |_: NameError| HostPatternError(text.to_owned());
        let Some(start) = text.strip_suffix('*') else {
            return text.parse().map(Self::Exactly).map_err(malformed);
        };
        // With one more letter the beginning of a name is a name, and nothing else is.
        if !start.is_empty() {
            format!("{start}a").parse::<Name>().map_err(malformed)?;
        }
        Ok(Self::Beginning(start.to_owned()))
    }
}

impl TryFrom<String> for HostPattern {
    type Error = HostPatternError;

    fn try_from(text: String) -> Result<Self, HostPatternError> {
        text.parse()
    }
}

impl From<HostPattern> for String {
    fn from(pattern: HostPattern) -> Self {
        pattern.to_string()
    }
}

impl fmt::Display for HostPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exactly(name) => f.pad(name.as_str()),
            Self::Beginning(start) => f.pad(&format!("{start}*")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_is_a_name_or_the_beginning_of_names() {
        let matches = |pattern: &str, host: &str| {
            let read: HostPattern = pattern.parse().unwrap();
            assert_eq!(read.to_string(), pattern);
            read.matches(&host.parse().unwrap())
        };
        assert!(matches("h1", "h1") && !matches("h1", "h10"));
        assert!(matches("rack1-*", "rack1-h1") && !matches("rack1-*", "rack10-h1"));
        assert!(matches("*", "anything"));
    }

    #[test]
    fn what_is_no_pattern_is_refused() {
        for text in ["", "-*", "a**", "*a", "a*b", "A*", "a.*", "h1 "] {
            assert_eq!(text.parse::<HostPattern>(), Err(HostPatternError(text.to_owned())));
        }
    }
}
