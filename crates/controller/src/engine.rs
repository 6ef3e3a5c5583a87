//! Whoever keeps the resources: what can be asked of it, and its handle.

mod handle;
mod request;
mod thread;
mod version;

pub(crate) use handle::WATCH_QUEUE;
pub use handle::{Engine, Subscription};
pub use request::{
    Asked, AskedHost, Change, Effect, Event, EventType, FieldError, Filter, List, LookAt, Outcome,
    Page, Refusal, RefusalKind, Said, Watch, Write, Written,
};
pub(crate) use thread::StreamCommand;
pub use thread::start;
pub use version::{Version, VersionError};
