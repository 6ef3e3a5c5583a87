//! Rows of hosts' tables, for `mizar trace`.

use super::Api;
use super::admit::Who;
use super::body::{AtBody, LookBody, LookedBody, LookedHostBody, RowsBody};
use super::json;
use super::limits::Use;
use super::problem::Problem;
use super::query::{self, Query};
use super::target;
use super::writes::Json;
use crate::engine::{AskedHost, LookAt, Said};
use axum::Extension;
use axum::extract::{Path, State};
use axum::http::Uri;
use axum::response::{IntoResponse, Response};
use futures::future::join_all;
use mizar_proto::Look;
use mizar_vpc::{Name, is_underlay};
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

/// Where.
pub(super) const PATH: &str = "/v1/vpcs/{vpc}/look";
/// Looks of one peer at a time.
const MOST: usize = 4;
/// How long a host may take to answer.
const PATIENCE: Duration = Duration::from_secs(3);

/// Which rows of some hosts decide what becomes of packets between some addresses of a VPC.
pub(super) async fn look(
    State(api): State<Api>,
    Extension(Who(who)): Extension<Who>,
    Path(vpc): Path<String>,
    uri: Uri,
    Json(body): Json,
) -> Result<Response, Problem> {
    Query::of(&uri, query::NONE)?;
    let vpc = target::name(&vpc)?;
    let LookBody { addresses, hosts } = json::value(&body)?;
    check("addresses", &addresses, Look::ADDRESSES)?;
    check("hosts", &hosts, Look::HOSTS)?;
    let _permit = api.usage.admit(Some(&who), Use::Look, MOST)?;
    let asked = api.engine.look(&who, LookAt { vpc, addresses, hosts }).await?;
    let said = join_all(asked.hosts.into_iter().map(answer)).await;
    let mut names = BTreeMap::new();
    let hosts = said.into_iter().map(|(host, of_rows)| {
        names.extend(of_rows);
        host
    });
    let (vni, hosts) = (asked.vni, hosts.collect());
    let endpoint = |(address, (name, host))| (address, AtBody { name, host });
    let endpoints = asked.endpoints.into_iter().map(endpoint).collect();
    Ok(axum::Json(LookedBody { vni, endpoints, hosts, names }).into_response())
}

/// Refuses a list that is too short or too long, and what is in it twice or is nobody's.
fn check(field: &str, list: &[IpAddr], most: usize) -> Result<(), Problem> {
    let count = list.len();
    if !(1..=most).contains(&count) {
        let problem = format!("the list has {count} entries: it must have from 1 to {most}");
        return Err(Problem::of_field(field, problem));
    }
    let mut seen = BTreeSet::new();
    for (at, address) in list.iter().enumerate() {
        let problem = if address.to_canonical() != *address {
            format!("{address} is an IPv4 address in IPv6: write {}", address.to_canonical())
        } else if !is_underlay(*address) {
            format!("{address} is no unicast address: it must be one that somebody can have")
        } else if !seen.insert(*address) {
            format!("{address} is there twice: it must be there once")
        } else {
            continue;
        };
        return Err(Problem::of_field(format!("{field}[{at}]"), problem));
    }
    Ok(())
}

/// What a host says, once it has, and the names of those in its rows.
async fn answer(host: AskedHost) -> (LookedHostBody, BTreeMap<IpAddr, Name>) {
    let AskedHost { name, underlay, said } = host;
    let outcome = match said {
        Ok(said) => match tokio::time::timeout(PATIENCE, said).await {
            Ok(Ok(Said { outcome, names })) => outcome.map(|looked| (looked, names)),
            Ok(Err(_)) => Err("its stream has ended meanwhile".to_owned()),
            Err(_) => Err(format!(
                "its agent does not answer within {} s, or is of a build that cannot",
                PATIENCE.as_secs()
            )),
        },
        Err(problem) => Err(problem.to_owned()),
    };
    let body = |rows, problem| LookedHostBody { name, underlay, rows, problem };
    match outcome {
        Ok((looked, names)) => (body(Some(RowsBody::from(looked)), None), names),
        Err(problem) => (body(None, Some(problem)), BTreeMap::new()),
    }
}
