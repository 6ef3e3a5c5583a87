//! Errors as text.

use std::error::Error;

/// An error and its sources, as one line.
pub(crate) fn chain(error: &dyn Error) -> String {
    let sources = std::iter::successors(error.source(), |source| Error::source(*source));
    sources.fold(error.to_string(), |text, source| format!("{text}: {source}"))
}
