//! The secrets from which the keys of keyed tags follow, and how they turn.
//!
//! There are three, of the epochs before, at and after the present one, and from each follow a key
//! for every VPC and one for the fleet: one small record turns the keys of all. Hosts are told
//! keys, never secrets.
//!
//! Each step leads to a state in which hosts that have taken it and hosts that have not understand
//! each other. So a step needs no moment that all share: only the next one has to wait for those
//! who have not taken it.

use mizar_vpc::manifest::{TagsSpec, TagsStage};
use mizar_vpc::{TagKey, TagKeys};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// The secrets of the fleet, and what they are used for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Keyring {
    /// Which secrets these are, from 1.
    pub(crate) epoch: u64,
    pub(crate) stage: TagsStage,
    /// Since when the present secret is signed with, since 1970.
    pub(crate) since: Duration,
    /// The [`TagsSpec::turn`] that was followed last.
    pub(crate) turn: u32,
    /// Of the epochs before, at and after this one.
    secrets: [TagKey; 3],
}

/// No random bytes are to be had.
#[derive(Debug, thiserror::Error)]
#[error("no random bytes are to be had")]
pub(crate) struct NoRandomness;

impl Keyring {
    /// The first one: hosts sign.
    pub(crate) fn new(asked: &TagsSpec, now: Duration) -> Result<Self, NoRandomness> {
        let secrets = [TagKey::NONE, secret()?, secret()?];
        let (stage, turn) = (TagsStage::Signing, asked.turn);
        Ok(Self { epoch: 1, stage, since: now, turn, secrets })
    }

    /// The next step to what is asked for, given the time since 1970; None: there is nothing to do.
    pub(crate) fn next(
        &self,
        asked: &TagsSpec,
        now: Duration,
    ) -> Result<Option<Self>, NoRandomness> {
        let to = |stage| Ok(Some(Self { stage, ..self.clone() }));
        match (asked.enabled, self.stage) {
            (true, TagsStage::Off) | (false, TagsStage::Required) => to(TagsStage::Signing),
            (true, TagsStage::Signing) => to(TagsStage::Required),
            (false, TagsStage::Signing) => to(TagsStage::Off),
            (true, TagsStage::Required) if self.is_due(asked, now) => {
                let [_, before, present] = self.secrets;
                let secrets = [before, present, secret()?];
                let (epoch, stage, turn) = (self.epoch + 1, self.stage, asked.turn);
                Ok(Some(Self { epoch, stage, since: now, turn, secrets }))
            }
            (true, TagsStage::Required) | (false, TagsStage::Off) => Ok(None),
        }
    }

    /// Whether all must be able to sign before hosts are told of this.
    pub(crate) fn requires(&self, before: &Self) -> bool {
        self.stage == TagsStage::Required && before.stage != TagsStage::Required
    }

    /// The keys of a VPC, or of VNI 0 for the fleet; None: nothing is signed.
    pub(crate) fn keys(&self, vni: u32) -> Option<TagKeys> {
        if self.stage == TagsStage::Off {
            return None;
        }
        let [before, present, after] = self.secrets.map(|secret| secret.derive(vni));
        let required = self.stage == TagsStage::Required;
        Some(TagKeys { epoch: self.epoch, before, present, after, required })
    }

    fn is_due(&self, asked: &TagsSpec, now: Duration) -> bool {
        let lasts = Duration::from_secs(u64::from(asked.hours.get()) * 3600);
        asked.turn != self.turn || now.saturating_sub(self.since) >= lasts
    }
}

/// A keyring as it is stored.
#[derive(Serialize, Deserialize)]
pub(crate) struct Record {
    epoch: u64,
    stage: TagsStage,
    since: u64,
    turn: u32,
    secrets: [[u8; 16]; 3],
}

impl From<&Keyring> for Record {
    fn from(keyring: &Keyring) -> Self {
        Self {
            epoch: keyring.epoch,
            stage: keyring.stage,
            since: keyring.since.as_secs(),
            turn: keyring.turn,
            secrets: keyring.secrets.map(TagKey::bytes),
        }
    }
}

impl From<Record> for Keyring {
    fn from(record: Record) -> Self {
        let Record { epoch, stage, since, turn, secrets } = record;
        let since = Duration::from_secs(since);
        Self { epoch, stage, since, turn, secrets: secrets.map(TagKey::new) }
    }
}

fn secret() -> Result<TagKey, NoRandomness> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(|_| NoRandomness)?;
    Ok(TagKey::new(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    fn walk(keyring: &mut Keyring, asked: &TagsSpec, now: Duration) -> bool {
        let next = keyring.next(asked, now).unwrap();
        next.is_some_and(|next| {
            // Whoever has not taken the step and whoever has believe each other.
            let (old, new) = (keyring.keys(7), next.keys(7));
            if let (Some(old), Some(new)) = (old, new) {
                let of = |keys: TagKeys, epoch: u64| match epoch + 1 - keys.epoch {
                    0 => keys.before,
                    1 => keys.present,
                    _ => keys.after,
                };
                assert_eq!(of(old, new.epoch), new.present);
                assert_eq!(of(new, old.epoch), old.present);
            }
            let required = |keys: Option<TagKeys>| keys.is_some_and(|keys| keys.required);
            assert!(!required(new) || old.is_some(), "required of those who do not sign");
            assert!(!required(old) || new.is_some(), "those who require get nothing signed");
            *keyring = next;
            true
        })
    }

    #[test]
    fn each_step_leaves_those_who_have_not_taken_it_understood() {
        let (on, off) = (TagsSpec::default(), TagsSpec { enabled: false, ..TagsSpec::default() });
        let mut keyring = Keyring::new(&on, HOUR).unwrap();
        for asked in [&on, &off, &on, &off] {
            while walk(&mut keyring, asked, HOUR) {}
            let wanted = if asked.enabled { TagsStage::Required } else { TagsStage::Off };
            assert_eq!(keyring.stage, wanted);
        }
        assert_eq!(keyring.epoch, 1);
    }

    #[test]
    fn a_key_is_signed_with_for_as_long_as_asked_or_until_another_turn_is() {
        let mut asked = TagsSpec { hours: 2.try_into().unwrap(), ..TagsSpec::default() };
        let mut keyring = Keyring::new(&asked, HOUR).unwrap();
        assert!(walk(&mut keyring, &asked, HOUR));
        assert!(!walk(&mut keyring, &asked, 3 * HOUR - Duration::from_secs(1)));
        assert!(walk(&mut keyring, &asked, 3 * HOUR));
        assert!(!walk(&mut keyring, &asked, 3 * HOUR));
        asked.turn = 9;
        assert!(walk(&mut keyring, &asked, 3 * HOUR));
        assert!(!walk(&mut keyring, &asked, 3 * HOUR));
        assert_eq!((keyring.epoch, keyring.since), (3, 3 * HOUR));
        // A clock that was put back turns nothing.
        assert!(!walk(&mut keyring, &asked, Duration::ZERO));
    }

    #[test]
    fn vpcs_have_keys_of_their_own_and_none_is_shown() {
        let keyring = Keyring::new(&TagsSpec::default(), HOUR).unwrap();
        assert_ne!(keyring.keys(7).unwrap().present, keyring.keys(8).unwrap().present);
        assert_ne!(keyring.keys(0).unwrap().present, keyring.secrets[1]);
        assert!(keyring.keys(7).unwrap().before.is_none());
        assert!(format!("{keyring:?}").contains("Key(secret)"));
        assert_eq!(Keyring::from(Record::from(&keyring)), keyring);
    }
}
