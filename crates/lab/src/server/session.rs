//! The agents' streams.

use super::Shared;
use super::desk::SessionId;
use futures::Stream;
use mizar_proto::pb::{self, controller_server};
use mizar_proto::{Ack, AgentMessage, ControllerMessage, Hello, Outcome, PROTOCOL};
use mizar_vpc::{HostConfig, Name};
use std::collections::BTreeMap;
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
    let Hello { host, protocol, positions, .. } = match receive(&mut incoming).await? {
        Some(AgentMessage::Hello(hello)) => hello,
        Some(AgentMessage::Ack(_) | AgentMessage::Beat(_)) => {
            return Err(Status::invalid_argument("hello comes first"));
        }
        None => return Ok(()),
    };
    if protocol != PROTOCOL {
        let reason = format!("protocol {protocol}: this server speaks {PROTOCOL}");
        return Err(Status::failed_precondition(reason));
    }
    let positions: BTreeMap<_, _> =
        positions.into_iter().map(|(vni, at)| (vni, at.generation)).collect();
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
            // The stream itself says here that the agent lives.
            AgentMessage::Beat(_) => continue,
            AgentMessage::Hello(_) => return Err(Status::invalid_argument("hello comes once")),
        };
        match outcome {
            Outcome::Applied(applied) => {
                let errors =
                    applied.errors.into_iter().map(|error| (error.row.to_string(), error.reason));
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agents;
    use crate::plan::Plan;
    use crate::topology::Topology;
    use mizar_proto::Applied;
    use mizar_proto::pb::controller_client::ControllerClient;
    use mizar_vpc::{Generation, Vni};

    const TOPOLOGY: &str = "{lab: stream, hosts: 2, vpcs: [{name: blue, vni: 7, dividers: [h1]}]}";

    /// The server's end, and an agent's stream that has sent these messages.
    struct World {
        shared: Shared,
        to_server: mpsc::Sender<pb::AgentMessage>,
        from_server: Streaming<pb::ControllerMessage>,
        _folder: tempfile::TempDir,
    }

    impl World {
        async fn new(hello: Hello) -> Self {
            let folder = tempfile::tempdir().unwrap();
            let socket = folder.path().join("controller.sock");
            let plan = Plan::new(&TOPOLOGY.parse::<Topology>().unwrap(), None).unwrap();
            let shared = Shared::new(plan);
            let listener = UnixListener::bind(&socket).unwrap();
            tokio::spawn(serve_agents(listener, shared.clone()));
            let mut client = ControllerClient::new(agents::connect(socket).await.unwrap());
            let (to_server, messages) = mpsc::channel(4);
            to_server.send(AgentMessage::Hello(hello).into()).await.unwrap();
            let stream = client.connect(ReceiverStream::new(messages)).await.unwrap();
            Self { shared, to_server, from_server: stream.into_inner(), _folder: folder }
        }

        async fn next(&mut self) -> Result<ControllerMessage, Status> {
            let message = self.from_server.message().await?;
            Ok(message.expect("the stream goes on").try_into().unwrap())
        }
    }

    fn hello(host: &str, protocol: u32) -> Hello {
        Hello {
            host: host.parse().unwrap(),
            protocol,
            version: "0.1.0".to_owned(),
            underlay: Some("100.64.0.1".parse().unwrap()),
            positions: BTreeMap::new(),
        }
    }

    #[tokio::test]
    async fn an_agent_is_told_who_it_is_then_its_rows_and_is_believed_what_it_acknowledges() {
        let mut world = World::new(hello("h1", PROTOCOL)).await;
        let ControllerMessage::Config(config) = world.next().await.unwrap() else { panic!() };
        assert_eq!(config.name.as_str(), "h1");
        let ControllerMessage::Update(batch) = world.next().await.unwrap() else { panic!() };
        let vni = Vni::try_from(7).unwrap();
        assert_eq!((batch.last, batch.update.vni, batch.update.base), (true, vni, None));

        let host: Name = "h1".parse().unwrap();
        let acked = |world: &World| world.shared.desk().view()[&host].vpcs[&vni].acked;
        assert_eq!(acked(&world), None);
        let generation: Generation = batch.update.generation;
        let ack = Ack { vni, generation, outcome: Outcome::Applied(Applied::default()) };
        let mut changes = world.shared.changed.subscribe();
        world.to_server.send(AgentMessage::Ack(ack).into()).await.unwrap();
        changes.changed().await.unwrap();
        assert_eq!(acked(&world), Some(generation));
    }

    #[tokio::test]
    async fn strangers_and_other_protocols_are_turned_away_with_the_reason() {
        for (hello, reason) in [
            (hello("h9", PROTOCOL), "host h9 is not in the lab"),
            (hello("h1", PROTOCOL + 1), "this server speaks"),
        ] {
            let error = World::new(hello).await.next().await.unwrap_err();
            assert!(error.message().contains(reason), "{error}");
        }
    }
}
