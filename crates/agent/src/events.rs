//! What the kernel programs ask the agent to do.
//!
//! An event may be lost when the queue is full: whatever called for it calls again with the next
//! packet.

use crate::control::Control;
use crate::hosts::Hosts;
use crate::kernel::{EventQueue, Maps};
use crate::probe::Prober;
use mizar_packet::Address;
use mizar_packet::tables::{Endpoint, EndpointKey, Event};
use mizar_packet::wire::oam;
use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tracing::{debug, warn};
use zerocopy::FromBytes;

/// Least time between two probes of a host that events ask for.
const PROBE_PAUSE: Duration = Duration::from_millis(20);
/// Least time between two complaints about hosts that have no place: every packet of theirs is an
/// event.
const COMPLAINT_PAUSE: Duration = Duration::from_secs(10);
/// Events handled before others get their turn.
const TURN: usize = 256;

/// What is remembered from one event to the next.
#[derive(Debug, Default)]
struct Recent {
    /// When each host was last probed because an event asked for it.
    probed: HashMap<u32, Instant>,
    /// When it was last said that a host has no place.
    complained: Option<Instant>,
}

/// Handles events.
#[derive(Debug)]
pub(crate) struct Events {
    pub(crate) maps: Arc<Maps>,
    pub(crate) hosts: Arc<Hosts>,
    pub(crate) control: Arc<Control>,
    pub(crate) prober: Arc<Prober>,
    /// This host's underlay address.
    pub(crate) underlay: Address,
}

impl Events {
    /// Handles events for ever.
    ///
    /// # Errors
    /// The queue cannot be waited for.
    pub(crate) async fn run(&self, mut queue: EventQueue) -> io::Result<()> {
        let mut recent = Recent::default();
        loop {
            let mut ready = queue.readable_mut().await?;
            let queue = ready.get_inner_mut();
            let mut handled = 0;
            while handled < TURN {
                let Some(item) = queue.next() else { break };
                // A program of another build may send more than is known here.
                if let Ok((event, _)) = Event::read_from_prefix(&item) {
                    self.handle(&event, &mut recent);
                }
                handled += 1;
            }
            if handled < TURN {
                ready.clear_ready();
            }
            tokio::task::yield_now().await;
        }
    }

    fn handle(&self, event: &Event, recent: &mut Recent) {
        let key = EndpointKey::new(event.vni, event.remote);
        match event.kind {
            Event::NEW_HOST => self.new_host(event.underlay, &mut recent.complained),
            Event::PROBE => self.probe(event.host, &mut recent.probed),
            Event::NOTICE => self.notice(event),
            Event::INVALIDATE => {
                let known = self.endpoint(&key).map_or(0, |row| row.generation);
                let generation = known.max(event.generation);
                self.tell(event, oam::INVALIDATE, event.remote, Address::NONE, generation);
            }
            Event::UNKNOWN => self.tell(event, oam::UNKNOWN, event.remote, Address::NONE, 0),
            kind => debug!(kind, "event of an unknown kind"),
        }
    }

    fn new_host(&self, underlay: Address, complained: &mut Option<Instant>) {
        if underlay.is_none() {
            return;
        }
        // Its next hop is looked for then, and it is probed as soon as that is known.
        if let Err(error) = self.hosts.ensure(underlay.into())
            && is_due(complained, COMPLAINT_PAUSE, Instant::now())
        {
            warn!(host = %underlay, %error, "host not added");
        }
    }

    fn probe(&self, host: u32, probed: &mut HashMap<u32, Instant>) {
        let now = Instant::now();
        if probed.get(&host).is_some_and(|last| now - *last < PROBE_PAUSE) {
            return;
        }
        probed.insert(host, now);
        self.prober.probe(host);
    }

    /// Tells a remote host that an endpoint is here, if it is.
    fn notice(&self, event: &Event) {
        let local = self.endpoint(&EndpointKey::new(event.vni, event.local));
        if let Some(row) = local.filter(|row| row.kind == Endpoint::LOCAL) {
            self.tell(event, oam::NOTICE, event.local, self.underlay, row.generation);
        }
    }

    fn tell(&self, event: &Event, kind: u8, about: Address, host: Address, generation: u64) {
        let told = self.control.tell(event.underlay, kind, (event.vni, about), host, generation);
        if let Err(error) = told {
            debug!(host = %event.underlay, kind, %error, "control message not sent");
        }
    }

    fn endpoint(&self, key: &EndpointKey) -> Option<Endpoint> {
        self.maps.endpoints.get(key)
    }
}

/// Whether the pause since the last time is over; if so, the next one begins.
fn is_due(last: &mut Option<Instant>, pause: Duration, now: Instant) -> bool {
    let due = last.is_none_or(|last| now - last >= pause);
    if due {
        *last = Some(now);
    }
    due
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_complaint_is_repeated_after_a_pause_only() {
        let (mut last, start) = (None, Instant::now());
        let mut due = |passed| is_due(&mut last, COMPLAINT_PAUSE, start + passed);
        assert!(due(Duration::ZERO));
        assert!(!due(COMPLAINT_PAUSE / 2));
        assert!(due(COMPLAINT_PAUSE));
        assert!(!due(COMPLAINT_PAUSE * 3 / 2));
    }
}
