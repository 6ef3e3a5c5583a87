//! What happens in a run: a fleet, and a script of actions.
//!
//! A seed decides both. The script can be printed, shortened and read again; the fleet and all
//! chances of the underlay remain those of the seed.

use anyhow::{Context, Result, bail};
use mizar_packet::upkeep::LEASE;
use std::fmt;
use std::str::FromStr;

/// A host, by its place in the fleet.
pub(crate) type HostId = usize;

/// A run: what is there, and what happens when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scenario {
    /// Decides everything that the script does not say.
    pub seed: u64,
    /// What may happen in it, and what must hold therefore.
    pub class: Class,
    pub(crate) hosts: Vec<HostSpec>,
    /// VPCs, all with the same addresses.
    pub(crate) vpcs: usize,
    /// Networks of each VPC.
    pub(crate) networks: usize,
    /// Whether networks have IPv6 prefixes too.
    pub(crate) dual: bool,
    /// Bouncers that hold each slot.
    pub(crate) replicas: usize,
    /// Most locations that a host may learn in a VPC.
    pub(crate) quota: u32,
    /// What happens, in order.
    pub(crate) script: Vec<Step>,
}

/// What may happen in a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Class {
    /// Management alone: agents and controllers stop and come back, roles and hosts change. No
    /// packet between endpoints that stay may be lost.
    Calm,
    /// Hosts without endpoints die and return, one at a time, whether a controller runs or not. A
    /// death may cost packets for as long as hosts are believed in ([`GRACE`]), and later one of
    /// each flow and direction at each host that sends there: only who sends finds out who lives.
    Deaths,
    /// Endpoints move, go and are replaced; the underlay loses some packets.
    Moves,
    /// Hosts die and the underlay falls apart too.
    Storm,
    /// Management alone, and frames come from those who may not send them: nothing is lost.
    Hostile,
}

/// How long a dead host may be believed in, in µs: for a lease since its last word came, which is
/// counted in jiffies of up to 10 ms.
pub(crate) const GRACE: u64 = LEASE.as_micros() as u64 + 20_000;

impl Class {
    /// All classes.
    pub const ALL: [Self; 5] = [Self::Calm, Self::Deaths, Self::Moves, Self::Storm, Self::Hostile];

    /// Whether packets between endpoints that stay must arrive.
    pub(crate) const fn is_strict(self) -> bool {
        matches!(self, Self::Calm | Self::Deaths | Self::Hostile)
    }
}

/// A host of the fleet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct HostSpec {
    /// Jiffies a second of its kernel.
    pub(crate) hz: u32,
    /// Its jiffies when the run begins.
    pub(crate) jiffies: u64,
    /// How much faster its clock is than it should be, in millionths.
    pub(crate) drift: i64,
    /// It is in the fleet from the beginning.
    pub(crate) present: bool,
}

/// Something that happens at a time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Step {
    /// Since the beginning, in ms.
    pub(crate) at: u64,
    pub(crate) action: Action,
}

/// An endpoint: those whose numbers differ by [`ADDRESSES`] have the same address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct EndpointId {
    pub(crate) vpc: usize,
    pub(crate) number: usize,
}

/// Addresses of a VPC.
pub(crate) const ADDRESSES: usize = 6;

/// Something that happens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    /// An endpoint is created on a host, or moves there.
    Put(EndpointId, HostId),
    /// An endpoint is about to move to a host.
    Prepare(EndpointId, HostId),
    /// It moves where it was about to, if all is ready for it.
    Switch(EndpointId),
    /// It stays where it is.
    Cancel(EndpointId),
    /// An endpoint goes.
    Delete(EndpointId),
    /// An endpoint goes, and another one with the same address is created on a host.
    Replace(EndpointId, HostId),
    /// From now on the guest of one endpoint sends to another's address.
    Flow(Flow),
    /// The guest of one endpoint writes so many pieces to another's, by TCP.
    Stream(EndpointId, usize, usize),
    /// Who holds the slots of a network; nobody: as the planner likes.
    Bouncers(usize, usize, Vec<HostId>),
    /// Who divides a VPC; nobody: as the planner likes.
    Dividers(usize, Vec<HostId>),
    /// A host takes no slots, or does again.
    Cordon(HostId, bool),
    /// A host joins the fleet.
    Join(HostId),
    /// An agent dies; its host's tables live on.
    StopAgent(HostId),
    /// An agent starts.
    StartAgent(HostId),
    /// An agent gives way to one whose tables have another layout.
    Upgrade(HostId),
    /// A host dies with all that it has.
    StopHost(HostId),
    /// A host starts with nothing.
    StartHost(HostId),
    /// The controller dies; its store lives on.
    StopController,
    /// A controller starts.
    StartController,
    /// A host's stream breaks.
    Reset(HostId),
    /// A host and the controller do not hear each other, or do again.
    Mute(HostId, bool),
    /// What one host sends another is lost, or no longer.
    Cut(HostId, HostId, bool),
    /// So many of a thousand packets are lost.
    Loss(u64),
    /// So many of a thousand frames come again, some seconds later.
    Replay(u64),
    /// Keys turn.
    Turn,
    /// So many frames come that nobody has sent who may.
    Forge(u64),
}

/// Packets that a guest sends again and again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Flow {
    pub(crate) from: EndpointId,
    /// Number of the endpoint whose address it sends to.
    pub(crate) to: usize,
    /// In ms.
    pub(crate) every: u64,
    /// The receiver answers each packet.
    pub(crate) answered: bool,
    pub(crate) v6: bool,
}

impl Scenario {
    /// How many hosts there are.
    pub fn hosts(&self) -> usize {
        self.hosts.len()
    }

    /// How many VPCs there are, all with the same addresses.
    pub fn vpcs(&self) -> usize {
        self.vpcs
    }

    /// When the last action happens, in ms.
    pub(crate) fn end(&self) -> u64 {
        self.script.iter().map(|step| step.at).max().unwrap_or(0)
    }

    /// The fleet of a seed with another script: a line for each step.
    ///
    /// # Errors
    /// Names the line that is no step.
    pub fn with_script(mut self, text: &str) -> Result<Self> {
        let lines = text.lines().enumerate().map(|(number, line)| (number + 1, line.trim()));
        let steps = lines.filter(|(_, line)| !line.is_empty() && !line.starts_with('#'));
        let step = |(number, line): (usize, &str)| {
            line.parse::<Step>().with_context(|| format!("line {number}, {line:?}"))
        };
        self.script = steps.map(step).collect::<Result<_>>()?;
        let known = |step: &Step| step.action.hosts().iter().all(|host| *host < self.hosts.len());
        if let Some(step) = self.script.iter().find(|step| !known(step)) {
            bail!("{step}: the fleet of seed {} has {} hosts", self.seed, self.hosts.len());
        }
        Ok(self)
    }
}

impl fmt::Display for Scenario {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { seed, class, vpcs, networks, replicas, quota, .. } = self;
        writeln!(
            f,
            "# seed {seed}, {class:?}: {vpcs} VPCs of {networks} networks, dual-stack: {}, \
                     {replicas} replicas, quota {quota}",
            self.dual
        )?;
        for (id, host) in self.hosts.iter().enumerate() {
            let HostSpec { hz, jiffies, drift, present } = host;
            let late = if *present { "" } else { ", joins later" };
            writeln!(f, "# h{}: HZ {hz}, jiffies {jiffies}, drift {drift} ppm{late}", id + 1)?;
        }
        self.script.iter().try_for_each(|step| writeln!(f, "{step}"))
    }
}

impl Action {
    /// The hosts that it names.
    fn hosts(&self) -> Vec<HostId> {
        match self {
            Self::Put(_, host) | Self::Replace(_, host) | Self::Cordon(host, _) => vec![*host],
            Self::Prepare(_, host) => vec![*host],
            Self::Switch(_) | Self::Cancel(_) => Vec::new(),
            Self::Join(host) | Self::StopAgent(host) | Self::StartAgent(host) => vec![*host],
            Self::StopHost(host) | Self::StartHost(host) | Self::Reset(host) => vec![*host],
            Self::Mute(host, _) | Self::Upgrade(host) => vec![*host],
            Self::Cut(from, to, _) => vec![*from, *to],
            Self::Bouncers(.., hosts) | Self::Dividers(_, hosts) => hosts.clone(),
            Self::Delete(_) | Self::Flow(_) => Vec::new(),
            Self::Loss(_) | Self::Replay(_) | Self::Turn | Self::Forge(_) => Vec::new(),
            Self::Stream(..) => Vec::new(),
            Self::StopController | Self::StartController => Vec::new(),
        }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "at {} {}", self.at, self.action)
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let host = |id: &HostId| format!("h{}", id + 1);
        let hosts = |ids: &[HostId]| match ids {
            [] => "auto".to_owned(),
            ids => ids.iter().map(host).collect::<Vec<_>>().join(","),
        };
        match self {
            Self::Put(endpoint, to) => write!(f, "put {endpoint} {}", host(to)),
            Self::Prepare(endpoint, to) => write!(f, "prepare {endpoint} {}", host(to)),
            Self::Switch(endpoint) => write!(f, "switch {endpoint}"),
            Self::Cancel(endpoint) => write!(f, "cancel {endpoint}"),
            Self::Delete(endpoint) => write!(f, "delete {endpoint}"),
            Self::Replace(endpoint, to) => write!(f, "replace {endpoint} {}", host(to)),
            Self::Flow(Flow { from, to, every, answered, v6 }) => {
                let way = if *answered { "two-way" } else { "one-way" };
                let family = if *v6 { "v6" } else { "v4" };
                write!(f, "flow {from} e{to} {every} {way} {family}")
            }
            Self::Stream(from, to, pieces) => write!(f, "stream {from} e{to} {pieces}"),
            Self::Bouncers(vpc, network, to) => {
                write!(f, "bouncers v{vpc} n{network} {}", hosts(to))
            }
            Self::Dividers(vpc, to) => write!(f, "dividers v{vpc} {}", hosts(to)),
            Self::Cordon(id, true) => write!(f, "cordon {}", host(id)),
            Self::Cordon(id, false) => write!(f, "uncordon {}", host(id)),
            Self::Join(id) => write!(f, "join {}", host(id)),
            Self::StopAgent(id) => write!(f, "stop-agent {}", host(id)),
            Self::Upgrade(id) => write!(f, "upgrade {}", host(id)),
            Self::StartAgent(id) => write!(f, "start-agent {}", host(id)),
            Self::StopHost(id) => write!(f, "stop-host {}", host(id)),
            Self::StartHost(id) => write!(f, "start-host {}", host(id)),
            Self::StopController => f.write_str("stop-controller"),
            Self::StartController => f.write_str("start-controller"),
            Self::Reset(id) => write!(f, "reset {}", host(id)),
            Self::Mute(id, true) => write!(f, "mute {}", host(id)),
            Self::Mute(id, false) => write!(f, "unmute {}", host(id)),
            Self::Cut(from, to, true) => write!(f, "cut {} {}", host(from), host(to)),
            Self::Cut(from, to, false) => write!(f, "heal {} {}", host(from), host(to)),
            Self::Turn => f.write_str("turn-keys"),
            Self::Forge(frames) => write!(f, "forge {frames}"),
            Self::Loss(permille) => write!(f, "loss {permille}"),
            Self::Replay(permille) => write!(f, "replay {permille}"),
        }
    }
}

impl fmt::Display for EndpointId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "v{} e{}", self.vpc, self.number)
    }
}

impl FromStr for Step {
    type Err = anyhow::Error;

    fn from_str(line: &str) -> Result<Self> {
        let words: Vec<_> = line.split_whitespace().collect();
        let ["at", at, rest @ ..] = &words[..] else { bail!("a step begins with `at MS`") };
        Ok(Self { at: at.parse().context("milliseconds")?, action: action(rest)? })
    }
}

fn action(words: &[&str]) -> Result<Action> {
    Ok(match words {
        ["put", vpc, number, to] => Action::Put(endpoint(vpc, number)?, host(to)?),
        ["prepare", vpc, number, to] => Action::Prepare(endpoint(vpc, number)?, host(to)?),
        ["switch", vpc, number] => Action::Switch(endpoint(vpc, number)?),
        ["cancel", vpc, number] => Action::Cancel(endpoint(vpc, number)?),
        ["delete", vpc, number] => Action::Delete(endpoint(vpc, number)?),
        ["replace", vpc, number, to] => Action::Replace(endpoint(vpc, number)?, host(to)?),
        ["flow", vpc, number, to, every, way, family] => Action::Flow(Flow {
            from: endpoint(vpc, number)?,
            to: number_of("e", to)?,
            every: every.parse().context("milliseconds")?,
            answered: *way == "two-way",
            v6: *family == "v6",
        }),
        ["stream", vpc, number, to, pieces] => Action::Stream(
            endpoint(vpc, number)?,
            number_of("e", to)?,
            pieces.parse().context("pieces")?,
        ),
        ["bouncers", vpc, network, to] => {
            Action::Bouncers(number_of("v", vpc)?, number_of("n", network)?, hosts(to)?)
        }
        ["dividers", vpc, to] => Action::Dividers(number_of("v", vpc)?, hosts(to)?),
        ["cordon", id] => Action::Cordon(host(id)?, true),
        ["uncordon", id] => Action::Cordon(host(id)?, false),
        ["join", id] => Action::Join(host(id)?),
        ["stop-agent", id] => Action::StopAgent(host(id)?),
        ["start-agent", id] => Action::StartAgent(host(id)?),
        ["upgrade", id] => Action::Upgrade(host(id)?),
        ["stop-host", id] => Action::StopHost(host(id)?),
        ["start-host", id] => Action::StartHost(host(id)?),
        ["stop-controller"] => Action::StopController,
        ["start-controller"] => Action::StartController,
        ["reset", id] => Action::Reset(host(id)?),
        ["mute", id] => Action::Mute(host(id)?, true),
        ["unmute", id] => Action::Mute(host(id)?, false),
        ["cut", from, to] => Action::Cut(host(from)?, host(to)?, true),
        ["heal", from, to] => Action::Cut(host(from)?, host(to)?, false),
        ["loss", permille] => Action::Loss(permille.parse().context("of a thousand")?),
        ["turn-keys"] => Action::Turn,
        ["forge", frames] => Action::Forge(frames.parse().context("frames")?),
        ["replay", permille] => Action::Replay(permille.parse().context("of a thousand")?),
        _ => bail!("no such action"),
    })
}

fn endpoint(vpc: &str, number: &str) -> Result<EndpointId> {
    Ok(EndpointId { vpc: number_of("v", vpc)?, number: number_of("e", number)? })
}

fn hosts(text: &str) -> Result<Vec<HostId>> {
    if text == "auto" {
        return Ok(Vec::new());
    }
    text.split(',').map(host).collect()
}

fn host(text: &str) -> Result<HostId> {
    number_of("h", text)?.checked_sub(1).context("hosts are counted from h1")
}

fn number_of(prefix: &str, text: &str) -> Result<usize> {
    let digits = text.strip_prefix(prefix);
    digits
        .and_then(|digits| digits.parse().ok())
        .with_context(|| format!("{text:?} must be `{prefix}` and a number"))
}
