//! How an agent stands, for people and for programs.

use crate::output;
use mizar_proto::{PortState, Status};
use serde::Serialize;
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::{SystemTime, UNIX_EPOCH};

/// What an agent says about itself, as it is shown.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct View {
    host: String,
    version: String,
    layout: u32,
    nic: String,
    nic_mode: String,
    /// Why in this mode.
    nic_mode_reason: String,
    /// What it waits for while the programs of another layout are still at work.
    waits_for: Option<String>,
    /// Seconds since 1970-01-01 UTC.
    since: u64,
    connected: bool,
    underlay: Option<IpAddr>,
    fleet: Vec<String>,
    vpcs: Vec<Position>,
    ports: Vec<Port>,
    hosts: Vec<Host>,
}

#[derive(Clone, Debug, Serialize)]
struct Position {
    vni: u32,
    generation: String,
}

#[derive(Clone, Debug, Serialize)]
struct Port {
    vni: u32,
    name: String,
    interface: Option<String>,
    mac: String,
    v4: Option<Ipv4Addr>,
    v6: Option<Ipv6Addr>,
    generation: String,
    state: &'static str,
    error: Option<String>,
    /// Microseconds of each step of attaching it.
    attach_us: BTreeMap<&'static str, u128>,
}

#[derive(Clone, Debug, Serialize)]
struct Host {
    underlay: IpAddr,
    next_hop: Option<String>,
    alive: bool,
    mtu: u16,
}

impl From<Status> for View {
    fn from(status: Status) -> Self {
        let (underlay, fleet) = match &status.config {
            Some(config) => {
                (Some(config.underlay), config.fleet.iter().map(ToString::to_string).collect())
            }
            None => (None, Vec::new()),
        };
        let position = |(vni, generation): (mizar_vpc::Vni, mizar_vpc::Generation)| Position {
            vni: vni.get(),
            generation: generation.to_string(),
        };
        Self {
            host: status.host.to_string(),
            version: status.version,
            layout: status.layout,
            nic: status.nic,
            nic_mode: status.nic_mode.to_string(),
            nic_mode_reason: status.nic_mode_reason,
            waits_for: status.waits_for,
            since: status.since.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs(),
            connected: status.connected,
            underlay,
            fleet,
            vpcs: status.positions.into_iter().map(position).collect(),
            ports: status.ports.into_iter().map(Port::from).collect(),
            hosts: status.hosts.into_iter().map(Host::from).collect(),
        }
    }
}

impl From<mizar_proto::PortStatus> for Port {
    fn from(port: mizar_proto::PortStatus) -> Self {
        let (state, error) = match port.state {
            PortState::Attaching => ("attaching", None),
            PortState::Ready => ("ready", None),
            PortState::Failed(error) => ("failed", Some(error)),
        };
        let steps = port.steps.iter().map(|(step, time)| (step.name(), time.as_micros()));
        Self {
            vni: port.vni.get(),
            name: port.name.to_string(),
            interface: port.interface,
            mac: port.mac.to_string(),
            v4: port.v4,
            v6: port.v6,
            generation: port.generation.to_string(),
            state,
            error,
            attach_us: steps.collect(),
        }
    }
}

impl From<mizar_proto::HostStatus> for Host {
    fn from(host: mizar_proto::HostStatus) -> Self {
        Self {
            underlay: host.underlay,
            next_hop: host.next_hop.map(|mac| mac.to_string()),
            alive: host.alive,
            mtu: host.mtu,
        }
    }
}

/// The whole status in a few tables.
pub(crate) fn text(view: &View) -> String {
    let mut parts = vec![summary(view)];
    if !view.ports.is_empty() {
        parts.push(ports(&view.ports));
    }
    if !view.hosts.is_empty() {
        parts.push(hosts(&view.hosts));
    }
    parts.join("\n\n")
}

fn summary(view: &View) -> String {
    let up = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let connected =
        if view.connected { "connected" } else { "not connected: keeps what it was told" };
    let mut lines = vec![
        format!("Host        {}, underlay {}", view.host, output::or_none(view.underlay)),
        format!(
            "Agent       {}, up {} s, table layout {}",
            view.version,
            up.saturating_sub(view.since),
            view.layout
        ),
        format!("NIC         {}, mode {} ({})", view.nic, view.nic_mode, view.nic_mode_reason),
        format!("Controller  {connected}"),
        format!("Fleet       {}", view.fleet.join(", ")),
    ];
    if let Some(reason) = &view.waits_for {
        lines.push(format!("Waits       for {reason}"));
    }
    for vpc in &view.vpcs {
        lines.push(format!("VNI {:<7} at generation {}", vpc.vni, vpc.generation));
    }
    lines.iter().map(|line| line.trim_end()).collect::<Vec<_>>().join("\n")
}

fn ports(ports: &[Port]) -> String {
    let mut table = output::table(["ENDPOINT", "VNI", "INTERFACE", "MAC", "IPV4", "IPV6", "STATE"]);
    for port in ports {
        let state = match &port.error {
            Some(error) => format!("{}: {error}", port.state),
            None => port.state.to_owned(),
        };
        table.add_row([
            port.name.clone(),
            port.vni.to_string(),
            output::or_none(port.interface.as_ref()),
            port.mac.clone(),
            output::or_none(port.v4),
            output::or_none(port.v6),
            state,
        ]);
    }
    output::text(&table)
}

fn hosts(hosts: &[Host]) -> String {
    let mut table = output::table(["OTHER HOST", "NEXT HOP", "MTU", "KNOWN TO BE ALIVE"]);
    for host in hosts {
        table.add_row([
            host.underlay.to_string(),
            host.next_hop.clone().unwrap_or_else(|| "unresolved".to_owned()),
            host.mtu.to_string(),
            if host.alive { "yes" } else { "no" }.to_owned(),
        ]);
    }
    output::text(&table)
}
