//! MAC addresses of endpoints.

use crate::{Vni, rendezvous::mix};
use mizar_packet::wire::ethernet::GATEWAY;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;
use thiserror::Error;

/// The MAC address of one guest's interface: unicast and not zero (IEEE 802, 8.2), nor that of all
/// gateways.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Mac([u8; 6]);

/// Why a value is no endpoint's MAC address.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum MacError {
    /// The text is no MAC address at all.
    #[error(
        "MAC address {0:?} is malformed: it must be six hexadecimal bytes, as in 02:00:0a:00:00:05"
    )]
    Text(String),
    /// It has the group bit set.
    #[error(
        "MAC address {mac} is a group address: its first byte must be even, as in \
         02:00:0a:00:00:05",
        mac = colons(.0)
    )]
    Group([u8; 6]),
    /// It is zero.
    #[error(
        "MAC address 00:00:00:00:00:00 stands for none: choose another, as in 02:00:0a:00:00:05"
    )]
    Zero,
    /// Guests take it for that of everybody else.
    #[error(
        "MAC address {mac} is that of all gateways: choose another, as in 02:00:0a:00:00:05",
        mac = colons(&GATEWAY)
    )]
    Gateway,
}

impl Mac {
    const GROUP: u8 = 0x01;
    const LOCAL_V4: u8 = 0x02;
    const LOCAL_V6: u8 = 0x06;

    /// The six bytes in the order of transmission.
    pub const fn octets(self) -> [u8; 6] {
        self.0
    }

    /// A locally administered address for the endpoint that has `address` in the VPC `vni`.
    ///
    /// For IPv4 its last four bytes are the address, so that it is unique in the VPC by itself and
    /// readable. `attempt` chooses another one where somebody asked for the first one.
    pub fn derive(vni: Vni, address: IpAddr, attempt: u8) -> Self {
        let salt = u64::from(vni.get()) << 8 | u64::from(attempt);
        match address {
            IpAddr::V4(v4) => {
                let [a, b, c, d] = v4.octets();
                let [vpc, ..] = mix(u64::from(vni.get())).to_le_bytes();
                let mut octets = [Self::LOCAL_V4, vpc.wrapping_add(attempt), a, b, c, d];
                if octets == GATEWAY {
                    octets[0] = Self::LOCAL_V6;
                }
                Self(octets)
            }
            IpAddr::V6(v6) => {
                let bits = u128::from(v6);
                let hash = mix(mix(salt ^ (bits >> 64) as u64) ^ bits as u64);
                let [a, b, c, d, e, ..] = hash.to_le_bytes();
                Self([Self::LOCAL_V6, a, b, c, d, e])
            }
        }
    }
}

impl TryFrom<[u8; 6]> for Mac {
    type Error = MacError;

    fn try_from(octets: [u8; 6]) -> Result<Self, MacError> {
        match octets {
            [0, 0, 0, 0, 0, 0] => Err(MacError::Zero),
            [first, ..] if first & Self::GROUP != 0 => Err(MacError::Group(octets)),
            GATEWAY => Err(MacError::Gateway),
            _ => Ok(Self(octets)),
        }
    }
}

impl TryFrom<String> for Mac {
    type Error = MacError;

    fn try_from(text: String) -> Result<Self, MacError> {
        text.parse()
    }
}

impl From<Mac> for String {
    fn from(mac: Mac) -> Self {
        mac.to_string()
    }
}

impl FromStr for Mac {
    type Err = MacError;

    fn from_str(text: &str) -> Result<Self, MacError> {
        let mut octets = [0; 6];
        let mut parts = text.split(':');
        for octet in &mut octets {
            *octet = parts
                .next()
                .filter(|part| part.len() == 2 && part.bytes().all(|b| b.is_ascii_hexdigit()))
                .and_then(|part| u8::from_str_radix(part, 16).ok())
                .ok_or_else(|| MacError::Text(text.to_owned()))?;
        }
        if parts.next().is_some() {
            return Err(MacError::Text(text.to_owned()));
        }
        octets.try_into()
    }
}

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&colons(&self.0))
    }
}

impl fmt::Debug for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

fn colons(octets: &[u8; 6]) -> String {
    let [a, b, c, d, e, f] = octets;
    format!("{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{f:02x}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_read_and_written() {
        let mac: Mac = "02:00:0A:00:00:05".parse().unwrap();
        assert_eq!(mac.octets(), [2, 0, 10, 0, 0, 5]);
        assert_eq!(mac.to_string(), "02:00:0a:00:00:05");
    }

    #[test]
    fn malformed_text_is_refused_by_value() {
        for text in
            ["", "02", "02:00:0a:00:00", "02:00:0a:00:00:05:06", "2:0:a:0:0:5", "+2:00:0a:00:00:05"]
        {
            assert_eq!(text.parse::<Mac>(), Err(MacError::Text(text.to_owned())));
        }
    }

    #[test]
    fn group_addresses_and_zero_are_refused() {
        assert_eq!(
            "01:00:5e:00:00:01".parse::<Mac>().unwrap_err().to_string(),
            "MAC address 01:00:5e:00:00:01 is a group address: its first byte must be even, as in \
             02:00:0a:00:00:05"
        );
        assert_eq!("00:00:00:00:00:00".parse::<Mac>(), Err(MacError::Zero));
        assert_eq!(
            Mac::try_from(GATEWAY).unwrap_err().to_string(),
            "MAC address 02:6d:69:7a:61:72 is that of all gateways: choose another, as in \
             02:00:0a:00:00:05"
        );
    }

    #[test]
    fn derived_addresses_are_local_unicast_and_differ_by_vpc_address_and_attempt() {
        let derive = |vni: u32, address: &str, attempt| {
            Mac::derive(vni.try_into().unwrap(), address.parse().unwrap(), attempt)
        };
        for address in ["10.0.0.5", "fd00::5"] {
            let first = derive(1, address, 0);
            assert_eq!(first.octets()[0] & 3, 2);
            assert_ne!(first, derive(2, address, 0));
            assert_ne!(first, derive(1, address, 1));
        }
        assert_eq!(derive(1, "10.0.0.5", 0).octets()[2..], [10, 0, 0, 5]);
        // One attempt of each VPC would come to the gateways' with this address.
        let [_, _, rest @ ..] = GATEWAY;
        let address = IpAddr::from(rest).to_string();
        assert!((0..=u8::MAX).all(|attempt| derive(1, &address, attempt).octets() != GATEWAY));
    }
}
