//! What controllers and agents say to each other.

use super::{address, generation, name, network_id, octets, rows, text, vni};
use crate::error::{At, FieldError, FieldProblem, Within};
use crate::{Ack, AgentMessage, ControllerMessage, Hello, Outcome, RowError, pb};
use mizar_vpc::{Generation, RowKey, Vni};
use std::collections::BTreeMap;

impl From<AgentMessage> for pb::AgentMessage {
    fn from(message: AgentMessage) -> Self {
        use pb::agent_message::Message;
        let message = match message {
            AgentMessage::Hello(hello) => Message::Hello(hello.into()),
            AgentMessage::Ack(ack) => Message::Ack(ack.into()),
        };
        Self { message: Some(message) }
    }
}

impl TryFrom<pb::AgentMessage> for AgentMessage {
    type Error = FieldError;

    fn try_from(message: pb::AgentMessage) -> Result<Self, FieldError> {
        use pb::agent_message::Message;
        match message.message.ok_or(FieldProblem::Missing).at("message")? {
            Message::Hello(hello) => hello.try_into().within("hello").map(Self::Hello),
            Message::Ack(ack) => ack.try_into().within("ack").map(Self::Ack),
        }
    }
}

impl From<ControllerMessage> for pb::ControllerMessage {
    fn from(message: ControllerMessage) -> Self {
        use pb::controller_message::Message;
        let message = match message {
            ControllerMessage::Config(config) => Message::Config(config.into()),
            ControllerMessage::Update(batch) => Message::Update(batch.into()),
        };
        Self { message: Some(message) }
    }
}

impl TryFrom<pb::ControllerMessage> for ControllerMessage {
    type Error = FieldError;

    fn try_from(message: pb::ControllerMessage) -> Result<Self, FieldError> {
        use pb::controller_message::Message;
        match message.message.ok_or(FieldProblem::Missing).at("message")? {
            Message::Config(config) => config.try_into().within("config").map(Self::Config),
            Message::Update(batch) => batch.try_into().within("update").map(Self::Update),
        }
    }
}

impl From<Hello> for pb::Hello {
    fn from(hello: Hello) -> Self {
        Self {
            host: hello.host.into(),
            protocol: hello.protocol,
            positions: positions_message(hello.positions),
        }
    }
}

impl TryFrom<pb::Hello> for Hello {
    type Error = FieldError;

    fn try_from(message: pb::Hello) -> Result<Self, FieldError> {
        if message.protocol == 0 {
            return Err(FieldProblem::Missing).at("protocol");
        }
        Ok(Self {
            host: name(&message.host).at("host")?,
            protocol: message.protocol,
            positions: read_positions(message.positions)?,
        })
    }
}

impl From<Ack> for pb::Ack {
    fn from(ack: Ack) -> Self {
        use pb::ack::Outcome as Message;
        let outcome = match ack.outcome {
            Outcome::Applied(errors) => {
                let errors = errors.into_iter().map(Into::into).collect();
                Message::Applied(pb::Applied { errors })
            }
            Outcome::Refused(reason) => Message::Refused(pb::Refused { reason }),
        };
        Self { vni: ack.vni.get(), generation: ack.generation.get(), outcome: Some(outcome) }
    }
}

impl TryFrom<pb::Ack> for Ack {
    type Error = FieldError;

    fn try_from(message: pb::Ack) -> Result<Self, FieldError> {
        use pb::ack::Outcome as Message;
        let outcome = match message.outcome.ok_or(FieldProblem::Missing).at("outcome")? {
            Message::Applied(applied) => {
                let errors = applied.errors.into_iter().enumerate().map(|(index, error)| {
                    error.try_into().within(format!("applied.errors[{index}]"))
                });
                Outcome::Applied(errors.collect::<Result<_, _>>()?)
            }
            Message::Refused(pb::Refused { reason }) => {
                Outcome::Refused(text(reason).at("refused.reason")?)
            }
        };
        Ok(Self {
            vni: vni(message.vni).at("vni")?,
            generation: generation(message.generation).at("generation")?,
            outcome,
        })
    }
}

impl From<RowError> for pb::RowError {
    fn from(error: RowError) -> Self {
        use pb::row_error::Row;
        let row = match error.row {
            RowKey::Network(id) => Row::Network(id.get()),
            RowKey::Port(name) => Row::Port(name.into()),
            RowKey::Held(address) => Row::Held(octets(address)),
        };
        Self { row: Some(row), reason: error.reason }
    }
}

impl TryFrom<pb::RowError> for RowError {
    type Error = FieldError;

    fn try_from(message: pb::RowError) -> Result<Self, FieldError> {
        use pb::row_error::Row;
        let row = match message.row.ok_or(FieldProblem::Missing).at("row")? {
            Row::Network(id) => RowKey::Network(network_id(id).at("network")?),
            Row::Port(port) => RowKey::Port(name(&port).at("port")?),
            Row::Held(bytes) => RowKey::Held(address(&bytes).at("held")?),
        };
        Ok(Self { row, reason: text(message.reason).at("reason")? })
    }
}

pub(super) fn positions_message(positions: BTreeMap<Vni, Generation>) -> Vec<pb::Position> {
    let position = |(vni, generation): (Vni, Generation)| pb::Position {
        vni: vni.get(),
        generation: generation.get(),
    };
    positions.into_iter().map(position).collect()
}

pub(super) fn read_positions(
    positions: Vec<pb::Position>,
) -> Result<BTreeMap<Vni, Generation>, FieldError> {
    rows("positions", positions, |position| {
        Ok((vni(position.vni).at("vni")?, generation(position.generation).at("generation")?))
    })
}
