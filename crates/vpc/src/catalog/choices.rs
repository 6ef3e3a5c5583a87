//! What was chosen for those who asked for nothing. VNIs and addresses are given one after another,
//! beginning anew at the end, so that one that was released comes again as late as possible: a host
//! that cannot be reached goes on with what it was told last, and whoever had the number next would
//! get its packets.

use super::{Catalog, EndpointRecord, NetworkEntry, Record};
use crate::{Generation, NetworkId, Vni};
use std::iter;

/// A VNI that is released so little ahead of the last choice would be chosen soon.
const SOON: u32 = 4_096;

/// The addresses that were chosen last in a network, each by its distance from the prefix's first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Chosen {
    /// Of IPv4; 0: none.
    pub v4: u32,
    /// Of IPv6, for an endpoint without an IPv4 address; 0: none.
    pub v6: u64,
}

/// What was chosen in a network when that was stored last.
#[derive(Debug, Default)]
pub(super) struct Stored {
    chosen: Chosen,
    /// None: it never was.
    at: Option<Generation>,
}

/// What was chosen last before a change, for when that is undone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LastChoice {
    /// Whatever it was, the change has nothing to do with it.
    None,
    /// In the fleet.
    Vni(Option<Vni>),
    /// In a network.
    Addresses(Vni, NetworkId, Chosen),
}

impl Catalog {
    /// As [`put`](Self::put), of what was stored. Networks come after their VPCs, then what was
    /// chosen in them, and endpoints at last.
    pub fn load(&mut self, record: Record) {
        match &record {
            Record::Vpc(it) if it.spec.vni.is_none() => {
                self.last_vni = self.last_vni.max(Some(it.vni));
            }
            Record::Endpoint(it) => {
                if let Some(network) = self.network_mut(it.vni, it.network) {
                    network.load_choice(it);
                }
            }
            _ => {}
        }
        self.put(record);
    }

    /// The VNI that was chosen last, or was so near ahead of it when it was released that it counts
    /// as such. It has to be stored with every VPC that is made or deleted.
    pub fn last_vni(&self) -> Option<Vni> {
        self.last_vni
    }

    /// Goes on behind that VNI.
    pub fn resume_vnis(&mut self, last: Vni) {
        self.last_vni = Some(last);
    }

    /// Goes on in a network, if there is such, behind what had been chosen when it was stored at
    /// that generation, and behind what was chosen for endpoints since.
    pub fn resume_addresses(&mut self, vni: Vni, id: NetworkId, chosen: Chosen, at: Generation) {
        if let Some(network) = self.network_mut(vni, id) {
            network.stored = Stored { chosen, at: Some(at) };
            network.resume(chosen);
        }
    }

    /// The next VNI that is free.
    pub(super) fn free_vni(&self) -> Option<Vni> {
        let next = self.last_vni.map_or(0, Vni::get) + 1;
        let next = Vni::try_from(next).unwrap_or(Vni::MIN);
        let used = self.vpcs.range(next..).map(|(vni, _)| *vni);
        first_free(next, used).or_else(|| first_free(Vni::MIN, self.vpcs.keys().copied()))
    }

    /// Notes what was chosen for a resource that is new.
    pub(super) fn note_choice(&mut self, new: &Record) {
        match new {
            Record::Vpc(it) if it.spec.vni.is_none() => self.last_vni = Some(it.vni),
            Record::Endpoint(it) => {
                let Some(network) = self.network_mut(it.vni, it.network) else { return };
                let (v4, v6) = network.chosen_for(it);
                network.pool.last = v4.unwrap_or(network.pool.last);
                network.last_v6 = v6.unwrap_or(network.last_v6);
            }
            _ => {}
        }
    }

    /// What a change of a resource may make another choice.
    pub(super) fn last_choice(&self, changing: &Record) -> LastChoice {
        let in_network = |vni, id| {
            let network = self.vpc(vni).and_then(|vpc| vpc.network(id));
            network.map_or(LastChoice::None, |it| LastChoice::Addresses(vni, id, it.chosen()))
        };
        match changing {
            Record::Vpc(_) => LastChoice::Vni(self.last_vni),
            Record::Network(it) => in_network(it.vni, it.id),
            Record::Endpoint(it) => in_network(it.vni, it.network),
            _ => LastChoice::None,
        }
    }

    /// Goes on where it was before a change that was undone.
    pub(super) fn undo_choice(&mut self, last: LastChoice) {
        match last {
            LastChoice::None => {}
            LastChoice::Vni(last) => self.last_vni = last,
            LastChoice::Addresses(vni, id, chosen) => {
                if let Some(network) = self.network_mut(vni, id) {
                    network.resume(chosen);
                }
            }
        }
    }

    /// A VPC is gone. One that had asked for its VNI may have had one that would be chosen soon.
    pub(super) fn release_vni(&mut self, vni: Vni) {
        let last = self.last_vni.map_or(0, Vni::get);
        // Their numbers begin at 1, so there are as many as the last one says.
        let ahead = (vni.get() + Vni::MAX.get() - last) % Vni::MAX.get();
        if (1..=SOON).contains(&ahead) {
            self.last_vni = Some(vni);
        }
    }

    fn network_mut(&mut self, vni: Vni, id: NetworkId) -> Option<&mut NetworkEntry> {
        self.vpcs.get_mut(&vni)?.network_mut(id)
    }
}

impl NetworkEntry {
    /// What was chosen last in it. That follows from what had been stored of it and from the
    /// endpoints that were made since, so it has to be stored with whatever else becomes of
    /// endpoints: when one goes, or its generation or what it asked for is another.
    pub fn chosen(&self) -> Chosen {
        Chosen { v4: self.pool.last, v6: self.last_v6 }
    }

    fn resume(&mut self, chosen: Chosen) {
        (self.pool.last, self.last_v6) = (chosen.v4, chosen.v6);
    }

    /// What was chosen for an endpoint that was stored, if nothing that was chosen later is known.
    fn load_choice(&mut self, endpoint: &EndpointRecord) {
        let Stored { chosen, at } = self.stored;
        if at.is_some_and(|at| endpoint.generation <= at) {
            return;
        }
        // None has gone since, so the choices stand in a row, once around at most.
        let ahead = |from: u64, it: u64, len: u32| {
            it.wrapping_sub(from) & u64::MAX.checked_shr(len).unwrap_or(0)
        };
        let (v4, v6) = self.chosen_for(endpoint);
        if let (Some(it), Some(prefix)) = (v4, self.record().spec.v4) {
            let len = 32 + u32::from(prefix.prefix_len());
            let ahead = |it: u32| ahead(chosen.v4.into(), it.into(), len);
            if ahead(it) > ahead(self.pool.last) {
                self.pool.last = it;
            }
        }
        if let (Some(it), Some(prefix)) = (v6, self.record().spec.v6) {
            let len = u32::from(prefix.prefix_len()).saturating_sub(64);
            if ahead(chosen.v6, it, len) > ahead(chosen.v6, self.last_v6, len) {
                self.last_v6 = it;
            }
        }
    }

    /// What was chosen for an endpoint and not asked for. An IPv6 address beside an IPv4 one
    /// follows from that.
    fn chosen_for(&self, endpoint: &EndpointRecord) -> (Option<u32>, Option<u64>) {
        let spec = &self.record().spec;
        let asked = |bit| endpoint.asked_for(bit);
        let v4 = endpoint.v4.zip(spec.v4).filter(|_| !asked(EndpointRecord::ASKED_V4));
        let v6 = endpoint.v6.zip(spec.v6).filter(|_| !asked(EndpointRecord::ASKED_V6));
        let v6 = v6.filter(|_| endpoint.v4.is_none());
        (
            v4.map(|(it, prefix)| u32::from(it).wrapping_sub(prefix.network().into())),
            v6.map(|(it, prefix)| u128::from(it).wrapping_sub(prefix.network().into()) as u64),
        )
    }
}

/// The first VNI from there on that is not among those in use, which come in order.
fn first_free(from: Vni, used: impl Iterator<Item = Vni>) -> Option<Vni> {
    let all = (from.get()..=Vni::MAX.get()).filter_map(|it| Vni::try_from(it).ok());
    all.zip(used.map(Some).chain(iter::repeat(None)))
        .find(|(vni, used)| *used != Some(*vni))
        .map(|(vni, _)| vni)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_all_vnis_the_one_that_is_left_is_found_and_then_none() {
        let all = || (1..=Vni::MAX.get()).map(|it| Vni::try_from(it).unwrap());
        assert_eq!(
            first_free(Vni::MIN, all().filter(|it| it.get() != 9_999_999)).unwrap().get(),
            9_999_999
        );
        assert_eq!(first_free(Vni::MIN, all()), None);
        assert_eq!(first_free(Vni::MAX, iter::once(Vni::MAX)), None);
    }
}
