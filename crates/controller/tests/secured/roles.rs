//! A certificate says who asks, and who asks says what he may.

use crate::world::{HOUR, World};
use http::{Method, StatusCode};
use mizar_identity::{Credentials, tls};
use serde_json::json;
use std::sync::Arc;
use tonic::Code;

#[tokio::test]
async fn a_tenant_reads_and_writes_what_is_his_and_nothing_else() {
    let world = World::new().await;
    let bob = "tenant/acme/bob";
    let network = json!({ "kind": "Network", "metadata": { "name": "front" },
        "spec": { "v4": "10.0.1.0/24" } });
    let made = world.post(bob, "/v1/vpcs/acme/networks", network.clone()).await;
    made.expect(StatusCode::CREATED);
    let page = world.send(bob, Method::GET, "/v1/vpcs").await.expect(StatusCode::OK);
    assert_eq!(page["items"].as_array().unwrap().len(), 1, "{page}");
    let made = world.post(bob, "/v1/vpcs/other/networks", network).await;
    made.expect(StatusCode::NOT_FOUND);
    let gone = world.send(bob, Method::DELETE, "/v1/vpcs/other").await;
    gone.expect(StatusCode::NOT_FOUND);
    world.send(bob, Method::GET, "/v1/hosts/h1").await.forbidden();
    world.post(bob, "/v1/tokens", json!({ "host": "h9" })).await.forbidden();
    world.send(bob, Method::GET, "/v1/tokens").await.forbidden();
}

#[tokio::test]
async fn a_backup_is_given_to_nobody_over_the_network() {
    let world = World::new().await;
    let told = world.send("operator/alice", Method::GET, "/v1/backup").await.forbidden();
    assert!(told.contains("by its local socket"), "{told}");
    world.send("tenant/acme/bob", Method::GET, "/v1/backup").await.forbidden();
    let log = world.log();
    let line = log.iter().rfind(|line| line["who"] == "operator/alice").unwrap();
    assert_eq!(line["verb"], "backup");
}

#[tokio::test]
async fn an_agent_has_its_own_stream_and_no_other_and_no_api() {
    let world = World::new().await;
    world.stream("host/h1", "h1").await.unwrap();
    let refused = world.stream("host/h1", "h2").await.unwrap_err();
    assert_eq!(refused.code(), Code::PermissionDenied, "{refused}");
    assert!(refused.message().contains("it takes host h2 itself"), "{refused}");
    let refused = world.stream("tenant/acme/bob", "h1").await.unwrap_err();
    assert_eq!(refused.code(), Code::PermissionDenied, "{refused}");
    let refused = world.stream("", "h1").await.unwrap_err();
    assert_eq!(refused.code(), Code::Unauthenticated, "{refused}");
    world.send("host/h1", Method::GET, "/v1/hosts/h1").await.forbidden();
    world.send("host/h1", Method::DELETE, "/v1/hosts/h2").await.forbidden();
    world.post("host/h1", "/v1/tokens", json!({ "host": "h1" })).await.forbidden();
}

#[tokio::test]
async fn a_monitor_reads_the_metrics_and_nothing_else() {
    let world = World::new().await;
    let monitor = "monitor/prometheus";
    world.send(monitor, Method::GET, "/metrics").await.expect(StatusCode::OK);
    for path in ["/v1/hosts", "/v1/hosts/h1", "/v1/vpcs", "/v1/tokens", "/v1/revocations"] {
        let told = world.send(monitor, Method::GET, path).await.forbidden();
        assert!(told.contains("monitor/prometheus may read /metrics and nothing else"), "{told}");
    }
    for path in ["/openapi.json", "/v1/endpoints?watch=true", "/metrics/", "/v1/nothing"] {
        world.send(monitor, Method::GET, path).await.forbidden();
    }
    world.send(monitor, Method::DELETE, "/v1/hosts/h1").await.forbidden();
    world.send(monitor, Method::PUT, "/metrics").await.expect(StatusCode::METHOD_NOT_ALLOWED);
    for path in ["/v1/apply", "/v1/tokens", "/v1/certificates", "/v1/join"] {
        world.post(monitor, path, json!({ "request": "" })).await.forbidden();
    }
    let refused = world.stream(monitor, "h1").await.unwrap_err();
    assert_eq!(refused.code(), Code::PermissionDenied, "{refused}");
    for who in ["tenant/acme/bob", "host/h1"] {
        let told = world.send(who, Method::GET, "/metrics").await.forbidden();
        assert!(told.contains("it takes an operator or a monitor"), "{told}");
    }
}

#[tokio::test]
async fn nobody_may_join_and_nothing_else() {
    let world = World::new().await;
    for path in ["/v1/vpcs", "/openapi.json", "/metrics", "/v1/tokens", "/v1/nothing"] {
        let told = world.send("", Method::GET, path).await.forbidden();
        assert!(told.contains("without one a host can only join"), "{told}");
    }
    let renewal = json!({ "request": "" });
    world.post("", "/v1/certificates", renewal).await.forbidden();
    // Here he is heard, and has to say something.
    let empty = world.post("", "/v1/join", json!({})).await;
    empty.expect(StatusCode::UNPROCESSABLE_ENTITY);
}

#[tokio::test]
async fn a_certificate_that_expired_or_of_another_ca_lets_nobody_in() {
    let (world, other) = (World::new().await, World::with_log("audit.log").await);
    let ask = async |credentials: Arc<Credentials>| {
        let config = tls::client_config(Some(credentials), &world.trust()).unwrap();
        world.ask(config, Method::GET, "/v1/vpcs", None).await
    };
    let expired = Credentials::load(&world.issued("operator/old", 2 * HOUR)).unwrap();
    let refused = ask(Arc::new(expired)).await.unwrap_err();
    assert!(refused.to_lowercase().contains("expired"), "{refused}");
    let foreign = Credentials::load(&other.issued("operator/alice", HOUR / 2)).unwrap();
    let refused = ask(Arc::new(foreign)).await.unwrap_err();
    assert!(refused.contains("UnknownCA") || refused.contains("alert"), "{refused}");
    // Nor is this controller believed by those of the other cloud.
    assert!(world.dial(other.config("operator/alice")).await.is_err());
}
