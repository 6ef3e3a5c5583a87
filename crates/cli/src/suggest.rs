//! What somebody may have meant.

/// Names with more edits than this mean something else.
const MOST_EDITS: usize = 2;

/// The name nearest to a text, if one is near.
pub(crate) fn nearest<'a>(text: &str, names: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let most = MOST_EDITS.min(text.chars().count().saturating_sub(1));
    let near = names.into_iter().map(|name| (edits(text, name), name));
    near.filter(|(edits, _)| (1..=most).contains(edits)).min().map(|(_, name)| name)
}

/// How many characters must be inserted, removed, replaced or swapped with the next one.
fn edits(from: &str, to: &str) -> usize {
    let (from, to): (Vec<_>, Vec<_>) = (from.chars().collect(), to.chars().collect());
    let mut rows = vec![(0..=to.len()).collect::<Vec<_>>()];
    for (i, a) in from.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, b) in to.iter().enumerate() {
            let replaced = rows[i][j] + usize::from(a != b);
            let mut least = replaced.min(rows[i][j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && *a == to[j - 1] && from[i - 1] == *b {
                least = least.min(rows[i - 1][j - 1] + 1);
            }
            row.push(least);
        }
        rows.push(row);
    }
    rows[from.len()][to.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn edits_are_counted() {
        for (from, to, count) in [
            ("web", "web", 0),
            ("web", "wbe", 1),
            ("web-1", "web1", 1),
            ("web", "web-12", 3),
            ("", "ab", 2),
            ("kitten", "sitting", 3),
        ] {
            assert_eq!(edits(from, to), count, "{from} {to}");
            assert_eq!(edits(to, from), count, "{to} {from}");
        }
    }

    #[test]
    fn only_what_is_near_is_suggested() {
        let names = ["web-1", "web-2", "database"];
        assert_eq!(nearest("wbe-1", names), Some("web-1"));
        assert_eq!(nearest("databaes", names), Some("database"));
        assert_eq!(nearest("cache", names), None);
        assert_eq!(nearest("a", ["b"]), None);
    }
}
