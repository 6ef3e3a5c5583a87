//! `mizar trace`: which way a packet takes between two endpoints, and which rows decide it.
//!
//! Rows are read from the tables of the real hosts, and the functions that the kernel programs run
//! are run on copies of them, hop by hop. Nothing is sent, and nothing on the hosts changes. Each
//! host tells only the few rows that matter to the packet, so it takes as long in a large network
//! as in a small one.

mod cloud;
mod ends;
mod explain;
mod fleet;
mod foretell;
mod hint;
mod lab;
mod packet;
mod record;
mod report;
mod rows;
mod tables;
#[cfg(test)]
mod tests;
mod walk;

use crate::{output, remote};
use anyhow::{Result, anyhow};
use clap::value_parser;
use ends::Ends;
use fleet::{Fleet, Host};
use mizar_controller::client::Client;
use mizar_lab::Status;
use mizar_packet::Address;
use mizar_packet::memory::MemoryFrame;
use mizar_packet::tables::Port;
use mizar_proto::Look;
use mizar_vpc::is_underlay;
use packet::{Packet, Protocol};
use report::{Place, Trace};
use std::collections::BTreeSet;
use std::process::ExitCode;
use walk::{End, Walk, walk};

/// What `mizar trace` is told.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// The endpoint that sends, as VPC/NAME
    from: String,
    /// Where to: an address, or an endpoint as VPC/NAME, or as NAME in the sender's VPC
    to: String,
    /// The lab, whose hosts are asked one by one; by default the controller asks them, and without
    /// one it is the only lab
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
    #[command(flatten)]
    remote: remote::Remote,
}

/// Length of the IP packet that ping sends, in bytes.
const PING_SIZE: u16 = 84;

const EXAMPLES: &str = "\
Nothing is sent: the functions that the kernel programs run are run on copies of the rows that the
hosts would look up, which takes an operator's certificate or the controller's local socket.
▸ marks the row that decided. The exit status is 0 if the packet arrives, 1 if it does not.

Examples:
  mizar trace blue/client blue/web
  mizar trace blue/client 10.0.2.3 --protocol tcp --port 443 --both
  mizar trace blue/client blue/web --size 9000         does it fit?
  mizar trace red/client 10.0.1.4 -o json";

/// Traces, and shows what was found.
///
/// # Errors
/// There is no such lab, controller or endpoint, or the sender's host cannot be looked into.
pub(crate) async fn run(args: &Args) -> Result<ExitCode> {
    let source = Source::of(args).await?;
    let ends = source.ends(args).await?;
    let packet = ends.packet(args.protocol, args.port, args.size);
    let trace = trace(&source, &ends, &packet, args.both).await?;
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
    let source = Source::Lab(status.clone());
    let ends = lab::ends(status, from, to, false)?;
    let packet = ends.packet(Protocol::Icmp, 0, PING_SIZE);
    let trace = trace(&source, &ends, &packet, false).await?;
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

/// Who knows what is in the hosts' tables.
enum Source {
    Lab(Status),
    Controller(Client),
}

impl Source {
    /// The lab that was named, or else the controller, or else the only lab.
    async fn of(args: &Args) -> Result<Self> {
        if args.lab.is_none() && args.remote.is_known()? {
            return args.remote.client().map(Self::Controller);
        }
        let lab = mizar_lab::choose(args.lab.as_deref())?;
        Ok(Self::Lab(mizar_lab::status(&lab).await?))
    }

    async fn ends(&self, args: &Args) -> Result<Ends> {
        match self {
            Self::Lab(status) => lab::ends(status, &args.from, &args.to, args.ipv6),
            Self::Controller(client) => cloud::ends(client, &args.from, &args.to, args.ipv6).await,
        }
    }

    async fn underlay(&self, host: &str) -> Result<Address> {
        match self {
            Self::Lab(status) => lab::underlay(status, host),
            Self::Controller(client) => cloud::underlay(client, host).await,
        }
    }

    /// What those hosts look up for packets between the ends.
    async fn look(&self, ends: &Ends, hosts: &[Address]) -> Result<Fleet> {
        let hosts = hosts.iter().map(|host| (*host).into()).collect();
        // Of what nobody can have there are no rows.
        let addresses: BTreeSet<_> =
            [ends.src, ends.dst].into_iter().filter(|it| is_underlay(*it)).collect();
        let addresses = addresses.into_iter().collect();
        let look = Look { vni: ends.from.vni, addresses, hosts };
        match self {
            Self::Lab(status) => Ok(lab::look(status, &look).await),
            Self::Controller(client) => cloud::look(client, &ends.from.vpc, &look).await,
        }
    }
}

/// Looks into the sender's host, then into those that the packet turns out to visit, until it is
/// known to its end.
async fn trace(source: &Source, ends: &Ends, packet: &Packet, both: bool) -> Result<Trace> {
    let mut hosts = vec![source.underlay(&ends.from.host).await?];
    loop {
        let fleet = source.look(ends, &hosts).await?;
        let ways = Ways::find(&fleet, hosts[0], ends, packet)?;
        let more: BTreeSet<_> =
            ways.beyond.iter().copied().filter(|host| !hosts.contains(host)).collect();
        if more.is_empty() || hosts.len() + more.len() > Look::HOSTS {
            return Ok(ways.report(source, &fleet, ends, packet, both));
        }
        hosts.extend(more);
    }
}

/// The ways of a packet, as far as hosts were looked into.
struct Ways {
    there: Walk,
    back: Option<Walk>,
    /// That of a later packet, if it is another.
    later: Option<Walk>,
    /// Hosts to which they lead and that were not looked into.
    beyond: Vec<Address>,
}

impl Ways {
    fn find(fleet: &Fleet, start: Address, ends: &Ends, packet: &Packet) -> Result<Self> {
        let host = &ends.from.host;
        let start =
            fleet.at(start).ok_or_else(|| anyhow!("the fleet has no host {host} any more"))?;
        let (interface, frame) = departure(start, ends, packet)?;
        let there = walk(fleet, start, interface, frame);
        let back = foretell::back(fleet, &there, packet);
        let mut beyond: Vec<_> =
            [Some(&there), back.as_ref()].into_iter().flatten().filter_map(Walk::beyond).collect();
        let later = if there.is_direct() || !matches!(there.end, End::Delivered { .. }) {
            None
        } else {
            let later = foretell::later(fleet, start, interface, packet);
            later.unwrap_or_else(|host| {
                beyond.push(host);
                None
            })
        };
        Ok(Self { there, back, later, beyond })
    }

    fn report(
        self,
        source: &Source,
        fleet: &Fleet,
        ends: &Ends,
        packet: &Packet,
        both: bool,
    ) -> Trace {
        let Self { there, back, later, .. } = self;
        let names =
            |walk: &Walk| walk.hosts().map(|host| fleet.host_name(host)).collect::<Vec<_>>();
        let later = later.map(|walk| names(&walk)).filter(|hosts| *hosts != names(&there));
        let way = |packet: &Packet, walk: &Walk| report::way(fleet, packet.to_string(), walk);
        let lab = if let Source::Lab(status) = source { Some(status.lab.clone()) } else { None };
        Trace {
            lab,
            vpc: ends.from.vpc.clone(),
            vni: ends.from.vni.get(),
            from: place(fleet, ends, ends.src.into()),
            to: place(fleet, ends, ends.dst.into()),
            packet: packet.to_string(),
            notes: notes(ends, fleet, &there),
            there: way(packet, &there),
            back: back.filter(|_| both).map(|walk| way(&packet.answer(), &walk)),
            later,
        }
    }
}

/// The interface that the guest sends into, and what it sends.
fn departure(host: &Host, ends: &Ends, packet: &Packet) -> Result<(u32, MemoryFrame)> {
    let tables = host.tables.as_ref().map_err(|why| {
        anyhow!("the tables of host {}, where the packet departs, cannot be read: {why}", host.name)
    })?;
    let (vni, src) = (ends.from.vni.get(), Address::from(ends.src));
    let is_own = |port: &Port| port.v6 == src || Address::v4(port.v4) == src;
    let port = tables.ports.iter().find(|(_, port)| port.vni == vni && is_own(port));
    let (interface, port) = port.ok_or_else(|| {
        let name = ends.from.full_name();
        anyhow!(
            "{name} is not attached on host {}: `mizar describe endpoint {name}` says why",
            host.name
        )
    })?;
    Ok((*interface, packet.frame(port)))
}

fn place(fleet: &Fleet, ends: &Ends, address: Address) -> Place {
    let named = fleet.endpoints.get(&(ends.from.vni.get(), address));
    Place {
        endpoint: named.map(|it| it.name.clone()),
        address: address.to_string(),
        host: named.map(|it| it.host.clone()),
    }
}

/// What one should know of the ends and of the hosts on the way.
fn notes(ends: &Ends, fleet: &Fleet, there: &Walk) -> Vec<String> {
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
