//! Building a lab, and changing one that is up.

use crate::fabric::{self, Fabric, LinkOptions};
use crate::layout::{Layout, STATE_FOLDER};
use crate::lock::Lock;
use crate::plan::{self, Plan};
use crate::status::{self, Status};
use crate::topology::Topology;
use crate::{Error, bpffs, change, controller, down, parts, process, record};
use mizar_controller::api::body::ChangeBody;
use mizar_vpc::{Manifest, Name};
use std::collections::BTreeSet;
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How often the lab is looked at while it becomes ready.
const INTERVAL: Duration = Duration::from_millis(50);

/// How a lab is built.
#[derive(Clone, Debug)]
pub struct Options {
    /// The program that is run as `mizar agent` and `mizar controller`.
    pub executable: PathBuf,
    /// How long hosts and guests may take to become ready.
    pub timeout: Duration,
}

impl Options {
    /// This very program, and a minute.
    ///
    /// # Errors
    ///
    /// When the path of this program is unknown.
    pub fn new() -> std::io::Result<Self> {
        Ok(Self { executable: std::env::current_exe()?, timeout: Duration::from_secs(60) })
    }
}

/// What happens while a lab is built or changed. As text, a line for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Progress {
    /// The fabric stands, and the lab's controller answers.
    Serving,
    /// A host's namespace is linked to the fabric.
    Host(String),
    /// A guest's namespace exists.
    Guest(String),
    /// A host's agent was started.
    Agent(String),
    /// So many hosts and guests are not ready yet.
    Waiting(usize),
    /// Everything is ready, after this time.
    Ready(Duration),
}

impl fmt::Display for Progress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Serving => f.write_str("the lab's controller answers"),
            Self::Host(name) => write!(f, "host {name} is linked to the fabric"),
            Self::Guest(name) => write!(f, "guest {name} has its namespace"),
            Self::Agent(name) => write!(f, "the agent of host {name} is started"),
            Self::Waiting(count) => write!(f, "waiting for {count} hosts and guests"),
            Self::Ready(after) => write!(f, "ready after {:.1} s", after.as_secs_f64()),
        }
    }
}

/// Builds a lab and waits until it is ready: every host has what it should have, and every guest
/// its interface. A lab that does not become ready is removed again, and so is one interrupted by
/// Ctrl-C.
///
/// # Errors
///
/// When the topology is wrong, a lab of that name exists, the caller is not root, or something on
/// the way fails; the message names the host or guest.
pub async fn up(
    topology: &Topology,
    options: &Options,
    mut progress: impl FnMut(&Progress),
) -> Result<Status, Error> {
    let plan = Plan::new(topology)?;
    crate::check_root()?;
    let layout = Layout::new(&topology.lab);
    let _lock = Lock::create(&layout)?;
    let built = tokio::select! {
        built = build(&layout, topology, &plan, options, &mut progress) => built,
        _ = tokio::signal::ctrl_c() => Err(Error::Interrupted),
    };
    if built.is_err() {
        // What went wrong first matters more than what could not be removed after it.
        if let Err(remnants) = down::remove(&layout).await {
            tracing::warn!("{remnants}");
        }
    }
    built
}

/// Changes a lab that is up to another topology: networks and endpoints are added, removed and
/// moved. Its hosts and underlay stay as they are. What is in the VPCs and not in the topology
/// goes, whoever has made it.
///
/// # Errors
///
/// When there is no such lab, the topology is wrong or changes what must stay, or the change does
/// not become ready in time. A wrong topology changes nothing.
pub async fn apply(
    topology: &Topology,
    timeout: Duration,
    mut progress: impl FnMut(&Progress),
) -> Result<Status, Error> {
    let started = Instant::now();
    let plan = Plan::new(topology)?;
    crate::check_root()?;
    let layout = Layout::new(&topology.lab);
    let no_lab = || Error::NoLab(topology.lab.clone());
    let _lock = Lock::existing(&layout)?.ok_or_else(no_lab)?;
    plan::refuse_fixed(&record::load(&layout)?, topology)?;
    let asked = controller::resources(&controller::client(&layout), change::KINDS).await;
    let present = asked.map_err(|source| controller::silent(&layout, source))?.concat();
    let (old, new) = (guests(&present), guests(&plan.manifests));

    for (vpc, endpoint) in new.difference(&old) {
        // One may be left from a change that did not become ready.
        remove_guest(&layout, vpc, endpoint).await?;
        make_guest(&layout, vpc, endpoint, &mut progress).await?;
    }
    let changed = controller::change(&layout, &plan, change::changes(&plan, &present)).await;
    if let Err(error) = changed {
        for (vpc, endpoint) in new.difference(&old) {
            remove_guest(&layout, vpc, endpoint).await?;
        }
        return Err(error);
    }
    record::save(&layout, topology)?;
    let status = wait_until_ready(&layout, &plan, started + timeout, &mut progress).await?;
    for (vpc, endpoint) in old.difference(&new) {
        remove_guest(&layout, vpc, endpoint).await?;
    }
    progress(&Progress::Ready(started.elapsed()));
    Ok(status)
}

/// Makes a namespace for a guest that a manifest will attach, and says how it has to.
///
/// # Errors
///
/// When there is no such lab, or the guest has its namespace already.
pub async fn add_guest(
    lab: &str,
    vpc: &Name,
    endpoint: &Name,
) -> Result<mizar_vpc::Attachment, Error> {
    let (layout, _) = parts::built(lab)?;
    fabric::add_guest(&layout.guest_namespace(vpc.as_str(), endpoint.as_str())).await?;
    Ok(plan::guest_attachment(&layout, vpc, endpoint))
}

async fn build(
    layout: &Layout,
    topology: &Topology,
    plan: &Plan,
    options: &Options,
    progress: &mut impl FnMut(&Progress),
) -> Result<Status, Error> {
    let started = Instant::now();
    let deadline = started + options.timeout;
    record::save(layout, topology)?;
    bpffs::ensure_mounted(Path::new(STATE_FOLDER)).map_err(Error::BpfFs)?;
    let (offloads, mode) = (topology.underlay.offloads, topology.underlay.mode);
    let links = LinkOptions { mtu: plan::mtu(topology)?.get(), offloads, mode };
    let fabric = Fabric::create(layout.fabric_namespace(), links).await?;
    parts::launch_controller(layout, &options.executable)?;
    controller::answers(layout, deadline).await?;
    progress(&Progress::Serving);
    for (index, host) in (0..).zip(&plan.hosts) {
        fabric.add_host(&layout.host_namespace(host.as_str()), index).await?;
        progress(&Progress::Host(host.to_string()));
    }
    for (vpc, endpoint) in guests(&plan.manifests) {
        make_guest(layout, &vpc, &endpoint, progress).await?;
    }
    // An agent is turned away until its host is in the fleet.
    let manifests = plan.manifests.iter().cloned().map(ChangeBody::Apply);
    controller::change(layout, plan, manifests.collect()).await?;
    for host in &plan.hosts {
        parts::launch_agent(layout, topology, host.as_str(), &options.executable)?;
        progress(&Progress::Agent(host.to_string()));
    }
    let status = wait_until_ready(layout, plan, deadline, progress).await?;
    progress(&Progress::Ready(started.elapsed()));
    Ok(status)
}

/// Waits until nothing is missing. An agent that has ended will not come back: that is an error at
/// once.
async fn wait_until_ready(
    layout: &Layout,
    plan: &Plan,
    deadline: Instant,
    progress: &mut impl FnMut(&Progress),
) -> Result<Status, Error> {
    let topology = record::load(layout)?;
    let mut last = None;
    loop {
        let looked = Instant::now();
        let status = status::of(layout, &topology, plan).await;
        let missing = status.missing();
        if missing.is_empty() {
            return Ok(status);
        }
        let is_dead = status.controller.process.is_none()
            || status.hosts.iter().any(|host| host.agent.is_none());
        if is_dead || Instant::now() >= deadline {
            return Err(Error::NotReady { lab: layout.lab().to_owned(), missing });
        }
        if last.replace(missing.len()) != Some(missing.len()) {
            progress(&Progress::Waiting(missing.len()));
        }
        // Looking at a large lab takes long: most of the time is left to what is waited for.
        tokio::time::sleep(INTERVAL.max(looked.elapsed())).await;
    }
}

async fn make_guest(
    layout: &Layout,
    vpc: &Name,
    endpoint: &Name,
    progress: &mut impl FnMut(&Progress),
) -> Result<(), Error> {
    fabric::add_guest(&layout.guest_namespace(vpc.as_str(), endpoint.as_str())).await?;
    progress(&Progress::Guest(format!("{vpc}/{endpoint}")));
    Ok(())
}

/// Removes a guest's namespace and what still runs inside.
async fn remove_guest(layout: &Layout, vpc: &Name, endpoint: &Name) -> Result<(), Error> {
    let namespace = layout.guest_namespace(vpc.as_str(), endpoint.as_str());
    process::end(&process::inside(layout.lab(), std::slice::from_ref(&namespace))).await?;
    Ok(namespace.remove()?)
}

/// The guests among resources, as VPC and endpoint. Hosts that are endpoints have their namespaces.
fn guests(manifests: &[Manifest]) -> BTreeSet<(Name, Name)> {
    let guest = |manifest: &Manifest| match manifest {
        Manifest::Endpoint(it) if !it.spec.attachment.is_host() => {
            Some((it.metadata.vpc.clone()?, it.metadata.name.clone()))
        }
        _ => None,
    };
    manifests.iter().filter_map(guest).collect()
}
