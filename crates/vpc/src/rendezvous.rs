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

/// How much a key dislikes a host of this hash and weight: the least wins, and of several hosts
/// each wins as often as its weight says.
///
/// With u uniform in (0, 1) this is -log2(u) / weight. The logarithm is computed in whole numbers,
/// so that every build of every program comes to the same result.
pub(crate) fn dislike(key: u64, hash: u64, weight: u32) -> u64 {
    (negative_log2(mix(key ^ hash)) << 20) / u64::from(weight.max(1))
}

/// -log2(word / 2^64), in units of 2^-32.
fn negative_log2(word: u64) -> u64 {
    const FRACTION: u32 = 32;
    let word = word.max(1);
    let shift = word.leading_zeros();
    // 1.0 is 2^63; each squaring yields the next bit of the logarithm.
    let mut mantissa = word << shift;
    let mut log = u64::from(63 - shift);
    for _ in 0..FRACTION {
        let square = u128::from(mantissa) * u128::from(mantissa);
        let carry = (square >> 127) as u32;
        mantissa = (square >> (63 + carry)) as u64;
        log = log << 1 | u64::from(carry);
    }
    (64 << FRACTION) - log
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
    fn hosts_win_as_often_as_their_weights_say() {
        let hosts = hosts(4).iter().map(hash).collect::<Vec<_>>();
        let mut won = [0; 4];
        for key in 0..10_000 {
            let dislike = |&index: &usize| dislike(mix(key), hosts[index], index as u32 + 1);
            won[(0..4).min_by_key(dislike).unwrap()] += 1;
        }
        for (weight, won) in (1..).zip(won) {
            assert!((weight * 900..weight * 1100).contains(&won), "{won} at weight {weight}");
        }
    }

    #[test]
    fn the_logarithm_is_one() {
        for word in [1, 2, 3, 1 << 20, u64::MAX / 3, u64::MAX / 2, u64::MAX] {
            let exact = 64.0 - (word as f64).log2();
            let found = negative_log2(word) as f64 / 2f64.powi(32);
            assert!((exact - found).abs() < 1e-8, "{word}: {exact} {found}");
        }
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
