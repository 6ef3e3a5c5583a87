//! Learning where endpoints are, from the packets they send.

use crate::bounce::teacher;
use crate::count::{Counter, Path};
use crate::tables::{Config, Endpoint, EndpointKey, Event, HostIndex, Learned, Vpc, VpcIndex};
use crate::wire::geneve::{ASKS, Location};
use crate::wire_in::{Incoming, is_fleet};
use crate::{Address, Reason, Tables, choose};

/// Learns from a packet that carries its sender's location. Writes only what changes, and only if
/// it is signed as it has to be.
///
/// # Errors
/// [`Reason::ForeignSource`] if the location is outside the fleet.
#[inline(always)]
pub fn learn<T: Tables>(
    tables: &T,
    config: &Config,
    incoming: &Incoming,
    location: &Location,
    vpc: VpcIndex,
) -> Result<(), Reason> {
    let generation = location.generation.get();
    if generation == 0 {
        return Ok(());
    }
    if !is_fleet(config, location.host) {
        return Err(Reason::ForeignSource);
    }
    let (host, key) = (teacher(location), EndpointKey::new(incoming.vni, incoming.flow.src));
    if is_here(tables, &key) {
        // It may have moved away just now, and must not lose what it sends to those that it left.
        tables.count(vpc, Counter::Path(Path::LearnRefused));
        return Ok(());
    }
    let bounced = incoming.sender() != host;
    if bounced {
        tables.count(vpc, Counter::Path(Path::ArrivedBounced));
    }
    let asks = bounced || incoming.marks() & ASKS != 0;
    let index = tables.host_index(&host);
    let says = |row: Learned| generation == row.generation && index == Some(row.host);
    if !asks && tables.learned(&key).is_some_and(says) {
        return Ok(());
    }
    // From here on something is written, or the agent told.
    let Some(of) = tables.vpc(key.vni).filter(|of| is_signed(of, &key, location)) else {
        tables.count(vpc, Counter::Path(Path::TagRefused));
        return Ok(());
    };
    let Some(index) = known(tables, config, host, index) else { return Ok(()) };
    let now = tables.now();
    // Looked up again, and changed in place: the kernel programs' stack has no room for a row
    // meanwhile, nor for two.
    let Some(mut row) = tables.learned(&key) else {
        want(tables, config, index, now);
        let row = first(config, now, generation, index, vpc, asks);
        insert(tables, of, &key, &row);
        return Ok(());
    };
    if generation < row.generation {
        tables.count(vpc, Counter::Path(Path::LearnRefused));
        return Ok(());
    }
    let moved = generation != row.generation || index != row.host;
    (row.generation, row.host) = (generation, index);
    if moved || asks {
        want(tables, config, index, now);
    }
    // A remote that sends direct knows where its peer is, whatever it teaches: if two hosts taught
    // because they are taught, they would never end.
    let due = asks && row.teach_until < now + u64::from(config.teach / 2);
    if moved || due {
        row.teach_until = now + u64::from(config.teach);
    }
    let watched = asks && watch(tables, config, (&key, incoming.flow.dst, host), now, &mut row);
    if moved || due || watched {
        let written = tables.learn(&key, &row);
        if moved {
            let path = if written { Path::Learned } else { Path::LearnRefused };
            tables.count(vpc, Counter::Path(path));
        }
    }
    Ok(())
}

/// Whether an endpoint lives here, as far as this host was told.
#[inline(always)]
fn is_here<T: Tables>(tables: &T, key: &EndpointKey) -> bool {
    tables.endpoint(key).is_some_and(|endpoint| endpoint.kind == Endpoint::LOCAL)
}

/// Whether a location comes from a host of the VPC.
#[inline(always)]
fn is_signed(vpc: &Vpc, key: &EndpointKey, location: &Location) -> bool {
    let Location { host, generation, tag, .. } = *location;
    vpc.keys.believe_location(key, host, generation.get(), tag)
}

/// Learns from a notice that an endpoint is on a host: as from a packet, but nothing has come that
/// calls for teaching.
#[inline(always)]
pub fn learn_notice<T: Tables>(
    tables: &T,
    config: &Config,
    key: &EndpointKey,
    host: Address,
    generation: u64,
) {
    let Some(vpc) = tables.vpc(key.vni) else { return };
    if is_here(tables, key) {
        return;
    }
    let Some(index) = known(tables, config, host, tables.host_index(&host)) else { return };
    let now = tables.now();
    match tables.learned(key) {
        None => {
            let row = Learned {
                teach_until: 0,
                ..first(config, now, generation, index, vpc.index, false)
            };
            insert(tables, vpc, key, &row);
        }
        Some(old) => {
            let row = Learned { generation, host: index, ..old };
            if generation >= old.generation && row != old && tables.learn(key, &row) {
                tables.count(vpc.index, Counter::Path(Path::Learned));
            }
        }
    }
}

/// Forgets a location that turned out wrong, but not its generation.
#[inline(always)]
pub fn forget<T: Tables>(tables: &T, key: &EndpointKey, host: HostIndex, generation: u64) {
    let Some(old) = tables.learned(key) else { return };
    if old.host == host && old.generation <= generation {
        tables.learn(key, &Learned { host: 0, teach_until: 0, ..old });
    }
}

/// A packet has come back from the host that was learned to have its destination, and that has no
/// agent to say that it has not. A mark is not signed, so nothing is forgotten; but senders here
/// say again where they are, so that whoever has the destination can tell them.
#[inline(always)]
pub fn doubt<T: Tables>(tables: &T, config: &Config, incoming: &Incoming) {
    let key = incoming.key();
    let Some(mut row) = tables.learned(&key) else { return };
    let until = tables.now() + u64::from(config.teach);
    let due = row.teach_until + u64::from(config.teach / 2) < until;
    if due && tables.host_index(&incoming.sender()) == Some(row.host) {
        row.teach_until = until;
        tables.learn(&key, &row);
    }
}

/// Remembers for a quarter of a second that an address does not exist, unless it is known better.
/// Longer, and whoever talked to one that is made anew elsewhere, and whose bouncer's agent did not
/// say so, would miss it for as long.
#[inline(always)]
pub fn learn_unknown<T: Tables>(tables: &T, config: &Config, key: &EndpointKey) {
    let Some(vpc) = tables.vpc(key.vni) else { return };
    let now = tables.now();
    let until = now + u64::from(config.teach / 4);
    match tables.learned(key) {
        Some(old) if old.host != 0 => {}
        Some(old) => {
            tables.learn(key, &Learned { teach_until: until, ..old });
        }
        None => {
            let row = first(config, now, 0, 0, vpc.index, false);
            insert(tables, vpc, key, &Learned { teach_until: until, ..row });
        }
    }
}

/// An address exists after all: bouncers are asked again.
#[inline(always)]
pub fn learn_known<T: Tables>(tables: &T, key: &EndpointKey) {
    if let Some(row) = tables.learned(key).filter(|row| row.host == 0 && row.teach_until != 0) {
        tables.learn(key, &Learned { teach_until: 0, ..row });
    }
}

/// An answer will be sent to that host: by then it may have proven itself.
#[inline(always)]
fn want<T: Tables>(tables: &T, config: &Config, index: HostIndex, now: u64) {
    if let Some(host) = tables.host(index) {
        choose::touch(tables, config, index, &host, now);
    }
}

/// The row of a host other than this one; the agent is asked to make it if there is none.
#[inline(always)]
fn known<T: Tables>(
    tables: &T,
    config: &Config,
    host: Address,
    index: Option<HostIndex>,
) -> Option<HostIndex> {
    if index.is_none() {
        tables.tell(&Event { kind: Event::NEW_HOST, underlay: host, ..Event::NOTHING });
    }
    index.filter(|&index| index != config.own_host)
}

#[inline(always)]
fn first(
    config: &Config,
    now: u64,
    generation: u64,
    host: HostIndex,
    vpc: VpcIndex,
    bounced: bool,
) -> Learned {
    Learned {
        generation,
        used: now,
        teach_until: now + u64::from(config.teach),
        notice_at: if bounced { now + u64::from(config.notice_delay) } else { 0 },
        host,
        vpc,
    }
}

#[inline(always)]
fn insert<T: Tables>(tables: &T, vpc: &Vpc, key: &EndpointKey, row: &Learned) {
    let written = tables.claim_learned(vpc) && tables.learn(key, row);
    let path = if written { Path::Learned } else { Path::LearnRefused };
    tables.count(row.vpc, Counter::Path(path));
}

/// Watches a remote that keeps coming by way of bouncers although this host could be reached
/// direct: nothing goes back to it, so it has to be told. At most once a second. Whether the row is
/// another one.
#[inline(always)]
fn watch<T: Tables>(
    tables: &T,
    config: &Config,
    (remote, local, host): (&EndpointKey, Address, Address),
    now: u64,
    row: &mut Learned,
) -> bool {
    if now < row.notice_at {
        return false;
    }
    if row.notice_at + u64::from(config.teach) < now {
        row.notice_at = now + u64::from(config.notice_delay);
        return true;
    }
    row.notice_at = now + u64::from(config.teach);
    tables.tell(&Event {
        kind: Event::NOTICE,
        vni: remote.vni,
        underlay: host,
        local,
        remote: remote.address,
        ..Event::NOTHING
    });
    true
}
