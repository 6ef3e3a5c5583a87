//! TCP's maximum segment size, lowered to what the path takes (RFC 6691).

use crate::flow::Flow;
use crate::wire::tcp::{self, Tcp};
use crate::wire::{Ipv4, Ipv6, ipv4};
use crate::{Frame, Reason};
use zerocopy::byteorder::network_endian::U16;

/// Most options of a SYN that are looked at; real ones have five or so.
const OPTIONS: usize = 8;

/// Lowers the MSS option of a SYN so that full segments fit into `mtu`; whether it did.
///
/// # Errors
/// [`Reason::Short`] if the TCP header runs over the end of the frame.
#[inline(always)]
pub(crate) fn clamp<F: Frame>(frame: &mut F, flow: &Flow, mtu: u16) -> Result<bool, Reason> {
    if flow.opaque || flow.protocol != ipv4::TCP {
        return Ok(false);
    }
    let tcp: Tcp = frame.load(flow.l4)?;
    if tcp.flags & tcp::SYN == 0 {
        return Ok(false);
    }
    let ip = if flow.is_v4() { Ipv4::LEN } else { Ipv6::LEN };
    let limit = mtu.saturating_sub((ip + Tcp::LEN) as u16);
    let end = tcp.header_len();
    let mut at = Tcp::LEN;
    for _ in 0..OPTIONS {
        if at + 4 > end {
            break;
        }
        let [kind, len] = frame.load::<[u8; 2]>(flow.l4 + at)?;
        match kind {
            tcp::OPTION_END => break,
            tcp::OPTION_NOP => at += 1,
            tcp::OPTION_MSS if len == 4 => return lower(frame, flow.l4, at + 2, limit),
            _ if len < 2 => break,
            _ => at += usize::from(len & 0x3f),
        }
    }
    Ok(false)
}

#[inline(always)]
fn lower<F: Frame>(frame: &mut F, l4: usize, at: usize, limit: u16) -> Result<bool, Reason> {
    let old: U16 = frame.load(l4 + at)?;
    if old.get() <= limit {
        return Ok(false);
    }
    if at & 1 == 0 {
        frame.replace_l4(l4 + tcp::CHECKSUM, l4 + at, old.get(), limit)?;
    } else {
        // The checksum sees the two bytes in two words, each with a neighbour.
        straddling(frame, l4, at, limit)?;
    }
    Ok(true)
}

/// Replaces two bytes at an odd offset: as two words that contain one of them each.
#[inline(always)]
fn straddling<F: Frame>(frame: &mut F, l4: usize, at: usize, new: u16) -> Result<(), Reason> {
    let [new_high, new_low] = new.to_be_bytes();
    let [before, old_high, old_low, after]: [u8; 4] = frame.load(l4 + at - 1)?;
    let word = |high: u8, low: u8| u16::from_be_bytes([high, low]);
    let checksum = l4 + tcp::CHECKSUM;
    frame.replace_l4(checksum, l4 + at - 1, word(before, old_high), word(before, new_high))?;
    frame.replace_l4(checksum, l4 + at + 1, word(old_low, after), word(new_low, after))
}
