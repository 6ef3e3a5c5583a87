//! The processes of a lab: its controller, and the agents of its hosts.

use crate::layout::Layout;
use crate::process::{self, Launch, Process};
use crate::topology::Topology;
use crate::{Error, fabric, plan, record};
use mizar_vpc::Name;
use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

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
    refuse_second(&format!("the agent of host {host}"), &layout.agent_record(host))?;
    launch_agent(&layout, &topology, host, executable)
}

/// Starts the controller of a lab that has none. It goes on where the last one was.
///
/// # Errors
///
/// When there is no such lab, its controller runs, or it cannot be started.
pub fn start_controller(lab: &str, executable: &Path) -> Result<(), Error> {
    let (layout, _) = built(lab)?;
    refuse_second("the lab's controller", &layout.controller_record())?;
    launch_controller(&layout, executable)
}

/// A lab that is there, and what it was built from.
pub(crate) fn built(lab: &str) -> Result<(Layout, Topology), Error> {
    crate::check_root()?;
    let layout = Layout::new(plan::lab_name(lab)?.as_str());
    if !layout.topology().exists() {
        return Err(Error::NoLab(lab.to_owned()));
    }
    let topology = record::load(&layout)?;
    Ok((layout, topology))
}

/// Starts the lab's controller.
pub(crate) fn launch_controller(layout: &Layout, executable: &Path) -> Result<(), Error> {
    let options = [
        ("--data", layout.controller_data().into()),
        ("--socket", layout.controller_socket().into()),
    ];
    Process::start(&Launch {
        program: executable.to_owned(),
        arguments: arguments("controller", options),
        lab: layout.lab().to_owned(),
        // It needs no network, but whatever lives in the lab's namespaces is found by `down`.
        namespace: Some(layout.fabric_namespace()),
        log: layout.controller_log(),
        record: layout.controller_record(),
    })?;
    Ok(())
}

/// Starts the agent of a host inside the host.
pub(crate) fn launch_agent(
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
        arguments: arguments("agent", options),
        lab: layout.lab().to_owned(),
        namespace: Some(layout.host_namespace(host)),
        log: layout.agent_log(host),
        record: layout.agent_record(host),
    })?;
    Ok(())
}

fn refuse_second(what: &str, record: &Path) -> Result<(), Error> {
    match Process::read(record).filter(|process| process.is_alive()) {
        Some(process) => Err(Error::Running { what: what.to_owned(), pid: process.pid }),
        None => Ok(()),
    }
}

fn lab_with_host(lab: &str, host: &str) -> Result<(Layout, Topology), Error> {
    let (layout, topology) = built(lab)?;
    let hosts = plan::host_names(&topology)?;
    if hosts.iter().any(|name| name.as_str() == host) {
        return Ok((layout, topology));
    }
    let known = hosts.iter().map(Name::as_str).collect::<Vec<_>>().join(", ");
    let (lab, target) = (lab.to_owned(), host.to_owned());
    Err(crate::ExecError::Unknown { lab, target, known }.into())
}

fn arguments<const N: usize>(command: &str, options: [(&str, OsString); N]) -> Vec<OsString> {
    let options = options.into_iter().flat_map(|(option, value)| [option.into(), value]);
    std::iter::once(command.into()).chain(options).collect()
}
