//! Labels, and selectors of what has them.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use thiserror::Error;

/// What tells resources apart, beside their names: at most 16 keys with values.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "BTreeMap<String, String>", into = "BTreeMap<String, String>")]
pub struct Labels(BTreeMap<Box<str>, Box<str>>);

/// Why labels or selectors are refused.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum LabelError {
    /// Too many of them.
    #[error("{0} labels are too many: there may be at most {most}", most = Labels::MOST)]
    Count(usize),
    /// A key.
    #[error(
        "label key {0:?} is malformed: it must have 1 to 63 letters, digits, '-', '_', '.' and \
         '/', and begin and end with a letter or digit"
    )]
    Key(String),
    /// A value.
    #[error(
        "label value {0:?} is malformed: it must have at most 63 letters, digits, '-', '_' and \
         '.', and begin and end with a letter or digit"
    )]
    Value(String),
    /// A requirement of a selector.
    #[error(
        "selector {0:?} is malformed: it must be requirements such as app=web, tier!=db, zone or \
         !zone, separated by commas"
    )]
    Selector(String),
}

impl Labels {
    /// Most labels of one resource.
    pub const MOST: usize = 16;

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The value of a key.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key).map(|value| &**value)
    }

    /// Keys with their values, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(key, value)| (&**key, &**value))
    }
}

impl TryFrom<BTreeMap<String, String>> for Labels {
    type Error = LabelError;

    fn try_from(labels: BTreeMap<String, String>) -> Result<Self, LabelError> {
        if labels.len() > Self::MOST {
            return Err(LabelError::Count(labels.len()));
        }
        let checked = labels.into_iter().map(|(key, value)| {
            check_key(&key)?;
            check_value(&value)?;
            Ok((key.into_boxed_str(), value.into_boxed_str()))
        });
        Ok(Self(checked.collect::<Result<_, _>>()?))
    }
}

impl From<Labels> for BTreeMap<String, String> {
    fn from(labels: Labels) -> Self {
        labels.0.into_iter().map(|(key, value)| (key.into(), value.into())).collect()
    }
}

/// Selects resources by their labels: all requirements must hold; without any, all are selected.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Selector(Vec<Requirement>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Requirement {
    Is(String, String),
    IsNot(String, String),
    Has(String),
    Lacks(String),
}

impl Selector {
    /// Whether resources with these labels are selected.
    pub fn selects(&self, labels: &Labels) -> bool {
        self.0.iter().all(|requirement| match requirement {
            Requirement::Is(key, value) => labels.get(key) == Some(value),
            Requirement::IsNot(key, value) => labels.get(key) != Some(value),
            Requirement::Has(key) => labels.get(key).is_some(),
            Requirement::Lacks(key) => labels.get(key).is_none(),
        })
    }

    /// Whether everything is selected.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl FromStr for Selector {
    type Err = LabelError;

    fn from_str(text: &str) -> Result<Self, LabelError> {
        if text.trim().is_empty() {
            return Ok(Self::default());
        }
        let read = |part: &str| {
            let part = part.trim();
            let pair = |key: &str, value: &str| {
                let (key, value) = (key.trim(), value.trim());
                check_key(key)?;
                check_value(value)?;
                Ok((key.to_owned(), value.to_owned()))
            };
            if let Some((key, value)) = part.split_once("!=") {
                return pair(key, value).map(|(key, value)| Requirement::IsNot(key, value));
            }
            if let Some((key, value)) = part.split_once('=') {
                let value = value.strip_prefix('=').unwrap_or(value);
                return pair(key, value).map(|(key, value)| Requirement::Is(key, value));
            }
            let (key, lacks) = part.strip_prefix('!').map_or((part, false), |key| (key, true));
            check_key(key).map_err(|_| LabelError::Selector(text.to_owned()))?;
            let key = key.to_owned();
            Ok(if lacks { Requirement::Lacks(key) } else { Requirement::Has(key) })
        };
        text.split(',').map(read).collect::<Result<_, _>>().map(Self)
    }
}

impl TryFrom<String> for Selector {
    type Error = LabelError;

    fn try_from(text: String) -> Result<Self, LabelError> {
        text.parse()
    }
}

impl From<Selector> for String {
    fn from(selector: Selector) -> Self {
        selector.to_string()
    }
}

impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, requirement) in self.0.iter().enumerate() {
            let comma = if index == 0 { "" } else { "," };
            match requirement {
                Requirement::Is(key, value) => write!(f, "{comma}{key}={value}")?,
                Requirement::IsNot(key, value) => write!(f, "{comma}{key}!={value}")?,
                Requirement::Has(key) => write!(f, "{comma}{key}")?,
                Requirement::Lacks(key) => write!(f, "{comma}!{key}")?,
            }
        }
        Ok(())
    }
}

const LONGEST: usize = 63;

fn check_key(text: &str) -> Result<(), LabelError> {
    if is_text(text, b"-_./") { Ok(()) } else { Err(LabelError::Key(text.to_owned())) }
}

fn check_value(text: &str) -> Result<(), LabelError> {
    if text.is_empty() || is_text(text, b"-_.") {
        Ok(())
    } else {
        Err(LabelError::Value(text.to_owned()))
    }
}

fn is_text(text: &str, special: &[u8]) -> bool {
    let bytes = text.as_bytes();
    let ends = [bytes.first(), bytes.last()];
    bytes.len() <= LONGEST
        && ends.iter().all(|end| end.is_some_and(u8::is_ascii_alphanumeric))
        && bytes.iter().all(|b| b.is_ascii_alphanumeric() || special.contains(b))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_selector_selects_what_meets_all_requirements() {
        let web: Labels = serde_json::from_str(r#"{"app": "web", "tier": "front"}"#).unwrap();
        for (selector, selected) in [
            ("", true),
            ("app=web", true),
            ("app==web, tier!=db", true),
            ("app=web,tier=back", false),
            ("tier", true),
            ("!tier", false),
            ("!zone,zone!=a", true),
        ] {
            let parsed: Selector = selector.parse().unwrap();
            assert_eq!(parsed.selects(&web), selected, "{selector}");
            assert_eq!(parsed.to_string().parse::<Selector>().unwrap(), parsed);
        }
    }

    #[test]
    fn malformed_labels_and_selectors_are_refused_by_value() {
        for (key, value) in [("-a", "b"), ("a", "b c"), ("", "b"), ("a", "b/")] {
            let labels = BTreeMap::from([(key.to_owned(), value.to_owned())]);
            assert!(Labels::try_from(labels).is_err(), "{key}={value}");
        }
        for text in ["a b", "=b", "a=b,,c", "!", "a=-"] {
            assert!(text.parse::<Selector>().is_err(), "{text}");
        }
        let many: BTreeMap<_, _> = (0..17).map(|i| (format!("k{i}"), String::new())).collect();
        assert_eq!(Labels::try_from(many), Err(LabelError::Count(17)));
    }
}
