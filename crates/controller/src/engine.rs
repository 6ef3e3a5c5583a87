//! Whoever keeps the resources: what can be asked of it, and its handle.

mod handle;
mod request;

pub use handle::{Engine, Subscription};
pub use request::{
    Change, Effect, Event, EventType, FieldError, Filter, List, Outcome, Page, Refusal,
    RefusalKind, Watch, Write, Written,
};
