//! The messages between controllers, agents and tools.
//!
//! The `.proto` files under `proto/` are the contract; what is generated from them stands in
//! [`pb`] and goes no further than the call that sends or receives it. Everything else is said in
//! checked types: those of `mizar-vpc`, and the ones here.
//!
//! ```text
//! agent ──AgentMessage──► controller        pb::controller_client, pb::controller_server
//!       ◄─ControllerMessage──
//! tool  ──► agent: Status, Look, …         pb::agent_client, pb::agent_server
//! ```
//!
//! Sending is `From`, receiving is `TryFrom`. A message that breaks a rule is refused whole, with a
//! [`FieldError`] that names the path of the field, its value, and what would be right. Rules
//! between fields of several rows are checked where rows are applied, by
//! [`VpcRows::apply`](mizar_vpc::VpcRows::apply).

#![forbid(unsafe_code)]

mod convert;
mod error;
mod message;
mod report;

pub use error::{FieldError, FieldProblem};
pub use message::{
    Ack, AgentMessage, Answer, Applied, Beat, ControllerMessage, Hello, Load, Look, Looked,
    Outcome, PROTOCOL, PortReport, Position, Question, RawRows, RowError, Step, Steps, TAGS, Usage,
};
pub use report::{Counters, HostStatus, NicMode, PortState, PortStatus, Status, VpcCounters};

/// What is generated from the `.proto` files.
#[expect(clippy::allow_attributes, reason = "generated")]
pub mod pb {
    tonic::include_proto!("mizar.v1");
}
