//! Reading manifests of a kind that is known, so that errors say where they are.
//!
//! What serde derives for a manifest keeps the whole of it until it has seen the kind, and by then
//! nobody knows any more on which line a value stood. Whoever looks for the kind first, with a
//! [`Head`], has errors with lines and fields.

use super::{ApiVersion, Kind, Manifest, Metadata, Object};
use serde::de::{Deserialize, Deserializer, Error, IgnoredAny};

/// What tells how to read the rest.
#[derive(Clone, Debug, serde::Deserialize)]
pub struct Head {
    /// The kind, as it stands there.
    pub kind: Option<String>,
}

/// An object with its kind, which is known.
#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Document<S, T> {
    #[serde(rename = "kind")]
    _kind: Option<IgnoredAny>,
    #[serde(default)]
    api_version: ApiVersion,
    metadata: Metadata,
    spec: S,
    #[serde(default = "Option::default")]
    status: Option<T>,
}

impl Head {
    /// The kind.
    ///
    /// # Errors
    /// It is missing, or is none: kinds are written in one way in manifests.
    pub fn kind<E: Error>(&self) -> Result<Kind, E> {
        let text = self.kind.as_deref().ok_or_else(|| E::missing_field("kind"))?;
        let found = Kind::ALL.into_iter().find(|kind| kind.as_str() == text);
        found.ok_or_else(|| E::custom(super::KindError(text.to_owned())))
    }
}

impl Manifest {
    /// Reads the manifest of a resource of that kind, without looking at the kind that it says.
    ///
    /// # Errors
    /// Those of the deserializer: unknown and missing fields, values that are none.
    pub fn read<'de, D: Deserializer<'de>>(kind: Kind, from: D) -> Result<Self, D::Error> {
        Ok(match kind {
            Kind::Fleet => Self::Fleet(object(from)?),
            Kind::Host => Self::Host(object(from)?),
            Kind::Tenant => Self::Tenant(object(from)?),
            Kind::Vpc => Self::Vpc(object(from)?),
            Kind::Network => Self::Network(object(from)?),
            Kind::Endpoint => Self::Endpoint(object(from)?),
            Kind::SlotMap => Self::SlotMap(object(from)?),
        })
    }
}

fn object<'de, D, S, T>(from: D) -> Result<Object<S, T>, D::Error>
where
    D: Deserializer<'de>,
    S: Deserialize<'de>,
    T: Deserialize<'de>,
{
    let Document { api_version, metadata, spec, status, .. } = Document::deserialize(from)?;
    Ok(Object { api_version, metadata, spec, status })
}

#[cfg(test)]
mod tests {
    use super::*;

    const VPC: &str = r#"{"kind": "Vpc",
        "metadata": {"name": "blue"},
        "spec": {
            "vni": 7}}"#;

    fn read(kind: Kind, json: &str) -> serde_json::Result<Manifest> {
        Manifest::read(kind, &mut serde_json::Deserializer::from_str(json))
    }

    #[test]
    fn a_manifest_read_by_its_kind_is_the_same() {
        let head: Head = serde_json::from_str(VPC).unwrap();
        let kind = head.kind::<serde_json::Error>().unwrap();
        assert_eq!(read(kind, VPC).unwrap(), serde_json::from_str::<Manifest>(VPC).unwrap());
    }

    #[test]
    fn an_error_has_the_line_of_its_value() {
        for (from, to, line) in [("7", "0", 4), ("vni", "vnii", 4), ("blue", "B", 2)] {
            let error = read(Kind::Vpc, &VPC.replace(from, to)).unwrap_err();
            assert_eq!(error.line(), line, "{error}");
        }
    }

    #[test]
    fn a_kind_is_written_in_one_way() {
        for json in [r#"{"kind": "vpc"}"#, r#"{"kind": "Pod"}"#, "{}"] {
            let head: Head = serde_json::from_str(json).unwrap();
            assert!(head.kind::<serde_json::Error>().is_err(), "{json}");
        }
    }
}
