//! How the lab's commands talk to its server: one JSON line each way over a Unix socket.

use crate::layout::Layout;
use crate::topology::Topology;
use mizar_vpc::{Generation, Name, Vni};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;

/// Why the server does not answer.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Nobody listens, or the connection broke.
    #[error("the lab's server does not answer on {path}")]
    Connection {
        /// The socket.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The request was refused; the message says why.
    #[error("{0}")]
    Refused(String),
}

/// What the server is asked for.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Request {
    /// What the hosts have told.
    View,
    /// Another topology of the same lab.
    Apply(Box<Topology>),
}

/// What the hosts have told the server.
pub(crate) type View = BTreeMap<Name, HostView>;

/// What one host has told the server.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct HostView {
    /// Whether its agent's stream stands.
    pub(crate) connected: bool,
    /// Where it stands in every VPC it takes part in.
    pub(crate) vpcs: BTreeMap<Vni, VpcView>,
}

/// Where a host stands in a VPC.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct VpcView {
    /// What it should have.
    pub(crate) wanted: Generation,
    /// What it has acknowledged.
    pub(crate) acked: Option<Generation>,
    /// What it could not do, by row; the row is empty where the whole update was refused.
    pub(crate) errors: BTreeMap<String, String>,
}

/// One answer.
pub(crate) type Answer = Result<View, String>;

/// Asks the server of a lab.
pub(crate) async fn ask(layout: &Layout, request: &Request) -> Result<View, Error> {
    let path = layout.control_socket();
    let exchange = async {
        let mut stream = BufReader::new(UnixStream::connect(&path).await?);
        let mut line = serde_json::to_vec(request)?;
        line.push(b'\n');
        stream.write_all(&line).await?;
        let mut answer = Vec::new();
        stream.read_until(b'\n', &mut answer).await?;
        Ok(serde_json::from_slice::<Answer>(&answer)?)
    };
    let answer =
        exchange.await.map_err(|source| Error::Connection { path: path.clone(), source })?;
    answer.map_err(Error::Refused)
}

/// Answers one connection.
pub(crate) async fn answer(
    stream: UnixStream,
    handle: impl AsyncFnOnce(Request) -> Answer,
) -> io::Result<()> {
    let mut stream = BufReader::new(stream);
    let mut line = Vec::new();
    stream.read_until(b'\n', &mut line).await?;
    let answer = match serde_json::from_slice(&line) {
        Ok(request) => handle(request).await,
        Err(error) => Err(format!("the request is malformed: {error}")),
    };
    let mut line = serde_json::to_vec(&answer)?;
    line.push(b'\n');
    stream.write_all(&line).await
}
