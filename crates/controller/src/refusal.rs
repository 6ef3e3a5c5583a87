//! Refusals of the catalog as the API has them.

use crate::engine::{FieldError, Refusal, RefusalKind};
use mizar_vpc::Refused;

/// A refusal of the catalog as the API has it.
pub(crate) fn refusal_of(refused: Refused) -> Refusal {
    let detail = refused.to_string();
    let kind = match &refused {
        Refused::Invalid { .. } | Refused::ReadOnly(_) => RefusalKind::Invalid,
        Refused::NotFound(_) => RefusalKind::NotFound,
        Refused::Exists(_) => RefusalKind::Exists,
        Refused::Conflict { .. } => RefusalKind::Conflict,
        Refused::InUse { .. } | Refused::TooMany { .. } => RefusalKind::InUse,
    };
    let fields = match refused {
        Refused::Invalid { reference, field, problem } => {
            vec![FieldError { change: 0, reference, field, problem: problem.to_string() }]
        }
        _ => Vec::new(),
    };
    Refusal { kind, detail, fields }
}

impl Refusal {
    /// The same, of the change at this position of a request.
    pub(crate) fn of_change(mut self, change: usize) -> Self {
        for field in &mut self.fields {
            field.change = change;
        }
        self
    }
}
