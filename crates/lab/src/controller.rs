//! The lab's controller: a process like any other controller, asked like any other.

use crate::layout::Layout;
use crate::plan::Plan;
use crate::process::Process;
use crate::{Error, log};
use mizar_controller::api::body::{ChangeBody, MOST_CHANGES};
use mizar_controller::client::{Client, ClientError};
use mizar_controller::engine::{Filter, List};
use mizar_identity::Connector;
use mizar_vpc::{Kind, Manifest};
use std::time::{Duration, Instant};

/// How often a controller that starts is asked whether it is there.
const INTERVAL: Duration = Duration::from_millis(50);
/// How long a controller may take to say what there is; its own patience is longer.
const PATIENCE: Duration = Duration::from_secs(10);
/// Resources of one page: as many as a controller gives.
const PAGE: usize = 500;
/// Most bytes of one request: the controller takes 1 MiB, of which a little is for the rest.
const MOST_BYTES: usize = 1_000_000;

/// A client of a lab's controller.
pub(crate) fn client(layout: &Layout) -> Client {
    Client::new(Connector::local(&layout.controller_socket()))
}

/// Waits until the controller answers.
pub(crate) async fn answers(layout: &Layout, deadline: Instant) -> Result<(), Error> {
    let client = client(layout);
    loop {
        let Err(source) = list(&client, Kind::Host).await else { return Ok(()) };
        let is_alive = Process::read(&layout.controller_record()).is_some_and(Process::is_alive);
        if !is_alive || Instant::now() >= deadline {
            return Err(silent(layout, source));
        }
        tokio::time::sleep(INTERVAL).await;
    }
}

/// A controller that does not answer, with what it said last.
pub(crate) fn silent(layout: &Layout, source: ClientError) -> Error {
    let said = log::last_words(&layout.controller_log()).unwrap_or_else(|| "nothing".to_owned());
    Error::Controller { said, source: Box::new(source) }
}

/// All resources of a kind.
pub(crate) async fn list(client: &Client, kind: Kind) -> Result<Vec<Manifest>, ClientError> {
    let mut list = List { filter: Filter::all(kind), limit: PAGE, after: None };
    let mut all = Vec::new();
    loop {
        let page = client.list(&list).await?;
        all.extend(page.items);
        match page.next {
            None => return Ok(all),
            next => list.after = next,
        }
    }
}

/// All resources of several kinds, unless the controller does not say so in time.
pub(crate) async fn resources<const N: usize>(
    client: &Client,
    kinds: [Kind; N],
) -> Result<[Vec<Manifest>; N], ClientError> {
    let all = async {
        let mut found = kinds.map(|_| Vec::new());
        for (kind, found) in kinds.into_iter().zip(&mut found) {
            *found = list(client, kind).await?;
        }
        Ok::<_, ClientError>(found)
    };
    let seconds = PATIENCE.as_secs();
    let silence = |_| ClientError::Silence { address: client.address(), seconds };
    tokio::time::timeout(PATIENCE, all).await.map_err(silence)?
}

/// Makes changes, in as few steps as can be; each of them is made whole or not at all.
pub(crate) async fn change(
    layout: &Layout,
    plan: &Plan,
    changes: Vec<ChangeBody>,
) -> Result<(), Error> {
    let client = client(layout);
    for step in steps(changes) {
        match client.batch(step, false).await {
            Ok(_) => {}
            Err(ClientError::Problem(problem)) => return Err(plan.paths.problem(&problem).into()),
            Err(source) => return Err(silent(layout, source)),
        }
    }
    Ok(())
}

/// Cuts changes into requests that the controller takes, in order.
fn steps(changes: Vec<ChangeBody>) -> Vec<Vec<ChangeBody>> {
    let mut steps: Vec<Vec<ChangeBody>> = Vec::new();
    let mut room = 0;
    for change in changes {
        let bytes = serde_json::to_vec(&change).map_or(0, |json| json.len() + 1);
        match steps.last_mut() {
            Some(last) if last.len() < MOST_CHANGES && bytes <= room => last.push(change),
            _ => {
                steps.push(vec![change]);
                room = MOST_BYTES;
            }
        }
        room = room.saturating_sub(bytes);
    }
    steps
}

#[cfg(test)]
mod tests {
    use super::*;
    use mizar_controller::api::body::DeleteBody;
    use mizar_vpc::Ref;

    #[test]
    fn no_step_is_larger_than_a_controller_takes() {
        let reference = Ref::global(Kind::Vpc, "blue".parse().unwrap());
        let delete = DeleteBody { reference, cascade: false, resource_version: None };
        let counts = |count| -> Vec<usize> {
            let changes = vec![ChangeBody::Delete(delete.clone()); count];
            steps(changes).iter().map(Vec::len).collect()
        };
        assert!(counts(0).is_empty());
        assert_eq!(counts(1000), [1000]);
        assert_eq!(counts(2001), [1000, 1000, 1]);
    }
}
