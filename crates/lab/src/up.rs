//! Building a lab, and changing one that is up.

use crate::control::{self, Request, View};
use crate::fabric::{self, Fabric, LinkOptions};
use crate::layout::{Layout, STATE_FOLDER};
use crate::lock::Lock;
use crate::plan::{self, Plan};
use crate::process::{self, Launch, Process};
use crate::server::store;
use crate::status::{self, Status};
use crate::topology::Topology;
use crate::{Error, bpffs, down, log};
use mizar_vpc::{Endpoint, Name, VpcIntent};
use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fmt;
use std::fs;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How often the lab is looked at while it becomes ready.
const INTERVAL: Duration = Duration::from_millis(50);

/// How a lab is built.
#[derive(Clone, Debug)]
pub struct Options {
    /// The program that is run as `mizar agent` and `mizar lab serve`.
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
    /// The fabric stands, and the lab's server runs.
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
            Self::Serving => f.write_str("the lab's server runs"),
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
    let plan = Plan::new(topology, None)?;
    crate::check_root()?;
    let layout = Layout::new(&topology.lab);
    let _lock = Lock::create(&layout)?;
    let built = tokio::select! {
        built = build(&layout, &plan, options, &mut progress) => built,
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
/// moved. Its hosts and underlay stay as they are.
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
    crate::check_root()?;
    let layout = Layout::new(plan::lab_name(&topology.lab)?.as_str());
    let no_lab = || Error::NoLab(topology.lab.clone());
    let _lock = Lock::existing(&layout)?.ok_or_else(no_lab)?;
    let before = Plan::of(store::load(&layout)?)?;
    let after = Plan::new(topology, Some(&before))?;
    let (old, new) = (guests(&before), guests(&after));

    for (vpc, endpoint) in new.difference(&old) {
        // One may be left from a change that did not become ready.
        remove_guest(&layout, vpc, endpoint).await?;
        add_guest(&layout, vpc, endpoint, &mut progress).await?;
    }
    control::ask(&layout, &Request::Apply(Box::new(topology.clone()))).await?;
    let status = wait_until_ready(&layout, started + timeout, &mut progress).await?;
    for (vpc, endpoint) in old.difference(&new) {
        remove_guest(&layout, vpc, endpoint).await?;
    }
    progress(&Progress::Ready(started.elapsed()));
    Ok(status)
}

/// Ends the agent of a host. What it has set up stays, and traffic goes on.
///
/// # Errors
///
/// When there is no such lab or host, or the agent does not end.
pub async fn stop_agent(lab: &str, host: &str) -> Result<(), Error> {
    let (layout, _) = lab_with_host(lab, host)?;
    let agent = Process::read(&layout.agent_record(host)).filter(|agent| agent.is_alive());
    Ok(process::end(agent.as_slice()).await?)
}

/// Starts the agent of a host that has none.
///
/// # Errors
///
/// When there is no such lab or host, its agent runs, or it cannot be started.
pub fn start_agent(lab: &str, host: &str, executable: &Path) -> Result<(), Error> {
    let (layout, topology) = lab_with_host(lab, host)?;
    match Process::read(&layout.agent_record(host)).filter(|agent| agent.is_alive()) {
        Some(agent) => Err(Error::Running { host: host.to_owned(), pid: agent.pid }),
        None => launch_agent(&layout, &topology, host, executable),
    }
}

fn lab_with_host(lab: &str, host: &str) -> Result<(Layout, Topology), Error> {
    crate::check_root()?;
    let layout = Layout::new(plan::lab_name(lab)?.as_str());
    if !layout.store().exists() {
        return Err(Error::NoLab(lab.to_owned()));
    }
    let topology = store::load(&layout)?.topology;
    let hosts = plan::host_names(&topology)?;
    if hosts.iter().any(|name| name.as_str() == host) {
        return Ok((layout, topology));
    }
    let known = hosts.iter().map(Name::as_str).collect::<Vec<_>>().join(", ");
    let (lab, target) = (lab.to_owned(), host.to_owned());
    Err(crate::ExecError::Unknown { lab, target, known }.into())
}

async fn build(
    layout: &Layout,
    plan: &Plan,
    options: &Options,
    progress: &mut impl FnMut(&Progress),
) -> Result<Status, Error> {
    let started = Instant::now();
    let deadline = started + options.timeout;
    store::save(layout, &plan.store)?;
    bpffs::ensure_mounted(Path::new(STATE_FOLDER)).map_err(Error::BpfFs)?;
    let topology = &plan.store.topology;
    let (offloads, mode) = (topology.underlay.offloads, topology.underlay.mode);
    let links = LinkOptions { mtu: plan::mtu(topology)?.get(), offloads, mode };
    let fabric = Fabric::create(layout.fabric_namespace(), links).await?;
    start_server(layout, &options.executable, deadline).await?;
    progress(&Progress::Serving);
    let hosts = plan::host_names(topology)?;
    for (index, host) in (0..).zip(&hosts) {
        fabric.add_host(&layout.host_namespace(host.as_str()), index).await?;
        progress(&Progress::Host(host.to_string()));
    }
    for (vpc, endpoint) in guests(plan) {
        add_guest(layout, &vpc, &endpoint, progress).await?;
    }
    for host in &hosts {
        launch_agent(layout, topology, host.as_str(), &options.executable)?;
        progress(&Progress::Agent(host.to_string()));
    }
    let status = wait_until_ready(layout, deadline, progress).await?;
    progress(&Progress::Ready(started.elapsed()));
    Ok(status)
}

async fn start_server(layout: &Layout, executable: &Path, deadline: Instant) -> Result<(), Error> {
    Process::start(&Launch {
        program: executable.to_owned(),
        arguments: arguments(["lab", "serve"], [("--state", layout.state().into())]),
        lab: layout.lab().to_owned(),
        // It needs no network, but whatever lives in the lab's namespaces is found by `down`.
        namespace: Some(layout.fabric_namespace()),
        log: layout.server_log(),
        record: layout.server_record(),
    })?;
    loop {
        let Err(error) = view(layout).await else { return Ok(()) };
        let is_alive = Process::read(&layout.server_record()).is_some_and(Process::is_alive);
        if !is_alive || Instant::now() >= deadline {
            return Err(error);
        }
        tokio::time::sleep(INTERVAL).await;
    }
}

/// What the hosts have told the server; what the server said last if it does not answer.
async fn view(layout: &Layout) -> Result<View, Error> {
    control::ask(layout, &Request::View).await.map_err(|source| {
        let said = log::last_words(&layout.server_log()).unwrap_or_else(|| "nothing".to_owned());
        Error::Server { said, source }
    })
}

/// Starts the agent of a host inside the host.
fn launch_agent(
    layout: &Layout,
    topology: &Topology,
    host: &str,
    executable: &Path,
) -> Result<(), Error> {
    let folder = layout.host(host);
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(&folder)
        .map_err(|source| Error::Folder { path: folder, source })?;
    let mut controller = OsString::from("unix:");
    controller.push(layout.controller_socket());
    let options = [
        ("--host", host.into()),
        ("--nic", fabric::NIC.into()),
        ("--controller", controller),
        ("--socket", layout.agent_socket(host).into()),
        ("--pins", layout.pins(host).into()),
        ("--mode", topology.underlay.mode.as_str().into()),
        // Nobody else's endpoints are in the host's namespace.
        ("--instance", host.into()),
    ];
    Process::start(&Launch {
        program: executable.to_owned(),
        arguments: arguments(["agent"], options),
        lab: layout.lab().to_owned(),
        namespace: Some(layout.host_namespace(host)),
        log: layout.agent_log(host),
        record: layout.agent_record(host),
    })?;
    Ok(())
}

/// Waits until nothing is missing. An agent that has ended will not come back: that is an error at
/// once.
async fn wait_until_ready(
    layout: &Layout,
    deadline: Instant,
    progress: &mut impl FnMut(&Progress),
) -> Result<Status, Error> {
    let plan = Plan::of(store::load(layout)?)?;
    let mut last = None;
    loop {
        let view = view(layout).await?;
        let status = status::of(layout, &plan, &view).await;
        let missing = status.missing();
        if missing.is_empty() {
            return Ok(status);
        }
        let is_dead = status.hosts.iter().any(|host| host.agent.is_none());
        if is_dead || Instant::now() >= deadline {
            return Err(Error::NotReady { lab: layout.lab().to_owned(), missing });
        }
        if last.replace(missing.len()) != Some(missing.len()) {
            progress(&Progress::Waiting(missing.len()));
        }
        tokio::time::sleep(INTERVAL).await;
    }
}

async fn add_guest(
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

fn guests(plan: &Plan) -> BTreeSet<(Name, Name)> {
    let name = |(_, it): (&VpcIntent, &Endpoint)| (it.vpc.clone(), it.name.clone());
    plan.endpoints().map(name).collect()
}

fn arguments<const N: usize, const M: usize>(
    command: [&str; N],
    options: [(&str, OsString); M],
) -> Vec<OsString> {
    let command = command.into_iter().map(OsString::from);
    command.chain(options.into_iter().flat_map(|(option, value)| [option.into(), value])).collect()
}
