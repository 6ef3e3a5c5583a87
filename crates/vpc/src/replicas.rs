//! How many hosts hold each slot.

use mizar_packet::tables::REPLICAS;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;
use thiserror::Error;

/// How many bouncers hold each slot of a network, R: 1 to 4, by default 2.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "u8", into = "u8")]
pub struct Replicas(u8);

/// Why a value is no number of replicas.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{0} replicas are out of range: there must be from 1 to {REPLICAS}")]
pub struct ReplicasError(pub String);

impl Replicas {
    /// The number.
    pub const fn get(self) -> usize {
        self.0 as usize
    }
}

impl Default for Replicas {
    fn default() -> Self {
        Self(2)
    }
}

impl TryFrom<u8> for Replicas {
    type Error = ReplicasError;

    fn try_from(number: u8) -> Result<Self, ReplicasError> {
        if (1..=REPLICAS).contains(&usize::from(number)) {
            Ok(Self(number))
        } else {
            Err(ReplicasError(number.to_string()))
        }
    }
}

impl From<Replicas> for u8 {
    fn from(replicas: Replicas) -> Self {
        replicas.0
    }
}

impl FromStr for Replicas {
    type Err = ReplicasError;

    fn from_str(text: &str) -> Result<Self, ReplicasError> {
        text.parse::<u8>().map_err(|_| ReplicasError(text.to_owned()))?.try_into()
    }
}

impl fmt::Display for Replicas {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_to_four_are_legal_and_two_is_usual() {
        assert!((1..=4).all(|n| Replicas::try_from(n).is_ok()));
        assert_eq!(Replicas::try_from(0), Err(ReplicasError("0".to_owned())));
        assert_eq!(Replicas::try_from(5), Err(ReplicasError("5".to_owned())));
        assert_eq!(Replicas::default().get(), 2);
    }
}
