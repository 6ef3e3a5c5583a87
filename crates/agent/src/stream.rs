//! The stream to a controller: dialled by the agent, again and again.
//!
//! The controller's absence changes nothing on this host: what is in the kernel stays, and what
//! needs the agent alone goes on.

use crate::error_chain;
use mizar_identity::Connector;
use mizar_identity::connect::ConnectError;
use mizar_proto::pb::controller_client::ControllerClient;
use mizar_proto::pb::controller_message::Message;
use mizar_proto::{AgentMessage, ControllerMessage, pb};
use mizar_vpc::{Generation, Vni};
use std::hash::{BuildHasher, Hasher, RandomState};
use std::time::{Duration, Instant};
use tokio::sync::mpsc;
use tokio_stream::StreamExt;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::{Channel, Endpoint, Error};
use tracing::warn;

const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// A stream that stood this long was no failure to be paused for.
const STOOD: Duration = Duration::from_secs(10);
/// A controller that does not answer this often, or this long, is gone.
const SIGN_OF_LIFE: Duration = Duration::from_secs(10);
/// Messages in each direction that wait; more are held back at the sender.
const QUEUE: usize = 16;

/// What happens on the stream.
#[derive(Debug)]
pub(crate) enum StreamEvent {
    /// A stream is being opened; the first message is expected here.
    Opening(mpsc::Sender<AgentMessage>),
    /// The controller has accepted it.
    Open,
    /// A message has come.
    Message(Box<ControllerMessage>),
    /// A message has come that breaks a rule.
    Malformed {
        /// The update that it is of, as far as that can be read.
        about: Option<(Vni, Generation)>,
        /// What is wrong, and what would be right.
        problem: String,
    },
    /// It has ended, for this reason.
    Closed(String),
}

/// Keeps a stream to the controller open, for as long as somebody listens to what happens.
pub(crate) fn dial(controller: Connector) -> mpsc::Receiver<StreamEvent> {
    let (tell, events) = mpsc::channel(QUEUE);
    tokio::spawn(async move {
        let mut pause = FIRST_PAUSE;
        let mut complaint = String::new();
        loop {
            let start = Instant::now();
            let reason = match converse(&controller, &tell, &mut complaint).await {
                Ok(()) => "the controller has ended it".to_owned(),
                Err(Ended::Listener) => return,
                Err(Ended::Stream(reason)) => reason,
            };
            if tell.send(StreamEvent::Closed(reason)).await.is_err() {
                return;
            }
            if start.elapsed() >= STOOD {
                pause = FIRST_PAUSE;
            }
            tokio::time::sleep(jittered(pause, random())).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    });
    events
}

enum Ended {
    /// Nobody listens any longer.
    Listener,
    Stream(String),
}

async fn converse(
    controller: &Connector,
    tell: &mpsc::Sender<StreamEvent>,
    complaint: &mut String,
) -> Result<(), Ended> {
    let channel = connect(controller).await.map_err(|error| {
        complain(&error, complaint);
        Ended::Stream(error_chain(&error))
    })?;
    complaint.clear();
    let (say, said) = mpsc::channel(QUEUE);
    listener(tell.send(StreamEvent::Opening(say)).await)?;
    let said = ReceiverStream::new(said).map(pb::AgentMessage::from);
    let mut client = ControllerClient::new(channel);
    let response = client.connect(said).await.map_err(|status| refused(&status))?;
    listener(tell.send(StreamEvent::Open).await)?;
    let mut messages = response.into_inner();
    while let Some(message) = messages.message().await.map_err(|status| refused(&status))? {
        listener(tell.send(read(message)).await)?;
    }
    Ok(())
}

fn read(message: pb::ControllerMessage) -> StreamEvent {
    let about = match &message.message {
        Some(Message::Update(update)) => {
            Vni::try_from(update.vni).ok().zip(Generation::try_from(update.generation).ok())
        }
        _ => None,
    };
    match ControllerMessage::try_from(message) {
        Ok(message) => StreamEvent::Message(Box::new(message)),
        Err(problem) => StreamEvent::Malformed { about, problem: problem.to_string() },
    }
}

async fn connect(controller: &Connector) -> Result<Channel, Error> {
    Endpoint::from(controller.address().origin())
        .http2_keep_alive_interval(SIGN_OF_LIFE)
        .keep_alive_timeout(SIGN_OF_LIFE)
        .keep_alive_while_idle(true)
        .connect_with_connector(controller.clone())
        .await
}

/// A controller may be away for a while, and nobody needs to know. That one side does not believe
/// the other does not pass by itself: it is told, once for each reason.
fn complain(error: &Error, told: &mut String) {
    let sources = std::iter::successors(Some(error as &dyn std::error::Error), |it| it.source());
    let failed = sources.filter_map(|source| source.downcast_ref::<ConnectError>()).next();
    let is_distrust = |error: &&ConnectError| {
        matches!(error, ConnectError::Credentials(_) | ConnectError::Handshake { .. })
    };
    let Some(reason) = failed.filter(is_distrust).map(|error| error_chain(error)) else { return };
    if *told != reason {
        warn!(reason, "the controller is not reached; what this host has been told stays");
        *told = reason;
    }
}

fn listener<E>(sent: Result<(), E>) -> Result<(), Ended> {
    sent.map_err(|_| Ended::Listener)
}

fn refused(status: &tonic::Status) -> Ended {
    Ended::Stream(format!("{:?}: {}", status.code(), status.message()))
}

/// Half to one and a half times a pause, so that agents do not all come back at once.
fn jittered(pause: Duration, random: u64) -> Duration {
    pause / 2 + pause.mul_f64((random >> 11) as f64 / (1u64 << 53) as f64)
}

fn random() -> u64 {
    RandomState::new().build_hasher().finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_are_spread_around_their_length() {
        let pause = Duration::from_secs(2);
        assert_eq!(jittered(pause, 0), Duration::from_secs(1));
        assert!(jittered(pause, u64::MAX) <= Duration::from_secs(3));
        assert!(jittered(pause, u64::MAX) > Duration::from_millis(2999));
    }
}
