//! How long things took.

use super::rows;
use crate::error::{At, FieldError, FieldProblem};
use crate::{Step, Steps, pb};
use std::time::Duration;

/// Microseconds; those of more than an hour are an hour.
pub(super) fn micros(time: Duration) -> u32 {
    u32::try_from(time.as_micros()).unwrap_or(u32::MAX)
}

pub(super) fn read_micros(micros: u32) -> Duration {
    Duration::from_micros(micros.into())
}

pub(super) fn steps_message(steps: Steps) -> Vec<pb::StepTime> {
    let message =
        |(step, time)| pb::StepTime { step: pb::Step::from(step).into(), us: micros(time) };
    steps.into_iter().map(message).collect()
}

pub(super) fn read_steps(messages: Vec<pb::StepTime>) -> Result<Steps, FieldError> {
    rows("steps", messages, |time| Ok((step(time.step).at("step")?, read_micros(time.us))))
}

impl From<Step> for pb::Step {
    fn from(step: Step) -> Self {
        match step {
            Step::Interface => Self::Interface,
            Step::Addresses => Self::Addresses,
            Step::Program => Self::Program,
            Step::Rows => Self::Rows,
        }
    }
}

fn step(value: i32) -> Result<Step, FieldProblem> {
    match pb::Step::try_from(value) {
        Ok(pb::Step::Interface) => Ok(Step::Interface),
        Ok(pb::Step::Addresses) => Ok(Step::Addresses),
        Ok(pb::Step::Program) => Ok(Step::Program),
        Ok(pb::Step::Rows) => Ok(Step::Rows),
        Ok(pb::Step::Unspecified) => Err(FieldProblem::Missing),
        Err(_) => Err(FieldProblem::Enumeration { value, of: "Step" }),
    }
}
