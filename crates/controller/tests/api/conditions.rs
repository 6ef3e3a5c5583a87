//! Writers who read before they write do not undo one another's changes.

use crate::world::{JSON, World, endpoint, vpc};
use http::{Method, StatusCode};
use serde_json::{Value, json};

const BLUE: &str = "/v1/vpcs/blue";

async fn read(world: &World) -> (String, Value) {
    let answer = world.get(BLUE).await;
    let tag = answer.header("etag").to_owned();
    (tag, answer.expect(StatusCode::OK))
}

fn with_quota(quota: u32) -> String {
    let mut manifest = vpc("blue");
    manifest["spec"]["quota"] = quota.into();
    manifest.to_string()
}

#[tokio::test]
async fn of_two_writers_at_once_one_is_told_to_read_again() {
    let world = World::with_blue().await;
    let (tag, _) = read(&world).await;
    let write = |quota| {
        let (world, tag) = (world.clone(), tag.clone());
        async move {
            let headers = [JSON, ("if-match", tag.as_str())];
            world.send(Method::PUT, BLUE, &headers, &with_quota(quota)).await
        }
    };
    let answers = tokio::join!(write(100), write(200));
    let (won, lost) = if answers.0.status.is_success() { answers } else { (answers.1, answers.0) };
    let won = won.expect(StatusCode::OK);
    let problem = lost.problem("precondition");
    assert_eq!(problem["status"], 412);
    assert_eq!(read(&world).await.1["spec"], won["spec"]);
}

#[tokio::test]
async fn a_manifest_that_was_read_is_replaced_only_while_it_is_so() {
    let world = World::with_blue().await;
    let (_, mut manifest) = read(&world).await;
    world.put(BLUE, serde_json::from_str(&with_quota(100)).unwrap()).await.expect(StatusCode::OK);
    manifest["spec"]["quota"] = json!(200);
    let problem = world.put(BLUE, manifest).await.problem("conflict");
    assert_eq!(problem["status"], 409);
}

#[tokio::test]
async fn an_old_version_deletes_nothing() {
    let world = World::with_blue().await;
    let (tag, _) = read(&world).await;
    world.put(BLUE, serde_json::from_str(&with_quota(100)).unwrap()).await.expect(StatusCode::OK);
    let path = "/v1/vpcs/blue?cascade=true";
    world.send(Method::DELETE, path, &[("if-match", &tag)], "").await.problem("precondition");
    let (tag, _) = read(&world).await;
    let gone = world.send(Method::DELETE, path, &[("if-match", &tag)], "").await;
    gone.expect(StatusCode::OK);
}

#[tokio::test]
async fn conditions_that_this_api_does_not_know_are_refused() {
    let world = World::with_blue().await;
    for value in ["1.2", "W/\"1.2\"", "\"1.2\", \"1.3\"", "\"abc\"", "\"0.0\""] {
        let headers = [JSON, ("if-match", value)];
        let answer = world.send(Method::PUT, BLUE, &headers, &with_quota(1)).await;
        let problem = answer.problem("malformed");
        assert!(problem["detail"].as_str().unwrap().contains("If-Match"), "{problem}");
    }
    let headers = [JSON, ("if-match", "*")];
    world.send(Method::PUT, BLUE, &headers, &with_quota(1)).await.expect(StatusCode::OK);
}

#[tokio::test]
async fn what_must_be_new_is_not_overwritten_and_what_must_be_there_is_not_made() {
    let world = World::with_blue().await;
    world.post("/v1/vpcs", vpc("blue")).await.problem("exists");
    world.put("/v1/vpcs/red", vpc("red")).await.problem("not-found");
    world.put("/v1/vpcs/blue/endpoints/web-1", endpoint("web-1")).await.problem("not-found");
}

#[tokio::test]
async fn a_body_that_contradicts_its_path_is_refused_by_field() {
    let world = World::with_blue().await;
    let mut elsewhere = endpoint("web-1");
    elsewhere["metadata"]["vpc"] = "red".into();
    for (path, body, field) in [
        ("/v1/vpcs/blue/endpoints/web-2", endpoint("web-1"), "metadata.name"),
        ("/v1/vpcs/blue/endpoints/web-1", elsewhere, "metadata.vpc"),
        ("/v1/vpcs/blue/endpoints/blue", vpc("blue"), "kind"),
    ] {
        let problem = world.put(path, body).await.problem("invalid");
        assert_eq!(problem["errors"][0]["field"], field, "{problem}");
    }
}
