//! What was chosen last, as the store keeps it: always of the same size.

use super::{Stored, VERSION, read_network, text, vni_bytes};
use mizar_vpc::catalog::Chosen;
use mizar_vpc::{Generation, NetworkId, Vni};

/// The key of the VNI that was chosen last.
pub(crate) const LAST_VNI: &[u8] = b"c";

/// The value of the VNI that was chosen last.
pub(crate) fn last_vni_value(vni: Vni) -> Box<[u8]> {
    [&[VERSION][..], &vni_bytes(vni)].concat().into()
}

/// The key of the addresses that were chosen last in a network.
pub(crate) fn chosen_key(vni: Vni, network: NetworkId) -> Box<[u8]> {
    [LAST_VNI, &vni_bytes(vni), &network.get().to_be_bytes()].concat().into()
}

/// The value of the addresses that had been chosen last when that was stored.
pub(crate) fn chosen_value(chosen: Chosen, at: Generation) -> Box<[u8]> {
    let Chosen { v4, v6 } = chosen;
    let at = at.get().to_be_bytes();
    [&[VERSION][..], &v4.to_be_bytes(), &v6.to_be_bytes(), &at].concat().into()
}

/// Reads either, without the version.
pub(super) fn read(place: &[u8], value: &[u8]) -> Result<Stored, String> {
    if place.is_empty() {
        return super::read_vni(value).map(Stored::LastVni);
    }
    let (vni, id) = read_network(place)?;
    let (v4, rest) = value.split_first_chunk().ok_or("it is too short")?;
    let (v6, at) = rest.split_first_chunk().ok_or("it is too short")?;
    let chosen = Chosen { v4: u32::from_be_bytes(*v4), v6: u64::from_be_bytes(*v6) };
    let at = u64::from_be_bytes(at.try_into().map_err(text)?);
    Ok(Stored::Chosen(vni, id, chosen, Generation::try_from(at).map_err(text)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_chosen_is_read_as_it_was_written() {
        let (vni, id) = (Vni::MAX, NetworkId::MIN);
        let stored = super::super::read(LAST_VNI, &last_vni_value(vni)).unwrap();
        assert_eq!(stored, Stored::LastVni(vni));
        let (chosen, at) = (Chosen { v4: 70_000, v6: 1 << 40 }, Generation::new(3, 9).unwrap());
        let (key, value) = (chosen_key(vni, id), chosen_value(chosen, at));
        let stored = super::super::read(&key, &value).unwrap();
        assert_eq!(stored, Stored::Chosen(vni, id, chosen, at));
        for len in 1..value.len() {
            let error = super::super::read(&key, &value[..len]).unwrap_err().to_string();
            assert!(error.contains("damaged"), "{error}");
        }
    }
}
