//! One host's data plane, taken over or set up, and the tasks that keep it.

use crate::apply::Applier;
use crate::clock::Clock;
use crate::config;
use crate::control::Control;
use crate::driver::Takeover;
use crate::error_chain;
use crate::events::Events;
use crate::hosts::{HostError, Hosts};
use crate::kernel::{self, EventQueue, Kernel, KernelError, Maps, NicMode, Pins, TableError};
use crate::netlink::{self, Earlier, Namespace, Netlink, Nic};
use crate::next_hops::NextHops;
use crate::options::{ModeChoice, Options, underlay_of};
use crate::ports::Ports;
use crate::probe::Prober;
use crate::sweep::Sweeper;
use crate::usage::Used;
use mizar_packet::tables::Config;
use mizar_vpc::Mtu;
use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use thiserror::Error;
use tokio::sync::mpsc;
use tracing::{info, warn};

/// Why an agent cannot start.
#[derive(Debug, Error)]
pub enum StartError {
    /// Generic XDP on a NIC whose frames it would have to copy.
    #[error(
        "mode generic does not work on {nic}, which hands over aggregated buffers: the kernel \
         loses the Ethernet header of frames that it copies for generic XDP; use tc or auto"
    )]
    GenericAggregated {
        /// The NIC.
        nic: String,
    },
    /// The data plane.
    #[error(transparent)]
    Kernel(#[from] KernelError),
    /// The kernel's network stack.
    #[error(transparent)]
    Netlink(#[from] netlink::Error),
    /// A table.
    #[error(transparent)]
    Table(#[from] TableError),
    /// This host's own row.
    #[error(transparent)]
    Host(#[from] HostError),
    /// The NIC has no address.
    #[error("NIC {nic} has no IPv4 address: give it one, or name the underlay address")]
    NoUnderlay {
        /// Its name.
        nic: String,
    },
    /// The NIC's MTU.
    #[error("MTU of NIC {nic}: {problem}")]
    Mtu {
        /// Its name.
        nic: String,
        /// What is wrong with it.
        problem: String,
    },
    /// Something of the system.
    #[error("cannot {action}")]
    System {
        /// What was tried.
        action: &'static str,
        /// The reason.
        #[source]
        source: io::Error,
    },
}

/// What stands after a start.
pub(crate) struct Node {
    pub(crate) maps: Arc<Maps>,
    pub(crate) hosts: Arc<Hosts>,
    pub(crate) clock: Clock,
    pub(crate) netlink: Netlink,
    pub(crate) nic: Nic,
    pub(crate) underlay: Ipv4Addr,
    /// How the programs at work take frames from the NIC, and why.
    pub(crate) attached: (NicMode, String),
    /// The other layouts whose programs are at work.
    pub(crate) others: Vec<u32>,
    pub(crate) takeover: Option<Takeover>,
    pub(crate) applier: Applier,
    pub(crate) used: Arc<Used>,
    pub(crate) tasks: Tasks,
}

/// What keeps the data plane current, apart from the controller's updates.
pub(crate) struct Tasks {
    events: Events,
    queue: EventQueue,
    next_hops: NextHops,
    wanted: mpsc::UnboundedReceiver<IpAddr>,
    prober: Arc<Prober>,
    sweeper: Sweeper,
}

impl Node {
    /// Takes over what is pinned, or sets it up: tables first, programs last.
    pub(crate) async fn start(options: &Options) -> Result<Self, StartError> {
        let netlink = Netlink::open(Namespace::current()?, &options.instance).await?;
        let nic = netlink.nic(&options.nic).await?;
        let underlay = options.underlay.or_else(|| underlay_of(&nic.addresses));
        let underlay = underlay.ok_or_else(|| StartError::NoUnderlay { nic: nic.name.clone() })?;
        let (mtu, guest_mtu) = mtus(&nic)?;
        if nic.aggregates && options.mode == ModeChoice::Fixed(NicMode::Generic) {
            return Err(StartError::GenericAggregated { nic: nic.name });
        }
        let opened = Opened::open(options, &nic, underlay, mtu)?;
        let Opened { kernel, maps, hosts, clock, row, wanted } = opened;
        let control = Control::open(&row, Arc::clone(&maps), Arc::clone(&hosts));
        let control = Arc::new(control.map_err(system("open a raw packet socket"))?);
        let prober = Prober::new((&maps, &hosts, &control), clock, row.echo_cookie);
        let prober = Arc::new(prober);
        let (queue, trampoline) = (kernel.events()?, kernel.trampoline().try_clone_to_owned());
        let trampoline = trampoline.map_err(system("keep the guests' program"))?;
        let others = kernel.others();
        let takeover = Takeover {
            kernel,
            nic: nic.clone(),
            mode: options.mode,
            netlink: netlink.clone(),
            prober: Arc::clone(&prober),
        };
        let (attached, takeover) = takeover.begin(&others).await?;
        let (mode, reason, hz, nic_name) = (attached.0, &attached.1, clock.hz(), &nic.name);
        info!(nic = nic_name, %mode, reason, hz, %underlay, guest_mtu, "programs attached");
        let earlier = if takeover.is_some() { Earlier::Kept } else { Earlier::Replaced };
        let programs = (trampoline, earlier);
        let ports = Ports::recover(Arc::clone(&maps), netlink.clone(), programs).await?;
        let used = Arc::<Used>::default();
        let tables = (Arc::clone(&maps), Arc::clone(&hosts), Arc::clone(&used));
        let applier = Applier::recover(tables, ports, Arc::clone(&control), guest_mtu)?;
        let next_hops = NextHops::new(
            (Arc::clone(&maps), clock),
            netlink.clone(),
            Arc::clone(&hosts),
            Arc::clone(&prober),
            nic.index,
        );
        let events = Events {
            maps: Arc::clone(&maps),
            hosts: Arc::clone(&hosts),
            control,
            prober: Arc::clone(&prober),
            underlay: underlay.into(),
        };
        let sweeper = Sweeper {
            maps: Arc::clone(&maps),
            hosts: Arc::clone(&hosts),
            used: Arc::clone(&used),
            clock,
        };
        let tasks = Tasks { events, queue, next_hops, wanted, prober, sweeper };
        Ok(Self {
            maps,
            hosts,
            clock,
            netlink,
            nic,
            underlay,
            attached,
            others,
            takeover,
            applier,
            used,
            tasks,
        })
    }
}

/// The tables, with this host in them.
struct Opened {
    kernel: Kernel,
    maps: Arc<Maps>,
    hosts: Arc<Hosts>,
    clock: Clock,
    row: Config,
    wanted: mpsc::UnboundedReceiver<IpAddr>,
}

impl Opened {
    /// Opens what is pinned, or makes it.
    fn open(
        options: &Options,
        nic: &Nic,
        underlay: Ipv4Addr,
        mtu: u16,
    ) -> Result<Self, StartError> {
        let pins = Pins::of_layout(&options.pins, options.layout);
        let (kernel, maps) = Kernel::load(pins, &options.sizes)?;
        let maps = Arc::new(maps);
        let found = config::found(&maps)?;
        info!(pins = %options.pins.display(), taken_over = found.is_some(), "tables open");
        // HZ is a property of the kernel, and pins do not outlive a kernel.
        let clock = Clock::measure(found.map(|found| found.hz));
        let clock = clock.map_err(system("read the kernel's clock"))?;
        let (want, wanted) = mpsc::unbounded_channel();
        let hosts = Arc::new(Hosts::recover(Arc::clone(&maps), underlay.into(), mtu, want)?);
        let row = config::row((found, kernel.carried()), nic, underlay, &clock);
        let mut row = row.map_err(system("read random numbers"))?;
        row.own_host = hosts.ensure(underlay.into())?;
        row.port_bits = maps.ports.bits();
        if found != Some(row) {
            maps.config.put(&0, &row)?;
        }
        Ok(Self { kernel, maps, hosts, clock, row, wanted })
    }
}

impl Tasks {
    /// Runs for ever.
    ///
    /// # Errors
    /// The kernel's events cannot be read any longer.
    pub(crate) async fn run(self) -> Result<(), StartError> {
        let Self { events, queue, next_hops, wanted, prober, sweeper } = self;
        let events = async {
            let ended = events.run(queue).await;
            ended.map_err(|source| StartError::System { action: "wait for events", source })
        };
        let next_hops = async { next_hops.run(wanted).await.map_err(StartError::from) };
        let others = async {
            tokio::join!(prober.run(), prober.pace(), sweeper.run());
            Ok(())
        };
        tokio::try_join!(events, next_hops, others).map(drop)
    }
}

/// A NIC whose frames come as buffers of several sends such buffers too. The far end's kernel marks
/// what is unwrapped in tc as tunnelled still, and so cannot cut a guest's buffer of datagrams for
/// the socket that it is for (seen with 6.18): they would be lost without being counted anywhere.
async fn cut_datagrams(netlink: &Netlink, nic: &str) {
    if let Err(error) = netlink.cut_datagrams(nic).await {
        warn!(nic, error = error_chain(&error), "guests' UDP segmentation may lose datagrams");
    }
}

/// Attaches in the mode that was asked for, or in the best one; which, and why.
pub(crate) async fn attach(
    netlink: &Netlink,
    kernel: &mut Kernel,
    nic: &Nic,
    choice: ModeChoice,
) -> Result<(NicMode, String), KernelError> {
    let attached = attach_to(netlink, kernel, nic, choice).await?;
    if attached.0 == NicMode::Tc {
        cut_datagrams(netlink, &nic.name).await;
    }
    Ok(attached)
}

async fn attach_to(
    netlink: &Netlink,
    kernel: &mut Kernel,
    nic: &Nic,
    choice: ModeChoice,
) -> Result<(NicMode, String), KernelError> {
    let link = kernel::Nic { name: &nic.name, index: nic.index };
    let reason = match choice {
        ModeChoice::Fixed(mode) => {
            kernel.attach(netlink, link, mode).await?;
            return Ok((mode, "as told".to_owned()));
        }
        ModeChoice::Auto if nic.aggregates => {
            format!("{} hands over aggregated buffers already", nic.driver)
        }
        ModeChoice::Auto => match kernel.attach(netlink, link, NicMode::Native).await {
            Ok(()) => return Ok((NicMode::Native, format!("{} has XDP", nic.driver))),
            Err(KernelError::Attach(error)) if error.is_driver() => error_chain(&error),
            Err(error) => return Err(error),
        },
    };
    kernel.attach(netlink, link, NicMode::Tc).await?;
    Ok((NicMode::Tc, reason))
}

/// The MTU of outer packets and that of guests.
fn mtus(nic: &Nic) -> Result<(u16, u16), StartError> {
    // A NIC may take more than an IP packet can have.
    let outer = u16::try_from(nic.mtu).unwrap_or(u16::MAX);
    match Mtu::try_from(outer) {
        Ok(mtu) => Ok((outer, mtu.guest())),
        Err(problem) => {
            Err(StartError::Mtu { nic: nic.name.clone(), problem: problem.to_string() })
        }
    }
}

fn system(action: &'static str) -> impl Fn(io::Error) -> StartError {
    move |source| StartError::System { action, source }
}
