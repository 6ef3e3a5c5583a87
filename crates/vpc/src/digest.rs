//! One number that stands for all that a host has of a VPC.
//!
//! Controller and agent compute it each for itself and compare: equal digests mean equal rows, so
//! nothing needs to be sent. Each row is hashed on its own and the hashes are added, so that order
//! does not matter and a table can be digested row by row, wherever its rows are kept.
//!
//! Controllers and agents of different versions compare digests: what is hashed, and how, belongs
//! to the protocol.

use crate::rows::{HeldRow, NetworkRow, PortMigration, PortRow, VpcRows};
use crate::{Attachment, Name, NetworkId, Slot, TagKey, TagKeys};
use ipnet::IpNet;
use std::fmt;
use std::iter::Sum;
use std::net::IpAddr;
use std::ops::Add;
use std::os::unix::ffi::OsStrExt;

/// The digest of some rows; added to that of others, it is the digest of all of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Digest(u64);

impl Digest {
    /// The number that is compared.
    pub const fn get(self) -> u64 {
        self.0
    }

    /// The digest of one row of [`VpcRows::held`].
    pub fn of_held(address: IpAddr, row: &HeldRow) -> Self {
        let hasher = Hasher::new(Kind::Held).address(address).address(row.host);
        hasher.number(row.generation.get()).finish()
    }

    fn of_frame(dividers: &[IpAddr], quota: u32) -> Self {
        let hasher = Hasher::new(Kind::Frame).number(quota.into()).number(dividers.len() as u64);
        dividers.iter().fold(hasher, |hasher, divider| hasher.address(*divider)).finish()
    }

    /// The digest of [`VpcRows::keys`], from which nobody learns them. Without keys it is that of
    /// nothing: so it was before there were any.
    pub fn of_keys(keys: Option<&TagKeys>) -> Self {
        let Some(keys) = keys else { return Self::default() };
        let hasher = Hasher::new(Kind::Keys).number(keys.epoch).number(keys.required.into());
        let of = keys.keys().map(TagKey::fingerprint);
        of.into_iter().fold(hasher, Hasher::number).finish()
    }

    fn of_network(id: NetworkId, row: &NetworkRow) -> Self {
        let mut hasher = Hasher::new(Kind::Network).number(id.get().into());
        for prefix in [row.v4.map(IpNet::V4), row.v6.map(IpNet::V6)] {
            hasher = hasher.optional(prefix.map(|prefix| prefix.network()));
            hasher = hasher.number(prefix.map_or(0, |prefix| prefix.prefix_len().into()));
        }
        hasher = hasher.optional(row.v4_gateway.map(IpAddr::V4));
        hasher = hasher.optional(row.v6_gateway.map(IpAddr::V6));
        // Who holds a slot counts, not how the table of hosts is arranged.
        for slot in Slot::all() {
            hasher = hasher.number(row.holders.holders(slot).count() as u64);
            hasher = row.holders.holders(slot).fold(hasher, Hasher::address);
        }
        hasher.finish()
    }

    fn of_port(name: &Name, row: &PortRow) -> Self {
        let [a, b, c, d, e, f] = row.mac.octets();
        let hasher = Hasher::new(Kind::Port)
            .bytes(name.as_str().as_bytes())
            .number(row.network.get().into())
            .number(u64::from_be_bytes([0, 0, a, b, c, d, e, f]))
            .optional(row.v4.map(IpAddr::V4))
            .optional(row.v6.map(IpAddr::V6))
            .number(row.generation.get());
        let hasher = hasher.attachment(&row.attachment);
        match row.migration {
            None => hasher,
            Some(PortMigration::To(host)) => hasher.bytes(b"to").address(host),
            Some(PortMigration::Here) => hasher.bytes(b"here"),
        }
        .finish()
    }
}

impl VpcRows {
    /// The digest of all rows, of the dividers in their order, of the quota and the keys.
    pub fn digest(&self) -> Digest {
        let networks = self.networks.iter().map(|(id, row)| Digest::of_network(*id, row));
        let ports = self.ports.iter().map(|(name, row)| Digest::of_port(name, row));
        let held = self.held.iter().map(|(address, row)| Digest::of_held(*address, row));
        let rows: Digest = networks.chain(ports).chain(held).sum();
        let frame = Digest::of_frame(&self.dividers, self.quota);
        rows + frame + Digest::of_keys(self.keys.as_ref())
    }
}

impl From<u64> for Digest {
    fn from(number: u64) -> Self {
        Self(number)
    }
}

impl Add for Digest {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self(self.0.wrapping_add(other.0))
    }
}

impl Sum for Digest {
    fn sum<I: Iterator<Item = Self>>(digests: I) -> Self {
        digests.fold(Self::default(), Add::add)
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// What is hashed: rows of two tables never have the same bytes.
#[derive(Clone, Copy)]
enum Kind {
    Frame = 1,
    Network = 2,
    Port = 3,
    Held = 4,
    Keys = 5,
}

/// Hashes words: each is mixed in whole before the next one. Not against forgers: both ends of
/// the stream trust each other.
struct Hasher(u64);

impl Hasher {
    fn new(kind: Kind) -> Self {
        Self(0).number(kind as u64)
    }

    fn number(self, number: u64) -> Self {
        Self(mix(self.0.rotate_left(29) ^ number))
    }

    fn address(self, address: IpAddr) -> Self {
        match address {
            IpAddr::V4(v4) => self.number(4 << 32 | u64::from(v4.to_bits())),
            IpAddr::V6(v6) => {
                let bits = v6.to_bits();
                self.number(6).number((bits >> 64) as u64).number(bits as u64)
            }
        }
    }

    fn optional(self, address: Option<IpAddr>) -> Self {
        match address {
            Some(address) => self.address(address),
            None => self.number(0),
        }
    }

    fn attachment(self, attachment: &Attachment) -> Self {
        match attachment {
            Attachment::Veth { netns, interface } => {
                let netns = netns.as_os_str().as_bytes();
                self.bytes(b"veth").bytes(netns).bytes(interface.as_bytes())
            }
            Attachment::Host { interface, routes } => {
                let hasher = self.bytes(b"host").bytes(interface.as_bytes());
                routes.iter().fold(hasher.number(routes.len() as u64), |hasher, route| {
                    hasher.address(route.network()).number(route.prefix_len().into())
                })
            }
        }
    }

    fn bytes(self, bytes: &[u8]) -> Self {
        let words = bytes.chunks(8).map(|chunk| {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            u64::from_le_bytes(word)
        });
        words.fold(self.number(bytes.len() as u64), Self::number)
    }

    fn finish(self) -> Digest {
        Digest(mix(self.0))
    }
}

/// One step of SplitMix64, which spreads every bit of its input over all of its output.
const fn mix(word: u64) -> u64 {
    let word = word.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ (word >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Generation;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn equal_rows_have_equal_digests_and_others_do_not(a: VpcRows, b: VpcRows) {
            prop_assert_eq!(a.digest(), a.clone().digest());
            prop_assert_eq!(a == b, a.digest() == b.digest());
        }

        #[test]
        fn held_rows_may_be_kept_and_digested_elsewhere(rows: VpcRows) {
            let held = rows.held.iter().rev().map(|(at, row)| Digest::of_held(*at, row)).sum();
            let rest = VpcRows { held: [].into(), ..rows.clone() };
            prop_assert_eq!(rest.digest() + held, rows.digest());
        }

        #[test]
        fn every_row_and_the_order_of_dividers_count(rows: VpcRows) {
            let digest = rows.digest();
            let less = |change: fn(&mut VpcRows)| {
                let mut other = rows.clone();
                change(&mut other);
                other == rows || other.digest() != digest
            };
            prop_assert!(less(|rows| drop(rows.networks.pop_first())));
            prop_assert!(less(|rows| drop(rows.ports.pop_first())));
            prop_assert!(less(|rows| _ = rows.held.pop_last()));
            prop_assert!(less(|rows| rows.dividers.reverse()));
            prop_assert!(less(|rows| rows.quota ^= 1));
            prop_assert!(less(|rows| rows.keys = None));
        }
    }

    #[test]
    fn a_slot_s_holders_count_however_their_table_is_arranged() {
        let hosts = ["100.64.0.1", "100.64.0.2"].map(|host| host.parse::<IpAddr>().unwrap());
        let row = |hosts: [IpAddr; 2], slot: [u16; 2]| NetworkRow {
            v4: Some("10.0.0.0/24".parse().unwrap()),
            v6: None,
            v4_gateway: None,
            v6_gateway: None,
            holders: crate::SlotHolders { hosts: hosts.into(), slots: vec![slot.into(); 256] },
        };
        let [a, b] = hosts;
        let digest = |row| Digest::of_network(NetworkId::MIN, &row);
        assert_eq!(digest(row([a, b], [0, 1])), digest(row([b, a], [1, 0])));
        assert_ne!(digest(row([a, b], [0, 1])), digest(row([a, b], [1, 0])));
    }

    #[test]
    fn the_numbers_never_change() {
        let generation = Generation::new(1, 7).unwrap();
        let held = |address: &str| {
            let row = HeldRow { host: "100.64.0.2".parse().unwrap(), generation };
            Digest::of_held(address.parse().unwrap(), &row).to_string()
        };
        let frame = VpcRows { quota: 100, ..VpcRows::default() };
        let digests = [held("10.0.0.9"), held("fd00::9"), frame.digest().to_string()];
        assert_eq!(digests, ["c732b9b0969cdd2f", "13838fad49dd2e6d", "ca34f0858783636b"]);
    }
}
