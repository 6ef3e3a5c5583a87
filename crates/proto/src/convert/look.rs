//! Questions to hosts, and their answers.

use super::{address, check_count, list, octets, rows, text, underlay, vni, words};
use crate::error::{At, FieldError, FieldProblem, Within};
use crate::{Answer, Look, Looked, Question, RawRows, pb};

impl From<Question> for pb::Question {
    fn from(question: Question) -> Self {
        Self { number: question.number, look: Some(question.look.into()) }
    }
}

impl TryFrom<pb::Question> for Question {
    type Error = FieldError;

    fn try_from(message: pb::Question) -> Result<Self, FieldError> {
        let look = message.look.ok_or(FieldProblem::Missing).at("look")?;
        Ok(Self { number: message.number, look: look.try_into().within("look")? })
    }
}

impl From<Answer> for pb::Answer {
    fn from(answer: Answer) -> Self {
        use pb::answer::Outcome;
        let outcome = match answer.outcome {
            Ok(looked) => Outcome::Looked(looked.into()),
            Err(problem) => Outcome::Problem(problem),
        };
        Self { number: answer.number, outcome: Some(outcome) }
    }
}

impl TryFrom<pb::Answer> for Answer {
    type Error = FieldError;

    fn try_from(message: pb::Answer) -> Result<Self, FieldError> {
        use pb::answer::Outcome;
        let outcome = match message.outcome.ok_or(FieldProblem::Missing).at("outcome")? {
            Outcome::Looked(looked) => Ok(looked.try_into().within("looked")?),
            Outcome::Problem(problem) => Err(words(&problem).at("problem")?),
        };
        Ok(Self { number: message.number, outcome })
    }
}

impl From<Look> for pb::Look {
    fn from(look: Look) -> Self {
        Self {
            vni: look.vni.get(),
            addresses: look.addresses.into_iter().map(octets).collect(),
            hosts: look.hosts.into_iter().map(octets).collect(),
        }
    }
}

impl TryFrom<pb::Look> for Look {
    type Error = FieldError;

    fn try_from(message: pb::Look) -> Result<Self, FieldError> {
        check_count(message.addresses.len(), 1, Self::ADDRESSES).at("addresses")?;
        check_count(message.hosts.len(), 0, Self::HOSTS).at("hosts")?;
        Ok(Self {
            vni: vni(message.vni).at("vni")?,
            addresses: list("addresses", &message.addresses, |it| address(it))?,
            hosts: list("hosts", &message.hosts, |it| underlay(it))?,
        })
    }
}

impl From<Looked> for pb::Looked {
    fn from(looked: Looked) -> Self {
        let row = |(key, row)| pb::TableRow { key, row };
        let table = |(name, rows): (String, RawRows)| pb::Table {
            name,
            rows: rows.into_iter().map(row).collect(),
        };
        Self {
            layout: looked.layout,
            now: looked.now,
            tables: looked.tables.into_iter().map(table).collect(),
            hosts: looked.hosts.into_iter().map(octets).collect(),
        }
    }
}

impl TryFrom<pb::Looked> for Looked {
    type Error = FieldError;

    fn try_from(message: pb::Looked) -> Result<Self, FieldError> {
        check_count(message.tables.len(), 0, Self::TABLES).at("tables")?;
        let rows_of = |table: &pb::Table| table.rows.len();
        check_count(message.tables.iter().map(rows_of).sum(), 0, Self::ROWS).at("tables.rows")?;
        let bytes = |row: &pb::TableRow| row.key.len().max(row.row.len());
        let longest = message.tables.iter().flat_map(|it| &it.rows).map(bytes).max();
        if let Some(length) = longest.filter(|length| *length > Self::ROW_BYTES) {
            let (value, most) = (length as u64, Self::ROW_BYTES as u64);
            return Err(FieldProblem::TooLarge { value, most }).at("tables.rows");
        }
        check_count(message.hosts.len(), 0, Self::ROWS).at("hosts")?;
        let row = |pb::TableRow { key, row }| (key, row);
        let table = |pb::Table { name, rows }| {
            Ok((text(name).at("name")?, rows.into_iter().map(row).collect()))
        };
        Ok(Self {
            layout: message.layout,
            now: message.now,
            tables: rows("tables", message.tables, table)?,
            hosts: list("hosts", &message.hosts, |it| underlay(it))?,
        })
    }
}
