//! Keys, which are shown to nobody on their way.

use crate::error::{At, FieldError, FieldProblem};
use crate::pb;
use mizar_vpc::{TagKey, TagKeys};
use std::fmt;

impl From<TagKeys> for pb::TagKeys {
    fn from(keys: TagKeys) -> Self {
        let bytes = |key: TagKey| if key.is_none() { Vec::new() } else { key.bytes().to_vec() };
        Self {
            epoch: keys.epoch,
            before: bytes(keys.before),
            present: bytes(keys.present),
            after: bytes(keys.after),
            required: keys.required,
        }
    }
}

impl TryFrom<pb::TagKeys> for TagKeys {
    type Error = FieldError;

    fn try_from(message: pb::TagKeys) -> Result<Self, FieldError> {
        if message.epoch == 0 {
            return Err(FieldProblem::Missing).at("epoch");
        }
        let before =
            if message.before.is_empty() { Ok(TagKey::NONE) } else { key(&message.before) };
        Ok(Self {
            epoch: message.epoch,
            before: before.at("before")?,
            present: key(&message.present).at("present")?,
            after: key(&message.after).at("after")?,
            required: message.required,
        })
    }
}

fn key(bytes: &[u8]) -> Result<TagKey, FieldProblem> {
    if bytes.is_empty() {
        return Err(FieldProblem::Missing);
    }
    let key = <[u8; 16]>::try_from(bytes).map(TagKey::new);
    key.ok().filter(|key| !key.is_none()).ok_or(FieldProblem::Key)
}

impl fmt::Debug for pb::TagKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { epoch, required, .. } = self;
        f.debug_struct("TagKeys").field("epoch", epoch).field("required", required).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mizar_vpc::HostConfig;

    const KEYS: TagKeys = TagKeys {
        epoch: 3,
        before: TagKey::new([0x41; 16]),
        present: TagKey::new([0x42; 16]),
        after: TagKey::new([0x43; 16]),
        required: true,
    };

    #[test]
    fn no_key_is_shown_whatever_is_debugged() {
        let config = HostConfig {
            name: "h1".parse().unwrap(),
            underlay: [192, 0, 2, 1].into(),
            fleet: vec!["192.0.2.0/24".parse().unwrap()],
            keys: Some(KEYS),
        };
        let shown = format!("{config:?} {:?}", pb::HostConfig::from(config.clone()));
        assert!(shown.contains("epoch: 3"), "{shown}");
        for byte in [0x41, 0x42, 0x43u8] {
            let letter = byte as char;
            let ways = [format!("{byte}, {byte}"), format!("{letter}{letter}")];
            let hex = [format!("{byte:x}{byte:x}"), format!("{byte:x}, 0x{byte:x}")];
            assert!(ways.iter().chain(&hex).all(|way| !shown.contains(way)), "{shown}");
        }
    }

    #[test]
    fn keys_that_are_none_are_refused() {
        let refusal = |change: fn(&mut pb::TagKeys)| {
            let mut message = pb::TagKeys::from(KEYS);
            change(&mut message);
            TagKeys::try_from(message).unwrap_err().to_string()
        };
        let none = "no key: it must have 16 bytes, not all of them zero";
        assert_eq!(refusal(|it| it.epoch = 0), "epoch: it is missing: it must be set");
        assert_eq!(refusal(|it| it.present.clear()), "present: it is missing: it must be set");
        assert_eq!(refusal(|it| it.before.truncate(15)), format!("before: {none}"));
        assert_eq!(refusal(|it| it.after = vec![0; 16]), format!("after: {none}"));
        let first = TagKeys { before: TagKey::NONE, epoch: 1, ..KEYS };
        assert_eq!(TagKeys::try_from(pb::TagKeys::from(first)), Ok(first));
    }
}
