//! What somebody wants to know of this host, by way of the controller.

use super::Driver;
use crate::error_chain;
use mizar_proto::{AgentMessage, Answer, Question};
use std::sync::Arc;

/// Questions that are looked into at a time.
pub(super) const AT_ONCE: usize = 4;

impl Driver {
    /// Answers beside everything else, if there is room; whoever asks may ask again.
    pub(super) fn answer(&self, question: Question) {
        let Some(say) = self.say.clone() else { return };
        let Question { number, look } = question;
        let Ok(permit) = Arc::clone(&self.looks).try_acquire_owned() else {
            let problem = format!("its agent looks into {AT_ONCE} other questions: ask again");
            let answer = Answer { number, outcome: Err(problem) };
            return drop(say.try_send(AgentMessage::Answer(answer)));
        };
        let (maps, clock) = (Arc::clone(&self.parts.maps), self.parts.clock);
        // System calls by the hundred: not on a thread that serves others.
        tokio::task::spawn_blocking(move || {
            let outcome = maps.look(&look, clock.now()).map_err(|error| {
                let mut problem = error_chain(&error);
                problem.truncate(problem.floor_char_boundary(Answer::PROBLEM));
                problem
            });
            let _ = say.try_send(AgentMessage::Answer(Answer { number, outcome }));
            drop(permit);
        });
    }
}
