//! The way from agents to their controller, which can be cut: for some hosts, in one direction or
//! in both. What is sent meanwhile waits on the way, and whoever sends it is not told.

use crate::world::World;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{UnixListener, UnixStream};
use tokio::runtime::Runtime;

/// How often it is looked whether a way is open again.
const GLANCE: Duration = Duration::from_millis(20);

/// A direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Way {
    ToAgents,
    ToController,
}

/// Stands at the controller's socket, in front of the controller.
pub(crate) struct Relay {
    socket: PathBuf,
    moved: PathBuf,
    closed: Closed,
    _runtime: Runtime,
}

/// The ways that are cut, by the agent's process.
type Closed = Arc<Mutex<BTreeSet<(i32, Way)>>>;

impl Relay {
    /// All agents are started anew, and dial it.
    pub(crate) fn start(world: &mut World) -> Self {
        let socket = world.controller_socket();
        let moved = socket.with_extension("behind");
        let closed = Closed::default();
        let runtime = Runtime::new().unwrap();
        std::fs::rename(&socket, &moved).unwrap();
        let listener = {
            let _entered = runtime.enter();
            UnixListener::bind(&socket).unwrap()
        };
        runtime.spawn(serve(listener, moved.clone(), Arc::clone(&closed)));
        let hosts = world.hosts();
        hosts.iter().for_each(|host| world.kill_agent(host));
        hosts.iter().for_each(|host| world.start_agent(host));
        world.becomes_ready();
        Self { socket, moved, closed, _runtime: runtime }
    }

    /// Cuts the ways between some hosts and the controller.
    pub(crate) fn cut(&self, world: &World, hosts: &[&str], ways: &[Way]) {
        let mut closed = self.closed.lock().unwrap();
        for host in hosts {
            let agent = world.host(host).agent.unwrap();
            closed.extend(ways.iter().map(|way| (agent, *way)));
        }
    }

    /// All ways are open.
    pub(crate) fn heal(&self) {
        self.closed.lock().unwrap().clear();
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        // As it was, for whoever takes the lab down.
        let _ = std::fs::rename(&self.moved, &self.socket);
    }
}

async fn serve(listener: UnixListener, controller: PathBuf, closed: Closed) {
    loop {
        let (agent, _) = listener.accept().await.unwrap();
        tokio::spawn(relay(agent, controller.clone(), Arc::clone(&closed)));
    }
}

async fn relay(agent: UnixStream, controller: impl AsRef<Path>, closed: Closed) {
    let process = agent.peer_cred().ok().and_then(|peer| peer.pid()).unwrap_or_default();
    let Ok(controller) = UnixStream::connect(controller).await else { return };
    let (from_agent, to_agent) = agent.into_split();
    let (from_controller, to_controller) = controller.into_split();
    let there = carry(from_agent, to_controller, (process, Way::ToController), &closed);
    let back = carry(from_controller, to_agent, (process, Way::ToAgents), &closed);
    tokio::join!(there, back);
}

/// Carries bytes, and then the end, as far as the way is open.
async fn carry(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    way: (i32, Way),
    closed: &Mutex<BTreeSet<(i32, Way)>>,
) {
    let mut bytes = vec![0; 64 << 10];
    loop {
        let count = from.read(&mut bytes).await.unwrap_or_default();
        while closed.lock().unwrap().contains(&way) {
            tokio::time::sleep(GLANCE).await;
        }
        if count == 0 || to.write_all(&bytes[..count]).await.is_err() {
            return;
        }
    }
}
