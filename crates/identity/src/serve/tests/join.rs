//! A host's way from a token to its own certificate.

use super::*;
use crate::pki::{Authority, Request as CertificateRequest, Subject, lifetime};
use crate::token::{Refusal, Secret, Token, TokenRecord};
use crate::{Credentials, Trust};
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::post;
use http_body_util::Full;
use mizar_vpc::Name;
use std::sync::Mutex;

/// What a controller does, as small as it can be.
struct Controller {
    authority: Authority,
    record: Mutex<TokenRecord>,
}

type Answer = Result<String, (StatusCode, String)>;

/// The body is the host's name, the secret and the request, each on lines of its own.
async fn join(State(controller): State<Arc<Controller>>, body: String) -> Answer {
    let refused = |error: Refusal| (StatusCode::FORBIDDEN, error.to_string());
    let mut parts = body.splitn(3, '\n');
    let mut part = || parts.next().unwrap();
    let (host, secret, request) = (part(), part(), part());
    let (host, secret): (Name, Secret) = (host.parse().unwrap(), secret.parse().unwrap());
    let mut record = controller.record.lock().unwrap();
    *record = record.spend(&secret, &host, now()).map_err(refused)?;
    let subject = Subject::new(Identity::Host(host));
    Ok(controller.authority.sign(request, &subject, lifetime::HOST, now()).unwrap())
}

async fn call(server: &Server, config: rustls::ClientConfig, path: &str, body: String) -> Answer {
    let host = LOCALHOST.try_into().unwrap();
    let dialled = secure(server.raw().await, &host, Arc::new(config)).await.unwrap();
    let (mut send, connection) = hyper::client::conn::http1::handshake(dialled).await.unwrap();
    tokio::spawn(connection);
    let request = Request::post(path).header("host", "a").body(Full::<Bytes>::from(body)).unwrap();
    let answer = send.send_request(request).await.unwrap();
    let status = answer.status();
    let body = answer.into_body().collect().await.unwrap().to_bytes();
    let text = String::from_utf8(body.to_vec()).unwrap();
    if status.is_success() { Ok(text) } else { Err((status, text)) }
}

#[tokio::test]
async fn a_host_joins_by_its_token_and_comes_back_as_itself() {
    let world = World::new();
    let address = "https://controller.test:6443".parse().unwrap();
    let (token, record) = Token::new(
        address,
        world.authority.fingerprint(),
        "rack1-*".parse().unwrap(),
        1,
        HOUR,
        now(),
    )
    .unwrap();
    let authority = Authority::load(world.folder.path()).unwrap();
    let controller = Arc::new(Controller { authority, record: Mutex::new(record) });
    let who = |Extension(peer): Extension<Peer>| async move {
        peer.known().map(ToString::to_string).map_err(|error| error.to_string())
    };
    let router = Router::new().route("/join", post(join)).with_state(controller);
    let server = Server::tls_for(&world, Limits::default(), router.route("/who", post(who))).await;

    // The host has nothing but the token's text.
    let token: Token = token.reveal().parse().unwrap();
    let name: Name = "rack1-h7".parse().unwrap();
    token.check(&name, now()).unwrap();
    let config = tls::enrolment_config(token.authority).unwrap();
    let unknown = call(&server, config.clone(), "/who", String::new()).await;
    assert!(format!("{unknown:?}").contains("without one it can only join"), "{unknown:?}");
    let request = CertificateRequest::new().unwrap();
    let body = format!("{name}\n{}\n{}", *token.secret.reveal(), request.pem());
    let chain = call(&server, config.clone(), "/join", body.clone()).await.unwrap();

    // The CA comes with the chain, and is the one of the token.
    let trust = Trust::pinned(&chain, token.authority).unwrap();
    let issued = request.accept(&chain, &Identity::Host(name), &trust, now()).unwrap();
    let path = world.folder.path().join("rack1-h7.pem");
    Credentials::write(&path, &issued).unwrap();
    let credentials = Arc::new(Credentials::load(&path).unwrap());
    let known = tls::client_config(Some(credentials), &trust).unwrap();
    assert_eq!(call(&server, known, "/who", String::new()).await.unwrap(), "host/rack1-h7");

    let replayed = call(&server, config, "/join", body).await.unwrap_err();
    assert_eq!(replayed, (StatusCode::FORBIDDEN, Refusal::UsedUp.to_string()));
}

#[test]
fn another_ca_than_the_tokens_is_not_taken_from_anybody() {
    let (world, other) = (World::new(), World::new());
    let expected = world.authority.fingerprint();
    let (own, offered) = (world.authority.trust(), other.authority.trust());
    assert!(Trust::pinned(&offered.pem(), expected).is_err());
    assert!(Trust::pinned("", expected).is_err());
    assert_eq!(Trust::pinned(&(offered.pem() + &own.pem()), expected).unwrap(), own);
}
