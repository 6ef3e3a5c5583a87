//! The store as a backup: whole or none, for operators, one at a time.

use crate::world::{World, endpoint};
use axum::body::Body;
use http::{Method, Response, StatusCode};
use http_body_util::BodyExt;
use mizar_controller::api::Limits;
use mizar_store::{BackupFile, Options, Redb, Store};
use serde_json::json;
use std::time::Duration;

async fn ask(world: &World) -> Response<Body> {
    world.open(Method::GET, "/v1/backup", &[], Body::empty()).await
}

/// So much that it is not sent at once.
async fn fill(world: &World) {
    for batch in 0..3 {
        let endpoints = (0..1000).map(|number| {
            let mut it = endpoint(&format!("e-{batch}-{number}"));
            it["metadata"]["labels"] = json!({ "app": "x".repeat(60), "tier": "y".repeat(60) });
            it["spec"]["attachment"]["veth"]["netns"] = format!("/run/netns/{number}").into();
            it
        });
        let manifests = json!({ "manifests": endpoints.collect::<Vec<_>>() });
        world.post("/v1/apply", manifests).await.expect(StatusCode::OK);
    }
}

#[tokio::test]
async fn an_operator_gets_all_that_is_stored() {
    let world = World::with_wide_blue(Limits::default()).await;
    fill(&world).await;
    let answer = ask(&world).await;
    assert_eq!(answer.status(), StatusCode::OK);
    assert_eq!(answer.headers()["content-type"], "application/octet-stream");
    assert_eq!(answer.headers()["cache-control"], "no-store");
    let bytes = answer.into_body().collect().await.unwrap().to_bytes();
    let folder = tempfile::tempdir().unwrap();
    let (path, store) = (folder.path().join("backup"), folder.path().join("store"));
    let mut file = BackupFile::create(&path).unwrap();
    file.write(&bytes).unwrap();
    let of = file.keep().unwrap();
    assert_eq!(mizar_store::restore(&path, &store, 0, None).unwrap(), 2);
    let store = Redb::open(&store, &Options::default()).unwrap();
    assert_eq!(store.revision(), of.revision);
    let mut endpoints = 0;
    store.scan(b"e", &mut |_, _, _| endpoints += 1).unwrap();
    assert_eq!(endpoints, 3000);
}

#[tokio::test]
async fn others_get_none() {
    let world = World::with_wide_blue(Limits::default()).await;
    for who in ["tenant/acme/bob", "host/h1"] {
        let problem = world.by(who).get("/v1/backup").await.problem("forbidden");
        let told = problem["detail"].as_str().unwrap();
        assert!(told.contains("may not read store: it takes an operator"), "{told}");
    }
    world.by_nobody().get("/v1/backup").await.problem("forbidden");
}

#[tokio::test]
async fn a_backup_that_nobody_takes_ends_and_is_no_backup() {
    let untaken = Duration::from_millis(100);
    let world = World::with_wide_blue(Limits { untaken, ..Limits::default() }).await;
    fill(&world).await;
    let held = ask(&world).await;
    world.get("/v1/backup").await.problem("limit");
    // Nobody else has to wait for whoever holds it, and it is not held for ever.
    world.get("/v1/vpcs/blue").await.expect(StatusCode::OK);
    let again = async {
        while ask(&world).await.status() != StatusCode::OK {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), again).await.expect("the first has ended");
    let taken = held.into_body().collect().await;
    if let Ok(bytes) = taken {
        let folder = tempfile::tempdir().unwrap();
        let mut file = BackupFile::create(&folder.path().join("backup")).unwrap();
        file.write(&bytes.to_bytes()).unwrap();
        file.keep().unwrap_err();
    }
}
