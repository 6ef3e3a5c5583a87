//! Time as an argument.

use std::time::Duration;

/// Time since the controller started, or since any other moment that is the same for all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Time(Duration);

impl Time {
    /// That long after the beginning.
    pub const fn after(duration: Duration) -> Self {
        Self(duration)
    }

    /// How long ago that was; nothing if it is yet to come.
    pub fn since(self, earlier: Self) -> Duration {
        self.0.saturating_sub(earlier.0)
    }
}
