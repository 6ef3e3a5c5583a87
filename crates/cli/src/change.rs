//! Changing a resource that others may be changing at the same time.

use crate::remote;
use anyhow::Result;
use mizar_controller::api::problem::ProblemKind;
use mizar_controller::client::{Client, ClientError};
use mizar_vpc::{Manifest, Ref};

/// How often a resource that others write at the same time is read and written again.
const ATTEMPTS: usize = 5;

/// Reads a resource, changes it, and writes it, anew if somebody else has written it meanwhile.
/// `change` says whether there is anything to write; whether there was.
///
/// # Errors
/// There is no such resource, `change` refuses, or the controller does.
pub(crate) async fn change(
    client: &Client,
    reference: &Ref,
    change: impl Fn(&mut Manifest) -> Result<bool>,
) -> Result<bool> {
    for attempt in 1.. {
        let answer = client.get(reference).await;
        let mut manifest = remote::found(client, reference, answer).await?;
        if !change(&mut manifest)? {
            return Ok(false);
        }
        // The manifest has the version that was read, so nobody's change is undone.
        let manifest = manifest.without_status();
        match client.put(&manifest).await {
            Err(error) if is_conflict(&error) && attempt < ATTEMPTS => {}
            answer => {
                answer?;
                return Ok(true);
            }
        }
    }
    Ok(true)
}

fn is_conflict(error: &ClientError) -> bool {
    let kind = error.problem().and_then(|problem| problem.kind());
    matches!(kind, Some(ProblemKind::Conflict | ProblemKind::Precondition))
}
