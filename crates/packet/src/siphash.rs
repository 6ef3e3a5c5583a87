//! SipHash-2-4 (Aumasson and Bernstein, 2012): a keyed hash of short messages that nobody without
//! the key can compute.

/// The hash of a message that is whole words, its bytes read as little-endian ones.
///
/// Every loop has a fixed number of rounds: the kernel programs run it too.
#[inline(always)]
pub(crate) fn siphash<const N: usize>(key: [u64; 2], message: &[u64; N]) -> u64 {
    let mut state = State([
        key[0] ^ 0x736f_6d65_7073_6575,
        key[1] ^ 0x646f_7261_6e64_6f6d,
        key[0] ^ 0x6c79_6765_6e65_7261,
        key[1] ^ 0x7465_6462_7974_6573,
    ]);
    for &word in message {
        state.absorb(word);
    }
    state.absorb((N as u64 * 8) << 56);
    state.0[2] ^= 0xff;
    for _ in 0..4 {
        state.round();
    }
    let [a, b, c, d] = state.0;
    a ^ b ^ c ^ d
}

struct State([u64; 4]);

impl State {
    #[inline(always)]
    fn absorb(&mut self, word: u64) {
        self.0[3] ^= word;
        self.round();
        self.round();
        self.0[0] ^= word;
    }

    #[inline(always)]
    fn round(&mut self) {
        let [mut a, mut b, mut c, mut d] = self.0;
        a = a.wrapping_add(b);
        b = b.rotate_left(13) ^ a;
        a = a.rotate_left(32);
        c = c.wrapping_add(d);
        d = d.rotate_left(16) ^ c;
        a = a.wrapping_add(d);
        d = d.rotate_left(21) ^ a;
        c = c.wrapping_add(b);
        b = b.rotate_left(17) ^ c;
        c = c.rotate_left(32);
        self.0 = [a, b, c, d];
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The first words of the message 00 01 02 … of the reference implementation's vectors.
    fn message<const N: usize>() -> [u64; N] {
        core::array::from_fn(|word| {
            u64::from_le_bytes(core::array::from_fn(|byte| (word * 8 + byte) as u8))
        })
    }

    #[test]
    fn the_reference_vectors_come_out() {
        let [low, high] = message();
        let key = [low, high];
        let bytes = |hash: u64| hash.to_le_bytes();
        // `vectors_sip64` of the reference implementation, for 0, 8, … 32 bytes.
        assert_eq!(bytes(siphash(key, &message::<0>())), *b"\x31\x0e\x0e\xdd\x47\xdb\x6f\x72");
        assert_eq!(bytes(siphash(key, &message::<1>())), *b"\x62\x24\x93\x9a\x79\xf5\xf5\x93");
        assert_eq!(bytes(siphash(key, &message::<2>())), *b"\xdb\x9b\xc2\x57\x7f\xcc\x2a\x3f");
        assert_eq!(bytes(siphash(key, &message::<3>())), *b"\x94\xaf\x49\xf6\xc6\x50\xad\xb8");
        assert_eq!(bytes(siphash(key, &message::<4>())), *b"\xce\x7c\xf2\x72\x2f\x51\x27\x71");
    }

    #[test]
    fn it_is_what_the_standard_library_had_under_that_name() {
        use std::hash::Hasher;
        for seed in 0..100u64 {
            let key = [seed.wrapping_mul(0x9e37_79b9_7f4a_7c15), !seed << 7];
            let words = [seed, key[0].rotate_left(9), 0, u64::MAX, key[1], 5, 6, seed << 40];
            #[expect(deprecated, reason = "it has another name for hashing, and none for its keys")]
            let mut hasher = std::hash::SipHasher::new_with_keys(key[0], key[1]);
            for word in words {
                hasher.write(&word.to_le_bytes());
            }
            assert_eq!(siphash(key, &words), hasher.finish());
        }
    }
}
