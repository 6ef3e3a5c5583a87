//! Whose key is stolen is cut off at once, and may get another.

use crate::world::World;
use http::{Method, StatusCode};
use serde_json::json;
use std::path::Path;
use std::time::Duration;
use tonic::{Code, Status};

const ALICE: &str = "operator/alice";

/// What h1 is told with that certificate.
async fn refusal(world: &World, own: &Path) -> Status {
    match world.open_with(own, "h1").await {
        Ok(mut stream) => stream.messages.message().await.unwrap_err(),
        Err(refused) => refused,
    }
}

/// Certificates say when they were issued to the second.
async fn next_second() {
    tokio::time::sleep(Duration::from_millis(1_100)).await;
}

#[tokio::test]
async fn a_revoked_host_has_no_stream_until_it_has_another_certificate() {
    let world = World::new().await;
    let stolen = world.issued("host/h1", Duration::ZERO);
    let mut stream = world.open_with(&stolen, "h1").await.unwrap();
    let revoked = world.post(ALICE, "/v1/revocations", json!({ "identity": "host/h1" })).await;
    let revoked = revoked.expect(StatusCode::CREATED);
    assert_eq!(revoked["identity"], "host/h1");
    // The stream that is open is cut.
    let ended = async { while let Ok(Some(_)) = stream.messages.message().await {} };
    tokio::time::timeout(Duration::from_secs(5), ended).await.expect("it is cut");
    let refused = refusal(&world, &stolen).await;
    assert_eq!(refused.code(), Code::Unauthenticated, "{refused}");
    assert!(refused.message().contains("not revoked"), "{refused}");
    world.stream("host/h2", "h2").await.unwrap();
    next_second().await;
    world.stream("host/h1", "h1").await.unwrap();
    let page = world.send(ALICE, Method::GET, "/v1/revocations").await.expect(StatusCode::OK);
    assert_eq!(page["items"], json!([revoked]));
    let log = world.log();
    let line = log.iter().find(|line| line["verb"] == "revoke").unwrap();
    assert_eq!(line["objects"][0], json!({ "kind": "certificate", "name": "host/h1" }));
}

#[tokio::test]
async fn a_revoked_operator_or_tenant_is_nobody() {
    let world = World::new().await;
    world.send("tenant/acme/bob", Method::GET, "/v1/vpcs").await.expect(StatusCode::OK);
    let mallory = world.config("operator/mallory");
    let ask = || world.ask(mallory.clone(), Method::GET, "/v1/hosts", None);
    ask().await.unwrap().expect(StatusCode::OK);
    let body = json!({ "identity": "operator/mallory" });
    world.post(ALICE, "/v1/revocations", body.clone()).await.expect(StatusCode::CREATED);
    let refused = ask().await.unwrap().forbidden();
    assert!(refused.contains("not revoked"), "{refused}");
    // Nor does he get a certificate in place of it.
    let request = json!({ "request": mizar_identity::pki::Request::new().unwrap().pem() });
    let path = "/v1/certificates";
    let refused = world.ask(mallory, Method::POST, path, Some(request)).await.unwrap();
    refused.forbidden();
    let refused = world.post("tenant/acme/bob", "/v1/revocations", body).await.forbidden();
    assert!(refused.contains("it takes an operator"), "{refused}");
    let body = json!({ "identity": "controller" });
    world.post(ALICE, "/v1/revocations", body).await.expect(StatusCode::UNPROCESSABLE_ENTITY);
}

#[tokio::test]
async fn a_restarted_controller_remembers_who_is_revoked() {
    let world = World::new().await;
    let stolen = world.issued("host/h1", Duration::ZERO);
    let body = json!({ "identity": "host/h1" });
    world.post(ALICE, "/v1/revocations", body).await.expect(StatusCode::CREATED);
    let world = world.restarted().await;
    let refused = refusal(&world, &stolen).await;
    assert_eq!(refused.code(), Code::Unauthenticated, "{refused}");
    next_second().await;
    world.stream("host/h1", "h1").await.unwrap();
}
