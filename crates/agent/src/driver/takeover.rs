//! From the programs of another layout to this agent's.
//!
//! Those go on by their own tables, which this agent does not touch, until its tables have all that
//! the controller has to say. Then each program is replaced where it hangs, without a gap: on the
//! NIC first, so that the answers to this agent's echoes come to its own tables before the guests'
//! programs look there for who is alive, and on the guests' interfaces after it. Whenever the agent
//! dies, whatever hangs anywhere is whole, with tables that are pinned; the next start begins anew.

use super::Driver;
use crate::hosts::Hosts;
use crate::kernel::{self, Kernel, NicMode};
use crate::netlink::{Netlink, Nic};
use crate::node::{StartError, attach};
use crate::options::ModeChoice;
use crate::ports::Ports;
use crate::probe::Prober;
use mizar_packet::tables::Host;
use mizar_proto::{Ack, AgentMessage, Applied, Outcome};
use mizar_vpc::Vni;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;
use tracing::info;

/// How long hosts are given to prove that they are alive, and how often they are asked.
const PROOF: Duration = Duration::from_millis(200);
const GLANCE: Duration = Duration::from_millis(20);
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
    /// All that there was to say.
    pub(super) all: bool,
    /// The VPCs of which it was not taken.
    pub(super) refused: BTreeSet<Vni>,
    /// Answers that are given again once the tables are at work.
    prepared: BTreeMap<Vni, Ack>,
}

impl Heard {
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
        let is_told = self.heard.all && self.heard.refused.is_empty() && self.refusal.is_none();
        if !is_told || !self.parts.applier.is_idle() {
            return Ok(());
        }
        let Some(takeover) = self.parts.takeover.take() else { return Ok(()) };
        let hosts = Arc::clone(&self.parts.hosts);
        hosts.settled().await;
        let ports = self.parts.applier.ports_mut();
        let (mode, reason) = takeover.run(ports, &hosts).await?;
        self.standing.send_modify(|standing| {
            (standing.mode, standing.reason, standing.others) = (mode, reason, Vec::new());
        });
        for ack in std::mem::take(&mut self.heard.prepared).into_values() {
            self.say(AgentMessage::Ack(ack));
        }
        Ok(())
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
            let rows: BTreeMap<_, _> = hosts.rows()?.into_iter().collect();
            let is_unproven = |row: &Host| row.is_resolved() && row.alive_until == 0;
            let others = hosts.others().into_iter().map(|(_, index)| index);
            let asked = others.filter(|index| rows.get(index).is_some_and(is_unproven));
            let asked = asked.inspect(|index| self.prober.probe(*index)).count();
            if asked == 0 || Instant::now() >= until {
                return Ok(());
            }
            tokio::time::sleep(GLANCE).await;
        }
    }
}
