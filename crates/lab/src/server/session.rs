//! The agents' streams.

use super::Shared;
use super::desk::SessionId;
use futures::Stream;
use mizar_proto::pb::{self, controller_server};
use mizar_proto::{Ack, AgentMessage, ControllerMessage, Hello, Outcome, PROTOCOL};
use mizar_vpc::{HostConfig, Name};
use std::pin::Pin;
use tokio::net::UnixListener;
use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::{ReceiverStream, UnixListenerStream};
use tonic::{Request, Response, Status, Streaming};

/// Most rows in one message: far below the 4 MiB that a message may have.
const BATCH_ROWS: usize = 1000;
/// Messages that wait for a slow agent; the rest waits on the desk.
const QUEUE: usize = 4;

type Outgoing = mpsc::Sender<Result<pb::ControllerMessage, Status>>;

/// Serves all agents of a lab, until the listener fails.
pub(super) async fn serve_agents(
    listener: UnixListener,
    shared: Shared,
) -> Result<(), tonic::transport::Error> {
    tonic::transport::Server::builder()
        .add_service(controller_server::ControllerServer::new(Controller(shared)))
        .serve_with_incoming(UnixListenerStream::new(listener))
        .await
}

#[derive(Debug)]
struct Controller(Shared);

#[tonic::async_trait]
impl controller_server::Controller for Controller {
    type ConnectStream =
        Pin<Box<dyn Stream<Item = Result<pb::ControllerMessage, Status>> + Send + 'static>>;

    async fn connect(
        &self,
        request: Request<Streaming<pb::AgentMessage>>,
    ) -> Result<Response<Self::ConnectStream>, Status> {
        let (outgoing, messages) = mpsc::channel(QUEUE);
        let shared = self.0.clone();
        tokio::spawn(async move {
            if let Err(status) = run(&shared, request.into_inner(), &outgoing).await {
                // If nobody listens any more, nobody needs to know.
                let _ = outgoing.send(Err(status)).await;
            }
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(messages))))
    }
}

/// One stream of an agent, from its hello to its end.
async fn run(
    shared: &Shared,
    mut incoming: Streaming<pb::AgentMessage>,
    outgoing: &Outgoing,
) -> Result<(), Status> {
    let Hello { host, protocol, positions } = match receive(&mut incoming).await? {
        Some(AgentMessage::Hello(hello)) => hello,
        Some(AgentMessage::Ack(_)) => return Err(Status::invalid_argument("hello comes first")),
        None => return Ok(()),
    };
    if protocol != PROTOCOL {
        let reason = format!("protocol {protocol}: this server speaks {PROTOCOL}");
        return Err(Status::failed_precondition(reason));
    }
    let opened = shared.desk().open(&host, &positions);
    let Some((session, config)) = opened else {
        return Err(Status::not_found(format!("host {host} is not in the lab")));
    };
    tracing::info!(%host, positions = positions.len(), "agent connected");
    let changes = shared.changed.subscribe();
    let result = tokio::select! {
        result = send_all(shared, &host, (session, config), outgoing, changes) => result,
        result = receive_all(shared, &host, session, &mut incoming) => result,
    };
    shared.desk().close(&host, session);
    shared.changed.send_replace(());
    tracing::info!(%host, "agent gone");
    result
}

/// Sends whatever there is to send, whenever there may be something.
async fn send_all(
    shared: &Shared,
    host: &Name,
    (session, config): (SessionId, HostConfig),
    outgoing: &Outgoing,
    mut changes: watch::Receiver<()>,
) -> Result<(), Status> {
    let mut messages = vec![ControllerMessage::Config(config)];
    loop {
        for message in messages.drain(..) {
            if outgoing.send(Ok(message.into())).await.is_err() {
                return Ok(());
            }
        }
        let updates = shared.desk().updates(host, session);
        let Some(updates) = updates else {
            return Err(Status::aborted(format!("host {host} has opened another stream")));
        };
        for update in updates {
            tracing::debug!(
                %host, vni = %update.vni, generation = %update.generation, rows = update.len(),
                full = update.base.is_none(), "update"
            );
            messages.extend(update.batches(BATCH_ROWS).into_iter().map(ControllerMessage::Update));
        }
        if messages.is_empty() && changes.changed().await.is_err() {
            return Ok(());
        }
    }
}

/// Takes down what the agent acknowledges.
async fn receive_all(
    shared: &Shared,
    host: &Name,
    session: SessionId,
    incoming: &mut Streaming<pb::AgentMessage>,
) -> Result<(), Status> {
    while let Some(message) = receive(incoming).await? {
        let Ack { vni, generation, outcome } = match message {
            AgentMessage::Ack(ack) => ack,
            AgentMessage::Hello(_) => return Err(Status::invalid_argument("hello comes once")),
        };
        match outcome {
            Outcome::Applied(errors) => {
                let errors = errors.into_iter().map(|error| (error.row.to_string(), error.reason));
                let errors = errors.collect();
                shared.desk().acknowledge(host, session, (vni, generation), errors);
            }
            Outcome::Refused(reason) => {
                tracing::warn!(%host, %vni, %generation, %reason, "update refused");
                shared.desk().refuse(host, session, vni, reason);
            }
        }
        shared.changed.send_replace(());
    }
    Ok(())
}

async fn receive(
    incoming: &mut Streaming<pb::AgentMessage>,
) -> Result<Option<AgentMessage>, Status> {
    let message = incoming.message().await?;
    let checked = message.map(AgentMessage::try_from).transpose();
    checked.map_err(|error| Status::invalid_argument(error.to_string()))
}
