//! Where frames to other hosts go next: asked of the kernel's routes and neighbours, kept current.
//!
//! A next hop is handed to the kernel to keep resolved, with or without traffic and also while no
//! agent runs. Its MAC address is never taken from frames that come in. While this runs it answers
//! for the next hops in the tables; once it has not for a while, the kernel programs have frames
//! sent by what the kernel knows, which costs more.

use crate::clock::Clock;
use crate::hosts::Hosts;
use crate::kernel::Maps;
use crate::netlink::{self, Changes, Event, Netlink};
use crate::probe::Prober;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::mpsc;
use tracing::{debug, warn};

/// How often all ways are looked up again: a lower path MTU is not announced.
const REFRESH: Duration = Duration::from_secs(30);
/// How long to wait after a change of routes for more of them.
const SETTLE: Duration = Duration::from_millis(100);

/// How long next hops are believed without another word of the agent: longer than it takes to
/// replace one by another.
pub(crate) const VOUCHED: Duration = Duration::from_secs(5);
/// How often it gives its word.
const VOUCH: Duration = Duration::from_secs(1);

/// Resolves next hops.
#[derive(Debug)]
pub(crate) struct NextHops {
    maps: Arc<Maps>,
    clock: Clock,
    /// When the agent last gave its word.
    vouched: Instant,
    netlink: Netlink,
    hosts: Arc<Hosts>,
    prober: Arc<Prober>,
    /// Index of the NIC.
    nic: u32,
    /// The hosts behind each next hop, with the MTU of the way.
    behind: BTreeMap<IpAddr, BTreeMap<IpAddr, u16>>,
    /// Hosts without a way by the NIC, so that each is complained about once.
    unreachable: BTreeSet<IpAddr>,
}

impl NextHops {
    pub(crate) fn new(
        (maps, clock): (Arc<Maps>, Clock),
        netlink: Netlink,
        hosts: Arc<Hosts>,
        prober: Arc<Prober>,
        nic: u32,
    ) -> Self {
        let (behind, unreachable) = Default::default();
        let vouched = Instant::now();
        Self { maps, clock, vouched, netlink, hosts, prober, nic, behind, unreachable }
    }

    /// Resolves whatever is wanted, and again when something changes, for ever.
    ///
    /// # Errors
    /// The kernel's events cannot be read.
    pub(crate) async fn run(
        mut self,
        mut wanted: mpsc::UnboundedReceiver<IpAddr>,
    ) -> netlink::Result<()> {
        let mut events = self.netlink.events(Changes::Ways).await?;
        let mut refresh = tokio::time::interval_at(tokio::time::Instant::now() + REFRESH, REFRESH);
        refresh.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut vouch = tokio::time::interval(VOUCH);
        vouch.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            self.vouch();
            tokio::select! {
                _ = vouch.tick() => {}
                host = wanted.recv() => match host {
                    Some(host) => self.resolve(host).await,
                    // The hosts are gone: the agent is stopping.
                    None => return Ok(()),
                },
                event = events.next() => match event? {
                    Event::Neighbour(neighbour) if neighbour.interface == self.nic => {
                        if let Some(mac) = neighbour.mac {
                            self.found(neighbour.address, mac);
                        }
                    }
                    Event::Neighbour(_) | Event::LinkGone(_) => {}
                    // Taken away by somebody: it is wanted again.
                    Event::NeighbourGone { interface, address } => {
                        if interface == self.nic && self.behind.contains_key(&address) {
                            self.keep(address).await;
                        }
                    }
                    Event::Route(_) | Event::Lost => refresh.reset_after(SETTLE),
                },
                _ = refresh.tick() => self.resolve_all().await,
            }
        }
    }

    /// Answers for the next hops in the tables, now and then.
    fn vouch(&mut self) {
        if self.vouched.elapsed() < VOUCH / 2 {
            return;
        }
        let until = self.clock.now() + self.clock.jiffies(VOUCHED);
        match self.maps.change_config(|config| config.vouched_until = until) {
            Ok(()) => self.vouched = Instant::now(),
            Err(error) => warn!(%error, "next hops not vouched for"),
        }
    }

    async fn resolve_all(&mut self) {
        let hosts: Vec<IpAddr> = self.hosts.others().into_iter().map(|(host, _)| host).collect();
        let before: BTreeSet<IpAddr> = std::mem::take(&mut self.behind).into_keys().collect();
        for host in hosts {
            self.resolve(host).await;
            // It may take a while, with many hosts.
            self.vouch();
        }
        for next_hop in before.into_iter().filter(|hop| !self.behind.contains_key(hop)) {
            if let Err(error) = self.netlink.release(self.nic, next_hop).await {
                debug!(%next_hop, %error, "neighbour not released");
            }
        }
    }

    async fn resolve(&mut self, host: IpAddr) {
        let way = match self.netlink.way(host).await {
            Ok(way) if way.interface == self.nic => way,
            Ok(way) => {
                if self.unreachable.insert(host) {
                    warn!(%host, interface = way.interface, nic = self.nic,
                        "host is not reached by way of the NIC");
                }
                self.hosts.settle(host);
                return;
            }
            Err(error) => {
                if self.unreachable.insert(host) {
                    warn!(%host, error = crate::error_chain(&error), "no way to host");
                }
                self.hosts.settle(host);
                return;
            }
        };
        self.unreachable.remove(&host);
        for hosts in self.behind.values_mut() {
            hosts.remove(&host);
        }
        let mtu = u16::try_from(way.mtu).unwrap_or(u16::MAX);
        self.behind.entry(way.next_hop).or_default().insert(host, mtu);
        self.keep(way.next_hop).await;
    }

    /// Has the kernel keep a next hop resolved, and takes its address if it is known already.
    async fn keep(&mut self, next_hop: IpAddr) {
        if let Err(error) = self.netlink.resolve(self.nic, next_hop).await {
            warn!(%next_hop, error = crate::error_chain(&error), "next hop not resolved");
        }
        match self.netlink.neighbour(self.nic, next_hop).await {
            Ok(Some(neighbour)) => {
                if let Some(mac) = neighbour.mac {
                    self.found(next_hop, mac);
                }
            }
            // Its event will come.
            Ok(None) => {}
            Err(error) => debug!(%next_hop, %error, "neighbour not read"),
        }
    }

    fn found(&self, next_hop: IpAddr, mac: [u8; 6]) {
        for (host, mtu) in self.behind.get(&next_hop).into_iter().flatten() {
            match self.hosts.resolved(*host, mac, *mtu) {
                Ok(Some(index)) => self.prober.probe(index),
                Ok(None) => {}
                Err(error) => warn!(%host, %error, "next hop not written"),
            }
            self.hosts.settle(*host);
        }
    }
}
