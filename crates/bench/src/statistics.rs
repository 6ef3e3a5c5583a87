//! Medians of rounds, and how far the rounds lie apart.

/// The middle of some rounds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Middle {
    /// The median.
    pub(crate) median: f64,
    /// How far apart the quarters are: half of all rounds lie within so much.
    pub(crate) spread: f64,
}

/// The median of rounds and their spread; of no rounds, not a number.
pub(crate) fn middle(rounds: &[f64]) -> Middle {
    let mut sorted = rounds.to_vec();
    sorted.sort_by(f64::total_cmp);
    Middle { median: at(&sorted, 0.5), spread: at(&sorted, 0.75) - at(&sorted, 0.25) }
}

/// The value that 99 of 100 rounds are at or below.
pub(crate) fn p99(rounds: &[f64]) -> f64 {
    let mut sorted = rounds.to_vec();
    sorted.sort_by(f64::total_cmp);
    at(&sorted, 0.99)
}

/// The value at a part of the way through sorted ones, between two of them if need be.
fn at(sorted: &[f64], part: f64) -> f64 {
    let Some(last) = sorted.len().checked_sub(1) else { return f64::NAN };
    let place = last as f64 * part;
    let (low, high) = (sorted[place.floor() as usize], sorted[place.ceil() as usize]);
    low + (high - low) * place.fract()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outlier_moves_neither_median_nor_spread_far() {
        assert_eq!(middle(&[5.0, 1.0, 3.0, 2.0, 900.0]), Middle { median: 3.0, spread: 3.0 });
        assert_eq!(middle(&[1.0, 2.0]), Middle { median: 1.5, spread: 0.5 });
        assert!(middle(&[]).median.is_nan());
    }
}
