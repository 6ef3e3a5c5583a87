//! The number of a VPC on the wire.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;
use thiserror::Error;

/// A virtual network identifier (RFC 8926, 3.3): 1 to 2²⁴ − 1.
///
/// 0 is for messages between hosts (OAM), which belong to no VPC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "u32", into = "u32")]
pub struct Vni(u32);

/// Why a number is no VNI.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum VniError {
    /// It does not fit, or is 0.
    #[error("VNI {0} is out of range: it must be from 1 to {max}", max = Vni::MAX)]
    Range(u32),
    /// The text is no number.
    #[error("VNI {0:?} is no number: it must be from 1 to {max}", max = Vni::MAX)]
    Text(String),
}

impl Vni {
    /// The smallest.
    pub const MIN: Self = Self(1);
    /// The largest.
    pub const MAX: Self = Self(0xff_ffff);

    /// The number.
    pub const fn get(self) -> u32 {
        self.0
    }
}

impl TryFrom<u32> for Vni {
    type Error = VniError;

    fn try_from(number: u32) -> Result<Self, VniError> {
        if (Self::MIN.0..=Self::MAX.0).contains(&number) {
            Ok(Self(number))
        } else {
            Err(VniError::Range(number))
        }
    }
}

impl From<Vni> for u32 {
    fn from(vni: Vni) -> Self {
        vni.0
    }
}

impl FromStr for Vni {
    type Err = VniError;

    fn from_str(text: &str) -> Result<Self, VniError> {
        text.parse::<u32>().map_err(|_| VniError::Text(text.to_owned()))?.try_into()
    }
}

impl fmt::Display for Vni {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_24_bits_without_zero_are_legal() {
        assert_eq!(Vni::try_from(0), Err(VniError::Range(0)));
        assert_eq!(Vni::try_from(1).unwrap(), Vni::MIN);
        assert_eq!(Vni::try_from(0xff_ffff).unwrap(), Vni::MAX);
        assert_eq!(Vni::try_from(0x100_0000), Err(VniError::Range(0x100_0000)));
    }

    #[test]
    fn an_error_names_the_value_and_what_would_be_right() {
        assert_eq!(
            "16777216".parse::<Vni>().unwrap_err().to_string(),
            "VNI 16777216 is out of range: it must be from 1 to 16777215"
        );
        assert_eq!(
            "blue".parse::<Vni>().unwrap_err().to_string(),
            "VNI \"blue\" is no number: it must be from 1 to 16777215"
        );
        let error = serde_json::from_str::<Vni>("0").unwrap_err().to_string();
        assert!(error.starts_with("VNI 0 is out of range"), "{error}");
    }
}
