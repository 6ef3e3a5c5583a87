//! `mizar lab counters`: what the hosts of a lab have counted.

use crate::client::Client;
use crate::{counters, output};
use anyhow::Result;
use futures::future::join_all;
use mizar_lab::{HostStatus, Status};
use mizar_proto::Counters;
use std::collections::BTreeMap;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The lab; the only one by default
    name: Option<String>,
    #[command(flatten)]
    output: output::Options,
}

pub(super) async fn run(args: &Args) -> Result<()> {
    let lab = mizar_lab::choose(args.name.as_deref())?;
    let status = mizar_lab::status(&lab).await?;
    let mut hosts = BTreeMap::new();
    for (host, counted) in of_hosts(&status).await {
        match counted {
            Ok(counters) => {
                hosts.insert(host, counters);
            }
            Err(error) => output::progress(&format!("warning: host {host}: {error:#}")),
        }
    }
    let vpcs = counters::by_vpc(&hosts, |vni| vpc_name(&status, vni));
    args.output.show(&vpcs, |vpcs| counters::text(vpcs))
}

/// The counters of each host of a lab, by name.
pub(crate) async fn of_hosts(status: &Status) -> Vec<(String, Result<Counters>)> {
    let ask = async |host: &HostStatus| Client::connect(&host.socket).await?.counters().await;
    join_all(status.hosts.iter().map(async |host| (host.name.clone(), ask(host).await))).await
}

fn vpc_name(status: &Status, vni: u32) -> String {
    let guest = status.guests.iter().find(|guest| guest.vni.get() == vni);
    guest.map_or_else(|| format!("with VNI {vni}"), |guest| format!("{} (VNI {vni})", guest.vpc))
}
