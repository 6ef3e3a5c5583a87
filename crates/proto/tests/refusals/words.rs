//! Words of refusals.

/// Checks the words with which a message is refused.
macro_rules! refused {
    ($type:ty, $message:expr, $words:expr) => {
        assert_eq!(<$type>::try_from($message).unwrap_err().to_string(), $words)
    };
}
