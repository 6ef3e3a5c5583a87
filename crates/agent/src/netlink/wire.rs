//! Netlink messages as bytes: a builder for requests, readers for replies (RFC 3549, section 2.3).
//!
//! Only the attributes that are needed are read, one by one and each checked for its length, so
//! what a newer kernel adds never makes a message unreadable.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Bytes of `struct nlmsghdr`.
const HEADER: usize = 16;
/// Bytes of `struct nlattr`.
const ATTRIBUTE_HEADER: usize = 4;
/// The attribute's kind without the NESTED and BYTEORDER bits.
const KIND_MASK: u16 = 0x3fff;
const NESTED: u16 = 0x8000;

/// A request under construction: the header, the family's own header, attributes.
pub(super) struct Request {
    /// What it asks for, to follow "cannot" in an error's message.
    pub(super) what: &'static str,
    bytes: Vec<u8>,
}

impl Request {
    /// A request of the message type `kind`; it is always acknowledged.
    ///
    /// `flags` are further `NLM_F_*` flags, `header` is the family's fixed header.
    pub(super) fn new(what: &'static str, kind: u16, flags: i32, header: &[u8]) -> Self {
        let flags = (flags | libc::NLM_F_REQUEST | libc::NLM_F_ACK) as u16;
        let mut bytes = Vec::with_capacity(512);
        bytes.extend_from_slice(&[0; 4]);
        bytes.extend_from_slice(&kind.to_ne_bytes());
        bytes.extend_from_slice(&flags.to_ne_bytes());
        bytes.extend_from_slice(&[0; 8]);
        bytes.extend_from_slice(header);
        pad(&mut bytes);
        Self { what, bytes }
    }

    /// Adds an attribute of plain bytes.
    pub(super) fn bytes(mut self, kind: u16, value: &[u8]) -> Self {
        self.put(kind, value);
        self
    }

    /// Adds an attribute that is one 32-bit number in the machine's byte order.
    pub(super) fn number(self, kind: u16, value: u32) -> Self {
        self.bytes(kind, &value.to_ne_bytes())
    }

    /// Adds an attribute that is a string, with its terminating zero.
    pub(super) fn text(mut self, kind: u16, value: &str) -> Self {
        let mut bytes = Vec::with_capacity(value.len() + 1);
        bytes.extend_from_slice(value.as_bytes());
        bytes.push(0);
        self.put(kind, &bytes);
        self
    }

    /// Adds an attribute that is an address of its family's length.
    pub(super) fn address(self, kind: u16, value: IpAddr) -> Self {
        match value {
            IpAddr::V4(v4) => self.bytes(kind, &v4.octets()),
            IpAddr::V6(v6) => self.bytes(kind, &v6.octets()),
        }
    }

    /// Adds an attribute that consists of a fixed header and the attributes that `inside` adds.
    pub(super) fn nested(
        mut self,
        kind: u16,
        header: &[u8],
        inside: impl FnOnce(Self) -> Self,
    ) -> Self {
        let start = self.bytes.len();
        self.put(kind | NESTED, header);
        let mut request = inside(self);
        let length = length_field(request.bytes.len() - start);
        request.bytes[start..start + 2].copy_from_slice(&length);
        request
    }

    /// The finished message, numbered `sequence`.
    pub(super) fn finish(&mut self, sequence: u32) -> &[u8] {
        let length = self.bytes.len() as u32;
        self.bytes[..4].copy_from_slice(&length.to_ne_bytes());
        self.bytes[8..12].copy_from_slice(&sequence.to_ne_bytes());
        &self.bytes
    }

    fn put(&mut self, kind: u16, value: &[u8]) {
        self.bytes.extend_from_slice(&length_field(ATTRIBUTE_HEADER + value.len()));
        self.bytes.extend_from_slice(&kind.to_ne_bytes());
        self.bytes.extend_from_slice(value);
        pad(&mut self.bytes);
    }
}

/// One message of a datagram from the kernel.
pub(super) struct Message<'a> {
    /// `RTM_*` or `NLMSG_*`.
    pub(super) kind: u16,
    /// `NLM_F_*`.
    pub(super) flags: u16,
    /// The number of the request that it answers.
    pub(super) sequence: u32,
    /// What follows the netlink header.
    pub(super) payload: &'a [u8],
}

/// The messages of one datagram. `None` in place of a message: the rest is cut off or malformed.
pub(super) fn messages(datagram: &[u8]) -> impl Iterator<Item = Option<Message<'_>>> {
    let mut rest = datagram;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let Some((message, after)) = split_message(rest) else {
            rest = &[];
            return Some(None);
        };
        rest = after;
        Some(Some(message))
    })
}

fn split_message(bytes: &[u8]) -> Option<(Message<'_>, &[u8])> {
    let length = u32::from_ne_bytes(array(bytes, 0)?) as usize;
    let message = Message {
        kind: u16::from_ne_bytes(array(bytes, 4)?),
        flags: u16::from_ne_bytes(array(bytes, 6)?),
        sequence: u32::from_ne_bytes(array(bytes, 8)?),
        payload: bytes.get(HEADER..length)?,
    };
    Some((message, bytes.get(padded(length)..).unwrap_or_default()))
}

/// A run of attributes. Reading ends at the first one that is cut off.
#[derive(Clone, Copy)]
pub(super) struct Attributes<'a>(&'a [u8]);

impl<'a> Attributes<'a> {
    /// The attributes of a payload, behind its fixed header of `header` bytes.
    pub(super) fn after(payload: &'a [u8], header: usize) -> Self {
        Self(payload.get(padded(header)..).unwrap_or_default())
    }

    /// The first attribute of that kind.
    pub(super) fn get(self, kind: u16) -> Option<&'a [u8]> {
        let mut rest = self.0;
        loop {
            let length = usize::from(u16::from_ne_bytes(array(rest, 0)?));
            let found = u16::from_ne_bytes(array(rest, 2)?) & KIND_MASK;
            let value = rest.get(ATTRIBUTE_HEADER..length)?;
            if found == kind {
                return Some(value);
            }
            rest = rest.get(padded(length)..)?;
        }
    }

    /// A number in the machine's byte order.
    pub(super) fn number(self, kind: u16) -> Option<u32> {
        Some(u32::from_ne_bytes(self.get(kind)?.try_into().ok()?))
    }

    /// One byte.
    pub(super) fn byte(self, kind: u16) -> Option<u8> {
        self.get(kind)?.first().copied()
    }

    /// A string, up to its first zero; bytes that are no UTF-8 are replaced.
    pub(super) fn text(self, kind: u16) -> Option<String> {
        let bytes = self.get(kind)?;
        let end = bytes.iter().position(|&byte| byte == 0).unwrap_or(bytes.len());
        Some(String::from_utf8_lossy(&bytes[..end]).into_owned())
    }

    /// A MAC address.
    pub(super) fn mac(self, kind: u16) -> Option<[u8; 6]> {
        self.get(kind)?.try_into().ok()
    }

    /// An IPv4 or IPv6 address, by its length.
    pub(super) fn address(self, kind: u16) -> Option<IpAddr> {
        address(self.get(kind)?)
    }

    /// The attributes inside an attribute.
    pub(super) fn inside(self, kind: u16) -> Option<Self> {
        self.get(kind).map(Self)
    }
}

/// An IPv4 or IPv6 address, by its length.
pub(super) fn address(bytes: &[u8]) -> Option<IpAddr> {
    if let Ok(v4) = <[u8; 4]>::try_from(bytes) {
        return Some(Ipv4Addr::from(v4).into());
    }
    <[u8; 16]>::try_from(bytes).ok().map(|v6| Ipv6Addr::from(v6).into())
}

/// `N` bytes at an offset.
pub(super) fn array<const N: usize>(bytes: &[u8], offset: usize) -> Option<[u8; N]> {
    bytes.get(offset..)?.first_chunk().copied()
}

/// `AF_INET` or `AF_INET6`.
pub(super) const fn family(address: IpAddr) -> u8 {
    (match address {
        IpAddr::V4(_) => libc::AF_INET,
        IpAddr::V6(_) => libc::AF_INET6,
    }) as u8
}

/// `struct ifinfomsg`: those of the `flags` are set or cleared that `change` names.
pub(super) fn link_header(index: u32, flags: i32, change: i32) -> [u8; 16] {
    let mut header = [0; 16];
    header[4..8].copy_from_slice(&index.to_ne_bytes());
    header[8..12].copy_from_slice(&flags.to_ne_bytes());
    header[12..].copy_from_slice(&change.to_ne_bytes());
    header
}

/// `struct tcmsg`.
pub(super) fn tc_header(index: u32, handle: u32, parent: u32, info: u32) -> [u8; 20] {
    let mut header = [0; 20];
    header[4..8].copy_from_slice(&index.to_ne_bytes());
    header[8..12].copy_from_slice(&handle.to_ne_bytes());
    header[12..16].copy_from_slice(&parent.to_ne_bytes());
    header[16..].copy_from_slice(&info.to_ne_bytes());
    header
}

fn length_field(length: usize) -> [u8; 2] {
    // Every value is a name, an address or a few of them, all checked before: far below 64 KiB.
    u16::try_from(length).unwrap_or(u16::MAX).to_ne_bytes()
}

fn pad(bytes: &mut Vec<u8>) {
    bytes.resize(padded(bytes.len()), 0);
}

const fn padded(length: usize) -> usize {
    length.next_multiple_of(4)
}

#[cfg(test)]
#[cfg(target_endian = "little")]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_laid_out_as_the_kernel_reads_it() {
        let mut request = Request::new("try", 0x10, libc::NLM_F_EXCL, &[1, 2, 3, 4])
            .text(3, "ab")
            .nested(18, &[], |inside| inside.number(1, 0x0102_0304));
        assert_eq!(
            request.finish(7),
            [
                40, 0, 0, 0, 0x10, 0, 0x05, 0x02, 7, 0, 0, 0, 0, 0, 0, 0, // nlmsghdr
                1, 2, 3, 4, // the family's header
                7, 0, 3, 0, b'a', b'b', 0, 0, // a string, padded
                12, 0, 18, 0x80, 8, 0, 1, 0, 4, 3, 2, 1, // nested
            ]
        );
    }

    #[test]
    fn what_was_built_can_be_read() {
        let mut request = Request::new("try", 16, 0, &[0; 16])
            .nested(5, &[9; 8], |inside| inside.text(1, "peer"))
            .address(2, IpAddr::from([10, 0, 0, 1]))
            .bytes(4, &[1, 2, 3, 4, 5, 6]);
        let bytes = request.finish(3).to_vec();
        let message = messages(&bytes).next().flatten().unwrap();
        assert_eq!((message.kind, message.sequence), (16, 3));
        let attributes = Attributes::after(message.payload, 16);
        let inside = Attributes::after(attributes.get(5).unwrap(), 8);
        assert_eq!(inside.text(1).as_deref(), Some("peer"));
        assert_eq!(attributes.address(2), Some(IpAddr::from([10, 0, 0, 1])));
        assert_eq!(attributes.mac(4), Some([1, 2, 3, 4, 5, 6]));
        assert_eq!(attributes.get(6), None);
    }

    #[test]
    fn cut_off_datagrams_end_reading_without_a_panic() {
        let mut request = Request::new("try", 16, 0, &[0; 16]).number(1, 5).text(2, "name");
        let bytes = request.finish(1).to_vec();
        for length in 1..bytes.len() {
            assert!(messages(&bytes[..length]).next().unwrap().is_none(), "{length}");
        }
        for length in 0..20 {
            let cut = &bytes[16..36][..length];
            assert_eq!(Attributes::after(cut, 16).number(2), None);
        }
        let zero_length = [0u8; 8];
        assert_eq!(Attributes(&zero_length).get(1), None);
        assert!(messages(&zero_length).next().unwrap().is_none());
    }
}
