//! What a lab looks like from outside.

use crate::layout::{Layout, STATE_FOLDER};
use crate::plan::Plan;
use crate::topology::{Attach, Topology, Underlay};
use crate::{Error, log, parts};
use mizar_vpc::manifest::Phase;
use mizar_vpc::{Generation, Mac, Vni};
use serde::Serialize;
use std::fmt;
use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;

mod guests;
mod hosts;
mod view;

/// A lab as it is.
#[derive(Clone, Debug, Serialize)]
pub struct Status {
    /// Its name.
    pub lab: String,
    /// Its folder, which goes when it goes.
    pub folder: PathBuf,
    /// Its controller.
    pub controller: ControllerStatus,
    /// How its hosts are joined.
    pub underlay: Underlay,
    /// Its hosts, by name.
    pub hosts: Vec<HostStatus>,
    /// Its guests, by VPC and name: what its controller has, or what it was built from while that
    /// does not answer.
    pub guests: Vec<GuestStatus>,
    /// Networks and VPCs whose bouncers and dividers are not yet those that they shall be, a
    /// sentence for each.
    pub unsettled: Vec<String>,
}

/// A lab's controller as it is.
#[derive(Clone, Debug, Serialize)]
pub struct ControllerStatus {
    /// Its process id; nothing if it does not run.
    pub process: Option<i32>,
    /// Where it listens, for `mizar --controller unix:…`.
    pub socket: PathBuf,
    /// Its log.
    pub log: PathBuf,
    /// Why it does not answer, if it does not.
    pub problem: Option<String>,
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
    /// Whether the agent is connected to the lab's controller.
    pub connected: bool,
    /// How the agent attached to the NIC, once it has said so.
    pub nic_mode: Option<String>,
    /// Where it stands in the VPCs it takes part in.
    pub vpcs: Vec<HostVpcStatus>,
    /// What it could not do, but for attaching guests: that is tried again, and said of the guest.
    pub errors: Vec<String>,
}

/// Where a host stands in a VPC.
#[derive(Clone, Debug, Serialize)]
pub struct HostVpcStatus {
    /// The VPC's name; its VNI if it is no more.
    pub vpc: String,
    /// The generation at which its agent says it stands.
    pub at: Option<Generation>,
    /// Whether it has yet to acknowledge something.
    pub behind: bool,
}

/// A guest, or a host that is an endpoint, as it is.
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
    /// What it is an interface of.
    pub attach: Attach,
    /// Its network namespace.
    pub namespace: PathBuf,
    /// Its interface there.
    pub interface: String,
    /// Its MAC address, once it is known.
    pub mac: Option<Mac>,
    /// Its IPv4 address.
    pub v4: Option<Ipv4Addr>,
    /// Its IPv6 address.
    pub v6: Option<Ipv6Addr>,
    /// Whether it has its interface.
    pub state: GuestState,
    /// How its endpoint stands; nothing while the controller does not answer.
    pub phase: Option<Phase>,
    /// What its endpoint lacks to be ready.
    pub lacks: Option<String>,
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
    /// Whether every host has what it should have, and every endpoint is ready.
    pub fn is_ready(&self) -> bool {
        self.missing().is_empty()
    }

    /// What keeps the lab from being ready: one sentence for each host and guest.
    pub fn missing(&self) -> Vec<String> {
        let mut missing: Vec<String> = self.controller.missing().into_iter().collect();
        missing.extend(self.hosts.iter().filter_map(HostStatus::missing));
        missing.extend(self.guests.iter().filter_map(GuestStatus::missing));
        missing.extend(self.unsettled.iter().cloned());
        missing
    }
}

impl ControllerStatus {
    fn missing(&self) -> Option<String> {
        let words = last_words(&self.log);
        match (&self.process, &self.problem) {
            (None, _) => Some(format!("the lab's controller does not run{words}")),
            (_, Some(why)) => Some(format!("the lab's controller does not answer: {why}{words}")),
            (_, None) => None,
        }
    }
}

impl HostStatus {
    fn missing(&self) -> Option<String> {
        let name = &self.name;
        if self.agent.is_none() {
            let words = last_words(&self.log);
            return Some(format!("the agent of host {name} does not run{words}"));
        }
        if !self.connected {
            let words = last_words(&self.log);
            return Some(format!("the agent of host {name} is not connected{words}"));
        }
        let behind = self.vpcs.iter().filter(|vpc| vpc.behind).map(|vpc| vpc.vpc.as_str());
        let behind: Vec<_> = behind.collect();
        if behind.is_empty() && self.errors.is_empty() {
            return None;
        }
        let mut line = format!("host {name} has not acknowledged all of {}", behind.join(", "));
        if behind.is_empty() {
            line = format!("host {name} has failed");
        }
        if !self.errors.is_empty() {
            line.push_str(": ");
            line.push_str(&self.errors.join("; "));
        }
        Some(line)
    }
}

impl GuestStatus {
    /// How it is, in a word or two: `attached` means that its endpoint is ready, as far as anybody
    /// says so.
    pub fn word(&self) -> String {
        match (&self.state, self.phase) {
            (GuestState::Attached, Some(phase)) if phase != Phase::Ready => {
                phase.as_str().to_lowercase()
            }
            (state, _) => state.to_string(),
        }
    }

    fn missing(&self) -> Option<String> {
        if self.state == GuestState::Attached && self.phase.is_none_or(|it| it == Phase::Ready) {
            return None;
        }
        let Self { vpc, name, host, .. } = self;
        let line = format!("guest {vpc}/{name} on host {host} is {}", self.word());
        let lacks = self.lacks.as_ref().filter(|_| !matches!(self.state, GuestState::Failed(_)));
        Some(lacks.map_or_else(|| line.clone(), |lacks| format!("{line}: {lacks}")))
    }
}

/// How a lab is.
///
/// # Errors
///
/// When there is no such lab, or its folder cannot be read.
pub async fn status(lab: &str) -> Result<Status, Error> {
    let (layout, topology) = parts::built(lab)?;
    let plan = Plan::new(&topology)?;
    Ok(of(&layout, &topology, &plan).await)
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

/// The status that follows from the processes, what the controller says, and what the agents say.
pub(crate) async fn of(layout: &Layout, topology: &Topology, plan: &Plan) -> Status {
    let view = view::View::of(layout, topology, plan).await;
    Status {
        lab: layout.lab().to_owned(),
        folder: layout.state(),
        controller: ControllerStatus {
            process: hosts::pid(&layout.controller_record()),
            socket: layout.controller_socket(),
            log: layout.controller_log(),
            problem: view.problem.clone(),
        },
        underlay: topology.underlay.clone(),
        hosts: hosts::of(layout, plan, &view),
        guests: guests::of(layout, plan, &view),
        unsettled: view.unsettled(plan),
    }
}

/// What a log says last, as the end of a sentence.
fn last_words(log: &std::path::Path) -> String {
    let path = log.display();
    match log::last_words(log) {
        Some(line) => format!("; its log {path} says: {line}"),
        None => format!("; its log {path} is empty"),
    }
}
