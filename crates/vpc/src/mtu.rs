//! How large packets may be.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;
use thiserror::Error;

/// The underlay's MTU in bytes of an outer IPv4 packet, large enough for guests with IPv6.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "u16", into = "u16")]
pub struct Mtu(u16);

/// Why a value is no MTU.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum MtuError {
    /// Guests could not use IPv6.
    #[error(
        "MTU {0} is too small: the underlay needs at least {min}, so that guests have the {guest} \
         bytes of IPv6 (RFC 8200, 5)",
        min = Mtu::MIN.0,
        guest = Mtu::MIN_GUEST
    )]
    TooSmall(u16),
    /// The text is no number of 16 bits.
    #[error("MTU {0:?} is no number from {min} to 65535", min = Mtu::MIN.0)]
    Text(String),
}

impl Mtu {
    /// Outer IPv4 (20), UDP (8) and Geneve (8) headers, and the inner Ethernet header (14).
    const OUTER: u16 = 50;
    /// Room for Geneve options.
    const OPTIONS: u16 = 24;
    /// The smallest MTU of IPv6 (RFC 8200, 5).
    const MIN_GUEST: u16 = 1280;
    /// The smallest underlay MTU.
    pub const MIN: Self = Self(Self::MIN_GUEST + Self::OUTER + Self::OPTIONS);
    /// Ethernet's.
    pub const ETHERNET: Self = Self(1500);

    /// The number of bytes.
    pub const fn get(self) -> u16 {
        self.0
    }

    /// The largest IP packet of a guest that fits into one packet of the underlay, with all
    /// options.
    pub const fn guest(self) -> u16 {
        self.0 - Self::OUTER - Self::OPTIONS
    }
}

impl TryFrom<u16> for Mtu {
    type Error = MtuError;

    fn try_from(bytes: u16) -> Result<Self, MtuError> {
        if bytes < Self::MIN.0 { Err(MtuError::TooSmall(bytes)) } else { Ok(Self(bytes)) }
    }
}

impl From<Mtu> for u16 {
    fn from(mtu: Mtu) -> Self {
        mtu.0
    }
}

impl FromStr for Mtu {
    type Err = MtuError;

    fn from_str(text: &str) -> Result<Self, MtuError> {
        text.parse::<u16>().map_err(|_| MtuError::Text(text.to_owned()))?.try_into()
    }
}

impl fmt::Display for Mtu {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn guests_get_what_headers_and_options_leave() {
        assert_eq!(Mtu::ETHERNET.guest(), 1426);
        assert_eq!(Mtu::try_from(9000).unwrap().guest(), 8926);
    }

    #[test]
    fn the_smallest_leaves_the_smallest_of_ipv6() {
        assert_eq!(Mtu::MIN.get(), 1354);
        assert_eq!(Mtu::MIN.guest(), 1280);
        assert_eq!(
            Mtu::try_from(1353).unwrap_err().to_string(),
            "MTU 1353 is too small: the underlay needs at least 1354, so that guests have the 1280 \
             bytes of IPv6 (RFC 8200, 5)"
        );
        assert_eq!("jumbo".parse::<Mtu>(), Err(MtuError::Text("jumbo".to_owned())));
    }
}
