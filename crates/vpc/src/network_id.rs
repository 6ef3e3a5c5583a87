//! The number of a network in its VPC.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;
use thiserror::Error;

/// Identifies a network inside its VPC, from 1. Networks of different VPCs may have the same one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "u32", into = "u32")]
pub struct NetworkId(u32);

/// Why a value is no network id.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum NetworkIdError {
    /// 0 stands for "none".
    #[error("network id 0 is out of range: it must be from 1 to 4294967295")]
    Zero,
    /// The text is no number of 32 bits.
    #[error("network id {0:?} is no number from 1 to 4294967295")]
    Text(String),
}

impl NetworkId {
    /// The smallest.
    pub const MIN: Self = Self(1);

    /// The number.
    pub const fn get(self) -> u32 {
        self.0
    }

    /// The one after this, if there is one.
    pub fn next(self) -> Option<Self> {
        self.0.checked_add(1).map(Self)
    }
}

impl TryFrom<u32> for NetworkId {
    type Error = NetworkIdError;

    fn try_from(number: u32) -> Result<Self, NetworkIdError> {
        if number == 0 { Err(NetworkIdError::Zero) } else { Ok(Self(number)) }
    }
}

impl From<NetworkId> for u32 {
    fn from(id: NetworkId) -> Self {
        id.0
    }
}

impl FromStr for NetworkId {
    type Err = NetworkIdError;

    fn from_str(text: &str) -> Result<Self, NetworkIdError> {
        text.parse::<u32>().map_err(|_| NetworkIdError::Text(text.to_owned()))?.try_into()
    }
}

impl fmt::Display for NetworkId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zero_and_text_are_refused() {
        assert_eq!(NetworkId::try_from(0), Err(NetworkIdError::Zero));
        assert!("web".parse::<NetworkId>().is_err());
        assert_eq!("7".parse::<NetworkId>().unwrap().get(), 7);
        assert_eq!(NetworkId::try_from(u32::MAX).unwrap().next(), None);
    }
}
