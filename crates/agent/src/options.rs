//! How an agent is told to run.

use crate::kernel::{NicMode, Sizes, UnknownMode};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;

/// What an agent must know from the start; everything else comes from the controller.
#[derive(Clone, Debug)]
pub struct Options {
    /// This host's name, by which the controller knows it.
    pub host: String,
    /// Name of the interface to the underlay.
    pub nic: String,
    /// This host's underlay address; by default the NIC's first IPv4 address.
    pub underlay: Option<Ipv4Addr>,
    /// The controller, as `unix:PATH` or `https://HOST:PORT`.
    pub controller: String,
    /// The file with this host's key and certificate, for a controller that is not local.
    pub credentials: Option<PathBuf>,
    /// The file with the certificates of the CA that such a controller is believed by.
    pub ca: Option<PathBuf>,
    /// Where the local service listens.
    pub socket: PathBuf,
    /// Where those who may read the metrics find them, over TLS with this host's certificate;
    /// `None`: nowhere.
    pub metrics: Option<SocketAddr>,
    /// A folder on a BPF file system for what outlives the agent.
    pub pins: PathBuf,
    /// How frames are taken from the NIC.
    pub mode: ModeChoice,
    /// Tells several agents of one namespace apart: 1 to 32 letters, digits and hyphens.
    pub instance: String,
    /// Sizes of the tables.
    pub sizes: Sizes,
    /// The number that the layout of the tables has among the pins: this build's, but for tests of
    /// how an agent goes from one layout to another.
    pub layout: u32,
}

/// The operator's choice of a [`NicMode`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ModeChoice {
    /// The best one that the NIC admits.
    #[default]
    Auto,
    /// This one, or none.
    Fixed(NicMode),
}

impl FromStr for ModeChoice {
    type Err = UnknownMode;

    fn from_str(text: &str) -> Result<Self, UnknownMode> {
        if text == "auto" { Ok(Self::Auto) } else { text.parse().map(Self::Fixed) }
    }
}

/// The underlay address among those of the NIC.
pub(crate) fn underlay_of(addresses: &[ipnet::IpNet]) -> Option<Ipv4Addr> {
    addresses.iter().find_map(|net| match net.addr() {
        IpAddr::V4(v4) if !v4.is_link_local() && !v4.is_loopback() => Some(v4),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes_are_read_and_others_refused_with_what_there_is() {
        assert_eq!("auto".parse(), Ok(ModeChoice::Auto));
        assert_eq!("tc".parse(), Ok(ModeChoice::Fixed(NicMode::Tc)));
        let error = "xdp".parse::<ModeChoice>().unwrap_err().to_string();
        assert!(error.contains("\"xdp\"") && error.contains("auto, native, generic or tc"));
    }

    #[test]
    fn the_underlay_address_is_the_first_that_can_be_routed() {
        let nets = ["fe80::1/64", "169.254.3.4/16", "100.64.0.7/24", "10.0.0.1/8"];
        let nets: Vec<ipnet::IpNet> = nets.iter().map(|net| net.parse().unwrap()).collect();
        assert_eq!(underlay_of(&nets), Some(Ipv4Addr::new(100, 64, 0, 7)));
        assert_eq!(underlay_of(&nets[..2]), None);
    }
}
