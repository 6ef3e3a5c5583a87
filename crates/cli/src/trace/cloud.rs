//! The hosts of a fleet: asked by way of the controller.

use super::ends::{Destination, Ends, Guest};
use super::fleet::{Fleet, Host, Named};
use super::tables;
use crate::exit::Status;
use crate::remote::found;
use crate::resource;
use anyhow::{Context, Result, anyhow};
use mizar_controller::api::body::{AtBody, LookBody, LookedBody, LookedHostBody};
use mizar_controller::client::Client;
use mizar_packet::Address;
use mizar_packet::memory::MemoryTables;
use mizar_proto::{Look, Looked};
use mizar_vpc::{Kind, Manifest, Name, Ref};
use std::net::IpAddr;

/// Finds the ends. `to` is an endpoint's name or an address.
///
/// # Errors
/// There is no such endpoint, it is not said in which VPC it is, or they have no addresses of the
/// same family.
pub(super) async fn ends(client: &Client, from: &str, to: &str, ipv6: bool) -> Result<Ends> {
    if !from.contains('/') {
        let problem = format!("{from}: say in which VPC the endpoint is, as VPC/{from}");
        return Err(Status::Usage.error(problem));
    }
    let from = resource::reference(Kind::Endpoint, None, from)?;
    let to = match to.parse::<IpAddr>() {
        Ok(address) => Destination::Address(address.to_canonical()),
        Err(_) => {
            let vpc = from.vpc.as_ref().filter(|_| !to.contains('/'));
            let to = resource::reference(Kind::Endpoint, vpc, to)?;
            Destination::Guest(guest(client, &to).await?)
        }
    };
    Ends::new(guest(client, &from).await?, to, ipv6)
}

/// The underlay address of a host.
///
/// # Errors
/// The fleet has no such host.
pub(super) async fn underlay(client: &Client, host: &str) -> Result<Address> {
    match get(client, &Ref::global(Kind::Host, host.parse()?)).await? {
        Manifest::Host(host) => Ok(host.spec.underlay.into()),
        other => Err(anyhow!("{} is no host", other.reference())),
    }
}

/// The rows of those of the hosts that the fleet has.
///
/// # Errors
/// The controller does not tell.
pub(super) async fn look(client: &Client, vpc: &str, look: &Look) -> Result<Fleet> {
    let (addresses, hosts) = (look.addresses.clone(), look.hosts.clone());
    let answer = client.look(&vpc.parse::<Name>()?, &LookBody { addresses, hosts }).await;
    let LookedBody { vni, endpoints, hosts, names } =
        answer.context("cannot look into the hosts")?;
    let named = |(address, AtBody { name, host }): (IpAddr, _)| {
        let named = Named { name: format!("{vpc}/{name}"), host: host.to_string() };
        ((vni.get(), Address::from(address)), named)
    };
    let name = |(underlay, name): (IpAddr, Name)| (Address::from(underlay), name.to_string());
    Ok(Fleet {
        hosts: hosts.into_iter().map(host).collect(),
        names: names.into_iter().map(name).collect(),
        endpoints: endpoints.into_iter().map(named).collect(),
    })
}

fn host(body: LookedHostBody) -> Host {
    let LookedHostBody { name, underlay, rows, problem } = body;
    let no_rows = || problem.unwrap_or_else(|| "it says nothing".to_owned());
    let read = |rows| -> Result<MemoryTables> { tables::from_looked(&Looked::try_from(rows)?) };
    let tables = rows.ok_or_else(no_rows);
    let tables = tables.and_then(|rows| read(rows).map_err(|error| format!("{error:#}")));
    Host { name: name.to_string(), underlay: underlay.into(), agent_is_down: None, tables }
}

async fn guest(client: &Client, reference: &Ref) -> Result<Guest> {
    let endpoint = match get(client, reference).await? {
        Manifest::Endpoint(endpoint) => endpoint,
        other => return Err(anyhow!("{} is no endpoint", other.reference())),
    };
    let vpc = endpoint.metadata.vpc.clone().context("an endpoint without a VPC")?;
    let vni = match get(client, &Ref::global(Kind::Vpc, vpc.clone())).await? {
        Manifest::Vpc(vpc) => vpc.status.and_then(|status| status.vni),
        _ => None,
    };
    let status = endpoint.status.unwrap_or_default();
    Ok(Guest {
        vni: vni.with_context(|| format!("VPC {vpc} has no VNI yet"))?,
        vpc: vpc.to_string(),
        name: endpoint.metadata.name.to_string(),
        host: endpoint.spec.host.to_string(),
        v4: status.v4,
        v6: status.v6,
    })
}

async fn get(client: &Client, reference: &Ref) -> Result<Manifest> {
    found(client, reference, client.get(reference).await).await
}
