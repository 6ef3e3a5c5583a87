//! `mizar trace`: which way a packet takes between two endpoints, and which rows decide it.
//!
//! The tables are read from the real hosts, and the functions that the kernel programs run are run
//! on copies of them, hop by hop. Nothing is sent, and nothing on the hosts changes.

mod ends;
mod explain;
mod fleet;
mod foretell;
mod hint;
mod packet;
mod record;
mod report;
mod rows;
mod tables;
#[cfg(test)]
mod tests;
mod walk;

use crate::output;
use anyhow::{Result, anyhow};
use clap::value_parser;
use ends::{Ends, full_name};
use fleet::{Fleet, Host};
use mizar_lab::Status;
use mizar_packet::Address;
use mizar_packet::tables::Port;
use packet::{Packet, Protocol};
use report::{Place, Trace};
use std::process::ExitCode;
use walk::{End, Walk, walk};

/// What `mizar trace` is told.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// The endpoint that sends, as VPC/NAME; NAME alone if it is the only one of that name
    from: String,
    /// Where to: an address, or an endpoint likewise; NAME alone is looked for in the sender's VPC
    /// first
    to: String,
    /// The lab; the only one by default
    #[arg(long, value_name = "NAME")]
    lab: Option<String>,
    /// What is sent
    #[arg(long, value_enum, default_value_t)]
    protocol: Protocol,
    /// The port that TCP and UDP are sent to
    #[arg(long, default_value_t = 80, value_parser = value_parser!(u16).range(1..))]
    port: u16,
    /// Length of the IP packet in bytes
    #[arg(long, default_value_t = PING_SIZE, value_name = "BYTES",
          value_parser = value_parser!(u16).range(60..))]
    size: u16,
    /// Take the destination's IPv6 address
    #[arg(short = '6', long)]
    ipv6: bool,
    /// Show the way of the answer too
    #[arg(long)]
    both: bool,
    #[command(flatten)]
    output: output::Options,
}

/// Length of the IP packet that ping sends, in bytes.
const PING_SIZE: u16 = 84;

const EXAMPLES: &str = "\
Nothing is sent: the functions that the kernel programs run are run on copies of the hosts' tables.
▸ marks the row that decided. The exit status is 0 if the packet arrives, 1 if it does not.

Examples:
  mizar trace blue/client blue/web
  mizar trace blue/client 10.0.2.3 --protocol tcp --port 443 --both
  mizar trace blue/client blue/web --size 9000         does it fit?
  mizar trace red/client 10.0.1.4 -o json";

/// Traces, and shows what was found.
///
/// # Errors
/// There is no such lab or endpoint, or the sender's host cannot be looked into.
pub(crate) async fn run(args: &Args) -> Result<ExitCode> {
    let lab = mizar_lab::choose(args.lab.as_deref())?;
    let status = mizar_lab::status(&lab).await?;
    let ends = ends::find(&status, &args.from, &args.to, args.ipv6)?;
    let packet = ends.packet(args.protocol, args.port, args.size);
    let trace = trace(&status, &ends, &packet, args.both).await?;
    args.output.show(&trace, report::text)?;
    let arrives =
        trace.there.verdict.is_arrival() && trace.back.is_none_or(|back| back.verdict.is_arrival());
    Ok(if arrives { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Traces a ping between two guests of a lab.
///
/// # Errors
/// As [`run`].
pub(crate) async fn ping(status: &Status, from: &str, to: &str) -> Result<Ping> {
    let ends = ends::find(status, from, to, false)?;
    let packet = ends.packet(Protocol::Icmp, 0, PING_SIZE);
    let trace = trace(status, &ends, &packet, false).await?;
    let counted = trace
        .there
        .hops
        .iter()
        .flat_map(|hop| hop.counted.iter().map(|counter| (hop.host.clone(), *counter)));
    Ok(Ping { text: report::text(&trace), counted: counted.collect() })
}

/// The way of a ping.
#[derive(Clone, Debug)]
pub(crate) struct Ping {
    /// All of it in words.
    pub(crate) text: String,
    /// The counters that its request raises, by host.
    pub(crate) counted: Vec<(String, &'static str)>,
}

async fn trace(status: &Status, ends: &Ends<'_>, packet: &Packet, both: bool) -> Result<Trace> {
    let fleet = Fleet::of_lab(status).await;
    let start = fleet.named(&ends.from.host);
    let start =
        start.ok_or_else(|| anyhow!("lab {} has no host {}", status.lab, ends.from.host))?;
    let (interface, frame) = departure(start, ends, packet)?;

    let there = walk(&fleet, start, interface, frame);
    let back = foretell::back(&fleet, &there, packet);
    let later = if there.is_direct() || !matches!(there.end, End::Delivered { .. }) {
        None
    } else {
        foretell::later(&fleet, start, interface, packet)
    };
    let names = |walk: &Walk| walk.hosts().map(|host| fleet.host_name(host)).collect::<Vec<_>>();
    let later = later.map(|walk| names(&walk)).filter(|hosts| *hosts != names(&there));
    let way = |packet: &Packet, walk: &Walk| report::way(&fleet, packet.to_string(), walk);
    Ok(Trace {
        lab: status.lab.clone(),
        vpc: ends.from.vpc.clone(),
        vni: ends.from.vni.get(),
        from: place(status, ends, ends.src.into()),
        to: place(status, ends, ends.dst.into()),
        packet: packet.to_string(),
        notes: notes(ends, &fleet, &there),
        there: way(packet, &there),
        back: back.filter(|_| both).map(|walk| way(&packet.answer(), &walk)),
        later,
    })
}

/// The interface that the guest sends into, and what it sends.
fn departure(
    host: &Host,
    ends: &Ends<'_>,
    packet: &Packet,
) -> Result<(u32, mizar_packet::memory::MemoryFrame)> {
    let tables = host.tables.as_ref().map_err(|why| {
        anyhow!("the tables of host {}, where the packet departs, cannot be read: {why}", host.name)
    })?;
    let (vni, src) = (ends.from.vni.get(), Address::from(ends.src));
    let is_own = |port: &Port| port.v6 == src || Address::v4(port.v4) == src;
    let port = tables.ports.iter().find(|(_, port)| port.vni == vni && is_own(port));
    let (interface, port) = port.ok_or_else(|| {
        anyhow!(
            "{} is not attached on host {}: `mizar lab status` says why",
            full_name(ends.from),
            host.name
        )
    })?;
    Ok((*interface, packet.frame(port)))
}

fn place(status: &Status, ends: &Ends<'_>, address: Address) -> Place {
    let vpc = &ends.from.vpc;
    let has = |guest: &&mizar_lab::GuestStatus| {
        let addresses = [guest.v4.map(Address::from), guest.v6.map(Address::from)];
        guest.vpc == *vpc && addresses.contains(&Some(address))
    };
    let guest = status.guests.iter().find(has);
    Place {
        endpoint: guest.map(full_name),
        address: address.to_string(),
        host: guest.map(|guest| guest.host.clone()),
    }
}

/// What one should know of the ends and of the hosts on the way.
fn notes(ends: &Ends<'_>, fleet: &Fleet, there: &Walk) -> Vec<String> {
    let visited: Vec<_> = there.hosts().collect();
    let down = fleet.hosts.iter().filter(|host| visited.contains(&host.underlay));
    let down = down.filter_map(|host| {
        let why = host.agent_is_down.as_ref()?;
        let name = &host.name;
        Some(format!(
            "the agent of {name} does not answer, its tables are read from its pins ({why})"
        ))
    });
    ends.notes().into_iter().chain(down).collect()
}
