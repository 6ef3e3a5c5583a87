//! From the programs of another layout to this agent's.
//!
//! Those go on by their own tables, which this agent does not touch, until its tables have all that
//! the controller has to say. Then each program is replaced where it hangs, without a gap: on the
//! NIC first, so that the answers to this agent's echoes come to its own tables before the guests'
//! programs look there for who is alive, and on the guests' interfaces after it. Whenever the agent
//! dies, whatever hangs anywhere is whole, with tables that are pinned; the next start begins anew.

use super::Driver;
use crate::hosts::Hosts;
use crate::kernel::{self, Kernel, NicMode, TableError};
use crate::netlink::{Netlink, Nic};
use crate::node::{StartError, attach};
use crate::options::ModeChoice;
use crate::ports::Ports;
use crate::probe::Prober;
use mizar_packet::tables::{Host, HostIndex};
use mizar_proto::{Ack, AgentMessage, Applied, Outcome};
use mizar_vpc::Vni;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;
use tracing::{info, warn};

/// How long the next hops of hosts are waited for: packets go on by other programs until then.
const NEXT_HOPS: Duration = Duration::from_secs(2);
/// How long hosts are given to prove that they are alive, and how often they are asked.
const PROOF: Duration = Duration::from_millis(200);
const GLANCE: Duration = Duration::from_millis(20);
/// How long a stream is open before it is said that the controller may never have told all.
const OVERDUE: Duration = Duration::from_secs(30);
/// No packet is in the hands of a program that was replaced so long ago.
const UNDER_WAY: Duration = Duration::from_millis(100);

/// What takes the place of another layout's programs.
#[derive(Debug)]
pub(crate) struct Takeover {
    pub(crate) kernel: Kernel,
    pub(crate) nic: Nic,
    pub(crate) mode: ModeChoice,
    pub(crate) netlink: Netlink,
    pub(crate) prober: Arc<Prober>,
}

/// What the controller has said since its stream began.
#[derive(Debug, Default)]
pub(super) struct Heard {
    /// When it was there.
    pub(super) since: Option<Instant>,
    /// All that there was to say.
    pub(super) all: bool,
    /// The VPCs of which it was not taken.
    pub(super) refused: BTreeSet<Vni>,
    /// Answers that are given again once the tables are at work.
    prepared: BTreeMap<Vni, Ack>,
}

/// What is awaited before the programs of another layout are replaced.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Awaits {
    /// A stream.
    #[default]
    Controller,
    /// All that there is to say.
    All,
    /// The same, for so long that it may never be said.
    Overdue,
    /// A configuration that is this host's.
    Configuration,
    /// An update that can be taken, of this VPC first.
    Update(Vni),
    /// That what was told is done.
    Rows,
}

impl Awaits {
    /// This, and what goes on until then.
    pub(crate) fn until_then(self, others: &[u32]) -> String {
        let others: Vec<_> = others.iter().map(|layout| format!("v{layout}")).collect();
        format!("{self}; until then programs of layout {} go on", others.join(", "))
    }
}

impl fmt::Display for Awaits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Controller => f.write_str("the controller"),
            Self::All => f.write_str("all that the controller has to tell"),
            Self::Overdue => write!(
                f,
                "the controller to say that it has told all, which it has not in {} s: one that is \
                 older than this agent never says so, and has to be upgraded first",
                OVERDUE.as_secs()
            ),
            Self::Configuration => f.write_str("a configuration that is this host's"),
            Self::Update(vni) => {
                write!(f, "an update of VNI {vni} in place of one that was refused")
            }
            Self::Rows => f.write_str("its tables and guests to be as told"),
        }
    }
}

impl Heard {
    /// What is awaited still of the controller, at this time.
    fn awaits(&self, now: Instant) -> Option<Awaits> {
        let is_overdue = self.since.is_some_and(|since| now - since >= OVERDUE);
        match self.refused.first() {
            _ if !self.all && is_overdue => Some(Awaits::Overdue),
            _ if !self.all => Some(Awaits::All),
            Some(vni) => Some(Awaits::Update(*vni)),
            None => None,
        }
    }

    /// What is answered as long as the tables are not at work.
    pub(super) fn prepare(&mut self, ack: Ack) -> Ack {
        let (vni, generation) = (ack.vni, ack.generation);
        self.prepared.insert(vni, ack);
        let applied = Applied { prepared: true, ..Applied::default() };
        Ack { vni, generation, outcome: Outcome::Applied(applied) }
    }
}

impl Driver {
    /// Replaces the programs of another layout, once the tables are as the controller wants them.
    /// Rows that failed are not waited for: others may wait for them for ever.
    pub(super) async fn take_over(&mut self) -> Result<(), StartError> {
        let is_connected = self.standing.borrow().connected;
        if let Some(awaits) = self.awaits(is_connected) {
            self.show(awaits);
            return Ok(());
        }
        let Some(takeover) = self.parts.takeover.take() else { return Ok(()) };
        let hosts = Arc::clone(&self.parts.hosts);
        let ports = self.parts.applier.ports_mut();
        let (mode, reason) = takeover.run(ports, &hosts).await?;
        self.standing.send_modify(|standing| {
            (standing.mode, standing.reason, standing.others) = (mode, reason, Vec::new());
        });
        for ack in std::mem::take(&mut self.heard.prepared).into_values() {
            self.say(AgentMessage::Ack(ack));
        }
        self.say_beat();
        Ok(())
    }

    /// What is awaited before the programs of another layout are replaced; None: nothing, or there
    /// are none.
    pub(super) fn awaits(&self, is_connected: bool) -> Option<Awaits> {
        self.parts.takeover.as_ref()?;
        match self.heard.awaits(Instant::now()) {
            Some(Awaits::All | Awaits::Overdue) if !is_connected => Some(Awaits::Controller),
            _ if self.refusal.is_some() => Some(Awaits::Configuration),
            None if !self.parts.applier.is_idle() => Some(Awaits::Rows),
            awaits => awaits,
        }
    }

    fn show(&self, awaits: Awaits) {
        let is_new = self
            .standing
            .send_if_modified(|standing| std::mem::replace(&mut standing.awaits, awaits) != awaits);
        if is_new && awaits == Awaits::Overdue {
            let others = self.standing.borrow().others.clone();
            warn!("still waiting for {}", awaits.until_then(&others));
        }
    }
}

impl Takeover {
    /// Puts the programs to work at once if no other layout's are, and has nothing to do later.
    /// How whichever are at work take frames from the NIC, and why.
    pub(crate) async fn begin(
        mut self,
        others: &[u32],
    ) -> Result<((NicMode, String), Option<Self>), StartError> {
        if others.is_empty() {
            let attached = attach(&self.netlink, &mut self.kernel, &self.nic, self.mode).await?;
            return Ok((attached, None));
        }
        self.kernel.prepare()?;
        info!(?others, "programs of another layout go on until all is told");
        let attached = (self.kernel.mode_at_work(), "as another layout's programs do".to_owned());
        Ok((attached, Some(self)))
    }

    /// Replaces them; how the new ones take frames from the NIC, and why so.
    async fn run(
        mut self,
        ports: &mut Ports,
        hosts: &Hosts,
    ) -> Result<(NicMode, String), StartError> {
        let start = Instant::now();
        let (netlink, others) = (&self.netlink, self.kernel.others());
        resolved(hosts).await?;
        let attached = attach(netlink, &mut self.kernel, &self.nic, self.mode).await?;
        self.prove(hosts).await?;
        ports.replace_programs().await?;
        tokio::time::sleep(UNDER_WAY).await;
        self.kernel.remove_others();
        let took = start.elapsed();
        info!(?others, mode = %attached.0, ?took, "programs of another layout replaced");
        drop(self.kernel);
        kernel::release_memory();
        Ok(attached)
    }

    /// Asks all hosts for a proof that they are alive, and again those that have not heard of this
    /// one before; waits for it as long as that is worth.
    async fn prove(&self, hosts: &Hosts) -> Result<(), StartError> {
        let until = Instant::now() + PROOF;
        loop {
            let is_unproven = |row: &Host| row.is_resolved() && row.alive_until == 0;
            let asked = others(hosts)?.filter(|(_, row)| is_unproven(row));
            let asked = asked.inspect(|(index, _)| self.prober.probe(*index)).count();
            if asked == 0 || Instant::now() >= until {
                return Ok(());
            }
            tokio::time::sleep(GLANCE).await;
        }
    }
}

/// Waits until frames can be sent to every host, or until one has no next hop, it seems. A row has
/// waited for its hosts before, but not long: on a busy machine not long enough.
async fn resolved(hosts: &Hosts) -> Result<(), StartError> {
    let until = Instant::now() + NEXT_HOPS;
    loop {
        if others(hosts)?.all(|(_, row)| row.is_resolved()) || Instant::now() >= until {
            return Ok(());
        }
        tokio::time::sleep(GLANCE).await;
    }
}

/// The rows of all hosts but this one.
fn others(hosts: &Hosts) -> Result<impl Iterator<Item = (HostIndex, Host)>, TableError> {
    let rows: BTreeMap<_, _> = hosts.rows()?.into_iter().collect();
    let others = hosts.others().into_iter();
    Ok(others.filter_map(move |(_, index)| Some((index, *rows.get(&index)?))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_controller_that_never_says_that_it_has_told_all_is_said_to_be_too_old() {
        let start = Instant::now();
        let mut heard = Heard { since: Some(start), ..Heard::default() };
        let almost = start + OVERDUE - Duration::from_millis(1);
        assert_eq!(heard.awaits(almost), Some(Awaits::All));
        assert_eq!(heard.awaits(start + OVERDUE), Some(Awaits::Overdue));
        let said = Awaits::Overdue.until_then(&[5, 7]);
        assert!(said.contains("upgraded first; until then programs of layout v5, v7 go"), "{said}");
        assert!(said.len() <= mizar_proto::Beat::WAITS_FOR);
        heard.refused.insert(Vni::MIN);
        heard.all = true;
        assert_eq!(heard.awaits(start + OVERDUE), Some(Awaits::Update(Vni::MIN)));
        heard.refused.clear();
        assert_eq!(heard.awaits(start + OVERDUE), None);
    }
}
