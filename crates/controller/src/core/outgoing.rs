//! What hosts are sent: in batches, as many as a stream takes, and between other work.
//!
//! An update that does not fit into one batch is built as it is sent. What changes meanwhile goes
//! with it at the end, so that a host has what is so then, and not a mixture.

use super::write::next_generation;
use super::{Core, Outlet};
use crate::cursor::Cursor;
use crate::desk::{About, Keys};
use crate::gate::Place;
use crate::time::Time;
use mizar_proto::ControllerMessage;
use mizar_store::{Store, Transaction};
use mizar_vpc::{Batch, Generation, HostConfig, Name, Row, RowKey, View, Vni, VpcUpdate};
use std::time::Duration;
use tracing::warn;

/// Most rows in one message: far below the 4 MiB that a message may have.
pub(super) const BATCH_ROWS: usize = 1000;
/// How many hosts are looked at, for what there is to send, before other work is.
const HOSTS: usize = 1024;
/// How many batches of large updates are built before other work is done.
const BATCHES: usize = 4;

/// An update that is being sent.
#[derive(Debug)]
pub(super) struct Sending {
    /// What all of its batches have in common.
    frame: VpcUpdate,
    number: u32,
    rest: Cursor,
    /// What is left are rows that have changed since they were sent.
    is_late: bool,
}

/// Why an update is not sent on.
enum Halt {
    /// The stream has yet to take what there is.
    Full,
    /// Too much has changed: it begins anew.
    Anew,
}

impl Core {
    /// Sends what there is to send, to some hosts; the others are next.
    pub fn flush(&mut self) {
        for _ in 0..HOSTS {
            if self.sends.is_empty() {
                self.sends = std::mem::take(&mut self.unsent);
            }
            let Some((host, vni)) = self.sends.pop_first() else { return };
            self.send(&host, vni);
        }
    }

    /// Goes on with what takes long, for a short while.
    pub fn work(&mut self, now: Time) {
        while let Some(place) = self.gate.admit(now) {
            self.begin(place);
        }
        for _ in 0..BATCHES {
            let place = match self.changes.pop_front() {
                Some(place) => place,
                None if self.gate.has_tokens(now) => match self.resyncs.pop_front() {
                    Some(place) => place,
                    None => break,
                },
                None => break,
            };
            if let Some(sending) = self.sendings.remove(&place) {
                self.go_on(place, sending);
            }
        }
        self.follow_some(now);
    }

    /// How long there is nothing to do; None: until something comes.
    pub fn pause(&self, now: Time) -> Option<Duration> {
        let is_busy = !self.unsent.is_empty()
            || !self.sends.is_empty()
            || !self.changes.is_empty()
            || !self.follows.is_empty()
            || !self.routes.is_empty();
        if is_busy {
            return Some(Duration::ZERO);
        }
        let resyncs = (!self.resyncs.is_empty()).then(|| self.gate.refill());
        resyncs.into_iter().chain(self.gate.pause(now)).min()
    }

    /// A stream has taken what it was given, and there was more.
    pub fn drained(&mut self, host: &Name) {
        if self.outgoing.get(host).is_some_and(|outlet| outlet.lacks_config) {
            self.send_config(host);
        }
        if let Some(outlet) = self.outgoing.get_mut(host) {
            outlet.complete();
        }
        let places: Vec<_> = self.sendings_to(host).collect();
        for place in places {
            self.queue(place);
        }
    }

    /// What is being sent to a host is of no use any more.
    pub(super) fn forget_sendings(&mut self, host: &Name) {
        let places: Vec<_> = self.sendings_to(host).collect();
        for place in places {
            self.sendings.remove(&place);
            self.gate.leave(&place);
        }
    }

    fn sendings_to(&self, host: &Name) -> impl Iterator<Item = Place> + use<'_> {
        let all = self.sendings.range((host.clone(), Vni::MIN)..);
        let host = host.clone();
        all.map(|(place, _)| place).take_while(move |(to, _)| *to == host).cloned()
    }

    /// Sends what there is to send to a host of a VPC, or has it wait for its turn.
    fn send(&mut self, host: &Name, vni: Vni) {
        let place = (host.clone(), vni);
        if self.sendings.contains_key(&place) {
            return;
        }
        if self.desk.has_to_resync(host, vni) {
            self.gate.wait(place);
        } else {
            self.begin(place);
        }
    }

    /// Begins to send what there is to send; everything to begin with only when others had their
    /// turn.
    fn begin(&mut self, place: Place) {
        let (host, vni) = &place;
        let view = View { catalog: &self.catalog, maps: &self.maps };
        let about = about(view, *vni, host);
        let (store, present) = (&*self.store, &mut self.generation);
        let after = |at| after(at, present, store);
        let Some(sent) = self.desk.send(host, *vni, after, about) else {
            self.gate.leave(&place);
            return self.told(&place);
        };
        let loses_network = match &sent.keys {
            Keys::All => true,
            Keys::Some(keys) => keys.iter().any(|key| {
                matches!(key, RowKey::Network(_)) && view.row(*vni, host, key).is_none()
            }),
        };
        let mut frame = VpcUpdate::change(*vni, sent.generation, sent.base);
        let mut rest = Cursor::default();
        if loses_network && !view.is_told(*vni, host) {
            frame = VpcUpdate::removal(*vni, sent.generation);
            self.desk.remove(host, *vni);
        } else {
            (frame.dividers, frame.quota) = (view.dividers(*vni, host), view.quota(*vni));
            frame.keys = self.keys.of_vpc(*vni);
            rest = match sent.keys {
                Keys::All => Cursor::all(view, *vni, host).without(&sent.except),
                Keys::Some(keys) => Cursor::some(keys),
            };
        }
        let sending = Sending { frame, number: 0, rest, is_late: false };
        if sent.is_resync {
            self.sendings.insert(place.clone(), sending);
            self.queue(place);
        } else {
            self.go_on(place, sending);
        }
    }

    /// Sends one more batch; what is left then waits for its turn, or for the stream.
    fn go_on(&mut self, place: Place, mut sending: Sending) {
        match self.send_batch(&place, &mut sending) {
            Ok(true) => self.told(&place),
            Ok(false) => {
                self.sendings.insert(place.clone(), sending);
                self.queue(place);
            }
            Err(Halt::Full) => drop(self.sendings.insert(place, sending)),
            Err(Halt::Anew) => {
                self.desk.abandon(&place.0, place.1);
                self.unsent.insert(place);
            }
        }
    }

    /// All that there was to tell a host of a VPC has been sent.
    fn told(&mut self, (host, vni): &Place) {
        if let Some(outlet) = self.outgoing.get_mut(host) {
            outlet.told(*vni);
        }
    }

    fn queue(&mut self, place: Place) {
        match self.sendings.get(&place) {
            Some(sending) if sending.frame.base.is_none() => self.resyncs.push_back(place),
            Some(_) => self.changes.push_back(place),
            None => {}
        }
    }

    /// Sends a batch; whether it was the last.
    fn send_batch(&mut self, place: &Place, sending: &mut Sending) -> Result<bool, Halt> {
        let (host, vni) = place;
        if !self.outgoing.get(host).is_some_and(Outlet::has_room) {
            return Err(Halt::Full);
        }
        let mut update = sending.frame.clone();
        let keys = sending.rest.take(self.view(), *vni, self.batch_rows);
        let room = self.batch_rows.saturating_sub(keys.len());
        self.add_rows(place, keys, sending.is_late, &mut update);
        if sending.rest.is_empty() && !sending.frame.removed {
            let view = View { catalog: &self.catalog, maps: &self.maps };
            let late = self.desk.late(host, *vni, about(view, *vni, host));
            let late = late.ok_or(Halt::Anew)?;
            if !late.is_empty() && sending.number > 0 && !self.view().is_told(*vni, host) {
                return Err(Halt::Anew);
            }
            (sending.is_late, sending.rest) = (sending.number > 0, Cursor::some(late));
            let keys = sending.rest.take(self.view(), *vni, room);
            self.add_rows(place, keys, sending.is_late, &mut update);
        }
        if update.base.is_none() {
            self.gate.spend(update.len());
        }
        self.metrics.sent(update.len());
        let (number, last) = (sending.number, sending.rest.is_empty());
        sending.number += 1;
        let view = self.view();
        let (dividers, quota) = (view.dividers(*vni, host), view.quota(*vni));
        let is_same = dividers == update.dividers && quota == update.quota;
        if last && !update.removed && !(is_same && self.keys.of_vpc(*vni) == update.keys) {
            self.desk.mark_frame(host, *vni);
        }
        if let Some(outlet) = self.outgoing.get(host) {
            outlet.send(ControllerMessage::Update(Batch { number, last, update }));
        }
        Ok(last)
    }

    /// Adds rows to an update, as they are now. Of those that the host shall not have, an update
    /// of everything names only such as it has named before.
    fn add_rows(
        &self,
        (host, vni): &Place,
        keys: Vec<RowKey>,
        is_late: bool,
        update: &mut VpcUpdate,
    ) {
        let removes = is_late || update.base.is_some();
        for key in keys {
            match (self.view().row(*vni, host, &key), key) {
                (Some(Row::Network(row)), RowKey::Network(id)) => {
                    update.networks.upserts.insert(id, row);
                }
                (Some(Row::Port(row)), RowKey::Port(name)) => {
                    update.ports.upserts.insert(name, row);
                }
                (Some(Row::Held(row)), RowKey::Held(address)) => {
                    update.held.upserts.insert(address, row);
                }
                (_, RowKey::Network(id)) if removes => drop(update.networks.removals.insert(id)),
                (_, RowKey::Port(name)) if removes => drop(update.ports.removals.insert(name)),
                (_, RowKey::Held(at)) if removes => drop(update.held.removals.insert(at)),
                _ => {}
            }
        }
    }

    /// Tells all hosts about themselves and the fleet.
    pub(super) fn send_configs(&mut self) {
        let hosts: Vec<_> = self.outgoing.keys().cloned().collect();
        for host in hosts {
            self.send_config(&host);
        }
    }

    fn send_config(&mut self, host: &Name) {
        let Some(config) = self.config(host) else { return };
        let Some(outlet) = self.outgoing.get_mut(host) else { return };
        outlet.lacks_config = !outlet.has_room();
        if !outlet.lacks_config {
            outlet.send(ControllerMessage::Config(config));
        }
    }

    /// What a host is told about itself and the fleet.
    pub(super) fn config(&self, host: &Name) -> Option<HostConfig> {
        let record = self.catalog.host(host)?.record();
        let fleet = self.catalog.fleet().map(|fleet| fleet.spec.prefixes.clone());
        let (name, underlay) = (record.name.clone(), record.spec.underlay);
        let keys = self.keys.of_fleet();
        Some(HostConfig { name, underlay, fleet: fleet.unwrap_or_default(), keys })
    }
}

/// The present generation, for a host that stands at an earlier one; for one that stands at this
/// one already, another: no two states of a host are of one generation, or the first of them could
/// come again and be believed. It is written, so that it is later than all before for whoever reads
/// the store too.
fn after(at: Option<Generation>, present: &mut Generation, store: &dyn Store) -> Generation {
    if at.is_some_and(|at| at >= *present) {
        let next = next_generation(*present, store);
        let written = store.commit(&[Transaction::new()]);
        match (next, written) {
            (Ok(next), Ok(_)) => *present = next,
            // It gets what there is, even if nothing can be written.
            (_, Err(problem)) => warn!(%problem, "the store takes no writes"),
            (Err(problem), _) => warn!(%problem, "no generation is left"),
        }
    }
    *present
}

/// Knows what the rows of a host in a VPC are about.
fn about<'a>(view: View<'a>, vni: Vni, host: &'a Name) -> impl Fn(&RowKey) -> About<'a> {
    let vpc = view.catalog.vpc(vni);
    move |key| {
        let endpoint = match key {
            RowKey::Port(name) => vpc.and_then(|it| it.endpoint_named(name)).map(|(_, it)| it),
            RowKey::Held(address) => vpc.and_then(|it| it.endpoint_at(*address)),
            RowKey::Network(_) if view.row(vni, host, key).is_none() => return About::LeftNetwork,
            RowKey::Network(_) => None,
        };
        endpoint.map_or(About::Other, About::Endpoint)
    }
}
