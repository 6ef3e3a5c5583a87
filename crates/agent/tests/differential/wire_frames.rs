//! Random frames that come in from the wire.

use crate::hosts::{OWN_HOST, TICK, VNIS, some_host, underlay};
use crate::packets::{Content, content, endpoint, odd_address, packet};
use crate::random::Random;
use mizar_packet::Address;
use mizar_packet::keys::{Keys, Tag};
use mizar_packet::memory::MemoryTables;
use mizar_packet::tables::EndpointKey;
use mizar_packet::wire::geneve::{self, Location, MISSED, Outer, OuterSpec, STALE};
use mizar_packet::wire::icmpv4::Icmpv4;
use mizar_packet::wire::oam::{self, ControlFrame, Message};
use mizar_packet::wire::{Ethernet, Geneve, Ipv4, Udp, ethernet, icmpv4, ipv4};
use zerocopy::IntoBytes;
use zerocopy::byteorder::network_endian::U16;

/// A frame from another host, from a router of the underlay, or from somewhere else.
pub(crate) fn frame(random: &mut Random, tables: &MemoryTables) -> Vec<u8> {
    match random.below(16) {
        0..=2 => control(random, tables),
        3 => too_big(random, tables),
        4 => {
            let own = endpoint(random, true);
            let content = content(random, true);
            let packet = packet(random, own, Address::v4(underlay(OWN_HOST)), &content);
            [Ethernet::new([2; 6], [4; 6], ethernet::IPV4).as_bytes(), &packet].concat()
        }
        5 => {
            let len = random.within(0, 100);
            let ethertype = random.pick(&[ethernet::IPV4, ethernet::IPV6, ethernet::ARP]);
            [Ethernet::new([2; 6], [4; 6], ethertype).as_bytes(), &random.bytes(len)].concat()
        }
        _ => tunnelled(random, tables),
    }
}

/// A guest's frame in a tunnel.
fn tunnelled(random: &mut Random, tables: &MemoryTables) -> Vec<u8> {
    let known = learned(random, tables);
    let is_v4 = known.as_ref().map_or(random.one_in(2), |known| known.address.is_v4());
    let src = match &known {
        Some(known) => known.address,
        None if random.one_in(15) => odd_address(random, is_v4),
        None => endpoint(random, is_v4),
    };
    let inner = inner(random, src);
    let sender = some_host(random, tables);
    let vni = match &known {
        Some(known) => known.vni,
        None if random.one_in(20) => VNIS[2],
        None => random.pick(&VNIS[..2]),
    };
    let options = match &known {
        Some(known) => signed(random, tables, known).as_bytes().to_vec(),
        None => options(random, tables, sender, (vni, src)),
    };
    let foreign = random.one_in(30);
    let mut outer = Outer::new(&OuterSpec {
        src_mac: [2, 0, 0, 0, 0xff, 9],
        dst_mac: [2, 0, 0, 0, 0, 1],
        src: if foreign { [203, 0, 113, 1] } else { sender },
        dst: underlay(if random.one_in(30) { 9 } else { OWN_HOST }),
        tos: random.pick(&[0, 0, 1, 2, 3]),
        hash: random.number() as u16 & 0x3fff,
        vni,
        options_len: options.len(),
        payload_len: inner.len(),
    });
    outer.ip.ttl = random.pick(&[255, 255, 223, 64, 33, 32, 1]);
    flaw(random, &mut outer);
    let mut bytes = [outer.as_bytes(), &options, &inner].concat();
    if random.one_in(80) {
        // Options in the outer IP header, which the tunnel's headers come after.
        bytes[Ethernet::LEN] += 1;
        bytes.splice(Ethernet::LEN + Ipv4::LEN..Ethernet::LEN + Ipv4::LEN, [1, 1, 1, 0]);
    }
    if random.one_in(15) {
        // What Ethernet adds to short frames, or a switch's trailer.
        let len = random.within(1, 30);
        bytes.extend(random.bytes(len));
    }
    bytes
}

/// A large frame in a tunnel, which XDP gets in several pieces.
pub(crate) fn jumbo(random: &mut Random, tables: &MemoryTables) -> Vec<u8> {
    let len = random.within(3200, 8300);
    let content = Content { protocol: ipv4::UDP, ttl: 64, payload: random.bytes(len) };
    let is_v4 = random.one_in(2);
    let (src, dst) = (endpoint(random, is_v4), endpoint(random, is_v4));
    let ethertype = if is_v4 { ethernet::IPV4 } else { ethernet::IPV6 };
    let packet = packet(random, src, dst, &content);
    let inner = [Ethernet::new(ethernet::GATEWAY, [4; 6], ethertype).as_bytes(), &packet].concat();
    let sender = some_host(random, tables);
    let vni = random.pick(&VNIS[..2]);
    let options = options(random, tables, sender, (vni, src));
    let outer = Outer::new(&OuterSpec {
        src_mac: [4; 6],
        dst_mac: [2; 6],
        src: sender,
        dst: underlay(OWN_HOST),
        tos: 0,
        hash: 7,
        vni,
        options_len: options.len(),
        payload_len: inner.len(),
    });
    let beyond = if random.one_in(3) { random.within(1, 400) } else { 0 };
    [outer.as_bytes(), &options, &inner, &random.bytes(beyond)].concat()
}

/// What is wrong with outer headers now and then.
fn flaw(random: &mut Random, outer: &mut Outer) {
    match random.below(60) {
        0 => outer.ip.fragment = U16::new(random.pick(&[0x2000, 0x0010, 0x2010])),
        1 => outer.ip.version_ihl = random.pick(&[0x46, 0x4f, 0x44, 0x65]),
        2 => outer.ip.len = U16::new(random.number() as u16 & 0x7ff),
        3 => outer.udp.len = U16::new(random.number() as u16 & 0x7ff),
        4 => outer.geneve.version_len |= random.pick(&[0x40, 0x80]),
        5 => outer.geneve.version_len = random.byte() & 0x3f,
        6 => outer.geneve.flags = geneve::CRITICAL,
        7 => outer.geneve.protocol = U16::new(random.pick(&[0x0800, 0x88b5, 0])),
        8 => outer.udp.dst = U16::new(4789),
        9 => outer.ip.protocol = random.pick(&[ipv4::TCP, ipv4::ICMP, 50]),
        10 => outer.geneve.flags = geneve::OAM,
        _ => {}
    }
}

/// A remote endpoint of which this host has learned, and what its packets say.
struct Known {
    vni: u32,
    address: Address,
    option: Location,
}

/// Sometimes one of the learned rows, as it was learned.
fn learned(random: &mut Random, tables: &MemoryTables) -> Option<Known> {
    let rows = tables.learned.borrow();
    if rows.is_empty() || !random.one_in(4) {
        return None;
    }
    let (&(vni, address), row) = rows.iter().nth(random.below(rows.len()))?;
    Some(Known { vni, address, option: Location::new(underlay(row.host), row.generation) })
}

/// What a host of the VPC says, mostly signed as it should be.
fn signed(random: &mut Random, tables: &MemoryTables, known: &Known) -> Location {
    let Known { vni, address, option } = *known;
    let keys = tables.vpcs.get(&vni).map_or(Keys::NONE, |vpc| vpc.keys);
    let key = EndpointKey::new(vni, address);
    let mut tag = keys.sign_location(&key, option.host, option.generation.get());
    flaw_in_tag(random, &mut tag);
    Location { tag, ..option }
}

fn flaw_in_tag(random: &mut Random, tag: &mut Tag) {
    match random.below(8) {
        0 => *tag = [0; 8],
        1 => tag[random.below(8)] ^= 1 << random.below(8),
        _ => {}
    }
}

/// The frame in the tunnel.
fn inner(random: &mut Random, src: Address) -> Vec<u8> {
    let is_v4 = src.is_v4();
    let dst = if random.one_in(15) { odd_address(random, is_v4) } else { endpoint(random, is_v4) };
    let content = content(random, is_v4);
    let packet = packet(random, src, dst, &content);
    let ethertype = if random.one_in(40) {
        random.pick(&[ethernet::ARP, 0x8100])
    } else if is_v4 {
        ethernet::IPV4
    } else {
        ethernet::IPV6
    };
    [Ethernet::new(ethernet::GATEWAY, [2, 0, 0, 0, 1, 9], ethertype).as_bytes(), &packet].concat()
}

/// Options of a tunnelled frame: mostly none or a location.
fn options(
    random: &mut Random,
    tables: &MemoryTables,
    sender: [u8; 4],
    (vni, address): (u32, Address),
) -> Vec<u8> {
    let mut bytes = Vec::new();
    if random.one_in(10) {
        for _ in 0..random.below(6) {
            bytes.extend(foreign_option(random));
        }
    }
    if random.one_in(2) {
        let host = match random.below(6) {
            0 => some_host(random, tables),
            1 => random.pick(&[[203, 0, 113, 9], underlay(OWN_HOST), [192, 168, 5, 5]]),
            _ => sender,
        };
        let generation = random.pick(&[0, 1, 2, 3, 1 << 40, (1 << 40) + 1]);
        let option = Location::new(host, generation);
        let mut location = signed(random, tables, &Known { vni, address, option });
        location.header.kind |= random.pick(&[0, 0, 0, MISSED, STALE, MISSED | STALE, 0x40]);
        bytes.extend(location.as_bytes());
    }
    if random.one_in(20) {
        bytes.extend(foreign_option(random));
    }
    bytes.truncate(252);
    bytes
}

/// An option that nobody here knows, sometimes critical, sometimes longer than there is room.
fn foreign_option(random: &mut Random) -> Vec<u8> {
    let words = random.below(6);
    let critical = if random.one_in(10) { 0x80 } else { 0 };
    let told = if random.one_in(10) { 31 } else { words as u8 };
    let header = [0x01, 0x03, random.byte() & 0x7f | critical, told];
    [&header[..], &random.bytes(words * 4)].concat()
}

/// A control message, mostly one that is ours.
pub(crate) fn control(random: &mut Random, tables: &MemoryTables) -> Vec<u8> {
    let mut sender = some_host(random, tables);
    let mut vni = random.pick(&VNIS);
    let is_v4 = random.one_in(2);
    let mut about = endpoint(random, is_v4);
    let generation = random.pick(&[0, 1, 2, 3, 1 << 40, u64::MAX]);
    if let Some(known) = learned(random, tables) {
        (sender, vni, about) = (known.option.host, known.vni, known.address);
    }
    let host = if random.one_in(10) { underlay(9) } else { sender };
    let kind =
        random.pick(&[oam::NOTICE, oam::NOTICE, oam::INVALIDATE, oam::UNKNOWN, oam::KNOWN, 0, 9]);
    let message = match random.below(8) {
        0 | 1 => Message { kind: oam::ECHO, ..Message::echo(random.number(), tables.now) },
        2 | 3 => {
            let sent = random.pick(&[0, tables.now - TICK, tables.now + TICK, u64::MAX]);
            let wrong = u64::from(random.one_in(5));
            let cookie = tables.config.echo_cookie ^ wrong;
            Message { kind: oam::ECHO_REPLY, ..Message::echo(cookie, sent) }
        }
        _ => Message::about(kind, vni, about, Address::v4(host), generation),
    };
    let src = if random.one_in(30) { [203, 0, 113, 1] } else { sender };
    let mut frame = ControlFrame::new(([4; 6], src), ([2; 6], underlay(OWN_HOST)), 0, message);
    let keys =
        if oam::is_of_vpc(message.kind) { tables.vpcs.get(&vni).map(|vpc| vpc.keys) } else { None };
    keys.unwrap_or(tables.config.keys).sign_control(&mut frame);
    flaw_in_tag(random, &mut frame.message.tag);
    frame.outer.ip.ttl = 200;
    match random.below(40) {
        0 => frame.message.version = 2,
        1 => frame.outer.geneve.vni = [0, 0, 1],
        2 => frame.outer.geneve.protocol = U16::new(geneve::ETHERNET),
        3 => frame.outer.geneve.version_len = 2,
        _ => {}
    }
    flaw(random, &mut frame.outer);
    let mut bytes = frame.as_bytes().to_vec();
    match random.below(12) {
        0 => bytes.truncate(random.within(Ethernet::LEN, bytes.len())),
        1 => bytes.extend([0; 6]),
        _ => {}
    }
    bytes
}

/// A router says that a packet of this host was too big for it.
fn too_big(random: &mut Random, tables: &MemoryTables) -> Vec<u8> {
    let about = some_host(random, tables);
    let src = if random.one_in(8) { underlay(9) } else { underlay(OWN_HOST) };
    let quoted = Ipv4::new(1500, ipv4::UDP, 0, 60, src, about);
    let port = if random.one_in(8) { 53 } else { geneve::PORT };
    let mtu = random.pick(&[0, 1280, 1353, 1354, 1400, 1499, 1500, 9000]);
    let code = random.pick(&[4, 4, 4, 1]);
    let icmp = Icmpv4 {
        kind: icmpv4::UNREACHABLE,
        code,
        checksum: U16::ZERO,
        high: U16::ZERO,
        low: U16::new(mtu),
    };
    let udp = Udp::new(0xc123, port, 100);
    let len = Icmpv4::LEN + Ipv4::LEN + Udp::LEN;
    let ip = Ipv4::new(len as u16, ipv4::ICMP, 0, 60, [100, 64, 9, 9], underlay(OWN_HOST));
    let eth = Ethernet::new([2; 6], [4; 6], ethernet::IPV4);
    let quote = [quoted.as_bytes(), udp.as_bytes(), &random.bytes(Geneve::LEN)].concat();
    let mut bytes = [eth.as_bytes(), ip.as_bytes(), icmp.as_bytes(), &quote].concat();
    if random.one_in(6) {
        bytes.truncate(random.within(Ethernet::LEN, bytes.len()));
    }
    bytes
}
