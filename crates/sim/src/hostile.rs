//! Those who send what they may not: machines outside the fleet, and a host of the fleet without a
//! part in the VPC that it speaks of.
//!
//! They know all names, addresses and generations, and the keys of other VPCs and of the fleet; not
//! those of the VPC. What they say of locations must have no effect but on the frame itself.

use crate::controller;
use crate::defect::Defect;
use crate::frames::{self, Payload};
use crate::host::{nic_mac, underlay};
use crate::scenario::{ADDRESSES, HostId};
use crate::world::{Task, World};
use mizar_packet::Address;
use mizar_packet::keys::Keys;
use mizar_packet::memory::MemoryFrame;
use mizar_packet::tables::EndpointKey;
use mizar_packet::wire::geneve::{self, Location, Outer, OuterSpec};
use mizar_packet::wire::oam::{self, ControlFrame, Message};
use std::net::IpAddr;
use zerocopy::IntoBytes;

/// Between two forged frames, in µs.
pub(crate) const FORGE_PAUSE: u64 = 7_000;
/// Generations from here on are forged: no controller of a run comes so far.
pub(crate) const FORGED: u64 = 1 << 62;
/// A machine outside the fleet.
const OUTSIDE: [u8; 4] = [198, 51, 100, 7];

/// Who forges.
struct Forger {
    /// Its underlay address, which it may have put on.
    address: [u8; 4],
    /// What it signs with.
    keys: Keys,
}

impl World {
    /// A forged frame comes to a host.
    pub(crate) fn forge(&mut self) {
        let to = self.random.below(self.hosts.len() as u64) as usize;
        let vpc = self.random.below(self.scenario.vpcs as u64) as usize;
        let Some(forger) = self.forger(vpc) else { return };
        let numbers = [(); 2].map(|()| self.random.below(ADDRESSES as u64) as usize);
        let v6 = self.scenario.dual && self.random.chance(50);
        let [about, victim] = numbers.map(|number| self.address(number, v6));
        let frame = if self.random.chance(50) {
            self.forged_packet(to, vpc, &forger, (about, victim))
        } else {
            Some(self.forged_message(to, vpc, &forger, about))
        };
        if let Some(bytes) = frame {
            self.note(|| format!("a forger's frame comes to h{}", to + 1));
            self.after(0, Task::Frame { to, frame: MemoryFrame::new(bytes), meta: None });
        }
    }

    /// Somebody who has no part in a VPC, with whatever keys he has.
    fn forger(&mut self, vpc: usize) -> Option<Forger> {
        let vni = controller::vni(vpc).get();
        let takes_part = |id: &HostId| self.hosts[*id].tables.rows.vpcs.contains_key(&vni);
        let strangers: Vec<_> = (0..self.hosts.len()).filter(|id| !takes_part(id)).collect();
        if self.defect == Defect::LeakedKeys {
            let mut all = self.hosts.iter().filter_map(|host| host.tables.rows.vpcs.get(&vni));
            let stranger = *strangers.first()?;
            return all
                .next()
                .map(|of| Forger { address: underlay(stranger).octets(), keys: of.keys });
        }
        let spoofed = self.random.below(self.hosts.len() as u64) as usize;
        Some(match self.random.below(4) {
            0 => Forger { address: OUTSIDE, keys: Keys::NONE },
            // A machine that has put on a host's address.
            1 => Forger { address: underlay(spoofed).octets(), keys: Keys::NONE },
            kind => {
                let stranger =
                    *strangers.get(self.random.below(8) as usize % strangers.len().max(1))?;
                let rows = &self.hosts[stranger].tables.rows;
                let other = rows.vpcs.values().next().map(|vpc| vpc.keys);
                let keys = other.filter(|_| kind == 3).unwrap_or(rows.config.keys);
                Forger { address: underlay(stranger).octets(), keys }
            }
        })
    }

    /// A packet whose location says that its sender is with the forger.
    fn forged_packet(
        &mut self,
        to: HostId,
        vpc: usize,
        forger: &Forger,
        (about, victim): (IpAddr, IpAddr),
    ) -> Option<Vec<u8>> {
        let vni = controller::vni(vpc).get();
        let flow = frames::FORGED;
        let payload = Payload { vni, flow, number: 0, answer: false };
        let inner = frames::udp([2, 0xcc, 0, 0, 0, 1], about, victim, &payload)?;
        let generation = FORGED + self.random.below(1000);
        let key = EndpointKey::new(vni, about.into());
        let mut location = Location::new(forger.address, generation);
        location.tag = forger.keys.sign_location(&key, forger.address, generation);
        location.header.kind |= *self.random.pick(&[0, geneve::ASKS, geneve::STALE]);
        let mut bytes = outer(to, forger, vni, inner.len()).as_bytes().to_vec();
        bytes.extend(location.as_bytes());
        bytes.extend(inner);
        Some(bytes)
    }

    /// A control message. A host of the fleet may say truly that an endpoint is not with it, and
    /// may ask whether others live.
    fn forged_message(
        &mut self,
        to: HostId,
        vpc: usize,
        forger: &Forger,
        about: IpAddr,
    ) -> Vec<u8> {
        let vni = controller::vni(vpc).get();
        let kinds =
            [oam::NOTICE, oam::INVALIDATE, oam::UNKNOWN, oam::KNOWN, oam::ECHO, oam::ECHO_REPLY];
        let kind = *self.random.pick(&kinds);
        let message = match kind {
            oam::ECHO | oam::ECHO_REPLY => Message { kind, ..Message::echo(self.random.next(), 0) },
            kind => {
                let generation = FORGED + self.random.below(1000);
                let host = Address::v4(forger.address);
                Message::about(kind, vni, about.into(), host, generation)
            }
        };
        let source = (nic_mac(99), forger.address);
        let mut frame = ControlFrame::new(source, (nic_mac(to), underlay(to).octets()), 0, message);
        forger.keys.sign_control(&mut frame);
        frame.as_bytes().to_vec()
    }
}

fn outer(to: HostId, forger: &Forger, vni: u32, payload_len: usize) -> Outer {
    Outer::new(&OuterSpec {
        src_mac: nic_mac(99),
        dst_mac: nic_mac(to),
        src: forger.address,
        dst: underlay(to).octets(),
        tos: 0,
        hash: 0,
        vni,
        options_len: Location::LEN,
        payload_len,
    })
}
