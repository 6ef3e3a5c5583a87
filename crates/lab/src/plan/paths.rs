//! Where in the topology a resource is, so that what a catalog or a controller says of its manifest
//! can be said of the file that somebody wrote.

use super::{Error, Planned};
use mizar_controller::api::problem::{Detail, Problem as ApiProblem};
use mizar_vpc::catalog::Mode;
use mizar_vpc::{Catalog, Generation, Manifest, Problem, Refused};
use std::collections::BTreeMap;

/// Paths of resources in the topology, by the text of what names them, as in `endpoint blue/a`.
#[derive(Clone, Debug, Default)]
pub(crate) struct Paths(BTreeMap<String, Place>);

/// Where in the topology a resource is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// As in `vpcs[blue].networks[web].endpoints[a]`.
    pub(super) path: String,
    /// How many of its kind come before it.
    pub(super) number: usize,
}

impl Paths {
    /// Checks manifests against each other; their paths.
    pub(super) fn check(planned: &[Planned]) -> Result<Self, Error> {
        let mut paths = Self::default();
        let mut catalog = Catalog::default();
        for (manifest, place) in planned {
            // Any time will do.
            let made = catalog.apply(manifest, Mode::Create, Generation::MAX);
            made.map_err(|refused| paths.refused(refused, manifest, place))?;
            paths.0.insert(manifest.reference().to_string(), place.clone());
        }
        Ok(paths)
    }

    /// What a controller refuses.
    pub(crate) fn problem(&self, problem: &ApiProblem) -> Error {
        let placed = problem.errors.iter().find_map(|Detail { object, field, problem, .. }| {
            let place = self.0.get(object.as_ref()?)?;
            Some(Error::Field { path: join(&place.path, field), problem: problem.clone() })
        });
        placed.unwrap_or_else(|| Error::Refused(problem.to_string()))
    }

    /// Why the catalog refuses the manifest that is at that place.
    fn refused(&self, refused: Refused, manifest: &Manifest, place: &Place) -> Error {
        let path = &place.path;
        match refused {
            Refused::Invalid { field, problem, .. } => self.invalid(&field, *problem, place),
            Refused::Exists(reference) => {
                let other = self.0.get(&reference.to_string()).unwrap_or(place);
                let (value, by) = (manifest.metadata().name.to_string(), other.path.clone());
                let problem = Problem::Taken { value, by }.to_string();
                Error::Field { path: format!("{path}.name"), problem }
            }
            other => Error::Field { path: path.clone(), problem: other.to_string() },
        }
    }

    /// Why the catalog refuses a field of the manifest that is at that place.
    fn invalid(&self, field: &str, problem: Problem, place: &Place) -> Error {
        let path = &place.path;
        let (path, problem) = match problem {
            Problem::Taken { value, by } => {
                let (path, by) = match self.0.get(&by) {
                    // Whoever asks for more is tried first, but it is the later one that is wrong.
                    Some(other) if other.number > place.number => (&other.path, path.clone()),
                    Some(other) => (path, other.path.clone()),
                    // A field of the same resource.
                    None => (path, join(path, &by)),
                };
                (path, Problem::Taken { value, by })
            }
            Problem::Overlap { prefix, other, by } => {
                let by = self.0.get(&by).map_or(by, |place| place.path.clone());
                (path, Problem::Overlap { prefix, other, by })
            }
            problem => (path, problem),
        };
        Error::Field { path: join(path, field), problem: problem.to_string() }
    }
}

/// What holds the fields of a manifest that the topology has too.
const SPEC: &str = "spec.";
/// What the topology says of an endpoint by several fields, which the problem names.
const ATTACHMENT: &str = "attachment";

/// The path of a manifest's field in the topology, which does not nest the fields.
fn join(path: &str, field: &str) -> String {
    let plain = field.strip_prefix(SPEC).or_else(|| field.strip_prefix("metadata."));
    let plain = plain.unwrap_or(field);
    if plain == ATTACHMENT {
        return path.to_owned();
    }
    // A role is a list there, where it may be a number here.
    format!("{path}.{}", plain.replacen(".hosts", "", 1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::Plan;

    const TOPOLOGY: &str = "
lab: paths
hosts: 2
vpcs:
  - name: blue
    vni: 7
    networks:
      - {name: web, v4: 10.0.0.0/24, endpoints: [{name: a, host: h1}]}
";

    #[test]
    fn what_a_controller_refuses_is_told_of_the_topology() {
        let plan = Plan::new(&TOPOLOGY.parse().unwrap()).unwrap();
        let detail = |object: &str, field: &str| Detail {
            object: Some(object.to_owned()),
            field: field.to_owned(),
            problem: "no".to_owned(),
            change: None,
        };
        let told = |object, field| {
            let mut problem = ApiProblem::of_field("", "");
            problem.errors = vec![detail(object, field)];
            plan.paths.problem(&problem).to_string()
        };
        let endpoint = "vpcs[blue].networks[web].endpoints[a].v4: no";
        assert_eq!(told("endpoint blue/a", "spec.v4"), endpoint);
        assert_eq!(told("vpc blue", "spec.dividers.hosts[1]"), "vpcs[blue].dividers[1]: no");
        assert_eq!(told("host h1", "metadata.name"), "hosts[h1].name: no");
        assert!(told("host h9", "spec.zone").starts_with("the lab's controller refuses it: "));
    }
}
