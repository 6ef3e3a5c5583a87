//! The targets: each must return, whatever the input, and asserts what must hold.

use super::fleet::{self, HOSTS};
use super::source::Source;
use mizar_packet::function::{control, from_guest, from_wire, stray};
use mizar_packet::memory::{MemoryFrame, MemoryTables};
use mizar_packet::wire::dhcp::{CLIENT_PORT, SERVER_PORT};
use mizar_packet::wire::ethernet::{GATEWAY, IPV4};
use mizar_packet::wire::geneve::{Outer, OuterSpec};
use mizar_packet::wire::{Ethernet, Ipv4, Udp, ipv4, oam};
use mizar_packet::{Address, Case, Verdict};
use zerocopy::{FromBytes, IntoBytes};

/// Most times that a frame may be sent out of a NIC, departure included.
pub const MOST_SENDS: usize = 8;

/// Tables that are more or less in order.
fn usual(host: usize) -> MemoryTables {
    let bytes: Vec<u8> =
        (0..2048u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    fleet::tables(&mut Source(&bytes), host)
}

/// A frame out of an input: the first byte says what the kernel knows beside the bytes.
fn frame(data: &[u8]) -> MemoryFrame {
    let (flags, bytes) = data.split_first().unwrap_or((&0, &[]));
    MemoryFrame {
        bytes: bytes.to_vec(),
        vlan_tag: flags & 7 == 7,
        segment_payload: if flags & 8 == 0 { 0 } else { usize::from(flags >> 4) * 100 },
        partial_checksum: flags & 2 != 0,
    }
}

/// A guest sends the input.
pub fn guest_frame(data: &[u8]) {
    let tables = usual(0);
    for interface in 0..fleet::INTERFACES {
        let mut frame = frame(data);
        // What is sent from another address is dropped at once.
        if frame.bytes.len() > 12 {
            frame.bytes[6..12].copy_from_slice(&fleet::mac(interface));
        }
        let _ = from_guest(&mut frame, &tables, interface);
    }
}

/// The input comes from the wire, as it is and behind sound outer headers.
pub fn wire_frame(data: &[u8]) {
    let tables = usual(1);
    let _ = from_wire(&mut frame(data), &tables);
    let mut tunnelled = frame(data);
    let outer = outer(tunnelled.bytes.len());
    tunnelled.bytes.splice(..0, outer.as_bytes().iter().copied());
    let _ = from_wire(&mut tunnelled, &tables);
}

fn outer(payload_len: usize) -> Outer {
    Outer::new(&OuterSpec {
        src_mac: GATEWAY,
        dst_mac: GATEWAY,
        src: fleet::underlay(0),
        dst: fleet::underlay(1),
        tos: 0,
        hash: 0,
        vni: fleet::VNIS[0],
        options_len: 0,
        payload_len,
    })
}

/// A host gets the input as a control message, as the underlay's word about a packet, or as a
/// packet that went astray.
pub fn control_frame(data: &[u8]) {
    let tables = usual(1);
    for case in [Case::Oam, Case::UnderlayTooBig] {
        let Verdict::Refer(referral) = case.refer() else { continue };
        let _ = control::control(&mut frame(data), &tables, referral);
    }
    let _ = stray::stray(&mut frame(data), &tables);
    // Its kind, about what, and the rest of the message, behind sound headers.
    let mut message = [0; oam::Message::LEN];
    let len = data.len().min(message.len());
    message[..len].copy_from_slice(&data[..len]);
    let Ok(message) = oam::Message::read_from_bytes(&message) else { return };
    let message = oam::Message { version: oam::VERSION, ..message };
    let end = |host| (GATEWAY, fleet::underlay(host));
    let control = oam::ControlFrame::new(end(0), end(1), 0, message);
    let _ = from_wire(&mut MemoryFrame::new(control.as_bytes()), &tables);
}

/// A guest sends the input to the DHCP server.
pub fn dhcp(data: &[u8]) {
    let tables = usual(0);
    for interface in 0..fleet::INTERFACES {
        let mut bytes = Vec::new();
        let len = data.len().min(9000);
        let ip = Ipv4::new((Udp::LEN + len) as u16, ipv4::UDP, 0, 64, [0; 4], [255; 4]);
        bytes.extend(Ethernet::new([0xff; 6], fleet::mac(interface), IPV4).as_bytes());
        bytes.extend(ip.as_bytes());
        bytes.extend(Udp::new(CLIENT_PORT, SERVER_PORT, len as u16).as_bytes());
        bytes.extend(&data[..len]);
        // The client's MAC address.
        if let Some(mac) = bytes.get_mut(70..76) {
            mac.copy_from_slice(&fleet::mac(interface));
        }
        let mut frame = MemoryFrame::new(bytes);
        if from_guest(&mut frame, &tables, interface) == Verdict::Answer {
            assert_eq!(frame.bytes.len(), 342);
        }
    }
}

/// The input is a fleet's tables and what a guest sends: it is forwarded a bounded number of times,
/// and stays in its VPC.
pub fn journey(data: &[u8]) {
    let mut source = Source(data);
    let hosts: Vec<MemoryTables> =
        (0..HOSTS).map(|host| fleet::tables(&mut source, host)).collect();
    let at = usize::from(source.byte()) % HOSTS;
    let beside = source.byte();
    let (interface, bytes) = fleet::guest_frame(&mut source, &hosts[at]);
    let vni = hosts[at].ports.get(&interface).map(|port| port.vni);
    let mut frame = frame(&[beside]);
    frame.bytes = bytes;
    let verdict = from_guest(&mut frame, &hosts[at], interface);
    follow(&hosts, at, frame, verdict, vni);
}

/// Follows a frame of a VPC from host to host, to whoever gets it.
fn follow(
    hosts: &[MemoryTables],
    mut at: usize,
    mut frame: MemoryFrame,
    mut verdict: Verdict,
    vni: Option<u32>,
) {
    let mut sends = 0;
    loop {
        match verdict {
            Verdict::Transmit => {
                sends += 1;
                assert!(sends <= MOST_SENDS, "forwarded for ever");
                let outer = Outer::read_from_prefix(&frame.bytes).map(|(outer, _)| outer);
                let Ok(outer) = outer else { panic!("sent without outer headers") };
                assert_eq!(outer.ip.checksum.get(), outer.ip.sum());
                assert_eq!(vni, Some(outer.geneve.vni()), "it has left its VPC");
                let to = Address::v4(outer.ip.dst);
                let Some(next) = hosts.iter().position(|host| host.config.underlay == to) else {
                    return;
                };
                at = next;
                verdict = from_wire(&mut frame, &hosts[at]);
            }
            Verdict::Deliver(delivery) => {
                assert_eq!(vni, Some(delivery.vni), "it has left its VPC");
                // What the frame says of itself is one thing, whose interface it is another.
                let port = hosts[at].ports.get(&delivery.interface);
                assert_eq!(vni, port.map(|port| port.vni), "a guest of another VPC gets it");
                return;
            }
            Verdict::Refer(referral) => panic!("{referral:?} was left over"),
            Verdict::Pass | Verdict::Answer | Verdict::Consumed | Verdict::Drop(_) => return,
        }
    }
}
