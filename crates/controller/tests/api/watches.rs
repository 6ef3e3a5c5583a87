//! Changes come as lines of JSON.

use crate::world::{World, endpoint, vpc};
use axum::body::{Body, BodyDataStream};
use futures::StreamExt;
use http::{Method, StatusCode};
use mizar_controller::api::Limits;
use serde_json::Value;
use std::time::Duration;

struct Lines(BodyDataStream);

async fn watch(world: &World, path: &str) -> Lines {
    let answer = world.open(Method::GET, path, &[], Body::empty()).await;
    assert_eq!(answer.status(), StatusCode::OK);
    assert_eq!(answer.headers()["content-type"], "application/x-ndjson");
    Lines(Body::into_data_stream(answer.into_body()))
}

impl Lines {
    async fn next(&mut self) -> Value {
        let next = tokio::time::timeout(Duration::from_secs(10), self.0.next()).await;
        let line = next.expect("a line comes").expect("the watch goes on").unwrap();
        assert!(line.ends_with(b"\n"));
        serde_json::from_slice(&line).unwrap()
    }

    /// The next line that is about that resource.
    async fn of(&mut self, name: &str) -> Value {
        loop {
            let line = self.next().await;
            if line["object"]["metadata"]["name"] == name {
                return line;
            }
        }
    }
}

#[tokio::test]
async fn what_is_there_comes_first_and_then_what_changes() {
    let world = World::with_blue().await;
    let mut lines = watch(&world, "/v1/vpcs?watch=true").await;
    assert_eq!(lines.of("blue").await["type"], "Added");
    world.post("/v1/vpcs", vpc("red")).await.expect(StatusCode::CREATED);
    assert_eq!(lines.of("red").await["type"], "Added");
    let mut changed = vpc("red");
    changed["spec"]["quota"] = 7.into();
    world.put("/v1/vpcs/red", changed).await.expect(StatusCode::OK);
    let line = lines.of("red").await;
    assert_eq!((&line["type"], &line["object"]["spec"]["quota"]), (&"Modified".into(), &7.into()));
    world.delete("/v1/vpcs/red").await.expect(StatusCode::OK);
    assert_eq!(lines.of("red").await["type"], "Deleted");
}

#[tokio::test]
async fn a_watch_goes_on_from_where_another_ended() {
    let world = World::with_blue().await;
    let page = world.get("/v1/vpcs").await.expect(StatusCode::OK);
    let version = page["resourceVersion"].as_str().unwrap().to_owned();
    world.post("/v1/vpcs", vpc("red")).await.expect(StatusCode::CREATED);
    let mut lines = watch(&world, &format!("/v1/vpcs?watch=true&from={version}")).await;
    let line = lines.next().await;
    assert_eq!(
        (&line["type"], &line["object"]["metadata"]["name"]),
        (&"Added".into(), &"red".into())
    );
    assert!(line["resourceVersion"].as_str().unwrap() > version.as_str());
}

#[tokio::test]
async fn a_filter_lets_pass_what_it_selects() {
    let world = World::with_blue().await;
    let path = "/v1/vpcs/blue/endpoints?watch=true&host=h1";
    let mut lines = watch(&world, path).await;
    let mut elsewhere = endpoint("web-0");
    elsewhere["spec"]["host"] = "h2".into();
    for manifest in [elsewhere, endpoint("web-1")] {
        world.post("/v1/vpcs/blue/endpoints", manifest).await.expect(StatusCode::CREATED);
    }
    assert_eq!(lines.next().await["object"]["metadata"]["name"], "web-1");
}

#[tokio::test]
async fn a_silent_watch_shows_that_it_lives() {
    let world = World::with(Limits { silence: Duration::from_millis(20), ..Limits::default() });
    let mut lines = watch(&world, "/v1/vpcs?watch=true").await;
    assert_eq!(lines.next().await["type"], "Bookmark");
}

#[tokio::test]
async fn a_watcher_that_takes_nothing_is_told_to_list_again_and_delays_nobody() {
    let world = World::with_blue().await;
    let mut lines = watch(&world, "/v1/vpcs?watch=true").await;
    lines.of("blue").await;
    // More than the engine keeps for one watcher.
    for at in 0..5_000_u32 {
        let mut changed = vpc("blue");
        changed["spec"]["quota"] = (at + 1).into();
        world.put("/v1/vpcs/blue", changed).await.expect(StatusCode::OK);
    }
    let problem = loop {
        let line = lines.next().await;
        if line["type"] == "Error" {
            break line["problem"].clone();
        }
    };
    assert_eq!(problem["type"], "urn:mizar:problem:gone");
    assert!(problem["detail"].as_str().unwrap().contains("list again"), "{problem}");
    assert!(lines.0.next().await.is_none());
}

#[tokio::test]
async fn a_peer_has_no_more_watches_than_it_may_until_it_ends_one() {
    let world = World::with(Limits { watches: 1, ..Limits::default() });
    let first = watch(&world, "/v1/vpcs?watch=true").await;
    world.get("/v1/vpcs?watch=true").await.problem("limit");
    drop(watch(&world.by("operator/bob"), "/v1/vpcs?watch=true").await);
    drop(first);
    let again = async {
        let open = || world.open(Method::GET, "/v1/vpcs?watch=true", &[], Body::empty());
        while open().await.status() != StatusCode::OK {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), again).await.expect("the place is free again");
}
