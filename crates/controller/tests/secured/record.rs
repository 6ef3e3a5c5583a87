//! Every write is on record, or is not made.

use crate::world::World;
use http::{Method, StatusCode};
use serde_json::{Value, json};
use std::time::Duration;

fn tenant(name: &str) -> Value {
    json!({ "kind": "Tenant", "metadata": { "name": name }, "spec": {} })
}

/// The log, once it has so many lines: for outcomes nobody waits.
async fn lines(world: &World, count: usize) -> Vec<Value> {
    for _ in 0..500 {
        if world.log().len() >= count {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let log = world.log();
    assert_eq!(log.len(), count, "{log:#?}");
    log
}

#[tokio::test]
async fn the_log_says_who_asked_for_what_and_what_came_of_it() {
    let world = World::with_log("audit.log").await;
    world.post("operator/alice", "/v1/tenants", tenant("acme")).await.expect(StatusCode::CREATED);
    let log = lines(&world, 2).await;
    let (asked, done) = (&log[0], &log[1]);
    assert_eq!((&asked["outcome"], &done["outcome"]), (&json!("asked"), &json!("done")));
    assert_eq!(asked["request"], done["request"]);
    assert_eq!((&asked["revision"], &done["revision"]), (&Value::Null, &json!("1.2")));
    for line in &log {
        assert_eq!(line["who"], "operator/alice");
        assert_eq!(line["verb"], "create");
        assert_eq!(line["objects"], json!([{ "kind": "tenant", "name": "acme" }]));
        assert!(line["from"].as_str().unwrap().starts_with("unix:uid="), "{line}");
    }

    // Refusals too, with their reasons; what only looks leaves no trace.
    let refused = world.send("tenant/acme/bob", Method::DELETE, "/v1/tenants/acme").await;
    let reason = refused.forbidden();
    world.send("operator/alice", Method::DELETE, "/v1/tenants/acme?dryRun=true").await;
    world.send("operator/alice", Method::GET, "/v1/tenants").await.expect(StatusCode::OK);
    let log = lines(&world, 4).await;
    assert_eq!(log[3]["who"], "tenant/acme/bob");
    assert_eq!(log[3]["outcome"], json!({ "refused": reason }));
}

#[tokio::test]
async fn tokens_are_on_record_without_their_secrets() {
    let world = World::with_log("audit.log").await;
    let made = world.post("operator/alice", "/v1/tokens", json!({ "host": "h1" })).await;
    let made = made.expect(StatusCode::CREATED);
    let log = lines(&world, 2).await;
    assert_eq!(log[1]["objects"][0], json!({ "kind": "token", "name": made["id"] }));
    assert!(!log[1].to_string().contains(made["token"].as_str().unwrap()));

    // Who knows the number of a token, and not its secret, is on record; who guesses is not.
    for id in [made["id"].as_str().unwrap(), "0123456789abcdef"] {
        let guess = json!({ "host": "h1", "token": id, "secret": "A".repeat(43), "request": "" });
        world.post("", "/v1/join", guess).await.forbidden();
    }
    let log = lines(&world, 4).await;
    assert_eq!(log[3]["who"], format!("token/{}", made["id"].as_str().unwrap()));
    assert!(log[3]["outcome"]["refused"].as_str().unwrap().contains("secret"), "{}", log[3]);
}

#[tokio::test]
async fn what_cannot_be_put_on_record_is_not_done() {
    let folder = tempfile::tempdir().unwrap();
    let full = folder.path().join("audit.log");
    std::os::unix::fs::symlink("/dev/full", &full).unwrap();
    let world = World::with_log(&full).await;
    let refused = world.post("operator/alice", "/v1/tenants", tenant("b")).await;
    let problem = refused.expect(StatusCode::SERVICE_UNAVAILABLE);
    let told = problem["detail"].as_str().unwrap();
    assert!(told.starts_with("nothing was changed: the write is not on record"), "{told}");
    let list = world.send("operator/alice", Method::GET, "/v1/tenants").await;
    assert_eq!(list.expect(StatusCode::OK)["items"], json!([]));
    let ordered = world.post("operator/alice", "/v1/tokens", json!({ "host": "h1" })).await;
    ordered.expect(StatusCode::SERVICE_UNAVAILABLE);
}
