//! What somebody wants to know of this host, by way of the controller.

use super::Driver;
use crate::error_chain;
use mizar_proto::{AgentMessage, Answer, Question};
use std::sync::Arc;

/// Questions that are looked into at a time.
pub(super) const AT_ONCE: usize = 4;

impl Driver {
    /// Answers beside everything else; whoever asks too much at once may ask again.
    pub(super) fn answer(&self, Question { number, look }: Question) {
        let Some(say) = self.say.clone() else { return };
        let refuse = |problem: String| {
            let answer = Answer { number, outcome: Err(problem) };
            drop(say.try_send(AgentMessage::Answer(answer)));
        };
        if self.parts.takeover.is_some() {
            return refuse(NOT_AT_WORK.to_owned());
        }
        let Ok(permit) = Arc::clone(&self.looks).try_acquire_owned() else {
            return refuse(format!("its agent looks into {AT_ONCE} other questions: ask again"));
        };
        let (maps, clock) = (Arc::clone(&self.parts.maps), self.parts.clock);
        // System calls, some that wait: not on a thread that serves others.
        tokio::task::spawn_blocking(move || {
            let looked = maps.look(&look, clock.now());
            let outcome = looked.map_err(|error| error_chain(&error));
            // If the stream has ended, nobody waits for it.
            let _ = say.blocking_send(AgentMessage::Answer(Answer { number, outcome }));
            drop(permit);
        });
    }
}

/// Why a host is not looked into while another layout's programs are at work.
pub(crate) const NOT_AT_WORK: &str =
    "programs of another layout are at work there still, and their tables are not this agent's";
