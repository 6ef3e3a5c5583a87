//! What the agents of a lab say on their local sockets.

use crate::layout::Layout;
use futures::future::join_all;
use hyper_util::rt::TokioIo;
use mizar_proto::pb::agent_client::AgentClient;
use mizar_proto::{Status, pb};
use mizar_vpc::Name;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;
use tokio::net::UnixStream;
use tonic::transport::{Channel, Endpoint};

/// An agent that does not answer by then has other problems.
const PATIENCE: Duration = Duration::from_secs(2);

/// How the agents of these hosts stand; those that do not answer are left out.
pub(crate) async fn statuses(
    layout: &Layout,
    hosts: impl IntoIterator<Item = &Name>,
) -> BTreeMap<Name, Status> {
    let ask = |host: &Name| {
        let (host, socket) = (host.clone(), layout.agent_socket(host.as_str()));
        async move {
            let asked = tokio::time::timeout(PATIENCE, status(socket)).await;
            asked.ok().flatten().map(|status| (host, status))
        }
    };
    join_all(hosts.into_iter().map(ask)).await.into_iter().flatten().collect()
}

async fn status(socket: PathBuf) -> Option<Status> {
    let response = AgentClient::new(connect(socket).await?).status(pb::StatusRequest {}).await;
    response.ok()?.into_inner().try_into().ok()
}

/// A channel over a Unix socket.
pub(crate) async fn connect(socket: PathBuf) -> Option<Channel> {
    let connector = tower::service_fn(move |_| {
        let socket = socket.clone();
        async move { UnixStream::connect(socket).await.map(TokioIo::new) }
    });
    // The connector ignores the address, which HTTP/2 needs for its headers.
    Endpoint::from_static("http://agent").connect_with_connector(connector).await.ok()
}
