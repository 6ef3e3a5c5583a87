//! What a host has once and for all, however often the layout of its tables changes.
//!
//! While the programs of one layout replace those of another, a frame that one of them has sent
//! meets the other's on the NIC, and an echo that the agent has sent is answered to either.

use crate::tables::Config;
use core::mem::offset_of;
use zerocopy::FromBytes;

/// What the tables of a new layout take over from those of the old one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Carried {
    /// [`Config::echo_cookie`].
    pub echo_cookie: u64,
    /// [`Config::mark`].
    pub mark: u32,
}

/// Where both stand in the row, in every layout from 3 on: the mark from the row's end.
const ECHO_COOKIE: usize = 80;
const MARK_FROM_END: usize = 12;

const _: () = {
    assert!(offset_of!(Config, echo_cookie) == ECHO_COOKIE);
    assert!(offset_of!(Config, mark) + MARK_FROM_END == size_of::<Config>());
};

impl Carried {
    /// Reads the row of [`Config`] that another layout has; None if it is too short to be one.
    pub fn read(config: &[u8]) -> Option<Self> {
        let mark = config.len().checked_sub(MARK_FROM_END)?;
        let (echo_cookie, _) = u64::read_from_prefix(config.get(ECHO_COOKIE..)?).ok()?;
        let (mark, _) = u32::read_from_prefix(config.get(mark..)?).ok()?;
        Some(Self { echo_cookie, mark })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use zerocopy::IntoBytes;

    #[test]
    fn it_is_found_in_rows_of_this_layout_and_of_longer_ones() {
        let row = Config { echo_cookie: 1 << 40 | 7, mark: 9, ..Config::EMPTY };
        let carried = Carried { echo_cookie: row.echo_cookie, mark: 9 };
        assert_eq!(Carried::read(row.as_bytes()), Some(carried));
        let (front, back) = row.as_bytes().split_at(96);
        assert_eq!(Carried::read(&[front, &[1; 24], back].concat()), Some(carried));
        assert_eq!(Carried::read(&row.as_bytes()[..84]), None);
    }
}
