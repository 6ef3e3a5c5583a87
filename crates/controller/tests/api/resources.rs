//! Resources are made, read, listed, replaced and deleted.

use crate::world::{World, endpoint, host, network, vpc};
use http::StatusCode;
use serde_json::json;

const ENDPOINTS: &str = "/v1/vpcs/blue/endpoints";

#[tokio::test]
async fn a_new_resource_is_where_its_location_says() {
    let world = World::with_blue().await;
    let created = world.post(ENDPOINTS, endpoint("web-1")).await;
    assert_eq!(created.header("location"), "/v1/vpcs/blue/endpoints/web-1");
    let tag = created.header("etag").to_owned();
    let created = created.expect(StatusCode::CREATED);
    let read = world.get("/v1/vpcs/blue/endpoints/web-1").await;
    assert_eq!(read.header("etag"), tag);
    let read = read.expect(StatusCode::OK);
    assert_eq!(read["spec"], created["spec"]);
    assert_eq!(read["status"]["phase"], "Pending");
    assert_eq!(tag, format!("{}", read["metadata"]["resourceVersion"]));
    assert!(read["status"]["v4"].as_str().unwrap().starts_with("10.0.1."), "{read}");
}

#[tokio::test]
async fn the_path_says_the_vpc_where_the_manifest_does_not() {
    let world = World::with_blue().await;
    let mut manifest = endpoint("web-1");
    manifest["metadata"].as_object_mut().unwrap().remove("vpc");
    let created = world.post(ENDPOINTS, manifest).await.expect(StatusCode::CREATED);
    assert_eq!(created["metadata"]["vpc"], "blue");
}

#[tokio::test]
async fn pages_follow_one_another_until_all_was_seen() {
    let world = World::with_blue().await;
    let manifests: Vec<_> = (0..7).map(|at| endpoint(&format!("e{at}"))).collect();
    world.post("/v1/apply", json!({ "manifests": manifests })).await.expect(StatusCode::OK);
    let (mut names, mut path) = (Vec::new(), format!("{ENDPOINTS}?limit=3"));
    loop {
        let page = world.get(&path).await.expect(StatusCode::OK);
        let items = page["items"].as_array().unwrap();
        assert!(items.len() <= 3);
        names.extend(items.iter().map(|it| it["metadata"]["name"].as_str().unwrap().to_owned()));
        let Some(next) = page["next"].as_str() else { break };
        path = format!("{ENDPOINTS}?limit=3&after={}", next.replace('/', "%2F"));
    }
    assert_eq!(names, ["e0", "e1", "e2", "e3", "e4", "e5", "e6"]);
}

#[tokio::test]
async fn a_list_has_what_is_selected() {
    let world = World::with_blue().await;
    let mut labelled = endpoint("web-1");
    labelled["metadata"]["labels"] = json!({ "app": "web" });
    let mut elsewhere = endpoint("db-1");
    elsewhere["spec"]["host"] = "h2".into();
    let manifests = json!({ "manifests": [labelled, elsewhere] });
    world.post("/v1/apply", manifests).await.expect(StatusCode::OK);
    for (query, expected) in [
        ("selector=app%3Dweb", vec!["web-1"]),
        ("selector=!app", vec!["db-1"]),
        ("host=h2", vec!["db-1"]),
        ("network=front", vec!["db-1", "web-1"]),
        ("phase=ready", vec![]),
    ] {
        for path in [ENDPOINTS, "/v1/endpoints"] {
            let page = world.get(&format!("{path}?{query}")).await.expect(StatusCode::OK);
            let items = page["items"].as_array().unwrap().iter();
            let names: Vec<_> = items.map(|it| it["metadata"]["name"].as_str().unwrap()).collect();
            assert_eq!(names, expected, "{path}?{query}");
        }
    }
}

#[tokio::test]
async fn what_is_applied_again_is_unchanged() {
    let world = World::with_blue().await;
    let body = json!({ "manifests": [endpoint("web-1")] });
    for effect in ["created", "unchanged"] {
        let written = world.post("/v1/apply", body.clone()).await.expect(StatusCode::OK);
        assert_eq!(written["outcomes"][0]["effect"], effect);
        assert_eq!(written["outcomes"][0]["reference"]["name"], "web-1");
    }
}

#[tokio::test]
async fn a_dry_run_says_what_would_be_and_changes_nothing() {
    let world = World::with_blue().await;
    let made = world.post(&format!("{ENDPOINTS}?dryRun=true"), endpoint("web-1")).await;
    assert!(made.headers.get("location").is_none());
    made.expect(StatusCode::OK);
    world.get("/v1/vpcs/blue/endpoints/web-1").await.problem("not-found");
    let gone = world.delete("/v1/vpcs/blue?cascade=true&dryRun=true").await.expect(StatusCode::OK);
    assert_eq!(gone["dryRun"], true);
    assert!(gone["outcomes"].as_array().unwrap().len() >= 2, "{gone}");
    world.get("/v1/vpcs/blue").await.expect(StatusCode::OK);
}

#[tokio::test]
async fn changes_of_a_batch_are_made_together_or_not_at_all() {
    let world = World::with_blue().await;
    let delete = json!({ "delete": { "reference": { "kind": "Host", "name": "h9" } } });
    let changes = json!({ "changes": [{ "create": vpc("red") }, delete] });
    let problem = world.post("/v1/batch", changes).await.problem("not-found");
    assert!(problem["detail"].as_str().unwrap().contains("host h9"), "{problem}");
    world.get("/v1/vpcs/red").await.problem("not-found");
    let delete = json!({ "delete": { "reference": { "kind": "Host", "name": "h2" } } });
    let changes = json!({ "changes": [{ "create": vpc("red") }, delete] });
    let written = world.post("/v1/batch", changes).await.expect(StatusCode::OK);
    let effects: Vec<_> =
        written["outcomes"].as_array().unwrap().iter().map(|it| it["effect"].clone()).collect();
    assert_eq!(effects, ["created", "deleted"]);
}

#[tokio::test]
async fn what_is_in_use_is_kept_and_its_users_are_named() {
    let world = World::with_blue().await;
    world.post(ENDPOINTS, endpoint("web-1")).await.expect(StatusCode::CREATED);
    for path in ["/v1/vpcs/blue", "/v1/vpcs/blue/networks/front", "/v1/hosts/h1"] {
        let problem = world.delete(path).await.problem("in-use");
        assert_eq!(problem["status"], 409);
        assert!(problem["detail"].as_str().unwrap().contains("blue/"), "{problem}");
    }
    let gone = world.delete("/v1/vpcs/blue?cascade=true").await.expect(StatusCode::OK);
    assert_eq!(gone["outcomes"].as_array().unwrap().len(), 3);
    world.get(ENDPOINTS).await.problem("not-found");
}

#[tokio::test]
async fn a_wrong_field_is_named_with_its_resource_and_value() {
    let world = World::with_blue().await;
    let overlapping = network("blue", "other", "10.0.1.128/25");
    let manifests = json!({ "manifests": [host("h3", 3), overlapping] });
    let problem = world.post("/v1/apply", manifests).await.problem("invalid");
    let error = &problem["errors"][0];
    assert_eq!(error["object"], "network blue/other");
    assert_eq!(error["field"], "spec.v4");
    assert_eq!(error["change"], 1);
    assert!(error["problem"].as_str().unwrap().contains("10.0.1.128/25 overlaps 10.0.1.0/24"));
    world.get("/v1/hosts/h3").await.problem("not-found");
}

#[tokio::test]
async fn slot_maps_are_read_and_never_written() {
    let world = World::with_blue().await;
    world.get("/v1/vpcs/blue/slotmaps").await.expect(StatusCode::OK);
    let put = world.put("/v1/vpcs/blue/slotmaps/front", json!({})).await;
    assert_eq!(put.header("allow"), "GET,HEAD");
    put.problem("method");
    let manifest = json!({ "kind": "SlotMap", "metadata": { "name": "front", "vpc": "blue" },
        "spec": { "epoch": 1 } });
    let refused = world.post("/v1/apply", json!({ "manifests": [manifest] })).await;
    assert!(refused.status.is_client_error(), "{refused:?}");
}
