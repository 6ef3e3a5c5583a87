//! The IPv4 addresses of one network: which are in use, and which to give next.

use ipnet::Ipv4Net;
use std::net::Ipv4Addr;

/// A bit for each address of a prefix, and where to look for the next free one.
///
/// Addresses are given one after another, beginning anew at the end, so that one that was released
/// comes again as late as possible.
#[derive(Debug, Default)]
pub(super) struct Pool {
    /// Grows to the highest address in use.
    words: Vec<u64>,
    used: u32,
    /// The distance of the address that was chosen last from the prefix's first: the search goes on
    /// behind it.
    pub(super) last: u32,
}

impl Pool {
    /// Takes an address out of the pool.
    pub(super) fn take(&mut self, prefix: Ipv4Net, address: Ipv4Addr) {
        let (word, bit) = place(offset(prefix, address));
        if self.words.len() <= word {
            self.words.resize(word + 1, 0);
        }
        self.used += u32::from(self.words[word] & bit == 0);
        self.words[word] |= bit;
    }

    /// Gives an address back.
    pub(super) fn release(&mut self, prefix: Ipv4Net, address: Ipv4Addr) {
        let (word, bit) = place(offset(prefix, address));
        if let Some(word) = self.words.get_mut(word) {
            self.used -= u32::from(*word & bit != 0);
            *word &= !bit;
        }
    }

    /// A free address that an endpoint may have: neither the network's nor the broadcast address.
    pub(super) fn free(&self, prefix: Ipv4Net) -> Option<Ipv4Addr> {
        let last = offset(prefix, prefix.broadcast());
        if self.used >= last - 1 {
            return None;
        }
        let start = self.last.wrapping_add(1);
        let start = if (1..last).contains(&start) { start } else { 1 };
        let found = self.first_free(start, last).or_else(|| self.first_free(1, start));
        found.map(|offset| Ipv4Addr::from(u32::from(prefix.network()) + offset))
    }

    /// The first free one of `start..end`.
    fn first_free(&self, start: u32, end: u32) -> Option<u32> {
        let mut at = start;
        while at < end {
            let (word, bit) = place(at);
            let Some(word) = self.words.get(word) else { return Some(at) };
            let free = !*word & !(bit - 1);
            if free != 0 {
                return Some((at & !63) + free.trailing_zeros()).filter(|at| *at < end);
            }
            at = (at & !63) + 64;
        }
        None
    }
}

fn offset(prefix: Ipv4Net, address: Ipv4Addr) -> u32 {
    u32::from(address).wrapping_sub(u32::from(prefix.network()))
}

fn place(offset: u32) -> (usize, u64) {
    ((offset / 64) as usize, 1 << (offset % 64))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn give(pool: &mut Pool, prefix: Ipv4Net) -> Option<Ipv4Addr> {
        let address = pool.free(prefix)?;
        pool.take(prefix, address);
        pool.last = offset(prefix, address);
        Some(address)
    }

    #[test]
    fn a_released_address_comes_again_last() {
        let prefix: Ipv4Net = "10.0.0.0/29".parse().unwrap();
        let mut pool = Pool::default();
        let given: Vec<_> = (0..3).map(|_| give(&mut pool, prefix).unwrap()).collect();
        pool.release(prefix, given[1]);
        let next: Vec<_> = (3..8).map(|_| give(&mut pool, prefix)).collect();
        let last = |n: u8| Some(Ipv4Addr::new(10, 0, 0, n));
        assert_eq!(next, [last(4), last(5), last(6), last(2), None]);
    }

    proptest! {
        #[test]
        fn every_free_address_is_given_once(taken: BTreeSet<u8>, last: u8) {
            let prefix: Ipv4Net = "10.0.0.0/24".parse().unwrap();
            let mut pool = Pool { last: last.into(), ..Pool::default() };
            for &last in &taken {
                pool.take(prefix, Ipv4Addr::new(10, 0, 0, last));
            }
            let ends = [0, 255].iter().filter(|end| taken.contains(end)).count();
            // Nobody has the ends; whoever took them makes the pool look fuller than it is.
            let mut given = BTreeSet::new();
            while let Some(address) = give(&mut pool, prefix) {
                let [.., last] = address.octets();
                prop_assert!(last != 0 && last != 255 && !taken.contains(&last));
                prop_assert!(given.insert(last));
            }
            prop_assert!(given.len() + taken.len() >= 254);
            prop_assert!(given.len() + taken.len() <= 254 + ends);
        }
    }
}
