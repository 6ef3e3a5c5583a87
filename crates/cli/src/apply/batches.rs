//! Manifests in requests that the controller takes.

use crate::files::Found;
use mizar_controller::api::body::MOST_CHANGES;

/// Most bytes of one request: the controller takes 1 MiB, of which a little is for the rest.
const MOST_BYTES: usize = 1_000_000;

/// Manifests that are applied together.
#[derive(Debug, Default)]
pub(super) struct Batch {
    /// In order.
    pub(super) found: Vec<Found>,
    bytes: usize,
}

/// Cuts manifests into as few batches as can be, in order.
pub(super) fn batches(found: Vec<Found>) -> Vec<Batch> {
    let mut batches: Vec<Batch> = Vec::new();
    for one in found {
        let bytes = serde_json::to_vec(&one.manifest).map_or(0, |json| json.len() + 1);
        match batches.last_mut() {
            Some(last) if last.has_room(bytes) => last.push(one, bytes),
            _ => {
                let mut next = Batch::default();
                next.push(one, bytes);
                batches.push(next);
            }
        }
    }
    batches
}

impl Batch {
    fn has_room(&self, bytes: usize) -> bool {
        self.found.len() < MOST_CHANGES && self.bytes + bytes <= MOST_BYTES
    }

    fn push(&mut self, found: Found, bytes: usize) {
        self.bytes += bytes;
        self.found.push(found);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::files::Place;

    fn vpcs(count: usize, labels: usize) -> Vec<Found> {
        let place = Place { file: "a".to_owned(), line: 1 };
        let labels: Vec<_> = (0..labels).map(|at| format!("k{at}: {}", "v".repeat(63))).collect();
        let one = |at| {
            let labels = labels.join(", ");
            let text = format!(
                "{{kind: Vpc, metadata: {{name: v{at}, labels: {{{labels}}}}}, spec: {{}}}}"
            );
            Found { manifest: serde_saphyr::from_str(&text).unwrap(), place: place.clone() }
        };
        (0..count).map(one).collect()
    }

    #[test]
    fn no_batch_is_larger_than_the_controller_takes() {
        let counts = |found| batches(found).iter().map(|it| it.found.len()).collect::<Vec<_>>();
        assert_eq!(counts(vpcs(1000, 0)), [1000]);
        assert_eq!(counts(vpcs(2001, 0)), [1000, 1000, 1]);
        let large = batches(vpcs(1000, 16));
        assert!(large.len() > 1 && large.iter().all(|batch| batch.bytes <= MOST_BYTES));
        assert!(batches(Vec::new()).is_empty());
    }
}
