//! The agents' streams over gRPC.

use crate::core::Messages;
use crate::desk::SessionId;
use crate::engine::{Engine, StreamCommand};
use futures::Stream;
use mizar_identity::role::{Action, Kind, Verb, allows};
use mizar_identity::serve::Peer;
use mizar_proto::pb::{self, controller_server};
use mizar_proto::{AgentMessage, Hello};
use mizar_vpc::Name;
use std::pin::Pin;
use tokio::sync::{mpsc, oneshot};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

/// Messages that wait for the network, beside those in the engine's queue of the stream.
const QUEUE: usize = 2;

type Outgoing = mpsc::Sender<Result<pb::ControllerMessage, Status>>;

/// The service that agents dial.
#[derive(Clone, Debug)]
pub(crate) struct Streams(pub(crate) Engine);

#[tonic::async_trait]
impl controller_server::Controller for Streams {
    type ConnectStream =
        Pin<Box<dyn Stream<Item = Result<pb::ControllerMessage, Status>> + Send + 'static>>;

    async fn connect(
        &self,
        request: Request<Streaming<pb::AgentMessage>>,
    ) -> Result<Response<Self::ConnectStream>, Status> {
        let peer = request.extensions().get::<Peer>().cloned();
        let peer = peer.ok_or_else(|| Status::unauthenticated("nobody is known to be there"))?;
        let (outgoing, messages) = mpsc::channel(QUEUE);
        let engine = self.0.clone();
        tokio::spawn(async move {
            if let Err(status) = run(&engine, &peer, request.into_inner(), &outgoing).await {
                // If nobody listens any more, nobody needs to know.
                let _ = outgoing.send(Err(status)).await;
            }
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(messages))))
    }
}

/// One stream of an agent, from its hello to its end.
async fn run(
    engine: &Engine,
    peer: &Peer,
    mut incoming: Streaming<pb::AgentMessage>,
    outgoing: &Outgoing,
) -> Result<(), Status> {
    let hello = match receive(&mut incoming).await? {
        Some(AgentMessage::Hello(hello)) => hello,
        Some(_) => return Err(Status::invalid_argument("hello comes first")),
        None => return Ok(()),
    };
    check(peer, &hello)?;
    let host = hello.host.clone();
    let (reply, opened) = oneshot::channel();
    let stopping = || Status::unavailable("the controller is stopping");
    engine.stream(StreamCommand::Open(hello, reply)).await.map_err(|_| stopping())?;
    let opened = opened.await.map_err(|_| stopping())?;
    let opened = opened.map_err(Status::failed_precondition)?;
    let session = opened.session;
    let result = tokio::select! {
        result = send_all(engine, &host, opened.messages, outgoing) => result,
        result = receive_all(engine, &host, session, &mut incoming) => result,
    };
    // A controller that is stopping forgets all streams.
    let _ = engine.stream(StreamCommand::Close(host, session)).await;
    result
}

/// An agent speaks for its own host only.
fn check(peer: &Peer, hello: &Hello) -> Result<(), Status> {
    let who = peer.identity.as_ref();
    let who = who.ok_or_else(|| {
        Status::unauthenticated("a stream takes the host's certificate, one that is not revoked: join with a token first")
    })?;
    let action = Action::new(Verb::Connect, Kind::Stream).on(&hello.host);
    allows(who, &action).map_err(|forbidden| Status::permission_denied(forbidden.to_string()))
}

async fn send_all(
    engine: &Engine,
    host: &Name,
    mut messages: Messages,
    outgoing: &Outgoing,
) -> Result<(), Status> {
    while let Some(message) = messages.next().await {
        if outgoing.send(Ok(message.into())).await.is_err() {
            return Ok(());
        }
        if messages.has_to_ask() {
            let asked = engine.stream(StreamCommand::Drained(host.clone())).await;
            asked.map_err(|_| Status::unavailable("the controller is stopping"))?;
        }
    }
    Err(Status::aborted("the host has opened another stream, or is no longer in the fleet"))
}

async fn receive_all(
    engine: &Engine,
    host: &Name,
    session: SessionId,
    incoming: &mut Streaming<pb::AgentMessage>,
) -> Result<(), Status> {
    let stopping = |_| Status::unavailable("the controller is stopping");
    while let Some(message) = receive(incoming).await? {
        let (end, mut ended) = oneshot::channel();
        let command = StreamCommand::Hear(host.clone(), session, message, end);
        engine.stream(command).await.map_err(stopping)?;
        if let Ok(reason) = ended.try_recv() {
            return Err(Status::aborted(reason));
        }
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
