//! From a token to a certificate, and to the next one.

use crate::world::{Answer, World};
use http::{Method, StatusCode};
use mizar_identity::pki::Request;
use mizar_identity::token::Token;
use mizar_identity::{Identity, tls};
use serde_json::{Value, json};
use std::time::SystemTime;

async fn token(world: &World, order: Value) -> Token {
    let made = world.post("operator/alice", "/v1/tokens", order).await.expect(StatusCode::CREATED);
    made["token"].as_str().unwrap().parse().unwrap()
}

/// Joins as `mizar host join` does: known by nothing but the token.
async fn join(world: &World, token: &Token, host: &str, request: &Request) -> Answer {
    let secret = token.secret.reveal().to_string();
    let body =
        json!({ "host": host, "token": token.id, "secret": secret, "request": request.pem() });
    let config = tls::enrolment_config(token.authority).unwrap();
    world.ask(config, Method::POST, "/v1/join", Some(body)).await.unwrap()
}

#[tokio::test]
async fn a_host_joins_once_and_opens_its_stream() {
    let world = World::new().await;
    let token = token(&world, json!({ "host": "h1" })).await;
    assert_eq!(token.controller.to_string(), "https://controller.test:6443");
    let request = Request::new().unwrap();
    let signed = join(&world, &token, "h1", &request).await.expect(StatusCode::OK);
    assert_eq!(signed["inFleet"], true);
    let chain = signed["chain"].as_str().unwrap();
    let expected: Identity = "host/h1".parse().unwrap();
    request.accept(chain, &expected, &world.trust(), SystemTime::now()).unwrap();
    let replayed = join(&world, &token, "h1", &request).await.forbidden();
    assert!(replayed.contains("as often as it may be"), "{replayed}");
}

#[tokio::test]
async fn a_token_is_for_its_hosts_and_for_so_many() {
    let world = World::new().await;
    let token = token(&world, json!({ "host": "h*", "uses": 2 })).await;
    let request = Request::new().unwrap();
    let told = join(&world, &token, "web", &request).await.forbidden();
    assert!(told.contains("host web may not join with this token: it is for h*"), "{told}");
    let signed = join(&world, &token, "h7", &request).await.expect(StatusCode::OK);
    assert_eq!(signed["inFleet"], false, "an operator has to create it");
    join(&world, &token, "h8", &request).await.expect(StatusCode::OK);
    join(&world, &token, "h9", &request).await.forbidden();
    let mut guessed = token.clone();
    guessed.id = "0123456789abcdef".parse().unwrap();
    assert!(join(&world, &guessed, "h9", &request).await.forbidden().contains("no such token"));
}

#[tokio::test]
async fn a_token_that_is_deleted_lets_nobody_in() {
    let world = World::new().await;
    let token = token(&world, json!({ "host": "h1" })).await;
    let path = format!("/v1/tokens/{}", token.id);
    let list = world.send("operator/alice", Method::GET, "/v1/tokens").await.expect(StatusCode::OK);
    assert_eq!(list["items"][0]["usesLeft"], 1);
    assert!(!list.to_string().contains("secret"), "{list}");
    world.send("operator/alice", Method::DELETE, &path).await.expect(StatusCode::OK);
    world.send("operator/alice", Method::DELETE, &path).await.expect(StatusCode::NOT_FOUND);
    join(&world, &token, "h1", &Request::new().unwrap()).await.forbidden();
}

#[tokio::test]
async fn orders_that_make_no_sense_are_refused_by_field() {
    let world = World::new().await;
    for (order, field) in [
        (json!({ "host": "a.b" }), "host"),
        (json!({ "host": "h1", "uses": 0 }), "uses"),
        (json!({ "host": "h1", "validSeconds": 1 }), "validSeconds"),
        (json!({ "host": "h1", "controller": "unix:/c" }), "controller"),
    ] {
        let refused = world.post("operator/alice", "/v1/tokens", order).await;
        let body = refused.expect(StatusCode::UNPROCESSABLE_ENTITY);
        assert_eq!(body["errors"][0]["field"], field, "{body}");
    }
}

#[tokio::test]
async fn a_certificate_is_renewed_for_whom_it_shows() {
    let world = World::new().await;
    for who in ["host/h1", "operator/alice"] {
        let request = Request::new().unwrap();
        let answer = world.post(who, "/v1/certificates", json!({ "request": request.pem() })).await;
        let signed = answer.expect(StatusCode::OK);
        let chain = signed["chain"].as_str().unwrap();
        let expected = who.parse().unwrap();
        request.accept(chain, &expected, &world.trust(), SystemTime::now()).unwrap();
    }
    let request = json!({ "request": Request::new().unwrap().pem() });
    let told = world.post("tenant/acme/bob", "/v1/certificates", request.clone()).await.forbidden();
    assert!(told.contains("it takes an operator"), "{told}");
    // A host that was taken out of the fleet stays itself only until its certificate ends.
    let told = world.post("host/h9", "/v1/certificates", request).await.forbidden();
    assert!(told.contains("host h9 is not in the fleet"), "{told}");
    let damaged = json!({ "request": "-----BEGIN" });
    let refused = world.post("host/h1", "/v1/certificates", damaged).await;
    refused.expect(StatusCode::UNPROCESSABLE_ENTITY);
}
