//! What is counted, for each VPC and on each CPU.

use crate::Reason;

/// Something that happened to a packet (or to a buffer of many segments, which counts once).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Counter {
    /// It took this way.
    Path(Path),
    /// It was dropped.
    Dropped(Reason),
}

/// Defines the ways with their names and explanations.
macro_rules! paths {
    ($($variant:ident = $name:literal, $text:literal;)*) => {
        /// A way that a packet takes.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(u32)]
        pub enum Path { $(#[doc = $text] $variant,)* }

        impl Path {
            /// All ways, in the order of their numbers.
            pub const ALL: &[Self] = &[$(Self::$variant),*];

            /// Its name, as in metrics.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// What it means, in a sentence.
            pub const fn text(self) -> &'static str {
                match self { $(Self::$variant => $text,)* }
            }
        }
    };
}

paths! {
    SentLocal = "sent_local", "delivered to another endpoint of the same host";
    SentDirect = "sent_direct", "sent straight to the destination's host";
    SentToBouncer = "sent_to_bouncer", "sent to a bouncer of the destination's network";
    SentToDivider = "sent_to_divider", "sent to a divider of the VPC";
    Answered = "answered", "answered on behalf of the network (ARP, ND, DHCP, ICMP)";
    Bounced = "bounced", "re-addressed by this host as a bouncer";
    Divided = "divided", "re-addressed by this host as a divider";
    Missed = "missed", "sent to another bouncer, or on to a divider, for want of a row";
    Returned = "returned", "sent back, to a bouncer or its sender: the endpoint has left this host";
    Arrived = "arrived", "unwrapped for an endpoint of this host";
    ArrivedBounced = "arrived_bounced", "of those, by way of a bouncer";
    Learned = "learned", "taught this host a new or changed location";
    LearnRefused = "learn_refused", "brought an old location, one of a guest here, or had no room";
    TagRefused = "tag_refused", "brought a location that nobody who has the key has signed";
    ClampedMss = "clamped_mss", "had its TCP maximum segment size lowered";
    OamIn = "oam_in", "a control message from another host";
    Echoed = "echoed", "of those, an echo that was answered";
}

/// Rows of one VPC in the counters.
pub const PER_VPC: u32 = 64;

const _: () = assert!(Path::ALL.len() + Reason::ALL.len() <= PER_VPC as usize);

impl Counter {
    /// Its row among those of a VPC.
    #[inline(always)]
    pub const fn row(self) -> u32 {
        match self {
            Self::Path(path) => path as u32,
            Self::Dropped(reason) => Path::ALL.len() as u32 + reason as u32,
        }
    }

    /// The counter of a row; `None` for rows in reserve.
    pub fn from_row(row: u32) -> Option<Self> {
        let row = row as usize;
        let path = Path::ALL.get(row).map(|&path| Self::Path(path));
        path.or_else(|| Reason::ALL.get(row - Path::ALL.len()).map(|&reason| Self::Dropped(reason)))
    }

    /// Its name, as in metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Path(path) => path.name(),
            Self::Dropped(reason) => reason.name(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_counter_has_its_row() {
        let named = (0..PER_VPC).filter_map(Counter::from_row).collect::<Vec<_>>();
        assert_eq!(named.len(), Path::ALL.len() + Reason::ALL.len());
        for (row, counter) in named.iter().enumerate() {
            assert_eq!(counter.row() as usize, row);
        }
    }
}
