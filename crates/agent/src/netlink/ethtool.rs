//! Offloads and drivers of interfaces, by the ethtool ioctl.
#![expect(unsafe_code, reason = "the ioctl takes a pointer to its command's buffer")]

use super::error::{Error, Result};
use super::socket::Socket;
use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::sync::OnceLock;

const ETHTOOL_GDRVINFO: u32 = 0x03;
const ETHTOOL_GSTRINGS: u32 = 0x1b;
const ETHTOOL_GSSET_INFO: u32 = 0x37;
const ETHTOOL_GFEATURES: u32 = 0x3a;
const ETHTOOL_SFEATURES: u32 = 0x3b;
const ETH_SS_FEATURES: u32 = 4;
/// Bytes of a feature's name, and of a driver's.
const NAME: usize = 32;
/// 32-bit words of `struct ethtool_drvinfo`.
const DRIVER_INFO: usize = 49;

/// Which features of one interface are on.
pub(super) struct Features {
    names: &'static FeatureNames,
    active: Vec<u32>,
}

/// The kernel's features: a feature's bit is its place in the list. The same for every interface.
struct FeatureNames(Vec<String>);

impl FeatureNames {
    /// Asks the kernel once, by way of any interface of the socket's namespace.
    fn get(socket: &Socket, interface: &str) -> Result<&'static Self> {
        static NAMES: OnceLock<FeatureNames> = OnceLock::new();
        if let Some(names) = NAMES.get() {
            return Ok(names);
        }
        let names = Self::read(socket, interface)?;
        Ok(NAMES.get_or_init(|| names))
    }

    fn read(socket: &Socket, interface: &str) -> Result<Self> {
        let failed = failed(interface, "list its features");
        let mut info = [ETHTOOL_GSSET_INFO, 0, 1 << ETH_SS_FEATURES, 0, 0];
        ioctl(socket, interface, &mut info).map_err(&failed)?;
        let count = info[4] as usize;
        let mut strings = vec![0; 3 + count * NAME / 4];
        strings[..3].copy_from_slice(&[ETHTOOL_GSTRINGS, ETH_SS_FEATURES, info[4]]);
        ioctl(socket, interface, &mut strings).map_err(&failed)?;
        Ok(Self(strings[3..].chunks_exact(NAME / 4).map(text).collect()))
    }

    fn words(&self) -> usize {
        self.0.len().div_ceil(32)
    }

    fn bit(&self, name: &str) -> Option<usize> {
        self.0.iter().position(|known| known == name)
    }
}

impl Features {
    /// Whether a feature is known and on.
    pub(super) fn on(&self, name: &str) -> bool {
        let bit = self.names.bit(name);
        bit.is_some_and(|bit| self.active[bit / 32] & (1 << (bit % 32)) != 0)
    }
}

/// Reads which features are on.
///
/// # Errors
/// [`Error::Ethtool`].
pub(super) fn features(socket: &Socket, interface: &str) -> Result<Features> {
    let names = FeatureNames::get(socket, interface)?;
    // Each block is four words: available, requested, active, never changed.
    let mut command = vec![0; 2 + 4 * names.words()];
    command[..2].copy_from_slice(&[ETHTOOL_GFEATURES, names.words() as u32]);
    ioctl(socket, interface, &mut command).map_err(failed(interface, "read its features"))?;
    let active = command[2..].chunks_exact(4).map(|block| block[2]).collect();
    Ok(Features { names, active })
}

/// Sets features on or off. One that the kernel does not know is off.
///
/// # Errors
/// [`Error::Ethtool`], [`Error::Unsupported`] when a feature does not get its value.
pub(super) fn set_features(
    socket: &Socket,
    interface: &str,
    wanted: &[(&str, bool)],
) -> Result<()> {
    let names = FeatureNames::get(socket, interface)?;
    // Each block is two words: valid, requested.
    let mut command = vec![0; 2 + 2 * names.words()];
    command[..2].copy_from_slice(&[ETHTOOL_SFEATURES, names.words() as u32]);
    for (name, on) in wanted {
        let Some(bit) = names.bit(name) else { continue };
        command[2 + bit / 32 * 2] |= 1 << (bit % 32);
        command[3 + bit / 32 * 2] |= u32::from(*on) << (bit % 32);
    }
    let result = ioctl(socket, interface, &mut command);
    let unmet = result.map_err(failed(interface, "change its features"))?;
    if unmet == 0 && wanted.iter().all(|(name, on)| !on || names.bit(name).is_some()) {
        return Ok(());
    }
    let active = features(socket, interface)?;
    let unmet: Vec<_> = wanted
        .iter()
        .filter(|(name, on)| active.on(name) != *on)
        .map(|(name, on)| format!("{name} {}", if *on { "on" } else { "off" }))
        .collect();
    if unmet.is_empty() {
        return Ok(());
    }
    Err(Error::Unsupported { interface: interface.to_owned(), features: unmet.join(", ") })
}

/// The name of an interface's driver.
///
/// # Errors
/// [`Error::Ethtool`].
pub(super) fn driver(socket: &Socket, interface: &str) -> Result<String> {
    let mut command = [0; DRIVER_INFO];
    command[0] = ETHTOOL_GDRVINFO;
    ioctl(socket, interface, &mut command).map_err(failed(interface, "read its driver's name"))?;
    Ok(text(&command[1..=NAME / 4]))
}

/// Runs the ethtool command in the buffer on an interface of the socket's namespace. The functions
/// above make each buffer as large as its command's answer.
fn ioctl(socket: &Socket, interface: &str, command: &mut [u32]) -> io::Result<i32> {
    let mut name = [0; libc::IFNAMSIZ];
    if interface.len() >= name.len() {
        return Err(io::Error::from_raw_os_error(libc::ENODEV));
    }
    for (to, from) in name.iter_mut().zip(interface.bytes()) {
        *to = from.cast_signed();
    }
    let data = libc::__c_anonymous_ifr_ifru { ifru_data: command.as_mut_ptr().cast() };
    let mut request = libc::ifreq { ifr_name: name, ifr_ifru: data };
    let fd = socket.as_fd().as_raw_fd();
    // SAFETY: the request and the buffer that it points to are valid during the call, and the
    // buffer is at least as long as the sizes in it make the kernel read and write.
    let result = unsafe { libc::ioctl(fd, libc::SIOCETHTOOL, &raw mut request) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

fn text(words: &[u32]) -> String {
    let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_ne_bytes()).collect();
    let end = bytes.iter().position(|&byte| byte == 0).unwrap_or(bytes.len());
    String::from_utf8_lossy(&bytes[..end]).into_owned()
}

fn failed(interface: &str, action: &'static str) -> impl Fn(io::Error) -> Error {
    move |source| Error::Ethtool { interface: interface.to_owned(), action, source }
}
