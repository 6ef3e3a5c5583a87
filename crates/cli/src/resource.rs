//! Resources on the command line: which ones are meant, and how they look.

mod bars;
mod columns;
mod describe;
mod show;

pub(crate) use columns::{cells, header};
pub(crate) use describe::describe;
pub(crate) use show::{View, show};

use crate::exit::Status;
use crate::suggest::nearest;
use anyhow::Result;
use mizar_controller::client::{Client, ClientError};
use mizar_controller::engine::{Filter, List, Version};
use mizar_vpc::manifest::Phase;
use mizar_vpc::{Kind, Manifest, Name, Ref, Selector};

/// Resources of a page.
const PAGE: usize = 500;

/// Which resources of a kind.
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct Selection {
    /// The VPC; names may also be written as VPC/NAME
    #[arg(long, value_name = "VPC")]
    pub(crate) vpc: Option<Name>,
    /// With these labels, as in app=web,tier!=db,zone,!spare
    #[arg(short = 'l', long, value_name = "SELECTOR")]
    pub(crate) selector: Option<Selector>,
    /// Endpoints on this host
    #[arg(long, value_name = "HOST")]
    pub(crate) host: Option<Name>,
    /// Endpoints of this network
    #[arg(long, value_name = "NETWORK")]
    pub(crate) network: Option<Name>,
    /// Endpoints in this phase: pending, ready, degraded or failed
    #[arg(long, value_name = "PHASE", value_parser = phase)]
    pub(crate) phase: Option<Phase>,
}

impl Selection {
    /// Refuses what would have no effect: a VPC for what is in none, and any other choice among
    /// resources that are named.
    ///
    /// # Errors
    /// Says what to leave out.
    pub(crate) fn check(&self, kind: Kind, names: &[String]) -> Result<()> {
        let Self { vpc, selector, host, network, phase } = self;
        if vpc.is_some() && !kind.is_in_vpc() {
            let plural = kind.plural();
            let message = format!("{plural} are in no VPC: leave --vpc out");
            return Err(Status::Usage.error(message));
        }
        let chosen = [
            (selector.is_some(), "--selector"),
            (host.is_some(), "--host"),
            (network.is_some(), "--network"),
            (phase.is_some(), "--phase"),
        ];
        match chosen.iter().find(|(is_given, _)| *is_given) {
            Some((_, option)) if !names.is_empty() => {
                let message = format!(
                    "{option} chooses among all {}: leave it out, or the names",
                    kind.plural()
                );
                Err(Status::Usage.error(message))
            }
            _ => Ok(()),
        }
    }

    /// What is asked of the controller.
    pub(crate) fn filter(&self, kind: Kind) -> Filter {
        let Self { vpc, selector, host, network, phase } = self.clone();
        let vpc = vpc.filter(|_| kind.is_in_vpc());
        Filter { kind, vpc, selector: selector.unwrap_or_default(), host, network, phase }
    }
}

/// A kind on the command line, by any of its names.
pub(crate) fn kind(text: &str) -> Result<Kind, String> {
    text.parse().map_err(|_| {
        let names = Kind::ALL.into_iter().flat_map(|kind| [kind.singular(), kind.plural()]);
        let all = Kind::ALL.map(Kind::singular).join(", ");
        match nearest(&text.to_lowercase(), names) {
            Some(near) => format!("there is no such kind: did you mean {near:?}?"),
            None => format!("there is no such kind: it must be one of {all}"),
        }
    })
}

fn phase(text: &str) -> Result<Phase, String> {
    let all = [Phase::Pending, Phase::Ready, Phase::Degraded, Phase::Failed];
    let found = all.into_iter().find(|phase| phase.as_str().eq_ignore_ascii_case(text));
    found.ok_or_else(|| "it must be one of pending, ready, degraded, failed".to_owned())
}

/// The resource that is meant by a name, which may begin with its VPC.
///
/// # Errors
/// The name is none, or it is not said in which VPC it is.
pub(crate) fn reference(kind: Kind, vpc: Option<&Name>, text: &str) -> Result<Ref> {
    let usage = |message: String| Status::Usage.error(message);
    let name = |text: &str| text.parse::<Name>().map_err(|error| usage(error.to_string()));
    if !kind.is_in_vpc() {
        return Ok(Ref::global(kind, name(text)?));
    }
    let (vpc, text) = match (text.split_once('/'), vpc) {
        (Some((written, text)), None) => (name(written)?, text),
        (Some((written, text)), Some(vpc)) if written == vpc.as_str() => (vpc.clone(), text),
        (Some((written, _)), Some(vpc)) => {
            let message =
                format!("{text} is in VPC {written}, and --vpc says {vpc}: leave one out");
            return Err(usage(message));
        }
        (None, Some(vpc)) => (vpc.clone(), text),
        (None, None) => {
            let one = kind.singular();
            return Err(usage(format!(
                "{one} {text} is in a VPC, and it is not said in which: write VPC/{text}, or give \
                 --vpc VPC"
            )));
        }
    };
    Ok(Ref::in_vpc(kind, vpc, name(text)?))
}

/// Those that are meant by names.
///
/// # Errors
/// As [`reference`]; and only the fleet goes without a name.
pub(crate) fn references(kind: Kind, vpc: Option<&Name>, names: &[String]) -> Result<Vec<Ref>> {
    if names.is_empty() && kind == Kind::Fleet {
        return Ok(vec![reference(kind, None, "fleet")?]);
    }
    names.iter().map(|name| reference(kind, vpc, name)).collect()
}

/// All resources of a filter, page by page, and the version from which a watch sees what follows.
///
/// # Errors
/// The controller refuses, or does not answer.
pub(crate) async fn all(
    client: &Client,
    filter: Filter,
) -> Result<(Vec<Manifest>, Version), ClientError> {
    if filter.kind == Kind::Fleet {
        return fleet(client).await;
    }
    let mut list = List { filter, limit: PAGE, after: None };
    let mut page = client.list(&list).await?;
    // That of the first page: what changed while the others were read comes again.
    let version = page.resource_version;
    let mut items = page.items;
    while let Some(next) = page.next {
        list.after = Some(next);
        page = client.list(&list).await?;
        items.append(&mut page.items);
    }
    Ok((items, version))
}

/// The fleet is one resource, which may not exist, and has no list.
async fn fleet(client: &Client) -> Result<(Vec<Manifest>, Version), ClientError> {
    let version = version(client).await?;
    let name = "fleet".parse().expect("a literal DNS label");
    match client.get(&Ref::global(Kind::Fleet, name)).await {
        Ok(fleet) => Ok((vec![fleet], version)),
        Err(error) if error.is_not_found() => Ok((Vec::new(), version)),
        Err(error) => Err(error),
    }
}

/// The version from which a watch sees all that happens from now on.
///
/// # Errors
/// The controller refuses, or does not answer.
pub(crate) async fn version(client: &Client) -> Result<Version, ClientError> {
    // All lists tell the same version, and everybody has one of VPCs, be it empty.
    let list = List { filter: Filter::all(Kind::Vpc), limit: 1, after: None };
    Ok(client.list(&list).await?.resource_version)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_written_with_its_vpc_or_beside_it() {
        let blue: Name = "blue".parse().unwrap();
        let read = |kind, vpc: Option<&Name>, text| reference(kind, vpc, text);
        for (vpc, text) in
            [(None, "blue/web-1"), (Some(&blue), "web-1"), (Some(&blue), "blue/web-1")]
        {
            let found = read(Kind::Endpoint, vpc, text).unwrap();
            assert_eq!(found.to_string(), "endpoint blue/web-1");
        }
        assert_eq!(read(Kind::Host, None, "h1").unwrap().to_string(), "host h1");
        for (kind, vpc, text, expected) in [
            (Kind::Endpoint, None, "web-1", "write VPC/web-1"),
            (Kind::Endpoint, Some(&blue), "red/web-1", "--vpc says blue"),
            (Kind::Host, None, "a/b", "\"a/b\" is no DNS label"),
            (Kind::Network, None, "blue/", "\"\" is no DNS label"),
        ] {
            let error = read(kind, vpc, text).unwrap_err();
            assert!(error.to_string().contains(expected), "{error}");
            assert_eq!(Status::of(&error), Status::Usage);
        }
    }

    #[test]
    fn kinds_are_read_in_any_form_and_case() {
        for text in ["endpoint", "Endpoints", "ENDPOINT"] {
            assert_eq!(kind(text), Ok(Kind::Endpoint));
        }
        assert_eq!(
            kind("endpont").unwrap_err(),
            "there is no such kind: did you mean \"endpoint\"?"
        );
        assert!(kind("pods").unwrap_err().contains("fleet, host, tenant, vpc, network"));
    }
}
