//! What an agent says about itself.

use super::times::{read_steps, steps_message};
use super::{generation, mac, name, octets, rows, text, u16, underlay, vni};
use crate::error::{At, FieldError, FieldProblem, Within};
use crate::{Counters, HostStatus, NicMode, PortState, PortStatus, Status, pb};
use mizar_vpc::{Generation, Mac, Vni};
use std::time::{Duration, SystemTime};

impl From<Status> for pb::StatusResponse {
    fn from(status: Status) -> Self {
        let since = status.since.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        Self {
            host: status.host.into(),
            version: status.version,
            layout: status.layout,
            nic: status.nic,
            nic_mode: pb::NicMode::from(status.nic_mode).into(),
            nic_mode_reason: status.nic_mode_reason,
            waits_for: status.waits_for.unwrap_or_default(),
            since: u64::try_from(since.as_millis()).unwrap_or(u64::MAX),
            config: status.config.map(Into::into),
            connected: status.connected,
            positions: status.positions.into_iter().map(position_message).collect(),
            ports: status.ports.into_iter().map(Into::into).collect(),
            hosts: status.hosts.into_iter().map(Into::into).collect(),
        }
    }
}

impl TryFrom<pb::StatusResponse> for Status {
    type Error = FieldError;

    fn try_from(message: pb::StatusResponse) -> Result<Self, FieldError> {
        let since = SystemTime::UNIX_EPOCH.checked_add(Duration::from_millis(message.since));
        let late = FieldProblem::TooLarge { value: message.since, most: i64::MAX as u64 };
        let ports = message.ports.into_iter().enumerate();
        let ports =
            ports.map(|(index, port)| port.try_into().within(format_args!("ports[{index}]")));
        let hosts = message.hosts.into_iter().enumerate();
        let hosts =
            hosts.map(|(index, host)| host.try_into().within(format_args!("hosts[{index}]")));
        Ok(Self {
            host: name(&message.host).at("host")?,
            version: text(message.version).at("version")?,
            layout: message.layout,
            nic: text(message.nic).at("nic")?,
            nic_mode: nic_mode(message.nic_mode).at("nic_mode")?,
            nic_mode_reason: message.nic_mode_reason,
            waits_for: Some(message.waits_for).filter(|it| !it.is_empty()),
            since: since.ok_or(late).at("since")?,
            config: message.config.map(|c| c.try_into().within("config")).transpose()?,
            connected: message.connected,
            positions: rows("positions", message.positions, read_position)?,
            ports: ports.collect::<Result<_, _>>()?,
            hosts: hosts.collect::<Result<_, _>>()?,
        })
    }
}

impl From<NicMode> for pb::NicMode {
    fn from(mode: NicMode) -> Self {
        match mode {
            NicMode::Native => Self::Native,
            NicMode::Generic => Self::Generic,
            NicMode::Tc => Self::Tc,
        }
    }
}

impl From<PortStatus> for pb::PortStatus {
    fn from(port: PortStatus) -> Self {
        let (state, error) = match port.state {
            PortState::Attaching => (pb::PortState::Attaching, String::new()),
            PortState::Ready => (pb::PortState::Ready, String::new()),
            PortState::Failed(error) => (pb::PortState::Failed, error),
        };
        Self {
            vni: port.vni.get(),
            name: port.name.into(),
            interface: port.interface.unwrap_or_default(),
            mac: port.mac.octets().to_vec(),
            v4: port.v4.map(|v4| v4.octets().to_vec()),
            v6: port.v6.map(|v6| v6.octets().to_vec()),
            generation: port.generation.get(),
            state: state.into(),
            error,
            steps: steps_message(port.steps),
        }
    }
}

impl TryFrom<pb::PortStatus> for PortStatus {
    type Error = FieldError;

    fn try_from(message: pb::PortStatus) -> Result<Self, FieldError> {
        Ok(Self {
            vni: vni(message.vni).at("vni")?,
            name: name(&message.name).at("name")?,
            interface: Some(message.interface).filter(|name| !name.is_empty()),
            mac: mac(&message.mac).at("mac")?,
            v4: message.v4.map(|bytes| super::v4(&bytes).at("v4")).transpose()?,
            v6: message.v6.map(|bytes| super::v6(&bytes).at("v6")).transpose()?,
            generation: generation(message.generation).at("generation")?,
            state: port_state(message.state, message.error)?,
            steps: read_steps(message.steps)?,
        })
    }
}

impl From<HostStatus> for pb::HostStatus {
    fn from(host: HostStatus) -> Self {
        Self {
            underlay: octets(host.underlay),
            next_hop: host.next_hop.map(|mac: Mac| mac.octets().to_vec()),
            alive: host.alive,
            mtu: host.mtu.into(),
        }
    }
}

impl TryFrom<pb::HostStatus> for HostStatus {
    type Error = FieldError;

    fn try_from(message: pb::HostStatus) -> Result<Self, FieldError> {
        Ok(Self {
            underlay: underlay(&message.underlay).at("underlay")?,
            next_hop: message.next_hop.map(|bytes| mac(&bytes).at("next_hop")).transpose()?,
            alive: message.alive,
            mtu: u16(message.mtu).at("mtu")?,
        })
    }
}

impl From<Counters> for pb::CountersResponse {
    fn from(counters: Counters) -> Self {
        let unknown = Some((0, counters.unknown)).filter(|(_, packets)| !packets.is_empty());
        let vpcs = counters.vpcs.into_iter().map(|(vni, packets)| (vni.get(), packets));
        let row = |(vni, packets)| pb::VpcCounters { vni, packets };
        Self { vpcs: unknown.into_iter().chain(vpcs).map(row).collect() }
    }
}

impl TryFrom<pb::CountersResponse> for Counters {
    type Error = FieldError;

    fn try_from(message: pb::CountersResponse) -> Result<Self, FieldError> {
        let mut counters = Self::default();
        for (index, row) in message.vpcs.into_iter().enumerate() {
            let path = format!("vpcs[{index}]");
            let counted = if row.vni == 0 {
                &mut counters.unknown
            } else {
                counters.vpcs.entry(vni(row.vni).at("vni").within(&path)?).or_default()
            };
            if !counted.is_empty() {
                return Err(FieldProblem::Twice(format!("VNI {}", row.vni))).at(path);
            }
            *counted = row.packets;
        }
        Ok(counters)
    }
}

/// A status says where a VPC stands without looking at all of its rows.
fn position_message((vni, generation): (Vni, Generation)) -> pb::Position {
    pb::Position { vni: vni.get(), generation: generation.get(), digest: 0 }
}

fn read_position(message: pb::Position) -> Result<(Vni, Generation), FieldError> {
    Ok((vni(message.vni).at("vni")?, generation(message.generation).at("generation")?))
}

fn nic_mode(value: i32) -> Result<NicMode, FieldProblem> {
    match pb::NicMode::try_from(value) {
        Ok(pb::NicMode::Native) => Ok(NicMode::Native),
        Ok(pb::NicMode::Generic) => Ok(NicMode::Generic),
        Ok(pb::NicMode::Tc) => Ok(NicMode::Tc),
        Ok(pb::NicMode::Unspecified) => Err(FieldProblem::Missing),
        Err(_) => Err(FieldProblem::Enumeration { value, of: "NicMode" }),
    }
}

fn port_state(value: i32, error: String) -> Result<PortState, FieldError> {
    match pb::PortState::try_from(value) {
        Ok(pb::PortState::Attaching) => Ok(PortState::Attaching),
        Ok(pb::PortState::Ready) => Ok(PortState::Ready),
        Ok(pb::PortState::Failed) => Ok(PortState::Failed(text(error).at("error")?)),
        Ok(pb::PortState::Unspecified) => Err(FieldProblem::Missing).at("state"),
        Err(_) => Err(FieldProblem::Enumeration { value, of: "PortState" }).at("state"),
    }
}
