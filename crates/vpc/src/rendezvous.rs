//! Rendezvous hashing: every key ranks the hosts in an order of its own, and a host that comes or
//! goes moves only the keys that it wins or leaves.

use crate::Name;

/// The indices of `hosts` in the order in which `key` prefers them.
pub(crate) fn ranking(key: u64, hosts: &[Name]) -> Vec<usize> {
    let mut order: Vec<_> = (0..hosts.len()).collect();
    order.sort_by_cached_key(|&index| {
        let host = &hosts[index];
        (u64::MAX - mix(key ^ hash(host)), host.clone())
    });
    order
}

/// A 64-bit hash of a name: FNV-1a, finished by [`mix`].
pub(crate) fn hash(name: &Name) -> u64 {
    let fold = |hash: u64, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    mix(name.as_str().bytes().fold(0xcbf2_9ce4_8422_2325, fold))
}

/// Spreads every bit over all others (the finalizer of SplitMix64).
pub(crate) fn mix(word: u64) -> u64 {
    let word = word.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ (word >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hosts(count: usize) -> Vec<Name> {
        (0..count).map(|i| format!("h{i}").parse().unwrap()).collect()
    }

    #[test]
    fn every_key_ranks_all_hosts_and_first_places_are_spread_evenly() {
        let hosts = hosts(8);
        let mut first = [0; 8];
        for key in 0..8_000 {
            let mut order = ranking(mix(key), &hosts);
            first[order[0]] += 1;
            order.sort_unstable();
            assert_eq!(order, (0..8).collect::<Vec<_>>());
        }
        assert!(first.iter().all(|&n| (850..1150).contains(&n)), "{first:?}");
    }

    #[test]
    fn a_host_that_leaves_moves_only_its_own_keys() {
        let (all, fewer) = (hosts(8), hosts(7));
        for key in 0..1_000 {
            let before: Vec<_> = ranking(key, &all).into_iter().filter(|&i| i != 7).collect();
            assert_eq!(before, ranking(key, &fewer));
        }
    }
}
