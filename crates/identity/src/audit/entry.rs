//! What is remembered of a write.

use crate::clock;
use crate::identity::Identity;
use mizar_vpc::Name;
use serde::{Deserialize, Serialize, Serializer};
use std::fmt;
use std::time::SystemTime;

/// One write: asked for, done or refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Entry {
    /// When.
    #[serde(serialize_with = "as_text")]
    pub time: SystemTime,
    /// The store's revision with it, as the store writes it; none if nothing was stored.
    pub revision: Option<String>,
    /// Who.
    pub who: Who,
    /// From where, as in `192.0.2.1:4711`.
    pub from: String,
    /// What was done, as in `create`.
    pub verb: String,
    /// To what.
    pub objects: Vec<Object>,
    /// What came of it.
    pub outcome: Outcome,
    /// Which request it was.
    pub request: String,
}

/// Who writes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Who {
    /// Somebody known.
    Identity(Identity),
    /// A host that joins, known by its token's number.
    Token(Name),
    /// Somebody unknown.
    Nobody,
}

/// What is written to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Object {
    /// Its kind, as in `endpoint`.
    pub kind: String,
    /// Its full name, as in `blue/web/web-1`.
    pub name: String,
}

/// What comes of a write.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// It is asked for, and has not begun. Another entry of the same request says what came of it;
    /// if there is none, the controller was interrupted, and it may be done or not.
    Asked,
    /// It is done.
    Done,
    /// It is not, for this reason.
    Refused(String),
}

impl Entry {
    /// As it stands in the log, with the line's end. JSON has no line ends inside, so that nobody
    /// can forge a line by what he calls something.
    pub(super) fn line(&self) -> Vec<u8> {
        // Only a map with keys that are no strings cannot be JSON, and there is none.
        let mut line = serde_json::to_vec(self).unwrap_or_default();
        line.push(b'\n');
        line
    }
}

impl From<Option<Identity>> for Who {
    fn from(identity: Option<Identity>) -> Self {
        identity.map_or(Self::Nobody, Self::Identity)
    }
}

impl fmt::Display for Who {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Identity(identity) => write!(f, "{identity}"),
            Self::Token(id) => write!(f, "token/{id}"),
            Self::Nobody => f.write_str("nobody"),
        }
    }
}

impl Serialize for Who {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

fn as_text<S: Serializer>(time: &SystemTime, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&clock::text(*time))
}
