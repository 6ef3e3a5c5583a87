//! `mizar lab status`: the hosts and guests of a lab.

use crate::output;
use anyhow::Result;
use mizar_lab::{Attach, GuestStatus, HostStatus, Status};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The lab; the only one by default
    name: Option<String>,
    #[command(flatten)]
    output: output::Options,
}

pub(super) async fn run(args: &Args) -> Result<()> {
    let lab = mizar_lab::choose(args.name.as_deref())?;
    args.output.show(&mizar_lab::status(&lab).await?, text)
}

/// A lab as tables, and what keeps it from being ready.
pub(super) fn text(status: &Status) -> String {
    let missing = status.missing();
    let state = if missing.is_empty() { "ready" } else { "not ready" };
    let underlay = &status.underlay;
    let title = format!("Lab {}: {state}, underlay MTU {}", status.lab, underlay.mtu);
    let mut parts = vec![title, hosts(status)];
    if !status.guests.is_empty() {
        parts.push(guests(status));
    }
    if !missing.is_empty() {
        parts.push(format!("Not ready:\n  - {}", missing.join("\n  - ")));
    }
    parts.join("\n\n")
}

fn hosts(status: &Status) -> String {
    let mut table = output::table(["HOST", "UNDERLAY", "AGENT", "NIC MODE", "VPCS"]);
    for host in &status.hosts {
        table.add_row([
            host.name.clone(),
            host.underlay.to_string(),
            agent(host),
            output::or_none(host.nic_mode.as_ref()),
            vpcs(host),
        ]);
    }
    output::text(&table)
}

fn agent(host: &HostStatus) -> String {
    match (host.agent, host.connected) {
        (Some(pid), true) => format!("runs as {pid}"),
        (Some(pid), false) => format!("runs as {pid}, not connected"),
        (None, _) => "down".to_owned(),
    }
}

/// The VPCs of a host, and in which of them something is to come.
fn vpcs(host: &HostStatus) -> String {
    let name = |vpc: &mizar_lab::HostVpcStatus| {
        if vpc.behind { format!("{} (behind)", vpc.vpc) } else { vpc.vpc.clone() }
    };
    let vpcs: Vec<_> = host.vpcs.iter().map(name).collect();
    if vpcs.is_empty() { "-".to_owned() } else { vpcs.join(", ") }
}

fn guests(status: &Status) -> String {
    let header = ["GUEST", "NETWORK", "HOST", "INTERFACE", "IPV4", "IPV6", "STATE"];
    let mut table = output::table(header);
    for guest in &status.guests {
        table.add_row([
            format!("{}/{}", guest.vpc, guest.name),
            guest.network.clone(),
            guest.host.clone(),
            interface(guest),
            output::or_none(guest.v4),
            output::or_none(guest.v6),
            guest.word(),
        ]);
    }
    output::text(&table)
}

/// The interface of a guest, or of its host.
fn interface(guest: &GuestStatus) -> String {
    match guest.attach {
        Attach::Veth => guest.interface.clone(),
        Attach::Host => format!("{} of the host", guest.interface),
    }
}
