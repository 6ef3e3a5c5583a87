//! An engine, its API, and requests to it.

use axum::Router;
use axum::body::Body;
use http::{HeaderMap, Method, Request, Response, StatusCode, header};
use http_body_util::BodyExt;
use mizar_controller::api::{Limits, router_with};
use mizar_controller::engine;
use mizar_identity::serve::PeerAddress;
use mizar_identity::{Identity, Peer};
use mizar_store::Memory;
use serde_json::{Value, json};
use std::sync::Arc;
use tower::ServiceExt;

/// An API with an engine of its own.
#[derive(Clone)]
pub(crate) struct World {
    router: Router,
    who: Option<Identity>,
}

/// An answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Value,
}

impl World {
    /// Nothing is in it. An operator asks.
    pub(crate) fn new() -> Self {
        Self::with(Limits::default())
    }

    pub(crate) fn with(limits: Limits) -> Self {
        let (engine, _thread) = engine::start(Arc::new(Memory::new())).unwrap();
        Self { router: router_with(engine, limits), who: Some("operator/alice".parse().unwrap()) }
    }

    /// Fleet, hosts, and a VPC with a network.
    pub(crate) async fn with_blue() -> Self {
        Self::new().declared("10.0.1.0/24").await
    }

    /// The same with a network that has room for many, and with these limits.
    pub(crate) async fn with_wide_blue(limits: Limits) -> Self {
        Self::with(limits).declared("10.0.0.0/16").await
    }

    async fn declared(self, prefix: &str) -> Self {
        let manifests = json!({ "manifests": [
            fleet(), host("h1", 1), host("h2", 2),
            vpc("blue"), network("blue", "front", prefix),
        ] });
        self.post("/v1/apply", manifests).await.expect(StatusCode::OK);
        self
    }

    /// The same world, asked by somebody else.
    pub(crate) fn by(&self, who: &str) -> Self {
        Self { who: Some(who.parse().unwrap()), ..self.clone() }
    }

    /// The same world, asked by nobody that is known.
    pub(crate) fn by_nobody(&self) -> Self {
        Self { who: None, ..self.clone() }
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.send(Method::GET, path, &[], "").await
    }

    pub(crate) async fn post(&self, path: &str, body: Value) -> Answer {
        self.send(Method::POST, path, &[JSON], &body.to_string()).await
    }

    pub(crate) async fn put(&self, path: &str, body: Value) -> Answer {
        self.send(Method::PUT, path, &[JSON], &body.to_string()).await
    }

    pub(crate) async fn delete(&self, path: &str) -> Answer {
        self.send(Method::DELETE, path, &[], "").await
    }

    pub(crate) async fn send(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> Answer {
        Answer::of(self.open(method, path, headers, Body::from(body.to_owned())).await).await
    }

    /// The answer with its body to come.
    pub(crate) async fn open(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: Body,
    ) -> Response<Body> {
        let mut request = Request::builder().method(method).uri(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let peer = Peer {
            identity: self.who.clone(),
            address: PeerAddress::Unix { uid: 0, pid: None },
            fingerprint: None,
            issued: None,
            expires: None,
        };
        let request = request.extension(peer).body(body).unwrap();
        self.router.clone().oneshot(request).await.unwrap()
    }
}

/// The header of a JSON body.
pub(crate) const JSON: (&str, &str) = ("content-type", "application/json");

impl Answer {
    pub(crate) async fn of(answer: Response<Body>) -> Self {
        let (parts, body) = answer.into_parts();
        let bytes = body.collect().await.unwrap().to_bytes();
        let body = serde_json::from_slice(&bytes).unwrap_or(Value::Null);
        Self { status: parts.status, headers: parts.headers, body }
    }

    /// The body, if the status is that.
    #[track_caller]
    pub(crate) fn expect(self, status: StatusCode) -> Value {
        assert_eq!(self.status, status, "{}", self.body);
        self.body
    }

    /// The body, if it is a problem of that type in the form that all problems have.
    #[track_caller]
    pub(crate) fn problem(self, word: &str) -> Value {
        let Self { status, headers, body } = self;
        assert_eq!(headers[header::CONTENT_TYPE], "application/problem+json", "{status} {body}");
        assert_eq!(body["type"], format!("urn:mizar:problem:{word}"), "{body}");
        assert_eq!(body["status"], status.as_u16());
        assert!(!body["title"].as_str().unwrap().is_empty());
        assert!(!body["detail"].as_str().unwrap().is_empty());
        let id = headers["x-request-id"].to_str().unwrap();
        assert_eq!(body["instance"], format!("urn:mizar:request:{id}"));
        body
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers[name].to_str().unwrap()
    }
}

pub(crate) fn fleet() -> Value {
    json!({ "kind": "Fleet", "metadata": { "name": "fleet" },
        "spec": { "prefixes": ["100.64.0.0/16"] } })
}

pub(crate) fn host(name: &str, number: u8) -> Value {
    json!({ "kind": "Host", "metadata": { "name": name },
        "spec": { "underlay": format!("100.64.0.{number}") } })
}

pub(crate) fn vpc(name: &str) -> Value {
    json!({ "kind": "Vpc", "metadata": { "name": name }, "spec": {} })
}

pub(crate) fn network(vpc: &str, name: &str, v4: &str) -> Value {
    json!({ "kind": "Network", "metadata": { "name": name, "vpc": vpc }, "spec": { "v4": v4 } })
}

pub(crate) fn endpoint(name: &str) -> Value {
    json!({ "kind": "Endpoint", "metadata": { "name": name, "vpc": "blue" },
        "spec": { "network": "front", "host": "h1", "attachment": { "veth": {
            "netns": format!("/run/netns/{name}"), "interface": "eth0" } } } })
}
