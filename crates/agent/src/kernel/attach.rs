//! The programs on the NIC: attached, replaced without a gap, and removed.
//!
//! What delivers to guests is attached first and removed last, so that no unwrapped frame of a
//! tenant is ever passed to a host that has nobody to take it: tc ingress (deliver), tc egress
//! (guard), then XDP. The links are pinned: they outlive the agent, and its next start replaces the
//! programs behind them atomically. In tc that is done by tcx links or, on a kernel without them,
//! by filters ([`super::filter`]).

use super::program::{LoadError, Programs};
use super::{filter, sys};
use crate::netlink::{self, Hook, Netlink};
use aya::programs::links::{FdLink, PinnedLink};
use aya::programs::tc::{SchedClassifierLink, TcAttachOptions};
use aya::programs::xdp::{XdpLink, XdpMode};
use aya::programs::{LinkOrder, ProgramError, TcAttachType};
use mizar_packet::programs::{GUARD, WIRE_TC, WIRE_XDP, WIRE_XDP_GENERIC};
use std::fmt;
use std::io;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use thiserror::Error;

/// How frames are taken from the NIC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NicMode {
    /// XDP in the driver, delivery by tc.
    Native,
    /// XDP on socket buffers, delivery by tc.
    Generic,
    /// tc alone: for NICs whose frames come as aggregated buffers already.
    Tc,
}

impl NicMode {
    /// The mode as text.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Native => "native",
            Self::Generic => "generic",
            Self::Tc => "tc",
        }
    }

    /// How XDP is attached, and the program, whose link's pin has its name.
    const fn xdp(self) -> Option<(XdpMode, &'static str)> {
        match self {
            Self::Native => Some((XdpMode::Driver, WIRE_XDP)),
            Self::Generic => Some((XdpMode::Skb, WIRE_XDP_GENERIC)),
            Self::Tc => None,
        }
    }
}

impl fmt::Display for NicMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for NicMode {
    type Err = UnknownMode;

    fn from_str(text: &str) -> Result<Self, UnknownMode> {
        match text {
            "native" => Ok(Self::Native),
            "generic" => Ok(Self::Generic),
            "tc" => Ok(Self::Tc),
            _ => Err(UnknownMode(text.to_owned())),
        }
    }
}

/// A text that names no mode.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("NIC mode {0:?} is unknown: use auto, native, generic or tc")]
pub struct UnknownMode(String);

/// The NIC, for attaching.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Nic<'a> {
    pub(crate) name: &'a str,
    pub(crate) index: u32,
}

/// Why something cannot be attached or removed.
#[derive(Debug, Error)]
pub enum AttachError {
    /// The kernel refused.
    #[error("cannot attach {program} to {nic}")]
    Attach {
        /// The program.
        program: &'static str,
        /// The NIC.
        nic: String,
        /// The kernel's reason.
        #[source]
        source: Box<ProgramError>,
    },
    /// The kernel refused a filter, or to remove one.
    #[error("cannot {action} the filter of {program}")]
    Filter {
        /// What was tried.
        action: &'static str,
        /// The program.
        program: &'static str,
        /// The kernel's reason.
        #[source]
        source: netlink::Error,
    },
    /// The link that was made cannot be kept.
    #[error("cannot keep the link {}", path.display())]
    Keep {
        /// Its pin.
        path: PathBuf,
        /// The reason.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A pin cannot be opened or removed.
    #[error("cannot {action} the pin {}", path.display())]
    Pin {
        /// What was tried.
        action: &'static str,
        /// The pin.
        path: PathBuf,
        /// The reason.
        #[source]
        source: io::Error,
    },
    /// A program is missing.
    #[error(transparent)]
    Load(#[from] LoadError),
}

/// Attaches what a mode needs, in order, or replaces the programs of links that are there already.
pub(crate) async fn attach(
    netlink: &Netlink,
    programs: &mut Programs,
    nic: Nic<'_>,
    mode: NicMode,
    links: &Path,
) -> Result<(), AttachError> {
    std::fs::create_dir_all(links).map_err(pin_error("make", links))?;
    for (name, side, hook) in IN_TC {
        if !attach_tcx(programs, name, side, nic, links)? {
            let program = programs.classifier(name)?;
            filter::attach(netlink, program, (name, hook), nic.index, links).await?;
        }
    }
    let wanted = mode.xdp();
    for name in XDP.into_iter().filter(|name| wanted.is_none_or(|(_, used)| used != *name)) {
        remove(&links.join(name))?;
    }
    match wanted {
        Some((mode, name)) => attach_xdp(programs, mode, name, nic, &links.join(name)),
        None => Ok(()),
    }
}

/// Takes everything off the NIC: what delivers to guests last. Goes on after errors.
pub(crate) async fn detach(netlink: &Netlink, links: &Path) -> Vec<AttachError> {
    let ordered = XDP.into_iter().chain(IN_TC.map(|(name, ..)| name).into_iter().rev());
    let mut errors: Vec<_> = ordered.filter_map(|name| remove(&links.join(name)).err()).collect();
    for (name, _, hook) in IN_TC.into_iter().rev() {
        errors.extend(filter::detach(netlink, (name, hook), links).await.err());
    }
    if links.exists() {
        errors.extend(std::fs::remove_dir(links).map_err(pin_error("remove", links)).err());
    }
    errors
}

const XDP: [&str; 2] = [WIRE_XDP, WIRE_XDP_GENERIC];
/// What hangs in tc, in order.
const IN_TC: [(&str, TcAttachType, Hook); 2] =
    [(WIRE_TC, TcAttachType::Ingress, Hook::NicIn), (GUARD, TcAttachType::Egress, Hook::NicOut)];

/// Whether the kernel has such links.
fn attach_tcx(
    programs: &mut Programs,
    name: &'static str,
    side: TcAttachType,
    nic: Nic<'_>,
    links: &Path,
) -> Result<bool, AttachError> {
    let path = links.join(name);
    let failed = refused(name, nic);
    let classifier = programs.classifier(name)?;
    if let Some(link) = pinned_on(&path, nic.index)? {
        let link = SchedClassifierLink::try_from(link).map_err(keep_error(&path))?;
        let id = classifier.attach_to_link(link).map_err(failed)?;
        // The pin keeps it.
        return classifier.take_link(id).map(|_| true).map_err(keep_error(&path));
    }
    let order = TcAttachOptions::TcxOrder(LinkOrder::default());
    let id = match classifier.attach_with_options(nic.name, side, order) {
        // Before Linux 6.6 no link of this kind is known.
        Err(error) if code(&error) == Some(libc::EINVAL) => return Ok(false),
        result => result.map_err(failed)?,
    };
    let link = classifier.take_link(id).map_err(keep_error(&path))?;
    let link = FdLink::try_from(link).map_err(keep_error(&path))?;
    link.pin(&path).map(|_| true).map_err(keep_error(&path))
}

fn attach_xdp(
    programs: &mut Programs,
    mode: XdpMode,
    name: &'static str,
    nic: Nic<'_>,
    path: &Path,
) -> Result<(), AttachError> {
    let failed = refused(name, nic);
    let xdp = programs.xdp(name)?;
    if let Some(link) = pinned_on(path, nic.index)? {
        let link = XdpLink::try_from(link).map_err(keep_error(path))?;
        let id = xdp.attach_to_link(link).map_err(failed)?;
        return xdp.take_link(id).map(drop).map_err(keep_error(path));
    }
    let id = xdp.attach_to_if_index(nic.index, mode).map_err(failed)?;
    let link = xdp.take_link(id).map_err(keep_error(path))?;
    let link = FdLink::try_from(link).map_err(keep_error(path))?;
    link.pin(path).map(drop).map_err(keep_error(path))
}

/// The pinned link if it is on that interface; one that is not is removed.
fn pinned_on(path: &Path, interface: u32) -> Result<Option<FdLink>, AttachError> {
    if !path.exists() {
        return Ok(None);
    }
    let fd = sys::open_pin(path).map_err(pin_error("open", path))?;
    if sys::link_interface(fd.as_fd()).map_err(pin_error("read", path))? != interface {
        remove(path)?;
        return Ok(None);
    }
    match PinnedLink::from_pin(path) {
        Ok(link) => Ok(Some(link.into())),
        Err(source) => Err(keep_error(path)(source)),
    }
}

/// Detaches a pinned link at once and removes its pin.
fn remove(path: &Path) -> Result<(), AttachError> {
    if !path.exists() {
        return Ok(());
    }
    let link = sys::open_pin(path).map_err(pin_error("open", path))?;
    match sys::detach(link.as_fd()) {
        // Its interface is gone.
        Err(error) if error.raw_os_error() == Some(libc::ENOLINK) => {}
        outcome => outcome.map_err(pin_error("detach", path))?,
    }
    std::fs::remove_file(path).map_err(pin_error("remove", path))
}

fn refused(program: &'static str, nic: Nic<'_>) -> impl Fn(ProgramError) -> AttachError {
    let nic = nic.name.to_owned();
    move |source| AttachError::Attach { program, nic: nic.clone(), source: Box::new(source) }
}

pub(super) fn keep_error<E>(path: &Path) -> impl Fn(E) -> AttachError
where
    E: std::error::Error + Send + Sync + 'static,
{
    let path = path.to_owned();
    move |source| AttachError::Keep { path: path.clone(), source: Box::new(source) }
}

pub(super) fn pin_error(action: &'static str, path: &Path) -> impl Fn(io::Error) -> AttachError {
    let path = path.to_owned();
    move |source| AttachError::Pin { action, path: path.clone(), source }
}

impl AttachError {
    /// Whether the NIC's driver cannot do what was asked, as against anything else that went wrong.
    pub(crate) fn is_driver(&self) -> bool {
        let Self::Attach { source, .. } = self else { return false };
        let refusals = [libc::EOPNOTSUPP, libc::EINVAL, libc::ERANGE];
        code(source.as_ref()).is_some_and(|code| refusals.contains(&code))
    }
}

/// The kernel's reason at the bottom of an error.
fn code(error: &(dyn std::error::Error + 'static)) -> Option<i32> {
    let mut cause = Some(error);
    while let Some(error) = cause {
        let code = error.downcast_ref::<io::Error>().and_then(io::Error::raw_os_error);
        if code.is_some() {
            return code;
        }
        cause = error.source();
    }
    None
}
