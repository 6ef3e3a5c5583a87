//! Where messages to a host go: as many as wait for its stream, and no more.

use mizar_proto::ControllerMessage;
use mizar_vpc::Vni;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::sync::mpsc;

/// Messages that wait for a stream; what does not fit stays noted as keys of rows.
const QUEUE: usize = 8;

/// The engine's end.
#[derive(Debug)]
pub(super) struct Outlet {
    messages: mpsc::Sender<ControllerMessage>,
    was_full: Arc<AtomicBool>,
    /// It was full when the host was to be told about itself.
    pub(super) lacks_config: bool,
    /// The VPCs of which the host has yet to hear what there was when its stream began; None: it
    /// has heard that this was all.
    coming: Option<BTreeSet<Vni>>,
}

/// The stream's end.
#[derive(Debug)]
pub struct Messages {
    messages: mpsc::Receiver<ControllerMessage>,
    was_full: Arc<AtomicBool>,
}

/// Both ends.
pub(super) fn outlet() -> (Outlet, Messages) {
    let (sender, receiver) = mpsc::channel(QUEUE);
    let was_full = Arc::new(AtomicBool::new(false));
    let outlet = Outlet {
        messages: sender,
        was_full: Arc::clone(&was_full),
        lacks_config: false,
        coming: None,
    };
    (outlet, Messages { messages: receiver, was_full })
}

impl Outlet {
    /// Whether one more message may come. If not, the stream says when it has taken all.
    pub(super) fn has_room(&self) -> bool {
        if self.messages.capacity() > 0 {
            return true;
        }
        self.was_full.store(true, Ordering::SeqCst);
        // The stream may have taken them before it could see that.
        self.messages.capacity() > 0
    }

    /// A message for which there is room. A stream that has ended says so by itself.
    pub(super) fn send(&self, message: ControllerMessage) {
        let _ = self.messages.try_send(message);
    }

    /// The stream begins: there may be something to tell of these VPCs.
    pub(super) fn begin(&mut self, coming: BTreeSet<Vni>) {
        self.coming = Some(coming);
        self.complete();
    }

    /// All that there was to tell of a VPC has been sent.
    pub(super) fn told(&mut self, vni: Vni) {
        if self.coming.as_mut().is_some_and(|coming| coming.remove(&vni)) {
            self.complete();
        }
    }

    /// Says once that all has been sent that there was when the stream began, as soon as that is so
    /// and there is room to say it.
    pub(super) fn complete(&mut self) {
        if self.coming.as_ref().is_some_and(BTreeSet::is_empty) && self.has_room() {
            self.send(ControllerMessage::Complete);
            self.coming = None;
        }
    }
}

impl Messages {
    /// The next one; None: the host has another stream, or is no longer in the fleet.
    pub(crate) async fn next(&mut self) -> Option<ControllerMessage> {
        self.messages.recv().await
    }

    /// The next one that is there.
    pub fn try_next(&mut self) -> Option<ControllerMessage> {
        self.messages.try_recv().ok()
    }

    /// Whether all are taken, and there was no room for more.
    pub fn has_to_ask(&self) -> bool {
        self.messages.is_empty() && self.was_full.swap(false, Ordering::SeqCst)
    }
}
