//! The Internet checksum (RFC 1071) and its incremental update (RFC 1624).

/// Adds bytes, an even number of them but for the last call, to a running sum.
#[inline(always)]
pub const fn add(mut sum: u32, bytes: &[u8]) -> u32 {
    let (words, rest) = bytes.as_chunks::<2>();
    let mut at = 0;
    while at < words.len() {
        sum += u16::from_be_bytes(words[at]) as u32;
        at += 1;
    }
    if let [last] = rest {
        sum += (*last as u32) << 8;
    }
    sum
}

/// Folds a running sum and complements it: the checksum.
#[inline(always)]
pub const fn finish(sum: u32) -> u16 {
    let sum = (sum & 0xffff) + (sum >> 16);
    let sum = (sum & 0xffff) + (sum >> 16);
    !(sum as u16)
}

/// The checksum after a word it covers changes from `old` to `new` (RFC 1624, equation 3).
#[inline(always)]
pub const fn replace(checksum: u16, old: u16, new: u16) -> u16 {
    finish(!checksum as u32 + !old as u32 + new as u32)
}

/// [`replace`] for four bytes.
#[inline(always)]
pub const fn replace4(checksum: u16, old: [u8; 4], new: [u8; 4]) -> u16 {
    let [a, b, c, d] = old;
    let [e, f, g, h] = new;
    finish(
        !checksum as u32
            + !u16::from_be_bytes([a, b]) as u32
            + !u16::from_be_bytes([c, d]) as u32
            + u16::from_be_bytes([e, f]) as u32
            + u16::from_be_bytes([g, h]) as u32,
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn example_of_rfc_1071() {
        let sum = add(0, &[0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7]);
        assert_eq!(finish(sum), !0xddf2);
        assert_eq!(finish(add(0, &[0xff])), !0xff00);
    }

    proptest! {
        #[test]
        fn incremental_equals_full(mut bytes: [u8; 20], at in 0usize..9, new: [u8; 4]) {
            // A header is never all zeros, where the two representations of zero differ.
            prop_assume!(bytes[0] != 0 && at > 0);
            let before = finish(add(0, &bytes));
            let old: [u8; 4] = bytes[at * 2..at * 2 + 4].try_into().unwrap();
            bytes[at * 2..at * 2 + 4].copy_from_slice(&new);
            let after = finish(add(0, &bytes));
            prop_assert_eq!(replace4(before, old, new), after);
            let [a, b, c, d] = old;
            let [e, f, g, h] = new;
            let half = replace(before, u16::from_be_bytes([a, b]), u16::from_be_bytes([e, f]));
            let whole = replace(half, u16::from_be_bytes([c, d]), u16::from_be_bytes([g, h]));
            prop_assert_eq!(whole, after);
        }
    }
}
