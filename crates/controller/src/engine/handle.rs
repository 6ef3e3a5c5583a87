//! The handle by which others ask the engine.

use super::request::{
    Asked, Event, List, LookAt, Page, Refusal, RefusalKind, Watch, Write, Written,
};
use super::thread::StreamCommand;
use super::version::Version;
use mizar_identity::Identity;
use mizar_store::Store;
use mizar_vpc::{Manifest, Ref};
use std::collections::VecDeque;
use std::sync::Arc;
use tokio::sync::{mpsc, oneshot, watch};

/// Requests that wait for the engine; more are held back at whoever asks.
const QUEUE: usize = 4096;
/// Events that wait for a watcher; one that falls further behind is ended.
pub(crate) const WATCH_QUEUE: usize = 4096;

/// Asks the engine. Clones ask the same one.
#[derive(Clone, Debug)]
pub struct Engine {
    commands: mpsc::Sender<Command>,
    store: Arc<dyn Store>,
}

/// The answer to a request.
pub(super) type Reply<T> = oneshot::Sender<Result<T, Refusal>>;

/// What the engine is asked.
#[derive(Debug)]
pub(super) enum Command {
    Write(Identity, Write, Reply<Written>),
    Get(Identity, Ref, Reply<Manifest>),
    List(Identity, List, Reply<Page>),
    Watch(Identity, Watch, Reply<Subscription>),
    Stream(StreamCommand),
    Look(Identity, LookAt, Reply<Asked>),
    Metrics(Identity, Reply<String>),
}

/// Events that come to a watcher.
#[derive(Debug)]
pub struct Subscription {
    pub(crate) past: VecDeque<Arc<Event>>,
    pub(crate) coming: mpsc::Receiver<Arc<Event>>,
    /// The last event of all.
    pub(crate) latest: watch::Receiver<Version>,
}

impl Engine {
    /// A handle, and what it asks.
    pub(super) fn new(store: Arc<dyn Store>) -> (Self, mpsc::Receiver<Command>) {
        let (commands, receiver) = mpsc::channel(QUEUE);
        (Self { commands, store }, receiver)
    }

    /// Where everything is kept, to be copied.
    pub(crate) fn store(&self) -> &Arc<dyn Store> {
        &self.store
    }

    /// Makes changes; once this returns, they are on disk.
    ///
    /// # Errors
    /// The first change that is refused; then none is made.
    pub async fn write(&self, who: &Identity, write: Write) -> Result<Written, Refusal> {
        self.ask(|reply| Command::Write(who.clone(), write, reply)).await
    }

    /// One resource, with its status.
    ///
    /// # Errors
    /// There is none, or it is not for those who ask.
    pub async fn get(&self, who: &Identity, reference: Ref) -> Result<Manifest, Refusal> {
        self.ask(|reply| Command::Get(who.clone(), reference, reply)).await
    }

    /// A page of resources, with their status.
    ///
    /// # Errors
    /// The request is malformed, or not for those who ask.
    pub async fn list(&self, who: &Identity, list: List) -> Result<Page, Refusal> {
        self.ask(|reply| Command::List(who.clone(), list, reply)).await
    }

    /// Changes as they come.
    ///
    /// # Errors
    /// Those from where the watch shall begin are forgotten, or not for those who ask.
    pub async fn watch(&self, who: &Identity, watch: Watch) -> Result<Subscription, Refusal> {
        self.ask(|reply| Command::Watch(who.clone(), watch, reply)).await
    }

    /// Which rows of hosts decide what becomes of packets.
    ///
    /// # Errors
    /// The VPC does not exist, or it is not for those who ask.
    pub async fn look(&self, who: &Identity, at: LookAt) -> Result<Asked, Refusal> {
        self.ask(|reply| Command::Look(who.clone(), at, reply)).await
    }

    /// All metrics, in the text format of Prometheus.
    ///
    /// # Errors
    /// They are not for those who ask.
    pub async fn metrics(&self, who: &Identity) -> Result<String, Refusal> {
        self.ask(|reply| Command::Metrics(who.clone(), reply)).await
    }

    async fn ask<T>(&self, command: impl FnOnce(Reply<T>) -> Command) -> Result<T, Refusal> {
        let (reply, answer) = oneshot::channel();
        self.send(command(reply)).await?;
        answer.await.map_err(|_| stopping())?
    }

    pub(super) async fn send(&self, command: Command) -> Result<(), Refusal> {
        self.commands.send(command).await.map_err(|_| stopping())
    }
}

fn stopping() -> Refusal {
    Refusal::new(RefusalKind::Unavailable, "the controller is stopping: try again")
}

impl Subscription {
    /// The next event; None once the watch has ended, because the watcher fell too far behind or
    /// the controller stops: it may list again.
    pub async fn next(&mut self) -> Option<Arc<Event>> {
        match self.past.pop_front() {
            Some(event) => Some(event),
            None => self.coming.recv().await,
        }
    }

    /// From where a watch continues for whoever has taken all events, though none was for him; None
    /// if he has not.
    pub fn bookmark(&self) -> Option<Version> {
        // What comes now comes after this one.
        let latest = *self.latest.borrow();
        (self.past.is_empty() && self.coming.is_empty()).then_some(latest)
    }
}
