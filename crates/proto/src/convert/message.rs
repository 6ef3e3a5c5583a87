//! What controllers and agents say to each other.

use super::times::{micros, read_micros, read_steps, steps_message};
use super::{address, generation, name, network_id, octets, rows, underlay, vni, words};
use crate::error::{At, FieldError, FieldProblem, Within};
use crate::{
    Ack, AgentMessage, Applied, ControllerMessage, Hello, Outcome, PortReport, Position, RowError,
    pb,
};
use mizar_vpc::{Digest, RowKey, Vni};

impl From<AgentMessage> for pb::AgentMessage {
    fn from(message: AgentMessage) -> Self {
        use pb::agent_message::Message;
        let message = match message {
            AgentMessage::Hello(hello) => Message::Hello(hello.into()),
            AgentMessage::Ack(ack) => Message::Ack(ack.into()),
            AgentMessage::Beat(beat) => Message::Beat(beat.into()),
            AgentMessage::Answer(answer) => Message::Answer(answer.into()),
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
            Message::Beat(beat) => beat.try_into().within("beat").map(Self::Beat),
            Message::Answer(answer) => answer.try_into().within("answer").map(Self::Answer),
        }
    }
}

impl From<ControllerMessage> for pb::ControllerMessage {
    fn from(message: ControllerMessage) -> Self {
        use pb::controller_message::Message;
        let message = match message {
            ControllerMessage::Config(config) => Message::Config(config.into()),
            ControllerMessage::Update(batch) => Message::Update(batch.into()),
            ControllerMessage::Complete => Message::Complete(pb::Complete {}),
            ControllerMessage::Question(question) => Message::Question(question.into()),
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
            Message::Complete(pb::Complete {}) => Ok(Self::Complete),
            Message::Question(question) => {
                question.try_into().within("question").map(Self::Question)
            }
        }
    }
}

impl From<Hello> for pb::Hello {
    fn from(hello: Hello) -> Self {
        Self {
            host: hello.host.into(),
            protocol: hello.protocol,
            positions: hello.positions.into_iter().map(position_message).collect(),
            version: hello.version,
            underlay: hello.underlay.map(octets).unwrap_or_default(),
            tags: hello.tags,
        }
    }
}

impl TryFrom<pb::Hello> for Hello {
    type Error = FieldError;

    fn try_from(message: pb::Hello) -> Result<Self, FieldError> {
        if message.protocol == 0 {
            return Err(FieldProblem::Missing).at("protocol");
        }
        // An agent of protocol 1 says less: it must be understood to be told so.
        let has_more = message.protocol > 1 || !message.underlay.is_empty();
        let at = has_more.then(|| underlay(&message.underlay).at("underlay")).transpose()?;
        if message.protocol > 1 && message.version.is_empty() {
            return Err(FieldProblem::Missing).at("version");
        }
        Ok(Self {
            host: name(&message.host).at("host")?,
            protocol: message.protocol,
            version: message.version,
            underlay: at,
            tags: message.tags,
            positions: rows("positions", message.positions, read_position)?,
        })
    }
}

impl From<Ack> for pb::Ack {
    fn from(ack: Ack) -> Self {
        use pb::ack::Outcome as Message;
        let outcome = match ack.outcome {
            Outcome::Applied(applied) => Message::Applied(applied.into()),
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
            Message::Applied(applied) => Outcome::Applied(applied.try_into().within("applied")?),
            Message::Refused(pb::Refused { reason }) => {
                Outcome::Refused(words(&reason).at("refused.reason")?)
            }
        };
        Ok(Self {
            vni: vni(message.vni).at("vni")?,
            generation: generation(message.generation).at("generation")?,
            outcome,
        })
    }
}

impl From<Applied> for pb::Applied {
    fn from(applied: Applied) -> Self {
        Self {
            errors: applied.errors.into_iter().map(Into::into).collect(),
            ports: applied.ports.into_iter().map(Into::into).collect(),
            held_us: micros(applied.held),
            total_us: micros(applied.total),
            prepared: applied.prepared,
        }
    }
}

impl TryFrom<pb::Applied> for Applied {
    type Error = FieldError;

    fn try_from(message: pb::Applied) -> Result<Self, FieldError> {
        let errors = message.errors.into_iter().enumerate();
        let errors = errors.map(|(i, error)| error.try_into().within(format_args!("errors[{i}]")));
        let ports = message.ports.into_iter().enumerate();
        let ports = ports.map(|(i, port)| port.try_into().within(format_args!("ports[{i}]")));
        Ok(Self {
            errors: errors.collect::<Result<_, _>>()?,
            ports: ports.collect::<Result<_, _>>()?,
            held: read_micros(message.held_us),
            total: read_micros(message.total_us),
            prepared: message.prepared,
        })
    }
}

impl From<PortReport> for pb::PortReport {
    fn from(report: PortReport) -> Self {
        Self {
            name: report.name.into(),
            steps: steps_message(report.steps),
            total_us: micros(report.total),
        }
    }
}

impl TryFrom<pb::PortReport> for PortReport {
    type Error = FieldError;

    fn try_from(message: pb::PortReport) -> Result<Self, FieldError> {
        Ok(Self {
            name: name(&message.name).at("name")?,
            steps: read_steps(message.steps)?,
            total: read_micros(message.total_us),
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
        Ok(Self { row, reason: words(&message.reason).at("reason")? })
    }
}

fn position_message((vni, position): (Vni, Position)) -> pb::Position {
    pb::Position {
        vni: vni.get(),
        generation: position.generation.get(),
        digest: position.digest.map_or(0, Digest::get),
    }
}

fn read_position(message: pb::Position) -> Result<(Vni, Position), FieldError> {
    let position = Position {
        generation: generation(message.generation).at("generation")?,
        digest: Some(message.digest).filter(|digest| *digest != 0).map(Digest::from),
    };
    Ok((vni(message.vni).at("vni")?, position))
}
