//! Signs of life.

use super::{check_count, rows, vni, words};
use crate::error::{At, FieldError, FieldProblem};
use crate::{Beat, Load, Usage, pb};

impl From<Beat> for pb::Beat {
    fn from(beat: Beat) -> Self {
        let load = |(vni, load): (mizar_vpc::Vni, Load)| pb::Load {
            vni: vni.get(),
            bounced: load.bounced,
            divided: load.divided,
        };
        Self {
            endpoints: Some(beat.endpoints.into()),
            learned: Some(beat.learned.into()),
            ports: Some(beat.ports.into()),
            hosts: Some(beat.hosts.into()),
            vpcs: beat.vpcs.into_iter().map(load).collect(),
            waits_for: beat.waits_for.unwrap_or_default(),
        }
    }
}

impl TryFrom<pb::Beat> for Beat {
    type Error = FieldError;

    fn try_from(message: pb::Beat) -> Result<Self, FieldError> {
        check_count(message.vpcs.len(), 0, Self::VPCS).at("vpcs")?;
        let (length, most) = (message.waits_for.len(), Self::WAITS_FOR);
        if length > most {
            return Err(FieldProblem::TextLength { length, most }).at("waits_for");
        }
        let usage = |message: Option<pb::Usage>| message.map(Usage::from).unwrap_or_default();
        Ok(Self {
            endpoints: usage(message.endpoints),
            learned: usage(message.learned),
            ports: usage(message.ports),
            hosts: usage(message.hosts),
            vpcs: rows("vpcs", message.vpcs, |load| {
                let pb::Load { vni: number, bounced, divided } = load;
                Ok((vni(number).at("vni")?, Load { bounced, divided }))
            })?,
            waits_for: words(&message.waits_for).ok(),
        })
    }
}

impl From<Usage> for pb::Usage {
    fn from(Usage { used, capacity }: Usage) -> Self {
        Self { used, capacity }
    }
}

impl From<pb::Usage> for Usage {
    fn from(pb::Usage { used, capacity }: pb::Usage) -> Self {
        Self { used, capacity }
    }
}
