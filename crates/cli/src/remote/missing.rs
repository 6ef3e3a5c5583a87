//! What to say of a resource that does not exist.

use crate::exit::Status;
use crate::suggest::nearest;
use anyhow::Result;
use mizar_controller::client::{Client, ClientError};
use mizar_controller::engine::{Filter, List};
use mizar_vpc::{Kind, Name, Ref};

/// Names that are looked at for one that was meant.
const MOST: usize = 500;

/// An answer about a resource; if there is none, the error says which one may be meant.
pub(crate) async fn found<T>(
    client: &Client,
    reference: &Ref,
    answer: Result<T, ClientError>,
) -> Result<T> {
    match answer {
        Ok(found) => Ok(found),
        Err(error) if error.is_not_found() => {
            let hint = hint(client, reference).await;
            let hint = hint.unwrap_or_else(|| list_command(reference));
            Err(Status::NotFound.error(format!("there is no {reference}: {hint}")))
        }
        Err(error) => Err(error.into()),
    }
}

/// The nearest name among those that exist; a VPC that does not exist comes first.
async fn hint(client: &Client, reference: &Ref) -> Option<String> {
    if let Some(vpc) = &reference.vpc {
        let vpcs = names(client, Kind::Vpc, None).await?;
        if !vpcs.contains(vpc) {
            let near = nearest(vpc.as_str(), vpcs.iter().map(Name::as_str));
            return near.map(|near| format!("did you mean the VPC {near}?"));
        }
    }
    let names = names(client, reference.kind, reference.vpc.clone()).await?;
    let near = nearest(reference.name.as_str(), names.iter().map(Name::as_str))?;
    let near = Ref { name: near.parse().ok()?, ..reference.clone() };
    Some(format!("did you mean {near}?"))
}

async fn names(client: &Client, kind: Kind, vpc: Option<Name>) -> Option<Vec<Name>> {
    let filter = Filter { vpc, ..Filter::all(kind) };
    let page = client.list(&List { filter, limit: MOST, after: None }).await.ok()?;
    Some(page.items.iter().map(|item| item.metadata().name.clone()).collect())
}

fn list_command(reference: &Ref) -> String {
    let plural = reference.kind.plural();
    let vpc = reference.vpc.as_ref().map(|vpc| format!(" --vpc {vpc}")).unwrap_or_default();
    format!("`mizar get {plural}{vpc}` lists those that exist")
}
