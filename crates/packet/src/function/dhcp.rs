//! Answers DHCP (RFC 2131): every guest has its address already, and is told what it is.

use crate::tables::Port;
use crate::wire::dhcp::{self, Head, Options};
use crate::wire::{Ethernet, Ipv4, Udp, ethernet, ipv4};
use crate::{Frame, Reason};
use zerocopy::FromBytes;

/// Offset of the BOOTP message in a frame whose IP header has no options.
const BOOTP: usize = Ethernet::LEN + Ipv4::LEN + Udp::LEN;
/// Offset of the options.
const OPTIONS: usize = BOOTP + dhcp::COOKIE;
/// Most options of a request that are looked at.
const MOST: usize = 24;

/// Turns a request into its answer.
///
/// # Errors
/// [`Reason::BadIp`] if it is no request, [`Reason::Unanswered`] if it asks for no answer or the
/// guest has no IPv4 address.
#[inline(always)]
pub fn answer<F: Frame>(frame: &mut F, port: &Port) -> Result<(), Reason> {
    let ip: Ipv4 = frame.load(Ethernet::LEN)?;
    let request: Head = frame.load(BOOTP)?;
    if ip.version_ihl != ipv4::NO_OPTIONS || !request.is_request() || request.mac != port.mac {
        return Err(Reason::BadIp);
    }
    if port.v4 == [0; 4] {
        return Err(Reason::Unanswered);
    }
    let kind: u8 = option(frame, dhcp::MESSAGE_TYPE).ok_or(Reason::BadIp)?;
    let wanted = option(frame, dhcp::REQUESTED_ADDRESS).unwrap_or(request.client);
    if option(frame, dhcp::SERVER).is_some_and(|server: [u8; 4]| server != port.v4_gateway) {
        // It has taken another server's offer.
        return Err(Reason::Unanswered);
    }
    let other = wanted != [0; 4] && wanted != port.v4;
    let (kind, yours) = match kind {
        dhcp::DISCOVER => (dhcp::OFFER, port.v4),
        dhcp::REQUEST if other => (dhcp::NAK, [0; 4]),
        dhcp::REQUEST => (dhcp::ACK, port.v4),
        dhcp::INFORM => (dhcp::ACK, [0; 4]),
        _ => return Err(Reason::Unanswered),
    };
    put(frame, port, &request, kind, yours)
}

/// The value of an option that has the length of a `V`.
///
/// Each option is looked for on its own, so that the position is all that the kernel's verifier
/// follows.
#[inline(always)]
fn option<F: Frame, V: FromBytes>(frame: &F, wanted: u8) -> Option<V> {
    let mut at = OPTIONS + dhcp::MAGIC.len();
    for _ in 0..MOST {
        // A message may end without an end option where the frame ends.
        let [code, len] = frame.load::<[u8; 2]>(at).ok()?;
        if code == wanted {
            let right = usize::from(len) == size_of::<V>();
            return if right { frame.load(at + 2).ok() } else { None };
        }
        if code == dhcp::END {
            return None;
        }
        at = frame.forget(at + if code == dhcp::PAD { 1 } else { 2 + usize::from(len) });
    }
    None
}

#[inline(always)]
fn put<F: Frame>(
    frame: &mut F,
    port: &Port,
    request: &Head,
    kind: u8,
    yours: [u8; 4],
) -> Result<(), Reason> {
    let nak = kind == dhcp::NAK;
    let reply = request.reply(yours, port.v4_gateway);
    let leased = yours != [0; 4];
    let options = Options::new(kind, leased, port.v4_gateway, port.v4_prefix, port.mtu);
    let to_client = !nak && request.client != [0; 4];
    let dst = if to_client { request.client } else { [255; 4] };
    let payload = (dhcp::COOKIE + Options::LEN) as u16;
    let ip = Ipv4::new(payload + Udp::LEN as u16, ipv4::UDP, 0, 64, port.v4_gateway, dst);
    frame.resize(OPTIONS + Options::LEN)?;
    frame.store(0, &Ethernet::new(port.mac, ethernet::GATEWAY, ethernet::IPV4))?;
    frame.store(Ethernet::LEN, &ip)?;
    let udp = Udp::new(dhcp::SERVER_PORT, dhcp::CLIENT_PORT, payload);
    frame.store(Ethernet::LEN + Ipv4::LEN, &udp)?;
    frame.store(BOOTP, &reply)?;
    for part in 0..dhcp::NAMES_LEN / 32 {
        frame.store(BOOTP + Head::LEN + part * 32, &[0u64; 4])?;
    }
    frame.store(OPTIONS, &options)
}
