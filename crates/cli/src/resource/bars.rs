//! Numbers as bars, for an eye that compares.

/// Width of the longest bar.
const WIDTH: u64 = 30;

/// A bar for a value among others: from where it begins to where it ends, out of `most`.
pub(super) fn bar(begin: u64, end: u64, most: u64) -> String {
    let at = |value: u64| {
        let place = u128::from(value) * u128::from(WIDTH) / u128::from(most.max(1));
        usize::try_from(place).unwrap_or_default()
    };
    let (begin, end) = (at(begin.min(end)), at(end));
    // What is there at all is seen.
    format!("{}{}", " ".repeat(begin), "█".repeat((end - begin).max(1)))
}

/// Microseconds with a unit that keeps them short.
pub(super) fn micros(micros: u64) -> String {
    match micros {
        0..1_000 => format!("{micros} µs"),
        1_000..1_000_000 => format!("{:.1} ms", micros as f64 / 1e3),
        _ => format!("{:.1} s", micros as f64 / 1e6),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_stands_where_its_value_is() {
        assert_eq!(bar(0, 10, 10).chars().count(), 30);
        assert_eq!(bar(5, 10, 10), format!("{}{}", " ".repeat(15), "█".repeat(15)));
        assert_eq!(bar(0, 0, 10), "█");
        assert_eq!(bar(0, 0, 0), "█");
        assert_eq!(bar(u64::MAX, u64::MAX, u64::MAX).trim(), "█");
    }

    #[test]
    fn times_are_short() {
        let texts = [950, 1_840, 2_500_000].map(micros);
        assert_eq!(texts, ["950 µs", "1.8 ms", "2.5 s"]);
    }
}
