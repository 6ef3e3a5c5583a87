//! Answers ARP: every address of a guest's network is at the gateway's MAC address.

use crate::tables::Port;
use crate::wire::arp::Arp;
use crate::wire::{Ethernet, ethernet};
use crate::{Frame, Reason};

/// Turns a request into its reply.
///
/// # Errors
/// [`Reason::SpoofedAddress`] if it asks in another's name, [`Reason::Unanswered`] if it asks for
/// the guest's own address, as duplicate address detection and announcements do (RFC 5227),
/// [`Reason::BadArp`] for all else that is no request for an address of the network.
#[inline(always)]
pub fn answer<F: Frame>(frame: &mut F, port: &Port) -> Result<(), Reason> {
    let arp: Arp = frame.load(Ethernet::LEN)?;
    if !arp.is_request() || port.v4 == [0; 4] {
        return Err(Reason::BadArp);
    }
    let probe = arp.sender == [0; 4];
    if arp.sender_mac != port.mac || (!probe && arp.sender != port.v4) {
        return Err(Reason::SpoofedAddress);
    }
    if arp.target == port.v4 {
        return Err(Reason::Unanswered);
    }
    if !port.contains_v4(arp.target) {
        return Err(Reason::BadArp);
    }
    frame.store(0, &Ethernet::new(port.mac, ethernet::GATEWAY, ethernet::ARP))?;
    frame.store(Ethernet::LEN, &arp.reply(ethernet::GATEWAY))
}
