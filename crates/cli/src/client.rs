//! Questions to an agent on its local socket.

use anyhow::{Context, Result, anyhow};
use hyper_util::rt::TokioIo;
use mizar_proto::pb::agent_client::AgentClient;
use mizar_proto::{Counters, Look, Looked, Status, pb};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::net::UnixStream;
use tonic::Code;
use tonic::transport::{Channel, Endpoint};

/// How long an agent may take for an answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// A connection to an agent.
pub(crate) struct Client {
    agent: AgentClient<Channel>,
    socket: PathBuf,
}

impl Client {
    /// Connects to the agent that listens on a socket.
    ///
    /// # Errors
    /// Nobody listens there, or this user may not connect; says what to do.
    pub(crate) async fn connect(socket: &Path) -> Result<Self> {
        // Tried first by itself: the transport's own error says nothing of the reason.
        let tried = UnixStream::connect(socket).await;
        let path = socket.display();
        tried.map_err(|error| match error.kind() {
            ErrorKind::NotFound | ErrorKind::ConnectionRefused => {
                anyhow!("no agent listens on {path}: start it, or name its socket with --socket")
            }
            ErrorKind::PermissionDenied => {
                anyhow!("the agent's socket {path} is its own user's: try sudo")
            }
            _ => anyhow!(error).context(format!("cannot connect to the agent on {path}")),
        })?;
        let dial = socket.to_owned();
        let connector = tower::service_fn(move |_| {
            let socket = dial.clone();
            async move { UnixStream::connect(socket).await.map(TokioIo::new) }
        });
        // The connector ignores the address, which HTTP/2 needs for its headers.
        let endpoint = Endpoint::from_static("http://agent").timeout(PATIENCE);
        let channel = endpoint.connect_with_connector(connector).await;
        let channel = channel.with_context(|| format!("cannot speak to the agent on {path}"))?;
        Ok(Self { agent: AgentClient::new(channel), socket: socket.to_owned() })
    }

    /// How the agent stands.
    pub(crate) async fn status(&mut self) -> Result<Status> {
        let answer = self.agent.status(pb::StatusRequest {}).await;
        let answer = answer.map_err(|error| self.refused(&error))?.into_inner();
        answer.try_into().with_context(|| self.malformed())
    }

    /// What its host has counted.
    pub(crate) async fn counters(&mut self) -> Result<Counters> {
        let answer = self.agent.counters(pb::CountersRequest {}).await;
        let answer = answer.map_err(|error| self.refused(&error))?.into_inner();
        answer.try_into().with_context(|| self.malformed())
    }

    /// Its metrics, in the text format of Prometheus.
    pub(crate) async fn metrics(&mut self) -> Result<String> {
        let answer = self.agent.metrics(pb::MetricsRequest {}).await;
        Ok(answer.map_err(|error| self.refused(&error))?.into_inner().text)
    }

    /// The rows that decide what becomes of packets, or why they are not to be had.
    ///
    /// # Errors
    /// The agent does not answer.
    pub(crate) async fn look(&mut self, look: &Look) -> Result<Result<Looked, String>> {
        let answer = match self.agent.look(pb::Look::from(look.clone())).await {
            Ok(answer) => answer.into_inner(),
            Err(error) if error.code() == Code::FailedPrecondition => {
                return Ok(Err(error.message().to_owned()));
            }
            Err(error) => return Err(self.refused(&error)),
        };
        answer.try_into().map(Ok).with_context(|| self.malformed())
    }

    fn refused(&self, error: &tonic::Status) -> anyhow::Error {
        anyhow!("the agent on {} does not answer: {}", self.socket.display(), error.message())
    }

    fn malformed(&self) -> String {
        format!("the answer of the agent on {} is malformed", self.socket.display())
    }
}
