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
/// Events handled before others get their turn.
const TURN: usize = 256;

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
        let mut probed = HashMap::new();
        loop {
            let mut ready = queue.readable_mut().await?;
            let queue = ready.get_inner_mut();
            let mut handled = 0;
            while handled < TURN {
                let Some(item) = queue.next() else { break };
                // A program of another build may send more than is known here.
                if let Ok((event, _)) = Event::read_from_prefix(&item) {
                    self.handle(&event, &mut probed);
                }
                handled += 1;
            }
            if handled < TURN {
                ready.clear_ready();
            }
            tokio::task::yield_now().await;
        }
    }

    fn handle(&self, event: &Event, probed: &mut HashMap<u32, Instant>) {
        let key = EndpointKey::new(event.vni, event.remote);
        match event.kind {
            Event::NEW_HOST => self.new_host(event.underlay),
            Event::PROBE => self.probe(event.host, probed),
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

    fn new_host(&self, underlay: Address) {
        if underlay.is_none() {
            return;
        }
        // Its next hop is looked for then, and it is probed as soon as that is known.
        if let Err(error) = self.hosts.ensure(underlay.into()) {
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
