//! The next step of one slot's keepers towards those who shall hold it.

use crate::HolderState::{self, Active, Doubtful, Draining, Filling, Leaving};
use crate::slot_map::Keeper;
use mizar_packet::tables::REPLICAS;

/// What is known of a host that a map speaks of, or that shall hold slots.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Facts {
    /// It is in the fleet.
    pub(super) exists: bool,
    /// It is heard.
    pub(super) is_alive: bool,
    /// It is not heard, and shall have its slots back if it is in time.
    pub(super) may_return: bool,
    /// It has acknowledged all rows since it last began to fill.
    pub(super) is_proven: bool,
    /// All senders that can be reached know what it drains; or were waited for long enough.
    pub(super) is_released: bool,
    /// Nobody relies on it any more as a former holder.
    pub(super) is_forgotten: bool,
}

/// One slot, and what its keepers are judged by.
pub(super) struct SlotStep<'a> {
    /// Those who shall hold it. All of them are alive.
    pub(super) target: &'a [u16],
    /// How many the network asks for.
    pub(super) replicas: usize,
    pub(super) facts: &'a [Facts],
    /// The order in which senders shall prefer hosts: the least first.
    pub(super) taste: &'a [u64],
}

impl SlotStep<'_> {
    /// The keepers that follow `before`; none only if there is no host at all.
    pub(super) fn next(&self, before: &[Keeper]) -> Vec<Keeper> {
        let known = before.iter().filter(|keeper| self.facts(keeper).exists);
        let mut keepers: Vec<_> = known
            .filter_map(|keeper| Some(Keeper { state: self.advance(keeper)?, ..*keeper }))
            .collect();
        for &host in self.target {
            if keepers.iter().all(|keeper| keeper.host != host) {
                keepers.push(Keeper { host, state: Filling });
            }
        }
        self.settle_told(&mut keepers);
        if !keepers.iter().any(|keeper| keeper.state.is_told()) {
            self.tell_somebody(&mut keepers, before);
        }
        let order = |keeper: &Keeper| {
            let is_silent = !self.facts(keeper).is_alive;
            (!keeper.state.is_told(), is_silent, self.taste[usize::from(keeper.host)])
        };
        keepers.sort_by_key(order);
        self.give_up_surplus(&mut keepers);
        keepers.sort_by_key(order);
        keepers
    }

    /// What becomes of one keeper, whatever the others do.
    fn advance(&self, keeper: &Keeper) -> Option<HolderState> {
        let facts = self.facts(keeper);
        if self.target.contains(&keeper.host) {
            return Some(match keeper.state {
                Filling | Doubtful if !facts.is_proven => keeper.state,
                // Who leaves or drains has all rows still.
                Active | Filling | Leaving | Draining | Doubtful => Active,
            });
        }
        match keeper.state {
            Active | Leaving => Some(Leaving),
            Doubtful => Some(Doubtful),
            Filling => facts.may_return.then_some(Filling),
            Draining => (facts.is_alive && !facts.is_released).then_some(Draining),
        }
    }

    /// While a host that is heard and has all rows is told, nobody else but its equals is. While
    /// there is none, those who are told remain so.
    fn settle_told(&self, keepers: &mut Vec<Keeper>) {
        let is_sound = |keeper: &Keeper| {
            matches!(keeper.state, Active | Leaving) && self.facts(keeper).is_alive
        };
        let has_sound = keepers.iter().any(is_sound);
        keepers.retain_mut(|keeper| {
            if !keeper.state.is_told() || is_sound(keeper) {
                return true;
            }
            keeper.state = if has_sound { Filling } else { Doubtful };
            !has_sound || self.target.contains(&keeper.host) || self.facts(keeper).may_return
        });
    }

    /// All who were told are gone for good: the next best is told.
    fn tell_somebody(&self, keepers: &mut Vec<Keeper>, before: &[Keeper]) {
        let drains = |keeper: &&Keeper| {
            let facts = self.facts(keeper);
            keeper.state == Draining && facts.exists && facts.is_alive
        };
        if let Some(drains) = before.iter().find(drains) {
            keepers.retain(|keeper| keeper.host != drains.host);
            keepers.push(Keeper { state: Leaving, ..*drains });
            return;
        }
        let order = |keeper: &&mut Keeper| {
            let is_silent = !self.facts(keeper).is_alive;
            (is_silent, self.taste[usize::from(keeper.host)])
        };
        if let Some(next) = keepers.iter_mut().min_by_key(order) {
            next.state = Doubtful;
        }
    }

    /// Who leaves drains as soon as others are active in its place; those who may return are waited
    /// for as long as replicas are missing; of those who drain, a few suffice.
    fn give_up_surplus(&self, keepers: &mut Vec<Keeper>) {
        let active = keepers.iter().filter(|keeper| keeper.state == Active).count();
        let mut leaving = match self.target.len() {
            0 => REPLICAS,
            wanted => wanted.saturating_sub(active),
        };
        let mut returning = self.replicas.saturating_sub(active);
        let mut draining = REPLICAS;
        keepers.retain_mut(|keeper| {
            if keeper.state == Leaving && !take(&mut leaving) {
                keeper.state = Draining;
            }
            match keeper.state {
                Filling if !self.target.contains(&keeper.host) => take(&mut returning),
                Draining => take(&mut draining),
                Active | Filling | Leaving | Doubtful => true,
            }
        });
    }

    fn facts(&self, keeper: &Keeper) -> &Facts {
        &self.facts[usize::from(keeper.host)]
    }
}

/// Takes one of `left`, if there is any.
fn take(left: &mut usize) -> bool {
    let any = *left > 0;
    *left = left.saturating_sub(1);
    any
}
