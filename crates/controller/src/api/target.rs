//! Which resources a path is about.

use super::problem::{Problem, ProblemKind};
use axum::http::Uri;
use mizar_vpc::{Kind, Manifest, Name, Ref};

/// What a path names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Target {
    /// All resources of a kind, of one VPC or of all.
    All {
        /// Which kind.
        kind: Kind,
        /// In which VPC.
        vpc: Option<Name>,
    },
    /// One resource.
    One(Ref),
}

/// The path of a resource.
pub(crate) fn path_of(reference: &Ref) -> String {
    let Ref { kind, vpc, name } = reference;
    let plural = kind.plural();
    match vpc {
        _ if *kind == Kind::Fleet => format!("/v1/{plural}"),
        Some(vpc) => format!("/v1/vpcs/{vpc}/{plural}/{name}"),
        None => format!("/v1/{plural}/{name}"),
    }
}

impl Target {
    /// What the path of a request names. The router lets only paths pass that name something.
    ///
    /// # Errors
    /// A name in the path is none.
    pub(super) fn of(uri: &Uri) -> Result<Self, Problem> {
        let unknown = || Problem::new(ProblemKind::Path, format!("there is no path {uri:?}"));
        let kind = |text: &str| {
            let of_path = |kind: &Kind| kind.plural() == text;
            Kind::ALL.into_iter().find(of_path).ok_or_else(unknown)
        };
        let mut parts = uri.path().trim_start_matches("/v1/").split('/');
        let parts = (parts.next(), parts.next(), parts.next(), parts.next());
        Ok(match parts {
            (Some("fleet"), None, None, None) => Self::One(Ref::global(Kind::Fleet, fleet())),
            (Some(plural), None, None, None) => Self::All { kind: kind(plural)?, vpc: None },
            (Some(plural), Some(one), None, None) => {
                Self::One(Ref::global(kind(plural)?, name(one)?))
            }
            (Some("vpcs"), Some(vpc), Some(plural), None) => {
                Self::All { kind: kind(plural)?, vpc: Some(name(vpc)?) }
            }
            (Some("vpcs"), Some(vpc), Some(plural), Some(one)) => {
                Self::One(Ref::in_vpc(kind(plural)?, name(vpc)?, name(one)?))
            }
            _ => return Err(unknown()),
        })
    }

    /// Its kind.
    pub(super) const fn kind(&self) -> Kind {
        match self {
            Self::All { kind, .. } => *kind,
            Self::One(reference) => reference.kind,
        }
    }

    /// Its VPC.
    pub(super) const fn vpc(&self) -> Option<&Name> {
        match self {
            Self::All { vpc, .. } => vpc.as_ref(),
            Self::One(reference) => reference.vpc.as_ref(),
        }
    }

    /// Puts what the path says into a manifest that does not say it.
    ///
    /// # Errors
    /// The manifest says something else.
    pub(super) fn complete(&self, manifest: &mut Manifest) -> Result<(), Problem> {
        let object = manifest.reference().to_string();
        let metadata = manifest.metadata_mut();
        let differs = |field: &str, found: &Name, path: &Name| {
            let problem = format!("{found} is not the one in the path: it must be {path}");
            Err(Problem::of_field(field, problem).of_object(&object))
        };
        match (&metadata.vpc, self.vpc()) {
            (Some(found), Some(path)) if found != path => {
                return differs("metadata.vpc", found, path);
            }
            (None, Some(path)) => metadata.vpc = Some(path.clone()),
            _ => {}
        }
        match self {
            Self::One(Ref { name, .. }) if *name != metadata.name => {
                differs("metadata.name", &metadata.name, name)
            }
            _ => Ok(()),
        }
    }
}

/// The name of the one fleet.
fn fleet() -> Name {
    "fleet".parse().expect("a literal DNS label")
}

/// A name in a path.
///
/// # Errors
/// It is none.
pub(super) fn name(text: &str) -> Result<Name, Problem> {
    let read = text.parse::<Name>();
    read.map_err(|error| Problem::new(ProblemKind::Malformed, format!("the path's {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_leads_to_its_resource_and_back() {
        for path in ["/v1/fleet", "/v1/hosts/h1", "/v1/vpcs/blue", "/v1/vpcs/blue/endpoints/web-1"]
        {
            let Target::One(reference) = Target::of(&path.parse().unwrap()).unwrap() else {
                panic!("{path} names one");
            };
            assert_eq!(path_of(&reference), path);
        }
        let all = Target::of(&"/v1/vpcs/blue/networks".parse().unwrap()).unwrap();
        let blue = "blue".parse().unwrap();
        assert_eq!(all, Target::All { kind: Kind::Network, vpc: Some(blue) });
    }

    #[test]
    fn a_name_that_is_none_is_refused_by_value() {
        for path in ["/v1/hosts/H1", "/v1/vpcs/a%2fb/networks", "/v1/hosts/"] {
            let problem = Target::of(&path.parse().unwrap()).unwrap_err();
            assert_eq!(problem.kind(), Some(ProblemKind::Malformed), "{path}");
        }
    }
}
