//! Names of resources.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use thiserror::Error;

/// A resource's name: a DNS label (RFC 1123, 2.1) in lower case, 1 to 63 bytes. Clones share it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Name(Arc<str>);

/// A text that is no name.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error(
    "name {0:?} is no DNS label: it must have 1 to 63 characters of a-z, 0-9 and '-', and neither \
     start nor end with '-'"
)]
pub struct NameError(pub String);

impl Name {
    /// Longest name in bytes.
    pub const MAX_LENGTH: usize = 63;

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for Name {
    type Error = NameError;

    fn try_from(text: String) -> Result<Self, NameError> {
        if is_label(&text) { Ok(Self(text.into())) } else { Err(NameError(text)) }
    }
}

impl FromStr for Name {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        if is_label(text) { Ok(Self(text.into())) } else { Err(NameError(text.to_owned())) }
    }
}

impl From<Name> for String {
    fn from(name: Name) -> Self {
        name.0.as_ref().to_owned()
    }
}

impl AsRef<str> for Name {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl std::borrow::Borrow<str> for Name {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

fn is_label(text: &str) -> bool {
    (1..=Name::MAX_LENGTH).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
        && !text.starts_with('-')
        && !text.ends_with('-')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dns_labels_are_names() {
        for text in ["a", "0", "web-1", "a--b", &"x".repeat(63)] {
            assert_eq!(text.parse::<Name>().unwrap().as_str(), text);
        }
    }

    #[test]
    fn what_is_no_dns_label_is_refused_by_value() {
        for text in ["", "-a", "a-", "Web", "a.b", "a_b", "ä", "a b", "a\n", &"x".repeat(64)] {
            let error = text.parse::<Name>().unwrap_err();
            assert_eq!(error, NameError(text.to_owned()));
            assert!(error.to_string().contains(&format!("{text:?}")), "{error}");
        }
    }
}
