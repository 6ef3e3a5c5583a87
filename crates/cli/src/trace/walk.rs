//! A packet's way from host to host, computed by the functions that the kernel programs run.

use super::fleet::{Fleet, Host};
use super::record::{Recording, Seen};
use mizar_packet::count::{Counter, Path};
use mizar_packet::memory::MemoryFrame;
use mizar_packet::wire::geneve::Outer;
use mizar_packet::{Address, Delivery, Frame, Reason, Verdict, function};

/// More hosts than any packet can visit: each one takes its share of the outer TTL.
const MOST_STEPS: usize = 16;

/// A packet's whole way.
#[derive(Clone, Debug)]
pub(super) struct Walk {
    pub(super) steps: Vec<Step>,
    pub(super) end: End,
}

/// What one host did with the packet.
#[derive(Clone, Debug)]
pub(super) struct Step {
    /// The host's underlay address.
    pub(super) host: Address,
    /// What its functions looked up and did.
    pub(super) seen: Vec<Seen>,
    pub(super) verdict: Verdict,
    /// The frame as it leaves the host.
    pub(super) frame: MemoryFrame,
}

/// How a way ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// A guest gets it.
    Delivered { host: Address, delivery: Delivery },
    /// The network answers it in place of a guest.
    Answered,
    /// It is dropped.
    Dropped(Reason),
    /// Its next host has this underlay address, and was not looked into.
    Beyond(Address),
    /// It cannot be followed, for this reason.
    Lost(String),
}

/// Follows a frame that a guest of `start` sends into an interface.
pub(super) fn walk(fleet: &Fleet, start: &Host, interface: u32, frame: MemoryFrame) -> Walk {
    let (mut frame, mut host, mut guest) = (frame, start, Some(interface));
    let mut steps = Vec::new();
    for _ in 0..MOST_STEPS {
        let tables = match &host.tables {
            Ok(tables) => tables,
            Err(why) => return Walk { steps, end: End::Lost(unreadable(host, why)) },
        };
        let recording = Recording::new(tables);
        let verdict = match guest.take() {
            Some(interface) => function::from_guest(&mut frame, &recording, interface),
            None => function::from_wire(&mut frame, &recording),
        };
        let seen = recording.into_seen();
        steps.push(Step { host: host.underlay, seen, verdict, frame: frame.clone() });
        host = match next(fleet, host, verdict, &frame) {
            Ok(next) => next,
            Err(end) => return Walk { steps, end },
        };
    }
    Walk { steps, end: End::Lost("it goes round and round".to_owned()) }
}

/// The host that gets the frame next, or how its way ends.
fn next<'a>(
    fleet: &'a Fleet,
    host: &Host,
    verdict: Verdict,
    frame: &MemoryFrame,
) -> Result<&'a Host, End> {
    match verdict {
        Verdict::Transmit => {
            let outer = frame.load::<Outer>(0).map_err(End::Dropped)?;
            let address = Address::v4(outer.ip.dst);
            fleet.at(address).ok_or(End::Beyond(address))
        }
        Verdict::Deliver(delivery) => Err(End::Delivered { host: host.underlay, delivery }),
        Verdict::Answer => Err(End::Answered),
        Verdict::Drop(reason) => Err(End::Dropped(reason)),
        Verdict::Pass | Verdict::Consumed | Verdict::Refer(_) => {
            Err(End::Lost(format!("host {} takes it for none of its guests' packets", host.name)))
        }
    }
}

fn unreadable(host: &Host, why: &str) -> String {
    format!("the tables of host {} cannot be read: {why}", host.name)
}

impl Walk {
    /// The host that it leads to and that was not looked into.
    pub(super) fn beyond(&self) -> Option<Address> {
        if let End::Beyond(host) = self.end { Some(host) } else { None }
    }

    /// The hosts it visits, in order.
    pub(super) fn hosts(&self) -> impl Iterator<Item = Address> {
        self.steps.iter().map(|step| step.host)
    }

    /// The hosts between the first and the last.
    pub(super) fn between(&self) -> &[Step] {
        self.steps.get(1..self.steps.len().saturating_sub(1)).unwrap_or_default()
    }

    /// Whether a guest gets it, straight from the sender's host.
    pub(super) fn is_direct(&self) -> bool {
        let direct =
            [Path::SentDirect, Path::SentLocal].map(|path| Seen::Count(Counter::Path(path)));
        let departs_directly = self
            .steps
            .first()
            .is_some_and(|step| step.seen.iter().any(|seen| direct.contains(seen)));
        departs_directly && matches!(self.end, End::Delivered { .. })
    }
}
