//! The row that is the same for every packet: from the NIC, the kernel's clock and the controller.

use crate::clock::Clock;
use crate::kernel::{Maps, TableError};
use crate::netlink::Nic;
use crate::next_hops::VOUCHED;
use ipnet::IpNet;
use mizar_packet::carried::Carried;
use mizar_packet::tables::{Config, FLEET_PREFIXES, FleetPrefix};
use mizar_packet::upkeep;
use std::fs::File;
use std::io::{self, Read};
use std::net::Ipv4Addr;

/// The row that an agent finds; None at its very first start.
pub(crate) fn found(maps: &Maps) -> Result<Option<Config>, TableError> {
    Ok(maps.config.get(&0)?.filter(|config| config.mark != 0))
}

/// The row of this start. What must outlive an agent (the mark of its frames, the proof of its
/// echoes, the fleet's prefixes) is taken from the one that was found, or from another layout.
pub(crate) fn row(
    (found, carried): (Option<Config>, Option<Carried>),
    nic: &Nic,
    underlay: Ipv4Addr,
    clock: &Clock,
) -> io::Result<Config> {
    let kept = match (found, carried) {
        (Some(found), None) => found,
        (found, Some(Carried { mark, echo_cookie })) => {
            Config { mark, echo_cookie, ..found.unwrap_or(Config::EMPTY) }
        }
        (None, None) => Config { mark: random_mark()?, echo_cookie: random()?, ..Config::EMPTY },
    };
    Ok(Config {
        underlay: underlay.into(),
        vouched_until: clock.now() + clock.jiffies(VOUCHED),
        nic: nic.index,
        nic_mac: nic.mac,
        ..upkeep::timed(kept, clock.hz())
    })
}

/// The prefixes of the fleet as the kernel programs compare them.
///
/// # Errors
/// There are more than the row has room for.
pub(crate) fn fleet(prefixes: &[IpNet]) -> Result<[FleetPrefix; FLEET_PREFIXES], TooManyPrefixes> {
    let v4 = prefixes.iter().filter_map(|prefix| match prefix {
        IpNet::V4(v4) => Some(FleetPrefix {
            network: u32::from_ne_bytes(v4.network().octets()),
            mask: u32::from_ne_bytes(v4.netmask().octets()),
        }),
        // The underlay is IPv4.
        IpNet::V6(_) => None,
    });
    let mut row = Config::EMPTY.fleet;
    let mut places = row.iter_mut();
    for prefix in v4 {
        let place = places.next().ok_or(TooManyPrefixes { count: prefixes.len() })?;
        *place = prefix;
    }
    Ok(row)
}

/// The fleet has more prefixes than a host can have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("fleet has {count} prefixes: at most {FLEET_PREFIXES} IPv4 ones; aggregate them")]
pub(crate) struct TooManyPrefixes {
    count: usize,
}

fn random() -> io::Result<u64> {
    let mut bytes = [0; 8];
    File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(u64::from_ne_bytes(bytes))
}

/// Never zero, which is what frames without a mark have.
fn random_mark() -> io::Result<u32> {
    Ok(random()? as u32 | 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fleet_prefixes_match_addresses_as_loaded_from_packets() {
        let row = fleet(&["100.64.0.0/10".parse().unwrap()]).unwrap();
        let matches = |address: [u8; 4]| {
            let loaded = u32::from_ne_bytes(address);
            row.iter().any(|prefix| loaded & prefix.mask == prefix.network)
        };
        assert!(matches([100, 64, 0, 1]) && matches([100, 127, 255, 255]));
        assert!(!matches([100, 128, 0, 1]) && !matches([0, 0, 0, 0]));
    }

    #[test]
    fn too_many_fleet_prefixes_are_refused() {
        let prefixes: Vec<IpNet> =
            (0..9).map(|i| format!("10.{i}.0.0/16").parse().unwrap()).collect();
        assert!(fleet(&prefixes[..8]).is_ok());
        assert_eq!(fleet(&prefixes), Err(TooManyPrefixes { count: 9 }));
    }
}
