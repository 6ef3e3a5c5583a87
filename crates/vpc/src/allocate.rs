//! Chooses addresses for endpoints that ask for none.

use crate::{Mac, Problem, Slot, Vni};
use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The addresses of one VPC, with the paths of those who have them.
#[derive(Debug, Default)]
pub(crate) struct Addresses {
    ips: BTreeMap<IpAddr, String>,
    macs: BTreeMap<Mac, String>,
    /// For each prefix, how many of its first addresses need not be looked at again.
    searched: BTreeMap<IpNet, u128>,
}

impl Addresses {
    /// Gives an address to the resource at `path`, unless another one has it.
    pub(crate) fn claim(&mut self, address: IpAddr, path: &str) -> Result<(), Problem> {
        claim(&mut self.ips, address, path)
    }

    /// Gives a MAC address to the resource at `path`, unless another one has it.
    pub(crate) fn claim_mac(&mut self, mac: Mac, path: &str) -> Result<(), Problem> {
        claim(&mut self.macs, mac, path)
    }

    /// The lowest free IPv4 address of `prefix` that an endpoint may have.
    pub(crate) fn free_v4(&mut self, prefix: Ipv4Net) -> Result<Ipv4Addr, Problem> {
        let base = u32::from(prefix.network());
        let count = u128::from(u32::from(prefix.broadcast()) - base);
        self.lowest(prefix.into(), count, |offset| Ipv4Addr::from(base + offset as u32))
    }

    /// A free IPv6 address of `prefix`: one in the slot of `v4`, or the lowest.
    ///
    /// The one in the slot shows `v4`, 16 bits from the right: `fd00::a00:5:7b` for 10.0.0.5.
    pub(crate) fn free_v6(
        &mut self,
        prefix: Ipv6Net,
        v4: Option<Ipv4Addr>,
    ) -> Result<Ipv6Addr, Problem> {
        let base = u128::from(prefix.network());
        let mask = u128::MAX.checked_shr(prefix.prefix_len().into()).unwrap_or(0);
        let Some(v4) = v4 else {
            let count = mask.saturating_add(1);
            return self.lowest(prefix.into(), count, |offset| Ipv6Addr::from(base + offset));
        };
        let start = u128::from(u32::from(v4)) << SLOT_SEARCH_BITS;
        (0..=mask.min((1 << SLOT_SEARCH_BITS) - 1))
            .map(|step| start.wrapping_add(step) & mask)
            .filter(|&offset| offset != 0)
            .map(|offset| Ipv6Addr::from(base + offset))
            .find(|&v6| Slot::of(v6) == Slot::of(v4) && !self.ips.contains_key(&v6.into()))
            .ok_or(Problem::SlotExhausted { prefix: prefix.into(), v4: v4.into() })
    }

    /// A free MAC address for the endpoint that has `address`.
    pub(crate) fn free_mac(&self, vni: Vni, address: IpAddr) -> Result<Mac, Problem> {
        (0..=u8::MAX)
            .map(|attempt| Mac::derive(vni, address, attempt))
            .find(|mac| !self.macs.contains_key(mac))
            .ok_or(Problem::NoneLeft("MAC addresses"))
    }

    /// The first of `at(1)` to `at(count - 1)` that is free. Addresses are only ever claimed, so
    /// what was searched once is not searched again.
    fn lowest<A: Copy + Into<IpAddr>>(
        &mut self,
        prefix: IpNet,
        count: u128,
        at: impl Fn(u128) -> A,
    ) -> Result<A, Problem> {
        let start = self.searched.get(&prefix).copied().unwrap_or(1);
        let free = (start..count).find(|&offset| !self.ips.contains_key(&at(offset).into()));
        let free = free.ok_or(Problem::Exhausted { prefix })?;
        self.searched.insert(prefix, free);
        Ok(at(free))
    }
}

/// How many steps are tried for an address of one slot: 2¹⁶, where 2⁸ are expected.
const SLOT_SEARCH_BITS: u32 = 16;

fn claim<K: Ord + Copy + ToString>(
    taken: &mut BTreeMap<K, String>,
    key: K,
    path: &str,
) -> Result<(), Problem> {
    if let Some(by) = taken.get(&key) {
        return Err(Problem::Taken { value: key.to_string(), by: by.clone() });
    }
    taken.insert(key, path.to_owned());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn v4(prefix: &str) -> Ipv4Net {
        prefix.parse().unwrap()
    }

    #[test]
    fn the_lowest_free_ipv4_address_is_chosen_until_none_is_left() {
        let mut addresses = Addresses::default();
        addresses.claim("10.0.0.1".parse().unwrap(), "gateway").unwrap();
        addresses.claim("10.0.0.3".parse().unwrap(), "a").unwrap();
        for expected in ["10.0.0.2", "10.0.0.4", "10.0.0.5", "10.0.0.6"] {
            let chosen = addresses.free_v4(v4("10.0.0.0/29")).unwrap();
            assert_eq!(chosen.to_string(), expected);
            addresses.claim(chosen.into(), "b").unwrap();
        }
        let error = addresses.free_v4(v4("10.0.0.0/29")).unwrap_err();
        assert_eq!(error, Problem::Exhausted { prefix: "10.0.0.0/29".parse().unwrap() });
    }

    #[test]
    fn the_ipv6_address_shares_the_slot_of_the_ipv4_address_and_shows_it() {
        let mut addresses = Addresses::default();
        for length in [16, 64, 96, 112] {
            let prefix: Ipv6Net = format!("fd00::/{length}").parse().unwrap();
            let v4 = Ipv4Addr::new(10, 0, 0, 5);
            let v6 = addresses.free_v6(prefix, Some(v4)).unwrap();
            assert_eq!(Slot::of(v6), Slot::of(v4));
            assert!(prefix.contains(&v6));
            addresses.claim(v6.into(), "a").unwrap();
            if length <= 64 {
                assert_eq!(v6.segments()[5..7], [0x0a00, 5]);
            }
        }
    }

    #[test]
    fn a_prefix_without_room_in_the_slot_is_refused() {
        let prefix: Ipv6Net = "fd00::/126".parse().unwrap();
        let v4 = (1..=255).map(|d| Ipv4Addr::new(10, 0, 0, d));
        let results: Vec<_> = v4.map(|v4| Addresses::default().free_v6(prefix, Some(v4))).collect();
        assert!(results.iter().any(|r| matches!(r, Err(Problem::SlotExhausted { .. }))));
    }

    #[test]
    fn without_an_ipv4_address_the_lowest_ipv6_address_is_chosen() {
        let mut addresses = Addresses::default();
        let prefix = "fd00::/64".parse().unwrap();
        assert_eq!(addresses.free_v6(prefix, None).unwrap().to_string(), "fd00::1");
    }

    #[test]
    fn a_derived_mac_address_makes_way_for_one_that_was_asked_for() {
        let mut addresses = Addresses::default();
        let ip = "10.0.0.5".parse().unwrap();
        let first = addresses.free_mac(Vni::MIN, ip).unwrap();
        addresses.claim_mac(first, "a").unwrap();
        let second = addresses.free_mac(Vni::MIN, ip).unwrap();
        assert_ne!(first, second);
        assert!(addresses.claim_mac(first, "b").is_err());
    }
}
