//! What a lab looks like from outside.

use crate::control::{self, HostView, Request, View, VpcView};
use crate::fabric::NIC;
use crate::layout::{Layout, STATE_FOLDER};
use crate::plan::{GUEST_INTERFACE, Plan};
use crate::process::Process;
use crate::server::store;
use crate::topology::Underlay;
use crate::{Error, agents, log};
use mizar_proto::PortState;
use mizar_vpc::{Endpoint, Generation, Host, Mac, Name, Vni, VpcIntent};
use serde::Serialize;
use std::fmt;
use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};

/// A lab as it is.
#[derive(Clone, Debug, Serialize)]
pub struct Status {
    /// Its name.
    pub lab: String,
    /// Its folder, which goes when it goes.
    pub folder: PathBuf,
    /// Process id of its server; nothing if it does not run.
    pub server: Option<i32>,
    /// How its hosts are joined.
    pub underlay: Underlay,
    /// Its hosts, by name.
    pub hosts: Vec<HostStatus>,
    /// Its guests, by VPC and name.
    pub guests: Vec<GuestStatus>,
}

/// A host as it is.
#[derive(Clone, Debug, Serialize)]
pub struct HostStatus {
    /// Its name.
    pub name: String,
    /// Its underlay address.
    pub underlay: IpAddr,
    /// Its network namespace.
    pub namespace: PathBuf,
    /// Its NIC.
    pub nic: &'static str,
    /// Process id of its agent; nothing if it does not run.
    pub agent: Option<i32>,
    /// The agent's local socket.
    pub socket: PathBuf,
    /// The agent's log.
    pub log: PathBuf,
    /// Where the agent pins.
    pub pins: PathBuf,
    /// Whether the agent is connected to the lab's server.
    pub connected: bool,
    /// How the agent attached to the NIC, once it has said so.
    pub nic_mode: Option<String>,
    /// Where it stands in the VPCs it takes part in.
    pub vpcs: Vec<HostVpcStatus>,
}

/// Where a host stands in a VPC.
#[derive(Clone, Debug, Serialize)]
pub struct HostVpcStatus {
    /// The VPC's name; its VNI if it is no more.
    pub vpc: String,
    /// The generation that the host should have.
    pub wanted: Generation,
    /// The generation that it acknowledged.
    pub acked: Option<Generation>,
    /// What it could not do.
    pub errors: Vec<String>,
}

/// A guest as it is.
#[derive(Clone, Debug, Serialize)]
pub struct GuestStatus {
    /// Its VPC.
    pub vpc: String,
    /// The VPC's number on the wire.
    pub vni: Vni,
    /// Its network.
    pub network: String,
    /// Its name in the VPC.
    pub name: String,
    /// Its host.
    pub host: String,
    /// Its network namespace.
    pub namespace: PathBuf,
    /// Its interface there.
    pub interface: &'static str,
    /// Its MAC address.
    #[serde(serialize_with = "as_text")]
    pub mac: Mac,
    /// Its IPv4 address.
    pub v4: Option<Ipv4Addr>,
    /// Its IPv6 address.
    pub v6: Option<Ipv6Addr>,
    /// Whether it has its interface.
    pub state: GuestState,
}

/// Whether a guest has its interface.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum GuestState {
    /// It has.
    Attached,
    /// Its host has not acknowledged it yet.
    Pending,
    /// Its host could not attach it.
    Failed(String),
}

impl fmt::Display for GuestState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Attached => f.write_str("attached"),
            Self::Pending => f.write_str("pending"),
            Self::Failed(why) => write!(f, "failed: {why}"),
        }
    }
}

impl Status {
    /// Whether every host has what it should have, and every guest its interface.
    pub fn is_ready(&self) -> bool {
        self.missing().is_empty()
    }

    /// What keeps the lab from being ready: one sentence for each host and guest.
    pub fn missing(&self) -> Vec<String> {
        let mut missing = Vec::new();
        if self.server.is_none() {
            missing.push("the lab's server does not run".to_owned());
        }
        for host in &self.hosts {
            missing.extend(host.missing());
        }
        for guest in self.guests.iter().filter(|guest| guest.state != GuestState::Attached) {
            missing.push(format!(
                "guest {}/{} on host {} is {}",
                guest.vpc, guest.name, guest.host, guest.state
            ));
        }
        missing
    }
}

impl HostStatus {
    fn missing(&self) -> Option<String> {
        let name = &self.name;
        if self.agent.is_none() {
            let words = self.last_words();
            return Some(format!("the agent of host {name} does not run{words}"));
        }
        if !self.connected {
            let words = self.last_words();
            return Some(format!("the agent of host {name} is not connected{words}"));
        }
        let behind =
            self.vpcs.iter().find(|vpc| vpc.acked != Some(vpc.wanted) || !vpc.errors.is_empty())?;
        let acked = behind.acked.map_or_else(|| "nothing".to_owned(), |it| it.to_string());
        let mut line = format!(
            "host {name} has acknowledged {acked} of VPC {}, which is at {}",
            behind.vpc, behind.wanted
        );
        if !behind.errors.is_empty() {
            line.push_str(": ");
            line.push_str(&behind.errors.join("; "));
        }
        Some(line)
    }

    /// What the agent's log says last, as the end of a sentence.
    fn last_words(&self) -> String {
        let log = self.log.display();
        match log::last_words(&self.log) {
            Some(line) => format!("; its log {log} says: {line}"),
            None => format!("; its log {log} is empty"),
        }
    }
}

/// How a lab is.
///
/// # Errors
///
/// When there is no such lab, or its state cannot be read.
pub async fn status(lab: &str) -> Result<Status, Error> {
    crate::check_root()?;
    let layout = Layout::new(crate::plan::lab_name(lab)?.as_str());
    if !layout.store().exists() {
        return Err(Error::NoLab(lab.to_owned()));
    }
    let plan = Plan::of(store::load(&layout)?)?;
    // A lab whose server is gone still has hosts and guests to show.
    let view = control::ask(&layout, &Request::View).await.unwrap_or_default();
    Ok(of(&layout, &plan, &view).await)
}

/// The names of all labs of this machine.
///
/// # Errors
///
/// When their folder cannot be read.
pub fn labs() -> Result<Vec<String>, Error> {
    let list = || -> io::Result<Vec<String>> {
        let names = fs::read_dir(STATE_FOLDER)?;
        names.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect()
    };
    match list() {
        Ok(mut names) => {
            names.sort();
            Ok(names)
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(Error::List(error)),
    }
}

/// The lab that is meant: the one that is named, or the only one.
///
/// # Errors
///
/// When none is named, and there is not exactly one.
pub fn choose(named: Option<&str>) -> Result<String, Error> {
    if let Some(name) = named {
        return Ok(name.to_owned());
    }
    let mut labs = labs()?;
    match (labs.pop(), labs.is_empty()) {
        (Some(only), true) => Ok(only),
        (last, _) => {
            labs.extend(last);
            Err(Error::WhichLab { labs })
        }
    }
}

/// The status that follows from the plan, the processes, what the hosts told the server, and what
/// their agents say.
pub(crate) async fn of(layout: &Layout, plan: &Plan, view: &View) -> Status {
    let names = plan.intent.hosts().map(|host| &host.name);
    let agents = agents::statuses(layout, names).await;
    let unknown = HostView::default();
    let told =
        |name: &Name| Told { view: view.get(name).unwrap_or(&unknown), agent: agents.get(name) };
    let hosts = plan.intent.hosts().map(|it| host_status(layout, plan, it, &told(&it.name)));
    let guests = plan.endpoints().map(|(vpc, it)| guest_status(layout, vpc, it, &told(&it.host)));
    Status {
        lab: layout.lab().to_owned(),
        folder: layout.state(),
        server: pid(&layout.server_record()),
        underlay: plan.store.topology.underlay.clone(),
        hosts: hosts.collect(),
        guests: guests.collect(),
    }
}

/// What is known about a host from others than the plan.
struct Told<'a> {
    view: &'a HostView,
    agent: Option<&'a mizar_proto::Status>,
}

impl Told<'_> {
    /// The errors of one VPC, but for ports: these are tried again, and the agent knows how they
    /// stand.
    fn errors<'a>(&self, vpc: &'a VpcView) -> impl Iterator<Item = (&'a String, &'a String)> {
        let knows_ports = self.agent.is_some();
        vpc.errors.iter().filter(move |(row, _)| !knows_ports || !row.starts_with("ports["))
    }

    fn port_state(&self, vni: Vni, endpoint: &Endpoint) -> Option<&PortState> {
        let ports = &self.agent?.ports;
        let port = ports.iter().find(|port| port.vni == vni && port.name == endpoint.name)?;
        Some(&port.state)
    }
}

fn host_status(layout: &Layout, plan: &Plan, host: &Host, told: &Told<'_>) -> HostStatus {
    let name = host.name.as_str();
    HostStatus {
        name: name.to_owned(),
        underlay: host.underlay,
        namespace: layout.host_namespace(name).path(),
        nic: NIC,
        agent: pid(&layout.agent_record(name)),
        socket: layout.agent_socket(name),
        log: layout.agent_log(name),
        pins: layout.pins(name),
        connected: told.view.connected,
        nic_mode: told.agent.map(|agent| agent.nic_mode.to_string()),
        vpcs: host_vpcs(plan, told),
    }
}

fn guest_status(
    layout: &Layout,
    vpc: &VpcIntent,
    endpoint: &Endpoint,
    told: &Told<'_>,
) -> GuestStatus {
    GuestStatus {
        vpc: endpoint.vpc.to_string(),
        vni: vpc.vpc().vni,
        network: endpoint.network.to_string(),
        name: endpoint.name.to_string(),
        host: endpoint.host.to_string(),
        namespace: layout.guest_namespace(endpoint.vpc.as_str(), endpoint.name.as_str()).path(),
        interface: GUEST_INTERFACE,
        mac: endpoint.mac,
        v4: endpoint.v4,
        v6: endpoint.v6,
        state: guest_state(vpc.vpc().vni, endpoint, told),
    }
}

fn host_vpcs(plan: &Plan, told: &Told<'_>) -> Vec<HostVpcStatus> {
    let name = |vni| {
        let vpc = plan.intent.vpcs().find(|vpc| vpc.vpc().vni == vni);
        vpc.map_or_else(|| vni.to_string(), |vpc| vpc.vpc().name.to_string())
    };
    let status = |(&vni, vpc): (&Vni, &VpcView)| HostVpcStatus {
        vpc: name(vni),
        wanted: vpc.wanted,
        acked: vpc.acked,
        errors: told.errors(vpc).map(|(row, why)| error_line(row, why)).collect(),
    };
    told.view.vpcs.iter().map(status).collect()
}

/// The agent's word counts as soon as it has the endpoint as it is planned.
fn guest_state(vni: Vni, endpoint: &Endpoint, told: &Told<'_>) -> GuestState {
    let acked = told.view.vpcs.get(&vni).and_then(|vpc| vpc.acked);
    if acked.is_none_or(|acked| acked < endpoint.generation) {
        return GuestState::Pending;
    }
    match told.port_state(vni, endpoint) {
        Some(PortState::Ready) => GuestState::Attached,
        Some(PortState::Failed(why)) => GuestState::Failed(why.clone()),
        Some(PortState::Attaching) | None => GuestState::Pending,
    }
}

/// The process id in a record, if that process runs.
fn pid(record: &Path) -> Option<i32> {
    Process::read(record).filter(|process| process.is_alive()).map(|process| process.pid)
}

fn error_line(row: &str, why: &str) -> String {
    if row.is_empty() { why.to_owned() } else { format!("{row}: {why}") }
}

fn as_text<S: serde::Serializer>(
    value: &impl fmt::Display,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.collect_str(value)
}
