//! What orders everything that watchers are told.

use mizar_vpc::{Generation, GenerationError};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;
use thiserror::Error;

/// A place among all events: after that write, and after so many events since. Each event has one
/// of its own, greater than all before. As text `1.42`, or `1.42.7` after seven more events.
///
/// Statuses are not stored, so their changes have no writes to be called after. The last event of a
/// write has the write's own; those before it are counted after the write before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Version {
    write: Generation,
    events: u64,
}

/// A text that is no version.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error(
    "version {0:?} is malformed: it must be what a page or an event says, as in 1.42 or 1.42.7"
)]
pub struct VersionError(String);

impl Version {
    /// The next one, without a write.
    pub(crate) const fn next(self) -> Self {
        Self { events: self.events + 1, ..self }
    }
}

impl From<Generation> for Version {
    fn from(write: Generation) -> Self {
        Self { write, events: 0 }
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.events {
            0 => write!(f, "{}", self.write),
            events => write!(f, "{}.{events}", self.write),
        }
    }
}

impl FromStr for Version {
    type Err = VersionError;

    fn from_str(text: &str) -> Result<Self, VersionError> {
        let malformed = || VersionError(text.to_owned());
        let write = |text: &str| text.parse().map_err(|_: GenerationError| malformed());
        let ends = text.match_indices('.').nth(1).map(|(at, _)| text.split_at(at));
        match ends {
            None => Ok(Self { write: write(text)?, events: 0 }),
            Some((first, rest)) => {
                let events = rest[1..].parse().map_err(|_| malformed())?;
                Ok(Self { write: write(first)?, events })
            }
        }
    }
}

impl TryFrom<String> for Version {
    type Error = VersionError;

    fn try_from(text: String) -> Result<Self, VersionError> {
        text.parse()
    }
}

impl From<Version> for String {
    fn from(version: Version) -> Self {
        version.to_string()
    }
}

impl JsonSchema for Version {
    fn schema_name() -> Cow<'static, str> {
        "Version".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "A place among all events: a later one is a greater one.",
            "type": "string",
            "pattern": "^[0-9]{1,5}\\.[0-9]{1,15}(\\.[0-9]{1,20})?$",
            "examples": ["1.42", "1.42.7"],
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_come_after_the_write_that_they_follow_and_before_the_next() {
        let write = |text: &str| Version::from(text.parse::<Generation>().unwrap());
        let event = write("1.42").next();
        assert!(write("1.42") < event && event < event.next() && event.next() < write("1.43"));
        assert_eq!([write("1.42"), event.next()].map(|it| it.to_string()), ["1.42", "1.42.2"]);
    }

    #[test]
    fn text_is_read_as_it_is_written_and_nothing_else_is() {
        for text in ["1.42", "1.42.7", "2.1.18446744073709551615"] {
            assert_eq!(text.parse::<Version>().unwrap().to_string(), text);
        }
        for text in ["", "1", "1.", "1.0", "1.42.", "1.42.x", "1.42.7.1", "1.42.-1"] {
            assert_eq!(text.parse::<Version>(), Err(VersionError(text.to_owned())), "{text}");
        }
    }
}
